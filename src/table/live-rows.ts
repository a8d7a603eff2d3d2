import { type Footer, readFooter, readRowGroup } from '../columns/parquet/read.ts'
import { type ByteSource, storeSource } from '../columns/parquet/source.ts'
import type { Batch, Schema } from '../columns/types.ts'
import { takeRows } from '../columns/vectors.ts'
import { Recent } from '../core/recent.ts'
import { firstIndex } from '../core/search.ts'
import { schemaInFiles } from './column-mapping.ts'
import { checkText } from './commit/copy-on-write.ts'
import { idColumns, idsOf } from './commit/row-tracking.ts'
import { keptAmong } from './data-files/kept-rows.ts'
import type { MovedRows } from './data-files/rows-writer.ts'
import type { LiveFile } from './live-files.ts'
import type { RowRange } from './placed-rows.ts'
import type { Snapshot } from './snapshot.ts'
import type { Table } from './table.ts'

/** Row groups that are kept while rows of theirs may still be wanted, by their bytes in the files. */
const KEPT_BYTES = 64 << 20

interface OpenFile {
  readonly source: ByteSource
  readonly footer: Footer
  /** Physical numbers, ascending. */
  readonly deleted: Uint32Array
}

interface RowGroup {
  readonly batch: Batch
  readonly bytes: number
}

/** Reads live rows of a version's files, of several in turns. */
export class LiveRows {
  readonly #table: Table
  readonly #schema: Schema
  /** Columns of files that tell which rows those are, in a table that tracks them. */
  readonly #hidden: Schema
  readonly #opened: (file: LiveFile) => void
  readonly #files = new Map<LiveFile, OpenFile>()
  readonly #groups = new Recent<RowGroup>(KEPT_BYTES, ({ bytes }) => bytes)

  /** `opened` hears of each file whose rows are read for the first time. */
  constructor(table: Table, snapshot: Snapshot, opened: (file: LiveFile) => void = () => undefined) {
    this.#table = table
    this.#schema = schemaInFiles(snapshot)
    this.#hidden = idColumns(snapshot)
    this.#opened = opened
  }

  /** All live rows of some files, one file after the other. */
  async *ofAll(files: readonly LiveFile[]): AsyncGenerator<Batch> {
    for (const file of files) yield* this.of(file, { start: 0, end: Number.POSITIVE_INFINITY })
  }

  /** The live rows of a range of a file, in the table's columns. TableError `constraint` for text that would be lost. */
  async *of(file: LiveFile, range: RowRange): AsyncGenerator<Batch> {
    for await (const { moved } of this.moved(file, range)) yield moved
  }

  /** The same, as rows that are put elsewhere and stay who they are. */
  async *moved(file: LiveFile, { start, end }: RowRange): AsyncGenerator<MovedRows> {
    const { source, footer, deleted } = await this.#open(file)
    const { rowGroups } = footer
    for (let i = firstIndex(rowGroups.length, n => endOf(rowGroups[n]!) > start); i < rowGroups.length; i++) {
      const group = rowGroups[i]!
      if (group.firstRow >= end) return
      const kept = keptAmong(deleted, Math.max(start, group.firstRow), Math.min(end, endOf(group)), group.firstRow)
      if (kept.length === 0) continue
      const { batch } = await this.#groups.get(`${file.path}\0${i}`, async () => ({
        batch: await readRowGroup(source, footer, i, [...this.#schema, ...this.#hidden], file.partition),
        bytes: (file.sizeBytes * group.rows) / Math.max(1, footer.rows),
      }))
      checkText(batch, this.#schema, kept, file)
      const from = { path: file.path, firstRow: group.firstRow, rows: kept }
      const { rows, vectors } = kept.length === group.rows ? batch : takeRows(batch, kept)
      const moved = { rows, vectors: vectors.slice(0, this.#schema.length) }
      const stored = vectors.slice(this.#schema.length)
      if (stored.length === 0) yield { moved, from }
      else
        yield {
          moved,
          from,
          hidden: idsOf(
            file.add,
            stored,
            kept.map(row => group.firstRow + row),
          ),
        }
    }
  }

  async #open(file: LiveFile): Promise<OpenFile> {
    const known = this.#files.get(file)
    if (known !== undefined) return known
    const source = storeSource(this.#table.store, file.path, file.sizeBytes)
    const opened = { source, footer: await readFooter(source), deleted: await this.#table.deletedRows(file) }
    this.#files.set(file, opened)
    this.#opened(file)
    return opened
  }
}

function endOf({ firstRow, rows }: Footer['rowGroups'][number]): number {
  return firstRow + rows
}
