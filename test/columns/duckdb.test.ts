import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { ParquetError } from '../../src/columns/errors.ts'
import { decodeFirstRows, fetchRowGroup, readFooter } from '../../src/columns/parquet/read.ts'
import { schemaOfFooter } from '../../src/columns/parquet/schema.ts'
import { parseDdl, sqlType } from '../../src/columns/schema.ts'
import type { Batch, Cell, Schema } from '../../src/columns/types.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { memorySource } from '../helpers/memory-source.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { SHAPED, SHAPES, shapedRows } from './shapes.ts'
import { cellsOf, Random, randomBatch, readRows, spelled, written } from './values.ts'

const folder = temporaryFolder()
let instance: DuckDBInstance
let duckdb: DuckDBConnection
beforeAll(async () => {
  instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  duckdb = await instance.connect()
})
afterAll(() => {
  duckdb.closeSync()
  instance.closeSync()
  folder[Symbol.dispose]()
})

let files = 0
/** The bytes of a file that DuckDB writes. */
async function copied(select: string, options = ''): Promise<Uint8Array> {
  const path = join(folder.path, `${files++}.parquet`)
  await duckdb.run(`COPY (${select}) TO '${path}' (FORMAT parquet${options})`)
  return readFileSync(path)
}

/** What DuckDB counts in a file of ours. */
async function counted(bytes: Uint8Array, where: string): Promise<bigint> {
  const path = join(folder.path, `${files++}.parquet`)
  writeFileSync(path, bytes)
  const reader = await duckdb.runAndReadAll(`SELECT count(*) FROM '${path}' WHERE ${where}`)
  return reader.getRows()[0]![0] as bigint
}

async function schemaOf(bytes: Uint8Array): Promise<Schema> {
  return schemaOfFooter(await readFooter(memorySource('duckdb.parquet', bytes)), 'duckdb.parquet')
}

const TYPES = `
  SELECT i::TINYINT - 100 AS i8, (i * 7)::SMALLINT AS i16, i::INTEGER - 3 AS i32, i::BIGINT * 9007199254740993 AS i64,
    i::UTINYINT AS u8, i::USMALLINT AS u16, (4294967295 - i)::UINTEGER AS u32,
    (i / 7)::FLOAT AS f32, (i / 7)::DOUBLE AS f64, (i % 3 = 0) AS flag,
    (i * 1.25)::DECIMAL(9,2) AS d9, (i * -1.25)::DECIMAL(18,3) AS d18, (i * 123456789012345678::DECIMAL(28,0))::DECIMAL(38,10) AS d38,
    'text ' || (i % 10) AS few, 'ü "' || i || '"' AS many, ('\\x00\\xFF' || (i % 10))::BLOB AS bin,
    DATE '1969-12-25' + i::INTEGER AS day, TIMESTAMP '1969-12-31 23:59:59.999999' + to_microseconds(i) AS wall,
    TIMESTAMPTZ '1960-01-01 00:00:00.000001+00' + to_days(i::INTEGER) AS seen,
    TIMESTAMP_MS '1969-12-31 23:59:59.999' AS ms, TIMESTAMP_S '1969-12-31 23:59:59' AS s
  FROM range(100) t(i)`

describe('a file of ours', () => {
  for (const shape of SHAPES)
    for (const nulls of [0, 5])
      test(`of ${shape} values, ${nulls === 0 ? 'none' : `every ${nulls}th`} NULL, is what DuckDB reads`, async () => {
        const { cells, pieces } = shapedRows(shape, nulls)
        const path = join(folder.path, `${files++}.parquet`)
        writeFileSync(path, (await written(SHAPED, pieces, 3000)).bytes)
        const theirs = await copied(`SELECT * FROM '${path}'`)
        expect((await readRows(theirs, SHAPED)).map(spelled)).toEqual(cells.map(spelled))
        // The bounds of its row groups leave none out.
        const value = cells[4321]![1] ?? cells[4320]![1] ?? cells[4319]![1]
        const wanted = cells.filter(row => row[1] === value).length
        const reader = await duckdb.runAndReadAll(`SELECT count(*) FROM '${path}' WHERE i = ${value}`)
        expect(reader.getRows()[0]![0]).toBe(BigInt(wanted))
      })
})

describe('a file by DuckDB', () => {
  const expected = (i: number): Cell[] => {
    const n = BigInt(i)
    return [
      i - 100,
      i * 7,
      i - 3,
      n * 9007199254740993n,
      i,
      i,
      4294967295n - n,
      Math.fround(i / 7),
      i / 7,
      i % 3 === 0,
      n * 125n,
      n * -1250n,
      n * 123456789012345678n * 10n ** 10n,
      `text ${i % 10}`,
      `ü "${i}"`,
      Uint8Array.of(0, 255, 48 + (i % 10)),
      i - 7,
      -1n + n,
      -315_619_200_000_000n + 1n + n * 86_400_000_000n,
      -1000n,
      -1_000_000n,
    ]
  }

  for (const options of [
    ', COMPRESSION uncompressed',
    ', COMPRESSION snappy',
    ', COMPRESSION gzip',
    ', COMPRESSION zstd',
    ', COMPRESSION lz4_raw',
    ', COMPRESSION brotli',
    ', PARQUET_VERSION V2, COMPRESSION zstd',
    ', PARQUET_VERSION V2, COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 1',
    ', ROW_GROUP_SIZE 30',
  ]) {
    test(`is read exactly: ${options.slice(2)}`, async () => {
      const bytes = await copied(TYPES, options)
      const schema = await schemaOf(bytes)
      expect(schema.map(({ name, type }) => `${name} ${sqlType(type)}`)).toEqual([
        'i8 TINYINT',
        'i16 SMALLINT',
        'i32 INT',
        'i64 BIGINT',
        'u8 SMALLINT',
        'u16 INT',
        'u32 BIGINT',
        'f32 FLOAT',
        'f64 DOUBLE',
        'flag BOOLEAN',
        'd9 DECIMAL(9,2)',
        'd18 DECIMAL(18,3)',
        'd38 DECIMAL(38,10)',
        'few STRING',
        'many STRING',
        'bin BINARY',
        'day DATE',
        'wall TIMESTAMP_NTZ',
        'seen TIMESTAMP',
        'ms TIMESTAMP_NTZ',
        's TIMESTAMP_NTZ',
      ])
      const rows = await readRows(bytes, schema)
      expect(spelled(rows)).toEqual(spelled(Array.from({ length: 100 }, (_, i) => expected(i))))
    })
  }

  test('is read exactly where values are NULL and nested', async () => {
    const bytes = await copied(`
      SELECT CASE WHEN i % 3 = 0 THEN NULL ELSE i END::INTEGER AS a,
        CASE WHEN i % 4 = 0 THEN NULL WHEN i % 4 = 1 THEN [] ELSE [i::INTEGER, NULL] END AS l,
        CASE WHEN i % 5 = 0 THEN NULL ELSE {'x': i::INTEGER, 'y': {'z': CASE WHEN i % 2 = 0 THEN 'e' END}} END AS s,
        CASE WHEN i % 4 = 0 THEN NULL WHEN i % 4 = 1 THEN MAP {} ELSE MAP {'k' || i: i::BIGINT, 'n': NULL} END AS m,
        CASE WHEN i % 3 = 0 THEN [] WHEN i % 3 = 1 THEN [NULL, []] ELSE [[i::INTEGER], [1, NULL, 2]] END AS ll,
        CASE WHEN i % 3 = 0 THEN [] ELSE [{'p': [i::INTEGER], 'q': NULL::VARCHAR}, NULL] END AS ls,
        MAP {i::INTEGER: [{'r': i::INTEGER}]} AS ml,
        NULL::DOUBLE AS nothing
      FROM range(40) t(i)`)
    const schema = await schemaOf(bytes)
    expect(schema.map(({ name, type }) => `${name} ${sqlType(type)}`)).toEqual([
      'a INT',
      'l ARRAY<INT>',
      's STRUCT<x: INT, y: STRUCT<z: STRING>>',
      'm MAP<STRING, BIGINT>',
      'll ARRAY<ARRAY<INT>>',
      'ls ARRAY<STRUCT<p: ARRAY<INT>, q: STRING>>',
      'ml MAP<INT, ARRAY<STRUCT<r: INT>>>',
      'nothing DOUBLE',
    ])
    const rows = Array.from({ length: 40 }, (_, i): Cell[] => [
      i % 3 === 0 ? null : i,
      i % 4 === 0 ? null : i % 4 === 1 ? [] : [i, null],
      i % 5 === 0 ? null : [i, [i % 2 === 0 ? 'e' : null]],
      i % 4 === 0
        ? null
        : i % 4 === 1
          ? []
          : [
              [`k${i}`, BigInt(i)],
              ['n', null],
            ],
      i % 3 === 0 ? [] : i % 3 === 1 ? [null, []] : [[i], [1, null, 2]],
      i % 3 === 0 ? [] : [[[i], null], null],
      [[i, [[i]]]],
      null,
    ])
    expect(spelled(await readRows(bytes, schema))).toEqual(spelled(rows))
    // A table that knows fewer fields, or more, reads the ones that are there.
    const other = parseDdl('s:struct<y:struct<z:string,w:int>>,ls:array<struct<q:string,p:array<int>>>,extra:int')
    expect(spelled(await readRows(bytes, other))).toEqual(
      spelled(
        rows.map(([, , s, , , ls]) => [
          s === null ? null : [[((s as Cell[])[1] as Cell[])[0]!, null]],
          (ls as (Cell[] | null)[]).map(item => (item === null ? null : [item[1]!, item[0]!])),
          null,
        ]),
      ),
    )
  })

  test('is read exactly where pages are many and values long', async () => {
    const bytes = await copied(
      `SELECT i::BIGINT AS i, repeat('x', (i % 50)::INTEGER) || i AS t, CASE WHEN i % 7 = 0 THEN NULL ELSE i % 5 END::INTEGER AS few,
         range(i % 4) AS l FROM range(30000) t(i)`,
      ', ROW_GROUP_SIZE 20000',
    )
    const rows = await readRows(bytes, await schemaOf(bytes))
    expect(rows.length).toBe(30_000)
    for (const [i, [n, text, few, list]] of rows.entries()) {
      const right =
        n === BigInt(i) &&
        text === `${'x'.repeat(i % 50)}${i}` &&
        few === (i % 7 === 0 ? null : i % 5) &&
        (list as Cell[]).length === i % 4
      if (!right) expect([i, n, text, few, list]).toEqual([])
    }
  })

  test('that has a type which Delta has not is taken as one that holds its values', async () => {
    const taken = async (value: string, type: string): Promise<Cell[]> => {
      const bytes = await copied(`SELECT unnest([${value}, NULL]) AS x`)
      const schema = await schemaOf(bytes)
      expect(sqlType(schema[0]!.type)).toBe(type)
      return (await readRows(bytes, schema)).map(([cell]) => cell!)
    }
    expect(await taken("TIME '10:00:00'", 'STRING')).toEqual(['10:00:00', null])
    expect(await taken("TIME '23:59:59.00001'", 'STRING')).toEqual(['23:59:59.000010', null])
    expect(await taken('18446744073709551615::UBIGINT', 'DECIMAL(20,0)')).toEqual([18446744073709551615n, null])
    expect(await taken("'6f4dd96a-0000-4fcd-8000-d9f7a2d4a0ff'::UUID", 'STRING')).toEqual([
      '6f4dd96a-0000-4fcd-8000-d9f7a2d4a0ff',
      null,
    ])
    expect(await taken("TIMESTAMP_NS '1969-12-31 23:59:59.123456789'", 'TIMESTAMP_NTZ')).toEqual([-876_544n, null])
  })

  test('that has a type which nothing stands for is refused by name', async () => {
    const bytes = await copied(`SELECT INTERVAL 3 MONTH AS odd`)
    const failure: unknown = await schemaOf(bytes).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(ParquetError)
    expect((failure as ParquetError).code).toBe('unsupported')
    expect((failure as Error).message).toContain('duckdb.parquet: column odd is of the type INTERVAL')
  })

  test('whose values do not fit the table is refused, not rounded', async () => {
    const refused = async (value: string, ddl: string): Promise<void> => {
      const bytes = await copied(`SELECT ${value} AS x`)
      await expect(readRows(bytes, parseDdl(`x:${ddl}`))).rejects.toThrow(ParquetError)
    }
    await refused('1.23::DECIMAL(5,2)', 'Decimal(5,1)')
    await refused("'a'", 'Int32')
    await refused('1', 'String')
    await refused('5000000000::BIGINT', 'Int32')
    await refused('[1]', 'Int32')
    await refused('1', 'array<int>')
    await refused('1', 'struct<a:int>')
    await refused("{'a': 1}", 'map<string,int>')
  })

  test('that is cut off, or has one bit changed, is an error or rows, never a crash', async () => {
    const random = new Random(5)
    for (const options of [
      ', COMPRESSION uncompressed',
      ', PARQUET_VERSION V2, COMPRESSION zstd',
      ', COMPRESSION gzip',
    ]) {
      const bytes = await copied(`SELECT *, [i8, NULL] AS l, {'a': few} AS s FROM (${TYPES})`, options)
      const schema = await schemaOf(bytes)
      for (let round = 0; round < 250; round++) {
        const changed = bytes.slice()
        changed[random.below(changed.length)]! ^= 1 << random.below(8)
        try {
          for (const row of await readRows(changed, schema)) expect(row.length).toBe(schema.length)
        } catch (error) {
          expect(error).toBeInstanceOf(ParquetError)
        }
      }
    }
  })
})

describe('a file of ours', () => {
  test('is what DuckDB reads, whatever it skips by the statistics of row groups', async () => {
    const schema = parseDdl(
      'f:Float64,g:Float32,s:String,d:Decimal(38,2),m:Decimal(9,2),b:Binary,t:Timestamp,day:Date,i:Int64',
    )
    const nan: Cell[] = [Number.NaN, Number.NaN, '', 0n, 0n, new Uint8Array(0), 0n, 0, 0n]
    const rows: Cell[][] = [
      nan,
      [1.5, 2.5, 'é', -5n, -5n, Uint8Array.of(255), -1n, -1, -(2n ** 63n)],
      [Number.POSITIVE_INFINITY, -0, '𝄞', 10n ** 38n - 1n, 999_999_999n, Uint8Array.of(0), 1n, 1, 2n ** 63n - 1n],
      [-0, 0, '\uffee', -(10n ** 38n) + 1n, 1n, Uint8Array.of(1, 2), -(10n ** 15n), 19_000, 5n],
      [Number.NEGATIVE_INFINITY, 1, `${'z'.repeat(5000)}!`, 7n, 7n, new Uint8Array(3000).fill(255), 5n, 5, 7n],
      rows0(),
    ]
    function rows0(): Cell[] {
      return schema.map(() => null)
    }
    const bytes = (
      await written(
        schema,
        [
          batchOf(
            schema.map(field => field.type),
            rows,
          ),
        ],
        1,
      )
    ).bytes
    expect(await counted(bytes, 'isnan(f)')).toBe(1n)
    expect(await counted(bytes, 'f > 1e300')).toBe(2n)
    expect(await counted(bytes, 'f = 0')).toBe(1n)
    expect(await counted(bytes, 'g = 0')).toBe(2n)
    expect(await counted(bytes, "f = '-Infinity'::DOUBLE")).toBe(1n)
    expect(await counted(bytes, "s = '𝄞'")).toBe(1n)
    expect(await counted(bytes, "s > '\uffed'")).toBe(2n)
    expect(await counted(bytes, "s > repeat('z', 5000)")).toBe(4n)
    expect(await counted(bytes, "s = ''")).toBe(1n)
    expect(await counted(bytes, 'd = -0.05')).toBe(1n)
    expect(await counted(bytes, 'd > 99999999999999999999999999999999999')).toBe(1n)
    expect(await counted(bytes, 'd < -99999999999999999999999999999999999')).toBe(1n)
    expect(await counted(bytes, 'm < 0')).toBe(1n)
    expect(await counted(bytes, "b = '\\xFF'::BLOB")).toBe(1n)
    expect(await counted(bytes, "b > '\\xFE'::BLOB")).toBe(2n)
    expect(await counted(bytes, "t < TIMESTAMPTZ '1970-01-01 00:00:00+00'")).toBe(2n)
    expect(await counted(bytes, "day = DATE '1969-12-31'")).toBe(1n)
    expect(await counted(bytes, 'i = 9223372036854775807')).toBe(1n)
    expect(await counted(bytes, 'i < 0')).toBe(1n)
    expect(await counted(bytes, 'f IS NULL AND s IS NULL AND d IS NULL')).toBe(1n)
  })

  test('keeps its values when DuckDB writes them again', async () => {
    const schema = parseDdl(
      `i8:Int8,i16:Int16,i32:Int32,i64:Int64,f32:Float32,f64:Float64,dec:Decimal(38,10),money:Decimal(9,2),
       text:String,flag:Boolean,bin:Binary,list:array<int>,deep:array<array<string>>,pairs:map<string,bigint>,
       nested:struct<a:int,b:string,c:array<struct<x:double,y:date>>>`,
    )
    const batch: Batch = randomBatch(schema, 500, 31)
    const path = join(folder.path, 'ours.parquet')
    writeFileSync(path, (await written(schema, [batch], 123)).bytes)
    const bytes = await copied(`SELECT * FROM '${path}'`)
    // In DuckDB's dictionaries -0 and 0 are one value.
    const unsigned = (rows: Cell[][]): string => JSON.stringify(spelled(rows)).replaceAll('"-0"', '"0"')
    expect(unsigned(await readRows(bytes, schema))).toBe(unsigned(cellsOf(batch)))
  })
})

describe('the first rows of a row group', () => {
  test('are those of all of it, out of the first bytes of its pages, or are refused', async () => {
    for (const [codec, nulls] of [
      ['snappy', false],
      ['snappy', true],
      ['uncompressed', true],
      ['zstd', false],
    ] as const) {
      const some = nulls ? 'CASE WHEN i % 7 < 3 THEN NULL ELSE i * 31 END' : 'i * 31'
      const bytes = await copied(
        `SELECT ${some} AS n, i % 10 AS few, ${some} / 8 AS x, 'text ' || ${some} AS s, i % 3 = 0 AS flag FROM range(60000) t(i)`,
        `, ROW_GROUP_SIZE 60000, COMPRESSION ${codec}`,
      )
      const source = memorySource('first.parquet', bytes)
      const footer = await readFooter(source)
      const schema = await schemaOf(bytes)
      const all = await readRows(bytes, schema)
      for (const rows of [1, 100, 5000, 60_000]) {
        const whole = decodeFirstRows(await fetchRowGroup(source, footer, 0, schema), schema, rows)
        expect(Bun.deepEquals(cellsOf(whole), all.slice(0, rows))).toBe(true)
        for (const most of [20, 5000, 40_000]) {
          const fetched = await fetchRowGroup(source, footer, 0, schema, new Map(), most)
          const isEnough = rows === 100 && most === 40_000 && codec === 'snappy'
          try {
            expect(Bun.deepEquals(cellsOf(decodeFirstRows(fetched, schema, rows)), all.slice(0, rows))).toBe(true)
          } catch (error) {
            expect([error instanceof ParquetError, isEnough]).toEqual([true, false])
          }
        }
      }
    }
  })
})
