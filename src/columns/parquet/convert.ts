import { isUtf8 } from 'node:buffer'
import { sqlType } from '../schema.ts'
import { formatDecimal } from '../text/scalars.ts'
import type { Cell, DataType, Utf8Values, Vector } from '../types.ts'
import { asUtf8 } from '../utf8.ts'
import { LONG_DIGITS, vectorOf } from '../vectors.ts'
import type { LeafColumn } from './decode.ts'
import { describeForm, formOf, type LeafForm } from './leaf.ts'
import type { SchemaNode, TimeUnit } from './metadata.ts'
import type { PhysicalValues } from './values.ts'

/** A byte-order mark at the start of a value is part of it. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const JULIAN_EPOCH = 2_440_588n
const DAY_MICROS = 86_400_000_000n
const INTEGER_BITS = { byte: 8, short: 16, integer: 32, long: 64 } as const

/** Gives value i of a leaf as a cell of a Delta type. Throws Error for a value that the type does not hold. */
export type CellReader = (i: number) => Cell

/** The listeners that hear of values that are not what the file has. */
export interface Listeners {
  /** A value was cut: of nanoseconds Delta has no more than the microseconds. */
  onCut(): void
  /** Text has U+FFFD in it for what is not UTF-8. */
  onNotUtf8(): void
}

/**
 * Returns the conversion of a leaf column to a Delta type: each value exactly, or not at all. Widened types are included
 * (PROTOCOL.md, "Type Widening"). Throws Error where what the file has cannot stand for the table's type.
 */
export function cellReader(values: PhysicalValues, node: SchemaNode, type: DataType, listeners: Listeners): CellReader {
  const form = formOf(node)
  const reader = form.kind === 'null' ? noReader : readerFor(values, form, type, listeners)
  if (reader === undefined) throw new Error(`the file has ${describeForm(form)} where the table has ${sqlType(type)}`)
  return reader
}

function noReader(): never {
  throw new Error('a column without a type holds a value')
}

function readerFor(
  values: PhysicalValues,
  form: LeafForm,
  type: DataType,
  { onCut, onNotUtf8 }: Listeners,
): CellReader | undefined {
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
      return form.kind === 'integer' ? integerReader(values, form, type.kind) : undefined
    case 'float':
    case 'double':
      return floatReader(values, form, type.kind)
    case 'boolean':
      return values.kind === 'boolean' ? i => values.array[i] === 1 : undefined
    case 'date':
      return form.kind === 'date' && values.kind === 'int32' ? i => values.array[i]! : undefined
    case 'decimal':
      return decimalReader(values, form, type)
    case 'timestamp':
    case 'timestamp_ntz':
      return timestampReader(values, form, type.kind, onCut)
    case 'string':
      return stringReader(values, form, onNotUtf8)
    case 'binary':
      // The bytes as they are, whatever else they mean.
      return values.kind === 'bytes' && form.kind !== 'timestamp' && form.kind !== 'decimal'
        ? i => new Uint8Array(slice(values.array, i))
        : undefined
    default:
      return undefined
  }
}

function slice({ bytes, starts, ends }: Utf8Values, i: number): Uint8Array {
  return bytes.subarray(starts[i], ends[i])
}

// --- numbers -----------------------------------------------------------------------------------------------------------

type IntegerForm = Extract<LeafForm, { kind: 'integer' }>

/** Whole numbers by their sign; undefined for values that are none. */
function wholeNumbers(values: PhysicalValues, { isSigned }: IntegerForm): ((i: number) => number | bigint) | undefined {
  if (values.kind === 'int32') return isSigned ? i => values.array[i]! : i => values.array[i]! >>> 0
  if (values.kind === 'int64') return isSigned ? i => values.array[i]! : i => BigInt.asUintN(64, values.array[i]!)
  return undefined
}

function integerReader(
  values: PhysicalValues,
  form: IntegerForm,
  kind: keyof typeof INTEGER_BITS,
): CellReader | undefined {
  const read = wholeNumbers(values, form)
  if (read === undefined) return undefined
  const bits = INTEGER_BITS[kind]
  const most = 2n ** BigInt(bits - 1) - 1n
  const checked = (value: number | bigint): number | bigint => {
    if (value > most || value < -most - 1n)
      throw new Error(`the number ${value} does not fit ${sqlType({ kind })}, which the table has`)
    return value
  }
  const fits = form.isSigned ? form.bits <= bits : form.bits < bits
  const number = fits ? read : (i: number) => checked(read(i))
  return kind === 'long' ? i => BigInt(number(i)) : i => Number(number(i))
}

function floatReader(values: PhysicalValues, form: LeafForm, kind: 'float' | 'double'): CellReader | undefined {
  if (form.kind === 'float16' && values.kind === 'bytes') return i => float16At(values.array, i)
  if (values.kind === 'float' || (values.kind === 'double' && kind === 'double')) return i => values.array[i]!
  const read =
    values.kind === 'double'
      ? (i: number) => values.array[i]!
      : form.kind === 'integer'
        ? wholeNumbers(values, form)
        : undefined
  if (read === undefined) return undefined
  return i => {
    const value = read(i)
    const rounded = kind === 'float' ? Math.fround(Number(value)) : Number(value)
    // Compared as they are: a 64-bit number may not be what it becomes as a float.
    // biome-ignore lint/suspicious/noDoubleEquals: a bigint is never strictly equal to a number.
    if (rounded != value && !Number.isNaN(rounded))
      throw new Error(`the number ${value} is no ${sqlType({ kind })}, which the table has`)
    return rounded
  }
}

/** IEEE 754 binary16, as its two little-endian bytes are. */
function float16At({ bytes, starts }: Utf8Values, i: number): number {
  const at = starts[i]!
  const word = bytes[at]! | (bytes[at + 1]! << 8)
  const sign = word & 0x8000 ? -1 : 1
  const exponent = (word >> 10) & 31
  const fraction = word & 1023
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25)
}

function decimalReader(
  values: PhysicalValues,
  form: LeafForm,
  type: Extract<DataType, { kind: 'decimal' }>,
): CellReader | undefined {
  const unscaled = unscaledReader(values, form)
  if (unscaled === undefined) return undefined
  const digits = form.kind === 'decimal' ? form.precision : 20
  const scale = form.kind === 'decimal' ? form.scale : 0
  const up = type.scale - scale
  const factor = 10n ** BigInt(Math.abs(up))
  const divided = (value: bigint): bigint => {
    if (value % factor !== 0n)
      throw new Error(`a decimal has more than the ${type.scale} digits behind the point that the table gives it`)
    return value / factor
  }
  const rescaled =
    up === 0 ? unscaled : up > 0 ? (i: number) => unscaled(i) * factor : (i: number) => divided(unscaled(i))
  if (digits - scale <= type.precision - type.scale) return rescaled
  const limit = 10n ** BigInt(type.precision)
  return i => {
    const value = rescaled(i)
    if (value >= limit || value <= -limit) {
      const number = formatDecimal(value, type.scale)
      throw new Error(`the number ${number} does not fit ${sqlType(type)}, which the table has`)
    }
    return value
  }
}

function unscaledReader(values: PhysicalValues, form: LeafForm): ((i: number) => bigint) | undefined {
  if (form.kind === 'integer') {
    const read = wholeNumbers(values, form)
    return read && (i => BigInt(read(i)))
  }
  if (form.kind !== 'decimal') return undefined
  if (values.kind === 'int32' || values.kind === 'int64') return i => BigInt(values.array[i]!)
  if (values.kind !== 'bytes') return undefined
  const { bytes, starts, ends } = values.array
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return i => bigEndian(view, starts[i]!, ends[i]!)
}

/** A two's complement number of any length, eight bytes at a time from its end. */
function bigEndian(view: DataView, start: number, end: number): bigint {
  if (start === end) return 0n
  let value = 0n
  let shift = 0n
  let at = end
  for (; at - start >= 8; at -= 8, shift += 64n) value |= view.getBigUint64(at - 8) << shift
  for (; at > start; at--, shift += 8n) value |= BigInt(view.getUint8(at - 1)) << shift
  return BigInt.asIntN((end - start) * 8, value)
}

// --- times -------------------------------------------------------------------------------------------------------------

function timestampReader(
  values: PhysicalValues,
  form: LeafForm,
  kind: 'timestamp' | 'timestamp_ntz',
  onCut: () => void,
): CellReader | undefined {
  if (form.kind === 'date' && kind === 'timestamp_ntz' && values.kind === 'int32')
    return i => BigInt(values.array[i]!) * DAY_MICROS
  if (form.kind !== 'timestamp') return undefined
  if (values.kind === 'int64') {
    const { array } = values
    if (form.unit === 'MILLIS') return i => fitting(array[i]! * 1000n)
    return form.unit === 'NANOS' ? i => microsOf(array[i]!, onCut) : i => array[i]!
  }
  if (values.kind !== 'bytes') return undefined
  const { bytes, starts } = values.array
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  // Days and nanoseconds of the day stay apart: together they overflow 64 bits beyond the year 2262. What overflows beyond
  // the year 286000 did so in Spark, too, when it was written, and comes back by the same way.
  return i => {
    const days = BigInt(view.getInt32(starts[i]! + 8, true)) - JULIAN_EPOCH
    return BigInt.asIntN(64, days * DAY_MICROS + microsOf(view.getBigInt64(starts[i]!, true), onCut))
  }
}

function fitting(micros: bigint): bigint {
  if (BigInt.asIntN(64, micros) !== micros) throw new Error('a timestamp is beyond all that Delta can hold')
  return micros
}

function microsOf(nanos: bigint, onCut: () => void): bigint {
  const micros = nanos / 1000n
  const rest = nanos - micros * 1000n
  if (rest === 0n) return micros
  onCut()
  return rest < 0n ? micros - 1n : micros
}

const UNITS_PER_SECOND: Readonly<Record<TimeUnit, bigint>> = {
  MILLIS: 1000n,
  MICROS: 1_000_000n,
  NANOS: 1_000_000_000n,
}

/** A time of day as ISO 8601 has it: microseconds, or nanoseconds, where there are any. */
function formatTime(value: bigint, unit: TimeUnit): string {
  const perSecond = UNITS_PER_SECOND[unit]
  const total = Number(value / perSecond)
  const nanos = (value % perSecond) * (1_000_000_000n / perSecond)
  const two = (number: number): string => String(number).padStart(2, '0')
  const clock = `${two(Math.floor(total / 3600))}:${two(Math.floor(total / 60) % 60)}:${two(total % 60)}`
  if (value < 0n) throw new Error(`the time of day ${value} is negative`)
  if (nanos === 0n) return clock
  return `${clock}.${nanos % 1000n === 0n ? String(nanos / 1000n).padStart(6, '0') : String(nanos).padStart(9, '0')}`
}

// --- texts -------------------------------------------------------------------------------------------------------------

function stringReader(values: PhysicalValues, form: LeafForm, onNotUtf8: () => void): CellReader | undefined {
  if (form.kind === 'time') {
    if (values.kind !== 'int32' && values.kind !== 'int64') return undefined
    return i => formatTime(BigInt(values.array[i]!), form.unit)
  }
  if (values.kind !== 'bytes') return undefined
  if (form.kind === 'uuid') return i => formatUuid(slice(values.array, i))
  if (form.kind !== 'string' && form.kind !== 'binary') return undefined
  return i => {
    const text = slice(values.array, i)
    if (!isUtf8(text)) onNotUtf8()
    return decoder.decode(text)
  }
}

/** As RFC 9562, section 4, has it. */
function formatUuid(bytes: Uint8Array): string {
  return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

// --- columns that are not nested ---------------------------------------------------------------------------------------

/** A flat column as a vector. */
export function flatVector(leaf: LeafColumn, node: SchemaNode, type: DataType): Vector {
  const { entries, definition, values } = leaf
  const nulls = nullsOf(definition, node.maxDefinition)
  const quick = quickValues(values, formOf(node), type)
  if (quick !== undefined) {
    const vector = { type, length: entries, values: nulls === undefined ? quick : spread(quick, nulls), nulls }
    return type.kind === 'string' ? asUtf8(vector) : vector
  }
  let row = 0
  let cut: number | undefined
  let notUtf8: number | undefined
  const read = cellReader(values, node, type, {
    onCut: () => {
      cut ??= row
    },
    onNotUtf8: () => {
      notUtf8 ??= row
    },
  })
  const cells: Cell[] = new Array(entries)
  for (let v = 0; row < entries; row++) cells[row] = nulls !== undefined && nulls[row] === 1 ? null : read(v++)
  return { ...vectorOf(type, cells), cut, notUtf8 }
}

function nullsOf(definition: Uint8Array | undefined, max: number): Uint8Array | undefined {
  if (definition === undefined) return undefined
  let nulls: Uint8Array | undefined
  for (let i = 0; i < definition.length; i++) {
    if (definition[i] === max) continue
    nulls ??= new Uint8Array(definition.length)
    nulls[i] = 1
  }
  return nulls
}

type QuickValues = Int32Array | BigInt64Array | Float64Array | Utf8Values

/** The values as they are, where the file's form is that of a vector. */
function quickValues(values: PhysicalValues, form: LeafForm, type: DataType): QuickValues | undefined {
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
      return values.kind === 'int32' &&
        form.kind === 'integer' &&
        form.bits + (form.isSigned ? 0 : 1) <= INTEGER_BITS[type.kind]
        ? values.array
        : undefined
    case 'date':
      return values.kind === 'int32' && form.kind === 'date' ? values.array : undefined
    case 'long':
      return values.kind === 'int64' && form.kind === 'integer' && form.isSigned ? values.array : undefined
    case 'timestamp':
    case 'timestamp_ntz':
      return values.kind === 'int64' && form.kind === 'timestamp' && form.unit === 'MICROS' ? values.array : undefined
    case 'float':
      return values.kind === 'float' ? Float64Array.from(values.array) : undefined
    case 'double':
      if (values.kind === 'double') return values.array
      return values.kind === 'float' ? Float64Array.from(values.array) : undefined
    case 'string':
      return values.kind === 'bytes' && (form.kind === 'string' || form.kind === 'binary') ? values.array : undefined
    case 'binary':
      return values.kind === 'bytes' && (form.kind === 'string' || form.kind === 'binary') ? values.array : undefined
    case 'decimal': {
      const isSame = form.kind === 'decimal' && form.scale === type.scale && form.precision <= type.precision
      if (!isSame || type.precision > LONG_DIGITS) return undefined
      return values.kind === 'int64' ? values.array : values.kind === 'int32' ? longs(values.array) : undefined
    }
    default:
      return undefined
  }
}

function longs(ints: Int32Array): BigInt64Array {
  const words = new Int32Array(2 * ints.length)
  for (let i = 0; i < ints.length; i++) {
    words[2 * i] = ints[i]!
    words[2 * i + 1] = ints[i]! >> 31
  }
  return new BigInt64Array(words.buffer)
}

/** Puts the values that are there at the rows that are not NULL. */
function spread(values: QuickValues, nulls: Uint8Array): QuickValues {
  if ('starts' in values) {
    return {
      bytes: values.bytes,
      starts: spread(values.starts as never, nulls) as never,
      ends: spread(values.ends as never, nulls) as never,
    }
  }
  const source = values as Int32Array
  const out = new (source.constructor as Int32ArrayConstructor)(nulls.length)
  for (let i = 0, v = 0; i < nulls.length; i++) if (nulls[i] === 0) out[i] = source[v++]!
  return out as QuickValues
}
