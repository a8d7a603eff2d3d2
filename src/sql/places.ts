import { readFooter } from '../columns/parquet/read.ts'
import { storeSource } from '../columns/parquet/source.ts'
import type { Batch } from '../columns/types.ts'
import { cellAt } from '../columns/vectors.ts'
import { decodeOrderHint, type OrderHint, type OrderRun } from '../table/order-hint.ts'
import type { LiveFile } from '../table/snapshot.ts'
import type { Deletion, Table } from '../table/table.ts'
import { ORDER_KEY, ORDER_TAG } from '../table/tags.ts'
import type { EnginePart, RowRun } from './relation.ts'

/** Rows of the table's files, found by a statement. */
export class Places {
  readonly #parts: readonly EnginePart[]
  readonly #rows = new Map<LiveFile, number[]>()
  count = 0

  constructor(parts: readonly EnginePart[]) {
    this.#parts = parts
  }

  /** Takes the places in the first two columns: the number of the part, the row in it. */
  add(batch: Batch): void {
    for (let i = 0; i < batch.rows; i++) {
      const { file, runs } = this.#parts[Number(cellAt(batch.vectors[0]!, i))]!
      const row = physicalRow(runs, Number(cellAt(batch.vectors[1]!, i)))
      const known = this.#rows.get(file)
      if (known === undefined) this.#rows.set(file, [row])
      else known.push(row)
    }
    this.count += batch.rows
  }

  deletions(): Deletion[] {
    return [...this.#rows].map(([file, rows]) => ({ file, rows: Uint32Array.from(rows).sort() }))
  }

  /**
   * Each new row stands where its old one stood. The places came in order. `all`: the files of the table, of which those
   * without rows that were found may have rows in between.
   */
  async orderHint(store: Table['store'], all: readonly LiveFile[]): Promise<OrderHint> {
    const gaps = await gapsOf(all, store)
    const refs: string[] = []
    const runs: OrderRun[] = []
    for (const [{ path }, rows] of this.#rows) {
      const apart = gaps.get(path)
      const ref = refs.push(path) - 1
      for (let i = 0; i < rows.length; ) {
        const first = rows[i]!
        let count = 1
        while (rows[i + count] === first + count && apart?.has(first + count - 1) !== true) count++
        runs.push({ count, ref, row: first })
        i += count
      }
    }
    return { refs, runs }
  }
}

/** The row of the file that a row of a part of it is. */
function physicalRow(runs: readonly RowRun[], row: number): number {
  let before = 0
  for (const { firstRow, rows } of runs) {
    if (row - before < rows) return firstRow + row - before
    before += rows
  }
  throw new Error(`the engine found row ${row} of a file that has ${before}`)
}

/**
 * By path, the rows that the next row of their file does not stand behind: another file's rows hang on them, or the next
 * one belongs elsewhere. New rows across such a gap are two runs.
 */
async function gapsOf(files: readonly LiveFile[], store: Table['store']): Promise<ReadonlyMap<string, Set<number>>> {
  const gaps = new Map<string, Set<number>>()
  const note = (path: string, row: number): void => {
    const rows = gaps.get(path)
    if (rows === undefined) gaps.set(path, new Set([row]))
    else rows.add(row)
  }
  for (const file of files) {
    if (file.tag(ORDER_TAG) === undefined) continue
    const { keyValue } = await readFooter(storeSource(store, file.path, file.sizeBytes))
    const hint = decodeOrderHint(keyValue.get(ORDER_KEY) ?? '')
    let end = 0
    for (const { count, ref, row } of hint?.runs ?? []) {
      end += count
      note(file.path, end - 1)
      if (ref >= 0) note(hint!.refs[ref]!, row)
    }
  }
  return gaps
}
