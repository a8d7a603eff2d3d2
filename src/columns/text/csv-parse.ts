import { isAscii, isUtf8 } from 'node:buffer'
import { TextError } from '../errors.ts'
import type { Batch, Cell, DataType, Field, Vector } from '../types.ts'
import { vectorOf } from '../vectors.ts'
import { cellFromJson, decodeText, parseExactJson } from './json.ts'
import { isKeptBy } from './literals.ts'
import { emptyIsNull, parseScalar, ScalarError } from './scalars.ts'

const QUOTE = 0x22
const COMMA = 0x2c
const LF = 0x0a
const CR = 0x0d
const ZERO = 0x30
const NINE = 0x39
const MINUS = 0x2d
const POINT = 0x2e
const NINE_DIGITS = 9
/** Every number of so many digits fits 64 bits. */
const LONG_DIGITS_SAFE = 18
const POWERS_OF_TEN = Array.from({ length: 16 }, (_, i) => 10 ** i)
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Gathers the values of one column. Ranges are of the text, or of `unquoted` bytes for fields with doubled quotes. */
interface ColumnBuilder {
  /** Takes the field bytes[start, end). Throws ScalarError. */
  put(row: number, bytes: Uint8Array, start: number, end: number): void
  putNull(row: number): void
  /** The column of the first `rows` rows. */
  finish(rows: number): Vector
}

export interface ParseOptions {
  /** The line of the whole text at which these bytes begin, for messages; 1 if not given. */
  readonly firstLine?: number
  /** The byte between fields; a comma if not given. */
  readonly delimiter?: number | undefined
  /** The types were found from some of the rows: a value that they would not keep as it is (`literals.ts`) is refused. */
  readonly foundTypes?: boolean | undefined
}

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
  readonly #delimiter: number
  readonly #builders: readonly ColumnBuilder[]
  readonly #foundTypes: boolean
  #at = 0
  #rows = 0

  constructor(
    bytes: Uint8Array,
    fields: readonly Field[],
    { firstLine = 1, delimiter = COMMA, foundTypes = false }: ParseOptions,
  ) {
    this.#bytes = bytes
    this.#fields = fields
    this.#firstLine = firstLine
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
    return { rows: this.#rows, vectors: this.#builders.map(builder => builder.finish(this.#rows)) }
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
      const text = undoubled(bytes.subarray(start, end))
      this.#put(column, rowStart, text, 0, text.length)
    }
    return separator
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
    let line = this.#firstLine
    for (let at = this.#bytes.indexOf(LF); at >= 0 && at < offset; at = this.#bytes.indexOf(LF, at + 1)) line++
    return line
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

/** How many line breaks there are. */
export function countLines(bytes: Uint8Array): number {
  let lines = 0
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) lines++
  return lines
}

function undoubled(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length)
  let to = 0
  for (let i = 0; i < bytes.length; i++) {
    out[to++] = bytes[i]!
    if (bytes[i] === QUOTE) i++
  }
  return out.subarray(0, to)
}

function builderOf(type: DataType, text: Uint8Array, capacity: number): ColumnBuilder {
  switch (type.kind) {
    case 'byte':
      return new IntegerBuilder(type, capacity, -128, 127)
    case 'short':
      return new IntegerBuilder(type, capacity, -32_768, 32_767)
    case 'integer':
      return new IntegerBuilder(type, capacity, -2_147_483_648, 2_147_483_647)
    case 'long':
      return new LongBuilder(type, capacity)
    case 'float':
    case 'double':
      return new DoubleBuilder(type, capacity)
    case 'decimal':
      return new DecimalBuilder(type)
    case 'string':
      return new StringBuilder(type, text, capacity)
    case 'struct':
    case 'array':
    case 'map':
      return new CellBuilder(type, source => {
        try {
          return cellFromJson(parseExactJson(source), type)
        } catch (error) {
          if (error instanceof ScalarError) throw error
          throw new ScalarError(`JSON of a ${type.kind}`)
        }
      })
    default:
      return new CellBuilder(type, source => parseScalar(source, type))
  }
}

/** Marks NULLs; columns without any have no marks. */
abstract class NullableBuilder implements ColumnBuilder {
  readonly type: DataType
  readonly #capacity: number
  protected nulls: Uint8Array | undefined

  constructor(type: DataType, capacity: number) {
    this.type = type
    this.#capacity = capacity
  }

  abstract put(row: number, bytes: Uint8Array, start: number, end: number): void
  abstract finish(rows: number): Vector

  putNull(row: number): void {
    this.nulls ??= new Uint8Array(this.#capacity)
    this.nulls[row] = 1
  }

  protected vector(values: Vector['values'], rows: number): Vector {
    return { type: this.type, length: rows, values, nulls: this.nulls?.subarray(0, rows) }
  }
}

/** The whole number of up to 15 digits at [start, end), or NaN where the slow way must look. */
function shortInteger(bytes: Uint8Array, start: number, end: number): number {
  let i = start
  const negative = bytes[i] === MINUS
  if (negative) i++
  if (end - i > 15 || i === end) return Number.NaN
  let value = 0
  for (; i < end; i++) {
    const byte = bytes[i]!
    if (byte < ZERO || byte > NINE) return Number.NaN
    value = value * 10 + (byte - ZERO)
  }
  return negative ? -value : value
}

class IntegerBuilder extends NullableBuilder {
  readonly #values: Int32Array
  readonly #least: number
  readonly #most: number

  constructor(type: DataType, capacity: number, least: number, most: number) {
    super(type, capacity)
    this.#values = new Int32Array(capacity)
    this.#least = least
    this.#most = most
  }

  put(row: number, bytes: Uint8Array, start: number, end: number): void {
    const value = shortInteger(bytes, start, end)
    this.#values[row] =
      value >= this.#least && value <= this.#most
        ? value
        : (parseScalar(decoder.decode(bytes.subarray(start, end)), this.type) as number)
  }

  finish(rows: number): Vector {
    return this.vector(this.#values.subarray(0, rows), rows)
  }
}

/** 64-bit integers are put together as halves of 32 bits: a BigInt for each would cost more than all the rest. */
class LongBuilder extends NullableBuilder {
  readonly #values: BigInt64Array
  readonly #halves: Int32Array

  constructor(type: DataType, capacity: number) {
    super(type, capacity)
    this.#values = new BigInt64Array(capacity)
    this.#halves = new Int32Array(this.#values.buffer)
  }

  put(row: number, bytes: Uint8Array, start: number, end: number): void {
    const short = shortInteger(bytes, start, end)
    if (!Number.isNaN(short)) {
      const high = Math.floor(short / 4_294_967_296)
      this.#halves[2 * row] = short - high * 4_294_967_296
      this.#halves[2 * row + 1] = high
      return
    }
    const negative = bytes[start] === MINUS
    const digits = negative ? start + 1 : start
    const middle = end - NINE_DIGITS
    if (middle > digits && end - digits <= LONG_DIGITS_SAFE && bytes[digits] !== MINUS && bytes[middle] !== MINUS) {
      const top = shortInteger(bytes, digits, middle)
      const rest = shortInteger(bytes, middle, end)
      if (top >= 0 && rest >= 0) {
        this.#putParts(row, top, rest, negative)
        return
      }
    }
    this.#values[row] = parseScalar(decoder.decode(bytes.subarray(start, end)), this.type) as bigint
  }

  /** top * 10^9 + rest, each below 10^9; no part of the sum is beyond what a double keeps. */
  #putParts(row: number, top: number, rest: number, negative: boolean): void {
    const topHigh = Math.floor(top / 65_536)
    const upper = topHigh * 1e9
    const lower = (top - topHigh * 65_536) * 1e9 + rest
    const upperHigh = Math.floor(upper / 65_536)
    const sum = (upper - upperHigh * 65_536) * 65_536 + lower
    const carry = Math.floor(sum / 4_294_967_296)
    let low = sum - carry * 4_294_967_296
    let high = upperHigh + carry
    if (negative) {
      low = -low | 0
      high = low === 0 ? -high : ~high
    }
    this.#halves[2 * row] = low
    this.#halves[2 * row + 1] = high
  }

  finish(rows: number): Vector {
    return this.vector(this.#values.subarray(0, rows), rows)
  }
}

/** Doubles keep every whole number of so many digits, and these powers of ten: one division rounds once, as it should. */
const DOUBLE_DIGITS_EXACT = 15

/** A decimal number of up to 15 digits, without an exponent; NaN where the slow way must look. */
function shortDecimal(bytes: Uint8Array, start: number, end: number): number {
  let i = start
  const negative = bytes[i] === MINUS
  if (negative) i++
  if (end - i > DOUBLE_DIGITS_EXACT + 1) return Number.NaN
  let value = 0
  let digits = 0
  let point = -1
  for (; i < end; i++) {
    const byte = bytes[i]!
    if (byte === POINT && point < 0) {
      point = digits
      continue
    }
    if (byte < ZERO || byte > NINE) return Number.NaN
    value = value * 10 + (byte - ZERO)
    digits++
  }
  if (digits === 0 || digits > DOUBLE_DIGITS_EXACT) return Number.NaN
  if (point >= 0) value /= POWERS_OF_TEN[digits - point]!
  return negative ? -value : value
}

class DoubleBuilder extends NullableBuilder {
  readonly #values: Float64Array

  constructor(type: DataType, capacity: number) {
    super(type, capacity)
    this.#values = new Float64Array(capacity)
  }

  put(row: number, bytes: Uint8Array, start: number, end: number): void {
    const value = this.type.kind === 'double' ? shortDecimal(bytes, start, end) : Number.NaN
    this.#values[row] = Number.isNaN(value)
      ? (parseScalar(decoder.decode(bytes.subarray(start, end)), this.type) as number)
      : value
  }

  finish(rows: number): Vector {
    return this.vector(this.#values.subarray(0, rows), rows)
  }
}

/** Strings stay where they stand in the text; those with doubled quotes go behind it. */
class StringBuilder extends NullableBuilder {
  readonly #text: Uint8Array
  readonly #starts: Uint32Array
  readonly #ends: Uint32Array
  readonly #others: Uint8Array[] = []
  #size: number

  constructor(type: DataType, text: Uint8Array, capacity: number) {
    super(type, capacity)
    this.#text = text
    this.#starts = new Uint32Array(capacity)
    this.#ends = new Uint32Array(capacity)
    this.#size = text.length
  }

  put(row: number, bytes: Uint8Array, start: number, end: number): void {
    if (bytes === this.#text) {
      this.#starts[row] = start
      this.#ends[row] = end
      return
    }
    this.#others.push(bytes)
    this.#starts[row] = this.#size
    this.#size += bytes.length
    this.#ends[row] = this.#size
  }

  finish(rows: number): Vector {
    const bytes = this.#others.length === 0 ? this.#text : Buffer.concat([this.#text, ...this.#others], this.#size)
    return this.vector({ bytes, starts: this.#starts.subarray(0, rows), ends: this.#ends.subarray(0, rows) }, rows)
  }
}

/** Decimals that are written with no more digits behind the point than they have are whole numbers with a point in them. */
class DecimalBuilder implements ColumnBuilder {
  readonly #type: Extract<DataType, { kind: 'decimal' }>
  readonly #cells: Cell[] = []

  constructor(type: Extract<DataType, { kind: 'decimal' }>) {
    this.#type = type
  }

  put(row: number, bytes: Uint8Array, start: number, end: number): void {
    const { precision, scale } = this.#type
    const short = shortUnscaled(bytes, start, end, scale)
    this.#cells[row] =
      precision >= DOUBLE_DIGITS_EXACT && !Number.isNaN(short)
        ? BigInt(short)
        : parseScalar(decoder.decode(bytes.subarray(start, end)), this.#type)
  }

  putNull(row: number): void {
    this.#cells[row] = null
  }

  finish(): Vector {
    return vectorOf(this.#type, this.#cells)
  }
}

/** A decimal number times 10^scale if that has up to 15 digits and is a whole number; NaN where the slow way must look. */
function shortUnscaled(bytes: Uint8Array, start: number, end: number, scale: number): number {
  const negative = bytes[start] === MINUS
  let value = 0
  let digits = 0
  let left = -1
  for (let i = negative ? start + 1 : start; i < end; i++) {
    const byte = bytes[i]!
    if (byte === POINT && left < 0) {
      left = scale
      continue
    }
    if (byte < ZERO || byte > NINE || left === 0) return Number.NaN
    if (left > 0) left--
    value = value * 10 + (byte - ZERO)
    digits++
  }
  const missing = left < 0 ? scale : left
  if (digits === 0 || digits + missing > DOUBLE_DIGITS_EXACT) return Number.NaN
  value *= POWERS_OF_TEN[missing]!
  return negative ? -value : value
}

class CellBuilder implements ColumnBuilder {
  readonly #type: DataType
  readonly #parse: (text: string) => Cell
  readonly #cells: Cell[] = []

  constructor(type: DataType, parse: (text: string) => Cell) {
    this.#type = type
    this.#parse = parse
  }

  put(row: number, bytes: Uint8Array, start: number, end: number): void {
    this.#cells[row] = this.#parse(decoder.decode(bytes.subarray(start, end)))
  }

  putNull(row: number): void {
    this.#cells[row] = null
  }

  finish(): Vector {
    return vectorOf(this.#type, this.#cells)
  }
}
