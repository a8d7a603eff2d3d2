import { expect, test } from 'bun:test'
import { compareByBytes } from '../../src/core/text-order.ts'

test('texts are ordered by their bytes in UTF-8, whatever is in them', () => {
  const texts = [
    '',
    'a',
    'ab',
    'b',
    'é',
    'z',
    '\ud7ff',
    '\ue000',
    '\uffff',
    '\u{10000}',
    '\u{1f600}',
    'a\u{1f600}',
    'a\uffff',
    'aé',
    '\ud800',
    '\udfff!',
  ]
  for (const a of texts)
    for (const b of texts) {
      const expected = Buffer.compare(Buffer.from(a), Buffer.from(b))
      // Halves of a character are all one in UTF-8, and in no path.
      if (expected !== 0 || a === b) expect(Math.sign(compareByBytes(a, b))).toBe(expected)
    }
})
