import { Ordered, type Ordering } from '../../core/ordered.ts'
import { lowerBound } from '../../core/search.ts'
import { inHangingOrder, placedRows, type RowRange, type Target } from '../../table/placed-rows.ts'
import { type FilePlace, inViewOrder, type LiveFiles } from '../../table/snapshot.ts'
import { ORDER_TAG } from '../../table/tags.ts'
import type { FileText } from './file-text.ts'
import {
  type Anchor,
  type Attached,
  bytesOf,
  FileNode,
  type FileTexts,
  nodeAt,
  nodeOrdering,
  type Rope,
  type Run,
  runAt,
  startBlocks,
  textOrdering,
} from './rope.ts'
import type { Segments } from './segments.ts'

const EMPTY: Rope = {
  nodes: Ordered.of(nodeOrdering),
  start: [],
  startBlocks: [],
  startBytes: 0,
  unresolved: new Set(),
}

/** A version of which the rope is known. */
export interface KnownRope {
  readonly texts: FileTexts
  readonly rope: Rope
}

/**
 * The rope of a version; of one that differs little from another whose rope is known, in the time that the difference
 * takes. A hint counts only where it names a row of a live file in front of its own, which all hints of ours do: so no two
 * files can wait for each other. Rows with no such place stand at their file's own.
 */
export async function ropeOf(
  texts: FileTexts,
  live: LiveFiles,
  segments: Segments,
  known: KnownRope | undefined,
): Promise<Rope> {
  if (known !== undefined) {
    const next = await new Placing(known.rope, live, segments).next(texts, known.texts)
    if (next !== undefined) return next
  }
  const next = await new Placing(EMPTY, live, segments).next(texts, Ordered.of(textOrdering))
  if (next === undefined) throw new Error('rows hang on a file that is not there')
  return next
}

/** Rows of `file` that hang elsewhere count for other bytes now: `before` 0: they did not, `after` 0: they do no more. */
interface Moved extends RowRange {
  readonly file: FilePlace
  readonly row: number
  readonly before: number
  readonly after: number
}

/** The work to be done at one file: rows that hang on it change, or it goes. */
interface Pending {
  readonly file: FilePlace
  readonly moved: Moved[]
  isGone: boolean
}

const pendingOrdering: Ordering<Pending> = {
  compare: (a, b) => inViewOrder(a.file, b.file),
  hash: ({ file }) => file.modificationTime ^ file.path.length,
}

/** One rope on the way to the next. */
class Placing {
  readonly #live: LiveFiles
  readonly #segments: Segments
  readonly #before: Rope
  #nodes: Ordered<FileNode>
  #unresolved: Set<string> | undefined
  #pending = Ordered.of(pendingOrdering)
  readonly #atStart: Moved[] = []

  constructor(before: Rope, live: LiveFiles, segments: Segments) {
    this.#before = before
    this.#live = live
    this.#segments = segments
    this.#nodes = before.nodes
  }

  /** Undefined where the places of rows change that did not change themselves: all have to be worked out anew. */
  async next(texts: FileTexts, before: FileTexts): Promise<Rope | undefined> {
    const changes = texts.changesSince(before)
    for (const { before: old, after } of changes) {
      const isNew = old === undefined && after !== undefined
      if (isNew && this.#before.unresolved.has(after.file.path)) return undefined
    }
    for (const { before: old, after } of changes) {
      const node = old && nodeAt(this.#nodes, old.file)
      if (after === undefined) this.#pendingAt(node!.text.file).isGone = true
      else if (node === undefined) await this.#add(after)
      else await this.#change(node, after)
    }
    while (this.#pending.size > 0) if (!this.#hangNext()) return undefined
    const start = this.#atStart.length === 0 ? this.#before.start : hung(this.#before.start, this.#atStart)
    return {
      nodes: this.#nodes,
      start,
      startBlocks: start === this.#before.start ? this.#before.startBlocks : startBlocks(start),
      startBytes: start === this.#before.start ? this.#before.startBytes : bytesOf(start),
      unresolved: this.#unresolved ?? this.#before.unresolved,
    }
  }

  async #add(text: FileText): Promise<void> {
    const { runs, own } = await this.#runsOf(text)
    const size = text.size - runs.reduce((sum, { bytes }) => sum + bytes, 0)
    this.#nodes = this.#nodes.with(
      new FileNode({ text, own: runs.length === 0 ? undefined : own, runs, anchors: [], size }),
    )
    for (const run of runs) this.#move(text.file, { ...run, total: 0 }, run.total)
  }

  /** Other rows of the file are deleted now. */
  async #change(node: FileNode, text: FileText): Promise<void> {
    const touched = node.runs.length === 0 ? undefined : await differing(node.text, text)
    const runs: Run[] = []
    let ownSize = node.size + text.size - node.text.size
    for (const run of node.runs) {
      if (touched?.has(run) !== true) {
        runs.push(run)
        continue
      }
      const bytes = await text.liveBytes(run.start, run.end)
      const total = run.total + bytes - run.bytes
      ownSize -= bytes - run.bytes
      runs.push({ ...run, bytes, total })
      this.#move(text.file, run, total)
    }
    this.#nodes = this.#nodes.with(new FileNode({ ...node, text, runs, size: ownSize }))
  }

  /** Rows count for other bytes from now on where they hang; or for the same, but they are others. */
  #move(file: FilePlace, { start, end, target, row, total }: Run, after: number): void {
    if (total === 0 && after === 0) return
    const moved = { file, start, end, row, before: total, after }
    if (target === undefined) {
      this.#atStart.push(moved)
      return
    }
    this.#pendingAt(target).moved.push(moved)
  }

  #pendingAt({ modificationTime, path }: FilePlace): Pending {
    const probe = { file: { modificationTime, path }, moved: [], isGone: false }
    const pending = this.#pending.get(probe)
    if (pending !== undefined) return pending
    this.#pending = this.#pending.with(probe)
    return probe
  }

  /**
   * Hangs what is to be hung on the last of the files where something is: hints lead to earlier files, so that nothing can
   * come to it any more. False if the file is not there, or goes while something hangs on it.
   */
  #hangNext(): boolean {
    const pending = this.#pending.at(-1)!
    this.#pending = this.#pending.without(pending)
    const node = nodeAt(this.#nodes, pending.file)
    if (node === undefined) return false
    if (pending.isGone) return this.#remove(node, pending.moved)
    const changedRuns = new Map<Run, number>()
    let size = node.size
    for (const { row, before, after } of pending.moved) {
      const run = runAt(node.runs, row)
      if (run === undefined) size += after - before
      else changedRuns.set(run, (changedRuns.get(run) ?? run.total) + after - before)
    }
    const runs = changedRuns.size === 0 ? node.runs : node.runs.map(run => withTotal(run, changedRuns.get(run)))
    this.#nodes = this.#nodes.with(
      new FileNode({ ...node, runs, size, anchors: anchored(node.anchors, pending.moved) }),
    )
    for (const [run, total] of changedRuns) this.#move(node.text.file, run, total)
    return true
  }

  /** Takes a file out whose attached rows have gone before; false if some have not. */
  #remove(node: FileNode, moved: readonly Moved[]): boolean {
    if (anchored(node.anchors, moved).length > 0) return false
    this.#nodes = this.#nodes.without(node)
    for (const run of node.runs) this.#move(node.text.file, run, 0)
    return true
  }

  async #runsOf(text: FileText): Promise<{ readonly runs: readonly Run[]; readonly own: readonly RowRange[] }> {
    const hint = text.file.tag(ORDER_TAG) === undefined ? undefined : await this.#segments.orderHint(text.file)
    if (hint === undefined) return { runs: [], own: [] }
    const targets = await this.#targetsOf(text, hint.refs)
    const { runs, own } = placedRows(hint, await text.rows(), targets)
    const sized: Run[] = []
    for (const run of runs) {
      const bytes = await text.liveBytes(run.start, run.end)
      sized.push({ ...run, bytes, total: bytes })
    }
    return { runs: sized, own }
  }

  /** The files that a hint names and rows of this file may hang on. */
  async #targetsOf(text: FileText, refs: readonly string[]): Promise<(Target | undefined)[]> {
    const targets: (Target | undefined)[] = []
    for (const path of refs) {
      const file = this.#live.get(path)
      if (file !== undefined && inViewOrder(file, text.file) < 0) {
        targets.push({ file, rows: await this.#segments.rows(file) })
        continue
      }
      targets.push(undefined)
      this.#unresolved ??= new Set(this.#before.unresolved)
      this.#unresolved.add(path)
    }
    return targets
  }
}

/** The runs of a file in which other rows are deleted than before. */
async function differing(before: FileText, after: FileText): Promise<{ has(run: RowRange): boolean }> {
  const rows = symmetricDifference(await before.deletedRows(), await after.deletedRows())
  return {
    has: ({ start, end }) => {
      const first = rows[lowerBound(rows, start)]
      return first !== undefined && first < end
    },
  }
}

/** Returns the numbers that are in only one of two ascending lists. */
function symmetricDifference(a: Uint32Array, b: Uint32Array): number[] {
  const found: number[] = []
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    if (a[i] === b[j]) {
      i++
      j++
    } else if (j >= b.length || (i < a.length && a[i]! < b[j]!)) found.push(a[i++]!)
    else found.push(b[j++]!)
  }
  return found
}

function withTotal(run: Run, total: number | undefined): Run {
  return total === undefined ? run : { ...run, total }
}

/** Returns the rows that hang at one place, after some of them changed. */
function hung(attached: readonly Attached[], moved: readonly Moved[]): readonly Attached[] {
  // The sort is stable: what changed more than once is in the end as it was changed last.
  const changes = [...moved].sort(inHangingOrder)
  const next: Attached[] = []
  let i = 0
  for (const [n, change] of changes.entries()) {
    const { file, start, end, after } = change
    if (n + 1 < changes.length && inHangingOrder(change, changes[n + 1]!) === 0) continue
    while (i < attached.length && inHangingOrder(attached[i]!, { file, start }) < 0) next.push(attached[i++]!)
    if (i < attached.length && inHangingOrder(attached[i]!, { file, start }) === 0) i++
    if (after > 0) next.push({ file, start, end, bytes: after })
  }
  for (; i < attached.length; i++) next.push(attached[i]!)
  return next
}

/** Returns the rows that hang on a file's rows, after some of them changed. */
function anchored(anchors: readonly Anchor[], moved: readonly Moved[]): readonly Anchor[] {
  const byRow = new Map<number, Moved[]>()
  for (const change of moved) {
    const list = byRow.get(change.row)
    if (list === undefined) byRow.set(change.row, [change])
    else list.push(change)
  }
  const next: Anchor[] = []
  let i = 0
  for (const [row, changes] of [...byRow].sort(([a], [b]) => a - b)) {
    while (i < anchors.length && anchors[i]!.row < row) next.push(anchors[i++]!)
    const attached = hung(anchors[i]?.row === row ? anchors[i++]!.attached : [], changes)
    if (attached.length > 0) next.push({ row, attached })
  }
  for (; i < anchors.length; i++) next.push(anchors[i]!)
  return next
}
