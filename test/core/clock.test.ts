import { describe, expect, test } from 'bun:test'
import { momentMs } from '../../src/core/clock.ts'

describe('the moments of events', () => {
  test('come one after the other while the clock stands still, and follow it when it goes on', () => {
    const clock = { ms: 1_700_000_000_000, nowMs: () => clock.ms }
    const moments = Array.from({ length: 3000 }, () => momentMs(clock))
    expect(moments).toEqual(moments.toSorted((a, b) => a - b))
    expect(new Set(moments).size).toBe(3000)
    expect(moments[0]).toBe(clock.ms)
    clock.ms += 10
    expect(momentMs(clock)).toBe(clock.ms)
  })

  test('go on where the clock is set back a little, and are set back with it where it is a lot', () => {
    const clock = { ms: 1_700_000_000_000, nowMs: () => clock.ms }
    const first = momentMs(clock)
    clock.ms -= 900
    expect(momentMs(clock)).toBeGreaterThan(first)
    clock.ms -= 3_600_000
    expect(momentMs(clock)).toBe(clock.ms)
  })

  test('are each clock’s own', () => {
    const [a, b] = [{ nowMs: () => 5 }, { nowMs: () => 5 }]
    expect([momentMs(a), momentMs(b)]).toEqual([5, 5])
  })
})
