/** Numbers of up to this many bits are gathered in 32 bits, a byte at a time. */
const SMALL_WIDTH_MAX = 24
const HALF = 0x1_0000

/** The bits that the whole number `most` needs, from 0 on; exact below 2^53. */
export function bitWidth(most: number): number {
  return most < 0x1_0000_0000 ? 32 - Math.clz32(most) : 64 - Math.clz32(Math.floor(most / 0x1_0000_0000))
}

/**
 * Writes numbers [start, end) of `values` with `width` bits each, from the lowest bit of each byte on (Encodings.md,
 * "RLE"), and gives where they end: at a whole byte. Wide numbers have a loop of their own, as others are packed in half the
 * time without it.
 */
export function packBits(
  values: ArrayLike<number>,
  start: number,
  end: number,
  width: number,
  out: Uint8Array,
  at: number,
): number {
  if (width > SMALL_WIDTH_MAX) return packWide(values, start, end, width, out, at)
  let to = at
  let buffer = 0
  let held = 0
  for (let i = start; i < end; i++) {
    buffer |= values[i]! << held
    held += width
    while (held >= 8) {
      out[to++] = buffer & 0xff
      buffer >>>= 8
      held -= 8
    }
  }
  if (held > 0) out[to++] = buffer & 0xff
  return to
}

/** Each number in pieces of 16 bits and one of what is left: as a float it is exact below 2^53. */
function packWide(
  values: ArrayLike<number>,
  start: number,
  end: number,
  width: number,
  out: Uint8Array,
  at: number,
): number {
  let to = at
  let buffer = 0
  let held = 0
  for (let i = start; i < end; i++) {
    let rest = values[i]!
    for (let left = width; left > 0; left -= 16) {
      const high = Math.floor(rest / HALF)
      buffer |= (rest - high * HALF) << held
      rest = high
      held += Math.min(left, 16)
      while (held >= 8) {
        out[to++] = buffer & 0xff
        buffer >>>= 8
        held -= 8
      }
    }
  }
  if (held > 0) out[to++] = buffer & 0xff
  return to
}

/** The most bytes that `writeHybrid` writes. */
export function hybridBytesMax(count: number, width: number): number {
  return 10 + Math.ceil(count / 8) * Math.max(width, 1)
}

/** Writes numbers in the hybrid encoding (Encodings.md, "RLE"): one run if all are the same, else bit-packed groups of 8. */
export function writeHybrid(values: Uint8Array | Uint32Array, width: number, out: Uint8Array, at: number): number {
  const count = values.length
  if (count === 0) return at
  if (isUniform(values)) {
    let to = writeVarint(out, at, count * 2)
    for (let rest = values[0]!, left = width; left > 0; left -= 8, rest >>>= 8) out[to++] = rest & 0xff
    return to
  }
  const groups = Math.ceil(count / 8)
  const to = writeVarint(out, at, groups * 2 + 1)
  const end = to + groups * width
  out.fill(0, packBits(values, 0, count, width, out, to), end)
  return end
}

/** One level of up to 8 bits, so many times, in the hybrid encoding. */
export function hybridRun(level: number, count: number): Uint8Array {
  const out = new Uint8Array(10)
  if (count === 0) return out.subarray(0, 0)
  const at = writeVarint(out, 0, count * 2)
  out[at] = level
  return out.subarray(0, at + 1)
}

function isUniform(values: Uint8Array | Uint32Array): boolean {
  const first = values[0]
  for (let i = 1; i < values.length; i++) if (values[i] !== first) return false
  return true
}

/** Writes a whole number from 0 on, below 2^53, as an unsigned LEB128 number. */
export function writeVarint(out: Uint8Array, at: number, value: number): number {
  let to = at
  let rest = value
  while (rest > 0x7f) {
    out[to++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  out[to++] = rest
  return to
}
