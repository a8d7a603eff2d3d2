/** Numbers of up to this many bits are gathered in 32 bits, a byte at a time. */
const SMALL_WIDTH_MAX = 24

/**
 * Fills `out` with numbers of `width` bits from bytes [start, end) in Parquet's hybrid of runs and bit-packed groups
 * (Encodings.md, "RLE"). Throws Error if there are too few; no run is longer than what is left of `out`.
 */
export function readHybrid(
  bytes: Uint8Array,
  start: number,
  end: number,
  width: number,
  out: Uint8Array | Uint32Array,
): void {
  let at = start
  for (let filled = 0; filled < out.length; ) {
    let header = 0
    for (let shift = 0, byte = 0x80; byte > 0x7f; shift += 7) {
      if (at >= end || shift > 28) throw new Error('a run of levels or indexes is cut off')
      byte = bytes[at++]!
      header |= (byte & 0x7f) << shift
    }
    const isPacked = (header & 1) === 1
    const announced = (header >>> 1) * (isPacked ? 8 : 1)
    const count = Math.min(announced, out.length - filled)
    // The last group may be cut to the bytes that its numbers need.
    const needed = isPacked ? Math.ceil((count * width) / 8) : (width + 7) >> 3
    if (at + needed > end) throw new Error('a run of levels or indexes is cut off')
    if (isPacked) unpack(bytes, at, width, out, filled, count)
    else out.fill(littleEndian(bytes, at, needed), filled, filled + count)
    at += isPacked ? (announced * width) / 8 : needed
    filled += count
  }
}

function littleEndian(bytes: Uint8Array, at: number, length: number): number {
  let value = 0
  for (let i = 0; i < length; i++) value |= bytes[at + i]! << (8 * i)
  return value >>> 0
}

function unpack(
  bytes: Uint8Array,
  start: number,
  width: number,
  out: Uint8Array | Uint32Array,
  to: number,
  count: number,
): void {
  if (width > SMALL_WIDTH_MAX) {
    for (let i = 0; i < count; i++) out[to + i] = wideAt(bytes, start, i * width, width)
    return
  }
  const mask = (1 << width) - 1
  let buffer = 0
  let held = 0
  for (let i = 0, at = start; i < count; i++) {
    while (held < width) {
      buffer |= bytes[at++]! << held
      held += 8
    }
    out[to + i] = buffer & mask
    buffer >>>= width
    held -= width
  }
}

function wideAt(bytes: Uint8Array, start: number, bit: number, width: number): number {
  const first = start + (bit >> 3)
  let value = 0
  // Five bytes hold any 32 bits; as a float the sum is exact.
  for (let i = 4; i >= 0; i--) value = value * 256 + (bytes[first + i] ?? 0)
  return Math.floor(value / 2 ** (bit & 7)) % 2 ** width
}

/** `count` levels of `width` bits each (at most 8) in the old BIT_PACKED encoding: from the highest bit of each byte on. */
export function readBitPacked(bytes: Uint8Array, start: number, width: number, count: number): Uint8Array {
  if (start + Math.ceil((count * width) / 8) > bytes.length) throw new Error('the levels of a page are cut off')
  const levels = new Uint8Array(count)
  for (let i = 0; i < count; i++) {
    const bit = i * width
    const at = start + (bit >> 3)
    const two = (bytes[at]! << 8) | (bytes[at + 1] ?? 0)
    levels[i] = (two >> (16 - (bit & 7) - width)) & ((1 << width) - 1)
  }
  return levels
}
