import type { RowCut } from '../../columns/text/formats/index.ts'
import { type RenderedText, ROW_INDEX_STRIDE } from '../../columns/text/rendered.ts'
import { upperBound } from '../../core/search.ts'

/** The begins and ends of rows in the text of one row group. */
export class RowPlaces {
  readonly #text: RenderedText
  readonly #cut: RowCut

  constructor(text: RenderedText, cut: RowCut) {
    this.#text = text
    this.#cut = cut
  }

  /** The byte offset at which row `row` begins; for `rows`, the end of the text. */
  offsetOf(row: number): number {
    const { rows, bytes, index } = this.#text
    if (row >= rows) return bytes.length
    const block = Math.floor(row / ROW_INDEX_STRIDE)
    let at = index[block]!
    const next = this.#stepper(block)
    for (let left = row - block * ROW_INDEX_STRIDE; left > 0; left--) at = next(at)
    return at
  }

  /** The row that holds the byte at `offset`. */
  rowAt(offset: number): number {
    const { index } = this.#text
    const block = Math.max(0, upperBound(index, offset) - 1)
    const next = this.#stepper(block)
    let row = block * ROW_INDEX_STRIDE
    for (let end = next(index[block]!); end <= offset; end = next(end)) row++
    return row
  }

  /** Byte ranges of rows (ascending, distinct), neighbours joined: [start, end, start, end, ...]. */
  rangesOf(rows: Uint32Array): Uint32Array {
    const ranges: number[] = []
    const { length } = rows
    for (let i = 0; i < length; ) {
      const first = rows[i]!
      let last = first
      while (++i < length && rows[i] === last + 1) last++
      ranges.push(this.offsetOf(first), this.offsetOf(last + 1))
    }
    return Uint32Array.from(ranges)
  }

  /** Steps from the start of a row to its end, within one block of the index. */
  #stepper(block: number): (at: number) => number {
    const { bytes, index } = this.#text
    const from = index[block]!
    const next = this.#cut(bytes.subarray(from, index[block + 1] ?? bytes.length))
    return at => from + next(at - from)
  }
}
