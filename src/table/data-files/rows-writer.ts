import type { Batch, Schema, Vector } from '../../columns/types.ts'
import type { ObjectStore, ObjectWriter } from '../../storage/object-store.ts'
import type { LiveFile } from '../live-files.ts'
import { encodeOrderHint, type OrderHint, Origins } from '../order-hint.ts'
import type { RowRules } from '../rules/row-rules.ts'
import { MOVED_KEY, ORDER_KEY } from '../tags.ts'
import { DataFileWriter } from './data-file-writer.ts'
import { columnsInFiles, type NewFile, newFile, type PartitionTexts } from './new-file.ts'
import { type PartitionedRows, splitByPartition } from './partitions.ts'
import { newDataPath, pathInPlaceOf } from './paths.ts'
import { checkRows } from './row-checks.ts'
import type { IndexedColumns } from './statistics.ts'

/** Files of many rows are split, so that readers and rewrites have pieces to work on. */
export const FILE_ROWS_MAX = 4 << 20

/** The places of new rows in the views; if nothing is said, behind all others. */
export interface Placement {
  /** The rows of a file behind which the next one begins; as many as files have at most, if not given. */
  readonly fileRows?: number | undefined
  /** The places of the rows among those of other files, in tables without partitions. */
  readonly order?: OrderHint | undefined
  /** A file whose place the new files take, in this order. */
  readonly inPlaceOf?: LiveFile | undefined
  /** The way in which rows are shown that are all moved there (MOVED_TAG): the files tell which they were. */
  readonly moved?: string | undefined
}

/** The table that rows are written for. */
export interface RowsTarget {
  readonly schema: Schema
  readonly partitionColumns: readonly string[]
  readonly indexed: IndexedColumns
  /** Rules that new rows have to keep, beside the columns' types; undefined in a table that asks no more. */
  readonly rules?: (() => Promise<RowRules | undefined>) | undefined
  readonly hidden?: HiddenColumns | undefined
  /** Hears of new rows, with the values that the table gives them. */
  readonly onNewRows?: ((batch: Batch) => Promise<void>) | undefined
}

/** Columns that new files have behind those of the table. */
export interface HiddenColumns {
  readonly schema: Schema
  /** Their values in new rows. */
  readonly ofNew: (batch: Batch) => Promise<readonly Vector[]>
}

/** Rows that were in the table before, as they are: nothing is asked of them. */
export interface MovedRows {
  readonly moved: Batch
  /** Their values in the hidden columns. */
  readonly hidden?: readonly Vector[] | undefined
  /** The file that they were in, and their numbers there, counted from `firstRow`. */
  readonly from?: { readonly path: string; readonly firstRow: number; readonly rows: readonly number[] } | undefined
}

interface OpenFile {
  readonly path: string
  readonly out: ObjectWriter
  readonly writer: DataFileWriter
  readonly partitionValues: PartitionTexts
  rows: number
  readonly origins: Origins
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
  readonly #fileRows: number
  readonly #open = new Map<string, OpenFile>()
  readonly #done: NewFile[] = []
  #count = 0

  constructor(create: ObjectStore['create'], target: RowsTarget, placement: Placement = {}) {
    this.#create = create
    this.#target = target
    this.#inFiles = columnsInFiles(target.schema, target.partitionColumns)
    this.#placement = target.partitionColumns.length > 0 ? { ...placement, order: undefined } : placement
    this.#fileRows = Math.min(placement.fileRows ?? FILE_ROWS_MAX, FILE_ROWS_MAX)
  }

  /** Rows in the schema's column order, new ones unless they say otherwise. TableError `constraint`. */
  async write(given: Batch | MovedRows): Promise<void> {
    const { schema, partitionColumns, rules, onNewRows } = this.#target
    const rows = 'moved' in given ? given.moved : given
    if (rows.rows === 0) return
    const own = 'moved' in given ? undefined : await rules?.()
    const batch = own?.applied(rows) ?? rows
    checkRows(batch, schema)
    if (!('moved' in given)) await onNewRows?.(batch)
    const wide = await this.#withHidden(batch, given)
    const from = 'moved' in given ? given.from : undefined
    for (const part of splitByPartition(wide, schema, partitionColumns)) await this.#writePart(part, from)
  }

  async #withHidden(batch: Batch, given: Batch | MovedRows): Promise<Batch> {
    const { hidden } = this.#target
    if (hidden === undefined) return batch
    const values = 'moved' in given ? given.hidden : await hidden.ofNew(batch)
    if (values === undefined) throw new Error('rows are moved without the columns that tell which they are')
    return { rows: batch.rows, vectors: [...batch.vectors, ...values] }
  }

  /** The files, whole and durable. */
  async finish(): Promise<NewFile[]> {
    for (const [key, file] of [...this.#open]) await this.#close(key, file)
    return this.#done
  }

  async #writePart(
    { key, folder, values, batch: { rows, vectors } }: PartitionedRows,
    from: MovedRows['from'],
  ): Promise<void> {
    const file = this.#open.get(key) ?? (await this.#begin(key, folder, values))
    const { schema } = this.#target
    const isKept = (i: number): boolean => i >= schema.length || this.#inFiles.includes(schema[i]!)
    const kept = this.#inFiles === schema ? vectors : vectors.filter((_, i) => isKept(i))
    await file.writer.write({ rows, vectors: kept })
    file.rows += rows
    if (this.#placement.moved !== undefined && from?.rows.length === rows)
      file.origins.add(from.path, from.firstRow, from.rows)
    // A hint speaks of the rows of one file.
    if (file.rows >= this.#fileRows && this.#placement.order === undefined) await this.#close(key, file)
  }

  async #begin(key: string, folder: string, partitionValues: PartitionTexts): Promise<OpenFile> {
    const { inPlaceOf } = this.#placement
    const { indexed, hidden } = this.#target
    const number = this.#count++
    const path = inPlaceOf === undefined ? newDataPath(number, folder) : pathInPlaceOf(inPlaceOf.path, number)
    const out = await this.#create(path)
    const writer = new DataFileWriter(out, this.#inFiles, { indexed, hidden: hidden?.schema ?? [] })
    const file: OpenFile = { path, out, writer, partitionValues, rows: 0, origins: new Origins() }
    this.#open.set(key, file)
    return file
  }

  async #close(key: string, { path, out, writer, partitionValues, rows, origins }: OpenFile): Promise<void> {
    const { order, inPlaceOf } = this.#placement
    const moved = origins.rows === rows ? this.#placement.moved : undefined
    const extra = new Map(order === undefined ? [] : [[ORDER_KEY, encodeOrderHint(order)]])
    if (moved !== undefined) extra.set(MOVED_KEY, encodeOrderHint(origins.hint))
    const written = await writer.finish(extra)
    await out.close()
    this.#open.delete(key)
    const modificationTime = inPlaceOf?.modificationTime
    this.#done.push(newFile(path, written, this.#inFiles, { partitionValues, order, moved, modificationTime }))
  }
}
