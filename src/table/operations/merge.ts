import type { Operation } from '../commit/change.ts'
import type { NewFile } from '../data-files/new-file.ts'
import { filesMetric, predicates } from './changed-rows.ts'

/** Rows that were inserted, updated and deleted together. */
export interface Merge {
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
  /** The SQL condition by which rows were joined, where there was one. */
  readonly predicate?: string | undefined
  /** The files that hold new rows, where they are counted. */
  readonly files?: readonly NewFile[] | undefined
}

/** Several kinds of changes in one commit. */
export function merged({ inserted, updated, deleted, predicate, files }: Merge): Operation {
  return {
    name: 'MERGE',
    parameters: {
      predicate: predicates(predicate),
      matchedPredicates: '[]',
      notMatchedPredicates: '[]',
    },
    metrics: {
      numTargetRowsInserted: String(inserted),
      numTargetRowsUpdated: String(updated),
      numTargetRowsDeleted: String(deleted),
      numOutputRows: String(updated + inserted),
      ...filesMetric('numTargetFilesAdded', files),
    },
  }
}
