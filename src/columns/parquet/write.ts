import type { ColumnChunk, DecodedArray, KeyValue, SchemaElement, Statistics } from 'hyparquet'
import { ByteWriter, ParquetWriter } from 'hyparquet-writer'
import { discarded } from '../../core/garbage.ts'
import { fieldId, physicalName } from '../schema.ts'
import type { Batch, Cell, DataType, Field, Schema, Vector } from '../types.ts'
import { cellAt, sliceBatch } from '../vectors.ts'
import { addChecksums } from './encode/checksums.ts'
import { writeChunk } from './encode/chunk.ts'
import { type FlatColumn, flatColumn } from './encode/flat.ts'

export const ROW_GROUP_ROWS = 131_072
/** A row group is decoded as a whole, so the first one is small: the first rows of a cold file are there at once. */
export const FIRST_ROW_GROUP_ROWS = 16_384
/** Bytes of an array of its own for one value, roughly. */
const VIEW_BYTES = 128

/** The receiver of a writer's bytes, in order. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<void> | void
}

/** The statistics of a column chunk (parquet.thrift, Statistics). */
export type ChunkStatistics = Pick<Statistics, 'null_count' | 'min_value' | 'max_value'>

/** A file that is written to its end. */
export interface WrittenFile {
  readonly sizeBytes: number
  readonly rows: number
}

export interface ParquetWriteOptions {
  /** Of every row group; if not given, a small first one and large ones behind it. */
  readonly rowGroupRows?: number
  /** False for a file whose footer need not tell the bounds of its columns. */
  readonly statistics?: boolean
  /**
   * Hears of the rows of each row group that is encoded, and for each column of its statistics, as the footer has them;
   * undefined for columns that the library encodes.
   */
  readonly onRowGroup?: (batches: readonly Batch[], statistics: readonly (ChunkStatistics | undefined)[]) => void
}

/** Writes a Parquet file that any engine reads, row group by row group. */
export class ParquetFileWriter {
  readonly #sink: ByteSink
  readonly #schema: Schema
  readonly #rowGroupRows: number | undefined
  readonly #onRowGroup: ParquetWriteOptions['onRowGroup']
  readonly #out = new ByteWriter()
  readonly #writer: ParquetWriter
  readonly #statistics: boolean
  #rowGroups = 0
  #rows = 0
  #flushed = 0
  #pending: Batch[] = []
  #pendingRows = 0

  /** `schema`: the columns in the file, in order. */
  constructor(sink: ByteSink, schema: Schema, options: ParquetWriteOptions = {}) {
    this.#sink = sink
    this.#schema = schema
    this.#rowGroupRows = options.rowGroupRows
    this.#onRowGroup = options.onRowGroup
    this.#statistics = options.statistics ?? true
    this.#writer = new ParquetWriter({
      writer: this.#out,
      schema: parquetElements(schema),
      codec: 'SNAPPY',
      createdBy: 'posixlake',
      statistics: this.#statistics,
    })
  }

  async write(batch: Batch): Promise<void> {
    let start = 0
    while (start < batch.rows) {
      const rows = this.#rowGroupRows ?? (this.#rowGroups === 0 ? FIRST_ROW_GROUP_ROWS : ROW_GROUP_ROWS)
      const end = Math.min(batch.rows, start + rows - this.#pendingRows)
      this.#pending.push(sliceBatch(batch, start, end))
      this.#pendingRows += end - start
      start = end
      if (this.#pendingRows >= rows) await this.#rowGroup()
    }
  }

  /** Ends a row group behind the rows that were written, unless it has none. */
  async endRowGroup(): Promise<void> {
    if (this.#pendingRows > 0) await this.#rowGroup()
  }

  /** Writes what is left and the footer. `keyValue` is asked for its key-value metadata once all rows are written. */
  async finish(keyValue: () => ReadonlyMap<string, string> = () => new Map()): Promise<WrittenFile> {
    await this.endRowGroup()
    const pairs = [...keyValue()].map(([key, value]): KeyValue => ({ key, value }))
    // A list without items is written as one of bytes, and arrow-rs refuses the file.
    if (pairs.length > 0) this.#writer.kvMetadata = pairs
    await this.#writer.finish()
    if (this.#rowGroups === 0) typeRowGroups(this.#out.getBytes())
    await this.#flush()
    return { sizeBytes: this.#flushed, rows: this.#rows }
  }

  async #rowGroup(): Promise<void> {
    const batches = this.#pending
    const rows = this.#pendingRows
    this.#pending = []
    this.#pendingRows = 0
    this.#rowGroups++
    this.#rows += rows
    const start = this.#out.offset
    const statistics: (ChunkStatistics | undefined)[] = []
    const columns = this.#schema.flatMap((field, i) => {
      const vectors = batches.map(batch => batch.vectors[i]!)
      const flat = flatColumn(vectors, field.type, rows)
      if (flat === undefined) return this.#byLibrary(field, vectors, rows)
      const chunk = this.#flatChunk(field, flat)
      statistics[i] = chunk.meta_data?.statistics
      return [chunk]
    })
    this.#onRowGroup?.(batches, statistics)
    const total = columns.reduce((sum, { meta_data }) => sum + (meta_data?.total_uncompressed_size ?? 0n), 0n)
    const num_rows = BigInt(rows)
    this.#writer.row_groups.push({
      columns,
      total_byte_size: total,
      num_rows,
      total_compressed_size: BigInt(this.#out.offset - start),
    })
    this.#writer.num_rows += num_rows
    await this.#flush()
  }

  #flatChunk(field: Field, flat: FlatColumn): ColumnChunk {
    const { type } = leafElement(field.type)
    if (type === undefined) throw new Error(`the type ${field.type.kind} has no physical type`)
    return writeChunk(this.#out, flat, {
      type,
      path: [physicalName(field)],
      isOptional: field.nullable,
      isDecimal: field.type.kind === 'decimal',
      statistics: this.#statistics,
    })
  }

  /** hyparquet-writer knows row groups of several columns: it is given a part of one, whose chunks are taken over. */
  #byLibrary(field: Field, vectors: readonly Vector[], rows: number): ColumnChunk[] {
    const column = {
      name: physicalName(field),
      data: parquetValues(vectors, field.type, rows),
      offsetIndex: false,
      // A dictionary pays for strings; numbers are read quicker as they are, and -0 is not 0 as it is in a dictionary.
      ...(isPlain(field.type) ? { encoding: 'PLAIN' as const } : {}),
    }
    // Every value is an object of its own on the way.
    discarded(rows * VIEW_BYTES)
    const before = this.#writer.num_rows
    void this.#writer.write({ columnData: [column], rowGroupSize: rows, pageSize: 1 << 20 })
    this.#writer.num_rows = before
    const chunks = this.#writer.row_groups.pop()?.columns ?? []
    addChecksums(this.#out, chunks)
    for (const chunk of chunks) keepOnlyBounds(chunk)
    return chunks
  }

  /** Hands finished bytes on and starts the buffer anew; the writer goes on counting from the file's start. */
  async #flush(): Promise<void> {
    const bytes = this.#out.getBytes().slice()
    await this.#sink.write(bytes)
    this.#flushed += bytes.length
    this.#out.index = 0
  }
}

/** In a footer, `num_rows` that is 0 and `row_groups` that are a list of nothing, without a type. */
const NO_ROW_GROUPS = Uint8Array.of(0x16, 0x00, 0x19, 0x00)
const LIST_OF_STRUCTS = 0x0c

/**
 * Makes the empty list of row groups one of structs: arrow-rs refuses one without a type, which the library writes. Only the
 * schema stands before it, and neither names nor types have such bytes.
 */
function typeRowGroups(file: Uint8Array): void {
  const at = Buffer.from(file.buffer, file.byteOffset, file.byteLength).indexOf(NO_ROW_GROUPS)
  if (at < 0) throw new Error('the footer of a file without rows has no list of row groups')
  file[at + NO_ROW_GROUPS.length - 1] = LIST_OF_STRUCTS
}

/** Bounds may be views of the rows' bytes, which would keep all of them in memory until the file is finished. */
function keepOnlyBounds({ meta_data }: ColumnChunk): void {
  const statistics = meta_data?.statistics
  if (statistics === undefined) return
  if (statistics.min_value instanceof Uint8Array) statistics.min_value = statistics.min_value.slice()
  if (statistics.max_value instanceof Uint8Array) statistics.max_value = statistics.max_value.slice()
}

function isPlain(type: DataType): boolean {
  switch (type.kind) {
    case 'string':
    case 'binary':
    case 'boolean':
      return false
    case 'struct':
      return type.fields.some(field => isPlain(field.type))
    case 'array':
      return isPlain(type.element)
    case 'map':
      return isPlain(type.key) || isPlain(type.value)
    default:
      return true
  }
}

// --- schema and values ---------------------------------------------------------------------------------------------

function parquetElements(schema: Schema): SchemaElement[] {
  return [
    { name: 'root', num_children: schema.length },
    ...schema.flatMap(field => elementsOf(physicalName(field), field.type, field.nullable, fieldId(field))),
  ]
}

function elementsOf(name: string, type: DataType, nullable: boolean, id?: number): SchemaElement[] {
  const base = {
    name,
    repetition_type: nullable ? ('OPTIONAL' as const) : ('REQUIRED' as const),
    ...(id === undefined ? {} : { field_id: id }),
  }
  switch (type.kind) {
    case 'struct':
      return [
        { ...base, num_children: type.fields.length },
        ...type.fields.flatMap(field => elementsOf(physicalName(field), field.type, field.nullable, fieldId(field))),
      ]
    case 'array':
      return [
        { ...base, num_children: 1, converted_type: 'LIST', logical_type: { type: 'LIST' } },
        { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
        ...elementsOf('element', type.element, type.containsNull),
      ]
    case 'map':
      return [
        { ...base, num_children: 1, converted_type: 'MAP', logical_type: { type: 'MAP' } },
        { name: 'key_value', repetition_type: 'REPEATED', num_children: 2 },
        ...elementsOf('key', type.key, false),
        ...elementsOf('value', type.value, type.valueContainsNull),
      ]
    default:
      return [{ ...base, ...leafElement(type) }]
  }
}

function leafElement(type: DataType): Partial<SchemaElement> {
  switch (type.kind) {
    // The converted type alone: hyparquet-writer spells the logical type's bit width in a way that other readers refuse.
    case 'byte':
      return { type: 'INT32', converted_type: 'INT_8' }
    case 'short':
      return { type: 'INT32', converted_type: 'INT_16' }
    case 'integer':
      return { type: 'INT32' }
    case 'long':
      return { type: 'INT64' }
    case 'float':
      return { type: 'FLOAT' }
    case 'double':
      return { type: 'DOUBLE' }
    case 'boolean':
      return { type: 'BOOLEAN' }
    case 'string':
      return { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } }
    case 'binary':
      return { type: 'BYTE_ARRAY' }
    case 'date':
      return { type: 'INT32', converted_type: 'DATE', logical_type: { type: 'DATE' } }
    case 'timestamp':
      return {
        type: 'INT64',
        converted_type: 'TIMESTAMP_MICROS',
        logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
      }
    case 'timestamp_ntz':
      return { type: 'INT64', logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: false, unit: 'MICROS' } }
    case 'decimal':
      return {
        type: type.precision <= 9 ? 'INT32' : type.precision <= 18 ? 'INT64' : 'FIXED_LEN_BYTE_ARRAY',
        ...(type.precision > 18 ? { type_length: decimalBytes(type.precision) } : {}),
        converted_type: 'DECIMAL',
        precision: type.precision,
        scale: type.scale,
        logical_type: { type: 'DECIMAL', precision: type.precision, scale: type.scale },
      }
    default:
      throw new Error(`the type ${type.kind} is not written`)
  }
}

/** The fewest bytes that hold every decimal of a precision. */
function decimalBytes(precision: number): number {
  let bytes = 1
  while (2n ** BigInt(8 * bytes - 1) < 10n ** BigInt(precision)) bytes++
  return bytes
}

/** The values of a row group in the form that hyparquet-writer takes. */
function parquetValues(vectors: readonly Vector[], type: DataType, rows: number): DecodedArray {
  const out: unknown[] = new Array(rows)
  let at = 0
  for (const vector of vectors)
    for (let row = 0; row < vector.length; row++) out[at++] = nestedValue(cellAt(vector, row), type)
  return out
}

/** Structs are objects by physical names, maps arrays of entries, in hyparquet-writer. */
function nestedValue(cell: Cell, type: DataType): unknown {
  if (cell === null) return null
  switch (type.kind) {
    case 'struct':
      return Object.fromEntries(
        type.fields.map((field, i) => [
          physicalName(field),
          nestedValue((cell as readonly Cell[])[i] ?? null, field.type),
        ]),
      )
    case 'array':
      return (cell as readonly Cell[]).map(item => nestedValue(item, type.element))
    case 'map':
      return (cell as ReadonlyArray<readonly [Cell, Cell]>).map(([key, value]) => ({
        key: nestedValue(key, type.key),
        value: nestedValue(value, type.value),
      }))
    default:
      return cell
  }
}
