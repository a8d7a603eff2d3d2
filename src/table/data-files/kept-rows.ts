import type { Footer } from '../../columns/parquet/read.ts'
import { lowerBound } from '../../core/search.ts'

/** The rows of a row group that are not deleted. */
export interface KeptRows {
  readonly group: number
  /** All rows of the row group. */
  readonly rows: number
  /** From the row group's first row on, ascending. */
  readonly kept: readonly number[]
}

/** Goes through the row groups of a file. `deleted`: physical rows of the file, ascending. */
export function* keptRows({ rowGroups }: Footer, deleted: Uint32Array): Generator<KeptRows> {
  for (const [group, { firstRow, rows }] of rowGroups.entries())
    yield { group, rows, kept: keptAmong(deleted, firstRow, firstRow + rows, firstRow) }
}

/** The rows [start, end) that are not deleted, counted from `firstRow`. */
export function keptAmong(deleted: Uint32Array, start: number, end: number, firstRow: number): number[] {
  const kept: number[] = []
  let next = lowerBound(deleted, start)
  for (let row = start; row < end; row++) {
    if (deleted[next] === row) next++
    else kept.push(row - firstRow)
  }
  return kept
}
