/** Numbers and the sums of a page stay exact between minus and plus this. */
const SAFE_MAX = Number.MAX_SAFE_INTEGER
/** Numbers of up to this many bits are gathered in 32 bits, a byte at a time. */
const SMALL_WIDTH_MAX = 24
const WIDTH_MAX = 52

/**
 * Fills `out` with the numbers of a page in DELTA_BINARY_PACKED (Encodings.md, "Delta Encoding"), or with the first ones of them
 * (`isFirst`), and gives where they end, or the block of the last one;
 * undefined where a number or a sum does not stay exact as a double (writers let them wrap around), or the page is not as
 * it should be: then nobody may rely on `out`.
 */
export function readDelta(
  bytes: Uint8Array,
  start: number,
  out: Int32Array | BigInt64Array,
  isFirst = false,
): number | undefined {
  const reader = new DeltaReader(bytes, start)
  const blockSize = reader.varint()
  const parts = reader.varint()
  const announced = reader.varint()
  let value = reader.zigZag()
  const partSize = blockSize / parts
  const isEnough = announced === out.length || (isFirst && announced > out.length)
  if (!(isEnough && out.length > 0 && partSize > 0 && partSize % 8 === 0)) return undefined
  const put = out instanceof Int32Array ? intoInts(out) : intoLongs(out)
  if (!put(0, value)) return undefined
  const deltas = new Float64Array(partSize)
  for (let filled = 1; filled < out.length; ) {
    const least = reader.zigZag()
    const widths = reader.at
    reader.at += parts
    if (!Number.isSafeInteger(least)) return undefined
    for (let part = 0; part < parts && filled < out.length; part++) {
      const count = Math.min(partSize, out.length - filled)
      if (!reader.unpack(bytes[widths + part]!, partSize, deltas)) return undefined
      for (let i = 0; i < count; i++) {
        value += least + deltas[i]!
        if (!put(filled + i, value)) return undefined
      }
      filled += count
    }
  }
  return reader.at <= bytes.length ? reader.at : undefined
}

/** Puts a number at a place; false if it is not one of them. */
type Put = (at: number, value: number) => boolean

function intoInts(out: Int32Array): Put {
  return (at, value) => {
    out[at] = value
    return out[at] === value
  }
}

/** By halves: each BigInt would be an object of its own. */
function intoLongs(out: BigInt64Array): Put {
  const words = new Int32Array(out.buffer, out.byteOffset, 2 * out.length)
  return (at, value) => {
    const high = Math.floor(value / 0x1_0000_0000)
    words[2 * at] = value - high * 0x1_0000_0000
    words[2 * at + 1] = high
    return value <= SAFE_MAX && value >= -SAFE_MAX
  }
}

class DeltaReader {
  readonly #bytes: Uint8Array
  at: number

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  /** NaN where it is cut off or beyond what a double keeps. */
  varint(): number {
    let value = 0
    for (let scale = 1; scale < 2 ** 56; scale *= 0x80) {
      const byte = this.#bytes[this.at++]
      if (byte === undefined) return Number.NaN
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value <= SAFE_MAX ? value : Number.NaN
    }
    return Number.NaN
  }

  zigZag(): number {
    const value = this.varint()
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  /** The next `count` numbers of `width` bits; false where they are cut off or too wide. */
  unpack(width: number, count: number, out: Float64Array): boolean {
    const start = this.at
    this.at += (count * width) / 8
    if (width > WIDTH_MAX || !(this.at <= this.#bytes.length)) return false
    if (width === 0) out.fill(0)
    else if (width <= SMALL_WIDTH_MAX) this.#unpackSmall(start, width, count, out)
    else this.#unpackWide(start, width, count, out)
    return true
  }

  /** As `hybrid.ts` has it for indexes: one loop for arrays of both kinds takes a third longer. */
  #unpackSmall(start: number, width: number, count: number, out: Float64Array): void {
    const bytes = this.#bytes
    const mask = (1 << width) - 1
    let buffer = 0
    let held = 0
    for (let i = 0, at = start; i < count; i++) {
      while (held < width) {
        buffer |= bytes[at++]! << held
        held += 8
      }
      out[i] = buffer & mask
      buffer >>>= width
      held -= width
    }
  }

  /** Each number in pieces of 16 bits and one of what is left. */
  #unpackWide(start: number, width: number, count: number, out: Float64Array): void {
    const bytes = this.#bytes
    let buffer = 0
    let held = 0
    for (let i = 0, at = start; i < count; i++) {
      let value = 0
      for (let done = 0, scale = 1; done < width; done += 16, scale *= 0x1_0000) {
        const piece = Math.min(16, width - done)
        while (held < piece) {
          buffer |= bytes[at++]! << held
          held += 8
        }
        value += (buffer & ((1 << piece) - 1)) * scale
        buffer >>>= piece
        held -= piece
      }
      out[i] = value
    }
  }
}
