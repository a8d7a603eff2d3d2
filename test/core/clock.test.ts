import { expect, test } from 'bun:test'
import { Moments } from '../../src/core/clock.ts'

test('moments come one behind the other, also while the clock stands still or is set back', () => {
  const state = { nowMs: 1_800_000_000_000 }
  const moments = new Moments({ nowMs: () => state.nowMs })
  const seen = [moments.nextMs(), moments.nextMs()]
  state.nowMs -= 3_600_000
  seen.push(moments.nextMs())
  state.nowMs += 7_200_000
  seen.push(moments.nextMs(), moments.nextMs())
  expect(new Set(seen).size).toBe(5)
  expect(seen.toSorted((left, right) => left - right)).toEqual(seen)
  expect(seen[0]).toBe(1_800_000_000_000)
  expect(seen[3]).toBe(1_800_003_600_000)
})
