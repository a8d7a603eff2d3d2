const FRAME_MAGIC = 0x18_4d_22_04

/**
 * Decompresses a page of Parquet's older LZ4 codec into `size` bytes. The format never said what stands around the blocks
 * (Compression.md, "LZ4"): Hadoop's sizes in front of each, nothing, or an LZ4 frame. Throws Error if it is none of them.
 */
export function lz4Legacy(input: Uint8Array, size: number): Uint8Array {
  const hadoop = lz4Hadoop(input, size)
  if (hadoop !== undefined) return hadoop
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  if (input.length >= 7 && view.getUint32(0, true) === FRAME_MAGIC) return lz4Frame(input, view, size)
  return lz4Decompress(input, size)
}

/**
 * Hadoop's form: the size of a run of blocks, then each block behind its own size, in big-endian numbers. Undefined if the
 * bytes are something else: by chance all of the sizes cannot be right.
 */
function lz4Hadoop(input: Uint8Array, size: number): Uint8Array | undefined {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  const out = new Uint8Array(size)
  let at = 0
  let to = 0
  while (at < input.length) {
    if (at + 4 > input.length) return undefined
    const runEnd = to + view.getUint32(at)
    at += 4
    if (runEnd > size) return undefined
    while (to < runEnd) {
      if (at + 4 > input.length) return undefined
      const blockSize = view.getUint32(at)
      at += 4
      if (blockSize === 0 || at + blockSize > input.length) return undefined
      try {
        to += lz4Into(input.subarray(at, at + blockSize), out.subarray(to, runEnd), 0)
      } catch {
        return undefined
      }
      at += blockSize
    }
  }
  return to === size ? out : undefined
}

/** The frame of the lz4 program: a descriptor, blocks behind their sizes, a size of 0, checksums that are not looked at. */
function lz4Frame(input: Uint8Array, view: DataView, size: number): Uint8Array {
  const flags = input[4]!
  const checksumBytes = (flags & 0x10) === 0 ? 0 : 4
  if (flags >> 6 !== 1) throw new Error('an LZ4 frame has an unknown version')
  if ((flags & 0x01) !== 0) throw new Error('an LZ4 frame needs a dictionary')
  const out = new Uint8Array(size)
  let at = 7 + ((flags & 0x08) === 0 ? 0 : 8)
  let to = 0
  for (;;) {
    if (at + 4 > input.length) throw new Error('an LZ4 frame is cut off')
    const word = view.getUint32(at, true)
    const blockSize = word & 0x7fff_ffff
    at += 4
    if (blockSize === 0) break
    const block = input.subarray(at, at + blockSize)
    if (block.length !== blockSize || to >= size) throw new Error('an LZ4 frame is cut off')
    if (word >>> 31 === 0) to = lz4Into(block, out, to)
    else {
      if (to + blockSize > size) throw new Error('an LZ4 frame is longer than announced')
      out.set(block, to)
      to += blockSize
    }
    at += blockSize + checksumBytes
  }
  return out.subarray(0, to)
}

/** Decompresses an LZ4 block without anything around it (Parquet's LZ4_RAW). Throws Error if it is malformed. */
export function lz4Decompress(input: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size)
  return out.subarray(0, lz4Into(input, out, 0))
}

/** Decompresses a block to `start` of `out`, and gives where it ends; it may refer to what stands before. */
function lz4Into(input: Uint8Array, out: Uint8Array, start: number): number {
  let at = 0
  let to = start
  const length = (first: number): number => {
    let sum = first
    if (first !== 15) return sum
    for (let byte = 255; byte === 255; ) {
      if (at >= input.length) throw new Error('an LZ4 block is cut off')
      byte = input[at++]!
      sum += byte
    }
    return sum
  }
  while (at < input.length) {
    const token = input[at++]!
    const literals = length(token >>> 4)
    if (at + literals > input.length || to + literals > out.length) throw new Error('an LZ4 block is cut off')
    out.set(input.subarray(at, at + literals), to)
    at += literals
    to += literals
    if (at >= input.length) break
    if (at + 2 > input.length) throw new Error('an LZ4 block is cut off')
    const offset = input[at]! | (input[at + 1]! << 8)
    at += 2
    const match = length(token & 15) + 4
    if (offset === 0 || offset > to || to + match > out.length)
      throw new Error('an LZ4 block refers to bytes that are not there')
    for (let i = 0; i < match; i++) out[to + i] = out[to - offset + i]!
    to += match
  }
  return to
}
