import { expect, test } from 'bun:test'
import { behind, compareByBytes, sortByBytes } from '../../src/core/text-order.ts'

const PLAIN = ['', 'a', 'ab', 'b', 'é', 'z', 'aé', '\ud7ff']
const HIGH = ['\ue000', '\uffff', '\u{10000}', '\u{1f600}', 'a\u{1f600}', 'a\uffff']
const HALVES = ['\ud800', '\udfff!']

test('texts are ordered by their bytes in UTF-8, whatever is in them', () => {
  const texts = [...PLAIN, ...HIGH, ...HALVES]
  for (const a of texts)
    for (const b of texts) {
      const expected = Buffer.compare(Buffer.from(a), Buffer.from(b))
      // Halves of a character are all one in UTF-8, and in no path.
      if (expected !== 0 || a === b) expect(Math.sign(compareByBytes(a, b))).toBe(expected)
    }
})

test('lists of texts are put into that order, and cut by it, too', () => {
  for (const texts of [PLAIN, [...PLAIN, ...HIGH]]) {
    const expected = texts.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    expect(sortByBytes([...texts], text => text)).toEqual(expected)
    expect(sortByBytes(texts.toReversed(), text => text)).toEqual(expected)
    for (const [i, start] of expected.entries()) expect(expected.filter(behind(start))).toEqual(expected.slice(i + 1))
  }
})
