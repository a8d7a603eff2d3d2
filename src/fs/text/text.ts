import { countLines } from '../../columns/text/csv.ts'
import { totalLength, upperBound } from '../../core/search.ts'

/** The bytes of something that is shown as a file. */
export interface Text {
  /** In bytes. */
  readonly size: number
  /** Exactly the bytes [start, end), which lie within `size`. They may be a view of cached bytes: not to be written to. */
  read(start: number, end: number): Promise<Uint8Array>
  /** The same bytes in parts, as they are kept. Not there: they are in one. */
  parts?(start: number, end: number): Promise<Uint8Array[]>
  /**
   * The same bytes for whoever is done with them soon: in front in `buffer`, which has room for them, unless they are at hand
   * anyway. Not there: `read` is as good.
   */
  peek?(start: number, end: number, buffer: Uint8Array): Promise<Uint8Array>
}

/** More parts are copied into one: to hand each of them on would cost more. */
const PARTS_MAX = 16

/** Parts as they are, or one of all if they are many. */
export function fewParts(parts: readonly Uint8Array[]): readonly Uint8Array[] {
  return parts.length > PARTS_MAX ? [joined(parts)] : parts
}

/** Parts as one run of bytes, in front in `buffer` if it is given; a single part is not copied. */
export function joined(parts: readonly Uint8Array[], buffer?: Uint8Array): Uint8Array {
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  const size = totalLength(parts)
  const bytes = buffer?.subarray(0, size) ?? new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** The gap between two reads that makes them near. */
const NEAR_BYTES = 4 << 10
/** The bytes that are read at once where reads are near. */
const WINDOW_BYTES = 256 << 10

/** A text whose many small parts, each a little behind the one before, are read many at a time. One reader at a time. */
export function nearReads(text: Text): Text {
  let window: Uint8Array = new Uint8Array(0)
  let windowStart = 0
  let lastEnd = Number.NEGATIVE_INFINITY
  return {
    size: text.size,
    read: async (start, end) => {
      const gap = start - lastEnd
      lastEnd = end
      if (start < windowStart || end > windowStart + window.length) {
        const isNear = gap >= 0 && gap <= NEAR_BYTES
        const stop = isNear ? Math.max(end, Math.min(text.size, start + WINDOW_BYTES)) : end
        window = await text.read(start, stop)
        windowStart = start
      }
      return window.subarray(start - windowStart, end - windowStart)
    },
  }
}

/** Bytes in memory as a text. */
export function bytesText(bytes: Uint8Array): Text {
  return { size: bytes.length, read: async (start, end) => bytes.subarray(start, end) }
}

/** A text and some bytes behind it. */
export function continued(text: Text, tail: Uint8Array): Text {
  const { size } = text
  return {
    size: size + tail.length,
    read: async (start, end) => {
      const parts = start < size ? [await text.read(start, Math.min(end, size))] : []
      if (end > size) parts.push(tail.subarray(Math.max(0, start - size), end - size))
      return joined(parts)
    },
  }
}

/** Parts of texts, one behind the other, as one text. */
export function rope(parts: readonly { readonly text: Text; readonly start: number; readonly end: number }[]): Text {
  const filled = parts.filter(({ start, end }) => start < end)
  const ends: number[] = []
  let size = 0
  for (const { start, end } of filled) {
    size += end - start
    ends.push(size)
  }
  return {
    size,
    read: async (start, end) => {
      const read: Uint8Array[] = []
      for (let i = upperBound(ends, start), at = start; at < end; i++) {
        const part = filled[i]!
        const stop = Math.min(end, ends[i]!)
        const from = part.end - (ends[i]! - at)
        read.push(await part.text.read(from, from + stop - at))
        at = stop
      }
      return joined(read)
    },
  }
}

/** True if a text has these bytes at an offset. */
export async function isAt(text: Text, offset: number, bytes: Uint8Array): Promise<boolean> {
  if (offset + bytes.length > text.size) return false
  if (bytes.length === 0) return true
  return Buffer.compare(await text.read(offset, offset + bytes.length), bytes) === 0
}

/** True if two texts have the same bytes. */
export async function isSameText(left: Text, right: Text): Promise<boolean> {
  if (left.size !== right.size) return false
  for (let at = 0; at < left.size; at += 1 << 20) {
    const end = Math.min(left.size, at + (1 << 20))
    const [a, b] = await Promise.all([left.read(at, end), right.read(at, end)])
    if (Buffer.compare(a, b) !== 0) return false
  }
  return true
}

/** The line that holds the byte at an offset; the first line is 1. */
export async function lineOf(text: Text, end: number): Promise<number> {
  let lines = 1
  for (let at = 0; at < end; at += 1 << 20) {
    lines += countLines(await text.read(at, Math.min(end, at + (1 << 20))))
  }
  return lines
}
