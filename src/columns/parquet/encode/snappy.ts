/** A copy reaches back at most so far with two bytes. */
const BLOCK_BYTES = 1 << 16
const TABLE_BITS = 14
/** No match begins this close to the end, so that four bytes can be loaded anywhere. */
const MARGIN_BYTES = 15
/** Below this a loop is quicker than a call of `set`. */
const LOOP_BYTES_MAX = 256
const COPY_BYTES_MAX = 64

const table = new Uint16Array(1 << TABLE_BITS)

/** The most bytes that so many bytes may become. */
export function snappyBytesMax(size: number): number {
  return 32 + size + Math.ceil(size / 6)
}

/**
 * Compresses bytes to a raw Snappy block (format_description.txt of google/snappy) in `out`, and gives where it ends;
 * undefined as soon as it is seen not to be worth it: where the first block, of BLOCK_BYTES, is more than `worth` of its size.
 */
export function snappyCompress(
  input: Uint8Array,
  out: Uint8Array,
  worth = Number.POSITIVE_INFINITY,
): number | undefined {
  const from = { bytes: input, view: viewOf(input) }
  const into = { bytes: out, view: viewOf(out) }
  let to = 0
  let size = input.length
  while (size > 0x7f) {
    out[to++] = (size & 0x7f) | 0x80
    size >>>= 7
  }
  out[to++] = size
  for (let start = 0; start < input.length; start += BLOCK_BYTES) {
    const end = Math.min(start + BLOCK_BYTES, input.length)
    to = compressBlock(from, start, end, into, to)
    if (start === 0 && to >= end * worth) return undefined
  }
  return to
}

/** Bytes, and a view of all of them. */
interface Viewed {
  readonly bytes: Uint8Array
  readonly view: DataView
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength)
}

/** The table has, by their hash, where four bytes were last seen, from the block's start. */
function compressBlock(from: Viewed, start: number, end: number, into: Viewed, at: number): number {
  const { bytes: input, view } = from
  const out = into.bytes
  let to = at
  let literal = start
  const limit = end - MARGIN_BYTES
  if (start < limit) {
    table.fill(0)
    let skip = 32
    // Where nothing repeats, fewer and fewer places are looked at.
    for (let place = start + 1; place < limit; ) {
      const bytes = view.getInt32(place, true)
      const hash = Math.imul(bytes, 0x1e35a7bd) >>> (32 - TABLE_BITS)
      const candidate = start + table[hash]!
      table[hash] = place - start
      if (candidate >= place || view.getInt32(candidate, true) !== bytes) {
        place += skip >>> 5
        skip++
        continue
      }
      skip = 32
      to = emitLiteral(from, literal, place, into, to)
      let length = 4
      while (
        place + length + 4 <= end &&
        view.getInt32(place + length, true) === view.getInt32(candidate + length, true)
      )
        length += 4
      while (place + length < end && input[place + length] === input[candidate + length]) length++
      to = emitCopy(place - candidate, length, out, to)
      place += length
      literal = place
      if (place < limit)
        table[Math.imul(view.getInt32(place - 1, true), 0x1e35a7bd) >>> (32 - TABLE_BITS)] = place - 1 - start
    }
  }
  return emitLiteral(from, literal, end, into, to)
}

function emitLiteral(from: Viewed, start: number, end: number, into: Viewed, at: number): number {
  const out = into.bytes
  const length = end - start
  if (length === 0) return at
  let to = at
  if (length <= 60) out[to++] = (length - 1) << 2
  else if (length <= 0x100) {
    out[to++] = 60 << 2
    out[to++] = length - 1
  } else {
    out[to++] = 61 << 2
    out[to++] = (length - 1) & 0xff
    out[to++] = (length - 1) >>> 8
  }
  if (length > LOOP_BYTES_MAX) out.set(from.bytes.subarray(start, end), to)
  else {
    let i = 0
    for (; i + 4 <= length; i += 4) into.view.setInt32(to + i, from.view.getInt32(start + i))
    for (; i < length; i++) out[to + i] = from.bytes[start + i]!
  }
  return to + length
}

function emitCopy(offset: number, size: number, out: Uint8Array, at: number): number {
  let to = at
  let length = size
  while (length > 0) {
    // What is left for the last copy is at least four bytes long, so that it may be a short one.
    const part = length > COPY_BYTES_MAX && length < COPY_BYTES_MAX + 4 ? 60 : Math.min(length, COPY_BYTES_MAX)
    if (part >= 4 && part < 12 && offset < 2048) {
      out[to++] = 1 | ((part - 4) << 2) | ((offset >>> 8) << 5)
      out[to++] = offset & 0xff
    } else {
      out[to++] = 2 | ((part - 1) << 2)
      out[to++] = offset & 0xff
      out[to++] = offset >>> 8
    }
    length -= part
  }
  return to
}
