import { randomUUID } from 'node:crypto'
import { ParquetFileWriter, type WrittenFile } from '../../columns/parquet/write.ts'
import { physicalName, schemaFingerprint } from '../../columns/schema.ts'
import { formatPartitionValue } from '../../columns/text/partition.ts'
import { TEXT_FORMAT_VERSION } from '../../columns/text/rendered.ts'
import type { Batch, Cell, DataType, Schema } from '../../columns/types.ts'
import { cellAt, isNullAt, takeRows } from '../../columns/vectors.ts'
import type { ObjectStore, ObjectWriter } from '../../storage/object-store.ts'
import type { NewFile } from '../commit/change-set.ts'
import { TableError } from '../errors.ts'
import { encodeOrderHint, ORDER_KEY, type OrderHint } from '../order-hint.ts'
import { type LiveFile, ORDER_REFS_TAG, ORDER_TAG, TEXT_TAG } from '../snapshot.ts'
import type { Table } from '../table.ts'

/** Files of many rows are split, so that readers and rewrites have pieces to work on. */
const FILE_ROWS_MAX = 4 << 20

/** The name of a file that took another's place: that one's name, the place, and an id. */
const REPLACEMENT = /^(.*\.[\d.]+)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/s

export interface WriteOptions {
  /** The table's columns, if the commit is to change them. */
  readonly schema?: Schema
  /** Where the rows belong in the views. */
  readonly order?: OrderHint
  /** A file of a table without partitions whose place the new files take, in this order. */
  readonly inPlaceOf?: LiveFile
}

/**
 * Writes rows to new data files of a table, durable and not committed. Batches are in the schema's column order. A
 * partitioned table gets one file for each partition; order hints are for tables without partitions.
 */
export async function writeDataFiles(
  table: Table,
  batches: AsyncIterable<Batch> | Iterable<Batch>,
  options: WriteOptions = {},
): Promise<NewFile[]> {
  const { snapshot, store } = table
  const schema = options.schema ?? snapshot.schema
  const partitioned = snapshot.partitionColumns.length > 0
  const placed = partitioned ? {} : options
  const writer = new DataFilesWriter(store, schema, snapshot.partitionColumns, placed)
  try {
    for await (const batch of batches) await writer.write(batch)
    return await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
}

function missing(what: string): TableError {
  return new TableError('constraint', `${what} is NOT NULL, and a row has no value for it`)
}

/** Whether something inside values of a type must not be NULL. */
function hasRequired(type: DataType): boolean {
  switch (type.kind) {
    case 'struct':
      return type.fields.some(field => !field.nullable || hasRequired(field.type))
    case 'array':
      return !type.containsNull || hasRequired(type.element)
    case 'map':
      return !type.valueContainsNull || hasRequired(type.key) || hasRequired(type.value)
    default:
      return false
  }
}

/** Refuses NULL where it must not be inside a value; that there is no value is for the place around it to refuse. */
function checkInside(cell: Cell, type: DataType, where: string): void {
  if (cell === null) return
  const check = (inner: Cell, innerType: DataType, nullable: boolean, path: string): void => {
    if (inner === null && !nullable) throw missing(path)
    checkInside(inner, innerType, path)
  }
  if (type.kind === 'struct') {
    for (const [i, { name, type: own, nullable }] of type.fields.entries())
      check((cell as readonly Cell[])[i] ?? null, own, nullable, `${where}.${name}`)
  } else if (type.kind === 'array') {
    for (const item of cell as readonly Cell[]) check(item, type.element, type.containsNull, `${where}.element`)
  } else if (type.kind === 'map') {
    for (const [key, value] of cell as ReadonlyArray<readonly [Cell, Cell]>) {
      check(key, type.key, false, `${where}.key`)
      check(value, type.value, type.valueContainsNull, `${where}.value`)
    }
  }
}

interface OpenFile {
  readonly path: string
  readonly out: ObjectWriter
  readonly parquet: ParquetFileWriter
  readonly partitionValues: Readonly<Record<string, string | null>>
  rows: number
}

class DataFilesWriter {
  readonly #store: ObjectStore
  readonly #schema: Schema
  readonly #partitionColumns: readonly string[]
  readonly #order: OrderHint | undefined
  readonly #inPlaceOf: LiveFile | undefined
  readonly #open = new Map<string, OpenFile>()
  readonly #done: NewFile[] = []
  #count = 0

  constructor(
    store: ObjectStore,
    schema: Schema,
    partitionColumns: readonly string[],
    { order, inPlaceOf }: Pick<WriteOptions, 'order' | 'inPlaceOf'>,
  ) {
    this.#store = store
    this.#schema = schema
    this.#partitionColumns = partitionColumns
    this.#order = order
    this.#inPlaceOf = inPlaceOf
  }

  async write(batch: Batch): Promise<void> {
    if (batch.rows === 0) return
    this.#checkNulls(batch)
    if (this.#partitionColumns.length === 0) {
      await this.#writeTo('', {}, batch)
      return
    }
    for (const { folder, values, rows } of this.#split(batch))
      await this.#writeTo(folder, values, takeRows(batch, rows))
  }

  #checkNulls(batch: Batch): void {
    for (const [i, field] of this.#schema.entries()) {
      const vector = batch.vectors[i]!
      if (hasRequired(field.type)) {
        for (let row = 0; row < batch.rows; row++) checkInside(cellAt(vector, row), field.type, field.name)
      }
      if (field.nullable) continue
      for (let row = 0; row < batch.rows; row++) if (isNullAt(vector, row)) throw missing(`the column ${field.name}`)
    }
  }

  async #writeTo(folder: string, partitionValues: OpenFile['partitionValues'], batch: Batch): Promise<void> {
    const file = this.#open.get(folder) ?? (await this.#create(folder, partitionValues))
    const kept = this.#schema.flatMap((field, i) =>
      this.#partitionColumns.includes(field.name) ? [] : [batch.vectors[i]!],
    )
    await file.parquet.write({ rows: batch.rows, vectors: kept })
    file.rows += batch.rows
    // A hint speaks of the rows of one file.
    if (file.rows >= FILE_ROWS_MAX && this.#order === undefined) await this.#close(folder, file)
  }

  async #create(folder: string, partitionValues: OpenFile['partitionValues']): Promise<OpenFile> {
    const path = this.#path(folder, this.#count++)
    const out = await this.#store.create(path)
    const inFile = this.#schema.filter(field => !this.#partitionColumns.includes(field.name))
    const file: OpenFile = { path, out, parquet: new ParquetFileWriter(out, inFile), partitionValues, rows: 0 }
    this.#open.set(folder, file)
    return file
  }

  #path(folder: string, number: number): string {
    if (this.#inPlaceOf !== undefined) return pathInPlaceOf(this.#inPlaceOf.path, number)
    const name = `part-${String(number).padStart(5, '0')}-${randomUUID()}.snappy.parquet`
    return folder === '' ? name : `${folder}/${name}`
  }

  async #close(folder: string, file: OpenFile): Promise<void> {
    const extra = new Map(this.#order === undefined ? [] : [[ORDER_KEY, encodeOrderHint(this.#order)]])
    const written = await file.parquet.finish(extra)
    await file.out.close()
    this.#open.delete(folder)
    const done = newFile(file.path, written, this.#schema, file.partitionValues, this.#order)
    const modificationTime = this.#inPlaceOf?.modificationTime
    this.#done.push(modificationTime === undefined ? done : { ...done, modificationTime })
  }

  async finish(): Promise<NewFile[]> {
    for (const [folder, file] of [...this.#open]) await this.#close(folder, file)
    return this.#done
  }

  /** Takes away what was written: nobody will commit it. */
  async abort(): Promise<void> {
    for (const { out } of this.#open.values()) await out.abort().catch(() => undefined)
    for (const { path } of this.#done) await this.#store.delete(path).catch(() => undefined)
  }

  #split(batch: Batch): { folder: string; values: Record<string, string | null>; rows: number[] }[] {
    const parts = new Map<string, { folder: string; values: Record<string, string | null>; rows: number[] }>()
    const columns = this.#partitionColumns.map(name => this.#schema.findIndex(field => field.name === name))
    for (let row = 0; row < batch.rows; row++) {
      const values: Record<string, string | null> = {}
      const folders: string[] = []
      for (const column of columns) {
        const field = this.#schema[column]!
        const text = formatPartitionValue(cellAt(batch.vectors[column]!, row), field.type)
        values[physicalName(field)] = text
        folders.push(
          `${folderText(physicalName(field))}=${text === null ? '__HIVE_DEFAULT_PARTITION__' : folderText(text)}`,
        )
      }
      const folder = folders.join('/')
      const part = parts.get(folder) ?? { folder, values, rows: [] }
      part.rows.push(row)
      parts.set(folder, part)
    }
    return [...parts.values()]
  }
}

/** Characters that folder names of partitions escape, as Hive does. */
function folderText(text: string): string {
  return text.replace(
    /[\p{Cc}"#%'*/:=?\\{}[\]^]/gu,
    char => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  )
}

/**
 * A new path for a file that takes the place of the one at `path`, and has its time: it sorts where that one did among
 * files of the same time. `number` counts the files that take the place together.
 */
export function pathInPlaceOf(path: string, number = 0): string {
  const stem = path.replace(/\.parquet$/, '')
  const place = REPLACEMENT.exec(stem)?.[1] ?? `${stem}.0`
  return `${place}${number === 0 ? '' : `.${String(number).padStart(5, '0')}`}-${randomUUID()}.parquet`
}

/** The record of a file that ParquetFileWriter has written at `path`, with the tags that let its views be sized unread. */
export function newFile(
  path: string,
  written: WrittenFile,
  schema: Schema,
  partitionValues: Readonly<Record<string, string | null>> = {},
  order?: OrderHint,
): NewFile {
  const tags = new Map<string, string>()
  // The text of a partitioned file has columns that the file has not: its size is found by rendering it.
  if (Object.keys(partitionValues).length === 0) {
    tags.set(
      TEXT_TAG,
      JSON.stringify({
        v: TEXT_FORMAT_VERSION,
        schema: schemaFingerprint(schema),
        csv: written.csvBytes,
        jsonl: written.jsonlBytes,
      }),
    )
  }
  if (order !== undefined) {
    tags.set(ORDER_TAG, '1')
    tags.set(ORDER_REFS_TAG, JSON.stringify(order.refs))
  }
  return { path, sizeBytes: written.sizeBytes, rows: written.rows, stats: written.stats, partitionValues, tags }
}
