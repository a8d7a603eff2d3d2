import { describe, expect, test } from 'bun:test'
import type { ByteCache } from '../../src/cache/byte-cache.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

export const none = new Uint8Array(0)
export const filled = (size: number, byte: number): Uint8Array => new Uint8Array(size).fill(byte)

/** What every cache does: see ByteCache. `open` makes one of a capacity in bytes, in a folder of the test's own. */
export function cacheContract(name: string, open: (directory: string, capacityBytes: number) => ByteCache): void {
  describe(`a cache ${name}`, () => {
    test('gives back what was put, small and large, with its companion data', async () => {
      using folder = temporaryFolder()
      const cache = open(folder.path, 64 << 20)
      for (const size of [0, 1, 10_000, 3 << 20]) {
        await cache.put(`key ${size}/ü`, { bytes: filled(size, size % 251), meta: filled(4, 9) })
        const value = await cache.get(`key ${size}/ü`)
        expect(value?.bytes.length).toBe(size)
        expect(Buffer.compare(value!.bytes, filled(size, size % 251))).toBe(0)
        expect([...value!.meta]).toEqual([9, 9, 9, 9])
      }
      expect(await cache.get('another')).toBeUndefined()
      await cache.close()
    })

    test('keeps the newest of two values under one key', async () => {
      using folder = temporaryFolder()
      const cache = open(folder.path, 64 << 20)
      await cache.put('k', { bytes: filled(20_000, 1), meta: none })
      await cache.put('k', { bytes: filled(30_000, 2), meta: none })
      expect((await cache.get('k'))?.bytes.length).toBe(30_000)
      await cache.close()
    })

    test('takes any key, and counts what it finds and what it misses', async () => {
      using folder = temporaryFolder()
      const cache = open(folder.path, 64 << 20)
      const keys = ['', 'a/../b', '\0', 'ü'.repeat(10_000), "'; DROP TABLE blobs; --"]
      for (const [i, key] of keys.entries()) await cache.put(key, { bytes: filled(10 + i, i), meta: none })
      for (const [i, key] of keys.entries()) expect((await cache.get(key))?.bytes.length).toBe(10 + i)
      expect(await cache.get('missing')).toBeUndefined()
      expect(cache.stats()).toMatchObject({ hits: keys.length, misses: 1 })
      await cache.close()
    })

    test('finds what it was given last or nothing, in any order of puts and gets', async () => {
      using folder = temporaryFolder()
      const cache = open(folder.path, 64 << 20)
      const given = new Map<string, { size: number; byte: number }>()
      let state = 42
      const below = (limit: number): number => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
        return (state >>> 8) % limit
      }
      for (let i = 0; i < 300; i++) {
        const key = `k${below(20)}`
        if (below(2) === 0) {
          const next = { size: below(30_000), byte: below(256) }
          given.set(key, next)
          await cache.put(key, { bytes: filled(next.size, next.byte), meta: filled(3, next.byte) })
          continue
        }
        const found = await cache.get(key)
        const last = given.get(key)
        if (found === undefined) continue
        expect(found.bytes.length).toBe(last!.size)
        expect(found.bytes.every(byte => byte === last!.byte)).toBe(true)
        expect([...found.meta]).toEqual([last!.byte, last!.byte, last!.byte])
      }
      expect(cache.stats().hits).toBeGreaterThan(50)
      await cache.close()
    })

    test('holds no more than its capacity, and what is larger than that not at all', async () => {
      using folder = temporaryFolder()
      const cache = open(folder.path, 400_000)
      const { capacityBytes } = cache.stats()
      for (let i = 0; i < 40; i++) {
        await cache.put(`k${i}`, { bytes: filled(20_000, i), meta: none })
        expect(cache.stats().sizeBytes).toBeLessThanOrEqual(capacityBytes)
      }
      expect((await cache.get('k39'))?.bytes[0]).toBe(39)
      await cache.put('too large', { bytes: filled(500_000, 1), meta: none })
      await cache.close()
      const again = open(folder.path, 400_000)
      expect(await again.get('too large')).toBeUndefined()
      expect(again.stats().entries).toBeLessThanOrEqual(20)
      expect(again.stats().sizeBytes).toBeLessThanOrEqual(capacityBytes)
      await again.close()
    })

    test('takes puts and gets of one key at the same time: each get has a whole value or none', async () => {
      using folder = temporaryFolder()
      const cache = open(folder.path, 64 << 20)
      const puts = Array.from({ length: 20 }, (_, i) =>
        cache.put('k', { bytes: filled(10_000 + i, i), meta: filled(2, i) }),
      )
      const gets = Array.from({ length: 20 }, () => cache.get('k'))
      await Promise.all(puts)
      for (const found of [...(await Promise.all(gets)), await cache.get('k')]) {
        if (found === undefined) continue
        const i = found.bytes.length - 10_000
        expect(found.bytes.every(byte => byte === i) && found.meta.every(byte => byte === i)).toBe(true)
      }
      expect(await cache.get('k')).toBeDefined()
      await cache.close()
    })
  })
}
