import { describe, expect, test } from 'bun:test'
import { hashOf, Ordered, type Ordering, TextMap } from '../../src/core/ordered.ts'

interface Item {
  readonly key: number
  readonly weight: number
}

/** Counts how often items are compared, which is what work there is. */
let compared = 0
const ordering: Ordering<Item> = {
  compare: (a, b) => {
    compared++
    return a.key - b.key
  },
  hash: ({ key }) => hashOf(String(key)),
  measure: ({ weight }) => weight,
}
const at = (key: number) => (item: Item) => key - item.key

function generator(seed: number): (n: number) => number {
  let state = seed
  return n => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
}

/** What an ordered set must say, worked out from a plain array. */
function expectSame(set: Ordered<Item>, items: readonly Item[]): void {
  expect(set.toArray()).toEqual([...items])
  expect([...set]).toEqual([...items])
  expect(set.size).toBe(items.length)
  expect(set.sum).toBe(items.reduce((sum, { weight }) => sum + weight, 0))
  expect(set.at(-1)).toBe(items.at(-1)!)
  expect(set.at(items.length)).toBeUndefined()
  expect(set.at(-items.length - 1)).toBeUndefined()
  let start = 0
  for (const [i, item] of items.entries()) {
    expect(set.at(i)).toBe(item)
    expect(set.find(at(item.key))).toBe(item)
    if (item.weight > 0) {
      expect(set.atSum(start)).toEqual({ item, start })
      expect(set.atSum(start + item.weight - 1)).toEqual({ item, start })
    }
    start += item.weight
  }
  expect(set.atSum(start)).toBeUndefined()
  expect(set.atSum(-1)).toBeUndefined()
}

describe('an ordered set', () => {
  test('has what was put in, in order, whatever was put in and taken out', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = generator(seed)
      let items: Item[] = []
      let set = Ordered.of(ordering)
      for (let step = 0; step < 120; step++) {
        const key = random(40)
        items = items.filter(item => item.key !== key)
        if (random(3) === 0) set = set.without({ key, weight: 0 })
        else {
          const item = { key, weight: random(3) }
          items = [...items, item].sort((a, b) => a.key - b.key)
          set = set.with(item)
        }
      }
      expectSame(set, items)
      expectSame(Ordered.of(ordering, items.toReversed()), items)
      for (const from of [-1, 0, 13, 39, 40])
        expect([...set.from(at(from))]).toEqual(items.filter(({ key }) => key >= from))
    }
  })

  test('stays as it was when it is changed', () => {
    const before = Ordered.of(
      ordering,
      Array.from({ length: 100 }, (_, key) => ({ key, weight: 1 })),
    )
    const items = before.toArray()
    before.with({ key: 7, weight: 5 }).without({ key: 8, weight: 0 })
    expectSame(before, items)
    expect(before.without({ key: 1000, weight: 0 })).toBe(before)
  })

  test('keeps the last of several items for one place', () => {
    const last = { key: 1, weight: 9 }
    expectSame(Ordered.of(ordering, [{ key: 1, weight: 1 }, { key: 1, weight: 2 }, last]), [last])
  })

  test('tells what differs between two of them', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = generator(seed)
      let before = Ordered.of(
        ordering,
        Array.from({ length: random(200) }, () => ({ key: random(500), weight: 1 })),
      )
      for (let step = 0; step < 20; step++) {
        let after = before
        const expected = new Map<number, { before: Item | undefined; after: Item | undefined }>()
        for (let change = random(6); change > 0; change--) {
          const key = random(500)
          const item = random(3) === 0 ? undefined : { key, weight: 2 }
          const old = before.find(at(key))
          expected.delete(key)
          if (old !== item) expected.set(key, { before: old, after: item })
          after = item === undefined ? after.without({ key, weight: 0 }) : after.with(item)
        }
        const inOrder = [...expected].sort(([a], [b]) => a - b).map(([, difference]) => difference)
        expect(after.changesSince(before)).toEqual(inOrder)
        expect(after.changesSince(after)).toEqual([])
        before = after
      }
    }
  })

  test('of a way to its items takes it when it is asked for them, once', () => {
    let taken = 0
    const set = Ordered.of(ordering, () => {
      taken++
      return [3, 1, 2, 1].map((key, i) => ({ key, weight: i }))
    })
    expect(taken).toBe(0)
    expect([set.size, set.at(0), set.at(-1), set.at(3)]).toEqual([
      3,
      { key: 1, weight: 3 },
      { key: 3, weight: 0 },
      undefined,
    ])
    expect([...set].map(({ key }) => key)).toEqual([1, 2, 3])
    expect(set.without({ key: 2, weight: 0 }).toArray()).toEqual([
      { key: 1, weight: 3 },
      { key: 3, weight: 0 },
    ])
    expect(set.toArray()).toEqual([...set.from()])
    expect(taken).toBe(1)
  })

  test('takes steps in the logarithm of its size for a change, and for finding one', () => {
    const set = Ordered.of(
      ordering,
      Array.from({ length: 100_000 }, (_, key) => ({ key, weight: 1 })),
    ).with({ key: 1, weight: 1 })
    // The first change has put the items in order.
    compared = 0
    const after = set.with({ key: 50_000, weight: 3 }).with({ key: 100_001, weight: 1 }).without({ key: 7, weight: 0 })
    expect(after.changesSince(set).length).toBe(3)
    expect(compared).toBeLessThan(1000)
  })
})

describe('a map by texts', () => {
  test('is a map', () => {
    const map = TextMap.of([
      ['b', 1],
      ['a', 2],
      ['ä', 3],
    ])
    const changed = map.with('c', 4).with('a', 5).without('b').without('z')
    expect([...map]).toEqual([
      ['a', 2],
      ['b', 1],
      ['ä', 3],
    ])
    expect(new Map(changed)).toEqual(
      new Map([
        ['a', 5],
        ['c', 4],
        ['ä', 3],
      ]),
    )
    expect([map.get('b'), map.get('c'), map.has('ä'), map.has('c'), map.size]).toEqual([1, undefined, true, false, 3])
    expect([...changed.keys()]).toEqual(['a', 'c', 'ä'])
    expect([...changed.values()]).toEqual([5, 4, 3])
  })
})
