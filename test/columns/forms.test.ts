import { describe, expect, test } from 'bun:test'
import { ParquetError } from '../../src/columns/errors.ts'
import { lz4Decompress, lz4Legacy } from '../../src/columns/parquet/lz4.ts'
import { readFooter, readRowGroup } from '../../src/columns/parquet/read.ts'
import { schemaOfFooter } from '../../src/columns/parquet/schema.ts'
import { parseDdl, sqlType } from '../../src/columns/schema.ts'
import type { Cell } from '../../src/columns/types.ts'
import { memorySource } from '../helpers/memory-source.ts'
import {
  bytes,
  CODEC,
  ENCODING,
  type HandmadeChunk,
  type HandmadeField,
  handmade,
  int32s,
  OPTIONAL,
  pageV1,
  REPEATED,
  REQUIRED,
  schemaIn,
  TYPE,
} from './handmade.ts'
import { encode, readRows } from './values.ts'

/** A file of one required column. */
function ofColumn(field: Omit<HandmadeField, 'name'>, values: number, chunk: Partial<HandmadeChunk>): Uint8Array {
  return handmade(
    [{ name: 'x', repetition: REQUIRED, ...field }],
    [{ rows: values, chunks: { x: { pages: [], values, ...chunk } } }],
  )
}

/** A file of one required column of values that stand behind each other. */
function plain(field: Omit<HandmadeField, 'name'>, values: number, body: Uint8Array): Uint8Array {
  return ofColumn(field, values, { pages: [pageV1(values, ENCODING.PLAIN, body)] })
}

/** The rows; those of a single column as its values. */
async function read(file: Uint8Array, ddl?: string): Promise<unknown[]> {
  const rows = await readRows(file, ddl === undefined ? await schemaIn(file) : parseDdl(ddl))
  return rows.map(row => (row.length === 1 ? row[0] : row))
}

async function refusal(run: () => Promise<unknown>): Promise<ParquetError> {
  const error = await run().then(
    () => undefined,
    (cause: unknown) => cause,
  )
  if (!(error instanceof ParquetError)) throw new Error('it is no ParquetError', { cause: error })
  return error
}

const STRING = { type: TYPE.BYTE_ARRAY, converted: 0 }

describe('the encoding of a page', () => {
  test('DELTA_BYTE_ARRAY: each value begins as the one before', async () => {
    // 'axis', 'axle', 'babble', 'babyhood', the example of Encodings.md: blocks of 128 in 4 parts.
    const header = [0x80, 0x01, 0x04, 0x04]
    const shared = [...header, 0x00, 0x03, 2, 0, 0, 0, 0b11_00_11_01, ...new Array<number>(7).fill(0)]
    // 0, 2, 0, 3: differences 2, -2, 3 above their least, -2, in 3 bits: 4, 0, 5.
    shared.splice(4, shared.length, 0x00, 0x03, 3, 0, 0, 0, 0b01_000_100, 0b1, ...new Array<number>(10).fill(0))
    // 4, 2, 6, 5: differences -2, 4, -1 above -2, in 3 bits: 0, 6, 1.
    const rests = [...header, 0x08, 0x03, 3, 0, 0, 0, 0b01_110_000, 0, ...new Array<number>(10).fill(0)]
    const body = new Uint8Array([...shared, ...rests, ...encode('axislebabbleyhood')])
    const page = pageV1(4, ENCODING.DELTA_BYTE_ARRAY, body)
    expect(await read(ofColumn(STRING, 4, { pages: [page] }))).toEqual(['axis', 'axle', 'babble', 'babyhood'])
    const fixed = ofColumn({ type: TYPE.FIXED, typeLength: 4 }, 4, { pages: [page] })
    expect((await refusal(() => read(fixed))).message).toContain('a value has other than 4 bytes')
  })

  test('BIT_PACKED levels, as only the oldest files have them', async () => {
    // 1, 0, 1, 1, 0, 0, 1, 1, 1, 0 from the highest bit on.
    const body = bytes(0b10110011, 0b10000000, ...int32s(1, 2, 3, 4, 5, 6))
    const page = pageV1(10, ENCODING.PLAIN, body, ENCODING.BIT_PACKED)
    const file = ofColumn({ type: TYPE.INT32, repetition: OPTIONAL }, 10, { pages: [page] })
    expect(await read(file)).toEqual([1, null, 2, 3, null, null, 4, 5, 6, null])
    const cut = ofColumn({ type: TYPE.INT32, repetition: OPTIONAL }, 10, {
      pages: [pageV1(10, ENCODING.PLAIN, bytes(0b10110011), ENCODING.BIT_PACKED)],
    })
    expect((await refusal(() => read(cut))).code).toBe('corrupt')
  })

  test('a page whose values are all NULL needs nothing of its encoding', async () => {
    // A run of 3 times level 0.
    const levels = bytes(2, 0, 0, 0, 6, 0)
    for (const encoding of [
      ENCODING.RLE_DICTIONARY,
      ENCODING.DELTA_BYTE_ARRAY,
      ENCODING.DELTA_LENGTH,
      ENCODING.PLAIN,
    ]) {
      const file = ofColumn({ ...STRING, repetition: OPTIONAL }, 3, { pages: [pageV1(3, encoding, levels)] })
      expect(await read(file)).toEqual([null, null, null])
    }
    const booleans = ofColumn({ type: TYPE.BOOLEAN, repetition: OPTIONAL }, 3, {
      pages: [pageV1(3, ENCODING.RLE, levels)],
    })
    expect(await read(booleans)).toEqual([null, null, null])
  })

  test('one that is not known, or not for such values, is refused by its name', async () => {
    const cases: [number, Omit<HandmadeField, 'name'>, string][] = [
      [12, { type: TYPE.INT32 }, 'the encoding number 12 is not supported'],
      [1, { type: TYPE.INT32 }, 'the encoding GROUP_VAR_INT is not supported'],
      [
        ENCODING.DELTA_BYTE_ARRAY,
        { type: TYPE.INT32 },
        'the encoding DELTA_BYTE_ARRAY of INT32 values is not supported',
      ],
      [ENCODING.RLE, { type: TYPE.INT64 }, 'the encoding RLE of INT64 values is not supported'],
    ]
    for (const [encoding, field, message] of cases) {
      const file = ofColumn(field, 1, { pages: [pageV1(1, encoding, bytes(1, 2, 3, 4, 5, 6, 7, 8))] })
      const { code, message: said } = await refusal(() => read(file))
      expect(code).toBe('unsupported')
      expect(said).toBe(`test.parquet: column x of row group 0 cannot be read: ${message}`)
    }
    const levels = ofColumn({ type: TYPE.INT32, repetition: OPTIONAL }, 1, {
      pages: [pageV1(1, ENCODING.PLAIN, int32s(1), 5)],
    })
    expect((await refusal(() => read(levels))).message).toEndWith(
      'levels in the encoding DELTA_BINARY_PACKED are not supported',
    )
  })
})

describe('the compression of a page', () => {
  /** A block of literals and one that refers to them: "abcdabcdabcd" and then "wxyz!". */
  const block = bytes(0x44, 0x61, 0x62, 0x63, 0x64, 4, 0, 0x50, 0x77, 0x78, 0x79, 0x7a, 0x21)
  const text = encode('abcdabcdabcdwxyz!')
  const be = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]
  const le = (value: number): number[] => be(value).reverse()

  test('LZ4: Hadoop’s blocks, bare ones, and the frame of the lz4 program', () => {
    expect(lz4Decompress(block, text.length)).toEqual(text)
    expect(lz4Legacy(block, text.length)).toEqual(text)
    const hadoop = bytes(...be(text.length), ...be(block.length), ...block)
    expect(lz4Legacy(hadoop, text.length)).toEqual(text)
    // Several runs, and several blocks in one run.
    const twice = new Uint8Array([...text, ...text])
    expect(lz4Legacy(new Uint8Array([...hadoop, ...hadoop]), twice.length)).toEqual(twice)
    const run = bytes(...be(twice.length), ...be(block.length), ...block, ...be(block.length), ...block)
    expect(lz4Legacy(run, twice.length)).toEqual(twice)
    const frame = (flags: number, ...descriptor: number[]): Uint8Array =>
      bytes(
        ...[4, 0x22, 0x4d, 0x18, flags, 0x40, ...descriptor, 0],
        ...[...le(block.length), ...block, ...((flags & 0x10) === 0 ? [] : [1, 2, 3, 4])],
        ...[...le(0x8000_0000 + text.length), ...text, ...((flags & 0x10) === 0 ? [] : [1, 2, 3, 4])],
        ...le(0),
      )
    expect(lz4Legacy(frame(0x40), twice.length)).toEqual(twice)
    expect(lz4Legacy(frame(0x50), twice.length)).toEqual(twice)
    expect(lz4Legacy(frame(0x48, ...new Array<number>(8).fill(0)), twice.length)).toEqual(twice)
    expect(() => lz4Legacy(frame(0x41), twice.length)).toThrow('dictionary')
    expect(lz4Legacy(new Uint8Array(0), 0)).toEqual(new Uint8Array(0))
  })

  test('LZ4 that is cut off, or longer than announced, is an error', () => {
    for (let length = 1; length < block.length; length++) {
      const decoded = (): Uint8Array => lz4Legacy(block.subarray(0, length), text.length)
      try {
        expect(decoded().length).toBeLessThan(text.length)
      } catch (error) {
        expect((error as Error).message).toContain('LZ4 block')
      }
    }
    expect(() => lz4Legacy(block, text.length - 1)).toThrow('LZ4 block')
  })

  test('is read in a file, and what is not known is refused by its name', async () => {
    const values = new Uint8Array([...le(13), ...encode('abcdabcdabcdw')])
    const literals = bytes(0xf0, values.length - 15, ...values)
    const chunk = (codec: number, body: Uint8Array): Uint8Array =>
      ofColumn(STRING, 1, { codec, pages: [{ ...pageV1(1, ENCODING.PLAIN, body), size: values.length }] })
    expect(await read(chunk(CODEC.LZ4_RAW, literals))).toEqual(['abcdabcdabcdw'])
    expect(await read(chunk(CODEC.LZ4, literals))).toEqual(['abcdabcdabcdw'])
    const hadoop = bytes(...be(values.length), ...be(literals.length), ...literals)
    expect(await read(chunk(CODEC.LZ4, hadoop))).toEqual(['abcdabcdabcdw'])
    const lzo = await refusal(() => read(chunk(CODEC.LZO, literals)))
    expect([lzo.code, lzo.message]).toEqual([
      'unsupported',
      'test.parquet: column x of row group 0 cannot be read: the compression LZO is not supported',
    ])
    expect((await refusal(() => read(chunk(9, literals)))).message).toContain(
      'the compression number 9 is not supported',
    )
  })
})

describe('a row group', () => {
  const fields: HandmadeField[] = [
    { name: 'n', type: TYPE.INT32, repetition: REQUIRED },
    { name: 't', ...STRING, repetition: REQUIRED },
    { name: 's', repetition: OPTIONAL, children: [{ name: 'a', type: TYPE.DOUBLE, repetition: OPTIONAL }] },
  ]
  const empty = { pages: [], values: 0 }

  test('without rows has no pages, and is read', async () => {
    const full = {
      rows: 1,
      chunks: {
        n: { pages: [pageV1(1, ENCODING.PLAIN, int32s(7))], values: 1 },
        t: { pages: [pageV1(1, ENCODING.PLAIN, bytes(1, 0, 0, 0, 0x61))], values: 1 },
        's.a': { pages: [pageV1(1, ENCODING.PLAIN, bytes(2, 0, 0, 0, 2, 0))], values: 1 },
      },
    }
    const none = { rows: 0, chunks: { n: empty, t: empty, 's.a': empty } }
    for (const groups of [[none], [none, full], [full, none], [none, full, none, full]]) {
      const rows = groups.filter(group => group === full).map(() => [7, 'a', null])
      expect(await read(handmade(fields, groups))).toEqual(rows)
    }
  })

  test('whose values are in another file, or encrypted, is refused', async () => {
    const chunk = { pages: [pageV1(1, ENCODING.PLAIN, int32s(7))], values: 1 }
    const elsewhere = await refusal(() =>
      read(ofColumn({ type: TYPE.INT32 }, 1, { ...chunk, more: { field_1: 'part.0' } })),
    )
    expect([elsewhere.code, elsewhere.message]).toEqual([
      'unsupported',
      'test.parquet: column x of row group 0 cannot be read: its values are in another file, part.0',
    ])
    const locked = { field_8: { field_1: {} } }
    const secret = await refusal(() => read(ofColumn({ type: TYPE.INT32 }, 1, { ...chunk, more: locked })))
    expect([secret.code, secret.message]).toEqual([
      'unsupported',
      'test.parquet: column x of row group 0 cannot be read: it is encrypted; decrypt the file first',
    ])
    const file = plain({ type: TYPE.INT32 }, 1, int32s(7))
    file.set(encode('PARE'), file.length - 4)
    const whole = await refusal(() => readFooter(memorySource('secret.parquet', file)))
    expect([whole.code, whole.message]).toEqual([
      'unsupported',
      'secret.parquet: the file is encrypted, which is not supported; decrypt it first',
    ])
  })
})

describe('what a column means', () => {
  const type = async (file: Uint8Array): Promise<string> =>
    (await schemaIn(file)).map(field => sqlType(field.type)).join()

  test('FLOAT16 is a FLOAT', async () => {
    // 1.5, -0, the largest, the smallest, the infinities, no number.
    const words = [0x3e00, 0x8000, 0x7bff, 0x0001, 0x7c00, 0xfc00, 0x7e00, 0xc0a3]
    const body = new Uint8Array(Uint16Array.from(words).buffer)
    const file = plain({ type: TYPE.FIXED, typeLength: 2, logical: { field_15: {} } }, words.length, body)
    expect(await type(file)).toBe('FLOAT')
    const values = [1.5, -0, 65504, 2 ** -24, Infinity, -Infinity, Number.NaN, -2.318359375]
    const rows = await readRows(file, await schemaIn(file))
    expect(rows.map(([cell]) => cell)).toEqual(values as Cell[])
    expect(await readRows(file, parseDdl('x:Float64'))).toEqual(rows)
  })

  test('UUID is a STRING, or its bytes where a table has them so', async () => {
    const id = Uint8Array.from({ length: 16 }, (_, i) => i * 17)
    const file = plain({ type: TYPE.FIXED, typeLength: 16, logical: { field_14: {} } }, 1, id)
    expect(await type(file)).toBe('STRING')
    expect(await read(file)).toEqual(['00112233-4455-6677-8899-aabbccddeeff'])
    expect((await readRows(file, parseDdl('x:Binary')))[0]![0]).toEqual(id)
  })

  test('numbers without a sign keep their value, or are refused where it does not fit', async () => {
    const u64 = plain(
      { type: TYPE.INT64, converted: 14 },
      2,
      new Uint8Array(BigUint64Array.of(2n ** 64n - 1n, 3n).buffer),
    )
    expect(await type(u64)).toBe('DECIMAL(20,0)')
    expect(await readRows(u64, parseDdl('x:Decimal(22,2)'))).toEqual([[(2n ** 64n - 1n) * 100n], [300n]])
    for (const ddl of ['x:Int64', 'x:Float64', 'x:Decimal(19,0)'])
      expect((await refusal(() => read(u64, ddl))).message).toContain('18446744073709551615')
    const u32 = plain({ type: TYPE.INT32, converted: 13 }, 1, int32s(-1))
    for (const ddl of ['x:Int64', 'x:Float64', 'x:Decimal(10,0)'])
      expect((await readRows(u32, parseDdl(ddl))).map(([cell]) => Number(cell))).toEqual([2 ** 32 - 1])
    expect((await refusal(() => read(u32, 'x:Int32'))).message).toContain('the number 4294967295 does not fit INT')
    const u8 = plain({ type: TYPE.INT32, converted: 11 }, 1, int32s(200))
    expect(await type(u8)).toBe('SMALLINT')
    expect((await refusal(() => read(u8, 'x:Int8'))).message).toContain('the number 200 does not fit TINYINT')
  })

  test('a number that a smaller type does not hold is refused, not cut', async () => {
    const i32 = plain({ type: TYPE.INT32 }, 2, int32s(1, 40_000))
    expect((await refusal(() => read(i32, 'x:Int16'))).message).toContain('the number 40000 does not fit SMALLINT')
    expect((await refusal(() => read(i32, 'x:Decimal(4,0)'))).message).toContain('does not fit DECIMAL(4,0)')
    const f64 = plain({ type: TYPE.DOUBLE }, 2, new Uint8Array(Float64Array.of(1.5, 0.1).buffer))
    expect((await refusal(() => read(f64, 'x:Float32'))).message).toContain('the number 0.1 is no FLOAT')
    const i64 = plain({ type: TYPE.INT64 }, 1, new Uint8Array(BigInt64Array.of(2n ** 53n + 1n).buffer))
    expect((await refusal(() => read(i64, 'x:Float64'))).message).toContain('9007199254740993 is no DOUBLE')
    const ms = { type: TYPE.INT64, converted: 9 }
    const far = plain(ms, 1, new Uint8Array(BigInt64Array.of(2n ** 62n).buffer))
    expect((await refusal(() => read(far))).message).toContain('beyond all that Delta can hold')
  })

  test('decimals of any length of bytes, with a sign', async () => {
    const numbers: [number[], bigint][] = [
      [[0xff], -1n],
      [[0x00, 0xff], 255n],
      [[0x80, 0, 0, 0, 0, 0, 0, 0, 0], -(2n ** 71n)],
      [[0x01, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 0x0102030405060708090a0bn],
      [[], 0n],
    ]
    const body = numbers.flatMap(([value]) => [...int32s(value.length), ...value])
    const decimal = { type: TYPE.BYTE_ARRAY, converted: 5, precision: 38, scale: 2 }
    const file = plain(decimal, numbers.length, bytes(...body))
    expect(await type(file)).toBe('DECIMAL(38,2)')
    expect((await readRows(file, await schemaIn(file))).map(([cell]) => cell!)).toEqual(
      numbers.map(([, value]) => value),
    )
    const wide = plain({ ...decimal, precision: 39 }, 1, bytes(1, 0, 0, 0, 1))
    expect((await refusal(() => schemaIn(wide))).message).toContain('a decimal of 39 digits')
  })

  test('times of day are texts', async () => {
    const ms = plain({ type: TYPE.INT32, converted: 7 }, 2, int32s(0, 86_399_999))
    expect(await type(ms)).toBe('STRING')
    expect(await read(ms)).toEqual(['00:00:00', '23:59:59.999000'])
    const unit = { field_7: { field_1: true, field_2: { field_3: {} } } }
    const nanos = new Uint8Array(BigInt64Array.of(1n, 3_600_000_001_000n).buffer)
    const ns = plain({ type: TYPE.INT64, logical: unit }, 2, nanos)
    expect(await read(ns)).toEqual(['00:00:00.000000001', '01:00:00.000001'])
    const negative = plain({ type: TYPE.INT32, converted: 7 }, 1, int32s(-1))
    expect((await refusal(() => read(negative))).message).toContain('the time of day -1 is negative')
  })

  test('nanoseconds are cut to the microsecond before, and the reader says of which columns', async () => {
    const unit = { field_8: { field_1: true, field_2: { field_3: {} } } }
    const ns = (...values: bigint[]): Uint8Array =>
      plain({ type: TYPE.INT64, logical: unit }, values.length, new Uint8Array(BigInt64Array.from(values).buffer))
    const cutOf = async (file: Uint8Array): Promise<number | undefined> => {
      const source = memorySource('nanos', file)
      return (await readRowGroup(source, await readFooter(source), 0, await schemaIn(file))).vectors[0]!.cut
    }
    const odd = ns(-1n, 1999n, 5000n)
    expect(await readRows(odd, await schemaIn(odd))).toEqual([[-1n], [1n], [5n]])
    expect(await cutOf(odd)).toBe(0)
    expect(await cutOf(ns(-1000n, 5000n))).toBeUndefined()
    expect(await cutOf(ns(-1000n, 5000n, 1n))).toBe(2)
    const int96 = new Uint8Array(12)
    new DataView(int96.buffer).setBigInt64(0, 1001n, true)
    new DataView(int96.buffer).setInt32(8, 2_440_588, true)
    const impala = plain({ type: TYPE.INT96 }, 1, int96)
    expect(await readRows(impala, await schemaIn(impala))).toEqual([[1n]])
    expect(await cutOf(impala)).toBe(0)
  })

  test('a column that never had a value is a STRING of NULLs', async () => {
    const levels = bytes(2, 0, 0, 0, 4, 0)
    const field = { type: TYPE.INT32, repetition: OPTIONAL, logical: { field_11: {} } }
    const file = ofColumn(field, 2, { pages: [pageV1(2, ENCODING.PLAIN, levels)] })
    expect(await type(file)).toBe('STRING')
    expect(await read(file)).toEqual([null, null])
    expect(await read(file, 'x:Timestamp')).toEqual([null, null])
  })

  test('GEOMETRY is its well-known binary, and what that leaves out is said', async () => {
    const file = plain(
      { type: TYPE.BYTE_ARRAY, logical: { field_17: { field_1: 'OGC:CRS84' } } },
      1,
      bytes(1, 0, 0, 0, 7),
    )
    const said: string[] = []
    const footer = await readFooter(memorySource('map.parquet', file))
    const [field] = schemaOfFooter(footer, 'map.parquet', sentence => said.push(sentence))
    expect(field!.type).toEqual({ kind: 'binary' })
    expect(said).toEqual([
      'map.parquet: column x is a GEOMETRY; its well-known binary is kept as BINARY, its reference system is not',
    ])
    expect(await read(file)).toEqual([bytes(7)])
  })

  test('a map without values is the list of its keys', async () => {
    const map: HandmadeField = {
      name: 'x',
      converted: 1,
      repetition: REQUIRED,
      children: [
        {
          name: 'map',
          repetition: REPEATED,
          converted: 2,
          children: [{ name: 'key', type: TYPE.INT32, repetition: REQUIRED }],
        },
      ],
    }
    // Two keys, one key.
    const body = bytes(2, 0, 0, 0, 3, 0b010, 2, 0, 0, 0, 6, 1, ...int32s(1, 2, 3))
    const file = handmade(
      [map],
      [{ rows: 2, chunks: { 'x.map.key': { pages: [pageV1(3, ENCODING.PLAIN, body)], values: 3 } } }],
    )
    expect(await type(file)).toBe('ARRAY<INT>')
    expect(await readRows(file, await schemaIn(file))).toEqual([[[1, 2]], [[3]]])
    expect((await refusal(() => read(file, 'x:map<int,int>'))).message).toContain('without keys and values')
  })

  test('what Delta has nothing for is refused by its name, and so is what the file has for something else', async () => {
    const refused = async (
      field: Omit<HandmadeField, 'name'>,
      what: string,
      why = 'Delta has no type for',
    ): Promise<void> => {
      const error = await refusal(() => schemaIn(handmade([{ name: 'x', ...field }], [])))
      expect([error.code, error.message]).toEqual([
        'unsupported',
        `handmade.parquet: column x is ${what}, which ${why}; convert it first`,
      ])
    }
    await refused({ type: TYPE.FIXED, typeLength: 12, converted: 21 }, 'of the type INTERVAL')
    await refused(
      { type: TYPE.INT32, logical: { field_99: {} } },
      'of the type INT32 (a logical type that is not known, number 99)',
    )
    await refused({ type: TYPE.INT32, logical: { field_1: {} } }, 'of the type INT32 (STRING)')
    await refused(
      { type: TYPE.FIXED, typeLength: 8, logical: { field_14: {} } },
      'of the type FIXED_LEN_BYTE_ARRAY (UUID)',
    )
    await refused({ type: 8 }, 'of the type number 8')
    const leaf = { name: 'metadata', type: TYPE.BYTE_ARRAY, repetition: REQUIRED }
    await refused({ logical: { field_16: {} }, children: [leaf] }, 'a VARIANT', 'is not written')
    await refused({ converted: 3, children: [leaf] }, 'a list without one repeated field')
    for (const [field, ddl, said] of [
      [{ type: TYPE.INT64 }, 'x:Timestamp', 'the file has INT_64 where the table has TIMESTAMP'],
      [{ type: TYPE.INT32 }, 'x:Date', 'the file has INT_32 where the table has DATE'],
      [{ type: TYPE.INT64, converted: 10 }, 'x:Int64', 'the file has TIMESTAMP in MICROS where the table has BIGINT'],
    ] as const) {
      const error = await refusal(() => read(plain(field, 1, new Uint8Array(8)), ddl))
      expect(error.message).toEndWith(said)
    }
  })

  test('a list by the rules for the old forms, with and without a table', async () => {
    const leaf = (name: string): HandmadeField => ({ name, type: TYPE.INT32, repetition: REQUIRED })
    const list = (repeated: HandmadeField): HandmadeField => ({
      name: 'x',
      converted: 3,
      repetition: REQUIRED,
      children: [{ ...repeated, repetition: REPEATED }],
    })
    const of = async (field: HandmadeField): Promise<string> => type(handmade([field], []))
    expect(await of(list({ name: 'list', children: [leaf('element')] }))).toBe('ARRAY<INT>')
    expect(await of(list({ name: 'bag', children: [leaf('array_element')] }))).toBe('ARRAY<INT>')
    expect(await of(list({ name: 'element', type: TYPE.INT32 }))).toBe('ARRAY<INT>')
    expect(await of(list({ name: 'array', children: [leaf('a')] }))).toBe('ARRAY<STRUCT<a: INT>>')
    expect(await of(list({ name: 'x_tuple', children: [leaf('a')] }))).toBe('ARRAY<STRUCT<a: INT>>')
    expect(await of(list({ name: 'element', children: [leaf('a'), leaf('b')] }))).toBe('ARRAY<STRUCT<a: INT, b: INT>>')
    expect(await of({ name: 'x', repetition: REPEATED, children: [leaf('a')] })).toBe('ARRAY<STRUCT<a: INT>>')
    // The rules leave this one open; a table that knows better decides.
    const open = list({ name: 'item', children: [leaf('A')] })
    const file = handmade(
      [open],
      [
        {
          rows: 1,
          chunks: {
            'x.item.A': {
              pages: [pageV1(1, ENCODING.PLAIN, bytes(2, 0, 0, 0, 2, 0, 2, 0, 0, 0, 2, 1, ...int32s(7)))],
              values: 1,
            },
          },
        },
      ],
    )
    expect(await readRows(file, parseDdl('x:array<int>'))).toEqual([[[7]]])
    expect(await readRows(file, parseDdl('x:array<struct<a:int>>'))).toEqual([[[[7]]]])
  })
})

describe('a chunk whose size leaves out the header of its dictionary', () => {
  // Two values, and twice each of them: a run of 2 times 0, one of 2 times 1.
  const pages = [
    { header: { field_1: 2, field_7: { field_1: 2, field_2: ENCODING.PLAIN } }, body: int32s(7, 8) },
    pageV1(4, ENCODING.RLE_DICTIONARY, bytes(1, 4, 0, 4, 1)),
  ]
  const by = (createdBy: string): Uint8Array =>
    handmade(
      [{ name: 'x', type: TYPE.INT32, repetition: REQUIRED }],
      [{ rows: 4, chunks: { x: { pages, values: 4, leftOut: 14 } } }],
      createdBy,
    )

  test('is read if it is by a writer that is known for it, and refused otherwise', async () => {
    for (const writer of ['parquet-mr', 'parquet-mr version 1.2.8', 'parquet-mr version 1.0.0-t (build 1)'])
      expect(await read(by(writer))).toEqual([7, 7, 8, 8])
    for (const writer of ['parquet-mr version 1.2.9', 'parquet-mr version 1.13.1', 'parquet-cpp', ''])
      expect((await refusal(() => read(by(writer)))).message).toContain('cut off')
  })
})

describe('a column is found', () => {
  const named = (...names: string[]): HandmadeField[] =>
    names.map(name => ({ name, type: TYPE.INT32, repetition: REQUIRED }))
  const file = (fields: HandmadeField[], ...values: number[]): Uint8Array =>
    handmade(fields, [
      {
        rows: 1,
        chunks: Object.fromEntries(
          fields.map(({ name }, i) => [name, { pages: [pageV1(1, ENCODING.PLAIN, int32s(values[i]!))], values: 1 }]),
        ),
      },
    ])

  test('by its name in any case, by the very name first', async () => {
    expect(await read(file(named('ID', 'Größe'), 1, 2), 'größe:Int32,id:Int32')).toEqual([[2, 1]])
    expect(await read(file(named('Id', 'id'), 1, 2), 'id:Int32')).toEqual([2])
    expect(await read(file(named('\ufeffid'), 1), '`\ufeffid`:Int32')).toEqual([1])
    expect(await read(file(named('id'), 1), 'ids:Int32')).toEqual([null])
  })

  test('inside others, too', async () => {
    const nested: HandmadeField = { name: 'S', repetition: REQUIRED, children: named('Ab', 'cD') }
    const chunk = (value: number): HandmadeChunk => ({ pages: [pageV1(1, ENCODING.PLAIN, int32s(value))], values: 1 })
    const bytes = handmade([nested], [{ rows: 1, chunks: { 'S.Ab': chunk(1), 'S.cD': chunk(2) } }])
    expect(await readRows(bytes, parseDdl('s:struct<CD:int,new:int,aB:int>'))).toEqual([[[2, null, 1]]])
  })

  test('not where two could be meant', async () => {
    for (const [names, ddl] of [
      [['ID', 'Id'], 'id:Int32'],
      [['id', 'id'], 'id:Int32'],
    ] as const) {
      const error = await refusal(() => read(file(named(...names), 1, 2), ddl))
      expect(error.code).toBe('unsupported')
      expect(error.message).toContain(`the file has ${names[0]} and ${names[1]}, and either could be meant`)
    }
  })

  test('by its id where the table has ids, if the file has any', async () => {
    const mapped = (id: number) => [
      {
        name: 'a',
        type: { kind: 'integer' as const },
        nullable: true,
        metadata: { 'delta.columnMapping.id': id, 'delta.columnMapping.physicalName': 'p' },
      },
    ]
    const withIds = file(
      named('p', 'q').map((field, i) => ({ ...field, id: i + 1 })),
      10,
      20,
    )
    expect(await readRows(withIds, mapped(2))).toEqual([[20]])
    expect(await readRows(withIds, mapped(3))).toEqual([[null]])
    expect(await readRows(file(named('p', 'q'), 10, 20), mapped(2))).toEqual([[10]])
  })
})
