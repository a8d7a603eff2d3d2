import { describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SchemaElement } from 'hyparquet'
import { ByteWriter, ParquetWriter } from 'hyparquet-writer'
import { ParquetError } from '../../src/columns/errors.ts'
import { type Footer, readFooter, readRowGroup } from '../../src/columns/parquet/read.ts'
import { schemaOfFooter } from '../../src/columns/parquet/schema.ts'
import { type ByteSource, storeSource } from '../../src/columns/parquet/source.ts'
import { ParquetFileWriter } from '../../src/columns/parquet/write.ts'
import { parseDdl, schemaFingerprint, sqlType } from '../../src/columns/schema.ts'
import { renderCsv } from '../../src/columns/text/csv.ts'
import { renderJsonLines } from '../../src/columns/text/json.ts'
import type { Batch, Cell, Schema } from '../../src/columns/types.ts'
import { batchOf, sliceBatch, takeRows } from '../../src/columns/vectors.ts'
import { DataFileWriter } from '../../src/table/data-files/data-file-writer.ts'
import { textSizes } from '../../src/table/data-files/text-sizes.ts'
import { localSource } from '../helpers/local-source.ts'
import { memorySource } from '../helpers/memory-source.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { ALL_TYPES, cellsOf, Random, randomBatch, readRows, spelled, written } from './values.ts'

const batch = (ddl: string, ...rows: Cell[][]): [Schema, Batch] => {
  const schema = parseDdl(ddl)
  return [
    schema,
    batchOf(
      schema.map(field => field.type),
      rows,
    ),
  ]
}

describe('a Parquet file', () => {
  test('gives back random batches, however they are cut into batches and row groups', async () => {
    const random = new Random(17)
    for (let round = 0; round < 60; round++) {
      const schema = ALL_TYPES.filter(() => random.below(4) === 0)
      if (schema.length === 0) continue
      const whole = randomBatch(schema, random.below(300) + 1, 500 + round)
      const pieces: Batch[] = []
      for (let start = 0; start < whole.rows; ) {
        const end = Math.min(whole.rows, start + random.below(90) + 1)
        pieces.push(sliceBatch(whole, start, end))
        start = end
      }
      const { bytes, file } = await written(schema, pieces, random.below(120) + 1)
      expect(spelled(await readRows(bytes, schema))).toEqual(spelled(cellsOf(whole)))
      const footer = await readFooter(memorySource('x', bytes))
      const sizes = textSizes(footer)!
      expect(sizes.schema).toBe(schemaFingerprint(schema))
      expect(sizes.groups).toEqual(file.rowGroups)
      let row = 0
      for (const [i, group] of footer.rowGroups.entries()) {
        const part = sliceBatch(whole, row, row + group.rows)
        expect(group.firstRow).toBe(row)
        expect(sizes.groups[i]).toEqual({
          rows: group.rows,
          csvBytes: renderCsv(part, schema).bytes.length,
          jsonlBytes: renderJsonLines(part, schema).bytes.length,
        })
        row += group.rows
      }
      expect(row).toBe(whole.rows)
    }
  })

  test('may have no rows at all', async () => {
    const { bytes, file } = await written(ALL_TYPES, [])
    expect(file).toMatchObject({ rows: 0, csvBytes: 0, jsonlBytes: 0, rowGroups: [] })
    expect(await readRows(bytes, ALL_TYPES)).toEqual([])
    expect(JSON.parse(file.stats)).toMatchObject({ numRecords: 0, minValues: {} })
    // num_rows is 0, and row_groups a list of structs.
    expect(Buffer.from(bytes).includes(Buffer.of(0x16, 0x00, 0x19, 0x0c))).toBe(true)
  })

  test('holds columns of one value, of NULLs only, and of pages that are many', async () => {
    const [schema, one] = batch(
      'same:String,none:Int64,long:String,lists:array<string>',
      ...Array.from({ length: 3000 }, (_, i): Cell[] => [
        's',
        null,
        `${i} ${'x'.repeat(900)}`,
        [`${i}`, 'y'.repeat(600)],
      ]),
    )
    const { bytes } = await written(schema, [one])
    expect(await readRows(bytes, schema)).toEqual(cellsOf(one))
  })

  test('keeps an empty list, a list of NULL, a NULL list and structs of NULLs apart', async () => {
    const [schema, one] = batch(
      'l:array<array<int>>,s:struct<a:struct<b:int>>,m:map<string,array<int>>,ls:array<struct<a:int>>',
      [null, null, null, null],
      [[], [null], [], []],
      [[null], [[null]], [['k', null]], [null]],
      [[[]], [[1]], [['k', []]], [[null]]],
      [
        [[null], [], null, [1, 2]],
        [null],
        [
          ['a', [1]],
          ['b', [null]],
        ],
        [[1], null, [2]],
      ],
    )
    const { bytes } = await written(schema, [one], 2)
    expect(await readRows(bytes, schema)).toEqual(cellsOf(one))
  })

  test('is read by the columns that are asked for, by physical names and ids, with partition values', async () => {
    const [schema, one] = batch('a:Int32,b:String', [1, 'x'], [2, null])
    const mapped = schema.map((field, i) => ({
      ...field,
      metadata: { 'delta.columnMapping.physicalName': `col-${i}`, 'delta.columnMapping.id': i + 1 },
    }))
    const { bytes, file } = await written(mapped, [one])
    expect(Object.keys((JSON.parse(file.stats) as { nullCount: object }).nullCount)).toEqual(['col-0', 'col-1'])
    const source = memorySource('x', bytes)
    const footer = await readFooter(source)
    const renamed = mapped.map(field => ({ ...field, name: `new ${field.name}` }))
    expect(cellsOf(await readRowGroup(source, footer, 0, renamed))).toEqual([
      [1, 'x'],
      [2, null],
    ])
    const part = parseDdl('p:Date,q:String')
    const all = [...part, ...renamed]
    const values = new Map<string, Cell>([
      ['p', 19_000],
      ['q', null],
    ])
    expect(cellsOf(await readRowGroup(source, footer, 0, all, values))).toEqual([
      [19_000, null, 1, 'x'],
      [19_000, null, 2, null],
    ])
    expect(cellsOf(await readRowGroup(source, footer, 0, all, values, ['q', 'new b']))).toEqual([
      [null, 'x'],
      [null, null],
    ])
    await expect(readRowGroup(source, footer, 1, all)).rejects.toThrow(ParquetError)
  })

  test('keeps what is said beside the rows', async () => {
    const [schema, one] = batch('a:Int32', [1])
    const pieces: Uint8Array[] = []
    const writer = new ParquetFileWriter({ write: bytes => void pieces.push(bytes) }, schema)
    await writer.write(one)
    await writer.finish(
      () =>
        new Map([
          ['mine', 'ü'],
          ['late', '{}'],
        ]),
    )
    const footer = await readFooter(memorySource('x', Buffer.concat(pieces)))
    expect(footer.keyValue.get('mine')).toBe('ü')
    expect(footer.keyValue.get('late')).toBe('{}')
    const told = (text: string): Footer => ({ ...footer, keyValue: new Map([['posixlake.text', text]]) })
    for (const text of [
      '',
      'x',
      'null',
      '{}',
      '{"v":0,"rows":[1],"csv":[2],"jsonl":[8]}',
      '{"v":1,"rows":[2],"csv":[2],"jsonl":[8]}',
    ])
      expect(textSizes(told(text))).toBeUndefined()
  })

  test('with lists and numbers in the forms of old writers is read as well', async () => {
    const elements: SchemaElement[] = [
      { name: 'root', num_children: 2 },
      { name: 'u', repetition_type: 'REQUIRED', type: 'INT32', converted_type: 'UINT_32' },
      { name: 'l', repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' },
      { name: 'bag', repetition_type: 'REPEATED', num_children: 1 },
      { name: 'array_element', repetition_type: 'OPTIONAL', type: 'INT32' },
    ]
    const out = new ByteWriter()
    const writer = new ParquetWriter({ writer: out, schema: elements })
    await writer.write({
      columnData: [
        { name: 'u', data: [4_294_967_295, 5], encoding: 'PLAIN' },
        { name: 'l', data: [[1, null], null] },
      ],
    })
    await writer.finish()
    const bytes = new Uint8Array(out.getBytes())
    const schema = schemaOfFooter(await readFooter(memorySource('old', bytes)), 'old')
    expect(schema.map(({ name, type }) => `${name} ${sqlType(type)}`)).toEqual(['u BIGINT', 'l ARRAY<INT>'])
    expect(await readRows(bytes, schema)).toEqual([
      [4_294_967_295n, [1, null]],
      [5n, null],
    ])
  })
})

describe('the statistics of a file', () => {
  type Stats = { numRecords: number; minValues: unknown; maxValues: unknown; nullCount: unknown }
  const statsOf = async (ddl: string, ...rows: Cell[][]): Promise<Stats> => {
    const [schema, one] = batch(ddl, ...rows)
    return JSON.parse((await written(schema, [one], 1)).file.stats) as Stats
  }

  test('have the least and greatest value and the number of NULLs of every leaf', async () => {
    const stats = await statsOf(
      'i:Int32,s:String,d:Date,n:Decimal(10,2),st:struct<a:int,b:struct<c:string>>,l:array<int>,f:Boolean,x:Binary,e:Int64',
      [5, 'b', -1, -150n, [1, ['z']], [1], true, Uint8Array.of(1), null],
      [null, null, null, null, null, null, null, null, null],
      [-5, 'a', 0, 5n, [null, [null]], [], false, Uint8Array.of(2), null],
    )
    expect(stats).toMatchObject({
      numRecords: 3,
      minValues: { i: -5, s: 'a', d: '1969-12-31', n: -1.5, st: { a: 1, b: { c: 'z' } } },
      maxValues: { i: 5, s: 'b', d: '1970-01-01', n: 0.05, st: { a: 1, b: { c: 'z' } } },
      nullCount: { i: 1, s: 1, d: 1, n: 1, st: { a: 2, b: { c: 2 } }, l: 1, f: 1, x: 1, e: 3 },
    })
    expect(Object.keys(stats.minValues as object)).toEqual(['i', 's', 'd', 'n', 'st'])
  })

  test('keep 64-bit integers and decimals exact', async () => {
    const [schema, one] = batch('i:Int64,d:Decimal(38,10)', [2n ** 63n - 1n, 10n ** 38n - 1n], [-(2n ** 63n), 0n])
    const { stats } = (await written(schema, [one])).file
    expect(stats).toContain('"minValues":{"i":-9223372036854775808,"d":0.0000000000}')
    expect(stats).toContain('"maxValues":{"i":9223372036854775807,"d":9999999999999999999999999999.9999999999}')
  })

  test('have timestamps in milliseconds, rounded down also before 1970', async () => {
    const stats = await statsOf('t:Timestamp,w:Timestamp_ntz', [-1n, 1_999n], [-1_000_001n, 0n])
    expect(stats.minValues).toEqual({ t: '1969-12-31T23:59:58.999Z', w: '1970-01-01T00:00:00.000' })
    expect(stats.maxValues).toEqual({ t: '1969-12-31T23:59:59.999Z', w: '1970-01-01T00:00:00.001' })
  })

  test('cut long strings to bounds that hold', async () => {
    const a = 'a'.repeat(40)
    const music = '𝄞'.repeat(40)
    const stats = await statsOf('s:String,m:String,top:String,short:String', [a, music, '\u{10ffff}'.repeat(40), '𝄞'])
    expect(stats.minValues).toEqual({
      s: 'a'.repeat(32),
      m: '𝄞'.repeat(32),
      top: '\u{10ffff}'.repeat(32),
      short: '𝄞',
    })
    expect(stats.maxValues).toEqual({ s: `${'a'.repeat(31)}b`, m: `${'𝄞'.repeat(31)}𝄟`, short: '𝄞' })
    const random = new Random(4)
    const letters = ['a', '\ud7ff', '\ue000', '\uffff', '𝄞', '\u{10ffff}']
    for (let round = 0; round < 300; round++) {
      const text = Array.from({ length: 30 + random.below(6) }, () => random.of(letters)).join('')
      const found = (await statsOf('s:String', [text])) as unknown as Record<string, { s?: string }>
      expect(Buffer.compare(Buffer.from(found['minValues']!.s!), Buffer.from(text))).toBeLessThanOrEqual(0)
      const upper = found['maxValues']!.s
      if (upper !== undefined) expect(Buffer.compare(Buffer.from(upper), Buffer.from(text))).toBeGreaterThanOrEqual(0)
    }
  })

  test('order strings by code points', async () => {
    const stats = await statsOf('s:String', ['\uffee'], ['𝄞'])
    expect(stats).toMatchObject({ minValues: { s: '\uffee' }, maxValues: { s: '𝄞' } })
  })

  test('claim no upper bound where NaN is, and none that JSON cannot say', async () => {
    expect(await statsOf('f:Float64', [1], [Number.NaN], [5])).toMatchObject({ minValues: { f: 1 }, maxValues: {} })
    const nested = await statsOf('s:struct<f:float>', [[1]], [[Number.NaN]])
    expect(nested).toMatchObject({ minValues: { s: { f: 1 } }, nullCount: { s: { f: 0 } } })
    expect(nested.maxValues).toEqual({})
    expect((await statsOf('f:Float32', [Number.NaN])).minValues).toEqual({})
    const infinite = await statsOf('f:Float64,g:Float64', [Number.NEGATIVE_INFINITY, 1], [3, Number.POSITIVE_INFINITY])
    expect(infinite.minValues).toEqual({ g: 1 })
    expect(infinite.maxValues).toEqual({ f: 3 })
  })

  test('are of columns with any name', async () => {
    const stats = await statsOf('constructor:struct<name:int,prototype:struct<x:int>>,`__proto__`:Int32', [[1, [2]], 3])
    expect(JSON.stringify(stats.minValues)).toBe('{"constructor":{"name":1,"prototype":{"x":2}},"__proto__":3}')
    expect(Object.name).toBe('Object')
  })

  test('are of as many leaves as the table indexes', async () => {
    const [schema, one] = batch('a:Int32,s:struct<b:int,c:int>,d:Int32', [1, [2, 3], 4])
    const writer = new DataFileWriter({ write: () => {} }, schema, { indexed: { kind: 'first', count: 2 } })
    await writer.write(one)
    expect(JSON.parse((await writer.finish()).stats)).toMatchObject({ minValues: { a: 1, s: { b: 2 } } })
    const none = new DataFileWriter({ write: () => {} }, schema, { indexed: { kind: 'first', count: 0 } })
    await none.write(one)
    expect(JSON.parse((await none.finish()).stats)).toMatchObject({ numRecords: 1, minValues: {}, nullCount: {} })
  })
})

describe('a damaged file', () => {
  const schema = ALL_TYPES

  test('is a ParquetError at every length but its own', async () => {
    const { bytes } = await written(schema, [randomBatch(schema, 40, 3)])
    for (let length = 0; length < bytes.length; length += 29) {
      const source = memorySource('cut.parquet', bytes.subarray(0, length))
      const failure: unknown = await readFooter(source).catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(ParquetError)
      expect((failure as Error).message).toStartWith('cut.parquet: ')
    }
  })

  test('whose middle is missing is a ParquetError or the rows that were written', async () => {
    const batch = randomBatch(schema, 40, 3)
    const { bytes } = await written(schema, [batch])
    const whole = spelled(cellsOf(batch))
    for (let at = 4; at < bytes.length - 8; at += 61) {
      const shorter = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 16)])
      try {
        const rows = await readRows(shorter, schema)
        expect(rows.length).toBe((whole as unknown[]).length)
      } catch (error) {
        expect(error).toBeInstanceOf(ParquetError)
      }
    }
  })

  test('is a ParquetError or as many values as rows, whichever bits are changed', async () => {
    const random = new Random(90)
    const { bytes } = await written(schema, [randomBatch(schema, 60, 3)], 25)
    for (let round = 0; round < 500; round++) {
      const changed = bytes.slice()
      for (let n = random.below(3); n >= 0; n--) changed[random.below(changed.length)]! ^= 1 << random.below(8)
      const source = memorySource('changed.parquet', changed)
      try {
        const footer = await readFooter(source)
        for (let group = 0; group < footer.rowGroups.length; group++) {
          const read = await readRowGroup(source, footer, group, [...schema, ...parseDdl('missing:Int32')])
          for (const vector of read.vectors) expect(vector.length).toBe(read.rows)
        }
        schemaOfFooter(footer, 'changed.parquet')
        textSizes(footer)
      } catch (error) {
        expect(error).toBeInstanceOf(ParquetError)
      }
    }
  })

  test('of random bytes with the right ending is a ParquetError', async () => {
    const random = new Random(6)
    for (let round = 0; round < 300; round++) {
      const bytes = Uint8Array.from({ length: 12 + random.below(200) }, () => random.below(256))
      new DataView(bytes.buffer).setUint32(bytes.length - 8, random.below(bytes.length), true)
      bytes.set([0x50, 0x41, 0x52, 0x31], bytes.length - 4)
      try {
        await readRows(bytes, schema)
      } catch (error) {
        expect(error).toBeInstanceOf(ParquetError)
      }
    }
  })

  test('that is shorter than its log says is a ParquetError, on disk and in a store', async () => {
    using folder = temporaryFolder()
    const { bytes } = await written(parseDdl('a:Int32'), [batch('a:Int32', [1])[1]])
    const path = join(folder.path, 'short.parquet')
    writeFileSync(path, bytes)
    await expect(readFooter(localSource(path, bytes.length + 10))).rejects.toThrow(ParquetError)
    const store = memoryStore()
    await store.write('short.parquet', bytes)
    const failure: unknown = await readFooter(storeSource(store, 'short.parquet', bytes.length + 10)).catch(
      (error: unknown) => error,
    )
    expect((failure as Error).message).toContain('short.parquet')
  })

  test('is told from a store that does not answer, whose error stays what it is', async () => {
    const [schema, one] = batch('a:Int32', [1])
    const { bytes } = await written(schema, [one])
    const footer = await readFooter(memorySource('x', bytes))
    const down = Object.assign(new Error('connection reset'), { code: 'ECONNRESET' })
    const source: ByteSource = { name: 'x', sizeBytes: bytes.length, read: () => Promise.reject(down) }
    expect(await readRowGroup(source, footer, 0, schema).catch((error: unknown) => error)).toBe(down)
  })
})

describe('rows that are taken from a batch', () => {
  test('are the listed ones in that order, whatever their types', () => {
    const whole = randomBatch(ALL_TYPES, 50, 12)
    const rows = cellsOf(whole)
    expect(spelled(cellsOf(takeRows(whole, [7, 3, 3, 49])))).toEqual(spelled([rows[7], rows[3], rows[3], rows[49]]))
    expect(spelled(cellsOf(sliceBatch(whole, 10, 20)))).toEqual(spelled(rows.slice(10, 20)))
    expect(takeRows(whole, []).rows).toBe(0)
  })
})
