import { describe, expect, test } from 'bun:test'
import { readHybrid } from '../../src/columns/parquet/hybrid.ts'
import { Random } from './values.ts'

/** Numbers as one bit-packed run, by arithmetic that cannot overflow. */
function packed(values: readonly number[], width: number): Uint8Array {
  const bits = values.reduceRight((sum, value) => (sum << BigInt(width)) | BigInt(value), 0n)
  const body = Array.from({ length: (values.length * width) / 8 }, (_, i) => Number((bits >> BigInt(8 * i)) & 255n))
  return Uint8Array.of((values.length / 8) * 2 + 1, ...body)
}

describe('runs of levels and indexes', () => {
  test('of every width are read exactly, bit-packed and repeated', () => {
    const random = new Random(2)
    for (let width = 1; width <= 32; width++) {
      const values = Array.from({ length: 24 }, () => random.below(2 ** width))
      const repeated = random.below(2 ** width)
      const run = Array.from({ length: (width + 7) >> 3 }, (_, i) => Math.floor(repeated / 256 ** i) % 256)
      const bytes = Buffer.concat([packed(values, width), Uint8Array.of(5 << 1, ...run), packed(values, width)])
      const out = new Uint32Array(50)
      readHybrid(bytes, 0, bytes.length, width, out)
      expect([...out]).toEqual([...values, ...Array.from({ length: 5 }, () => repeated), ...values.slice(0, 21)])
      const last = new Uint32Array(53)
      expect(() => readHybrid(bytes.subarray(0, -1), 0, bytes.length - 1, width, last)).toThrow('cut off')
    }
  })

  test('that announce far more than is wanted are read no further', () => {
    const out = new Uint8Array(10)
    readHybrid(Uint8Array.of(0xfe, 0xff, 0xff, 0xff, 0x0f, 1), 0, 6, 1, out)
    expect([...out]).toEqual(Array.from({ length: 10 }, () => 1))
    expect(() => readHybrid(new Uint8Array(4), 0, 0, 1, out)).toThrow('cut off')
    expect(() => readHybrid(new Uint8Array(4).fill(0xff), 0, 4, 1, out)).toThrow('cut off')
  })
})
