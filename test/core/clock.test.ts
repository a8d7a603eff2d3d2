import { describe, expect, test } from 'bun:test'
import { momentMs, noMomentBefore } from '../../src/core/clock.ts'

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

  test('go on where the clock is set back, at its pace if that was a lot', () => {
    const clock = { ms: 1_700_000_000_000, nowMs: () => clock.ms }
    const first = momentMs(clock)
    clock.ms -= 900
    expect(momentMs(clock)).toBeGreaterThan(first)
    clock.ms += 1900
    const before = momentMs(clock)
    expect(before).toBe(clock.ms)
    for (let i = 0; i < 3; i++) {
      clock.ms -= 3_600_000
      const after = momentMs(clock)
      expect(after).toBeGreaterThan(before)
      expect(after - before).toBeLessThan(10_000)
      clock.ms += 2000
      expect(momentMs(clock) - after).toBeCloseTo(2000, 1)
    }
  })

  test('come behind one that an earlier process noted, whatever the clock says since', () => {
    const clock = { ms: 1_700_000_000_000, nowMs: () => clock.ms }
    const earlier = clock.ms + 3_600_000
    noMomentBefore(clock, earlier)
    const first = momentMs(clock)
    expect(first).toBeGreaterThan(earlier)
    clock.ms += 2000
    expect(momentMs(clock) - first).toBeCloseTo(2000, 1)
    noMomentBefore(clock, earlier)
    expect(momentMs(clock)).toBeLessThan(earlier + 3000)
  })

  test('are each clock’s own', () => {
    const [a, b] = [{ nowMs: () => 5 }, { nowMs: () => 5 }]
    expect([momentMs(a), momentMs(b)]).toEqual([5, 5])
  })
})
