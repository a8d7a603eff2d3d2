import { afterEach, expect, jest, test } from 'bun:test'
import { MemoryCache } from '../../src/cache/memory.ts'

const value = (size: number) => ({ bytes: new Uint8Array(size), meta: new Uint8Array(0) })

afterEach(() => {
  jest.useRealTimers()
})

test('bytes in memory go each a minute after their last use, while others stay', async () => {
  jest.useFakeTimers()
  const cache = new MemoryCache(1 << 20)
  for (const key of ['a', 'b', 'c']) await cache.put(key, value(10))
  jest.advanceTimersByTime(40_000)
  expect(await cache.get('b')).toBeDefined()
  jest.advanceTimersByTime(26_000)
  expect(cache.stats()).toMatchObject({ entries: 1, sizeBytes: 522 })
  expect([await cache.get('a'), await cache.get('c')]).toEqual([undefined, undefined])
  for (let i = 0; i < 100; i++) {
    expect(await cache.get('b')).toBeDefined()
    await cache.put(`passing ${i}`, value(10))
    jest.advanceTimersByTime(10_000)
    expect(cache.stats().entries).toBeLessThan(10)
  }
  jest.advanceTimersByTime(65_000)
  expect(cache.stats()).toMatchObject({ entries: 0, sizeBytes: 0 })
})
