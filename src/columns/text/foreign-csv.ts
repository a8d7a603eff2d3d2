import Papa from 'papaparse'
import { TextError } from '../errors.ts'
import { decodeText } from './json.ts'

const LF = 0x0a
const MARK = '\ufeff'
const NEEDS_QUOTES = /[",\r\n]/
/** Nothing, or blanks around a name, say something else in quotes. */
const SAYS_MORE_IN_QUOTES = /^$|^\s|\s$/
const encoder = new TextEncoder()

/** The dialect in which other programs write CSV. */
export interface Dialect {
  /** The text between fields: one character or several. */
  readonly delimiter: string
  /** The quote around fields: one character; none: quotes are characters as all others. */
  readonly quote: string
  /** The escape before a quote within quotes: another one, or such as a backslash. */
  readonly escape: string
  /** The begin of lines that are no rows; none: every line is one. */
  readonly comment: string
}

/** The dialect of RFC 4180. */
export const RFC_4180: Dialect = { delimiter: ',', quote: '"', escape: '"', comment: '' }

/** True if the byte parser takes a dialect: RFC 4180 with any one byte between fields. */
export function isPlain(dialect: Dialect): boolean {
  const { delimiter, quote, comment } = dialect
  return Buffer.byteLength(delimiter) === 1 && quote === '"' && dialect.escape === '"' && comment === ''
}

/** The settings by which papaparse takes a dialect apart. */
export function papaConfig({ delimiter, quote, escape: escapeChar, comment }: Dialect): Papa.ParseConfig<string[]> {
  return {
    delimiter,
    ...(quote === '' ? { fastMode: true } : { quoteChar: quote, escapeChar }),
    comments: comment === '' ? false : comment,
  }
}

/** Rows in RFC 4180, commas between their fields. */
export interface Rewritten {
  readonly bytes: Uint8Array
  /** The line of the whole text in which each line of `bytes` stands. */
  readonly lines: Uint32Array
}

/**
 * Rewrites CSV of another dialect as that of RFC 4180, piece by piece: papaparse takes it apart, and what becomes of the
 * fields is the byte parser's business, as in every other text. Holds one piece, and what there is of a row that goes on.
 */
export class ForeignCsv {
  readonly #dialect: Dialect
  /** The bytes behind the last line end, and the line in which they stand. */
  #cutLine: Uint8Array = new Uint8Array(0)
  #cutLineAt = 1
  /** The part of a row that is not whole yet, and the line at which it begins. */
  #begun = ''
  #begunAt = 1

  constructor(dialect: Dialect) {
    this.#dialect = dialect
  }

  /** The rows that are whole with these bytes, which follow those before; at the end, all that are left. TextError names the line. */
  rewrite(bytes: Uint8Array, isEnd: boolean): Rewritten {
    const isStart = this.#begunAt === 1 && this.#begun === ''
    const decoded = this.#decoded(bytes, isEnd)
    const text = isStart && decoded.startsWith(MARK) ? decoded.slice(1) : this.#begun + decoded
    const rows: string[] = []
    const lines: number[] = []
    let line = this.#begunAt
    const done = eachRow(text, this.#dialect, isEnd, (source, fields, errors) => {
      const comments = this.#commentsSize(source)
      line += lineEnds(source.slice(0, comments))
      const row = source.slice(comments)
      // What stands behind the last line end is given as a row, even if it is nothing.
      if (row === '') return
      if (errors[0] !== undefined) throw this.#refused(errors[0], line)
      const written = this.#written(fields, row)
      for (let i = 0; i < lineEnds(written); i++) lines.push(line + i)
      rows.push(written)
      line += lineEnds(row)
    })
    this.#begun = text.slice(done)
    this.#begunAt = line
    return { bytes: encoder.encode(rows.join('')), lines: Uint32Array.from(lines) }
  }

  /** The whole lines of what is there. */
  #decoded(bytes: Uint8Array, isEnd: boolean): string {
    const all = this.#cutLine.length === 0 ? bytes : Buffer.concat([this.#cutLine, bytes])
    const end = isEnd ? all.length : all.lastIndexOf(LF) + 1
    const text = decodeText(all.subarray(0, end), this.#cutLineAt)
    this.#cutLine = all.slice(end)
    this.#cutLineAt += lineEnds(text)
    return text
  }

  /** The comments that stand before a row, of which papaparse says nothing. */
  #commentsSize(source: string): number {
    const { comment } = this.#dialect
    let at = 0
    while (comment !== '' && source.startsWith(comment, at)) at = source.indexOf('\n', at) + 1
    return at
  }

  #written(fields: readonly string[], row: string): string {
    const isQuoted = this.#quotedFields(fields, row)
    const last = fields.length - 1
    const out = fields.map((field, i) => {
      // The CR of CR LF.
      const text = i === last && !isQuoted(i) ? field.replace(/\r+$/, '') : field
      const needsQuotes = NEEDS_QUOTES.test(text) || (SAYS_MORE_IN_QUOTES.test(text) && isQuoted(i))
      return needsQuotes ? `"${text.replaceAll('"', '""')}"` : text
    })
    return `${out.join(',')}\n`
  }

  /**
   * Which fields of a row stand in quotes, of which papaparse says nothing. It is seen by going through the row's source
   * with the fields known, so that only their lengths count. Only asked of fields where it makes a difference.
   */
  #quotedFields(fields: readonly string[], row: string): (field: number) => boolean {
    const { delimiter, quote } = this.#dialect
    if (quote === '' || !row.includes(quote)) return () => false
    let found: boolean[] | undefined
    return asked => {
      if (found === undefined) {
        found = []
        let at = 0
        for (const field of fields) {
          const isQuoted = row.startsWith(quote, at)
          found.push(isQuoted)
          // Each quote in the text was two characters; blanks may stand behind the closing one.
          const size = isQuoted ? field.length + field.split(quote).length + 1 : field.length
          at = row.indexOf(delimiter, at + size) + delimiter.length
        }
      }
      return found[asked]!
    }
  }

  #refused({ code }: Papa.ParseError, line: number): TextError {
    if (code === 'MissingQuotes')
      return new TextError('unterminated', `line ${line}: a quote is opened and not closed`, { line })
    const { delimiter } = this.#dialect
    const what = `${JSON.stringify(delimiter)} or the end of the line behind the closing quote is expected`
    return new TextError('malformed_text', `line ${line}: ${what}`, { line })
  }
}

/** Calls `visit` for each row of a text, but for the last one if more may follow, and gives the offset behind those. */
function eachRow(
  text: string,
  dialect: Dialect,
  isEnd: boolean,
  visit: (source: string, fields: readonly string[], errors: readonly Papa.ParseError[]) => void,
): number {
  let done = 0
  let last: { fields: readonly string[]; errors: readonly Papa.ParseError[]; end: number } | undefined
  const take = (): void => {
    if (last === undefined) return
    visit(text.slice(done, last.end), last.fields, last.errors)
    done = last.end
  }
  // A byte-order mark in front of a text is taken off, and this one is none.
  Papa.parse<string[]>(text.startsWith(MARK) ? MARK + text : text, {
    ...papaConfig(dialect),
    newline: '\n',
    step: ({ data, errors, meta }) => {
      take()
      last = { fields: data, errors, end: meta.cursor }
    },
  })
  if (isEnd || last?.end !== text.length) take()
  return done
}

function lineEnds(text: string): number {
  let count = 0
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++
  return count
}
