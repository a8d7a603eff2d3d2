import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ParquetFileWriter } from '../../src/columns/parquet/write.ts'
import { parseDdl, sqlType } from '../../src/columns/schema.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { localStore } from '../../src/storage/local.ts'
import { createFromCsv, createFromParquet } from '../../src/table/operations/import.ts'
import type { Table } from '../../src/table/table.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const pool = new WorkerPool({ threads: 2 })
afterAll(() => pool.close())

const columns = (table: Table): string[] => table.snapshot.schema.map(({ name, type }) => `${name} ${sqlType(type)}`)
const rows = (table: Table): number => table.snapshot.files.reduce((sum, file) => sum + file.rows!, 0)

async function message(run: Promise<unknown>): Promise<string> {
  try {
    await run
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('it did not fail')
}

describe('a table from CSV', () => {
  test('has the types that its values have, and is one commit', async () => {
    using folder = temporaryFolder()
    const csv = join(folder.path, 'in.csv')
    writeFileSync(csv, 'id,name,price,day,ok\r\n1,"a, b",1.5,2024-01-02,true\r\n2,,2,2024-01-03,false')
    const table = await createFromCsv(localStore(join(folder.path, 'deep', 'table')), [csv], { pool })
    expect(columns(table)).toEqual(['id BIGINT', 'name STRING', 'price DOUBLE', 'day DATE', 'ok BOOLEAN'])
    expect({ rows: rows(table), version: table.snapshot.version }).toEqual({ rows: 2, version: 0n })
  })

  test('takes a wider type where a later row does not fit what the first rows promised', async () => {
    using folder = temporaryFolder()
    const csv = join(folder.path, 'in.csv')
    writeFileSync(csv, `id,n\n${Array.from({ length: 400_000 }, (_, i) => `${i},${i}`).join('\n')}\nlast,1.5\n`)
    const table = await createFromCsv(localStore(join(folder.path, 'table')), [csv], { pool })
    expect(columns(table)).toEqual(['id STRING', 'n DOUBLE'])
    expect(rows(table)).toBe(400_001)
    expect(readdirSync(join(folder.path, 'table')).filter(name => name.endsWith('.parquet')).length).toBe(
      table.snapshot.files.length,
    )
  }, 20_000)

  test('takes several files, whose columns may stand in another order, if the types are given', async () => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, '1.csv'), 'a,b\n1,x\n')
    writeFileSync(join(folder.path, '2.csv'), 'b,a\ny,2\n')
    const paths = ['1.csv', '2.csv'].map(name => join(folder.path, name))
    const table = await createFromCsv(localStore(join(folder.path, 'table')), paths, {
      pool,
      schema: parseDdl('a:Int8,b:String'),
    })
    expect({ columns: columns(table), rows: rows(table) }).toEqual({ columns: ['a TINYINT', 'b STRING'], rows: 2 })
  })

  test('that cannot be made names file, line and column, and leaves nothing behind', async () => {
    using folder = temporaryFolder()
    const target = join(folder.path, 'new', 'table')
    const failing = async (text: string, ddl?: string): Promise<string> => {
      const csv = join(folder.path, 'bad.csv')
      writeFileSync(csv, text)
      const said = await message(
        createFromCsv(localStore(target), [csv], { pool, ...(ddl === undefined ? {} : { schema: parseDdl(ddl) }) }),
      )
      expect(existsSync(join(folder.path, 'new'))).toBe(false)
      return said
    }
    expect(await failing('id,name\n1,a\n2\n')).toMatch(/bad\.csv.*line 3/)
    expect(await failing('id,name\n1,"a\n2,b\n')).toMatch(/bad\.csv.*line 2/)
    expect(await failing('id,name\nx,a\n', 'id:Int32,name:String')).toMatch(/bad\.csv.*line 2.*id/)
    expect(await failing('id,id\n')).toMatch(/bad\.csv.*named twice/)
    expect(await failing('')).toMatch(/bad\.csv.*empty/)
    expect(await message(createFromCsv(localStore(target), [join(folder.path, 'missing.csv')], { pool }))).toContain(
      'missing.csv',
    )
    mkdirSync(join(folder.path, 'kept'))
    writeFileSync(join(folder.path, 'kept', 'note'), '')
    await message(createFromCsv(localStore(join(folder.path, 'kept')), [join(folder.path, 'bad.csv')], { pool }))
    expect(readdirSync(join(folder.path, 'kept'))).toEqual(['note'])
  })
})

describe('a table from Parquet', () => {
  async function parquet(
    path: string,
    ddl: string,
    value: (i: number) => (string | bigint | number)[],
  ): Promise<string> {
    const schema = parseDdl(ddl)
    const pieces: Uint8Array[] = []
    const writer = new ParquetFileWriter({ write: bytes => void pieces.push(bytes) }, schema)
    await writer.write(
      batchOf(
        schema.map(field => field.type),
        Array.from({ length: 10 }, (_, i) => value(i)),
      ),
    )
    await writer.finish()
    writeFileSync(path, Buffer.concat(pieces))
    return path
  }

  test('has their columns and rows', async () => {
    using folder = temporaryFolder()
    const files = await Promise.all(
      [1, 2].map(n =>
        parquet(join(folder.path, `${n}.parquet`), 'id:Int64,d:Decimal(20,2),i:Int16', i => [BigInt(i), 7n, i]),
      ),
    )
    const table = await createFromParquet(localStore(join(folder.path, 'table')), files, { pool })
    expect({ columns: columns(table), rows: rows(table) }).toEqual({
      columns: ['id BIGINT', 'd DECIMAL(20,2)', 'i SMALLINT'],
      rows: 20,
    })
  })

  test('is refused where the files differ, or are none', async () => {
    using folder = temporaryFolder()
    const one = await parquet(join(folder.path, '1.parquet'), 'id:Int64', i => [BigInt(i)])
    const two = await parquet(join(folder.path, '2.parquet'), 'id:String', i => [String(i)])
    expect(await message(createFromParquet(localStore(join(folder.path, 'table')), [one, two], { pool }))).toMatch(
      /2\.parquet has the columns id STRING/,
    )
    writeFileSync(join(folder.path, '3.parquet'), 'no Parquet at all')
    expect(
      await message(
        createFromParquet(localStore(join(folder.path, 'table')), [join(folder.path, '3.parquet')], { pool }),
      ),
    ).toContain('3.parquet')
    expect(existsSync(join(folder.path, 'table'))).toBe(false)
  })
})
