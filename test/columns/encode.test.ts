import { describe, expect, test } from 'bun:test'
import { parquetMetadata } from 'hyparquet'
import { deltaBinaryUnpack } from 'hyparquet/src/delta.js'
import { snappyUncompress } from 'hyparquet/src/snappy.js'
import { readDelta } from '../../src/columns/parquet/delta.ts'
import { bitWidth, hybridBytesMax, packBits, writeHybrid } from '../../src/columns/parquet/encode/bit-packing.ts'
import { deltaBytesMax, writeDelta } from '../../src/columns/parquet/encode/delta.ts'
import { indexBytes, indexWords } from '../../src/columns/parquet/encode/dictionary.ts'
import { snappyBytesMax, snappyCompress } from '../../src/columns/parquet/encode/snappy.ts'
import { readHybrid } from '../../src/columns/parquet/hybrid.ts'
import { snappyDecompress } from '../../src/columns/parquet/snappy.ts'
import { ParquetFileWriter } from '../../src/columns/parquet/write.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { SHAPED, SHAPES, shapedRows } from './shapes.ts'
import { encode, Random, readRows, spelled, written } from './values.ts'

describe('numbers that are packed', () => {
  test('are read back, at every width', () => {
    const random = new Random(1)
    for (let width = 1; width <= 32; width++) {
      for (const count of [1, 7, 8, 9, 100]) {
        const values = Uint32Array.from({ length: count }, () => random.below(2 ** width))
        const out = new Uint8Array(hybridBytesMax(count, width))
        const end = writeHybrid(values, width, out, 0)
        const back = new Uint32Array(count)
        readHybrid(out, 0, end, width, back)
        expect(back).toEqual(values)
      }
    }
  })

  test('are a run of a few bytes if all are the same', () => {
    const out = new Uint8Array(hybridBytesMax(100_000, 20))
    expect(writeHybrid(new Uint32Array(100_000).fill(700_000), 20, out, 0)).toBe(6)
    const back = new Uint32Array(100_000)
    readHybrid(out, 0, 6, 20, back)
    expect(back.every(value => value === 700_000)).toBe(true)
  })

  test('have the width that the largest one needs', () => {
    expect([0, 1, 2, 255, 256, 2 ** 32 - 1, 2 ** 32, 2 ** 51].map(bitWidth)).toEqual([0, 1, 2, 8, 9, 32, 33, 52])
    const out = new Uint8Array(14)
    expect(packBits([2 ** 52 - 1, 1], 0, 2, 52, out, 0)).toBe(13)
    expect(out.toHex()).toBe('ffffffffffff1f00000000000000')
  })
})

describe('differences', () => {
  const numbers = (random: Random, count: number, spread: number): number[] =>
    Array.from({ length: count }, () => random.below(spread) - Math.floor(spread / 2))

  test('are read back by us and by hyparquet', () => {
    const random = new Random(2)
    for (const count of [1, 2, 32, 33, 128, 129, 130, 1000])
      for (const spread of [1, 2, 1000, 2 ** 31, 2 ** 40, 2 ** 51]) {
        const values = numbers(random, count, spread)
        const out = new Uint8Array(deltaBytesMax(count))
        const end = writeDelta(values, out, 0)!
        const longs = new BigInt64Array(count)
        expect(readDelta(out.subarray(0, end), 0, longs)).toBe(end)
        expect([...longs].map(Number)).toEqual(values)
        const theirs = new BigInt64Array(count)
        deltaBinaryUnpack({ view: new DataView(out.buffer, 0, end), offset: 0 }, count, theirs)
        expect(theirs).toEqual(longs)
        if (spread > 2 ** 31) continue
        const ints = new Int32Array(count)
        expect(readDelta(out.subarray(0, end), 0, ints)).toBe(end)
        expect([...ints]).toEqual(values)
      }
  })

  test('of large numbers are written while they are exact', () => {
    for (const values of [
      [2 ** 52, 2 ** 52 - 3, 2 ** 52],
      [-(2 ** 52), 1 - 2 ** 52],
      [0, 2 ** 51, 0, -(2 ** 51)],
    ]) {
      const out = new Uint8Array(deltaBytesMax(values.length))
      const end = writeDelta(values, out, 0)!
      const theirs = new BigInt64Array(values.length)
      deltaBinaryUnpack({ view: new DataView(out.buffer, 0, end), offset: 0 }, values.length, theirs)
      expect([...theirs].map(Number)).toEqual(values)
      const ours = new BigInt64Array(values.length)
      // What is beyond our quick reader is read by the other one.
      if (readDelta(out.subarray(0, end), 0, ours) !== undefined) expect(ours).toEqual(theirs)
    }
    expect(writeDelta([0, 2 ** 52], new Uint8Array(100), 0)).toBeUndefined()
    expect(writeDelta([2 ** 52, -1], new Uint8Array(100), 0)).toBeUndefined()
  })

  test('that are cut off, too wide or of another number of values are not read', () => {
    const out = new Uint8Array(deltaBytesMax(200))
    const end = writeDelta(
      Array.from({ length: 200 }, (_, i) => i * i),
      out,
      0,
    )!
    for (let cut = 0; cut < end; cut++) expect(readDelta(out.subarray(0, cut), 0, new Int32Array(200))).toBeUndefined()
    expect(readDelta(out, 0, new Int32Array(199))).toBeUndefined()
    // Wrapping around, as writers of 64 bits may.
    const wide = new Uint8Array([0x80, 0x01, 4, 2, ...new Array<number>(9).fill(0xff), 1, 0, 0, 0, 0, 0])
    expect(readDelta(wide, 0, new BigInt64Array(2))).toBeUndefined()
  })
})

describe('bytes that are compressed', () => {
  const cases = (): Uint8Array[] => {
    const random = new Random(3)
    const all = [0, 1, 3, 4, 14, 15, 16, 60, 61, 64, 67, 68, 256, 257, 65_535, 65_536, 65_537, 200_000].flatMap(
      size => [
        new Uint8Array(size),
        Uint8Array.from({ length: size }, () => random.below(256)),
        Uint8Array.from({ length: size }, () => random.below(3)),
        Uint8Array.from({ length: size }, (_, i) => (i % 5000) >> 3),
      ],
    )
    return [...all, encode('name-1,name-2,name-3,'.repeat(10_000))]
  }

  test('are decompressed by us and by hyparquet', () => {
    for (const bytes of cases()) {
      const out = new Uint8Array(snappyBytesMax(bytes.length))
      const packed = out.slice(0, snappyCompress(bytes, out))
      expect(snappyDecompress(packed, bytes.length)).toEqual(bytes)
      const theirs = new Uint8Array(bytes.length)
      if (bytes.length > 0) snappyUncompress(packed, theirs)
      expect(theirs as Uint8Array).toEqual(bytes)
    }
  })

  test('that repeat become few', () => {
    const bytes = new Uint8Array(1 << 20)
    const out = new Uint8Array(snappyBytesMax(bytes.length))
    expect(snappyCompress(bytes, out)).toBeLessThan(bytes.length / 20)
  })
})

describe('a dictionary', () => {
  test('has each value once, in the order in which they come, and -0 apart from 0', () => {
    const doubles = new Float64Array([0, -0, 0, Number.NaN, Number.NaN, -0, 1, 1])
    const found = indexWords(new Int32Array(doubles.buffer), 2)
    expect([...found!.firsts]).toEqual([0, 1, 3, 6])
    expect([...found!.indexes]).toEqual([0, 1, 0, 2, 2, 1, 3, 3])
  })

  test('of bytes tells a value from its beginning', () => {
    const bytes = encode('abaabab')
    const starts = Uint32Array.from([0, 0, 2, 3, 3, 7, 0, 3])
    const ends = Uint32Array.from([1, 2, 3, 5, 4, 7, 0, 5])
    const found = indexBytes({ bytes, starts, ends })
    expect([...found!.indexes]).toEqual([0, 1, 0, 1, 0, 2, 2, 1])
  })

  test('is not made where hardly any value repeats', () => {
    expect(
      indexWords(
        Int32Array.from({ length: 5000 }, (_, i) => i),
        1,
      ),
    ).toBeUndefined()
  })
})

describe('a file', () => {
  for (const shape of SHAPES)
    for (const nulls of [0, 5, 1])
      test(`of ${shape} values, ${nulls === 0 ? 'none' : `every ${nulls}th`} NULL, is read back`, async () => {
        const { cells, pieces } = shapedRows(shape, nulls)
        const { bytes } = await written(SHAPED, pieces, 3000)
        const rows = await readRows(bytes, SHAPED)
        expect(rows.map(spelled)).toEqual(cells.map(spelled))
      })
})

test('a footer without key-value metadata has none, not an empty list that has no type', async () => {
  const pieces: Uint8Array[] = []
  const schema = parseDdl('id:Int32')
  const writer = new ParquetFileWriter({ write: bytes => void pieces.push(bytes) }, schema)
  await writer.write(batchOf([{ kind: 'integer' }], [[1], [2]]))
  await writer.finish()
  const { buffer } = new Uint8Array(Buffer.concat(pieces))
  expect(parquetMetadata(buffer).key_value_metadata).toBeUndefined()
})
