import type { Operation } from '../commit/change.ts'
import type { NewFile } from '../data-files/new-file.ts'

/** Rows that got other values. */
export interface Update {
  readonly rows: number
  /** The SQL condition, where there was one. */
  readonly predicate?: string | undefined
  /** The files that hold their new values. */
  readonly files?: readonly NewFile[] | undefined
}

/** As many rows as before, some of them with other values. */
export function updated({ rows, predicate, files }: Update): Operation {
  return {
    name: 'UPDATE',
    parameters: { predicate: JSON.stringify(predicate === undefined ? [] : [predicate]) },
    metrics: { numUpdatedRows: String(rows), ...(files === undefined ? {} : { numAddedFiles: String(files.length) }) },
  }
}
