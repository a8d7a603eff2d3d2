import { describe, expect, test } from 'bun:test'
import { localStore } from '../../src/storage/local.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import type { DeletionVectorDescriptor } from '../../src/table/log/actions/index.ts'
import { vectorId } from '../../src/table/log/actions/index.ts'
import { withOutsideFiles } from '../../src/table/outside-files.ts'
import { decodeBitmap as decode, encodeBitmap } from '../../src/table/vectors/bitmap.ts'
import { readVector as read, writeVectors } from '../../src/table/vectors/store.ts'
import { decodeZ85, encodeZ85 } from '../../src/table/vectors/z85.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { failure } from './fixture.ts'

/** PROTOCOL.md, "JSON Example 3": the older, big-endian form. */
const PROTOCOL_EXAMPLE: DeletionVectorDescriptor = {
  storageType: 'i',
  pathOrInlineDv: 'wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L',
  sizeInBytes: 40,
  cardinality: 6,
}
/** The same rows as Spark and the Rust kernel write them. */
const PORTABLE_EXAMPLE: DeletionVectorDescriptor = {
  ...PROTOCOL_EXAMPLE,
  pathOrInlineDv: '^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L',
  sizeInBytes: 44,
}
const EXAMPLE_ROWS = [3, 4, 7, 11, 18, 29]

const decodeBitmap = (bytes: Uint8Array, cardinality: number, fileRows = 2 ** 32): Uint32Array =>
  decode(bytes, { cardinality, fileRows })
const readVector = (
  store: ObjectStore,
  descriptor: DeletionVectorDescriptor,
  fileRows = 2 ** 32,
): Promise<Uint32Array> => read(store, descriptor, fileRows, 'a.parquet')

function generator(seed: number): (n: number) => number {
  let state = seed
  return n => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
}

const sorted = (rows: Iterable<number>): Uint32Array => Uint32Array.from([...new Set(rows)].sort((a, b) => a - b))
const range = (from: number, to: number, step = 1): Uint32Array =>
  Uint32Array.from({ length: Math.ceil((to - from) / step) }, (_, i) => from + i * step)

describe('Z85', () => {
  test('is what ZeroMQ RFC 32 shows', () => {
    const bytes = Uint8Array.of(0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b)
    expect(encodeZ85(bytes)).toBe('HelloWorld')
    expect(decodeZ85('HelloWorld')).toEqual(bytes)
  })

  test('gives back any bytes, padded with zeros to four', () => {
    const random = generator(1)
    for (let length = 0; length < 40; length++) {
      const bytes = Uint8Array.from({ length }, () => random(256))
      const decoded = decodeZ85(encodeZ85(bytes))
      expect(decoded.length).toBe(Math.ceil(length / 4) * 4)
      expect(decoded.subarray(0, length)).toEqual(bytes)
      expect(decoded.subarray(length).every(byte => byte === 0)).toBe(true)
    }
    const ones = new Uint8Array(4).fill(0xff)
    expect(decodeZ85(encodeZ85(ones))).toEqual(ones)
  })

  test('refuses what is none: a wrong length, a foreign character, a group above 32 bits', () => {
    expect(() => decodeZ85('abcd')).toThrow('multiple of five')
    expect(() => decodeZ85('ab"de')).toThrow('no Z85 character')
    expect(() => decodeZ85('abcdü')).toThrow('no Z85 character')
    expect(() => decodeZ85('#####')).toThrow('out of range')
  })
})

describe('a bitmap', () => {
  const random = generator(2)
  const cases: readonly [string, Uint32Array][] = [
    ['of no rows', new Uint32Array(0)],
    ['of the first row', Uint32Array.of(0)],
    ['of the last row there can be', Uint32Array.of(0xffff_ffff)],
    ['at the borders of containers', Uint32Array.of(0, 65_535, 65_536, 131_071, 131_072)],
    ['of 4,096 scattered rows, the most in an array', range(0, 8192, 2)],
    ['of 4,097 scattered rows, the fewest in bits', range(0, 8194, 2)],
    ['of a whole container', range(65_536, 131_072)],
    ['of one long run over containers', range(60_000, 400_000)],
    ['of runs in three containers, without offsets', sorted([...range(0, 99), ...range(65_536, 65_999), 131_072])],
    ['of runs in four containers, with offsets', sorted([...range(0, 99), 65_536, 131_072, 200_000])],
    ['of random rows', sorted(Array.from({ length: 20_000 }, () => random(1_000_000)))],
    ['of far rows', sorted(Array.from({ length: 500 }, () => random(2 ** 32)))],
  ]
  for (const [name, rows] of cases)
    test(`${name} is the same after encoding`, () =>
      expect(decodeBitmap(encodeBitmap(rows), rows.length)).toEqual(rows))

  test('is what other engines write for the same rows', () => {
    expect(encodeZ85(encodeBitmap(Uint32Array.from(EXAMPLE_ROWS)))).toBe(PORTABLE_EXAMPLE.pathOrInlineDv)
  })

  test('that is cut off anywhere is refused', () => {
    for (const rows of [Uint32Array.of(1, 5, 70_000), range(10, 5000), range(0, 20_000, 2)]) {
      const bytes = encodeBitmap(rows)
      const ends = bytes.length < 200 ? range(0, bytes.length) : [0, 3, 8, 12, 16, 20, bytes.length - 1]
      for (const end of ends) expect(() => decodeBitmap(bytes.subarray(0, end), rows.length)).toThrow(/cut off/)
    }
  })

  test('with any byte changed is refused, or is some other ascending list of rows', () => {
    for (const rows of [Uint32Array.of(1, 5, 70_000), range(10, 50), range(0, 300_000, 40_000)]) {
      const bytes = encodeBitmap(rows)
      for (let at = 0; at < bytes.length; at++) {
        for (const flip of [1, 0x80, 0xff]) {
          const cardinality = rows.length + (at % 3) - 1
          const changed = bytes.slice()
          changed[at]! ^= flip
          let decoded: Uint32Array
          try {
            decoded = decodeBitmap(changed, cardinality)
          } catch (error) {
            expect(error).toBeInstanceOf(Error)
            continue
          }
          expect(decoded.length).toBe(cardinality)
          expect(decoded.every((row, i) => i === 0 || row > decoded[i - 1]!)).toBe(true)
        }
      }
    }
  })

  test('that announces more rows than are expected is refused before they are made', () => {
    const containers = 65_536
    const bytes = new Uint8Array(16 + 4 + containers / 8 + containers * 8)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, 1_681_511_377, true)
    view.setUint32(4, 1, true)
    view.setUint32(16, 12_347 | ((containers - 1) << 16), true)
    bytes.fill(0xff, 20)
    expect(() => decodeBitmap(bytes, 6)).toThrow('4294967296 rows where 6 are announced')
  })
})

describe('a bitmap that would take much from few bytes', () => {
  /** A bitmap of run containers, with what each announces. */
  function runs(
    containers: readonly { cardinality: number; runs: readonly (readonly [number, number])[] }[],
  ): Uint8Array {
    const words: number[] = [12_347, containers.length - 1]
    const flags = Math.ceil(containers.length / 8)
    const bodies = containers.flatMap(container => [container.runs.length, ...container.runs.flat()])
    for (const [key, { cardinality }] of containers.entries()) words.push(key, cardinality - 1)
    const bytes = new Uint8Array(16 + 4 + flags + 4 * containers.length + 2 * bodies.length)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, 1_681_511_377, true)
    view.setUint32(4, 1, true)
    view.setUint16(16, words[0]!, true)
    view.setUint16(18, words[1]!, true)
    bytes.fill(0xff, 20, 20 + flags)
    for (const [i, word] of [...words.slice(2), ...bodies].entries()) view.setUint16(20 + flags + 2 * i, word, true)
    return bytes
  }

  test('is refused before it is made where the file has not as many rows', () => {
    const whole = runs([{ cardinality: 65_536, runs: [[0, 65_535]] }])
    expect(decodeBitmap(whole, 65_536, 65_536).length).toBe(65_536)
    expect(() => decodeBitmap(whole, 65_536, 65_535)).toThrow('65536 rows are announced, the file has 65535')
  })

  test('is refused where it marks rows behind the last', () => {
    expect(() => decodeBitmap(encodeBitmap(Uint32Array.of(1, 9)), 2, 9)).toThrow('it marks row 9, the file has 9')
    expect([...decodeBitmap(encodeBitmap(Uint32Array.of(1, 9)), 2, 10)]).toEqual([1, 9])
  })

  test('is followed no further than its container goes', () => {
    const overlapping = Array.from({ length: 65_535 }, () => [0, 65_535] as const)
    const bytes = runs([{ cardinality: 1, runs: overlapping }])
    expect(() => decodeBitmap(bytes, 1)).toThrow('more than the 1 rows')
  })
})

describe('a deletion vector', () => {
  const none = memoryStore()

  test("of the protocol's text and of other engines is read", async () => {
    expect([...(await readVector(none, PROTOCOL_EXAMPLE))]).toEqual(EXAMPLE_ROWS)
    expect([...(await readVector(none, PORTABLE_EXAMPLE))]).toEqual(EXAMPLE_ROWS)
  })

  test('stands in the log if it is small, and with others in one file if not', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const vectors = [Uint32Array.of(2, 9), range(0, 90_000, 3), range(1, 1000), range(5, 80_000, 7)]
    const descriptors = await writeVectors(store, vectors)
    expect(descriptors.map(({ storageType }) => storageType)).toEqual(['i', 'u', 'i', 'u'])
    expect(descriptors.map(({ cardinality }) => cardinality)).toEqual(vectors.map(({ length }) => length))
    for (const [i, descriptor] of descriptors.entries())
      expect(await readVector(store, descriptor)).toEqual(vectors[i]!)
    const files = await store.list('')
    expect(files.length).toBe(1)
    expect(files[0]!.path).toMatch(/^deletion_vector_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.bin$/)
    const bytes = await store.read(files[0]!.path)
    expect(bytes[0]).toBe(1)
    expect(descriptors[1]!.offset).toBe(1)
    expect(descriptors[3]!.offset).toBe(1 + 4 + descriptors[1]!.sizeInBytes + 4)
    expect(bytes.length).toBe(descriptors[3]!.offset! + 4 + descriptors[3]!.sizeInBytes + 4)
  })

  test('lies in the file that the protocol says, with a folder before it or not', async () => {
    const store = memoryStore()
    const [descriptor] = await writeVectors(store, [range(0, 90_000, 3)])
    const [file] = await store.list('')
    const bytes = await store.read(file!.path)
    await store.write('ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin', bytes)
    await store.write('deletion_vector_61d16c75-6994-46b7-a15b-8b538852e50e.bin', bytes)
    for (const pathOrInlineDv of ['ab^-aqEH.-t@S}K{vb[*k^', 'vBn[lx{q8@P<9BNH/isA'])
      expect((await readVector(store, { ...descriptor!, pathOrInlineDv })).length).toBe(30_000)
  })

  test('under an absolute path is read inside the table, and refused where it leads to no vector', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const [descriptor] = await writeVectors(store, [range(0, 90_000, 3)])
    const [file] = await store.list('')
    for (const root of [`file://${folder.path}`, `file:${folder.path}`, folder.path])
      expect(
        (await readVector(store, { ...descriptor!, storageType: 'p', pathOrInlineDv: `${root}/${file!.path}` })).length,
      ).toBe(30_000)
    for (const [pathOrInlineDv, code] of [
      ['file:///etc/passwd', 'corrupt_log'],
      ['s3://other/deletion_vector.bin', 'unsupported_feature'],
      [`${folder.path}x/y`, 'missing_file'],
    ] as const) {
      const opened = withOutsideFiles(store)
      const refused = await failure(() => readVector(opened, { ...descriptor!, storageType: 'p', pathOrInlineDv }))
      expect(refused.code).toBe(code)
      expect(refused.message).toContain(pathOrInlineDv)
    }
    const climbing = `file://${folder.path}/../secret`
    expect(
      await failure(() => readVector(store, { ...descriptor!, storageType: 'p', pathOrInlineDv: climbing })),
    ).toMatchObject({ code: 'unsupported_feature' })
  })

  test('that is damaged or missing is named, and never read as fewer rows', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const [descriptor] = await writeVectors(store, [range(0, 90_000, 3)])
    const [file] = await store.list('')
    const { path } = file!
    const bytes = await store.read(path)
    const code = async (changes: Partial<DeletionVectorDescriptor>): Promise<string> =>
      (await failure(() => readVector(store, { ...descriptor!, ...changes }))).code
    expect(await code({ cardinality: 29_999 })).toBe('corrupt_log')
    expect(await code({ sizeInBytes: descriptor!.sizeInBytes - 1 })).toBe('corrupt_log')
    expect(await code({ sizeInBytes: 2 ** 45 })).toBe('corrupt_log')
    expect(await code({ offset: 5 })).toBe('corrupt_log')
    expect(await code({ pathOrInlineDv: 'short' })).toBe('corrupt_log')
    const flipped = bytes.slice()
    flipped[100]! ^= 1
    await store.write(path, flipped)
    expect((await failure(() => readVector(store, descriptor!))).message).toContain('checksum')
    await store.write(path, bytes.subarray(0, 500))
    expect((await failure(() => readVector(store, descriptor!))).message).toContain('cut off')
    await store.delete(path)
    const missing = await failure(() => readVector(store, descriptor!))
    expect(missing.code).toBe('missing_file')
    expect(missing.message).toContain(path)
  })

  test('inline is refused if the log has fewer bytes of it than it says', async () => {
    const error = await failure(() => readVector(none, { ...PORTABLE_EXAMPLE, sizeInBytes: 45 }))
    expect(error).toMatchObject({ code: 'corrupt_log' })
    expect(error.message).toContain('the log says 45 bytes, and has 44')
    const nonsense = { ...PORTABLE_EXAMPLE, pathOrInlineDv: '"'.repeat(1_000_000) }
    expect((await failure(() => readVector(none, nonsense))).message.length).toBeLessThan(300)
  })

  test('has the same id whether an absent offset is left out or null', () => {
    expect(vectorId({ ...PORTABLE_EXAMPLE, offset: null as never })).toBe(vectorId(PORTABLE_EXAMPLE))
    expect(vectorId({ ...PORTABLE_EXAMPLE, storageType: 'u', offset: 7 })).toBe(`u${PORTABLE_EXAMPLE.pathOrInlineDv}@7`)
    expect(vectorId(null)).toBe(vectorId(undefined))
  })
})
