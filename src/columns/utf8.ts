import { isUtf8 as isUtf8Bytes } from 'node:buffer'
import type { Vector } from './types.ts'
import { isUtf8 } from './vectors.ts'

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const encoder = new TextEncoder()

/**
 * A column of text as UTF-8: Delta's strings are, and files by other writers may hold other bytes. What is none has U+FFFD
 * in its place, as in every decoder of the web, and `notUtf8` tells the first such row.
 */
export function asUtf8(vector: Vector): Vector {
  const { values } = vector
  if (!isUtf8(values)) return vector
  const { bytes, starts, ends } = values
  if (isCutBetweenCharacters(bytes, starts, ends)) return vector
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let notUtf8: number | undefined
  const others: Uint8Array[] = []
  let size = bytes.length
  const own = { starts, ends }
  // The values of a dictionary come again and again, so that each is looked at once.
  const isFine = bytes.length < vector.length ? new Uint8Array(bytes.length) : undefined
  for (let row = 0; row < vector.length; row++) {
    const start = starts[row]!
    // An empty value may begin where another one does.
    if (ends[row] === start || isFine?.[start] === 1) continue
    // The lengths of values that stand between them may be all that is not UTF-8.
    if (isAscii(view, start, ends[row]!)) continue
    const text = bytes.subarray(start, ends[row])
    if (isUtf8Bytes(text)) {
      if (isFine !== undefined) isFine[start] = 1
      continue
    }
    if (notUtf8 === undefined) {
      notUtf8 = row
      // Ranges may be those of a dictionary, which other rows share.
      own.starts = starts.slice()
      own.ends = ends.slice()
    }
    const repaired = encoder.encode(decoder.decode(text))
    others.push(repaired)
    own.starts[row] = size
    size += repaired.length
    own.ends[row] = size
  }
  return notUtf8 === undefined
    ? vector
    : { ...vector, values: { bytes: Buffer.concat([bytes, ...others], size), ...own }, notUtf8 }
}

/** True if all bytes, those between the values too, are UTF-8, and no value begins or ends within a character. */
function isCutBetweenCharacters(bytes: Uint8Array, starts: Uint32Array, ends: Uint32Array): boolean {
  if (!isUtf8Bytes(bytes)) return false
  for (let row = 0; row < starts.length; row++) {
    const start = starts[row]!
    const end = ends[row]!
    if (end > start && (isContinuation(bytes[start]!) || isContinuation(bytes[end] ?? 0))) return false
  }
  return true
}

/** Four bytes at a time as long as there are. */
function isAscii(view: DataView, start: number, end: number): boolean {
  let at = start
  for (; at + 4 <= end; at += 4) if ((view.getInt32(at) & 0x8080_8080) !== 0) return false
  for (; at < end; at++) if (view.getUint8(at) > 0x7f) return false
  return true
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80
}
