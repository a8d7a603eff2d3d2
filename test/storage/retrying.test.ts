import { describe, expect, test } from 'bun:test'
import { RETRIES, type RetryPolicy, type RetrySeams, retried } from '../../src/storage/retrying.ts'

const POLICY: RetryPolicy = { attemptsMax: 5, totalMsMax: 10_000, firstDelayMs: 100, delayMsMax: 400 }

interface Clockwork extends RetrySeams {
  readonly sleeps: number[]
}

function clockwork(random = 1): Clockwork {
  const sleeps: number[] = []
  let nowMs = 0
  return {
    sleeps,
    nowMs: () => nowMs,
    sleep: async ms => {
      sleeps.push(ms)
      nowMs += ms
    },
    random: () => random,
  }
}

function failing(times: number): { run: () => Promise<string>; attempts: () => number } {
  let attempts = 0
  const run = async (): Promise<string> => {
    attempts++
    if (attempts <= times) throw new Error(`failure ${attempts}`)
    return 'done'
  }
  return { run, attempts: () => attempts }
}

describe('what is tried again', () => {
  test('waits longer each time, up to a bound, and gives what came in the end', async () => {
    const seams = clockwork()
    expect(await retried(failing(4).run, () => ({}), POLICY, seams)).toBe('done')
    expect(seams.sleeps).toEqual([100, 200, 400, 400])
  })

  test('waits any part of that time, so that many do not come again together', async () => {
    const seams = clockwork(0.25)
    await retried(failing(2).run, () => ({}), POLICY, seams)
    expect(seams.sleeps).toEqual([25, 50])
  })

  test('waits as long as the store says', async () => {
    const seams = clockwork(0)
    await retried(failing(1).run, () => ({ afterMs: 3000 }), POLICY, seams)
    expect(seams.sleeps).toEqual([3000])
  })

  test('is given up after so many attempts, as the last one failed', async () => {
    const work = failing(99)
    await expect(retried(work.run, () => ({}), POLICY, clockwork())).rejects.toThrow('failure 5')
    expect(work.attempts()).toBe(5)
  })

  test('is given up when its time would be over', async () => {
    const seams = clockwork()
    await expect(retried(failing(99).run, () => ({ afterMs: 6000 }), POLICY, seams)).rejects.toThrow('failure 2')
    expect(seams.sleeps).toEqual([6000])
  })

  test('goes on for its time, however short the delays are by chance', async () => {
    const seams = clockwork(0.1)
    await expect(retried(failing(999).run, () => ({}), RETRIES, seams)).rejects.toThrow('failure')
    expect(seams.nowMs()).toBeGreaterThan(RETRIES.totalMsMax - RETRIES.delayMsMax)
  })

  test('is given up at once where there is no use in it', async () => {
    const work = failing(1)
    await expect(retried(work.run, () => undefined, POLICY, clockwork())).rejects.toThrow('failure 1')
    expect(work.attempts()).toBe(1)
  })
})
