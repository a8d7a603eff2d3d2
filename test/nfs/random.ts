/** A seeded generator (mulberry32), so that a failing case can be made again. */
export function seeded(seed: number): {
  next(): number
  below(limit: number): number
  bytes(length: number): Uint8Array
} {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number) => Math.floor(next() * limit)
  return { next, below, bytes: length => Uint8Array.from({ length }, () => below(256)) }
}
