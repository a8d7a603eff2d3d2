import { rowEnd } from '../../columns/text/csv.ts'
import { type RenderedText, ROW_INDEX_STRIDE } from '../../columns/text/rendered.ts'

const QUOTE = 0x22
const LF = 0x0a

/** Where rows begin and end in the text of one row group. JSON rows never hold a newline; CSV rows may, in quotes. */
export class RowPlaces {
  readonly #text: RenderedText
  readonly #quoted: boolean

  constructor(text: RenderedText, format: 'csv' | 'jsonl' | 'json') {
    this.#text = text
    this.#quoted = format === 'csv'
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
    let low = 0
    let high = index.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (index[middle]! <= offset) low = middle
      else high = middle - 1
    }
    const next = this.#stepper(low)
    let row = low * ROW_INDEX_STRIDE
    for (let end = next(index[low]!); end <= offset; end = next(end)) row++
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
    const end = index[block + 1] ?? bytes.length
    if (this.#quoted && bytes.subarray(index[block], end).includes(QUOTE)) return at => rowEnd(bytes, at)
    return at => bytes.indexOf(LF, at) + 1
  }
}
