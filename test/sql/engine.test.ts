import { describe, expect, test } from 'bun:test'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MemoryCache } from '../../src/cache/memory.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { textFormat } from '../../src/columns/text/formats/index.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { openText } from '../../src/fs/text/layout.ts'
import { Segments } from '../../src/fs/text/segments.ts'
import { csvOf, execute, query } from '../../src/sql/engine.ts'
import { SqlError } from '../../src/sql/errors.ts'
import { parseStatements, type Statement } from '../../src/sql/statement.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import type { NewFile, Table } from '../../src/table/table.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

async function people(folder: string): Promise<Table> {
  const table = await createTable(localStore(folder), { schema: parseDdl('id:Int64,name:String,age:Int32') })
  await execute(table, `INSERT INTO data VALUES (1,'Alice',30), (2,'Bob',25), (3,'Carol',NULL)`)
  return table
}

async function csv(table: Table, sql: string): Promise<string> {
  const outcome = await execute(table, sql)
  if (outcome.kind !== 'rows') throw new Error('there are no rows')
  return new TextDecoder().decode(Buffer.concat(await Array.fromAsync(csvOf(outcome.result))))
}

async function failure(run: () => Promise<unknown>): Promise<SqlError> {
  try {
    await run()
  } catch (error) {
    if (error instanceof SqlError) return error
    throw error
  }
  throw new Error('it did not fail')
}

async function view(table: Table): Promise<string> {
  const pool = new WorkerPool({ threads: 1 })
  const segments = new Segments({ cache: new MemoryCache(1 << 20), pool, store: table.store })
  const text = await openText(table, await table.refresh(), segments, textFormat('csv'))
  const shown = new TextDecoder().decode(await text.read(0, text.size))
  await pool.close()
  return shown
}

describe('SQL on a table', () => {
  test('reads the live rows', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    await execute(table, 'DELETE FROM data WHERE id = 2')
    expect(await csv(table, 'SELECT name, age FROM data ORDER BY id')).toBe('name,age\nAlice,30\nCarol,\n')
    expect(await csv(table, 'FROM data SELECT count(*) AS n;')).toBe('n\n2\n')
    expect(await csv(table, `WITH x AS (SELECT max(age) m FROM data) SELECT m FROM x`)).toBe('m\n30\n')
  })

  test('makes one commit of each statement that changes something, and none of one that does not', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    expect(await execute(table, `UPDATE data SET age = age + 1, name = upper(name) WHERE age < 29`)).toEqual({
      kind: 'changed',
      version: 2n,
      inserted: 0,
      updated: 1,
      deleted: 0,
    })
    expect(await execute(table, 'INSERT INTO data (name, id) SELECT name, id + 10 FROM data')).toMatchObject({
      version: 3n,
      inserted: 3,
    })
    expect(
      await execute(table, 'DELETE FROM data USING (VALUES (11), (12)) AS gone(i) WHERE data.id = gone.i'),
    ).toMatchObject({ version: 4n, deleted: 2 })
    expect(await execute(table, 'DELETE FROM data WHERE false')).toMatchObject({ version: undefined, deleted: 0 })
    expect(await execute(table, 'UPDATE data SET age = 1 WHERE id = 99')).toMatchObject({ version: undefined })
    expect(await csv(table, 'SELECT * FROM data ORDER BY id')).toBe(
      'id,name,age\n1,Alice,30\n2,BOB,26\n3,Carol,\n13,Carol,\n',
    )
    expect(await execute(table, 'TRUNCATE data')).toMatchObject({ version: 5n, deleted: 4 })
    expect(await view(table)).toBe('id,name,age\n')
  })

  test('leaves updated rows at their lines', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    await execute(table, `UPDATE data SET name = 'X' WHERE id <= 2`)
    expect(await view(table)).toBe('id,name,age\n1,X,30\n2,X,25\n3,Carol,\n')
  })

  test('sees partition values, and writes each row to its partition', async () => {
    using folder = temporaryFolder()
    const schema = parseDdl('id:Int64,day:Date,city:String')
    const table = await createTable(localStore(folder.path), { schema, partitionColumns: ['day', 'city'] })
    const rows = batchOf(
      schema.map(field => field.type),
      [
        [1n, 19_000, 'a/b c'],
        [2n, 19_001, null],
        [3n, 19_000, 'a/b c'],
      ],
    )
    await commit(table, {
      base: table.snapshot,
      operation: 'WRITE',
      add: await writeDataFiles(table, [rows]),
      delete: [],
    })
    expect(table.snapshot.files.length).toBe(2)
    await execute(table, `INSERT INTO data VALUES (4, DATE '2022-01-09', 'ü=%')`)
    expect(await csv(table, `SELECT * FROM data WHERE city LIKE 'a%' OR city IS NULL ORDER BY id`)).toBe(
      'id,day,city\n1,2022-01-08,a/b c\n2,2022-01-09,\n3,2022-01-08,a/b c\n',
    )
    await execute(table, `UPDATE data SET city = 'moved' WHERE id = 1`)
    expect((await view(table)).trimEnd().split('\n').sort()).toEqual([
      '1,2022-01-08,moved',
      '2,2022-01-09,',
      '3,2022-01-08,a/b c',
      '4,2022-01-09,ü=%',
      'id,day,city',
    ])
  })

  test('looks at older versions, and changes only the newest', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    await execute(table, 'DELETE FROM data')
    const result = await query(table, await table.at(1n), 'SELECT count(*) AS n FROM data')
    expect(new TextDecoder().decode(Buffer.concat(await Array.fromAsync(csvOf(result))))).toBe('n\n3\n')
    expect(await failure(async () => query(table, await table.at(1n), 'DELETE FROM data'))).toMatchObject({
      code: 'unsupported',
    })
  })

  test('fails if it fails behind its first rows, and then nothing has changed', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    const late = `CASE WHEN n.range = 299999 THEN error('too late') ELSE true END`
    for (const sql of [
      `SELECT range FROM range(300000) n WHERE ${late}`,
      `SELECT id, range FROM data, range(300000) n WHERE ${late} LIMIT 900000`,
      `INSERT INTO data SELECT range, 'x', 1 FROM range(300000) n WHERE ${late}`,
      `DELETE FROM data USING range(300000) n WHERE ${late}`,
      `UPDATE data SET age = n.range FROM range(300000) n WHERE ${late}`,
      `MERGE INTO data USING (SELECT * FROM range(300000) n WHERE ${late}) s ON data.id = s.range WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.range, 'x', 1)`,
    ]) {
      const error = await failure(() => csv(table, sql))
      expect([sql, error.message]).toEqual([sql, expect.stringContaining('too late')])
    }
    expect(table.snapshot.version).toBe(1n)
  })

  test('fails with the engine’s own sentence, and then nothing has changed', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    expect((await failure(() => csv(table, 'SELECT nope FROM data'))).message).toContain('nope')
    expect((await failure(() => execute(table, 'SELEC 1'))).message).toContain('syntax error')
    expect((await failure(() => execute(table, `INSERT INTO data VALUES ('x', 'y', 1)`))).message).toContain(
      'Could not convert',
    )
    expect((await failure(() => execute(table, `UPDATE data SET nope = 1`))).message).toContain('nope')
    expect((await failure(() => execute(table, 'INSERT INTO other VALUES (1)'))).message).toContain(
      'there is no table other',
    )
    expect(table.snapshot.version).toBe(1n)
  })

  test('speaks of the one table that there is, and never of what else is inside the engine', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    const missing: [string, string][] = [
      ['SELECT * FROM nope', 'nope'],
      ['SELECT * FROM constraint_', 'constraint_'],
      ['SELECT * FROM data d JOIN dat ON true', 'dat'],
      ['SELECT * FROM "od""d"', 'od"d'],
      ['SELECT * FROM foo.bar', 'foo.bar'],
      ['SELECT * FROM a.b.c', 'a'],
      ['DESCRIBE nope', 'nope'],
      ['TRUNCATE nope', 'nope'],
      ['INSERT INTO data SELECT * FROM nope', 'nope'],
      ['DELETE FROM data USING nope WHERE true', 'nope'],
      ['UPDATE data SET name = x.y FROM nope x', 'nope'],
      ['MERGE INTO data USING nope s ON data.id = s.k WHEN MATCHED THEN DELETE', 'nope'],
    ]
    for (const [sql, name] of missing) {
      const { code, message } = await failure(() => execute(table, sql))
      expect({ sql, code }).toEqual({ sql, code: 'invalid_sql' })
      expect(message.split('\n')[0]).toBe(`there is no table ${name}; the table is called data`)
      expect(message).not.toContain('Did you mean')
    }
    // The place is still shown.
    expect((await failure(() => execute(table, 'SELECT 1\nFROM nope'))).message).toContain('LINE 2: FROM nope')
    for (const sql of [
      'DELETE FROM data WHERE fil = 1',
      'DELETE FROM data WHERE __row_ = 1',
      'UPDATE data SET age = posixlake_new_row.age',
      'SELECT * FROM posixlake_internal.partition',
      `SELECT posixlake_source FROM data`,
      'SELECT d.y FROM data d',
    ]) {
      const { message } = await failure(() => execute(table, sql))
      // What follows is the statement itself; in front it is quoted.
      const [said = ''] = message.split('\n\nLINE')
      expect(said.replace(/"(?:fil|__row_|posixlake_\w+)"/, '')).not.toMatch(
        /"_*(?:file|row)"|pg_|duckdb_|posixlake_|Values list/,
      )
    }
    expect((await failure(() => execute(table, `FROM 'x.csv'`))).message).toContain('cannot read "x.csv"')
    // What the engine has to say about functions and columns is worth something.
    expect((await failure(() => execute(table, 'SELECT flor(1.5)'))).message).toContain('Did you mean "floor"')
    expect((await failure(() => execute(table, 'DELETE FROM data WHERE nam = 1'))).message).toContain('"name"')
  })

  test('opens the table only for statements that may be about it', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    let opened = 0
    const source = async (): Promise<Table> => {
      opened++
      return table
    }
    const run = async (sql: string): Promise<string> => {
      const outcome = await execute(source, sql)
      if (outcome.kind !== 'rows') throw new Error('there are no rows')
      return new TextDecoder().decode(Buffer.concat(await Array.fromAsync(csvOf(outcome.result))))
    }
    expect(await run('SELECT 1 AS a')).toBe('a\n1\n')
    expect(await run('SELECT count(*) AS n FROM range(10)')).toBe('n\n10\n')
    expect((await failure(() => run('SELECT * FROM nope'))).message).toContain('there is no table nope')
    expect(opened).toBe(0)
    for (const sql of [
      'SELECT count(*) FROM Data',
      'SELECT count(*) FROM "DATA"',
      `SELECT * FROM query('SELECT count(*) FROM da' || 'ta')`,
      `SELECT * FROM query_table('da' || 'ta') LIMIT 0`,
      'SHOW TABLES',
      'SELECT table_name FROM information_schema.tables',
      'WITH x AS (SELECT 1) SELECT (SELECT max(id) FROM data) FROM x',
    ]) {
      opened = 0
      await run(sql)
      expect({ sql, opened }).toEqual({ sql, opened: 1 })
    }
    expect(await run('SHOW TABLES')).toBe('name\ndata\n')
  })

  test('an INSERT of values does not look at the table’s files', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    for (const file of table.snapshot.files) rmSync(join(folder.path, file.path))
    expect(await execute(table, `INSERT INTO data VALUES (4, 'Dave', 1)`)).toMatchObject({ inserted: 1 })
    expect(await failure(() => execute(table, 'INSERT INTO data SELECT * FROM data'))).toBeInstanceOf(SqlError)
  })

  test('reads many files in the order of the views', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: parseDdl('id:Int64') })
    const add: NewFile[] = []
    for (let id = 0n; id < 300n; id++) add.push(...(await writeDataFiles(table, [batchOf([{ kind: 'long' }], [[id]])])))
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    await execute(table, 'DELETE FROM data WHERE id % 100 = 7')
    expect(await csv(table, 'SELECT count(*) AS n, sum(id) AS s FROM data')).toBe(`n,s\n297,${44850 - 7 - 107 - 207}\n`)
  })

  test('has no way to anything but the table', async () => {
    using folder = temporaryFolder()
    using elsewhere = temporaryFolder()
    const secret = join(elsewhere.path, 'secret.csv')
    writeFileSync(secret, 'a\n1\n')
    const table = await people(folder.path)
    for (const sql of [
      `FROM read_csv('${secret}')`,
      `FROM '${secret}'`,
      `COPY data TO '${secret}'`,
      `ATTACH '${secret}'`,
      'INSTALL httpfs',
      "SET memory_limit = '1GB'",
      'CREATE TABLE x (a INT)',
      'SELECT 1; SELECT 2',
    ]) {
      expect(await failure(() => csv(table, sql))).toBeInstanceOf(SqlError)
    }
  })
})

describe('a statement', () => {
  const splitStatements = (text: string): string[] => parseStatements(text).map(({ sql }) => sql)
  const parseStatement = (sql: string): Statement | undefined => parseStatements(sql)[0]?.statement

  test('has its places and its table by its own text, wherever it stands', () => {
    const [, second] = parseStatements('SELECT (1;\n delete from "data" as d where id = 1')
    expect(second).toMatchObject({
      sql: 'delete from "data" as d where id = 1',
      returning: false,
      statement: { kind: 'delete', target: { start: 12, end: 18, name: 'data' }, condition: 'id = 1' },
    })
    expect(parseStatement('TRUNCATE main.data')).toMatchObject({ target: { start: 9, end: 18, name: undefined } })
  })

  test('is found among comments, quotes and semicolons', () => {
    expect(splitStatements(`SELECT ';' -- ;\n, $$;$$ /* ; /* ; */ */ ; ;`)).toEqual([`SELECT ';' -- ;\n, $$;$$`])
    expect(splitStatements('a; b')).toEqual(['a', 'b'])
    expect(
      parseStatement(
        'WITH x AS (DELETE FROM y) UPDATE data AS d SET a = (SELECT 1 FROM z WHERE 1), "b c" = DEFAULT FROM s WHERE d.i = s.i',
      ),
    ).toMatchObject({
      kind: 'update',
      alias: 'd',
      assignments: [
        { column: 'a', expression: '(SELECT 1 FROM z WHERE 1)' },
        { column: 'b c', expression: undefined },
      ],
      sources: 's',
      condition: 'd.i = s.i',
    })
    expect(parseStatement('delete from data where a is distinct from b')).toMatchObject({
      kind: 'delete',
      condition: 'a is distinct from b',
    })
  })
})
