/** A copy reaches back at most so far with two bytes. */
const BLOCK_BYTES = 1 << 16
const TABLE_BITS = 14
/** No match begins this close to the end, so that four bytes can be loaded anywhere. */
const MARGIN_BYTES = 15
/** Below this a loop is quicker than a call of `set`. */
const LOOP_BYTES_MAX = 32
const COPY_BYTES_MAX = 64

const table = new Uint16Array(1 << TABLE_BITS)

/** The most bytes that so many bytes may become. */
export function snappyBytesMax(size: number): number {
  return 32 + size + Math.ceil(size / 6)
}

/** Compresses bytes to a raw Snappy block (format_description.txt of google/snappy) in `out`, and gives where it ends. */
export function snappyCompress(input: Uint8Array, out: Uint8Array): number {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  let to = 0
  let size = input.length
  while (size > 0x7f) {
    out[to++] = (size & 0x7f) | 0x80
    size >>>= 7
  }
  out[to++] = size
  for (let start = 0; start < input.length; start += BLOCK_BYTES)
    to = compressBlock(input, view, start, Math.min(start + BLOCK_BYTES, input.length), out, to)
  return to
}

/** The table has, by their hash, where four bytes were last seen, from the block's start. */
function compressBlock(
  input: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  out: Uint8Array,
  at: number,
): number {
  let to = at
  let literal = start
  const limit = end - MARGIN_BYTES
  if (start < limit) {
    table.fill(0)
    let skip = 32
    // Where nothing repeats, fewer and fewer places are looked at.
    for (let from = start + 1; from < limit; ) {
      const bytes = view.getInt32(from, true)
      const hash = Math.imul(bytes, 0x1e35a7bd) >>> (32 - TABLE_BITS)
      const candidate = start + table[hash]!
      table[hash] = from - start
      if (candidate >= from || view.getInt32(candidate, true) !== bytes) {
        from += skip >>> 5
        skip++
        continue
      }
      skip = 32
      to = emitLiteral(input, literal, from, out, to)
      let length = 4
      while (from + length + 4 <= end && view.getInt32(from + length, true) === view.getInt32(candidate + length, true))
        length += 4
      while (from + length < end && input[from + length] === input[candidate + length]) length++
      to = emitCopy(from - candidate, length, out, to)
      from += length
      literal = from
      if (from < limit)
        table[Math.imul(view.getInt32(from - 1, true), 0x1e35a7bd) >>> (32 - TABLE_BITS)] = from - 1 - start
    }
  }
  return emitLiteral(input, literal, end, out, to)
}

function emitLiteral(input: Uint8Array, start: number, end: number, out: Uint8Array, at: number): number {
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
  if (length > LOOP_BYTES_MAX) out.set(input.subarray(start, end), to)
  else for (let i = 0; i < length; i++) out[to + i] = input[start + i]!
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
