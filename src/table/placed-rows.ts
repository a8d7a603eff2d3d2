import { firstIndex } from '../core/search.ts'
import { type FilePlace, inViewOrder } from './live-files.ts'
import type { OrderHint } from './order-hint.ts'

/** Physical rows [start, end) of a file. */
export interface RowRange {
  readonly start: number
  readonly end: number
}

/** Rows of a file that stand behind a row of another one, or at the start of the table (`target` undefined). */
export interface PlacedRun extends RowRange {
  readonly target: FilePlace | undefined
  readonly row: number
}

/** The rows that stand behind one row: those of later files first. */
export interface Anchored {
  readonly row: number
  readonly attached: readonly (RowRange & { readonly file: FilePlace })[]
}

/** A file that rows may hang on. */
export interface Target {
  readonly file: FilePlace
  readonly rows: number
}

/**
 * Returns where the rows of a file with an order hint stand: elsewhere (`runs`), or at its own place. `targets`: what the
 * hint's refs are; a hint counts only where it names a row of a live file in front of its own.
 */
export function placedRows(
  hint: OrderHint,
  rows: number,
  targets: readonly (Target | undefined)[],
): { readonly runs: readonly PlacedRun[]; readonly own: readonly RowRange[] } {
  const runs: PlacedRun[] = []
  const own: RowRange[] = []
  let at = 0
  for (const { count, ref, row } of hint.runs) {
    const start = at
    const end = Math.min(rows, at + count)
    if (start >= end) break
    at = end
    const target = ref < 0 ? undefined : targets[ref]
    if (ref >= 0 && (target === undefined || row >= target.rows)) own.push({ start, end })
    else runs.push({ start, end, target: target?.file, row })
  }
  if (at < rows) own.push({ start: at, end: rows })
  return { runs, own }
}

/** The order of the rows that hang on one row: those of later files first, and those of one file in their order. */
export function inHangingOrder(
  a: { readonly file: FilePlace; readonly start: number },
  b: { readonly file: FilePlace; readonly start: number },
): number {
  return inViewOrder(b.file, a.file) || a.start - b.start
}

/** Returns the rows of a range with what hangs on them, in the order in which they are shown. `nodeOf`: what is known of a file. */
export function shownRows<N extends { readonly anchors: readonly Anchored[] }>(
  range: RowRange & { readonly file: FilePlace },
  nodeOf: (file: FilePlace) => N,
): (RowRange & { readonly node: N })[] {
  const shown: (RowRange & { readonly node: N })[] = []
  const waiting: (RowRange & { readonly node: N })[] = []
  const wait = ({ file, start, end }: RowRange & { readonly file: FilePlace }): void => {
    waiting.push({ node: nodeOf(file), start, end })
  }
  wait(range)
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { node, start, end } = next
    const anchor = firstAnchor(node.anchors, start, end)
    if (anchor === undefined) {
      if (start < end) shown.push(next)
      continue
    }
    shown.push({ node, start, end: anchor.row + 1 })
    waiting.push({ node, start: anchor.row + 1, end })
    for (let i = anchor.attached.length - 1; i >= 0; i--) wait(anchor.attached[i]!)
  }
  return shown
}

function firstAnchor(anchors: readonly Anchored[], start: number, end: number): Anchored | undefined {
  const found = anchors[firstIndex(anchors.length, i => anchors[i]!.row >= start)]
  return found !== undefined && found.row < end ? found : undefined
}
