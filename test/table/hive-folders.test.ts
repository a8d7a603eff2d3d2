import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ParquetFileWriter } from '../../src/columns/parquet/write.ts'
import { parseDdl, sqlType } from '../../src/columns/schema.ts'
import type { Cell } from '../../src/columns/types.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { csvOf, execute } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import { folderCell, folderColumns } from '../../src/table/operations/hive-folders.ts'
import { createFromCsv, createFromParquet } from '../../src/table/operations/import.ts'
import type { Table } from '../../src/table/table.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

async function put(path: string, ddl: string, ...rows: readonly Cell[][]): Promise<string> {
  mkdirSync(dirname(path), { recursive: true })
  const schema = parseDdl(ddl)
  const pieces: Uint8Array[] = []
  const writer = new ParquetFileWriter({ write: bytes => void pieces.push(bytes) }, schema)
  await writer.write(
    batchOf(
      schema.map(({ type }) => type),
      rows,
    ),
  )
  await writer.finish()
  writeFileSync(path, Buffer.concat(pieces))
  return path
}

const columns = (table: Table): string =>
  table.snapshot.schema.map(({ name, type }) => `${name} ${sqlType(type)}`).join()

async function rows(table: Table): Promise<string> {
  const outcome = await execute(table, 'FROM data')
  if (outcome.kind !== 'rows') throw new Error('there are no rows')
  return new TextDecoder().decode(Buffer.concat(await Array.fromAsync(csvOf(outcome.result))))
}

async function message(run: () => unknown): Promise<string> {
  try {
    await run()
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('it did not fail')
}

describe('folders that are called name=value', () => {
  test('give columns of numbers, dates or text, decoded, one type for all files', () => {
    const found = (...paths: string[]): unknown => {
      const { schema, values } = folderColumns(paths)
      return schema.map(({ name, type }, i) => [name, sqlType(type), values.map(own => folderCell(own[i]!, type))])
    }
    expect(found('d/year=2023/month=1/a.parquet', 'd/year=-1/month=__HIVE_DEFAULT_PARTITION__/b')).toEqual([
      ['year', 'BIGINT', [2023n, -1n]],
      ['month', 'BIGINT', [1n, null]],
    ])
    expect(found('day=2024-02-29/a', 'day=1970-01-01/a')).toEqual([['day', 'DATE', [19_782, 0]]])
    for (const values of [
      ['1', 'x'],
      ['01', '12'],
      ['2024-02-29', '1'],
      ['2024-02-30'],
      ['9223372036854775808'],
      ['1.5'],
      ['true'],
      ['-0'],
      ['', 'a'],
      ['', ''],
      ['null'],
      ['a=b'],
    ])
      expect(found(...values.map(value => `k=${value}/a`))).toEqual([['k', 'STRING', values]])
    expect(found('k=/a', 'k=7/a')).toEqual([['k', 'BIGINT', [null, 7n]]])
    expect(found('a%20b=x%2Fy%3D%C3%BC%25zz%/f', 'a b=ü/f')).toEqual([['a b', 'STRING', ['x/y=ü%zz%', 'ü']]])
    expect(found('plain/=x/a.parquet', 'year=1.parquet')).toEqual([])
  })

  test('that disagree, or say what no table can have, are refused by a sentence', () => {
    expect(() => folderColumns(['d/y=1/a', 'd/b'])).toThrow(
      'd/b lies in no folders that name a column, d/y=1/a in folders that name y; import them one by one',
    )
    expect(() => folderColumns(['d/y=1/a', 'd/y=1/m=2/b'])).toThrow('d/y=1/m=2/b lies in folders that name y, m')
    expect(() => folderColumns(['d/y=1/m=1/a', 'd/m=1/y=2/b'])).toThrow('folders that name m, y')
    expect(() => folderColumns(['y=1/Y=2/a'])).toThrow('the column Y is named twice')
    expect(() => folderColumns(['y=%FF/a'])).toThrow('y=%FF/a: %FF in the name of the folder is not UTF-8')
  })
})

describe('Parquet in folders', () => {
  test('has their columns behind those of the files, whether files or the folder are given', async () => {
    using folder = temporaryFolder()
    const d = join(folder.path, 'd')
    const a = await put(join(d, 'year=2023/city=S%C3%A3o%20Paulo/a.parquet'), 'id:Int64', [1n], [2n])
    const b = await put(join(d, 'year=2024/city=__HIVE_DEFAULT_PARTITION__/b.parquet'), 'id:Int64', [3n])
    for (const name of ['_SUCCESS', '.a.parquet.crc', 'year=2024/_temporary/x', '.hidden/y=1/z'])
      await put(join(d, name), 'other:String', ['x'])
    const expected = 'id,year,city\n1,2023,São Paulo\n2,2023,São Paulo\n3,2024,\n'
    const said: string[] = []
    for (const [i, paths] of [[a, b], [d], [`${d}/`], [join(d, 'year=2023'), join(d, 'year=2024')]].entries()) {
      const table = await createFromParquet(localStore(join(folder.path, String(i))), paths, {
        pool,
        log: s => said.push(s),
      })
      expect([columns(table), await rows(table)]).toEqual(['id BIGINT,year BIGINT,city STRING', expected])
    }
    expect(new Set(said)).toEqual(new Set(['the names of the folders give year BIGINT, city STRING']))
  })

  test('may have the columns in the files, too, if they say the same', async () => {
    using folder = temporaryFolder()
    const d = join(folder.path, 'd')
    await put(join(d, 'y=2023/day=2024-01-01/a.parquet'), 'y:Int32,day:Date,id:Int64', [2023, 19_723, 1n])
    await put(join(d, 'y=2024/day=__HIVE_DEFAULT_PARTITION__/b.parquet'), 'y:Int32,day:Date,id:Int64', [2024, null, 2n])
    const table = await createFromParquet(localStore(join(folder.path, 't')), [d], { pool })
    expect([columns(table), await rows(table)]).toEqual([
      'y INT,day DATE,id BIGINT',
      'y,day,id\n2023,2024-01-01,1\n2024,,2\n',
    ])
    const other = await put(join(folder.path, 'e/y=5/c.parquet'), 'y:Int32', [5], [6])
    expect(await message(() => createFromParquet(localStore(join(folder.path, 'x')), [other], { pool }))).toBe(
      `${other}: row 2, column y: the value is not the one in the name of the folder`,
    )
    const words = await put(join(folder.path, 'e/y=five/c.parquet'), 'y:Int32', [5])
    expect(await message(() => createFromParquet(localStore(join(folder.path, 'x')), [words], { pool }))).toBe(
      `${words}: column y is INT, and its folder is called y=five`,
    )
    const cased = await put(join(folder.path, 'e/Y=5/c.parquet'), 'y:Int32', [5])
    expect(await message(() => createFromParquet(localStore(join(folder.path, 'x')), [cased], { pool }))).toContain(
      'the column Y is named twice: y and Y differ in case only',
    )
    expect(existsSync(join(folder.path, 'x'))).toBe(false)
  })

  test('is refused where there is none, or a Delta table, and links that lead back are no endless loop', async () => {
    using folder = temporaryFolder()
    const target = join(folder.path, 'table')
    mkdirSync(join(folder.path, 'empty/_x'), { recursive: true })
    expect(
      await message(() => createFromParquet(localStore(target), [join(folder.path, 'empty')], { pool })),
    ).toContain('there are no files in this folder')
    const d = join(folder.path, 'd')
    await put(join(d, 'k=1/a.parquet'), 'id:Int64', [1n])
    symlinkSync(d, join(d, 'k=1/up'))
    const table = await createFromParquet(localStore(target), [d], { pool })
    expect(await rows(table)).toBe('id,k\n1,1\n')
    expect(
      await message(() => createFromParquet(localStore(join(folder.path, 'x')), [folder.path], { pool })),
    ).toContain(
      `${target} is a Delta table, whose files may hold rows that were deleted; copy its rows: posixlake query ${target}`,
    )
  })
})

describe('CSV in folders', () => {
  const put = (path: string, text: string): string => {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    return path
  }

  test('has their columns, too, with the types that are found or given', async () => {
    using folder = temporaryFolder()
    const d = join(folder.path, 'd')
    const paths = [
      put(join(d, 'year=2023/city=S%C3%A3o/a.csv'), 'id,x\n1,a\n2,b\n'),
      put(join(d, 'year=2024/city=__HIVE_DEFAULT_PARTITION__/b.csv'), 'id,x\n3,c\n'),
    ]
    const said: string[] = []
    const log = (sentence: string): number => said.push(sentence)
    const found = await createFromCsv(localStore(join(folder.path, 't')), paths, { pool, log })
    expect([columns(found), await rows(found)]).toEqual([
      'id BIGINT,x STRING,year BIGINT,city STRING',
      'id,x,year,city\n1,a,2023,São\n2,b,2023,São\n3,c,2024,\n',
    ])
    const schema = parseDdl('year:Int16,x:String,id:Int32')
    const given = await createFromCsv(localStore(join(folder.path, 'u')), paths, { pool, log, schema })
    expect([columns(given), await rows(given)]).toEqual([
      'year SMALLINT,x STRING,id INT',
      'year,x,id\n2023,a,1\n2023,b,2\n2024,c,3\n',
    ])
    expect(said).toEqual([
      'the names of the folders give year BIGINT, city STRING',
      'the names of the folders give year SMALLINT',
      'the names of the folders also give city STRING, which --schema leaves out',
    ])
  })

  test('may have the columns in the files, too, if they say the same', async () => {
    using folder = temporaryFolder()
    const same = put(join(folder.path, 'y=07/k=1/a.csv'), 'id,k,y\n1,1,07\n')
    const table = await createFromCsv(localStore(join(folder.path, 't')), [same], { pool })
    expect([columns(table), await rows(table)]).toEqual(['id BIGINT,k BIGINT,y STRING', 'id,k,y\n1,1,07\n'])
    const other = put(join(folder.path, 'k=2/a.csv'), 'id,k\n1,2\n2,3\n')
    expect(await message(() => createFromCsv(localStore(join(folder.path, 'x')), [other], { pool }))).toBe(
      `${other}: column k: "3" is not the value in the name of the folder`,
    )
    const words = put(join(folder.path, 'k=two/a.csv'), 'id,k\n1,2\n')
    expect(await message(() => createFromCsv(localStore(join(folder.path, 'x')), [words], { pool }))).toBe(
      `${words}: column k is BIGINT, and its folder is called k=two`,
    )
    const plain = put(join(folder.path, 'a.csv'), 'id,k\n1,2\n')
    const cased = put(join(folder.path, 'K=2/a.csv'), 'id,k\n1,2\n')
    expect(await message(() => createFromCsv(localStore(join(folder.path, 'x')), [cased], { pool }))).toContain(
      'differ in case only',
    )
    expect(await message(() => createFromCsv(localStore(join(folder.path, 'x')), [other, plain], { pool }))).toContain(
      'import them one by one',
    )
    expect(existsSync(join(folder.path, 'x'))).toBe(false)
  })
})
