import type { FileText } from './file-text.ts'
import type { Segments } from './segments.ts'

/** Rows [start, end) of a file: the index of the file in view order, physical row numbers. */
export interface RowRange {
  readonly file: number
  readonly start: number
  readonly end: number
}

/** A row range that an order hint puts behind a row of another file, or at the start of the table. */
interface Attached extends RowRange {
  /** Bytes of its live rows, and of what hangs on them. */
  bytes: number
}

/** The rows that stand behind one row: later files first. */
interface Anchor {
  readonly row: number
  readonly attached: Attached[]
}

/** Where the rows of files with order hints stand (see OrderHint). */
export interface Placement {
  /** What stands in front of all files. */
  readonly start: readonly Attached[]
  readonly startBytes: number
  /** Rows that stand at their file's own place; undefined: all of them. */
  ownRows(file: number): readonly RowRange[] | undefined
  /** Bytes that stand at a file's own place, what hangs on its rows included. */
  bytesAt(file: number): number
  anchors(file: number): readonly Anchor[]
  /** Files that have rows at the place of `file` without being it; of -1: at the start. */
  guests(file: number): ReadonlySet<number>
}

interface Run extends Attached {
  /** The file at whose own place it stands in the end; -1: the start. */
  place: number
  /** -1: the start of the table. */
  readonly targetFile: number
  readonly targetRow: number
}

/**
 * Finds the places of hinted rows. A hint counts only where it names a row of a live file in front of its own, which all
 * hints of ours do: so no two files can wait for each other. Rows with no such place stand at their file's own.
 */
export async function place(files: readonly FileText[], segments: Segments): Promise<Placement> {
  const hinted = files.flatMap((text, i) => (text.file.tag('posixlake.order') === undefined ? [] : [i]))
  const placing = new Placing(files)
  if (hinted.length > 0) {
    const indexOf = new Map(files.map((text, i) => [text.file.path, i]))
    for (const file of hinted) await placing.addRuns(file, segments, indexOf)
    placing.hang()
  }
  return placing
}

class Placing implements Placement {
  readonly start: Attached[] = []
  readonly #files: readonly FileText[]
  readonly #runs = new Map<number, Run[]>()
  readonly #own = new Map<number, RowRange[]>()
  readonly #ownBytes = new Map<number, number>()
  readonly #hanging = new Map<number, number>()
  readonly #anchors = new Map<number, Anchor[]>()
  readonly #guests = new Map<number, Set<number>>()

  constructor(files: readonly FileText[]) {
    this.#files = files
  }

  get startBytes(): number {
    return this.start.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  ownRows(file: number): readonly RowRange[] | undefined {
    return this.#own.get(file)
  }

  bytesAt(file: number): number {
    return (this.#ownBytes.get(file) ?? this.#files[file]!.size) + (this.#hanging.get(file) ?? 0)
  }

  anchors(file: number): readonly Anchor[] {
    return this.#anchors.get(file) ?? []
  }

  guests(file: number): ReadonlySet<number> {
    return this.#guests.get(file) ?? new Set()
  }

  async addRuns(file: number, segments: Segments, indexOf: ReadonlyMap<string, number>): Promise<void> {
    const text = this.#files[file]!
    const hint = await segments.orderHint(text.file)
    if (hint === undefined) return
    const rows = await text.rows()
    const runs: Run[] = []
    const own: RowRange[] = []
    let at = 0
    for (const { count, ref, row } of hint.runs) {
      const start = at
      const end = Math.min(rows, at + count)
      if (start >= end) break
      at = end
      const targetFile = ref < 0 ? -1 : (indexOf.get(hint.refs[ref]!) ?? file)
      if (targetFile >= file || (targetFile >= 0 && row >= (await this.#files[targetFile]!.rows())))
        own.push({ file, start, end })
      else runs.push({ file, start, end, bytes: 0, targetFile, targetRow: row, place: targetFile })
    }
    if (runs.length === 0) return
    if (at < rows) own.push({ file, start: at, end: rows })
    const [only] = runs
    if (only !== undefined && runs.length === 1 && own.length === 0) only.bytes = text.size
    else for (const run of runs) run.bytes = await text.sizeOf(run.start, run.end)
    this.#runs.set(file, runs)
    this.#own.set(file, own)
    this.#ownBytes.set(file, text.size - runs.reduce((sum, { bytes }) => sum + bytes, 0))
  }

  /** Hangs all runs on their anchors; later files first, so that a run's own bytes are complete when it is hung. */
  hang(): void {
    const byFile = [...this.#runs].sort(([a], [b]) => b - a)
    const anchorOf = new Map<number, Map<number, Anchor>>()
    for (const [, runs] of byFile) {
      for (const run of runs) {
        if (run.targetFile < 0) {
          this.start.push(run)
          continue
        }
        const anchors = getOrAdd(anchorOf, run.targetFile, () => new Map<number, Anchor>())
        getOrAdd(anchors, run.targetRow, () => ({ row: run.targetRow, attached: [] })).attached.push(run)
        const carrier = this.#carrierOf(run)
        if (carrier !== undefined) carrier.bytes += run.bytes
        else this.#hanging.set(run.targetFile, (this.#hanging.get(run.targetFile) ?? 0) + run.bytes)
      }
    }
    for (const [file, anchors] of anchorOf) {
      const inRows = [...anchors.values()].sort((a, b) => a.row - b.row)
      this.#anchors.set(file, inRows)
    }
    // Hints lead to earlier files, so the place of what carries a run is known before the run's.
    for (const [file, runs] of byFile.reverse()) {
      for (const run of runs) {
        run.place = run.targetFile < 0 ? -1 : (this.#carrierOf(run)?.place ?? run.targetFile)
        getOrAdd(this.#guests, run.place, () => new Set<number>()).add(file)
      }
    }
  }

  /** The run that the anchor row is itself part of, if it does not stand at its file's own place. */
  #carrierOf(run: Run): Run | undefined {
    const runs = this.#runs.get(run.targetFile)
    if (runs === undefined) return undefined
    let low = 0
    let high = runs.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (runs[middle]!.end <= run.targetRow) low = middle + 1
      else high = middle
    }
    const found = runs[low]
    return found !== undefined && found.start <= run.targetRow ? found : undefined
  }
}

/** The rows of a range with what hangs on them, in the order in which they are shown. */
export function inOrder(placement: Placement, range: RowRange): RowRange[] {
  const shown: RowRange[] = []
  const waiting: RowRange[] = [range]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { file, start, end } = next
    const anchor = firstAnchor(placement.anchors(file), start, end)
    if (anchor === undefined) {
      if (start < end) shown.push(next)
      continue
    }
    shown.push({ file, start, end: anchor.row + 1 })
    waiting.push({ file, start: anchor.row + 1, end })
    for (let i = anchor.attached.length - 1; i >= 0; i--) waiting.push(anchor.attached[i]!)
  }
  return shown
}

function firstAnchor(anchors: readonly Anchor[], start: number, end: number): Anchor | undefined {
  let low = 0
  let high = anchors.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (anchors[middle]!.row < start) low = middle + 1
    else high = middle
  }
  const found = anchors[low]
  return found !== undefined && found.row < end ? found : undefined
}

function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}
