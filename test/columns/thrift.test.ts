import { expect, test } from 'bun:test'
import { deserializeTCompactProtocol } from 'hyparquet/src/thrift.js'
import { ByteWriter } from 'hyparquet-writer'
import { serializeTCompactProtocol } from 'hyparquet-writer/src/thrift.js'
import { readStruct } from '../../src/columns/parquet/thrift.ts'
import { seeded } from '../nfs/random.ts'

const readerOf = (bytes: Uint8Array): { view: DataView; offset: number } => ({
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  offset: 0,
})
/** Numbers of 64 bits are numbers where they can be. */
const asRead = (value: unknown): unknown =>
  JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'bigint' ? (Number.isSafeInteger(Number(item)) ? Number(item) : String(item)) : item,
  )

function written(fields: Record<`field_${number}`, unknown>): Uint8Array {
  const out = new ByteWriter()
  serializeTCompactProtocol(out, fields as Parameters<typeof serializeTCompactProtocol>[1])
  return out.getBytes().slice()
}

const LONGS = [
  0n,
  1n,
  -1n,
  2n ** 47n,
  2n ** 48n - 1n,
  -(2n ** 48n),
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n - 1n,
  -(2n ** 63n),
]

test('a struct of Thrift is read, whatever is in it, and never beyond its end', () => {
  for (const long of LONGS) {
    const bytes = written({
      field_1: 5,
      field_2: -(2 ** 31),
      field_3: long,
      field_4: true,
      field_5: false,
      field_7: new Uint8Array([1, 2, 3]),
      field_8: { field_1: long, field_40: 7 },
      field_9: Array.from({ length: 20 }, (_, i) => ({ field_1: i })),
    })
    const reader = readerOf(bytes)
    expect(asRead(readStruct(reader))).toEqual(asRead(deserializeTCompactProtocol(readerOf(bytes))))
    expect(reader.offset).toBe(bytes.length)
    for (let end = 0; end < bytes.length; end++) expect(() => readStruct(readerOf(bytes.subarray(0, end)))).toThrow()
  }
})

test('a damaged struct is read as another reader reads it, or refused', () => {
  const { below } = seeded(9)
  const whole = written({
    field_1: 5,
    field_3: 2n ** 40n,
    field_8: { field_1: 3, field_7: true },
    field_9: [{ field_1: 1 }],
  })
  for (let round = 0; round < 5000; round++) {
    const bytes = whole.slice()
    bytes[below(bytes.length)] = below(256)
    let expected: unknown
    try {
      expected = deserializeTCompactProtocol(readerOf(bytes))
    } catch {
      expect(() => readStruct(readerOf(bytes))).toThrow()
      continue
    }
    let found: unknown
    try {
      found = readStruct(readerOf(bytes))
    } catch {
      continue
    }
    expect(asRead(found)).toEqual(asRead(expected))
  }
})
