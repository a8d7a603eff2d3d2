import type {
  DuckDBArrayVector,
  DuckDBDataChunk,
  DuckDBListVector,
  DuckDBMapVector,
  DuckDBStructVector,
  DuckDBType,
  DuckDBVector,
} from '@duckdb/node-api'
import type { Batch, Cell, DataType, Schema, Utf8Values, Vector } from '../columns/types.ts'
import { vectorOf } from '../columns/vectors.ts'
import { SqlError } from './errors.ts'
import type { DuckDb } from './native.ts'

type Reader = (row: number) => Cell

/** The content of the API's vectors of plain values. DuckDB frees it with the chunk, so it is copied out. */
interface PlainVector {
  readonly items: Int8Array | Int16Array | Int32Array | BigInt64Array | Float32Array | Float64Array
  readonly validity: { readonly data: BigUint64Array | null }
}

/** The parts of the API's vectors of texts. */
type TextVector = { readonly [part in 'dataView' | 'validity' | 'vector' | 'itemOffset']: never }

const MICROS_INFINITE = 9_223_372_036_854_775_807n
const DAYS_INFINITE = 2_147_483_647
const DECIMAL_MAX = 10n ** 38n
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** A chunk of a result as a batch of the result's schema (see `resultSchema`); shares no memory with the engine. */
export function batchOfChunk(duck: DuckDb, chunk: DuckDBDataChunk, schema: Schema): Batch {
  const rows = chunk.rowCount
  const vectors = schema.map((field, i) => vectorOfColumn(duck, chunk.getColumnVector(i), rows, field.type))
  return { rows, vectors }
}

function vectorOfColumn(duck: DuckDb, vector: DuckDBVector, rows: number, type: DataType): Vector {
  const plain = plainVector(duck, vector, rows, type)
  if (plain !== undefined) return plain
  if (vector.type.typeId === duck.DuckDBTypeId.VARCHAR) return textVector(duck, vector, rows, type)
  const read = readerOf(duck, vector, type)
  const cells = new Array<Cell>(rows)
  for (let row = 0; row < rows; row++) cells[row] = read(row)
  return vectorOf(type, cells)
}

/** Numbers and times whose form is that of our vectors. */
function plainVector(
  { DuckDBTypeId: id }: DuckDb,
  vector: DuckDBVector,
  rows: number,
  type: DataType,
): Vector | undefined {
  const { items, validity } = vector as unknown as PlainVector
  let values: Int32Array | BigInt64Array | Float64Array
  switch (vector.type.typeId) {
    case id.TINYINT:
    case id.SMALLINT:
    case id.INTEGER:
      values = Int32Array.from(items as Int32Array)
      break
    case id.BIGINT:
      values = (items as BigInt64Array).slice()
      break
    case id.FLOAT:
    case id.DOUBLE:
      values = Float64Array.from(items as Float64Array)
      break
    default:
      return undefined
  }
  return { type, length: rows, values, nulls: nullsOf(validity.data, rows) }
}

function nullsOf(validity: BigUint64Array | null, rows: number): Uint8Array | undefined {
  if (validity === null) return undefined
  const bits = new Uint8Array(validity.buffer, validity.byteOffset, validity.byteLength)
  let nulls: Uint8Array | undefined
  for (let row = 0; row < rows; row++) {
    if (((bits[row >> 3]! >> (row & 7)) & 1) === 1) continue
    nulls ??= new Uint8Array(rows)
    nulls[row] = 1
  }
  return nulls
}

/**
 * Texts by their bytes, which lie there as those of a BLOB do: the API's own decoder takes a byte-order mark off, so that a
 * row would change by being looked at.
 */
function textBytes({ DuckDBBlobVector }: DuckDb, vector: DuckDBVector): (row: number) => Uint8Array | null {
  const { dataView, validity, vector: handle, itemOffset } = vector as unknown as TextVector
  const blobs = new DuckDBBlobVector(dataView, validity, handle, itemOffset, vector.itemCount)
  return row => blobs.getItemBytes(row)
}

function textVector(duck: DuckDb, vector: DuckDBVector, rows: number, type: DataType): Vector {
  const read = textBytes(duck, vector)
  const starts = new Uint32Array(rows)
  const ends = new Uint32Array(rows)
  let nulls: Uint8Array | undefined
  let bytes = new Uint8Array(Math.max(1024, rows * 16))
  let at = 0
  for (let row = 0; row < rows; row++) {
    const text = read(row)
    starts[row] = at
    if (text === null) {
      nulls ??= new Uint8Array(rows)
      nulls[row] = 1
    } else {
      const end = at + text.length
      if (end > bytes.length) {
        const larger = new Uint8Array(Math.max(end, bytes.length * 2))
        larger.set(bytes)
        bytes = larger
      }
      bytes.set(text, at)
      at = end
    }
    ends[row] = at
  }
  const values: Utf8Values = { bytes: bytes.subarray(0, at), starts, ends }
  return { type, length: rows, values, nulls }
}

/** Reads nested values by their vectors: the API's own objects would lose fields of one name, and all but a struct's names. */
function readerOf(duck: DuckDb, vector: DuckDBVector, type: DataType): Reader {
  const { DuckDBTypeId: id } = duck
  switch (vector.type.typeId) {
    case id.STRUCT: {
      const readers = structReaders(duck, vector as DuckDBStructVector, type)
      return row => ((vector as DuckDBStructVector).isItemValid(row) ? readers.map(read => read(row)) : null)
    }
    case id.LIST:
      return listReader(duck, vector as DuckDBListVector, (type as { element: DataType }).element)
    case id.MAP:
      return mapReader(duck, vector as DuckDBMapVector, type)
    case id.ARRAY:
      return arrayReader(duck, vector as DuckDBArrayVector, type)
    case id.VARCHAR: {
      const read = textBytes(duck, vector)
      return row => {
        const bytes = read(row)
        return bytes === null ? null : decoder.decode(bytes)
      }
    }
    default: {
      const convert = converterOf(duck, vector.type)
      return row => {
        const value = vector.getItem(row)
        return value === null ? null : convert(value)
      }
    }
  }
}

function structReaders(duck: DuckDb, vector: DuckDBStructVector, type: DataType): Reader[] {
  const { fields } = type as { fields: Schema }
  return fields.map((field, i) => readerOf(duck, vector.entryVectorAt(i), field.type))
}

function listReader(duck: DuckDb, list: DuckDBListVector, element: DataType): Reader {
  const read = readerOf(duck, list.childVector, element)
  return row => {
    if (list.getItemVector(row) === null) return null
    const offset = list.getEntryOffset(row)
    return Array.from({ length: list.getEntryLength(row) }, (_, i) => read(offset + i))
  }
}

function mapReader(duck: DuckDb, vector: DuckDBMapVector, type: DataType): Reader {
  const { listVector: list } = vector as unknown as { listVector: DuckDBListVector }
  const { key, value } = type as { key: DataType; value: DataType }
  const entries = list.childVector as DuckDBStructVector
  const readKey = readerOf(duck, entries.entryVectorAt(0), key)
  const readValue = readerOf(duck, entries.entryVectorAt(1), value)
  return row => {
    if (list.getItemVector(row) === null) return null
    const offset = list.getEntryOffset(row)
    return Array.from(
      { length: list.getEntryLength(row) },
      (_, i) => [readKey(offset + i), readValue(offset + i)] as const,
    )
  }
}

function arrayReader(duck: DuckDb, vector: DuckDBArrayVector, type: DataType): Reader {
  const { childData } = vector as unknown as { childData: DuckDBVector }
  const { length } = vector.type
  const read = readerOf(duck, childData, (type as { element: DataType }).element)
  return row => (vector.getItem(row) === null ? null : Array.from({ length }, (_, i) => read(row * length + i)))
}

/** Returns the conversion of the API's values into cells. */
function converterOf({ DuckDBTypeId: id }: DuckDb, type: DuckDBType): (value: unknown) => Cell {
  switch (type.typeId) {
    case id.BOOLEAN:
    case id.TINYINT:
    case id.SMALLINT:
    case id.INTEGER:
    case id.UTINYINT:
    case id.USMALLINT:
    case id.BIGINT:
    case id.UBIGINT:
    case id.FLOAT:
    case id.DOUBLE:
    case id.VARCHAR:
      return value => value as Cell
    case id.UINTEGER:
      return value => BigInt(value as number)
    case id.HUGEINT:
    case id.UHUGEINT:
      return value => checkedDecimal(value as bigint)
    case id.DECIMAL:
      return value => (value as { value: bigint }).value
    case id.BLOB:
      return value => (value as { bytes: Uint8Array }).bytes.slice()
    case id.DATE:
      return value => checkedDate((value as { days: number }).days)
    case id.TIMESTAMP:
    case id.TIMESTAMP_TZ:
      return value => checkedMicros((value as { micros: bigint }).micros, 1n)
    case id.TIMESTAMP_S:
      return value => checkedMicros((value as { seconds: bigint }).seconds, 1_000_000n)
    case id.TIMESTAMP_MS:
      return value => checkedMicros((value as { millis: bigint }).millis, 1000n)
    default:
      return value => String(value)
  }
}

function checkedDecimal(value: bigint): bigint {
  if (value < DECIMAL_MAX && value > -DECIMAL_MAX) return value
  throw new SqlError(
    'failed',
    `the result holds the number ${value}, which has more than 38 digits; cast it to VARCHAR or DOUBLE`,
  )
}

function checkedDate(days: number): number {
  if (days !== DAYS_INFINITE && days !== -DAYS_INFINITE) return days
  throw new SqlError('failed', 'the result holds an infinite date, which Delta has no value for; cast it to VARCHAR')
}

function checkedMicros(value: bigint, unit: bigint): bigint {
  if (value !== MICROS_INFINITE && value !== -MICROS_INFINITE) return value * unit
  throw new SqlError(
    'failed',
    'the result holds an infinite timestamp, which Delta has no value for; cast it to VARCHAR',
  )
}
