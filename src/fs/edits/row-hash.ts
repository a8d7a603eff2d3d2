/** A seed of this process: nobody can prepare rows that are told apart only by reading them. */
const SEED = crypto.getRandomValues(new Int32Array(4))

/**
 * A 128-bit hash of bytes [start, end) into `out`: four lanes of 32 bits, each taking its word of every 16 bytes, mixed
 * with one another at every step (the scheme of MurmurHash3).
 */
export function hashRow(bytes: Uint8Array, start: number, end: number, out: Int32Array): void {
  let a = SEED[0]!
  let b = SEED[1]!
  let c = SEED[2]!
  let d = SEED[3]!
  for (let at = start; at < end; at += 16) {
    a = Math.imul(rotated(a ^ scrambled(wordAt(bytes, at, end), 0x239b961b), 19) + b, 5) + 0x561ccd1b
    b = Math.imul(rotated(b ^ scrambled(wordAt(bytes, at + 4, end), 0xab0e9789), 17) + c, 5) + 0x0bcaa747
    c = Math.imul(rotated(c ^ scrambled(wordAt(bytes, at + 8, end), 0x38b34ae5), 15) + d, 5) + 0x96cd1c35
    d = Math.imul(rotated(d ^ scrambled(wordAt(bytes, at + 12, end), 0xa1e38b93), 13) + a, 5) + 0x32ac3b17
  }
  const length = end - start
  a = finished(a ^ length)
  b = finished((b ^ length) + a)
  c = finished((c ^ length) + b)
  d = finished((d ^ length) + c)
  out[0] = a + d
  out[1] = b + a
  out[2] = c + b
  out[3] = d + c
}

/** Four bytes, zeros behind the end: the length tells rows apart that differ in trailing zeros. */
function wordAt(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 <= end) return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
  let word = 0
  for (let i = 0; at + i < end; i++) word |= bytes[at + i]! << (8 * i)
  return word
}

function scrambled(word: number, by: number): number {
  return Math.imul(rotated(Math.imul(word, by), 16), by ^ 0x5bd1e995)
}

function rotated(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

function finished(value: number): number {
  let h = value
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
