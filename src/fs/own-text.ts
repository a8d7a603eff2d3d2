import { FsError } from './filesystem.ts'
import type { TableText } from './text/layout.ts'
import { joined, type Text } from './text/text.ts'

/** A text, and behind it what a client wrote itself, of which the last bytes are known. */
export function ownText(text: TableText, size: number, tail: Uint8Array): Text {
  if (size === text.size && tail.length === 0) return text
  const front = Math.min(text.size, size - tail.length)
  return {
    size,
    read: async (start, end) => {
      const from = Math.max(start, front)
      if (end > from && from < size - tail.length)
        throw new FsError(
          'EIO',
          `data.${text.format.name}: its program is to open it anew to read what it wrote long ago`,
        )
      const parts = start < front ? [await text.read(start, Math.min(end, front))] : []
      if (end > from) parts.push(tail.subarray(from - size + tail.length, end - size + tail.length))
      return joined(parts)
    },
  }
}
