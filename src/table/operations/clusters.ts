import { readFooter } from '../../columns/parquet/read.ts'
import { storeSource } from '../../columns/parquet/source.ts'
import { type FilePlace, inViewOrder, type LiveFile } from '../live-files.ts'
import { decodeOrderHint } from '../order-hint.ts'
import {
  type Anchored,
  inHangingOrder,
  type PlacedRun,
  placedRows,
  type RowRange,
  shownRows,
  type Target,
} from '../placed-rows.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Table } from '../table.ts'
import { ORDER_KEY, ORDER_TAG } from '../tags.ts'

/** The places of the rows of a file in the views. */
export interface FileRows {
  readonly file: LiveFile
  /** Those that stand among the rows of other files, or in front of all. */
  readonly runs: readonly PlacedRun[]
  /** Those at the file's own place; undefined: all. */
  readonly own: readonly RowRange[] | undefined
}

/** Files whose rows stand among each other's, in view order: only all of them together can be written anew. Most stand alone. */
export type Cluster = readonly [FileRows, ...FileRows[]]

/** Finds the clusters of versions that follow one another. What files say of their rows is read once. */
export class Clusters {
  readonly #table: Table
  readonly #known = new Map<string, FileRows>()

  constructor(table: Table) {
    this.#table = table
  }

  /** In the order in which their rows are shown: no row of one stands among those of another. */
  async of(snapshot: Snapshot): Promise<Cluster[]> {
    const { files } = snapshot
    const all: FileRows[] = []
    for (const file of files) all.push(await this.#rowsOf(snapshot, file))
    const numbers = new Map(files.map((file, i) => [file.path, i]))
    const groups = new Groups(files.length)
    // Rows at the start stand in front of those of the first file that has some at its own place.
    const first = Math.max(0, all.findIndex(isPlaced))
    for (const [i, { runs }] of all.entries())
      for (const { target } of runs) groups.join(i, target === undefined ? first : numbers.get(target.path)!)
    return clustered(all, groups)
  }

  async #rowsOf({ live }: Snapshot, file: LiveFile): Promise<FileRows> {
    if (file.tag(ORDER_TAG) === undefined) return { file, runs: [], own: undefined }
    const refs = file.orderRefs.map(path => live.get(path)?.key)
    const key = [file.key, ...refs].join('\0\0')
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const { keyValue, rows } = await this.#footer(file)
    const hint = decodeOrderHint(keyValue.get(ORDER_KEY) ?? '')
    if (hint === undefined) return { file, runs: [], own: undefined }
    const targets: (Target | undefined)[] = []
    for (const path of hint.refs) {
      const target = live.get(path)
      const isInFront = target !== undefined && inViewOrder(target, file) < 0
      targets.push(isInFront ? { file: target, rows: target.rows ?? (await this.#footer(target)).rows } : undefined)
    }
    const found = { file, ...placedRows(hint, rows, targets) }
    this.#known.set(key, found)
    return found
  }

  #footer({ path, sizeBytes }: LiveFile): ReturnType<typeof readFooter> {
    return readFooter(storeSource(this.#table.store, path, sizeBytes))
  }
}

/** True for a file with rows at its own place. */
function isPlaced({ own }: FileRows): boolean {
  return own?.length !== 0
}

/** Numbers that belong together. */
class Groups {
  readonly #parents: number[]

  constructor(count: number) {
    this.#parents = Array.from({ length: count }, (_, i) => i)
  }

  of(number: number): number {
    let root = number
    while (this.#parents[root] !== root) root = this.#parents[root]!
    this.#parents[number] = root
    return root
  }

  join(a: number, b: number): void {
    this.#parents[this.of(a)] = this.of(b)
  }
}

/** Puts groups together whose files stand among each other's, and all in order. `all`: in view order. */
function clustered(all: readonly FileRows[], groups: Groups): Cluster[] {
  /** By group, the last file in it that has rows at its own place. */
  const lastPlaced = new Map<number, number>()
  for (const [i, rows] of all.entries()) if (isPlaced(rows)) lastPlaced.set(groups.of(i), i)
  let first: number | undefined
  let end = -1
  for (const [i, rows] of all.entries()) {
    if (!isPlaced(rows)) continue
    // Of the first file of each group that comes, before the group may become part of another one.
    const last = lastPlaced.get(groups.of(i)) ?? i
    if (first !== undefined && i <= end) groups.join(i, first)
    else first = i
    end = Math.max(end, last)
  }
  const clusters = new Map<number, FileRows[]>()
  for (const [i, rows] of all.entries()) {
    const cluster = clusters.get(groups.of(i))
    if (cluster === undefined) clusters.set(groups.of(i), [rows])
    else cluster.push(rows)
  }
  return [...clusters.values()] as unknown as Cluster[]
}

/** The rows of whole clusters in the order in which they are shown, those that are deleted included. */
export function inShownOrder(files: readonly FileRows[]): (RowRange & { readonly file: LiveFile })[] {
  const nodes = new Map(files.map(({ file }) => [file.path, { file, anchors: [] as Anchored[] }]))
  const atStart: (RowRange & { readonly file: LiveFile })[] = []
  const byTarget = new Map<string, (PlacedRun & { readonly file: LiveFile })[]>()
  for (const { file, runs } of files) {
    for (const run of runs) {
      if (run.target === undefined) {
        atStart.push({ ...run, file })
        continue
      }
      const others = byTarget.get(run.target.path)
      if (others === undefined) byTarget.set(run.target.path, [{ ...run, file }])
      else others.push({ ...run, file })
    }
  }
  for (const [path, runs] of byTarget) nodes.get(path)!.anchors.push(...anchorsOf(runs))
  const nodeOf = ({ path }: FilePlace) => nodes.get(path)!
  const places = [
    ...atStart.sort(inHangingOrder),
    ...files.flatMap(({ file, own }) =>
      (own ?? [{ start: 0, end: Number.POSITIVE_INFINITY }]).map(range => ({ ...range, file })),
    ),
  ]
  return places
    .flatMap(range => shownRows(range, nodeOf))
    .map(({ node, start, end }) => ({ file: node.file, start, end }))
}

function anchorsOf(runs: readonly (PlacedRun & { readonly file: LiveFile })[]): Anchored[] {
  const byRow = new Map<number, (PlacedRun & { readonly file: LiveFile })[]>()
  for (const run of runs) {
    const others = byRow.get(run.row)
    if (others === undefined) byRow.set(run.row, [run])
    else others.push(run)
  }
  return [...byRow]
    .sort(([a], [b]) => a - b)
    .map(([row, attached]) => ({ row, attached: attached.sort(inHangingOrder) }))
}
