import { expect, test } from 'bun:test'
import type { ByteCache, CachedBytes } from '../../src/cache/byte-cache.ts'
import { MemoryCache } from '../../src/cache/memory.ts'
import { TieredCache } from '../../src/cache/tiered.ts'

const none = new Uint8Array(0)
const value = (size: number): CachedBytes => ({ bytes: new Uint8Array(size), meta: none })

/** A disk whose puts end only when `finish` is called, and that counts what it is asked. */
class SlowDisk implements ByteCache {
  readonly held = new MemoryCache(1 << 30)
  gets = 0
  readonly #pending: (() => void)[] = []

  get(key: string): Promise<CachedBytes | undefined> {
    this.gets++
    return this.held.get(key)
  }

  async put(key: string, bytes: CachedBytes): Promise<void> {
    await new Promise<void>(resolve => this.#pending.push(resolve))
    await this.held.put(key, bytes)
  }

  stats() {
    return this.held.stats()
  }

  async close(): Promise<void> {
    await this.finish()
  }

  async finish(): Promise<void> {
    for (const resolve of this.#pending.splice(0)) resolve()
    await Bun.sleep(0)
  }
}

test('a value can be read from the moment its put resolves, before the disk has it', async () => {
  const disk = new SlowDisk()
  const cache = new TieredCache(new MemoryCache(1 << 20), disk)
  for (const size of [100, 2 << 20]) {
    await cache.put(`k${size}`, value(size))
    expect((await cache.get(`k${size}`))?.bytes.length).toBe(size)
  }
  expect(disk.gets).toBe(0)
  expect(cache.stats()).toMatchObject({ hits: 2, misses: 0, entries: 0 })
  await disk.finish()
  expect(cache.stats().entries).toBe(2)
  expect((await cache.get(`k${2 << 20}`))?.bytes.length).toBe(2 << 20)
  expect(disk.gets).toBe(1)
})

test('a put waits for the disk when more than 32 MB are on their way, and goes on when it has caught up', async () => {
  const disk = new SlowDisk()
  const cache = new TieredCache(new MemoryCache(1 << 20), disk)
  for (let i = 0; i < 4; i++) await cache.put(`k${i}`, value(8 << 20))
  let resolved = false
  const fifth = cache.put('k4', value(8 << 20)).then(() => {
    resolved = true
  })
  await Bun.sleep(0)
  expect(resolved).toBe(false)
  await disk.finish()
  await fifth
  for (let i = 0; i < 4; i++) await cache.put(`next ${i}`, value(8 << 20))
  await cache.close()
})

test('what comes from the disk is kept in memory if it is small; large values are mapped there anyway', async () => {
  const disk = new SlowDisk()
  await disk.held.put('small', value(1000))
  await disk.held.put('large', value(1 << 20))
  const cache = new TieredCache(new MemoryCache(64 << 20), disk)
  for (let i = 0; i < 3; i++) await cache.get('small')
  expect(disk.gets).toBe(1)
  for (let i = 0; i < 3; i++) await cache.get('large')
  expect(disk.gets).toBe(4)
  expect(await cache.get('nothing')).toBeUndefined()
  expect(cache.stats()).toMatchObject({ hits: 6, misses: 1 })
})
