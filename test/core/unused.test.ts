import { afterEach, expect, jest, spyOn, test } from 'bun:test'
import { Unused } from '../../src/core/unused.ts'

afterEach(() => {
  jest.useRealTimers()
})

test('each thing is unused a minute after its last use, and nothing is looked at when nothing is left', () => {
  jest.useFakeTimers()
  const marks = new Map<string, number>()
  let looks = 0
  const unused = new Unused(() => {
    looks++
    for (const [name, mark] of marks) if (unused.isUnused(mark)) marks.delete(name)
    return marks.size > 0
  })
  jest.advanceTimersByTime(600_000)
  expect(looks).toBe(0)
  for (const name of ['a', 'b']) marks.set(name, unused.use())
  jest.advanceTimersByTime(40_000)
  marks.set('b', unused.use())
  jest.advanceTimersByTime(19_000)
  expect([...marks.keys()]).toEqual(['a', 'b'])
  jest.advanceTimersByTime(6000)
  expect([...marks.keys()]).toEqual(['b'])
  jest.advanceTimersByTime(34_000)
  expect([...marks.keys()]).toEqual(['b'])
  jest.advanceTimersByTime(6000)
  expect([...marks.keys()]).toEqual([])
  const before = looks
  jest.advanceTimersByTime(600_000)
  expect(looks).toBe(before)
  marks.set('c', unused.use())
  unused.stop()
  jest.advanceTimersByTime(600_000)
  expect(looks).toBe(before)
})

test('memory is given back when nothing at all was used for a minute', () => {
  jest.useFakeTimers()
  const shrunk = spyOn(Bun, 'shrink')
  try {
    const marks = [0, 0]
    const [a, b] = [0, 1].map(i => {
      const unused: Unused = new Unused(() => !unused.isUnused(marks[i]!))
      return unused
    })
    marks[0] = a!.use()
    marks[1] = b!.use()
    jest.advanceTimersByTime(30_000)
    marks[1] = b!.use()
    jest.advanceTimersByTime(40_000)
    // The one is unused by now, and the other is not.
    expect(shrunk).toHaveBeenCalledTimes(0)
    jest.advanceTimersByTime(30_000)
    expect(shrunk).toHaveBeenCalledTimes(1)
    jest.advanceTimersByTime(600_000)
    expect(shrunk).toHaveBeenCalledTimes(1)
    marks[0] = a!.use()
    jest.advanceTimersByTime(70_000)
    expect(shrunk).toHaveBeenCalledTimes(2)
  } finally {
    shrunk.mockRestore()
  }
})
