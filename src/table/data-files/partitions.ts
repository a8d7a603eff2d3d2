import { physicalName } from '../../columns/schema.ts'
import type { Batch, Schema } from '../../columns/types.ts'
import { cellAt, takeRows } from '../../columns/vectors.ts'
import type { PartitionTexts } from './new-file.ts'
import { formatPartitionValue } from './partition-values.ts'
import { partitionFolder } from './paths.ts'

/** The rows of a batch that belong to one partition. */
export interface PartitionedRows {
  /** Tells the partition from all others, which the folder may not. */
  readonly key: string
  readonly folder: string
  readonly values: PartitionTexts
  /** With all columns of the table. */
  readonly batch: Batch
}

/** Splits rows by their partition values, in the order in which those come; a table without partitions has one. */
export function splitByPartition(batch: Batch, schema: Schema, partitionColumns: readonly string[]): PartitionedRows[] {
  if (partitionColumns.length === 0) return [{ key: '', folder: '', values: {}, batch }]
  const parts = new Map<string, { readonly folder: string; readonly values: PartitionTexts; readonly rows: number[] }>()
  const columns = partitionColumns.map(name => schema.findIndex(field => field.name === name))
  for (let row = 0; row < batch.rows; row++) {
    const values: Record<string, string | null> = {}
    const folders: string[] = []
    for (const column of columns) {
      const field = schema[column]!
      const text = formatPartitionValue(cellAt(batch.vectors[column]!, row), field.type)
      values[physicalName(field)] = text
      folders.push(partitionFolder(physicalName(field), text))
    }
    // A text may be what stands for NULL in the name of a folder.
    const key = JSON.stringify(Object.values(values))
    const part = parts.get(key) ?? { folder: folders.join('/'), values, rows: [] }
    part.rows.push(row)
    parts.set(key, part)
  }
  return [...parts].map(([key, { rows, ...part }]) => ({ key, ...part, batch: takeRows(batch, rows) }))
}
