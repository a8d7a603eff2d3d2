import { unsupported } from './errors.ts'

/** The pattern of LIKE: % for any text, _ for one character, a backslash in front of those and of itself. */
export function likePattern(pattern: string): RegExp {
  const source = pattern.replace(/\\([\s\S]?)|[\s\S]/gu, (char, escaped?: string) => {
    if (escaped !== undefined) {
      if (!/^[%_\\]$/.test(escaped))
        throw unsupported(`the pattern ${JSON.stringify(pattern)} has a backslash too many`)
      return literal(escaped)
    }
    if (char === '%') return '[\\s\\S]*'
    return char === '_' ? '[\\s\\S]' : literal(char)
  })
  return new RegExp(`^${source}$`, 'u')
}

function literal(char: string): string {
  return char.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
}

const ENDS = '\\n\\r\\u0085\\u2028\\u2029'
const BLANKS = ' \\t\\n\\x0B\\f\\r'
/** The end, or what ends the last line. */
const END = `(?!(?<=\\r)\\n)(?=(?:\\r\\n|[${ENDS}])?$)`
/** One piece of a regular expression of Java that has an equal of JavaScript's. */
const PIECE =
  /(?<class>\[\^?(?:\\[\s\S]|[^\\[\]&])+\])|\\(?<escaped>[\s\S])|(?<group>\((?:\?:)?(?!\?))|(?<quantifier>(?:[*+?]|\{\d+(?:,\d*)?\})\??(?![*+?{]))|(?<other>[^\\[\](){}*+?])|(?<close>[)\]])/uy

/**
 * A regular expression of Java, which RLIKE takes, as one of JavaScript that finds the same. ExpressionError for what may
 * differ: look-arounds, references back, properties of characters, the ends of words.
 */
export function javaPattern(pattern: string): RegExp {
  let source = ''
  for (let at = 0; at < pattern.length; ) {
    PIECE.lastIndex = at
    const found = PIECE.exec(pattern)
    if (found === null) throw strange(pattern)
    const { class: set, escaped, other, close } = found.groups!
    if (set !== undefined) source += charactersOf(set, pattern)
    else if (escaped !== undefined) source += escapedOf(escaped, pattern)
    else if (close !== undefined) source += close === ']' ? '\\]' : close
    else if (other === '.') source += `[^${ENDS}]`
    else if (other === '$') source += END
    else source += other === '/' ? '\\/' : found[0]
    at += found[0].length
  }
  try {
    return new RegExp(source, 'u')
  } catch (cause) {
    throw unsupported(`the pattern ${JSON.stringify(pattern)} is not understood`, { cause })
  }
}

function escapedOf(char: string, pattern: string): string {
  if (char === 's') return `[${BLANKS}]`
  if (char === 'S') return `[^${BLANKS}]`
  if (/^[dDwWtnrf]$/.test(char)) return `\\${char}`
  if (!/^[!-/:-@[-`{-~]$/.test(char)) throw strange(pattern)
  return literal(char)
}

/** The characters between square brackets. */
function charactersOf(set: string, pattern: string): string {
  const inner = set.slice(1, -1).replace(/\\([\s\S])|([\s\S])/gu, (_, escaped?: string, plain?: string) => {
    if (plain !== undefined) return /[()|{}/]/.test(plain) ? `\\${plain}` : plain
    if (escaped === 's') return BLANKS
    if (/^[dDwWtnrf]$/.test(escaped!)) return `\\${escaped}`
    if (!/^[!-/:-@[-`{-~]$/.test(escaped!)) throw strange(pattern)
    return /^[\\^$.*+?()[\]{}|/-]$/.test(escaped!) ? `\\${escaped}` : escaped!
  })
  return `[${inner}]`
}

function strange(pattern: string): Error {
  return unsupported(`the pattern ${JSON.stringify(pattern)} may find something else here than in Spark`)
}
