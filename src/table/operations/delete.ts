import type { Operation } from '../commit/change.ts'
import type { NewFile } from '../data-files/new-file.ts'

/** Rows that were taken away. */
export interface Delete {
  readonly rows: number
  /** The SQL condition, where there was one. */
  readonly predicate?: string | undefined
  /** Files that were written anew without them. */
  readonly files?: readonly NewFile[] | undefined
}

/** Rows less, and nothing else. */
export function deleted({ rows, predicate, files }: Delete): Operation {
  return {
    name: 'DELETE',
    parameters: { predicate: JSON.stringify(predicate === undefined ? [] : [predicate]) },
    metrics: { numDeletedRows: String(rows), ...(files === undefined ? {} : { numAddedFiles: String(files.length) }) },
  }
}
