import type { Batch, Cell } from '../columns/types.ts'
import { cellAt, sliceBatch } from '../columns/vectors.ts'
import { messageOf } from '../core/errors.ts'
import type { LiveFile, Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { SqlError } from './errors.ts'
import { copyName } from './remote-files.ts'

/** The engine's words when it comes upon a column that was not fetched. */
const NOT_FETCHED = 'Only inlined data files are supported'
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
  /** All columns of files that are elsewhere are fetched, not only those that a statement seems to need. */
  wantsAll = false

  constructor(table: Table, log?: (sentence: string) => void) {
    this.#table = table
    this.#log = log
  }

  /** True if an error of the engine is that it refuses a file of the snapshot, and none that was replaced already. */
  note(error: unknown, snapshot: Snapshot): boolean {
    const sentence = messageOf(error)
    if (!this.wantsAll && sentence.includes(NOT_FETCHED)) {
      this.wantsAll = true
      return true
    }
    if (!sentence.includes(REFUSAL)) return false
    const { store } = this.#table
    const nameOf = (file: LiveFile): string => {
      const path = store.localPath(file.path)
      return path === undefined ? `/${copyName(file)}.` : `${path}"`
    }
    const file = snapshot.files.find(known => sentence.includes(nameOf(known)))
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

  /** True if the engine has refused a file. */
  has(file: LiveFile): boolean {
    return this.#paths.has(file.path)
  }
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
