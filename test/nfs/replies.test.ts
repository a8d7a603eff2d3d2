import { describe, expect, test } from 'bun:test'
import { ReplyCache } from '../../src/nfs/rpc/replies.ts'

const limits = { entriesMax: 3, bytesMax: 100, ageMaxMs: 1000 }

function cache(options: Partial<typeof limits> = {}) {
  const clock = { ms: 0, nowMs: () => clock.ms }
  const replies = new ReplyCache({ ...limits, ...options }, clock)
  let executed = 0
  const call = (key: string, keep = true, bytes = 1) =>
    replies.once(key, async () => {
      executed++
      return { pieces: [new Uint8Array(bytes).fill(executed)], keep }
    })
  return { clock, replies, call, executed: () => executed }
}

describe('the reply cache', () => {
  test('answers a repeated call with the first reply', async () => {
    const { call, executed, replies } = cache()
    const first = await call('a')
    expect(await call('a')).toEqual(first)
    expect(executed()).toBe(1)
    expect(replies.hits).toBe(1)
  })

  test('makes a repeated call wait for the one under way', async () => {
    const { replies } = cache()
    const { promise, resolve } = Promise.withResolvers<void>()
    let executed = 0
    const execute = async () => {
      executed++
      await promise
      return { pieces: [Uint8Array.of(1)], keep: true }
    }
    const both = Promise.all([replies.once('a', execute), replies.once('a', execute)])
    resolve()
    expect(await both).toEqual([[Uint8Array.of(1)], [Uint8Array.of(1)]])
    expect(executed).toBe(1)
  })

  test('executes again what was not to be kept', async () => {
    const { call, executed } = cache()
    await call('a', false)
    await call('a', false)
    expect(executed()).toBe(2)
  })

  test('forgets the oldest replies when there are too many, or too many bytes', async () => {
    const { call, executed, replies } = cache()
    for (const key of ['a', 'b', 'c', 'd']) await call(key)
    expect(replies.entries).toBe(3)
    await call('b')
    expect(executed()).toBe(4)
    await call('a')
    expect(executed()).toBe(5)
    await call('large', true, 100)
    expect(replies.entries).toBe(1)
  })

  test('forgets replies that are too old', async () => {
    const { call, clock, executed } = cache()
    await call('a')
    clock.ms = 1000
    await call('a')
    expect(executed()).toBe(1)
    clock.ms = 1001
    await call('a')
    expect(executed()).toBe(2)
    await call('b')
    clock.ms = 2001
    await call('a')
    expect(executed()).toBe(3)
  })
})
