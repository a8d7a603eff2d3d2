import { describe, expect, jest, test } from 'bun:test'
import { Recent } from '../../src/core/recent.ts'

const sized = (recent: Recent<number>, key: string, bytes: number): Promise<number> =>
  recent.get(key, () => Promise.resolve(bytes))

/** Values that are as large as they say, of 10,000 bytes at most, and the bytes that were dropped. */
function noting(): { readonly recent: Recent<number>; readonly dropped: number[] } {
  const dropped: number[] = []
  const recent = new Recent<number>(
    10_000,
    bytes => bytes,
    bytes => dropped.push(bytes),
  )
  return { recent, dropped }
}

describe('values that are kept at hand', () => {
  test('are those used last, as many as fit, each with what it takes by itself', async () => {
    const { recent, dropped } = noting()
    for (const key of ['a', 'b', 'c']) await sized(recent, key, 2000)
    await sized(recent, 'a', 0)
    await sized(recent, 'd', 2000)
    expect(['a', 'b', 'c', 'd'].filter(key => recent.has(key))).toEqual(['a', 'c', 'd'])
    expect(dropped).toEqual([3024])
    for (let i = 0; i < 1000; i++) await sized(recent, `small ${i}`, 0)
    expect(recent.size).toBe(9)
  })

  test('are dropped when nothing will be asked for any more', async () => {
    const { recent, dropped } = noting()
    for (const key of ['a', 'b']) await sized(recent, key, 2000)
    recent.close()
    expect([recent.size, dropped]).toEqual([0, [3024, 3024]])
  })

  test('are dropped each when it was not asked for in a minute, but for those that are being made', async () => {
    jest.useFakeTimers()
    try {
      const recent = new Recent<number>(10_000, bytes => bytes)
      const making = Promise.withResolvers<number>()
      void recent.get('slow', () => making.promise)
      for (const key of ['a', 'b', 'c']) await sized(recent, key, 100)
      jest.advanceTimersByTime(59_000)
      await sized(recent, 'a', 100)
      expect(recent.size).toBe(4)
      jest.advanceTimersByTime(6000)
      expect(['a', 'b', 'c', 'slow'].filter(key => recent.has(key))).toEqual(['a', 'slow'])
      // What is used on and on stays, and nothing that comes and goes beside it does.
      for (let i = 0; i < 100; i++) {
        await sized(recent, 'a', 100)
        await sized(recent, `passing ${i}`, 10)
        jest.advanceTimersByTime(10_000)
        expect(recent.size).toBeLessThan(10)
      }
      expect(recent.has('a')).toBe(true)
      jest.advanceTimersByTime(65_000)
      expect([recent.size, recent.has('slow')]).toEqual([1, true])
      making.resolve(100)
      expect(await sized(recent, 'slow', 0)).toBe(100)
      // What was dropped does not count any more.
      for (let i = 0; i < 8; i++) await sized(recent, `new ${i}`, 0)
      expect(recent.size).toBe(9)
    } finally {
      jest.useRealTimers()
    }
  })

  test('are made once for all who ask, and anew where that failed', async () => {
    const recent = new Recent<string>(1 << 20, () => 0)
    let made = 0
    const make = async (): Promise<string> => {
      made++
      if (made === 1) throw new Error('not yet')
      return 'made'
    }
    const first = [recent.get('a', make), recent.get('a', make)]
    expect((await Promise.allSettled(first)).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(await Promise.all([recent.get('a', make), recent.get('a', make)])).toEqual(['made', 'made'])
    expect(made).toBe(2)
  })

  test('may be larger than all that fits: then the newest stays alone', async () => {
    const recent = new Recent<number>(1000, bytes => bytes)
    await sized(recent, 'a', 10)
    await sized(recent, 'b', 1 << 20)
    expect([recent.has('a'), recent.has('b')]).toEqual([false, true])
    await sized(recent, 'c', 10)
    expect([recent.has('b'), recent.has('c')]).toEqual([false, true])
  })
})
