import { unsupported } from './errors.ts'

/** A piece of an expression in Spark's SQL. */
export type Token =
  /** A name or a key word, as written. */
  | { readonly kind: 'word'; readonly text: string }
  /** A name in backquotes, without them. */
  | { readonly kind: 'name'; readonly text: string }
  /** A text with its escapes resolved. `isDouble`: it stood between double quotes. */
  | { readonly kind: 'text'; readonly text: string; readonly isDouble: boolean }
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'symbol'; readonly text: string }

const BLANK = /(?:\s|--[^\n]*(?:\n|$)|\/\*(?!\+)[\s\S]*?\*\/)+/y
const WORD = /[\p{L}_][\p{L}\p{N}_]*/uy
const NAME = /`((?:[^`]|``)+)`/y
const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?:BD|bd|[LlSsYyDdFf])?(?![\p{L}\p{N}_])/uy
const RAW_TEXT = /[rR](?:'([^']*)'|"([^"]*)")/y
const TEXT = /'((?:[^'\\]|\\[\s\S])*)'|"((?:[^"\\]|\\[\s\S])*)"/y
const SYMBOL = /<=>|<>|!=|==|<=|>=|\|\||::|[-+*/%()=<>,.!&|^~]/y

/** Splits an expression as Spark does with its usual settings. ExpressionError for what it might read in two ways. */
export function tokenize(sql: string): Token[] {
  const tokens: Token[] = []
  for (let at = 0; at < sql.length; ) {
    const blank = matchAt(BLANK, sql, at)
    if (blank !== undefined) {
      at += blank[0].length
      continue
    }
    const [token, length] = tokenAt(sql, at)
    // 'a''b' is ab in older versions of Spark, and a'b in newer ones.
    if (token.kind === 'text' && tokens.at(-1)?.kind === 'text') throw unsupported('two texts stand side by side')
    tokens.push(token)
    at += length
  }
  return tokens
}

function tokenAt(sql: string, at: number): [Token, number] {
  const raw = matchAt(RAW_TEXT, sql, at)
  if (raw !== undefined) {
    const isDouble = raw[1] === undefined
    return [{ kind: 'text', text: raw[1] ?? raw[2]!, isDouble }, raw[0].length]
  }
  const text = matchAt(TEXT, sql, at)
  if (text !== undefined) {
    const isDouble = text[1] === undefined
    return [{ kind: 'text', text: unescaped(text[1] ?? text[2]!), isDouble }, text[0].length]
  }
  const name = matchAt(NAME, sql, at)
  if (name !== undefined) return [{ kind: 'name', text: name[1]!.replaceAll('``', '`') }, name[0].length]
  const number = matchAt(NUMBER, sql, at)
  if (number !== undefined) return [{ kind: 'number', text: number[0] }, number[0].length]
  const word = matchAt(WORD, sql, at)
  if (word !== undefined) return [{ kind: 'word', text: word[0] }, word[0].length]
  const symbol = matchAt(SYMBOL, sql, at)
  if (symbol !== undefined) return [{ kind: 'symbol', text: symbol[0] }, symbol[0].length]
  throw unsupported(`${JSON.stringify(sql.slice(at, at + 10))} is not understood`)
}

function matchAt(pattern: RegExp, sql: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at
  return pattern.exec(sql) ?? undefined
}

const ESCAPES: Readonly<Record<string, string>> = {
  '0': '\0',
  b: '\b',
  n: '\n',
  r: '\r',
  t: '\t',
  Z: '\x1a',
  // They are for LIKE to resolve.
  '%': '\\%',
  _: '\\_',
}

/** The text that one with escapes stands for. */
function unescaped(text: string): string {
  return text.replace(/\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}|[\s\S])/g, (_, code: string) => {
    if (/^u./i.test(code)) return codePoint(Number.parseInt(code.slice(1), 16))
    if (code.length === 3) return String.fromCharCode(Number.parseInt(code, 8))
    return ESCAPES[code] ?? code
  })
}

function codePoint(code: number): string {
  if (code > 0x10ffff) throw unsupported(`there is no character ${code.toString(16)}`)
  return String.fromCodePoint(code)
}
