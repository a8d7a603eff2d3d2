import type { Operation } from '../commit/change.ts'
import { type ChangedRows, filesMetric, predicates } from './changed-rows.ts'

/** As many rows as before, some of them with other values. */
export function updated({ rows, predicate, files }: ChangedRows): Operation {
  return {
    name: 'UPDATE',
    parameters: { predicate: predicates(predicate) },
    metrics: { numUpdatedRows: String(rows), ...filesMetric('numAddedFiles', files) },
  }
}
