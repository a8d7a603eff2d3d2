import { isUtf8 } from 'node:buffer'
import { counted } from '../../core/units.ts'
import { TextError } from '../errors.ts'
import type { Field, Vector } from '../types.ts'
import { columnOf } from './csv-columns.ts'
import type { ParsedRows, ParseOptions } from './formats/format.ts'
import { decodeText } from './json.ts'
import { keeps } from './literals.ts'
import { emptyIsNull, ScalarError } from './scalars.ts'

const QUOTE = 0x22
const COMMA = 0x2c
const LF = 0x0a
const CR = 0x0d
const SAMPLE_BYTES = 1 << 16
/** So near, a loop finds a byte sooner than a call does. */
const NEAR_BYTES = 32
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * Parses CSV rows (no header) whose columns are `fields` in this order. An empty field is NULL, `""` the empty string or
 * binary, and NULL where the type has no such value.
 * CR LF (and CR CR LF) ends a row as LF does; empty lines are skipped, unless the table has one column: there they are NULL. The last row
 * may lack its newline. TextError names the line and the column of the first field that does not fit.
 */
export function parseCsv(bytes: Uint8Array, fields: readonly Field[], options: ParseOptions = {}): ParsedRows {
  return new CsvRows(bytes, fields, options).parse()
}

/** The fields of a column as they are found, row by row. */
class Fields {
  starts: Uint32Array
  ends: Uint32Array
  /** Columns without any have no marks. */
  nulls: Uint8Array | undefined
  /** The rows whose fields have doubled quotes, which are still there. */
  readonly doubled: number[] = []

  constructor(capacity: number) {
    this.starts = new Uint32Array(capacity)
    this.ends = new Uint32Array(capacity)
  }

  grow(capacity: number): void {
    this.starts = grown(this.starts, new Uint32Array(capacity))
    this.ends = grown(this.ends, new Uint32Array(capacity))
    this.nulls &&= grown(this.nulls, new Uint8Array(capacity))
  }

  /** Forgets what was found of a row. */
  forget(row: number): void {
    if (this.doubled.at(-1) === row) this.doubled.pop()
    if (this.nulls !== undefined) this.nulls[row] = 0
  }
}

function grown<T extends Uint8Array | Uint32Array>(from: T, into: T): T {
  into.set(from)
  return into
}

/**
 * Finds the fields of all rows first, then reads them column by column: one loop for all values of a type is several times as
 * fast as one for the fields of a row, each of another type.
 */
class CsvRows {
  readonly #bytes: Uint8Array
  readonly #fields: readonly Field[]
  readonly #firstLine: number
  readonly #lines: Uint32Array | undefined
  readonly #delimiter: number
  readonly #columns: readonly Fields[]
  #rowStarts: Uint32Array
  readonly #rowsMax: number
  readonly #bytesMax: number
  readonly #foundTypes: boolean
  readonly #mayChange: boolean
  #at = 0
  #rows = 0
  /** The columns of the row behind those that are whole. */
  #begun = 0

  constructor(
    bytes: Uint8Array,
    fields: readonly Field[],
    {
      firstLine = 1,
      lines,
      delimiter = COMMA,
      foundTypes = false,
      mayChange = false,
      rowsMax = Number.POSITIVE_INFINITY,
      bytesMax = Number.POSITIVE_INFINITY,
    }: ParseOptions,
  ) {
    this.#bytes = bytes
    this.#fields = fields
    this.#firstLine = firstLine
    this.#lines = lines
    this.#delimiter = delimiter
    this.#foundTypes = foundTypes
    this.#mayChange = mayChange
    this.#rowsMax = rowsMax
    this.#bytesMax = Math.min(bytes.length, bytesMax)
    const capacity = Math.min(rowsMax, likelyRows(bytes, this.#bytesMax))
    this.#columns = fields.map(() => new Fields(capacity))
    this.#rowStarts = new Uint32Array(capacity)
  }

  parse(): ParsedRows {
    const bytes = this.#bytes
    if (!isUtf8(bytes)) this.#checkEncoding()
    try {
      while (this.#at < this.#bytesMax && this.#rows < this.#rowsMax) {
        if (this.#skipEmptyLine()) continue
        this.#wholeRows()
        if (this.#at >= this.#bytesMax || this.#rows === this.#rowsMax || this.#skipEmptyLine()) continue
        this.#row()
        this.#rows++
        this.#begun = 0
      }
    } catch (error) {
      // A value in front of it that does not fit comes first.
      if (error instanceof TextError) {
        this.#vectors()
        if (this.#mayChange) this.#doubleAgain()
      }
      throw error
    }
    return { rows: this.#rows, vectors: this.#vectors(), end: Math.min(this.#at, bytes.length) }
  }

  /** Reads all that was found. TextError of the first value that does not fit, row by row. */
  #vectors(): Vector[] {
    const all = this.#withoutDoubled()
    const vectors: Vector[] = []
    let wrong: { readonly row: number; readonly column: number; readonly what: string } | undefined
    for (const [column, { type, nullable }] of this.#fields.entries()) {
      const rows = wrong?.row ?? this.#rowsOf(column)
      const { starts, ends, nulls } = this.#columns[column]!
      const place = { row: 0 }
      try {
        const isKept = this.#foundTypes ? keeps(type) : undefined
        const firstNull = nullable ? undefined : nulls?.subarray(0, rows).indexOf(1)
        const end = firstNull === undefined || firstNull < 0 ? rows : firstNull
        const fields = { bytes: all, starts: starts.subarray(0, end), ends: ends.subarray(0, end) }
        vectors.push(columnOf(type, { ...fields, nulls: nulls?.subarray(0, end) }, place, isKept))
        if (end < rows) wrong = { row: end, column, what: 'a value is expected, as the column is NOT NULL' }
      } catch (error) {
        if (!(error instanceof ScalarError)) throw error
        const { row } = place
        const found = decoder.decode(all.subarray(starts[row], Math.min(ends[row]!, starts[row]! + 40)))
        wrong = { row, column, what: `${error.message} is expected, not ${JSON.stringify(found)}` }
      }
    }
    if (wrong === undefined) return vectors
    if (this.#mayChange) this.#doubleAgain()
    throw this.#bad(wrong.column, this.#rowStarts[wrong.row]!, wrong.what)
  }

  /** The rows that have this field. */
  #rowsOf(column: number): number {
    return this.#rows + (column < this.#begun ? 1 : 0)
  }

  /** One quote for each two, where they stand or behind the text. Gives what the fields are in. */
  #withoutDoubled(): Uint8Array {
    const bytes = this.#bytes
    if (this.#mayChange) {
      for (const fields of this.#columns) unquoteInPlace(bytes, fields)
      return bytes
    }
    let size = 0
    for (const { starts, ends, doubled } of this.#columns) for (const row of doubled) size += ends[row]! - starts[row]!
    if (size === 0) return bytes
    const all = new Uint8Array(bytes.length + size)
    // The rest, behind the last row, stays as it is: nothing.
    all.set(bytes.subarray(0, this.#at))
    let to = bytes.length
    for (const fields of this.#columns) to = unquoteBehind(bytes, fields, all, to)
    return all
  }

  /** The text as it was. */
  #doubleAgain(): void {
    const bytes = this.#bytes
    for (const { starts, ends, doubled } of this.#columns)
      for (const row of doubled) {
        const value = bytes.slice(starts[row]!, ends[row]!)
        let to = starts[row]!
        for (const byte of value) {
          bytes[to++] = byte
          if (byte === QUOTE) bytes[to++] = QUOTE
        }
        ends[row] = to
      }
  }

  #checkEncoding(): void {
    try {
      decodeText(this.#bytes, this.#firstLine)
    } catch (error) {
      throw error instanceof TextError ? this.#misencoded(error) : error
    }
  }

  /** Names the column, too, if the rows up to the one that is not UTF-8 can be told apart. */
  #misencoded(error: TextError): TextError {
    const bytes = this.#bytes
    let at = 0
    for (let line = this.#firstLine; line < (error.line ?? 0) && at < bytes.length; line++)
      at = bytes.indexOf(LF, at) + 1
    const end = bytes.indexOf(LF, at)
    const fields = splitFields(bytes.subarray(at, end < 0 ? bytes.length : end), this.#delimiter)
    const column = fields.findIndex(field => !isUtf8(field))
    if (column < 0 || fields.length > this.#fields.length) return error
    const { line } = error
    const name = this.#nameOf(column)
    return new TextError(error.code, `line ${line}, column ${name}: the text is not UTF-8`, {
      line: line!,
      column: name,
    })
  }

  /** An empty line is no row, but in a table of one column it is a NULL. */
  #skipEmptyLine(): boolean {
    if (this.#fields.length === 1) return false
    const bytes = this.#bytes
    let end = this.#at
    while (bytes[end] === CR) end++
    if (bytes[end] !== LF && end < bytes.length) return false
    this.#at = end + 1
    return true
  }

  /**
   * Takes rows as long as they have the fields that they should and end in a newline, as all but a few do; the others are
   * left to `#row`. All that it needs is at hand, as most of the time goes here.
   */
  #wholeRows(): void {
    const bytes = this.#bytes
    const delimiter = this.#delimiter
    // Most bytes of most texts are beyond both.
    const most = Math.max(delimiter, LF)
    const columns = this.#columns
    const last = columns.length - 1
    const end = bytes.lastIndexOf(LF)
    let at = this.#at
    let isWhole = last >= 0
    while (isWhole && at <= end && at < this.#bytesMax && this.#rows < this.#rowsMax) {
      const rowStart = at
      if (this.#rows === this.#rowStarts.length) this.#grow()
      const row = this.#rows
      this.#rowStarts[row] = rowStart
      for (let column = 0; isWhole && column <= last; column++) {
        const start = at
        let byte = bytes[at]!
        if (byte === QUOTE) {
          this.#at = at
          this.#begun = column
          byte = this.#quotedField(column, rowStart)
          at = this.#at
          isWhole = byte === (column === last ? LF : delimiter) && (column === last || at <= end)
          continue
        }
        while (byte > most || (byte !== delimiter && byte !== LF)) byte = bytes[++at]!
        let stop = at++
        if (column === last) while (stop > start && bytes[stop - 1] === CR) stop--
        isWhole = byte === (column === last ? LF : delimiter)
        if (!isWhole) break
        if (stop === start) this.#null(column)
        else {
          const { starts, ends } = columns[column]!
          starts[row] = start
          ends[row] = stop
        }
      }
      this.#at = isWhole ? at : rowStart
      if (isWhole) this.#rows++
      else for (const fields of columns) fields.forget(row)
    }
    this.#begun = 0
  }

  #grow(): void {
    const capacity = Math.min(this.#rowsMax, Math.ceil(this.#rowStarts.length * 1.5) + 16)
    for (const fields of this.#columns) fields.grow(capacity)
    this.#rowStarts = grown(this.#rowStarts, new Uint32Array(capacity))
  }

  #row(): void {
    const start = this.#at
    if (this.#rows === this.#rowStarts.length) this.#grow()
    if (this.#fields.length === 0) throw this.#wrongCount(start, undefined)
    this.#rowStarts[this.#rows] = start
    const last = this.#fields.length - 1
    for (let column = 0; column <= last; column++) {
      const isQuoted = this.#bytes[this.#at] === QUOTE
      const separator = isQuoted ? this.#quotedField(column, start) : this.#plainField(column)
      if (column < last && separator !== this.#delimiter) throw this.#wrongCount(start, column + 1)
      if (column === last && separator === this.#delimiter) throw this.#wrongCount(start, undefined)
    }
  }

  /** Takes one field and what ends it: the delimiter, a newline (CR LF too), or 0 at the end of the text. */
  #plainField(column: number): number {
    const bytes = this.#bytes
    const delimiter = this.#delimiter
    const start = this.#at
    let end = start
    while (end < bytes.length && bytes[end] !== delimiter && bytes[end] !== LF) end++
    const separator = bytes[end] ?? 0
    this.#at = end + 1
    if (separator !== delimiter) while (end > start && bytes[end - 1] === CR) end--
    if (end === start) this.#null(column)
    else this.#put(column, start, end)
    return separator
  }

  #quotedField(column: number, rowStart: number): number {
    const bytes = this.#bytes
    const start = this.#at + 1
    let end = quoteFrom(bytes, start)
    let doubled = false
    while (end >= 0 && bytes[end + 1] === QUOTE) {
      doubled = true
      end = quoteFrom(bytes, end + 2)
    }
    if (end < 0) {
      const line = this.#lineOf(rowStart)
      throw new TextError(
        'unterminated',
        `line ${line}, column ${this.#nameOf(column)}: a quote is opened and not closed`,
        {
          line,
          column: this.#nameOf(column),
        },
      )
    }
    let next = end + 1
    while (bytes[next] === CR) next++
    if (bytes[next] !== LF && next < bytes.length) next = end + 1
    const separator = next < bytes.length ? bytes[next]! : 0
    if (separator !== this.#delimiter && separator !== LF && next < bytes.length) {
      const mark = this.#delimiter === COMMA ? 'a comma' : JSON.stringify(String.fromCharCode(this.#delimiter))
      throw this.#bad(column, rowStart, `${mark} or the end of the line behind the closing quote is expected`)
    }
    this.#at = next + 1
    if (end === start && emptyIsNull(this.#fields[column]!.type)) this.#null(column)
    else this.#put(column, start, end)
    if (doubled) this.#columns[column]!.doubled.push(this.#rows)
    return separator
  }

  #put(column: number, start: number, end: number): void {
    const { starts, ends } = this.#columns[column]!
    starts[this.#rows] = start
    ends[this.#rows] = end
    this.#begun = column + 1
  }

  #null(column: number): void {
    const fields = this.#columns[column]!
    fields.nulls ??= new Uint8Array(fields.starts.length)
    fields.nulls[this.#rows] = 1
    this.#begun = column + 1
  }

  #nameOf(column: number): string {
    return this.#fields[column]?.name ?? String(column + 1)
  }

  #bad(column: number, rowStart: number, what: string): TextError {
    const line = this.#lineOf(rowStart)
    const name = this.#nameOf(column)
    return new TextError('bad_value', `line ${line}, column ${name}: ${what}`, { line, column: name })
  }

  #wrongCount(rowStart: number, found: number | undefined): TextError {
    const line = this.#lineOf(rowStart)
    const wanted = this.#fields.length
    const names = this.#fields.map(field => field.name).join(',')
    const got = found === undefined ? `more than ${counted(wanted, 'field')}` : counted(found, 'field')
    return new TextError(
      'malformed_text',
      `line ${line}: the row has ${got}, the table has ${counted(wanted, 'column')} (${names})`,
      { line },
    )
  }

  #lineOf(offset: number): number {
    const line = countLines(this.#bytes.subarray(0, offset))
    return this.#lines?.[line] ?? this.#firstLine + line
  }
}

/** The next quote from `start` on, or -1. */
export function quoteFrom(bytes: Uint8Array, start: number): number {
  const near = Math.min(bytes.length, start + NEAR_BYTES)
  for (let at = start; at < near; at++) if (bytes[at] === QUOTE) return at
  return bytes.indexOf(QUOTE, near)
}

/** Takes one of each two quotes away; bytes that are left over behind a field become quotes. */
function unquoteInPlace(bytes: Uint8Array, { starts, ends, doubled }: Fields): void {
  for (const row of doubled) {
    const end = ends[row]!
    const unquotedEnd = unquote(bytes, starts[row]!, end, bytes, starts[row]!)
    ends[row] = unquotedEnd
    // Line ends are counted, and none is to be there twice.
    for (let i = unquotedEnd; i < end; i++) bytes[i] = QUOTE
  }
}

/** Copies the fields with doubled quotes to `at` in `out`, and gives where they end. */
function unquoteBehind(bytes: Uint8Array, { starts, ends, doubled }: Fields, out: Uint8Array, at: number): number {
  let to = at
  for (const row of doubled) {
    const start = to
    to = unquote(bytes, starts[row]!, ends[row]!, out, to)
    starts[row] = start
    ends[row] = to
  }
  return to
}

/** Copies bytes [start, end) with one quote for each two, which may be to where they are, and gives where they end. */
function unquote(bytes: Uint8Array, start: number, end: number, out: Uint8Array, at: number): number {
  let to = at
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!
    out[to++] = byte
    if (byte === QUOTE) i++
  }
  return to
}

/** A guess at the number of rows in so many first bytes, by those in front. */
function likelyRows(bytes: Uint8Array, length: number): number {
  const head = bytes.subarray(0, SAMPLE_BYTES)
  return Math.ceil(((countLines(head) + 1) / Math.max(1, head.length)) * length * 1.05) + 1
}

/** The raw fields of one line, whose quotes do not go on behind it. */
function splitFields(line: Uint8Array, delimiter: number): Uint8Array[] {
  const fields: Uint8Array[] = []
  let quoted = false
  let start = 0
  for (let at = 0; at < line.length; at++) {
    if (line[at] === QUOTE) quoted = !quoted
    if (line[at] !== delimiter || quoted) continue
    fields.push(line.subarray(start, at))
    start = at + 1
  }
  return [...fields, line.subarray(start)]
}

/** Returns the number of line breaks. */
export function countLines(bytes: Uint8Array): number {
  let lines = 0
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) lines++
  return lines
}
