import { TextError } from '../../columns/errors.ts'
import type { RowCut } from '../../columns/text/formats/index.ts'
import { firstIndex, lowerBound } from '../../core/search.ts'
import { lineOf, type Text } from '../text/text.ts'

/** A row is held in memory as a whole. A quote or a bracket that is not closed makes a row of all that follows. */
export const ROW_BYTES_MAX = 64 << 20

/** The refusal of a written row that begins at `start` and has more than ROW_BYTES_MAX. */
export async function rowTooLong(text: Text, start: number): Promise<TextError> {
  const line = await lineOf(text, start)
  const message = `line ${line}: the row that begins here has more than ${ROW_BYTES_MAX >> 20} MiB; is a quote not closed, or a bracket?`
  return new TextError('malformed_text', message, { line })
}

/** A difference between two windows: rows [removedFrom, removedTo) of the left became [addedFrom, addedTo) of the right. */
export interface Step {
  readonly removedFrom: number
  readonly removedTo: number
  readonly addedFrom: number
  readonly addedTo: number
}

export interface Aligned {
  readonly steps: readonly Step[]
  /** The rows of each window that are dealt with. */
  readonly left: number
  readonly right: number
}

/** Some rows of a text in memory. */
export class RowWindow {
  readonly bytes: Uint8Array
  readonly rows: number
  /** The text ends within a row: an opened quote is never closed. That rest counts as a row. */
  readonly cutOff: boolean
  /** The starts of the rows, and the end of the last one. */
  readonly #starts: Uint32Array
  #hashes: Int32Array | undefined
  #byHash: Map<number, number[]> | undefined

  private constructor(bytes: Uint8Array, starts: Uint32Array, cutOff: boolean) {
    this.bytes = bytes
    this.#starts = starts
    this.rows = starts.length - 1
    this.cutOff = cutOff
  }

  /** The rows in `bytes`; a last one that is cut off counts if they are the text's `last`. */
  static of(bytes: Uint8Array, cut: RowCut, last: boolean): RowWindow {
    const starts = [0]
    const next = cut(bytes)
    let at = 0
    for (;;) {
      const end = next(at)
      if (end <= 0) break
      starts.push(end)
      at = end
    }
    const cutOff = last && at < bytes.length
    if (cutOff) starts.push(bytes.length)
    return new RowWindow(bytes, Uint32Array.from(starts), cutOff)
  }

  start(row: number): number {
    return this.#starts[row]!
  }

  end(row: number): number {
    return this.#starts[row + 1]!
  }

  /**
   * Lines the rows up with those of `other`, until `calm` rows in succession are equal or one side is used up. `whole`:
   * nothing comes behind the windows, so what is left over is different. If there is nothing equal at all, as many rows
   * of each side are different if the windows `mustMove` on; otherwise nothing is said.
   */
  align(other: RowWindow, calm: number, whole: boolean, mustMove: boolean): Aligned {
    const steps: Step[] = []
    let x = 0
    let y = 0
    let equal = 0
    const step = (removed: number, added: number): void => {
      steps.push(...this.#differences(x, x + removed, other, y, y + added))
      x += removed
      y += added
      equal = 0
    }
    while (x < this.rows && y < other.rows) {
      if (this.#equals(x, other, y)) {
        x++
        y++
        if (++equal >= calm) return { steps, left: x, right: y }
        continue
      }
      if (this.#equals(x + 1, other, y)) step(1, 0)
      else if (this.#equals(x, other, y + 1)) step(0, 1)
      else if (this.#equals(x + 1, other, y + 1)) step(1, 1)
      else {
        const meeting = this.#meeting(x, other, y)
        if (meeting === undefined) break
        step(meeting.x - x, meeting.y - y)
      }
    }
    if (whole) {
      if (x < this.rows || y < other.rows) step(this.rows - x, other.rows - y)
    } else if (mustMove && x === 0 && y === 0) {
      const rows = Math.min(this.rows, other.rows)
      step(rows, rows)
    }
    return { steps, left: x, right: y }
  }

  /** The differences between rows [x, xEnd) and rows [y, yEnd) of `other`: all but the longest run of equal rows in the same order. */
  #differences(x: number, xEnd: number, other: RowWindow, y: number, yEnd: number): Step[] {
    const steps: Step[] = []
    let removedFrom = x
    let addedFrom = y
    const until = (removedTo: number, addedTo: number): void => {
      if (removedFrom < removedTo || addedFrom < addedTo) steps.push({ removedFrom, removedTo, addedFrom, addedTo })
    }
    if (x < xEnd && y < yEnd) {
      for (const [left, right] of longestRising(this.#pairs(x, xEnd, other, y, yEnd))) {
        until(left, right)
        removedFrom = left + 1
        addedFrom = right + 1
      }
    }
    until(xEnd, yEnd)
    return steps
  }

  /** Equal rows, the first here with the first there and so on, in the order of `other`. */
  #pairs(x: number, xEnd: number, other: RowWindow, y: number, yEnd: number): [number, number][] {
    const byHash = new Map<number, number[]>()
    for (let row = xEnd - 1; row >= x; row--) {
      const list = byHash.get(this.#hash(row))
      if (list === undefined) byHash.set(this.#hash(row), [row])
      else list.push(row)
    }
    const pairs: [number, number][] = []
    for (let row = y; row < yEnd; row++) {
      const list = byHash.get(other.#hash(row))
      const first = list?.at(-1)
      if (first === undefined || !this.#equals(first, other, row)) continue
      list!.pop()
      pairs.push([first, row])
    }
    return pairs
  }

  /** The nearest rows behind x and y that are equal, and are not just one line that occurs everywhere. */
  #meeting(x: number, other: RowWindow, y: number): { x: number; y: number } | undefined {
    const reach = Math.max(this.rows - x, other.rows - y)
    let best: { x: number; y: number } | undefined
    let bestCost = Number.POSITIVE_INFINITY
    for (let k = 0; k < reach && k < bestCost; k++) {
      if (y + k < other.rows) {
        const found = this.#find(other, y + k, x)
        if (found >= 0 && found - x + k < bestCost && this.#goesOn(found, other, y + k)) {
          best = { x: found, y: y + k }
          bestCost = found - x + k
        }
      }
      if (x + k < this.rows) {
        const found = other.#find(this, x + k, y)
        if (found >= 0 && found - y + k < bestCost && this.#goesOn(x + k, other, found)) {
          best = { x: x + k, y: found }
          bestCost = found - y + k
        }
      }
    }
    return best
  }

  /** The first row from `from` on that has the hash of row `row` of `other`, or -1. */
  #find(other: RowWindow, row: number, from: number): number {
    const list = this.#index().get(other.#hash(row))
    return list?.[lowerBound(list, from)] ?? -1
  }

  /** True if two rows are equal, and the next ones too where there are some. */
  #goesOn(x: number, other: RowWindow, y: number): boolean {
    if (!this.#equals(x, other, y)) return false
    return x + 1 >= this.rows || y + 1 >= other.rows || this.#equals(x + 1, other, y + 1)
  }

  #equals(x: number, other: RowWindow, y: number): boolean {
    if (x >= this.rows || y >= other.rows) return false
    let a = this.#starts[x]!
    let b = other.#starts[y]!
    const end = this.#starts[x + 1]!
    if (end - a !== other.#starts[y + 1]! - b) return false
    const left = this.bytes
    const right = other.bytes
    while (a < end && left[a] === right[b]) {
      a++
      b++
    }
    return a === end
  }

  #hash(row: number): number {
    if (this.#hashes === undefined) {
      const { bytes } = this
      const starts = this.#starts
      this.#hashes = new Int32Array(this.rows)
      for (let k = 0; k < this.rows; k++) {
        let hash = 0x811c9dc5
        const end = starts[k + 1]!
        for (let at = starts[k]!; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193)
        this.#hashes[k] = hash
      }
    }
    return this.#hashes[row]!
  }

  #index(): Map<number, number[]> {
    if (this.#byHash === undefined) {
      this.#byHash = new Map()
      for (let row = 0; row < this.rows; row++) {
        const hash = this.#hash(row)
        const list = this.#byHash.get(hash)
        if (list === undefined) this.#byHash.set(hash, [row])
        else list.push(row)
      }
    }
    return this.#byHash
  }
}

/** The longest subsequence of pairs whose first numbers rise (patience sorting). */
function longestRising(pairs: readonly (readonly [number, number])[]): (readonly [number, number])[] {
  /** For each length, the index of the pair that ends such a subsequence with the least number. */
  const ends: number[] = []
  const before = new Int32Array(pairs.length)
  for (const [i, [value]] of pairs.entries()) {
    const length = firstIndex(ends.length, at => pairs[ends[at]!]![0] >= value)
    before[i] = length === 0 ? -1 : ends[length - 1]!
    ends[length] = i
  }
  const rising: (readonly [number, number])[] = []
  for (let i = ends.at(-1) ?? -1; i >= 0; i = before[i]!) rising.push(pairs[i]!)
  return rising.reverse()
}
