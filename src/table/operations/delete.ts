import type { Operation } from '../commit/change.ts'
import { type ChangedRows, filesMetric, predicates } from './changed-rows.ts'

/** Rows less, and nothing else. */
export function deleted({ rows, predicate, files }: ChangedRows): Operation {
  return {
    name: 'DELETE',
    parameters: { predicate: predicates(predicate) },
    metrics: { numDeletedRows: String(rows), ...filesMetric('numAddedFiles', files) },
  }
}
