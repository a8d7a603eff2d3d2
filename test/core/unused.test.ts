import { afterEach, expect, jest, test } from 'bun:test'
import { Unused } from '../../src/core/unused.ts'

afterEach(() => {
  jest.useRealTimers()
})

test('what is not used for a while is told so once, and again after the next use', () => {
  jest.useFakeTimers()
  let told = 0
  const unused = new Unused(100, () => told++)
  jest.advanceTimersByTime(1000)
  expect(told).toBe(0)
  for (let i = 0; i < 5; i++) {
    unused.touch()
    jest.advanceTimersByTime(60)
  }
  expect(told).toBe(0)
  jest.advanceTimersByTime(1000)
  expect(told).toBe(1)
  unused.touch()
  jest.advanceTimersByTime(100)
  expect(told).toBe(2)
  unused.touch()
  unused.stop()
  jest.advanceTimersByTime(1000)
  expect(told).toBe(2)
})
