import { describe, expect, test } from 'bun:test'
import { MemoryCache } from '../../src/cache/memory.ts'
import { cachedStore } from '../../src/storage/cached.ts'
import { StorageError } from '../../src/storage/object-store.ts'
import { countingStore } from '../helpers/counting.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { storeContract } from './contract.ts'

storeContract('behind a cache', async () => ({
  store: cachedStore(memoryStore(), new MemoryCache(1 << 20)),
  [Symbol.asyncDispose]: async () => undefined,
}))

const NAME = 'city=Oslo/part-0-0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f.snappy.parquet'
const BLOCK = 256 << 10
const SIZE = 3 * BLOCK + 1000

async function opened(path: string) {
  const behind = countingStore(memoryStore())
  const whole = new Uint8Array(SIZE).map((_, i) => (i * 13 + (i >> 10)) & 255)
  await behind.write(path, whole)
  behind.calls.length = 0
  const store = cachedStore(behind, new MemoryCache(64 << 20))
  const read = async (start: number, end: number): Promise<void> => {
    expect(Buffer.compare(await store.read(path, start, end), whole.subarray(start, end))).toBe(0)
  }
  return { behind, store, read }
}

describe('objects whose names are given once', () => {
  test('are fetched in blocks, each once', async () => {
    const { behind, read } = await opened(NAME)
    await read(SIZE - 8, SIZE)
    await read(SIZE - 900, SIZE)
    await read(10, 20)
    await read(0, SIZE)
    await read(5, SIZE - 5)
    expect(behind.calls).toEqual([
      `read ${NAME} ${3 * BLOCK}-${4 * BLOCK}`,
      `read ${NAME} 0-${BLOCK}`,
      `read ${NAME} ${BLOCK}-${3 * BLOCK}`,
    ])
  })

  test('are fetched once for two who need the same block at the same time', async () => {
    const { behind, read } = await opened(NAME)
    await Promise.all([read(10, BLOCK + 10), read(BLOCK + 20, 2 * BLOCK), read(0, SIZE)])
    const ranges = behind.calls.map(call => call.split(' ').at(-1)!.split('-').map(Number))
    const starts = ranges.flatMap(([start = 0, end = 0]) =>
      Array.from({ length: (end - start) / BLOCK }, (_, i) => start / BLOCK + i),
    )
    expect(starts.sort()).toEqual([0, 1, 2, 3])
  })

  test('are not kept where what is made of them is', async () => {
    const { behind, store, read } = await opened(NAME)
    const once = async (start: number, end: number): Promise<void> => {
      expect((await store.readOnce!(NAME, start, end)).length).toBe(Math.min(end, SIZE) - start)
    }
    await once(5, BLOCK + 5)
    await once(5, BLOCK + 5)
    expect(behind.calls).toEqual([`read ${NAME} 5-${BLOCK + 5}`, `read ${NAME} 5-${BLOCK + 5}`])
    await read(0, 2 * BLOCK)
    behind.calls.length = 0
    await once(5, BLOCK + 5)
    expect(behind.calls).toEqual([])
  })

  test('are asked for again after a fetch that failed', async () => {
    const inside = memoryStore()
    await inside.write(NAME, new Uint8Array(SIZE))
    let isDown = true
    const down = { ...inside, read: () => Promise.reject(new StorageError('unavailable', 'it is down')) }
    const either = {
      ...inside,
      read: (...range: Parameters<typeof inside.read>) => (isDown ? down.read() : inside.read(...range)),
    }
    const store = cachedStore(either, new MemoryCache(64 << 20))
    await expect(Promise.all([store.read(NAME, 0, 10), store.read(NAME, 0, SIZE)])).rejects.toThrow('it is down')
    isDown = false
    expect((await store.read(NAME, 0, SIZE)).length).toBe(SIZE)
  })

  test('are read no further than they go', async () => {
    const { store, read } = await opened(NAME)
    await read(SIZE - 10, SIZE + 10)
    await read(SIZE + 10, SIZE + 20)
    await read(0, 100 * BLOCK)
    expect((await store.read(NAME, 7, 7)).length).toBe(0)
  })
})

test('what was written a moment ago is not fetched, if it is not much', async () => {
  const behind = countingStore(memoryStore())
  const store = cachedStore(behind, new MemoryCache(64 << 20))
  const whole = new Uint8Array(SIZE).map((_, i) => (i * 13) & 255)
  const out = await store.create(NAME)
  for (let at = 0; at < SIZE; at += 100_000) await out.write(whole.subarray(at, at + 100_000))
  await out.close()
  const vectors = NAME.replace('part-0', 'vectors')
  await store.write(vectors, whole)
  behind.calls.length = 0
  for (const path of [NAME, vectors]) expect(Buffer.compare(await store.read(path, 7, SIZE), whole.subarray(7))).toBe(0)
  expect(behind.calls).toEqual([])
  const large = NAME.replace('part-0', 'part-1')
  await store.write(large, new Uint8Array(5 << 20))
  behind.calls.length = 0
  await store.read(large, 0, 10)
  expect(behind.calls.length).toBe(1)
})

test('an object that may be written again is never taken from the cache', async () => {
  const { behind, read } = await opened('_delta_log/_last_checkpoint')
  await read(0, 10)
  await read(0, 10)
  expect(behind.calls.length).toBe(2)
})
