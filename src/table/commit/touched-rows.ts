import { cellToJson } from '../../columns/text/json.ts'
import type { Batch, Vector } from '../../columns/types.ts'
import { cellAt } from '../../columns/vectors.ts'
import type { Deletion } from './change.ts'

/** The rows that a change touches, and which of them are updates. */
export interface TouchedRows {
  /** Rows of the base that go, or get other values. */
  readonly removed: readonly Deletion[]
  readonly updates: Updates
}

/** Which of the rows that go come back with other values. */
export type Updates =
  /** These, and their new values are the first so many of the rows that are written. */
  | { readonly by: 'place'; readonly removed: readonly Deletion[]; readonly added: number }
  /** Those whose value in this column comes back, each as often as it is on both sides; none if it is not given. */
  | { readonly by: 'key'; readonly column: number | undefined }

/** The keys of rows; NULL is none. */
export function keysOf({ vectors, rows }: Batch, column: number | undefined): (string | undefined)[] {
  if (column === undefined) return new Array<undefined>(rows).fill(undefined)
  const vector: Vector = vectors[column]!
  return Array.from({ length: rows }, (_, row) => {
    const cell = cellAt(vector, row)
    return cell === null ? undefined : cellToJson(cell, vector.type)
  })
}
