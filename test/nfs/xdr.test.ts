import { describe, expect, test } from 'bun:test'
import {
  type Codec,
  decode,
  encode,
  joined,
  XdrError,
  type XdrErrorCode,
  XdrReader,
  XdrWriter,
} from '../../src/nfs/xdr/codec.ts'
import {
  array,
  bool,
  enumeration,
  list,
  opaque,
  optional,
  string,
  struct,
  uint32,
  uint64,
  union,
} from '../../src/nfs/xdr/primitives.ts'
import { seeded } from './random.ts'

const colour = enumeration({ RED: 1, BLUE: 7 })
const sample = struct({
  id: uint32,
  big: uint64,
  ok: bool,
  blob: opaque(100),
  text: string(20),
  maybe: optional(uint32),
  colours: array(colour, 4),
  names: list(string(5), 3),
  shape: union(enumeration({ DOT: 0, LINE: 1 }), { DOT: uint32, LINE: struct({ from: uint32, to: uint32 }) }),
})

const value = {
  id: 0xffff_ffff,
  big: 2n ** 64n - 1n,
  ok: true,
  blob: Uint8Array.of(1, 2, 3, 4, 5),
  text: 'grün',
  maybe: undefined,
  colours: ['BLUE', 'RED'] as const,
  names: ['a', 'bc'],
  shape: { kind: 'LINE', value: { from: 1, to: 2 } } as const,
}

describe('XDR', () => {
  test('a value is read as it was written', () => {
    expect(decode(sample, encode(sample, value))).toEqual(value)
  })

  test('every truncation of a message is refused', () => {
    const bytes = encode(sample, value)
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decode(sample, bytes.subarray(0, length))).toThrow(/ends \d+ bytes too early/)
    }
  })

  test('bytes left over are refused', () => {
    expect(() => decode(uint32, new Uint8Array(5))).toThrow('1 bytes more')
  })

  test.each([
    ['an opaque longer than its limit', opaque(4), [5, 0, 0], 'too_long'],
    ['an opaque that claims four gigabytes', opaque(2 ** 32), [0xffff_ffff, 0], 'truncated'],
    ['an array longer than its limit', array(uint32, 1), [2, 0, 0], 'too_long'],
    ['a list longer than its limit', list(uint32, 1), [1, 0, 1, 0, 0], 'too_long'],
    ['a boolean of 2', bool, [2], 'bad_value'],
    ['a number without a name', colour, [2], 'bad_value'],
    ['text that is not UTF-8', string(8), [1, 0xff00_0000], 'bad_value'],
  ] as [string, Codec<unknown>, number[], XdrErrorCode][])('%s is refused', (_, codec, words, code) => {
    const bytes = new Uint8Array(words.length * 4)
    words.forEach((word, i) => {
      new DataView(bytes.buffer).setUint32(i * 4, word)
    })
    let failure: unknown
    try {
      decode(codec, bytes)
    } catch (error) {
      failure = error
    }
    expect(failure).toBeInstanceOf(XdrError)
    expect(failure).toMatchObject({ code })
  })

  test('the encoder keeps to the limits, too', () => {
    expect(() => encode(opaque(2), new Uint8Array(3))).toThrow('more than the limit')
    expect(() => encode(array(uint32, 1), [1, 2])).toThrow('more than the limit')
  })

  test('large opaque data are referred to, not copied, and small ones before and after stay in place', () => {
    const payload = new Uint8Array(100_001).fill(9)
    const writer = new XdrWriter()
    writer.uint32(1)
    opaque(200_000).encode(writer, payload)
    writer.uint32(2)
    const length = writer.length
    const pieces = writer.finish()
    expect(pieces.some(piece => piece.buffer === payload.buffer)).toBe(true)
    const reader = new XdrReader(joined(pieces))
    expect(reader.remaining).toBe(length)
    expect(reader.uint32()).toBe(1)
    expect(reader.opaque(reader.uint32())).toEqual(payload)
    expect(reader.uint32()).toBe(2)
    reader.end()
  })

  test('whatever is written in pieces of any size is read again', () => {
    const random = seeded(1)
    for (let round = 0; round < 200; round++) {
      const blobs = Array.from({ length: random.below(6) }, () => random.bytes(random.below(30_000)))
      const codec = array(opaque(30_000), 6)
      expect(decode(codec, encode(codec, blobs))).toEqual(blobs)
    }
  })

  test('random bytes are decoded or refused, never anything else', () => {
    const random = seeded(2)
    for (let round = 0; round < 2000; round++) {
      try {
        decode(sample, random.bytes(random.below(120)))
      } catch (error) {
        expect((error as Error).name).toBe('XdrError')
      }
    }
  })
})
