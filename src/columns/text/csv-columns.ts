import type { Cell, DataType, Vector } from '../types.ts'
import { LONG_DIGITS, vectorOf } from '../vectors.ts'
import { cellFromJson, parseExactJson } from './json.ts'
import { parseScalar, ScalarError } from './scalars.ts'
import { DOUBLE_DIGITS_EXACT, digitsAt, shortDecimal, shortInteger, shortUnscaled } from './short-numbers.ts'

const MINUS = 0x2d
const ZERO = 0x30
const NINE_DIGITS = 9
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** The fields of one column: field i is bytes[starts[i], ends[i]), or NULL where nulls[i] is 1. */
export interface ColumnFields {
  readonly bytes: Uint8Array
  readonly starts: Uint32Array
  readonly ends: Uint32Array
  /** Columns without a NULL have none. */
  readonly nulls: Uint8Array | undefined
}

/** Is told the row of a field before a ScalarError is thrown for it. */
export interface FieldPlace {
  row: number
}

/**
 * Reads the fields of a column, one after the other. `isKept`: fields that are no such value are refused, though the type
 * takes them. Throws ScalarError, of the first field that does not fit; `place` has its row then.
 */
export function columnOf(type: DataType, fields: ColumnFields, place: FieldPlace, isKept?: IsKept): Vector {
  if (isKept !== undefined && (type.kind === 'long' || type.kind === 'double'))
    return type.kind === 'long' ? longs(type, fields, place, isKept) : doubles(type, fields, place, isKept)
  const end = isKept === undefined ? fields.starts.length : keptEnd(fields, isKept)
  if (end === fields.starts.length) return read(type, fields, place)
  // One in front of it may not fit either.
  read(type, { ...fields, starts: fields.starts.subarray(0, end) }, place)
  place.row = end
  throw notKept(type)
}

function notKept({ kind }: DataType): ScalarError {
  return new ScalarError(`a value that a ${kind} keeps`)
}

type IsKept = (bytes: Uint8Array, start: number, end: number) => boolean

/** The first field that is not kept, or their number. */
function keptEnd({ bytes, starts, ends, nulls }: ColumnFields, isKept: IsKept): number {
  let row = 0
  while (row < starts.length && ((nulls !== undefined && nulls[row] === 1) || isKept(bytes, starts[row]!, ends[row]!)))
    row++
  return row
}

function read(type: DataType, fields: ColumnFields, place: FieldPlace): Vector {
  switch (type.kind) {
    case 'byte':
      return integers(type, fields, place, -128, 127)
    case 'short':
      return integers(type, fields, place, -32_768, 32_767)
    case 'integer':
      return integers(type, fields, place, -2_147_483_648, 2_147_483_647)
    case 'long':
      return longs(type, fields, place)
    case 'float':
    case 'double':
      return doubles(type, fields, place)
    case 'decimal':
      return type.precision <= LONG_DIGITS
        ? shortDecimals(type, fields, place)
        : cells(type, fields, place, source => parseScalar(source, type))
    case 'string': {
      const { bytes, starts, ends, nulls } = fields
      return { type, length: starts.length, values: { bytes, starts, ends }, nulls }
    }
    case 'struct':
    case 'array':
    case 'map':
      return cells(type, fields, place, source => nested(source, type))
    default:
      return cells(type, fields, place, source => parseScalar(source, type))
  }
}

function integers(
  type: DataType,
  { bytes, starts, ends, nulls }: ColumnFields,
  place: FieldPlace,
  least: number,
  most: number,
): Vector {
  const { length } = starts
  const values = new Int32Array(length)
  for (let row = 0; row < length; row++) {
    if (nulls !== undefined && nulls[row] === 1) continue
    const value = shortInteger(bytes, starts[row]!, ends[row]!)
    if (value >= least && value <= most) values[row] = value
    else {
      place.row = row
      values[row] = parsed(bytes, starts[row]!, ends[row]!, type) as number
    }
  }
  return { type, length, values, nulls }
}

/**
 * 64-bit integers are put together as halves of 32 bits: a BigInt for each would cost more than all the rest. What begins
 * with another digit than 0 and is taken here is spelled as it is kept.
 */
function longs(
  type: DataType,
  { bytes, starts, ends, nulls }: ColumnFields,
  place: FieldPlace,
  isKept?: IsKept,
): Vector {
  const { length } = starts
  const values = new BigInt64Array(length)
  const halves = new Int32Array(values.buffer)
  for (let row = 0; row < length; row++) {
    if (nulls !== undefined && nulls[row] === 1) continue
    const start = starts[row]!
    const end = ends[row]!
    const first = bytes[start] === MINUS ? bytes[start + 1] : bytes[start]
    const isTaken = (isKept === undefined || first !== ZERO) && putLong(halves, row, bytes, start, end)
    if (isTaken) continue
    place.row = row
    if (isKept?.(bytes, start, end) === false) throw notKept(type)
    values[row] = parsed(bytes, start, end, type) as bigint
  }
  return { type, length, values, nulls }
}

/** A whole number that a double keeps. */
function putHalves(halves: Int32Array, row: number, value: number): void {
  const high = Math.floor(value / 4_294_967_296)
  halves[2 * row] = value - high * 4_294_967_296
  halves[2 * row + 1] = high
}

/** Takes a whole number of up to LONG_DIGITS digits, and says so. */
function putLong(halves: Int32Array, row: number, bytes: Uint8Array, start: number, end: number): boolean {
  const negative = bytes[start] === MINUS
  const digits = negative ? start + 1 : start
  const count = end - digits
  if (count > LONG_DIGITS || count <= 0) return false
  if (count <= NINE_DIGITS) {
    const value = digitsAt(bytes, digits, end)
    halves[2 * row] = negative ? -value : value
    halves[2 * row + 1] = negative && value > 0 ? -1 : 0
    return value >= 0
  }
  const top = digitsAt(bytes, digits, end - NINE_DIGITS)
  const rest = digitsAt(bytes, end - NINE_DIGITS, end)
  if (top < 0 || rest < 0) return false
  if (count <= DOUBLE_DIGITS_EXACT) putHalves(halves, row, negative ? -(top * 1e9 + rest) : top * 1e9 + rest)
  else putParts(halves, row, top, rest, negative)
  return true
}

/** top * 10^9 + rest, each below 10^9; no part of the sum is beyond what a double keeps. */
function putParts(halves: Int32Array, row: number, top: number, rest: number, negative: boolean): void {
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
  halves[2 * row] = low
  halves[2 * row + 1] = high
}

/** Numbers that begin with another digit than 0 and have few digits are spelled as they are kept. */
function doubles(
  type: DataType,
  { bytes, starts, ends, nulls }: ColumnFields,
  place: FieldPlace,
  isKept?: IsKept,
): Vector {
  const { length } = starts
  const values = new Float64Array(length)
  const isDouble = type.kind === 'double'
  for (let row = 0; row < length; row++) {
    if (nulls !== undefined && nulls[row] === 1) continue
    const start = starts[row]!
    const end = ends[row]!
    const first = bytes[start] === MINUS ? bytes[start + 1]! : bytes[start]!
    const isPlain = first > ZERO && end - start <= DOUBLE_DIGITS_EXACT
    if (!isPlain && isKept?.(bytes, start, end) === false) {
      place.row = row
      throw notKept(type)
    }
    const value = isDouble ? shortDecimal(bytes, start, end) : Number.NaN
    if (!Number.isNaN(value)) values[row] = value
    else {
      place.row = row
      if (isPlain && isKept?.(bytes, start, end) === false) throw notKept(type)
      values[row] = parsed(bytes, start, end, type) as number
    }
  }
  return { type, length, values, nulls }
}

type DecimalType = Extract<DataType, { kind: 'decimal' }>

/** Decimals that fit 64 bits, as halves of 32 bits. */
function shortDecimals(type: DecimalType, { bytes, starts, ends, nulls }: ColumnFields, place: FieldPlace): Vector {
  const { length } = starts
  const values = new BigInt64Array(length)
  const halves = new Int32Array(values.buffer)
  const end = 10 ** Math.min(type.precision, DOUBLE_DIGITS_EXACT)
  for (let row = 0; row < length; row++) {
    if (nulls !== undefined && nulls[row] === 1) continue
    const short = shortUnscaled(bytes, starts[row]!, ends[row]!, type.scale)
    // What is written with no more digits behind the point than the type has is a whole number with a point in it.
    if (Math.abs(short) < end) putHalves(halves, row, short)
    else {
      place.row = row
      values[row] = parsed(bytes, starts[row]!, ends[row]!, type) as bigint
    }
  }
  return { type, length, values, nulls }
}

function parsed(bytes: Uint8Array, start: number, end: number, type: DataType): Cell {
  return parseScalar(decoder.decode(bytes.subarray(start, end)), type)
}

function cells(
  type: DataType,
  { bytes, starts, ends, nulls }: ColumnFields,
  place: FieldPlace,
  parse: (text: string) => Cell,
): Vector {
  const found: Cell[] = []
  for (let row = 0; row < starts.length; row++) {
    place.row = row
    found.push(nulls?.[row] === 1 ? null : parse(decoder.decode(bytes.subarray(starts[row], ends[row]))))
  }
  return vectorOf(type, found)
}

function nested(source: string, type: DataType): Cell {
  try {
    return cellFromJson(parseExactJson(source), type)
  } catch (error) {
    if (error instanceof ScalarError) throw error
    throw new ScalarError(`JSON of a ${type.kind}`)
  }
}
