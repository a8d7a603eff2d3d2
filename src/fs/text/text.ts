import { countLines } from '../../columns/text/csv.ts'
import { upperBound } from '../../core/search.ts'

/** The bytes of something that is shown as a file. */
export interface Text {
  /** In bytes. */
  readonly size: number
  /** Exactly the bytes [start, end), which lie within `size`. They may be a view of cached bytes: not to be written to. */
  read(start: number, end: number): Promise<Uint8Array>
}

/** Parts as one run of bytes; a single part is not copied. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
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

/** Whether a text has these bytes at an offset. */
export async function isAt(text: Text, offset: number, bytes: Uint8Array): Promise<boolean> {
  if (offset + bytes.length > text.size) return false
  if (bytes.length === 0) return true
  return Buffer.compare(await text.read(offset, offset + bytes.length), bytes) === 0
}

/** The line that holds the byte at an offset; the first line is 1. */
export async function lineOf(text: Text, end: number): Promise<number> {
  let lines = 1
  for (let at = 0; at < end; at += 1 << 20) {
    lines += countLines(await text.read(at, Math.min(end, at + (1 << 20))))
  }
  return lines
}
