import { describe, expect, test } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DiskCache } from '../../src/cache/disk.ts'
import { MemoryCache } from '../../src/cache/memory.ts'
import { TieredCache } from '../../src/cache/tiered.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { cacheContract, filled, none } from './contract.ts'

function diskCache(directory: string, capacityBytes = 64 << 20, said: string[] = []): DiskCache {
  return new DiskCache({ directory, capacityBytes, log: sentence => said.push(sentence) })
}

cacheContract('in memory', (_, capacityBytes) => new MemoryCache(capacityBytes))
cacheContract('on disk', (directory, capacityBytes) => diskCache(directory, capacityBytes))
cacheContract(
  'in two tiers',
  (directory, capacityBytes) => new TieredCache(new MemoryCache(1 << 16), diskCache(directory, capacityBytes)),
)

describe('a memory cache', () => {
  test('forgets what was not used for the longest time, and does not keep what would drive out the rest', async () => {
    const cache = new MemoryCache(110_000)
    for (let i = 0; i < 5; i++) await cache.put(`k${i}`, { bytes: filled(20_000, i), meta: none })
    await cache.get('k0')
    await cache.put('k5', { bytes: filled(20_000, 5), meta: none })
    expect(await cache.get('k0')).toBeDefined()
    expect(await cache.get('k1')).toBeUndefined()
    await cache.put('large', { bytes: filled(90_000, 1), meta: none })
    expect(await cache.get('large')).toBeUndefined()
    // Small ones count for what they take beside their bytes, too.
    for (let i = 0; i < 1000; i++) await cache.put(`small ${i}`, { bytes: filled(1, i), meta: none })
    expect(cache.stats().entries).toBeLessThan(300)
  })
})

describe('a disk cache', () => {
  const blobs = (directory: string): string[] =>
    readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile() && !entry.name.startsWith('index.'))
      .map(entry => join(entry.parentPath, entry.name))

  test('outlives the process, and is shared by several', async () => {
    using folder = temporaryFolder()
    const one = diskCache(folder.path)
    const two = diskCache(folder.path)
    await one.put('a', { bytes: filled(2 << 20, 7), meta: none })
    expect((await two.get('a'))?.bytes.length).toBe(2 << 20)
    await one.close()
    await two.close()
    const again = Bun.spawnSync({
      cmd: [
        process.execPath,
        '-e',
        `const { DiskCache } = await import(${JSON.stringify(join(import.meta.dir, '../../src/cache/disk.ts'))})
         const cache = new DiskCache({ directory: ${JSON.stringify(folder.path)}, capacityBytes: 1e9, log: console.error })
         console.log((await cache.get('a')).bytes.length)
         await cache.close()`,
      ],
    })
    expect(again.stdout.toString().trim()).toBe(String(2 << 20))
  })

  test('drops what was used least recently when it grows beyond its bound, and its files with it', async () => {
    using folder = temporaryFolder()
    const cache = diskCache(folder.path, 1_000_000)
    for (let i = 0; i < 20; i++) {
      await cache.put(`k${i}`, { bytes: filled(100_000, i), meta: none })
      // Times of use are in milliseconds.
      for (const now = Date.now(); Date.now() === now; ) await Bun.sleep(1)
    }
    expect(cache.stats().sizeBytes).toBeLessThanOrEqual(1_000_000)
    expect(await cache.get('k19')).toBeDefined()
    expect(await cache.get('k0')).toBeUndefined()
    expect(blobs(folder.path).length).toBe(cache.stats().entries)
    await cache.close()
  })

  test('never gives a damaged, shortened or missing file', async () => {
    using folder = temporaryFolder()
    for (const damage of ['change', 'shorten', 'remove']) {
      const first = diskCache(folder.path)
      await first.put('k', { bytes: filled(50_000, 1), meta: none })
      await first.close()
      const [path] = blobs(folder.path)
      const bytes = readFileSync(path!)
      if (damage === 'change') writeFileSync(path!, bytes.fill(2, 100, 101))
      else if (damage === 'shorten') writeFileSync(path!, bytes.subarray(0, 100))
      else rmSync(path!)
      const second = diskCache(folder.path)
      expect(await second.get('k')).toBeUndefined()
      expect(second.stats().entries).toBe(0)
      await second.close()
    }
  })

  test('starts anew, and says so, when its index is damaged', async () => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, 'index.sqlite'), 'this is no database at all, and too long to be an empty one')
    const said: string[] = []
    const cache = diskCache(folder.path, 1 << 20, said)
    await cache.put('k', { bytes: filled(10, 1), meta: none })
    expect(await cache.get('k')).toBeDefined()
    expect(said.join()).toContain('damaged')
    await cache.close()
  })

  test('fails nobody where it cannot write: nothing is kept, and one sentence says why', async () => {
    using folder = temporaryFolder()
    const said: string[] = []
    const cache = diskCache(folder.path, 64 << 20, said)
    // A file where each folder would be stands for a disk that takes no more.
    for (let i = 0; i < 256; i++) writeFileSync(join(folder.path, i.toString(16).padStart(2, '0')), '')
    await cache.put('a', { bytes: filled(50_000, 1), meta: none })
    await cache.put('b', { bytes: filled(50_000, 1), meta: none })
    expect(await cache.get('a')).toBeUndefined()
    expect(said.length).toBe(1)
    await cache.close()
    const nowhere: string[] = []
    mkdirSync(join(folder.path, 'x'))
    writeFileSync(join(folder.path, 'x', 'file'), '')
    const unusable = diskCache(join(folder.path, 'x', 'file'), 1 << 20, nowhere)
    await unusable.put('a', { bytes: filled(10, 1), meta: none })
    expect(await unusable.get('a')).toBeUndefined()
    expect(nowhere.length).toBe(1)
  })
})
