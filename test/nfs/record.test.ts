import { describe, expect, test } from 'bun:test'
import { RecordReader, recordMark } from '../../src/nfs/rpc/record.ts'
import { seeded } from './random.ts'

function fragment(body: Uint8Array, last: boolean): Uint8Array {
  const bytes = new Uint8Array(4 + body.length)
  const mark = recordMark(body.length)
  new DataView(bytes.buffer).setUint32(0, last ? mark : mark & 0x7fff_ffff)
  bytes.set(body, 4)
  return bytes
}

describe('record marking', () => {
  test('records come out whole, however they were cut into fragments and chunks', () => {
    const random = seeded(3)
    for (let round = 0; round < 100; round++) {
      const records = Array.from({ length: 1 + random.below(5) }, () => random.bytes(1 + random.below(500)))
      const stream: Uint8Array[] = []
      for (const record of records) {
        let at = 0
        while (at < record.length) {
          const length = Math.min(1 + random.below(400), record.length - at)
          stream.push(fragment(record.subarray(at, at + length), at + length === record.length))
          at += length
        }
      }
      const bytes = new Uint8Array(Buffer.concat(stream))
      const reader = new RecordReader(1000)
      const received: Uint8Array[] = []
      for (let at = 0; at < bytes.length; ) {
        const length = 1 + random.below(300)
        reader.push(bytes.slice(at, at + length))
        for (let record = reader.next(); record !== undefined; record = reader.next()) received.push(record)
        at += length
      }
      expect(received).toEqual(records)
      expect(reader.partial).toBe(false)
    }
  })

  test('a record within one chunk is a view on it', () => {
    const chunk = fragment(new Uint8Array(100), true)
    const reader = new RecordReader(1000)
    reader.push(chunk)
    expect(reader.next()?.buffer).toBe(chunk.buffer)
  })

  test('a record, or all its fragments together, must not be longer than the limit', () => {
    const reader = new RecordReader(10)
    reader.push(fragment(new Uint8Array(11), true))
    expect(() => reader.next()).toThrow('longer than 10 bytes')
    const other = new RecordReader(10)
    other.push(fragment(new Uint8Array(6), false))
    other.push(fragment(new Uint8Array(6), true))
    expect(() => other.next()).toThrow('longer than 10 bytes')
  })

  test('the longest possible announcement is refused before anything is allocated for it', () => {
    const reader = new RecordReader(1 << 20)
    reader.push(Uint8Array.of(0xff, 0xff, 0xff, 0xff))
    expect(() => reader.next()).toThrow('longer than')
  })

  test('empty fragments and endless fragments are refused', () => {
    const empty = new RecordReader(10)
    empty.push(fragment(new Uint8Array(0), false))
    expect(() => empty.next()).toThrow('empty')
    const endless = new RecordReader(1000)
    for (let i = 0; i < 300; i++) endless.push(fragment(new Uint8Array(1), false))
    expect(() => endless.next()).toThrow('more than 256 fragments')
  })

  test('an empty record is a record', () => {
    const reader = new RecordReader(10)
    reader.push(fragment(new Uint8Array(0), true))
    expect(reader.next()).toEqual(new Uint8Array(0))
  })
})
