import { formOf, type LeafForm } from '../columns/parquet/leaf.ts'
import type { SchemaNode } from '../columns/parquet/metadata.ts'
import type { ChunkStatistics } from '../columns/parquet/raw-footer.ts'
import type { DataType } from '../columns/types.ts'
import { type ColumnRange, type Ordered, UNKNOWN } from './column-ranges.ts'

const REPLACEMENT = '\ufffd'
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The range of a column's values that the statistics of a chunk give (parquet.thrift, Statistics). Only forms whose order
 * in Parquet is the one of the type; what else there is says nothing. `leaf`: where the file has the column.
 */
export function rangeOfBounds(type: DataType, leaf: SchemaNode, { min, max }: ChunkStatistics): ColumnRange {
  const form = formOf(leaf)
  const boundOf = (bytes: Uint8Array | undefined): Ordered | undefined =>
    bytes === undefined ? undefined : orderedOf(type, form, leaf.physical, bytes)
  const [least, most] = [boundOf(min), boundOf(max)]
  const isFloat = type.kind === 'float' || type.kind === 'double'
  // A bound may be cut, and not all writers round the upper one up.
  const openAbove = type.kind === 'string' ? (most as string | undefined) : undefined
  if (least === undefined && most === undefined) return isFloat ? { ...UNKNOWN, mayHaveNaN: true } : UNKNOWN
  return { least, most, openAbove, mayHaveNaN: isFloat, isExact: false }
}

function orderedOf(
  type: DataType,
  form: LeafForm,
  physical: string | undefined,
  bytes: Uint8Array,
): Ordered | undefined {
  const kind = `${type.kind} of ${form.kind}`
  switch (kind) {
    case 'byte of integer':
    case 'short of integer':
    case 'integer of integer':
    case 'long of integer':
    case 'decimal of integer': {
      const value = form.kind === 'integer' && form.isSigned ? integerOf(physical, bytes) : undefined
      return value === undefined ? undefined : { unscaled: value, scale: 0 }
    }
    case 'decimal of decimal': {
      const value = integerOf(physical, bytes)
      return value === undefined || form.kind !== 'decimal' ? undefined : { unscaled: value, scale: form.scale }
    }
    case 'date of date': {
      const value = integerOf(physical, bytes)
      return value === undefined ? undefined : Number(value)
    }
    case 'timestamp of timestamp':
    case 'timestamp_ntz of timestamp': {
      const value = integerOf(physical, bytes)
      if (value === undefined || form.kind !== 'timestamp') return undefined
      if (form.unit === 'MICROS') return value
      return form.unit === 'MILLIS' ? value * 1000n : undefined
    }
    case 'float of float':
    case 'double of float':
    case 'double of double':
      return floatOf(physical, bytes)
    case 'string of string':
      return physical === 'BYTE_ARRAY' ? textOf(bytes) : undefined
    default:
      return undefined
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function integerOf(physical: string | undefined, bytes: Uint8Array): bigint | undefined {
  if (physical === 'INT32' && bytes.length === 4) return BigInt(viewOf(bytes).getInt32(0, true))
  return physical === 'INT64' && bytes.length === 8 ? viewOf(bytes).getBigInt64(0, true) : undefined
}

function floatOf(physical: string | undefined, bytes: Uint8Array): number | undefined {
  const isShort = physical === 'FLOAT' && bytes.length === 4
  if (!isShort && !(physical === 'DOUBLE' && bytes.length === 8)) return undefined
  const value = isShort ? viewOf(bytes).getFloat32(0, true) : viewOf(bytes).getFloat64(0, true)
  return Number.isFinite(value) ? value : undefined
}

/** Text that is not UTF-8 is in the order of its bytes, and not in that of what it is shown as. */
function textOf(bytes: Uint8Array): string | undefined {
  try {
    const text = decoder.decode(bytes)
    return text.includes(REPLACEMENT) ? undefined : text
  } catch {
    return undefined
  }
}
