import { isAscii, isUtf8 } from 'node:buffer'
import { TextError } from '../errors.ts'
import type { Batch, Field } from '../types.ts'
import { builderOf, type ColumnBuilder } from './column-builders.ts'
import type { ParseOptions } from './formats/format.ts'
import { decodeText } from './json.ts'
import { isKeptBy } from './literals.ts'
import { emptyIsNull, ScalarError } from './scalars.ts'

const QUOTE = 0x22
const COMMA = 0x2c
const LF = 0x0a
const CR = 0x0d
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * Parses CSV rows (no header) whose columns are `fields` in this order. An empty field is NULL, `""` the empty string or
 * binary, and NULL where the type has no such value.
 * CR LF (and CR CR LF) ends a row as LF does; empty lines are skipped, unless the table has one column: there they are NULL. The last row
 * may lack its newline. TextError names the line and the column of the first field that does not fit.
 */
export function parseCsv(bytes: Uint8Array, fields: readonly Field[], options: ParseOptions = {}): Batch {
  return new CsvRows(bytes, fields, options).parse()
}

class CsvRows {
  readonly #bytes: Uint8Array
  readonly #fields: readonly Field[]
  readonly #firstLine: number
  readonly #lines: Uint32Array | undefined
  readonly #delimiter: number
  readonly #builders: readonly ColumnBuilder[]
  readonly #foundTypes: boolean
  /** The fields with doubled quotes, without them, one behind the other. */
  #unquoted = new Uint8Array(0)
  #unquotedEnd = 0
  #at = 0
  #rows = 0

  constructor(
    bytes: Uint8Array,
    fields: readonly Field[],
    { firstLine = 1, lines, delimiter = COMMA, foundTypes = false }: ParseOptions,
  ) {
    this.#bytes = bytes
    this.#fields = fields
    this.#firstLine = firstLine
    this.#lines = lines
    this.#delimiter = delimiter
    this.#foundTypes = foundTypes
    const capacity = countLines(bytes) + 1
    this.#builders = fields.map(field => builderOf(field.type, bytes, capacity))
  }

  parse(): Batch {
    const bytes = this.#bytes
    if (!isAscii(bytes)) this.#checkEncoding()
    while (this.#at < bytes.length) {
      if (this.#skipEmptyLine()) continue
      this.#row()
      this.#rows++
    }
    const all = this.#unquotedEnd === 0 ? bytes : this.#withUnquoted()
    return { rows: this.#rows, vectors: this.#builders.map(builder => builder.finish(this.#rows, all)) }
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

  #row(): void {
    const start = this.#at
    if (this.#fields.length === 0) throw this.#wrongCount(start, undefined)
    const last = this.#fields.length - 1
    for (let column = 0; column <= last; column++) {
      const separator = this.#field(column, start)
      if (column < last && separator !== this.#delimiter) throw this.#wrongCount(start, column + 1)
      if (column === last && separator === this.#delimiter) throw this.#wrongCount(start, undefined)
    }
  }

  /** Takes one field and what ends it: the delimiter, a newline (CR LF too), or 0 at the end of the text. */
  #field(column: number, rowStart: number): number {
    const bytes = this.#bytes
    const delimiter = this.#delimiter
    const start = this.#at
    if (bytes[start] === QUOTE) return this.#quotedField(column, rowStart)
    let end = start
    const { length } = bytes
    let byte = 0
    while (end < length) {
      byte = bytes[end]!
      if (byte === delimiter || byte === LF) break
      end++
    }
    const separator = end < length ? byte : 0
    this.#at = end + 1
    let stop = end
    if (separator !== delimiter) while (stop > start && bytes[stop - 1] === CR) stop--
    if (stop === start) this.#null(column, rowStart)
    else this.#put(column, rowStart, bytes, start, stop)
    return separator
  }

  #quotedField(column: number, rowStart: number): number {
    const bytes = this.#bytes
    const start = this.#at + 1
    let end = bytes.indexOf(QUOTE, start)
    let doubled = false
    while (end >= 0 && bytes[end + 1] === QUOTE) {
      doubled = true
      end = bytes.indexOf(QUOTE, end + 2)
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
    if (end === start && emptyIsNull(this.#fields[column]!.type)) this.#null(column, rowStart)
    else if (!doubled) this.#put(column, rowStart, bytes, start, end)
    else {
      const from = this.#unquotedEnd
      this.#unquote(start, end)
      this.#put(column, rowStart, this.#unquoted, from, this.#unquotedEnd)
    }
    return separator
  }

  /** Adds the bytes [start, end) with one quote for each two. */
  #unquote(start: number, end: number): void {
    const bytes = this.#bytes
    // None of its fields is longer than it is with its doubled quotes.
    if (this.#unquoted.length === 0) this.#unquoted = new Uint8Array(bytes.length)
    const out = this.#unquoted
    let to = this.#unquotedEnd
    for (let i = start; i < end; i++) {
      const byte = bytes[i]!
      out[to++] = byte
      if (byte === QUOTE) i++
    }
    this.#unquotedEnd = to
  }

  #withUnquoted(): Uint8Array {
    const { length } = this.#bytes
    const all = new Uint8Array(length + this.#unquotedEnd)
    all.set(this.#bytes)
    all.set(this.#unquoted.subarray(0, this.#unquotedEnd), length)
    return all
  }

  #put(column: number, rowStart: number, bytes: Uint8Array, start: number, end: number): void {
    try {
      const { type } = this.#fields[column]!
      if (this.#foundTypes && !isKeptBy(type, bytes, start, end))
        throw new ScalarError(`a value that a ${type.kind} keeps`)
      this.#builders[column]!.put(this.#rows, bytes, start, end)
    } catch (error) {
      if (!(error instanceof ScalarError)) throw error
      const found = decoder.decode(bytes.subarray(start, Math.min(end, start + 40)))
      throw this.#bad(column, rowStart, `${error.message} is expected, not ${JSON.stringify(found)}`)
    }
  }

  #null(column: number, rowStart: number): void {
    if (!this.#fields[column]!.nullable)
      throw this.#bad(column, rowStart, 'a value is expected, as the column is NOT NULL')
    this.#builders[column]!.putNull(this.#rows)
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

function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? '' : 's'}`
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
