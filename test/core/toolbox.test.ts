import { describe, expect, test } from 'bun:test'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { BoundedMap } from '../../src/core/bounded-map.ts'
import { editDistance } from '../../src/core/edit-distance.ts'
import { foundSinceAsked, onceAtATime, onceDone } from '../../src/core/once.ts'
import { isAlive } from '../../src/core/processes.ts'
import { firstIndex, lowerBound, upperBound } from '../../src/core/search.ts'
import { readWhole, writeWhole } from '../../src/core/whole-io.ts'
import { cacheHome, stateHome } from '../../src/core/xdg.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

describe('a search in ascending numbers', () => {
  test('finds where a value stands, or would', () => {
    const numbers = [1, 3, 3, 7]
    expect([0, 1, 2, 3, 7, 8].map(value => lowerBound(numbers, value))).toEqual([0, 0, 1, 1, 3, 4])
    expect([0, 1, 2, 3, 7, 8].map(value => upperBound(numbers, value))).toEqual([0, 1, 1, 3, 4, 4])
    expect([lowerBound([], 5), upperBound(new Uint32Array(0), 5)]).toEqual([0, 0])
  })

  test('asks for each boundary of every length rightly', () => {
    for (let length = 0; length < 40; length++) {
      for (let boundary = 0; boundary <= length; boundary++) {
        expect(firstIndex(length, i => i >= boundary)).toBe(boundary)
      }
    }
  })
})

describe('a bounded map', () => {
  test('drops what was used least recently', () => {
    const map = new BoundedMap<string, number>(2)
    map.set('a', 1)
    map.set('b', 2)
    expect(map.get('a')).toBe(1)
    map.set('c', 3)
    expect([...map.keys()]).toEqual(['a', 'c'])
    expect(map.peek('a')).toBe(1)
    map.set('d', 4)
    expect([...map.values()]).toEqual([3, 4])
  })

  test('keeps its size when a key is set anew', () => {
    const map = new BoundedMap<string, number>(2)
    for (const value of [1, 2, 3]) map.set('a', value)
    map.set('b', 1)
    expect([map.size, map.get('a')]).toEqual([2, 3])
    expect(map.delete('a')).toBe(true)
    map.clear()
    expect(map.size).toBe(0)
  })
})

describe('work that is done once', () => {
  test('is shared, and done anew only after it failed', async () => {
    let calls = 0
    const get = onceDone(async () => {
      calls++
      if (calls === 1) throw new Error('at first')
      return calls
    })
    const [first, second] = await Promise.allSettled([get(), get()])
    expect([first.status, second.status]).toEqual(['rejected', 'rejected'])
    expect([await get(), await get(), calls]).toEqual([2, 2, 2])
  })

  test('at a time is done anew for who asks later', async () => {
    let calls = 0
    const get = onceAtATime(async () => ++calls)
    expect(await Promise.all([get(), get()])).toEqual([1, 1])
    expect(await get()).toBe(2)
  })

  test('for who asks is begun after the question, whatever is under way', async () => {
    const begun: PromiseWithResolvers<void>[] = []
    const look = foundSinceAsked(async () => {
      const found = begun.push(Promise.withResolvers<void>())
      await begun[found - 1]!.promise
      return found
    })
    const first = [look(), look()]
    while (begun.length === 0) await Promise.resolve()
    const two = [look(), look()]
    begun[0]!.reject(new Error('at first'))
    const failed = await Promise.allSettled(first)
    expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    begun[1]!.resolve()
    expect(await Promise.all(two)).toEqual([2, 2])
    const later = look()
    while (begun.length === 2) await Promise.resolve()
    begun[2]!.resolve()
    expect(await later).toBe(3)
  })
})

test('the distance of words counts a swap of neighbours as one', () => {
  expect(editDistance('mount', 'mount')).toBe(0)
  expect(editDistance('mount', 'moutn')).toBe(1)
  expect(editDistance('', 'abc')).toBe(3)
  expect(editDistance('kitten', 'sitting')).toBe(3)
})

test('a process is alive until it has ended', async () => {
  const child = Bun.spawn(['cat'], { stdin: 'pipe' })
  expect(isAlive(child.pid)).toBe(true)
  child.kill()
  await child.exited
  expect(isAlive(child.pid)).toBe(false)
})

test('files are written and read whole', async () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'file')
  const fd = openSync(path, 'w+')
  try {
    writeWhole(fd, Buffer.from('hello '))
    writeWhole(fd, Buffer.from('world'))
    writeWhole(fd, Buffer.from('J'), 0)
    const bytes = new Uint8Array(20)
    expect(readWhole(fd, bytes, 1)).toBe(10)
    expect(Buffer.from(bytes.subarray(0, 10)).toString()).toBe('ello world')
  } finally {
    closeSync(fd)
  }
})

test('an empty XDG variable counts as none', () => {
  const before = { ...process.env }
  try {
    process.env['XDG_CACHE_HOME'] = ''
    process.env['XDG_STATE_HOME'] = '/x/state'
    expect(cacheHome()).toEndWith('/.cache/posixlake')
    expect(stateHome()).toBe('/x/state/posixlake')
  } finally {
    for (const name of ['XDG_CACHE_HOME', 'XDG_STATE_HOME']) {
      if (before[name] === undefined) delete process.env[name]
      else process.env[name] = before[name]
    }
  }
})
