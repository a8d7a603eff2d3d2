import { describe, expect, test } from 'bun:test'
import { decodeOrderHint, encodeOrderHint, type OrderHint } from '../../src/table/order-hint.ts'

describe('an order hint', () => {
  test('of any runs is the same after encoding', () => {
    let seed = 3
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      return Math.floor((seed / 2 ** 32) * n)
    }
    for (let round = 0; round < 200; round++) {
      const refs = Array.from({ length: random(4) }, (_, i) => `${i}/"ü\\n"`)
      const runs = Array.from({ length: random(20) }, () => ({
        count: random(2 ** random(32)),
        ref: random(refs.length + 1) - 1,
        row: random(2 ** random(33)),
      }))
      expect(decodeOrderHint(encodeOrderHint({ refs, runs }))).toEqual({ refs, runs })
    }
  })

  test('that is garbage is none, or one that is sound', () => {
    const hint = { refs: ['a', 'b'], runs: [300, 7].map(count => ({ count, ref: 1, row: count * 1000 })) }
    const text = encodeOrderHint(hint)
    const isSound = ({ refs, runs }: OrderHint): boolean =>
      runs.every(
        ({ count, ref, row }) =>
          Number.isSafeInteger(count) &&
          count >= 0 &&
          ref >= -1 &&
          ref < refs.length &&
          Number.isSafeInteger(row) &&
          row >= 0,
      )
    for (let at = 0; at < text.length; at++) {
      for (const changed of [
        text.slice(0, at),
        `${text.slice(0, at)}A${text.slice(at + 1)}`,
        `${text.slice(0, at)}//${text.slice(at)}`,
      ]) {
        const decoded = decodeOrderHint(changed)
        expect(decoded === undefined || isSound(decoded)).toBe(true)
      }
    }
    for (const garbage of [
      'null',
      '7',
      '"x"',
      '{"v":1}',
      '{"v":1,"refs":"a","runs":""}',
      '{"v":1,"refs":[1],"runs":7}',
    ])
      expect(decodeOrderHint(garbage)).toBeUndefined()
    const huge = Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0]).toBase64()
    expect(decodeOrderHint(JSON.stringify({ v: 1, refs: [], runs: huge }))).toBeUndefined()
  })

  test('is the same after encoding', () => {
    const hint = {
      refs: ['a', 'b/ü'],
      runs: [
        { count: 3, ref: -1, row: 0 },
        { count: 1, ref: 1, row: 4_000_000_000 },
        { count: 200, ref: 0, row: 5 },
      ],
    }
    expect(decodeOrderHint(encodeOrderHint(hint))).toEqual(hint)
  })

  test('that is damaged is none', () => {
    for (const text of [
      '',
      '{}',
      '[]',
      '{"v":1,"refs":[],"runs":"AQEB"}',
      '{"v":1,"refs":["a"],"runs":"gICAgICAgICAgA=="}',
      '{"v":2,"refs":[],"runs":""}',
    ]) {
      expect(decodeOrderHint(text)).toBeUndefined()
    }
  })
})
