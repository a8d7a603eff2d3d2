import type { Cell, DataType, Vector } from '../types.ts'
import { LONG_DIGITS, vectorOf } from '../vectors.ts'
import { cellFromJson, parseExactJson } from './json.ts'
import { parseScalar, ScalarError } from './scalars.ts'
import { DOUBLE_DIGITS_EXACT, shortDecimal, shortInteger, shortUnscaled } from './short-numbers.ts'

const MINUS = 0x2d
const NINE_DIGITS = 9
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Gathers the values of one column. Ranges are of the text, or of the `unquoted` bytes of all fields with doubled quotes. */
export interface ColumnBuilder {
  /** Takes the field bytes[start, end). Throws ScalarError. */
  put(row: number, bytes: Uint8Array, start: number, end: number): void
  putNull(row: number): void
  /** The column of the first `rows` rows. `bytes`: the text, and behind it the unquoted bytes. */
  finish(rows: number, bytes: Uint8Array): Vector
}

/** Gathers values of a type from `text`, of at most `capacity` rows. */
export function builderOf(type: DataType, text: Uint8Array, capacity: number): ColumnBuilder {
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
      return type.precision <= LONG_DIGITS
        ? new ShortDecimalBuilder(type, capacity)
        : new CellBuilder(type, source => parseScalar(source, type))
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
  abstract finish(rows: number, bytes: Uint8Array): Vector

  putNull(row: number): void {
    this.nulls ??= new Uint8Array(this.#capacity)
    this.nulls[row] = 1
  }

  protected vector(values: Vector['values'], rows: number): Vector {
    return { type: this.type, length: rows, values, nulls: this.nulls?.subarray(0, rows) }
  }
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
    if (middle > digits && end - digits <= LONG_DIGITS && bytes[digits] !== MINUS && bytes[middle] !== MINUS) {
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

/** Strings stay where they stand in the text; those with doubled quotes are in what will stand behind it. */
class StringBuilder extends NullableBuilder {
  readonly #text: Uint8Array
  readonly #starts: Uint32Array
  readonly #ends: Uint32Array

  constructor(type: DataType, text: Uint8Array, capacity: number) {
    super(type, capacity)
    this.#text = text
    this.#starts = new Uint32Array(capacity)
    this.#ends = new Uint32Array(capacity)
  }

  put(row: number, bytes: Uint8Array, start: number, end: number): void {
    const offset = bytes === this.#text ? 0 : this.#text.length
    this.#starts[row] = offset + start
    this.#ends[row] = offset + end
  }

  finish(rows: number, bytes: Uint8Array): Vector {
    return this.vector({ bytes, starts: this.#starts.subarray(0, rows), ends: this.#ends.subarray(0, rows) }, rows)
  }
}

type DecimalType = Extract<DataType, { kind: 'decimal' }>

/** Decimals that fit 64 bits, as halves of 32 bits. */
class ShortDecimalBuilder extends NullableBuilder {
  readonly #type: DecimalType
  readonly #values: BigInt64Array
  readonly #halves: Int32Array

  constructor(type: DecimalType, capacity: number) {
    super(type, capacity)
    this.#type = type
    this.#values = new BigInt64Array(capacity)
    this.#halves = new Int32Array(this.#values.buffer)
  }

  put(row: number, bytes: Uint8Array, start: number, end: number): void {
    const short = shortUnscaled(bytes, start, end, this.#type.scale)
    // What is written with no more digits behind the point than the type has is a whole number with a point in it.
    if (Math.abs(short) < 10 ** Math.min(this.#type.precision, DOUBLE_DIGITS_EXACT)) {
      const high = Math.floor(short / 4_294_967_296)
      this.#halves[2 * row] = short - high * 4_294_967_296
      this.#halves[2 * row + 1] = high
    } else this.#values[row] = parseScalar(decoder.decode(bytes.subarray(start, end)), this.#type) as bigint
  }

  finish(rows: number): Vector {
    return this.vector(this.#values.subarray(0, rows), rows)
  }
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
