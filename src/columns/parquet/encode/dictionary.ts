import type { Utf8Values } from '../../types.ts'

/**
 * Once so many values have been looked at, no more than so many may be different ones: of 25,000 that are equally frequent,
 * one in 24 is a repetition by then.
 */
const SAMPLED = 2048
const SAMPLED_DIFFERENT_MAX = 0.96 * SAMPLED
/** A dictionary with more values is hardly smaller than the values themselves, and slow to look up. */
const SIZE_MAX = 1 << 16
const SIZE_PART_MAX = 1 / 4
/** Of a few rows any part may be different. */
const SIZE_MAX_AT_LEAST = 1024
const EMPTY = -1

/** Values by their number in a dictionary. */
export interface Indexed {
  /** Of each value, which one of the dictionary it is. */
  readonly indexes: Uint32Array
  /** Of each one in the dictionary, at which value it stands first. */
  readonly firsts: Uint32Array
}

/** Numbers of 1 or 2 words each by their bits (so that -0 is not 0); undefined if few of them are the same. */
export function indexWords(words: Int32Array, wordsEach: 1 | 2): Indexed | undefined {
  const second = wordsEach - 1
  return indexed(
    words.length / wordsEach,
    i => Math.imul(words[i * wordsEach]! ^ Math.imul(words[i * wordsEach + second]!, 0x85ebca6b), 0x9e3779b1),
    (a, b) =>
      words[a * wordsEach] === words[b * wordsEach] && words[a * wordsEach + second] === words[b * wordsEach + second],
  )
}

/** Byte arrays; undefined if few of them are the same. */
export function indexBytes({ bytes, starts, ends }: Utf8Values): Indexed | undefined {
  return indexed(
    starts.length,
    i => {
      let hash = 0x811c9dc5
      for (let at = starts[i]!, end = ends[i]!; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193)
      return Math.imul(hash, 0x9e3779b1)
    },
    (a, b) => {
      const start = starts[a]!
      const length = ends[a]! - start
      const other = starts[b]!
      if (ends[b]! - other !== length) return false
      for (let i = 0; i < length; i++) if (bytes[start + i] !== bytes[other + i]) return false
      return true
    },
  )
}

/** Open addressing; the upper bits of a hash are the good ones. */
function indexed(
  count: number,
  hashOf: (i: number) => number,
  isSame: (a: number, b: number) => boolean,
): Indexed | undefined {
  const sizeMax = Math.min(SIZE_MAX, count >> 1, Math.max(SIZE_MAX_AT_LEAST, count * SIZE_PART_MAX) | 0)
  const bits = 33 - Math.clz32(Math.max(2, sizeMax))
  const mask = (1 << bits) - 1
  const table = new Int32Array(1 << bits).fill(EMPTY)
  const indexes = new Uint32Array(count)
  const firsts = new Uint32Array(sizeMax)
  let size = 0
  for (let i = 0; i < count; i++) {
    if (i === SAMPLED && size > SAMPLED_DIFFERENT_MAX) return undefined
    let slot = hashOf(i) >>> (32 - bits)
    while (table[slot] !== EMPTY && !isSame(firsts[table[slot]!]!, i)) slot = (slot + 1) & mask
    if (table[slot] === EMPTY) {
      if (size === sizeMax) return undefined
      table[slot] = size
      firsts[size++] = i
    }
    indexes[i] = table[slot]!
  }
  return { indexes, firsts: firsts.subarray(0, size) }
}
