import { describe, expect, test } from 'bun:test'
import {
  type IncompleteTimes,
  isBadForGood,
  mayGoOn,
  mayStillParse,
  type Outside,
  outsideSigns,
  PAGE_BYTES,
  type Parsed,
} from '../../../src/fs/saves/completeness.ts'

const TIMES: IncompleteTimes = { incompleteMs: 1, pageMs: 2, truncatedMs: 3 }
const WHOLE: Outside = { size: 100, hasHole: false, endsInNewline: true, truncated: true, committed: true }

describe('whether an image is a whole save', () => {
  const OUTSIDE: readonly [string, Partial<Outside>, number | undefined][] = [
    ['rows that end in a newline', {}, undefined],
    ['nothing at all', { size: 0, endsInNewline: false }, TIMES.truncatedMs],
    ['no final newline', { endsInNewline: false }, TIMES.incompleteMs],
    ['whole pages after a COMMIT', { size: 3 * PAGE_BYTES }, TIMES.pageMs],
    ['whole pages after a stable WRITE', { size: 3 * PAGE_BYTES, committed: false }, undefined],
    ['a hole after a COMMIT', { hasHole: true, truncated: false }, TIMES.pageMs],
    ['a hole after a truncation', { hasHole: true, committed: false }, TIMES.pageMs],
    [
      'a hole that a stable WRITE leaves in what was there',
      { hasHole: true, committed: false, truncated: false },
      undefined,
    ],
  ]
  for (const [what, facts, ms] of OUTSIDE) {
    test(`${what}: ${ms === undefined ? 'as far as its outside tells' : 'may not be'}`, () => {
      expect(outsideSigns({ ...WHOLE, ...facts }, TIMES)?.ms).toBe(ms)
    })
  }

  test('rows that do not parse may be a piece of some that do if the last is not closed, or old bytes are behind them', () => {
    expect(mayStillParse({ code: 'unterminated', isBetweenOldBytes: false }, TIMES)?.ms).toBe(TIMES.incompleteMs)
    expect(mayStillParse({ code: 'bad_value', isBetweenOldBytes: true }, TIMES)?.ms).toBe(TIMES.incompleteMs)
    expect(mayStillParse({ code: 'bad_value', isBetweenOldBytes: false }, TIMES)).toBeUndefined()
  })

  const APPEND: Parsed = { removedRows: 0, addedRows: 5, reachesTheEnd: false, isBetweenOldBytes: false }
  const EFFECTS: readonly [string, Partial<Parsed>, boolean][] = [
    ['rows that are added', {}, true],
    ['rows that are added over old bytes', { isBetweenOldBytes: true }, true],
    ['fewer rows', { removedRows: 9 }, false],
    ['fewer rows, with the last one', { removedRows: 9, reachesTheEnd: true }, true],
    ['as many rows', { removedRows: 5 }, true],
    ['as many rows with old bytes behind them', { removedRows: 5, isBetweenOldBytes: true }, false],
  ]
  for (const [what, facts, isWhole] of EFFECTS) {
    test(`${what}: ${isWhole ? 'whole' : 'may not be'}`, () => {
      expect(mayGoOn({ ...APPEND, ...facts }, TIMES)?.ms).toBe(isWhole ? undefined : TIMES.incompleteMs)
    })
  }

  test('a bad row is bad for good if the lines in front of it are whole and were written from front to back', () => {
    const image = { hasHole: false, endsInNewline: true, truncated: true, isAppend: false }
    expect(isBadForGood('bad_value', image)).toBe(true)
    expect(isBadForGood('bad_value', { ...image, truncated: false, isAppend: true })).toBe(true)
    expect(isBadForGood('bad_value', { ...image, truncated: false })).toBe(false)
    expect(isBadForGood('bad_value', { ...image, hasHole: true })).toBe(false)
    expect(isBadForGood('bad_value', { ...image, endsInNewline: false })).toBe(false)
    for (const code of ['unterminated', 'missing_key'] as const) expect(isBadForGood(code, image)).toBe(false)
  })
})
