import {
  Field as ArrowField,
  Schema as ArrowSchema,
  type DataType as ArrowType,
  Binary,
  Bool,
  type Data,
  DateDay,
  Decimal,
  Float32,
  Float64,
  Int8,
  Int16,
  Int32,
  Int64,
  List,
  Map_,
  makeData,
  Null,
  RecordBatch,
  RecordBatchStreamWriter,
  Struct,
  TimestampMicrosecond,
  Utf8,
} from 'apache-arrow'
import { totalLength } from '../core/search.ts'
import type { Batch, Cell, DataType, Field, Schema } from './types.ts'
import { cellAt } from './vectors.ts'

const encoder = new TextEncoder()
const WORD = 0xffff_ffffn

/**
 * Batches as an Arrow IPC stream, with the types of the columns: exact decimals, microseconds, nested values. Throws what
 * `batches` throws.
 */
export async function* arrowStream(schema: Schema, batches: AsyncIterable<Batch>): AsyncGenerator<Uint8Array> {
  const arrowSchema = new ArrowSchema(schema.map(arrowField))
  const struct = new Struct(arrowSchema.fields)
  const writer = new RecordBatchStreamWriter()
  writer.reset(undefined, arrowSchema)
  const failures: unknown[] = []
  const produced = (async () => {
    try {
      for await (const batch of batches) {
        const children = schema.map((field, i) => dataOf(field.type, cellsOf(batch, i)))
        writer.write(
          new RecordBatch(arrowSchema, makeData({ type: struct, length: batch.rows, nullCount: 0, children })),
        )
      }
      writer.finish()
    } catch (error) {
      // The writer would hand its reader something else than this error.
      failures.push(error)
    }
    writer.close()
  })()
  for await (const bytes of writer) if (failures.length === 0) yield bytes as Uint8Array
  await produced
  if (failures.length > 0) throw failures[0]
}

function cellsOf({ vectors, rows }: Batch, column: number): Cell[] {
  return Array.from({ length: rows }, (_, row) => cellAt(vectors[column]!, row))
}

function arrowField({ name, type, nullable }: Field): ArrowField {
  return new ArrowField(name, arrowType(type), nullable)
}

/** The Arrow type that holds every value of a Delta type. */
function arrowType(type: DataType): ArrowType {
  switch (type.kind) {
    case 'byte':
      return new Int8()
    case 'short':
      return new Int16()
    case 'integer':
      return new Int32()
    case 'long':
      return new Int64()
    case 'float':
      return new Float32()
    case 'double':
      return new Float64()
    case 'string':
    case 'variant':
      return new Utf8()
    case 'void':
      return new Null()
    case 'boolean':
      return new Bool()
    case 'binary':
      return new Binary()
    case 'date':
      return new DateDay()
    case 'timestamp':
      return new TimestampMicrosecond('UTC')
    case 'timestamp_ntz':
      return new TimestampMicrosecond()
    case 'decimal':
      return new Decimal(type.scale, type.precision, 128)
    case 'array':
      return new List(new ArrowField('item', arrowType(type.element), type.containsNull))
    case 'struct':
      return new Struct(type.fields.map(arrowField))
    case 'map':
      return new Map_(entriesField(type))
  }
}

function entriesField(
  type: Extract<DataType, { kind: 'map' }>,
): ArrowField<Struct<{ key: ArrowType; value: ArrowType }>> {
  const key = new ArrowField('key', arrowType(type.key), false)
  const value = new ArrowField('value', arrowType(type.value), type.valueContainsNull)
  return new ArrowField('entries', new Struct<{ key: ArrowType; value: ArrowType }>([key, value] as never), false)
}

/** The fields of every Arrow vector, whatever its type. */
interface DataBase {
  readonly length: number
  readonly nullCount: number
  readonly nullBitmap: Uint8Array | undefined
}

function dataOf(type: DataType, cells: readonly Cell[]): Data {
  const length = cells.length
  const { nullBitmap, nullCount } = nullsOf(cells)
  const base: DataBase = { length, nullCount, nullBitmap }
  const arrow = arrowType(type)
  switch (type.kind) {
    case 'byte':
      return makeData({ ...base, type: arrow as Int8, data: Int8Array.from(cells as number[]) })
    case 'short':
      return makeData({ ...base, type: arrow as Int16, data: Int16Array.from(cells as number[]) })
    case 'integer':
      return makeData({ ...base, type: arrow as Int32, data: Int32Array.from(cells as number[]) })
    case 'date':
      return makeData({ ...base, type: arrow as DateDay, data: Int32Array.from(cells as number[]) })
    case 'float':
      return makeData({ ...base, type: arrow as Float32, data: Float32Array.from(cells as number[]) })
    case 'double':
      return makeData({ ...base, type: arrow as Float64, data: Float64Array.from(cells as number[]) })
    case 'long':
      return makeData({ ...base, type: arrow as Int64, data: bigInts(cells) })
    case 'timestamp':
    case 'timestamp_ntz':
      return makeData({ ...base, type: arrow as TimestampMicrosecond, data: bigInts(cells) as never })
    case 'boolean':
      return makeData({ ...base, type: arrow as Bool, data: bitmapOf(cells, cell => cell === true) })
    case 'decimal':
      return makeData({ ...base, type: arrow as Decimal, data: decimals(cells) })
    case 'void':
      return makeData({ type: arrow as Null, length })
    case 'string':
    case 'variant':
      return bytesData(
        base,
        arrow as Utf8,
        cells.map(cell => encoder.encode((cell as string | null) ?? '')),
      )
    case 'binary':
      return bytesData(
        base,
        arrow as Binary,
        cells.map(cell => (cell as Uint8Array | null) ?? new Uint8Array(0)),
      )
    default:
      return nestedDataOf(type, cells, base, arrow)
  }
}

function nestedDataOf(
  type: Extract<DataType, { kind: 'array' | 'struct' | 'map' }>,
  cells: readonly Cell[],
  base: DataBase,
  arrow: ArrowType,
): Data {
  switch (type.kind) {
    case 'array': {
      const lists = cells.map(cell => (cell as readonly Cell[] | null) ?? [])
      const child = dataOf(type.element, lists.flat(1) as Cell[])
      return makeData({ ...base, type: arrow as List, valueOffsets: offsetsOf(lists), child })
    }
    case 'struct': {
      const children = type.fields.map((field, i) =>
        dataOf(
          field.type,
          cells.map(cell => (cell as readonly Cell[] | null)?.[i] ?? null),
        ),
      )
      return makeData({ ...base, type: arrow as Struct, children })
    }
    case 'map': {
      const maps = cells.map(cell => (cell as ReadonlyArray<readonly [Cell, Cell]> | null) ?? [])
      const entries = maps.flatMap(map => [...map])
      const children = [
        dataOf(
          type.key,
          entries.map(([key]) => key),
        ),
        dataOf(
          type.value,
          entries.map(([, value]) => value),
        ),
      ]
      const child = makeData({ type: entriesField(type).type, length: entries.length, nullCount: 0, children })
      return makeData({ ...base, type: arrow as Map_, valueOffsets: offsetsOf(maps), child: child as never })
    }
  }
}

function nullsOf(cells: readonly Cell[]): { nullBitmap: Uint8Array | undefined; nullCount: number } {
  const nullCount = cells.reduce<number>((count, cell) => (cell === null ? count + 1 : count), 0)
  return { nullCount, nullBitmap: nullCount === 0 ? undefined : bitmapOf(cells, cell => cell !== null) }
}

function bitmapOf(cells: readonly Cell[], isSet: (cell: Cell) => boolean): Uint8Array {
  const bits = new Uint8Array(Math.ceil(cells.length / 8))
  for (const [i, cell] of cells.entries()) if (isSet(cell)) bits[i >> 3]! |= 1 << (i & 7)
  return bits
}

function bigInts(cells: readonly Cell[]): BigInt64Array {
  return BigInt64Array.from(cells, cell => (cell as bigint | null) ?? 0n)
}

/** 128-bit two's complement, little-endian, as four words each. */
function decimals(cells: readonly Cell[]): Uint32Array {
  const words = new Uint32Array(cells.length * 4)
  for (const [i, cell] of cells.entries()) {
    let value = BigInt.asUintN(128, (cell as bigint | null) ?? 0n)
    for (let word = 0; word < 4; word++, value >>= 32n) words[i * 4 + word] = Number(value & WORD)
  }
  return words
}

function bytesData<T extends Utf8 | Binary>(base: DataBase, type: T, parts: readonly Uint8Array[]): Data {
  const data = new Uint8Array(totalLength(parts))
  let at = 0
  for (const part of parts) {
    data.set(part, at)
    at += part.length
  }
  return makeData({ ...base, type: type as Utf8, valueOffsets: offsetsOf(parts), data })
}

function offsetsOf(lists: readonly { readonly length: number }[]): Int32Array {
  const offsets = new Int32Array(lists.length + 1)
  for (const [i, { length }] of lists.entries()) offsets[i + 1] = offsets[i]! + length
  return offsets
}
