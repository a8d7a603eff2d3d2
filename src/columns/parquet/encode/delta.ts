import { bitWidth, packBits, writeVarint } from './bit-packing.ts'

const BLOCK = 128
const MINIBLOCKS = 4
const MINIBLOCK = BLOCK / MINIBLOCKS
/** The most bytes of a varint here, and of what stands in front of all blocks. */
const VARINT_MAX = 8
const HEADER_MAX = 4 * VARINT_MAX

/** Numbers up to this can be written, whose differences are no larger than that: then all that is added up stays exact. */
export const DELTA_NUMBER_MAX = 2 ** 52
const DIFFERENCE_MAX = 2 ** 51

/** The most bytes that `writeDelta` writes for so many numbers. */
export function deltaBytesMax(count: number): number {
  return HEADER_MAX + Math.ceil(count / BLOCK) * (VARINT_MAX + MINIBLOCKS + BLOCK * 7)
}

/**
 * Writes whole numbers within plus and minus DELTA_NUMBER_MAX in DELTA_BINARY_PACKED (Encodings.md, "Delta Encoding"), and
 * gives where they end; undefined where two that follow one another are too far apart. Their differences are taken as they
 * are, without wrapping around.
 */
export function writeDelta(values: ArrayLike<number>, out: Uint8Array, at: number): number | undefined {
  const count = values.length
  let to = writeVarint(out, at, BLOCK)
  to = writeVarint(out, to, MINIBLOCKS)
  to = writeVarint(out, to, count)
  to = writeZigZag(out, to, count === 0 ? 0 : values[0]!)
  const deltas = new Float64Array(BLOCK)
  for (let start = 1; start < count; start += BLOCK) {
    const size = Math.min(BLOCK, count - start)
    let least = Number.POSITIVE_INFINITY
    let most = Number.NEGATIVE_INFINITY
    for (let i = 0, before = values[start - 1]!; i < size; i++) {
      const value = values[start + i]!
      const delta = value - before
      deltas[i] = delta
      if (delta < least) least = delta
      if (delta > most) most = delta
      before = value
    }
    if (least < -DIFFERENCE_MAX || most > DIFFERENCE_MAX) return undefined
    for (let i = 0; i < size; i++) deltas[i] = deltas[i]! - least
    deltas.fill(0, size)
    to = writeZigZag(out, to, least)
    to = writeMiniblocks(deltas, size, out, to)
  }
  return to
}

/** The widths of a block's parts, then the parts; those behind the last number have no bits. */
function writeMiniblocks(deltas: Float64Array, size: number, out: Uint8Array, at: number): number {
  let to = at + MINIBLOCKS
  for (let part = 0; part < MINIBLOCKS; part++) {
    const start = part * MINIBLOCK
    let most = 0
    for (let i = start; i < start + MINIBLOCK; i++) if (deltas[i]! > most) most = deltas[i]!
    const width = start < size ? bitWidth(most) : 0
    out[at + part] = width
    if (width > 0) to = packBits(deltas, start, start + MINIBLOCK, width, out, to)
  }
  return to
}

function writeZigZag(out: Uint8Array, at: number, value: number): number {
  return writeVarint(out, at, value < 0 ? -2 * value - 1 : 2 * value)
}
