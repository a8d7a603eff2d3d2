import type { seeded } from '../nfs/random.ts'

type Random = ReturnType<typeof seeded>

/** Bytes of which some are others, gone or there twice. */
export function damaged(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = bytes.slice()
  const at = random.below(bytes.length)
  switch (random.below(6)) {
    case 0:
      return copy.subarray(0, at)
    case 1: {
      // Some bytes twice.
      const end = Math.min(bytes.length, at + random.below(40))
      return Buffer.concat([copy.subarray(0, end), copy.subarray(at)])
    }
    case 2:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(Math.min(bytes.length, at + 1 + random.below(40)))])
    case 3:
      // Numbers are where memory is announced.
      new DataView(copy.buffer).setUint32(Math.min(at, Math.max(0, copy.length - 4)), interesting(random), true)
      return copy
    default:
      for (let i = 1 + random.below(3); i > 0; i--) copy[random.below(copy.length)] = random.below(256)
      return copy
  }
}

/** A number of 32 bits at which things change. */
export function interesting(random: Random): number {
  return [0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff, 0x10000, random.below(2 ** 32)][random.below(9)]!
}
