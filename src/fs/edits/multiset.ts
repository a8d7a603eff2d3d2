import type { RowCut } from '../../columns/text/formats/index.ts'
import { discarded } from '../../core/garbage.ts'
import type { ByteRange } from '../text/layout.ts'
import { nearReads, type Text } from '../text/text.ts'
import { hashRow } from './row-hash.ts'

/** Rows that are kept in memory at a time, with 28 bytes each; more of them take more passes. */
const ROWS_PER_PASS = 1 << 20
const READ_BYTES = 1 << 20
/** The work of so many bytes or ranges is done before others get their turn. */
const TURN_BYTES = 1 << 20
const TURN_RANGES = 256

/** Marks by row: row 0 is the first row of the first range. */
export class RowMarks {
  readonly #bits: Uint8Array
  count = 0

  constructor(rows: number) {
    this.#bits = new Uint8Array(Math.ceil(rows / 8))
  }

  set(row: number): void {
    this.#bits[row >> 3]! |= 1 << (row & 7)
    this.count++
  }

  has(row: number): boolean {
    return ((this.#bits[row >> 3]! >> (row & 7)) & 1) === 1
  }
}

/**
 * Calls `visit` for every row in the ranges of a text (row-aligned, ascending): its number, and the bytes that hold it,
 * which begin at offset `at` of the text. A row that is not ended by the range's end ends with it.
 */
export async function eachRow(
  text: Text,
  ranges: readonly ByteRange[],
  cut: RowCut,
  visit: (row: number, bytes: Uint8Array, start: number, end: number, at: number) => void,
): Promise<number> {
  const source = ranges.length > 1 ? nearReads(text) : text
  let row = 0
  let turnBytes = 0
  let turnRanges = 0
  for (const range of ranges) {
    let want = READ_BYTES
    for (let at = range.start; at < range.end; ) {
      const bytes = await source.read(at, Math.min(range.end, at + want))
      const last = at + bytes.length === range.end
      const next = cut(bytes)
      let start = 0
      while (start < bytes.length) {
        let end = next(start)
        if (end <= 0) {
          if (!last) break
          end = bytes.length
        }
        visit(row++, bytes, start, end, at)
        start = end
      }
      at += start
      discarded(start)
      // One row is longer than what was read.
      want = start === 0 ? want * 2 : READ_BYTES
      turnBytes += bytes.length
      if (turnBytes < TURN_BYTES && ++turnRanges < TURN_RANGES) continue
      turnBytes = 0
      turnRanges = 0
      await new Promise(setImmediate)
    }
  }
  return row
}

/** Hashes what tells the row bytes [start, end) from others into `out`. False: the row has no such thing, and no partner. */
export type RowHash = (bytes: Uint8Array, start: number, end: number, out: Int32Array) => boolean

const wholeRow: RowHash = (bytes, start, end, out) => {
  hashRow(bytes, start, end, out)
  return true
}

/**
 * Which rows of two texts are the same, as multisets: a row that is there twice needs two partners. Rows are told apart
 * by 128-bit hashes, of the whole row unless `hashOf` takes a part. Memory is bounded whatever the sizes; the texts are
 * read once for every million rows of `a`.
 */
export async function matchRows(
  a: Text,
  aRanges: readonly ByteRange[],
  b: Text,
  bRanges: readonly ByteRange[],
  cut: RowCut,
  hashOf: RowHash = wholeRow,
): Promise<{ a: RowMarks; b: RowMarks }> {
  const aRows = await eachRow(a, aRanges, cut, () => undefined)
  const bRows = await eachRow(b, bRanges, cut, () => undefined)
  const marks = { a: new RowMarks(aRows), b: new RowMarks(bRows) }
  if (aRows === 0 || bRows === 0) return marks
  const passes = Math.ceil(aRows / ROWS_PER_PASS)
  const hash = new Int32Array(4)
  for (let pass = 0; pass < passes; pass++) {
    const table = new RowTable(Math.ceil((aRows / passes) * 1.1) + 1024)
    await eachRow(a, aRanges, cut, (row, bytes, start, end) => {
      if (hashOf(bytes, start, end, hash) && (hash[3]! >>> 0) % passes === pass) table.add(hash, row)
    })
    await eachRow(b, bRanges, cut, (row, bytes, start, end) => {
      if (!hashOf(bytes, start, end, hash) || (hash[3]! >>> 0) % passes !== pass) return
      const partner = table.take(hash)
      if (partner < 0) return
      marks.a.set(partner)
      marks.b.set(row)
    })
  }
  return marks
}

/** Row numbers by hash, first in, first out. */
class RowTable {
  #hashes: Int32Array
  #rows: Float64Array
  /** The next entry of the same bucket; -1: none. */
  #next: Int32Array
  readonly #heads: Int32Array
  readonly #tails: Int32Array
  #count = 0

  constructor(expected: number) {
    this.#hashes = new Int32Array(expected * 4)
    this.#rows = new Float64Array(expected)
    this.#next = new Int32Array(expected)
    const buckets = 2 ** Math.ceil(Math.log2(Math.max(16, expected)))
    this.#heads = new Int32Array(buckets).fill(-1)
    this.#tails = new Int32Array(buckets).fill(-1)
  }

  add(hash: Int32Array, row: number): void {
    const entry = this.#count++
    if (entry === this.#rows.length) this.#grow()
    this.#hashes.set(hash, entry * 4)
    this.#rows[entry] = row
    this.#next[entry] = -1
    const bucket = this.#bucket(hash)
    const tail = this.#tails[bucket]!
    if (tail < 0) this.#heads[bucket] = entry
    else this.#next[tail] = entry
    this.#tails[bucket] = entry
  }

  /** Takes the first row with this hash out; -1 if there is none. */
  take(hash: Int32Array): number {
    const bucket = this.#bucket(hash)
    let before = -1
    for (let entry = this.#heads[bucket]!; entry >= 0; entry = this.#next[entry]!) {
      if (this.#is(entry, hash)) {
        if (before < 0) this.#heads[bucket] = this.#next[entry]!
        else this.#next[before] = this.#next[entry]!
        if (this.#tails[bucket] === entry) this.#tails[bucket] = before
        return this.#rows[entry]!
      }
      before = entry
    }
    return -1
  }

  #bucket(hash: Int32Array): number {
    return (hash[0]! >>> 0) & (this.#heads.length - 1)
  }

  #is(entry: number, hash: Int32Array): boolean {
    const at = entry * 4
    const hashes = this.#hashes
    return (
      hashes[at] === hash[0] && hashes[at + 1] === hash[1] && hashes[at + 2] === hash[2] && hashes[at + 3] === hash[3]
    )
  }

  #grow(): void {
    const size = this.#rows.length * 2
    const hashes = new Int32Array(size * 4)
    hashes.set(this.#hashes)
    const rows = new Float64Array(size)
    rows.set(this.#rows)
    const next = new Int32Array(size)
    next.set(this.#next)
    this.#hashes = hashes
    this.#rows = rows
    this.#next = next
  }
}
