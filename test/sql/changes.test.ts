import { describe, expect, test } from 'bun:test'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MemoryCache } from '../../src/cache/memory.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { textFormat } from '../../src/columns/text/formats/index.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { openText } from '../../src/fs/text/layout.ts'
import { Segments } from '../../src/fs/text/segments.ts'
import { execute } from '../../src/sql/engine.ts'
import { SqlError } from '../../src/sql/errors.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

async function letters(folder: string, count = 4): Promise<Table> {
  const schema = parseDdl('id:Int64 NOT NULL,name:String')
  const table = await createTable(localStore(folder), { schema })
  const rows = batchOf(
    schema.map(field => field.type),
    Array.from({ length: count }, (_, i) => [BigInt(i + 1), String.fromCharCode(97 + (i % 26))]),
  )
  await commit(table, {
    base: table.snapshot,
    operation: 'WRITE',
    add: await writeDataFiles(table, [rows]),
    delete: [],
  })
  return table
}

async function view(table: Table): Promise<string[]> {
  const pool = new WorkerPool({ threads: 1 })
  const segments = new Segments({ cache: new MemoryCache(1 << 20), pool, store: table.store })
  const text = await openText(table, await table.refresh(), segments, textFormat('csv'))
  const lines = new TextDecoder()
    .decode(await text.read(0, text.size))
    .trimEnd()
    .split('\n')
  await pool.close()
  return lines.slice(1)
}

async function sentence(table: Table, sql: string): Promise<string> {
  try {
    await execute(table, sql)
  } catch (error) {
    if (error instanceof SqlError) return error.message
    throw error
  }
  throw new Error(`it did not fail: ${sql}`)
}

/** Whole numbers below a bound, the same ones for the same seed. */
function randomNumbers(seed: number): (bound: number) => number {
  let state = seed
  return bound => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) % bound
  }
}

describe('a statement that is not right', () => {
  test('changes nothing, however much of it could be understood', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path)
    for (const sql of [
      'DELETE FROM data WHRE id = 1',
      'DELETE FROM data d, other WHERE id = 1',
      'DELETE FROM data WHERE true LIMIT 1',
      'DELETE FROM data WHERE false UNION SELECT 0, 0',
      'DELETE FROM data id = 1',
      'DELETE FROM data.data',
      'DELETE data',
      'TRUNCATE',
      'TRUNCATE other',
      'TRUNCATE TABLE other',
      'TRUNCATE data WHERE id = 1',
      'TRUNCATE data.data',
      `UPDATE data SET name = 'x' WHRE id = 1`,
      `UPDATE data SET name = 'x' LIMIT 1`,
      `UPDATE data SET name = 'x', NAME = 'y'`,
      `UPDATE data name = 'x'`,
      `UPDATE other SET name = 'x'`,
      `INSERT INTO data VALUES (5, 'e') WHERE true`,
      `INSERT data VALUES (5, 'e')`,
      `MERGE INTO data USING (SELECT 1 AS id) s ON data.id = s.id WHEN MATCHED THEN DELETE WHERE true`,
      `MERGE INTO data USING (SELECT 1 AS id) s ON data.id = s.id WHEN MATCHED THEN INSERT VALUES (1, 'x')`,
      `MERGE INTO data USING (SELECT 9 AS id) s ON data.id = s.id WHEN NOT MATCHED THEN DELETE`,
      `MERGE INTO data USING (SELECT 1 AS id) s ON data.id = s.id`,
      `MERGE INTO data USING (SELECT 1 AS id) s ON data.id = s.id WHEN MATCHED THEN UPDATE SET nope = 1`,
      `MERGE INTO data USING (SELECT 1 AS id) s ON data.id = s.nope WHEN MATCHED THEN DELETE`,
      `MERGE INTO data USING (SELECT 9 AS id) s ON data.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (1, 2)`,
      `MERGE INTO data USING (SELECT 9 AS id) s ON data.id = s.id WHEN NOT MATCHED THEN INSERT (name) VALUES ('x')`,
      `MERGE INTO data USING (SELECT 9 AS id, 1 AS more) s ON data.id = s.id WHEN NOT MATCHED THEN INSERT *`,
      `MERGE INTO data USING (VALUES (1), (1)) s(id) ON data.id = s.id WHEN MATCHED THEN UPDATE SET name = 'x'`,
      `MERGE INTO data USING (SELECT 1 AS id) s ON data.id = s.id WHEN MATCHED THEN ERROR 'no ' || data.name`,
      `MERGE INTO other USING (SELECT 1 AS id) s ON other.id = s.id WHEN MATCHED THEN DELETE`,
      'DELETE FROM data RETURNING id',
    ])
      expect(await sentence(table, sql)).not.toMatch(/posixlake_|__file|__row|c0/)
    expect({ version: (await table.refresh()).version, rows: await view(table) }).toEqual({
      version: 1n,
      rows: ['1,a', '2,b', '3,c', '4,d'],
    })
  })

  test('is answered in words about the statement that was written', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path)
    expect(await sentence(table, 'DELETE FROM data WHRE id = 1')).toContain('LINE 1: DELETE FROM data WHRE id = 1')
    expect(await sentence(table, 'DELETE FROM data WHERE nope = 1')).toMatch(/^Binder Error: .*"nope"/)
    expect(await sentence(table, 'DELETE FROM data WHERE nope = 1')).not.toContain('LINE')
    expect(await sentence(table, `INSERT INTO data VALUES (NULL, 'x')`)).toBe(
      'Constraint Error: NOT NULL constraint failed: data.id',
    )
    expect(await sentence(table, 'INSERT INTO data VALUES (1, 2, 3)')).toContain('table data has 2 columns')
    expect(await sentence(table, 'UPDATE data SET id = NULL WHERE id = 1')).toBe('the column id takes no NULL')
    expect(await sentence(table, `UPDATE data SET id = name`)).toContain("Could not convert string 'a'")
    expect(await sentence(table, 'UPDATE data SET id = 9223372036854775808')).toContain('out of range')
    expect(await sentence(table, 'UPDATE data SET (id, name) = (1, 2)')).toContain('SET column = expression')
  })

  test('leaves no data file behind', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path)
    const before = readdirSync(folder.path).sort()
    await sentence(table, 'UPDATE data SET id = NULL WHERE id = 4')
    await sentence(table, `INSERT INTO data SELECT CAST(x AS BIGINT), 'n' FROM (VALUES ('5'), ('six')) v(x)`)
    await sentence(table, `INSERT INTO data SELECT NULL, 'n'`)
    await execute(table, `INSERT INTO data SELECT * FROM data WHERE false`)
    expect(readdirSync(folder.path).sort()).toEqual(before)
  })
})

describe('a statement that changes rows', () => {
  test('may call the table by another name, look at it again, and bring its own rows', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path)
    await execute(table, `DELETE FROM "data" AS "the table" WHERE "the table".id = (SELECT max(id) FROM data)`)
    await execute(
      table,
      `update DATA d set name = s.n from (values (1, 'A'), (1, 'A'), (9, 'Z')) s(i, n) where d.id = s.i`,
    )
    await execute(table, `WITH twos AS (SELECT 2 AS i) UPDATE data SET name = name || '!' FROM twos WHERE id = twos.i`)
    await execute(table, 'WITH threes AS (SELECT 3 AS i) DELETE FROM data WHERE id IN (FROM threes)')
    await execute(table, `INSERT INTO data BY NAME SELECT 'f' AS name, 6 AS id`)
    await execute(table, `INSERT INTO data (id) VALUES (7) -- the name is not known`)
    expect(await view(table)).toEqual(['1,A', '2,b!', '6,f', '7,'])
    expect(table.snapshot.version).toBe(7n)
  })

  test('compares with IS DISTINCT FROM, and takes DEFAULT for NULL', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path)
    await execute(table, `UPDATE data SET name = DEFAULT WHERE name IS NOT DISTINCT FROM 'b'`)
    await execute(table, `UPDATE data SET name = CASE WHEN id = 1 THEN 'one' ELSE ', where; from' END WHERE id <> 2`)
    await execute(table, `DELETE FROM data WHERE name IS DISTINCT FROM 'one' AND id > 3`)
    expect(await view(table)).toEqual(['1,one', '2,', '3,", where; from"'])
  })

  test('leaves every row at its place, through several updates and files', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path, 10)
    await execute(table, `INSERT INTO data SELECT i, 'new' FROM range(11, 16) t(i)`)
    await execute(table, `UPDATE data SET name = 'odd' WHERE id % 2 = 1`)
    await execute(table, 'DELETE FROM data WHERE id IN (2, 3, 4, 14)')
    await execute(table, `UPDATE data SET name = upper(name) WHERE id % 3 = 0`)
    await execute(table, `UPDATE data SET name = 'all:' || name`)
    expect(await view(table)).toEqual([
      '1,all:odd',
      '5,all:odd',
      '6,all:F',
      '7,all:odd',
      '8,all:h',
      '9,all:ODD',
      '10,all:j',
      '11,all:odd',
      '12,all:NEW',
      '13,all:odd',
      '15,all:ODD',
    ])
  })

  test('keeps the order of rows that were put anywhere among others, whichever rows it changes', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path, 8)
    const types = table.snapshot.schema.map(field => field.type)
    const random = randomNumbers(7)
    for (let step = 0; step < 8; step++) {
      const { files } = table.snapshot
      const order = {
        refs: files.map(file => file.path),
        runs: Array.from({ length: 1 + random(2) }, () => {
          const ref = random(files.length + 1) - 1
          return { count: 1 + random(3), ref, row: ref < 0 ? 0 : random(files[ref]!.rows!) }
        }),
      }
      const count = order.runs.reduce((sum, run) => sum + run.count, random(2))
      const rows = Array.from({ length: count }, (_, i) => [BigInt(100 * (step + 1) + i), 'x'])
      const add = await writeDataFiles(table, [batchOf(types, rows)], { order })
      await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
      if (step % 3 === 1) await execute(table, `DELETE FROM data WHERE id % 11 = ${random(11)}`)
      const before = (await view(table)).map(line => line.split(',')[0])
      const modulus = 1 + random(3)
      await execute(table, `UPDATE data SET name = '${step}' WHERE id % ${modulus} = ${random(modulus)}`)
      expect((await view(table)).map(line => line.split(',')[0])).toEqual(before)
    }
  })

  test('is one commit, which the history describes', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path)
    await execute(table, `UPDATE data SET name = 'x' WHERE id > 2`)
    await execute(table, 'DELETE FROM data WHERE id = 1')
    await execute(table, 'TRUNCATE TABLE data;')
    await execute(table, 'TRUNCATE data')
    const history = await table.history()
    expect(history.map(({ operation }) => operation)).toEqual(['TRUNCATE', 'DELETE', 'UPDATE', 'WRITE', 'CREATE TABLE'])
    expect(history[2]).toMatchObject({
      parameters: { predicate: '["id > 2"]' },
      metrics: { numUpdatedRows: '2', numAddedFiles: '1' },
    })
    expect(history[1]).toMatchObject({ metrics: { numDeletedRows: '1' } })
  })

  test('is run again on the table as it is when another writer was quicker', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path, 1)
    const other = await openTable(localStore(folder.path))
    await execute(table, `UPDATE data SET name = '0'`)
    const add = (of: Table): Promise<unknown> => execute(of, 'UPDATE data SET name = CAST(name AS BIGINT) + 1')
    await Promise.all([add(table), add(other), add(table), add(other)])
    expect(await view(table)).toEqual(['1,4'])
    expect(table.snapshot.version).toBe(6n)
  })

  test('does not make columns for a table that has none', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: [] })
    expect(await sentence(table, 'INSERT INTO data VALUES (1)')).toContain('no columns yet')
    expect(await sentence(table, 'DELETE FROM data')).toContain('no columns yet')
  })
})

describe('what a statement can reach', () => {
  test('is the data files, not what else is in the folder of the table', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path)
    mkdirSync(join(folder.path, '_posixlake', 'state'), { recursive: true })
    writeFileSync(join(folder.path, '_posixlake', 'state', 'secret'), 'secret')
    for (const path of ['_posixlake/state/secret', '_delta_log/00000000000000000000.json', '*.parquet'])
      expect(await sentence(table, `SELECT * FROM read_text('${folder.path}/${path}')`)).toStartWith('Permission Error')
    expect(
      await sentence(
        table,
        `INSERT INTO data SELECT 1, content FROM read_text('${folder.path}/_posixlake/state/secret')`,
      ),
    ).toStartWith('Permission Error')
  })

  test('does not depend on what the folder is called', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, `it's [1] {a,b} *?, "x" 100%`)
    mkdirSync(path)
    const table = await letters(path)
    await execute(table, `UPDATE data SET name = 'x' WHERE id = 1`)
    expect(await view(table)).toEqual(['1,x', '2,b', '3,c', '4,d'])
  })
})

describe('the default value of a column', () => {
  /** A table with the default of its columns as SQL. */
  async function withDefaults(folder: string, ddl: string, ...defaults: (string | undefined)[]): Promise<Table> {
    const schema = parseDdl(ddl).map((field, i) => {
      const sql = defaults[i]
      return sql === undefined ? field : { ...field, metadata: { CURRENT_DEFAULT: sql } }
    })
    return createTable(localStore(folder), { schema })
  }

  test('is what a row gets that says nothing of the column, or that says DEFAULT', async () => {
    using folder = temporaryFolder()
    const table = await withDefaults(
      folder.path,
      'id:Int64,text:String NOT NULL,price:Decimal(5,2),day:Date,flag:Boolean,wall:Timestamp_ntz',
      undefined,
      '\'a "b"\'',
      '-1.50',
      "DATE '2024-02-29'",
      'TRUE',
      "timestamp_ntz '0001-01-01 00:00:00.000001'",
    )
    await execute(table, 'INSERT INTO data (id) VALUES (1)')
    await execute(table, `INSERT INTO data VALUES (2, DEFAULT, NULL, NULL, false, NULL)`)
    await execute(table, `INSERT INTO data VALUES (3, 'c', 1, '2020-01-01', false, NULL)`)
    await execute(table, 'UPDATE data SET text = DEFAULT, price = DEFAULT, id = DEFAULT WHERE id = 3')
    expect(await view(table)).toEqual([
      '1,"a ""b""",-1.50,2024-02-29,true,0001-01-01T00:00:00.000001',
      '2,"a ""b""",,,false,',
      ',"a ""b""",-1.50,2020-01-01,false,',
    ])
  })

  test('is refused where it is needed and not worked out, and nowhere else', async () => {
    using folder = temporaryFolder()
    const table = await withDefaults(
      folder.path,
      'id:Int64,n:Int32,seen:Timestamp',
      undefined,
      'hash(40)',
      'current_timestamp()',
    )
    expect(await sentence(table, 'INSERT INTO data (id) VALUES (1)')).toContain(
      'the default value of column n is hash(40), which posixlake does not work out (the function hash is not worked out); give the column a value',
    )
    await execute(table, 'INSERT INTO data (id, n) VALUES (1, 5)')
    expect(await sentence(table, 'UPDATE data SET n = DEFAULT')).toContain('the default value of column n is hash(40)')
    await execute(table, `UPDATE data SET n = 6 WHERE seen > now() - INTERVAL '1 hour'`)
    expect((await view(table))[0]).toStartWith('1,6,2')
  })
})

describe('MERGE INTO', () => {
  test('changes, removes and adds rows in one commit, and changed rows stay where they were', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path, 6)
    const outcome = await execute(
      table,
      `MERGE INTO data d USING (VALUES (2, 'B'), (3, NULL), (4, 'D'), (9, 'I'), (8, 'skip')) AS s(id, n) ON d.id = s.id
        WHEN MATCHED AND s.n IS NULL THEN DELETE
        WHEN MATCHED AND CASE WHEN d.id = 4 THEN true ELSE false END THEN UPDATE SET name = d.name || s.n, id = d.id + 100
        WHEN MATCHED THEN UPDATE SET name = s.n
        WHEN NOT MATCHED AND s.n = 'skip' THEN DO NOTHING
        WHEN NOT MATCHED BY TARGET THEN INSERT (name, id) VALUES (lower(s.n), s.id)
        WHEN NOT MATCHED BY SOURCE AND d.id = 6 THEN UPDATE SET name = 'alone'
        WHEN NOT MATCHED BY SOURCE AND d.id = 5 THEN DELETE`,
    )
    expect(outcome).toEqual({ kind: 'changed', version: 2n, inserted: 1, updated: 3, deleted: 2 })
    expect(await view(table)).toEqual(['1,a', '2,B', '104,dD', '6,alone', '9,i'])
    const [last] = await table.history(1)
    expect(last).toMatchObject({
      operation: 'MERGE',
      metrics: { numTargetRowsInserted: '1', numTargetRowsUpdated: '3', numTargetRowsDeleted: '2' },
    })
  })

  test('takes the columns of the source by their names, wherever it has them from', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path, 3)
    await execute(
      table,
      `WITH more AS (SELECT name || '+' AS name, id + 1 AS id FROM data)
        MERGE INTO data USING more USING (id) WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *`,
    )
    expect(await view(table)).toEqual(['1,a', '2,a+', '3,b+', '4,c+'])
    await execute(table, `MERGE INTO data USING (SELECT 7 AS id) ON false WHEN NOT MATCHED THEN INSERT BY NAME`)
    await execute(
      table,
      `MERGE INTO data USING range(8, 10) ON id = range WHEN NOT MATCHED THEN INSERT VALUES (range, DEFAULT)`,
    )
    expect((await view(table)).slice(4)).toEqual(['7,', '8,', '9,'])
  })

  test('that finds nothing to do makes no commit, and removes a row once', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path, 3)
    const merge = (source: string): Promise<unknown> =>
      execute(table, `MERGE INTO data USING (VALUES ${source}) s(i) ON id = i WHEN MATCHED THEN DELETE`)
    expect(await merge('(7)')).toEqual({ kind: 'changed', version: undefined, inserted: 0, updated: 0, deleted: 0 })
    expect(await merge('(2), (2)')).toEqual({ kind: 'changed', version: 2n, inserted: 0, updated: 0, deleted: 1 })
    expect(await view(table)).toEqual(['1,a', '3,c'])
  })

  test('sees what another writer added meanwhile, so that no key comes twice', async () => {
    using folder = temporaryFolder()
    const table = await letters(folder.path, 2)
    const other = await openTable(table.store)
    const sql = (name: string): string =>
      `MERGE INTO data USING (SELECT 5 AS id, '${name}' AS name) s ON data.id = s.id
        WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *`
    await Promise.all([execute(table, sql('one')), execute(other, sql('two'))])
    expect((await view(table)).filter(row => row.startsWith('5,')).length).toBe(1)
    expect((await table.refresh()).version).toBe(3n)
  })
})
