import { expect, test } from 'bun:test'
import { BoundedMap } from '../../src/core/bounded-map.ts'

test('a bounded map forgets what was set longest ago, and only that', () => {
  const map = new BoundedMap<number, string>(3)
  for (let i = 0; i < 1000; i++) map.set(i, `value ${i}`)
  expect(map.size).toBe(3)
  expect([996, 997, 998, 999].map(key => map.get(key))).toEqual([undefined, 'value 997', 'value 998', 'value 999'])
  map.set(997, 'new')
  map.set(1000, 'x')
  expect([997, 998, 999, 1000].map(key => map.has(key))).toEqual([true, false, true, true])
  map.delete(997)
  expect([map.size, map.has(997)]).toEqual([2, false])
})
