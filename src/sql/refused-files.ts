import { mkdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { readFooter, readRowGroup } from '../columns/parquet/read.ts'
import { storeSource } from '../columns/parquet/source.ts'
import { ParquetFileWriter } from '../columns/parquet/write.ts'
import type { Batch, Cell } from '../columns/types.ts'
import { cellAt, sliceBatch } from '../columns/vectors.ts'
import { messageOf } from '../core/errors.ts'
import type { LiveFile, Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { SqlError } from './errors.ts'
import { localPathOf, type PathOf } from './relation.ts'

const REFUSAL = 'Invalid string encoding found in Parquet file '

/**
 * Files of one statement that the engine does not read, as text in them is not UTF-8: it reads copies of them, in which
 * U+FFFD stands in place of what is not, as in the views. Nobody knows of such text before it is read, so a statement is
 * run again when the engine has come upon it.
 */
export class RefusedFiles {
  readonly #table: Table
  readonly #log: ((sentence: string) => void) | undefined
  readonly #paths = new Set<string>()

  constructor(table: Table, log?: (sentence: string) => void) {
    this.#table = table
    this.#log = log
  }

  /** Whether an error of the engine is that it refuses a file of the snapshot, and none that was replaced already. */
  note(error: unknown, snapshot: Snapshot): boolean {
    const sentence = messageOf(error)
    if (!sentence.includes(REFUSAL)) return false
    const file = snapshot.files.find(known => sentence.includes(`"${localPathOf(this.#table, known)}"`))
    if (file === undefined || this.#paths.has(file.path)) return false
    this.#paths.add(file.path)
    this.#log?.(`${file.path}: text in it is not UTF-8; what is not is read as \ufffd`)
    return true
  }

  /** Runs `run` until the engine refuses no more file. */
  async retried<T>(snapshot: Snapshot, run: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await run()
      } catch (error) {
        if (!this.note(error, snapshot)) throw error
      }
    }
  }

  /** Where the engine finds each file: the refused ones are copied into `folder`, which goes with the session. */
  async replaced(snapshot: Snapshot, folder: string): Promise<PathOf> {
    const copies = new Map<string, string>()
    for (const file of snapshot.files) {
      if (!this.#paths.has(file.path)) continue
      mkdirSync(join(folder, 'copies'), { recursive: true, mode: 0o700 })
      const copy = join(folder, 'copies', `${copies.size}-${basename(file.path)}`)
      await this.#copy(snapshot, file, copy)
      copies.set(file.path, copy)
    }
    return file => copies.get(file.path) ?? localPathOf(this.#table, file)
  }

  /** The same rows, each at its place, as our reader reads them. */
  async #copy(snapshot: Snapshot, file: LiveFile, path: string): Promise<void> {
    const source = storeSource(this.#table.store, file.path, file.sizeBytes)
    const footer = await readFooter(source)
    const schema = snapshot.schema.filter(({ name }) => !snapshot.partitionColumns.includes(name))
    const sink = Bun.file(path).writer()
    try {
      const writer = new ParquetFileWriter({ write: async bytes => void (await written(sink, bytes)) }, schema)
      for (let group = 0; group < footer.rowGroups.length; group++)
        await writer.write(await readRowGroup(source, footer, group, schema))
      await writer.finish()
    } finally {
      await sink.end()
    }
  }
}

async function written(
  sink: { write(bytes: Uint8Array): unknown; flush(): unknown },
  bytes: Uint8Array,
): Promise<void> {
  sink.write(bytes)
  await sink.flush()
}

/** The rows of a query that have been given away, so that one which is run again goes on behind them. */
export class HandedRows {
  #rows = 0
  #last: readonly Cell[] | undefined
  /** Rows that come once more. */
  #repeated = 0

  /** The query starts from its first row. */
  again(): void {
    this.#repeated = this.#rows
  }

  /** SqlError `failed` if the query has ended before it came to rows that are new. */
  finish(): void {
    if (this.#repeated > 0) throw differs()
  }

  /** The rows of a batch that are new. SqlError `failed` if the query gives other rows than the first time. */
  *next(batch: Batch): Generator<Batch> {
    const known = Math.min(this.#repeated, batch.rows)
    this.#repeated -= known
    if (known > 0 && this.#repeated === 0 && !Bun.deepEquals(rowOf(batch, known - 1), this.#last)) throw differs()
    if (known === batch.rows) return
    this.#rows += batch.rows - known
    this.#last = rowOf(batch, batch.rows - 1)
    yield sliceBatch(batch, known, batch.rows)
  }
}

function differs(): SqlError {
  return new SqlError(
    'failed',
    'text in a file of the table is not UTF-8, and the query gave other rows when it was run again; give it an ORDER BY',
  )
}

function rowOf({ vectors }: Batch, row: number): Cell[] {
  return vectors.map(vector => cellAt(vector, row))
}
