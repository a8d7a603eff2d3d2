import type { Operation } from '../commit/change.ts'
import type { NewFile } from '../data-files/new-file.ts'
import { filesMetric } from './changed-rows.ts'

/** Rows that were added. */
export interface Append {
  readonly rows: number
  /** The files that hold them, where they are counted. */
  readonly files?: readonly NewFile[] | undefined
  readonly partitionColumns: readonly string[]
}

/** New rows, and nothing else. */
export function appended({ rows, files, partitionColumns }: Append): Operation {
  return {
    name: 'WRITE',
    parameters: { mode: 'Append', partitionBy: JSON.stringify(partitionColumns) },
    metrics: { ...filesMetric('numFiles', files), numOutputRows: String(rows) },
  }
}
