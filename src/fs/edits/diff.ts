import type { RowCut } from '../../columns/text/formats/index.ts'
import { discarded } from '../../core/garbage.ts'
import type { ByteRange } from '../text/layout.ts'
import { joined, type Text } from '../text/text.ts'
import { eachRow, matchRows } from './multiset.ts'
import { ROW_BYTES_MAX, RowWindow, rowTooLong } from './row-window.ts'

/** A range of the image that is, by construction, the range of the base at `baseStart`. */
export interface SameAs {
  readonly imageStart: number
  readonly baseStart: number
  readonly length: number
}

/** Rows of the image that the base has not. */
export interface AddedRange extends ByteRange {
  /** They stand behind the row of the base that ends here; the base's first row's start stands for the place in front of all. */
  readonly anchor: number
}

export interface TextDiff {
  /** Row-aligned ranges of the base, ascending, neighbours joined. */
  readonly removed: readonly ByteRange[]
  /** Row-aligned ranges of the image, ascending; only the very last row may lack its newline. */
  readonly added: readonly AddedRange[]
  /** Rows that stayed changed places. */
  readonly reordered: boolean
}

/** A text that knows where its rows begin. */
export interface RowText extends Text {
  /** The start of the row that holds the byte at `offset`. */
  rowStart(offset: number): Promise<number>
}

export interface DiffOptions {
  /** Cuts both texts into rows. */
  readonly cut: RowCut
  /** The starts of the rows, behind the header. */
  readonly baseStart: number
  readonly imageStart: number
  /** Ranges that are equal by construction, ascending. */
  readonly sameAs?: readonly SameAs[]
}

const BLOCK_BYTES = 1 << 20
/** Behind a difference the next one may be near: blocks and windows begin small and grow. */
const BLOCK_BYTES_MIN = 16 << 10
const WINDOW_BYTES_MIN = 16 << 10
const WINDOW_BYTES_MAX = 8 << 20
const WINDOW_GROWTH = 8
/** So many equal rows in succession, and blocks of bytes are compared again instead of rows. */
const CALM_ROWS = 64
const NEWLINE = Uint8Array.of(0x0a)

/**
 * The rows that an edit took away and the rows that it brought. Rows that only moved, or were only written again, are
 * neither: what the walk leaves over on both sides is compared as multisets. Costs reading both texts where they are not
 * the same by construction; memory does not grow with them.
 */
export async function diffText(base: RowText, image: Text, options: DiffOptions): Promise<TextDiff> {
  const ended = await endedByNewline(image)
  const found =
    (await new Walk(base, ended, options, true).run()) ?? (await new Walk(base, ended, options, false).run())
  if (found === undefined) throw new Error('the rows of the edited text could not be told apart')
  const { removed, added, reordered } = await withoutMoved(base, ended, found, options.cut)
  return { removed, added: added.map(range => ({ ...range, end: Math.min(range.end, image.size) })), reordered }
}

/** The image as if its last row had its newline. */
async function endedByNewline(image: Text): Promise<Text> {
  const { size } = image
  if (size === 0 || (await image.read(size - 1, size))[0] === NEWLINE[0]) return image
  return {
    size: size + 1,
    read: async (start, end) =>
      end <= size
        ? image.read(start, end)
        : joined([...(start < size ? [await image.read(start, size)] : []), NEWLINE]),
  }
}

/** Rows that are left over on both sides are none. */
async function withoutMoved(base: Text, image: Text, found: Found, cut: RowCut): Promise<TextDiff> {
  const { removed, added } = found
  const asFound = { removed: coalesced(removed), added, reordered: false }
  if (removed.length === 0 || added.length === 0) return asFound
  const marks = await matchRows(base, removed, image, added, cut)
  if (marks.a.count === 0) return asFound
  const left: Growing<ByteRange>[] = []
  await eachRow(base, removed, cut, (row, _bytes, start, end, at) => {
    if (!marks.a.has(row)) extend(left, { start: at + start, end: at + end })
  })
  const come: Growing<AddedRange>[] = []
  let range = 0
  await eachRow(image, added, cut, (row, _bytes, start, end, at) => {
    while (added[range]!.end <= at + start) range++
    if (!marks.b.has(row)) extend(come, { start: at + start, end: at + end, anchor: added[range]!.anchor })
  })
  return { removed: left, added: come, reordered: true }
}

type Growing<R> = { -readonly [K in keyof R]: R[K] }

/** Adds a range behind the others; neighbours at one place are one: there may be as many ranges as rows. */
function extend<R extends { end: number; readonly start: number; readonly anchor?: number }>(
  ranges: R[],
  range: R,
): void {
  const last = ranges.at(-1)
  if (last?.end === range.start && last.anchor === range.anchor) last.end = range.end
  else ranges.push(range)
}

interface Found {
  readonly removed: readonly ByteRange[]
  readonly added: readonly AddedRange[]
}

/** Goes along both texts from difference to difference. */
class Walk {
  readonly #base: RowText
  readonly #image: Text
  readonly #options: DiffOptions
  readonly #useSuffix: boolean
  readonly #removed: Growing<ByteRange>[] = []
  readonly #added: Growing<AddedRange>[] = []
  #baseEnd: number
  #imageEnd: number
  #same = 0
  #busyBytes = 0
  #garbageBytes = 0
  /** The bytes of both that are compared now. Made when some are: of an append none are. */
  #buffers: readonly [Uint8Array, Uint8Array] | undefined

  constructor(base: RowText, image: Text, options: DiffOptions, useSuffix: boolean) {
    this.#base = base
    this.#image = image
    this.#options = options
    this.#useSuffix = useSuffix
    this.#baseEnd = base.size
    this.#imageEnd = image.size
  }

  /** Undefined if the equal end of the texts turns out not to begin at a row of the image. */
  async run(): Promise<Found | undefined> {
    let { baseStart: b, imageStart: i } = this.#options
    let first = true
    while (b < this.#baseEnd || i < this.#imageEnd) {
      ;[b, i] = await this.#skipEqual(b, i)
      if (b >= this.#baseEnd && i >= this.#imageEnd) break
      if (first && this.#useSuffix) await this.#cutEqualEnd(b, i)
      first = false
      if (b >= this.#baseEnd || i >= this.#imageEnd) {
        if (i < this.#imageEnd && !(await this.#endsAtRow(i))) return undefined
        this.#remove(b, this.#baseEnd)
        this.#add(i, this.#imageEnd, b)
        break
      }
      const next = await this.#alignRows(b, i)
      if (next === undefined) return undefined
      ;[b, i] = next
    }
    return { removed: this.#removed, added: this.#added }
  }

  /** Goes on over equal bytes, to the start of the row that holds the first difference. */
  async #skipEqual(b: number, i: number): Promise<[number, number]> {
    const equal = await this.#equalBytes(b, i)
    const at = b + equal
    if (at >= this.#base.size) return [at, i + equal]
    const start = Math.max(b, await this.#base.rowStart(at))
    return [start, i + (start - b)]
  }

  async #equalBytes(b: number, i: number): Promise<number> {
    const length = Math.min(this.#baseEnd - b, this.#imageEnd - i)
    let done = 0
    for (let block = BLOCK_BYTES_MIN; done < length; block = Math.min(BLOCK_BYTES, block * 2)) {
      const known = this.#sameFrom(b + done, i + done)
      if (known > 0) {
        done = Math.min(length, done + known)
        continue
      }
      const take = Math.min(block, length - done)
      const [left, right] = await this.#blocks(b + done, i + done, take)
      if (Buffer.compare(left, right) !== 0) return done + firstDifference(left, right)
      done += take
      await this.#pause(take)
    }
    return length
  }

  /** As many bytes of both texts, until the next ones are read. */
  async #blocks(b: number, i: number, length: number): Promise<[Uint8Array, Uint8Array]> {
    for (const { peek } of [this.#base, this.#image]) if (peek === undefined) this.#garbageBytes += length
    if (this.#buffers === undefined) {
      const most = Math.min(BLOCK_BYTES, this.#base.size, this.#image.size)
      this.#buffers = [new Uint8Array(most), new Uint8Array(most)]
    }
    const [left, right] = this.#buffers
    return Promise.all([peeked(this.#base, b, b + length, left), peeked(this.#image, i, i + length, right)])
  }

  /** The number of bytes from here on that are equal by construction. */
  #sameFrom(b: number, i: number): number {
    const { sameAs = [] } = this.#options
    while (this.#same < sameAs.length && sameAs[this.#same]!.imageStart + sameAs[this.#same]!.length <= i) this.#same++
    const range = sameAs[this.#same]
    if (range === undefined || range.imageStart > i || range.baseStart - range.imageStart !== b - i) return 0
    return range.imageStart + range.length - i
  }

  /** Finds what is equal at the end of both texts, and leaves it out of the walk. */
  async #cutEqualEnd(b: number, i: number): Promise<void> {
    const length = Math.min(this.#baseEnd - b, this.#imageEnd - i)
    let done = 0
    while (done < length) {
      const take = Math.min(BLOCK_BYTES, length - done)
      const [left, right] = await this.#blocks(this.#baseEnd - done - take, this.#imageEnd - done - take, take)
      if (Buffer.compare(left, right) !== 0) {
        done += lastDifference(left, right)
        break
      }
      done += take
      await this.#pause(take)
    }
    if (done === 0) return
    const at = this.#baseEnd - done
    const rowStart = at === b ? b : await this.#base.rowStart(at)
    let kept = done
    if (rowStart < at) {
      // The first whole row behind the difference.
      const row = await this.#rowEndOf(at)
      kept = this.#baseEnd - row
    }
    if (kept <= 0) return
    const imageEnd = this.#imageEnd - kept
    if (imageEnd > i && (await this.#image.read(imageEnd - 1, imageEnd))[0] !== NEWLINE[0]) return
    this.#baseEnd -= kept
    this.#imageEnd = imageEnd
  }

  /** The end of the base's row that holds the byte at `offset`. */
  async #rowEndOf(offset: number): Promise<number> {
    const start = await this.#base.rowStart(offset)
    for (let bytes = 4096; ; bytes *= 4) {
      const end = Math.min(this.#baseEnd, start + bytes)
      const window = RowWindow.of(await this.#base.read(start, end), this.#options.cut, end === this.#baseEnd)
      if (window.rows > 0) return start + window.end(0)
    }
  }

  async #endsAtRow(i: number): Promise<boolean> {
    if (this.#imageEnd === this.#image.size) return true
    const { cut } = this.#options
    let ended = false
    await eachRow(this.#image, [{ start: i, end: this.#imageEnd }], cut, (_row, bytes, start, end) => {
      ended = cut(bytes.subarray(start, end))(0) > 0
    })
    return ended
  }

  /** From a difference on, row by row, until the texts go together again for a while. Undefined: see `run`. */
  async #alignRows(b: number, i: number): Promise<[number, number] | undefined> {
    for (let bytes = WINDOW_BYTES_MIN; ; bytes = Math.min(WINDOW_BYTES_MAX, bytes * WINDOW_GROWTH)) {
      const left = await this.#window(this.#base, b, this.#baseEnd, bytes)
      const right = await this.#window(this.#image, i, this.#imageEnd, bytes)
      this.#garbageBytes += bytes
      await this.#pause(bytes)
      if (right.cutOff && this.#imageEnd < this.#image.size) return undefined
      const aligned = left.window.align(right.window, CALM_ROWS, left.whole && right.whole, bytes === WINDOW_BYTES_MAX)
      if (aligned.left === 0 && aligned.right === 0) continue
      for (const { removedFrom, removedTo, addedFrom, addedTo } of aligned.steps) {
        this.#remove(b + left.window.start(removedFrom), b + left.window.start(removedTo))
        this.#add(
          i + right.window.start(addedFrom),
          i + right.window.start(addedTo),
          b + left.window.start(removedFrom),
        )
      }
      return [b + left.window.start(aligned.left), i + right.window.start(aligned.right)]
    }
  }

  /** Rows from `start` on, at least one; `whole`: up to the end. */
  async #window(
    text: Text,
    start: number,
    end: number,
    bytes: number,
  ): Promise<{ window: RowWindow; whole: boolean; cutOff: boolean }> {
    for (let want = bytes; ; want *= 2) {
      const stop = Math.min(end, start + want)
      const read = start === stop ? new Uint8Array(0) : await text.read(start, stop)
      const window = RowWindow.of(read, this.#options.cut, stop === end)
      if (window.rows > 0 || stop === end) return { window, whole: stop === end, cutOff: window.cutOff }
      if (text === this.#image && want >= ROW_BYTES_MAX) throw await rowTooLong(text, start)
    }
  }

  #remove(start: number, end: number): void {
    if (start < end) extend(this.#removed, { start, end })
  }

  #add(start: number, end: number, anchorRow: number): void {
    if (start >= end) return
    // What was removed right in front of it is no place to stand behind.
    const last = this.#removed.at(-1)
    const anchor = last !== undefined && last.end >= anchorRow && last.start < anchorRow ? last.start : anchorRow
    extend(this.#added, { start, end, anchor })
  }

  /** Lets others have a turn after every megabyte. */
  async #pause(bytes: number): Promise<void> {
    this.#busyBytes += bytes
    if (this.#busyBytes < BLOCK_BYTES) return
    discarded(this.#garbageBytes)
    this.#busyBytes = 0
    this.#garbageBytes = 0
    await new Promise(setImmediate)
  }
}

function peeked(text: Text, start: number, end: number, buffer: Uint8Array): Promise<Uint8Array> {
  return text.peek?.(start, end, buffer) ?? text.read(start, end)
}

function firstDifference(a: Uint8Array, b: Uint8Array): number {
  let low = 0
  let high = a.length
  // Halving with native comparisons beats a loop over a megabyte.
  while (high - low > 64) {
    const middle = (low + high) >>> 1
    if (Buffer.compare(a.subarray(low, middle), b.subarray(low, middle)) === 0) low = middle
    else high = middle
  }
  while (low < high && a[low] === b[low]) low++
  return low
}

/** The number of bytes at the end that are equal. */
function lastDifference(a: Uint8Array, b: Uint8Array): number {
  let low = 0
  let high = a.length
  while (high - low > 64) {
    const middle = (low + high) >>> 1
    if (Buffer.compare(a.subarray(middle, high), b.subarray(middle, high)) === 0) high = middle
    else low = middle
  }
  while (high > low && a[high - 1] === b[high - 1]) high--
  return a.length - high
}

function coalesced(ranges: readonly ByteRange[]): ByteRange[] {
  const out: Growing<ByteRange>[] = []
  for (const { start, end } of ranges) extend(out, { start, end })
  return out
}
