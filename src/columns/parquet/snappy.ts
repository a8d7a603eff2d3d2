/** Below this a loop is quicker than a call of `set` or `copyWithin`. */
const LOOP_BYTES_MAX = 256
/** Four bytes are moved at a time: the last move may go this far beyond what it is for. */
const REACH_BYTES = 4

/** Compressors work on pieces of so many bytes, so that no literal or copy is longer. */
const ELEMENT_BYTES = 1 << 16

/** Decompresses a raw Snappy block into `size` bytes. Throws Error if the block is malformed or has another size. */
export function snappyDecompress(input: Uint8Array, size: number): Uint8Array {
  const out = decompressUntil(input, size, size)
  if (out.length !== size) throw new Error(`a Snappy block has ${out.length} bytes where ${size} are announced`)
  return out
}

/** Decompresses `least` first bytes of a raw Snappy block, or some more, out of as much of it as there is. Throws Error as above. */
export function snappyFirst(input: Uint8Array, least: number): Uint8Array {
  return decompressUntil(input, least, least + ELEMENT_BYTES)
}

function decompressUntil(input: Uint8Array, least: number, size: number): Uint8Array {
  const out = new Uint8Array(size + REACH_BYTES)
  const from = new DataView(input.buffer, input.byteOffset, input.byteLength)
  const into = new DataView(out.buffer)
  const end = input.length
  let at = 0
  while (at < end && input[at]! > 0x7f) at++
  at++
  let to = 0
  while (at < end && (to < least || least === size)) {
    const tag = input[at++]!
    if ((tag & 3) === 0) {
      let length = tag >>> 2
      if (length >= 60) {
        const extra = length - 59
        length = 0
        for (let i = 0; i < extra; i++) length |= (input[at + i] ?? 0) << (8 * i)
        at += extra
      }
      length++
      if (length <= 0 || at + length > end || to + length > size) throw new Error('a Snappy block is cut off')
      if (length > LOOP_BYTES_MAX) out.set(input.subarray(at, at + length), to)
      else if (at + length + REACH_BYTES <= end) {
        for (let i = 0; i < length; i += 4) into.setInt32(to + i, from.getInt32(at + i))
      } else for (let i = 0; i < length; i++) out[to + i] = input[at + i]!
      at += length
      to += length
      continue
    }
    let length = (tag >>> 2) + 1
    let offset: number
    if ((tag & 3) === 1) {
      length = ((tag >>> 2) & 7) + 4
      offset = ((tag >>> 5) << 8) | (input[at] ?? 0)
      at += 1
    } else if ((tag & 3) === 2) {
      offset = (input[at] ?? 0) | ((input[at + 1] ?? 0) << 8)
      at += 2
    } else {
      offset =
        ((input[at] ?? 0) |
          ((input[at + 1] ?? 0) << 8) |
          ((input[at + 2] ?? 0) << 16) |
          ((input[at + 3] ?? 0) << 24)) >>>
        0
      at += 4
    }
    if (offset === 0 || offset > to || to + length > size || at > end)
      throw new Error('a Snappy block refers to bytes that are not there')
    const source = to - offset
    if (offset < 4) for (let i = 0; i < length; i++) out[to + i] = out[source + i]!
    else if (length <= LOOP_BYTES_MAX || offset < length)
      for (let i = 0; i < length; i += 4) into.setInt32(to + i, into.getInt32(source + i))
    else out.copyWithin(to, source, source + length)
    to += length
  }
  return out.subarray(0, to)
}
