import type { Batch, Schema } from '../../columns/types.ts'
import type { ObjectStore, ObjectWriter } from '../../storage/object-store.ts'
import type { LiveFile } from '../live-files.ts'
import { encodeOrderHint, type OrderHint } from '../order-hint.ts'
import { ORDER_KEY } from '../tags.ts'
import { DataFileWriter } from './data-file-writer.ts'
import { columnsInFiles, type NewFile, newFile, type PartitionTexts } from './new-file.ts'
import { type PartitionedRows, splitByPartition } from './partitions.ts'
import { newDataPath, pathInPlaceOf } from './paths.ts'
import { checkRows } from './row-checks.ts'
import type { IndexedColumns } from './statistics.ts'

/** Files of many rows are split, so that readers and rewrites have pieces to work on. */
export const FILE_ROWS_MAX = 4 << 20

/** The places of new rows in the views, in tables without partitions; else, and if nothing is said, behind all others. */
export interface Placement {
  /** The places of the rows among those of other files. */
  readonly order?: OrderHint | undefined
  /** A file whose place the new files take, in this order. */
  readonly inPlaceOf?: LiveFile | undefined
}

/** The table that rows are written for. */
export interface RowsTarget {
  readonly schema: Schema
  readonly partitionColumns: readonly string[]
  readonly indexed: IndexedColumns
}

interface OpenFile {
  readonly path: string
  readonly out: ObjectWriter
  readonly writer: DataFileWriter
  readonly partitionValues: PartitionTexts
  rows: number
}

/**
 * Writes rows to new data files, checked against the table's columns: one file for each partition, and more where there are
 * many rows. Who gives `create` owns the files, those that are begun included.
 */
export class RowsWriter {
  readonly #create: ObjectStore['create']
  readonly #target: RowsTarget
  readonly #inFiles: Schema
  readonly #placement: Placement
  readonly #open = new Map<string, OpenFile>()
  readonly #done: NewFile[] = []
  #count = 0

  constructor(create: ObjectStore['create'], target: RowsTarget, placement: Placement = {}) {
    this.#create = create
    this.#target = target
    this.#inFiles = columnsInFiles(target.schema, target.partitionColumns)
    this.#placement = target.partitionColumns.length > 0 ? {} : placement
  }

  /** Rows in the schema's column order. TableError `constraint`. */
  async write(batch: Batch): Promise<void> {
    if (batch.rows === 0) return
    const { schema, partitionColumns } = this.#target
    checkRows(batch, schema)
    for (const part of splitByPartition(batch, schema, partitionColumns)) await this.#writePart(part)
  }

  /** The files, whole and durable. */
  async finish(): Promise<NewFile[]> {
    for (const [key, file] of [...this.#open]) await this.#close(key, file)
    return this.#done
  }

  async #writePart({ key, folder, values, batch: { rows, vectors } }: PartitionedRows): Promise<void> {
    const file = this.#open.get(key) ?? (await this.#begin(key, folder, values))
    const { schema } = this.#target
    const kept = this.#inFiles === schema ? vectors : vectors.filter((_, i) => this.#inFiles.includes(schema[i]!))
    await file.writer.write({ rows, vectors: kept })
    file.rows += rows
    // A hint speaks of the rows of one file.
    if (file.rows >= FILE_ROWS_MAX && this.#placement.order === undefined) await this.#close(key, file)
  }

  async #begin(key: string, folder: string, partitionValues: PartitionTexts): Promise<OpenFile> {
    const { inPlaceOf } = this.#placement
    const number = this.#count++
    const path = inPlaceOf === undefined ? newDataPath(number, folder) : pathInPlaceOf(inPlaceOf.path, number)
    const out = await this.#create(path)
    const writer = new DataFileWriter(out, this.#inFiles, { indexed: this.#target.indexed })
    const file: OpenFile = { path, out, writer, partitionValues, rows: 0 }
    this.#open.set(key, file)
    return file
  }

  async #close(key: string, { path, out, writer, partitionValues }: OpenFile): Promise<void> {
    const { order, inPlaceOf } = this.#placement
    const written = await writer.finish(new Map(order === undefined ? [] : [[ORDER_KEY, encodeOrderHint(order)]]))
    await out.close()
    this.#open.delete(key)
    const modificationTime = inPlaceOf?.modificationTime
    this.#done.push(newFile(path, written, this.#inFiles, { partitionValues, order, modificationTime }))
  }
}
