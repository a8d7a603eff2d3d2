import { isUtf8 } from 'node:buffer'
import type { SchemaElement } from 'hyparquet/src/types.js'
import type { Cell, DataType, Utf8Values, Vector } from '../types.ts'
import { asUtf8 } from '../utf8.ts'
import { vectorOf } from '../vectors.ts'
import type { LeafColumn, PhysicalValues } from './decode.ts'

/** A byte-order mark at the start of a value is part of it. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const JULIAN_EPOCH = 2_440_588n
const DAY_MICROS = 86_400_000_000n

/** Gives value i of a leaf as a cell of a Delta type. Throws Error where a file's type cannot stand for the table's. */
export type CellReader = (i: number) => Cell

/** How to read a leaf column as a Delta type, by physical and logical type; widened types included (PROTOCOL.md, "Type Widening"). `onNotUtf8` hears of text that has U+FFFD in it for what is not UTF-8. */
export function cellReader(
  values: PhysicalValues,
  element: SchemaElement,
  type: DataType,
  onNotUtf8: () => void = () => undefined,
): CellReader {
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
      if (values.kind === 'int32') return i => values.array[i]!
      if (values.kind === 'int64') return i => narrowed(values.array[i]!)
      break
    case 'long':
      if (values.kind === 'int64') return i => values.array[i]!
      if (values.kind === 'int32') return i => BigInt(isUnsigned(element) ? values.array[i]! >>> 0 : values.array[i]!)
      break
    case 'float':
    case 'double':
      if (values.kind === 'float' || values.kind === 'double' || values.kind === 'int32') return i => values.array[i]!
      if (values.kind === 'int64') return i => Number(values.array[i]!)
      break
    case 'boolean':
      if (values.kind === 'boolean') return i => values.array[i] === 1
      break
    case 'date':
      if (values.kind === 'int32') return i => values.array[i]!
      break
    case 'decimal':
      return decimalReader(values, element, type)
    case 'timestamp':
    case 'timestamp_ntz':
      return timestampReader(values, element)
    case 'string':
      if (values.kind === 'bytes') {
        return i => {
          const text = slice(values.array, i)
          if (!isUtf8(text)) onNotUtf8()
          return decoder.decode(text)
        }
      }
      break
    case 'binary':
      if (values.kind === 'bytes') return i => new Uint8Array(slice(values.array, i))
      break
    default:
      break
  }
  throw new Error(`${element.type} cannot be read as ${type.kind}`)
}

/** A 64-bit number in a column of fewer bits. */
function narrowed(value: bigint): number {
  if (BigInt.asIntN(32, value) !== value) throw new Error(`the number ${value} does not fit 32 bits`)
  return Number(value)
}

function slice({ bytes, starts, ends }: Utf8Values, i: number): Uint8Array {
  return bytes.subarray(starts[i], ends[i])
}

function isUnsigned(element: SchemaElement): boolean {
  const { logical_type: logical, converted_type: converted } = element
  return (logical?.type === 'INTEGER' && !logical.isSigned) || (converted?.startsWith('UINT_') ?? false)
}

function decimalReader(
  values: PhysicalValues,
  element: SchemaElement,
  type: Extract<DataType, { kind: 'decimal' }>,
): CellReader {
  const logical = element.logical_type
  const scale = logical?.type === 'DECIMAL' ? logical.scale : (element.scale ?? 0)
  const up = type.scale - scale
  const rescale = (unscaled: bigint): bigint => {
    if (up >= 0) return unscaled * 10n ** BigInt(up)
    const factor = 10n ** BigInt(-up)
    if (unscaled % factor !== 0n)
      throw new Error(`a decimal has more than the ${type.scale} digits behind the point that the table gives it`)
    return unscaled / factor
  }
  if (values.kind === 'int32' || values.kind === 'int64') return i => rescale(BigInt(values.array[i]!))
  if (values.kind === 'bytes') return i => rescale(bigEndian(slice(values.array, i)))
  throw new Error(`${element.type} cannot be read as a decimal`)
}

function bigEndian(bytes: Uint8Array): bigint {
  let value = 0n
  for (const byte of bytes) value = (value << 8n) | BigInt(byte)
  return bytes.length === 0 ? 0n : BigInt.asIntN(bytes.length * 8, value)
}

function timestampReader(values: PhysicalValues, element: SchemaElement): CellReader {
  if (values.kind === 'int64') {
    const unit = timestampUnit(element)
    if (unit === 'MILLIS') return i => values.array[i]! * 1000n
    if (unit === 'NANOS') return i => floorDiv(values.array[i]!, 1000n)
    return i => values.array[i]!
  }
  if (values.kind === 'int32') return i => BigInt(values.array[i]!) * DAY_MICROS
  if (values.kind === 'bytes' && element.type === 'INT96') {
    const { bytes, starts } = values.array
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    // Days and nanoseconds of the day stay apart: together they overflow 64 bits beyond the year 2262.
    return i => {
      const days = BigInt(view.getUint32(starts[i]! + 8, true)) - JULIAN_EPOCH
      return days * DAY_MICROS + floorDiv(view.getBigInt64(starts[i]!, true), 1000n)
    }
  }
  throw new Error(`${element.type} cannot be read as a timestamp`)
}

function timestampUnit(element: SchemaElement): string {
  const logical = element.logical_type
  if (logical?.type === 'TIMESTAMP') return logical.unit
  return element.converted_type === 'TIMESTAMP_MILLIS' ? 'MILLIS' : 'MICROS'
}

function floorDiv(value: bigint, by: bigint): bigint {
  const quotient = value / by
  return value % by < 0n ? quotient - 1n : quotient
}

/** A flat column as a vector. */
export function flatVector(leaf: LeafColumn, element: SchemaElement, type: DataType, maxDefinition: number): Vector {
  const { entries, definition, values } = leaf
  const nulls = nullsOf(definition, maxDefinition)
  const quick = quickValues(values, element, type)
  if (quick !== undefined) {
    const vector = { type, length: entries, values: nulls === undefined ? quick : spread(quick, nulls), nulls }
    return type.kind === 'string' ? asUtf8(vector) : vector
  }
  const read = cellReader(values, element, type)
  const cells: Cell[] = new Array(entries)
  for (let i = 0, v = 0; i < entries; i++) cells[i] = nulls !== undefined && nulls[i] === 1 ? null : read(v++)
  return vectorOf(type, cells)
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
function quickValues(values: PhysicalValues, element: SchemaElement, type: DataType): QuickValues | undefined {
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'date':
      return values.kind === 'int32' ? values.array : undefined
    case 'long':
      return values.kind === 'int64' ? values.array : undefined
    case 'timestamp':
    case 'timestamp_ntz':
      return values.kind === 'int64' && timestampUnit(element) === 'MICROS' ? values.array : undefined
    case 'float':
    case 'double':
      return values.kind === 'double'
        ? values.array
        : values.kind === 'float'
          ? Float64Array.from(values.array)
          : undefined
    case 'string':
    case 'binary':
      return values.kind === 'bytes' ? values.array : undefined
    default:
      return undefined
  }
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
