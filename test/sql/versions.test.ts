import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import type { Field } from '../../src/columns/types.ts'
import { cellAt } from '../../src/columns/vectors.ts'
import { execute, query } from '../../src/sql/engine.ts'
import { takeVersions } from '../../src/sql/versions.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import type { Table } from '../../src/table/table.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { append, remove, SCHEMA } from '../table/fixture.ts'

async function rowsOf(table: Table, sql: string): Promise<unknown[][]> {
  const result = await query(table, await table.refresh(), sql)
  const rows: unknown[][] = []
  for await (const batch of result.batches())
    for (let row = 0; row < batch.rows; row++) rows.push(batch.vectors.map(vector => cellAt(vector, row)))
  return rows
}

describe('a query of older versions', () => {
  test('joins them with the newest, each by its number or its time', async () => {
    using folder = temporaryFolder()
    let nowMs = Date.UTC(2026, 0, 1)
    const clock = { nowMs: () => nowMs }
    const store = localStore(folder.path)
    const configuration = { 'delta.enableInCommitTimestamps': 'true', 'delta.enableDeletionVectors': 'true' }
    const table = await createTable(store, { schema: SCHEMA, clock, configuration })
    for (const change of [() => append(table, 0, 3), () => append(table, 3, 5), () => remove(table, 0, [1])]) {
      nowMs += 86_400_000
      await change()
    }
    const counted = 'SELECT count(*)::INT FROM data'
    expect(await rowsOf(table, `${counted} VERSION AS OF 1`)).toEqual([[3]])
    expect(await rowsOf(table, `${counted} version as of '2'`)).toEqual([[5]])
    expect(await rowsOf(table, `${counted} FOR SYSTEM_VERSION AS OF 0`)).toEqual([[0]])
    expect(await rowsOf(table, `${counted} TIMESTAMP AS OF '2026-01-02 12:00:00'`)).toEqual([[3]])
    expect(await rowsOf(table, `${counted} TIMESTAMP AS OF '2026-01-04'`)).toEqual([[4]])
    const gone = `SELECT old.id FROM data VERSION AS OF 2 AS old LEFT JOIN data AS new ON new.id = old.id WHERE new.id IS NULL`
    expect(await rowsOf(table, gone)).toEqual([[1n]])
    // Without an alias it is called data.
    expect(await rowsOf(table, 'SELECT max(data.id) FROM "data" /* then */ VERSION AS OF 1')).toEqual([[2n]])
    const both = `(${counted} VERSION AS OF 1) UNION ALL (${counted} VERSION AS OF 1) UNION ALL (${counted})`
    expect(await rowsOf(table, both)).toEqual([[3], [3], [4]])
    expect(await rowsOf(table, `SELECT id FROM data VERSION AS OF 2 WHERE id = 4`)).toEqual([[4n]])
  })

  test('is refused where there is no such version, or what follows is none', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: SCHEMA })
    await append(table, 0, 3)
    await expect(rowsOf(table, 'FROM data VERSION AS OF 7')).rejects.toThrow('there is no version 7; the newest is 1')
    await expect(rowsOf(table, "FROM data VERSION AS OF 'x'")).rejects.toThrow('as in VERSION AS OF 3')
    await expect(rowsOf(table, 'FROM data VERSION AS OF')).rejects.toThrow('as in VERSION AS OF 3')
    await expect(rowsOf(table, "FROM data TIMESTAMP AS OF 'soon'")).rejects.toThrow('as in TIMESTAMP AS OF')
    const past = await rowsOf(table, "FROM data TIMESTAMP AS OF '2001-01-01'").catch((error: unknown) => error)
    expect(String(past)).toContain('version')
  })

  test('reads nothing else of the machine', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: SCHEMA })
    await append(table, 0, 3)
    const path = '/etc/hostname'
    await expect(
      rowsOf(table, `SELECT (SELECT count(*) FROM read_text('${path}')) FROM data VERSION AS OF 1`),
    ).rejects.toThrow('and no files')
  })
})

describe('a query of changes', () => {
  test('has the rows that versions changed, beside the table itself, by numbers and by times', async () => {
    using folder = temporaryFolder()
    let nowMs = Date.UTC(2026, 0, 1)
    const clock = { nowMs: () => nowMs }
    const configuration = {
      'delta.enableInCommitTimestamps': 'true',
      'delta.enableDeletionVectors': 'true',
      'delta.enableChangeDataFeed': 'true',
    }
    const nothing: Field = { name: 'v', type: { kind: 'void' }, nullable: true, metadata: {} }
    const schema = [...parseDdl('id:Int64,name:String,s:struct<a:int>'), nothing]
    const table = await createTable(localStore(folder.path), { schema, clock, configuration })
    const change = async (sql: string): Promise<void> => {
      nowMs += 86_400_000
      const done = await execute(table, sql)
      if (done.kind === 'rows') throw new Error('it changed nothing')
    }
    await change(`INSERT INTO data VALUES (1, 'a', {a: 7}, NULL), (2, 'b', NULL, NULL)`)
    await change(`UPDATE data SET name = 'c' WHERE id = 2`)
    await change('DELETE FROM data WHERE id = 1')
    const facts = 'SELECT id, name, s.a, v, _change_type, _commit_version'
    expect(await rowsOf(table, `${facts} FROM table_changes('data', 1) ORDER BY ALL`)).toEqual([
      [1n, 'a', 7, null, 'delete', 3n],
      [1n, 'a', 7, null, 'insert', 1n],
      [2n, 'b', null, null, 'insert', 1n],
      [2n, 'b', null, null, 'update_preimage', 2n],
      [2n, 'c', null, null, 'update_postimage', 2n],
    ])
    const counted = async (args: string): Promise<unknown> =>
      (await rowsOf(table, `SELECT count(*)::INT FROM table_changes(${args}) AS c WHERE c.id > 0`))[0]![0]
    expect(await counted(`'data', 2, 2`)).toBe(2)
    expect(await counted(`data, 0, 0`)).toBe(0)
    expect(await counted(`"DATA", '3'`)).toBe(1)
    expect(await counted(`'data', '2026-01-03'`)).toBe(3)
    expect(await counted(`'data', 1, '2026-01-03T00:00:00Z' /* the second one */`)).toBe(4)
    const joined = `SELECT table_changes.id, data.name FROM table_changes('data', 1, 1) JOIN data USING (id)
      WHERE _commit_timestamp = TIMESTAMPTZ '2026-01-02 00:00:00' UNION ALL SELECT id, 'gone' FROM TABLE_CHANGES('data', 3)`
    expect(await rowsOf(table, joined)).toEqual([
      [2n, 'c'],
      [1n, 'gone'],
    ])
    for (const [args, why] of [
      [`'data'`, 'table_changes takes the table, and versions or times'],
      [`'data', 1, 2, 3`, 'table_changes takes the table, and versions or times'],
      [`'data', 1 + 1`, 'table_changes takes the table, and versions or times'],
      [`'data', 'soon'`, 'table_changes takes the table, and versions or times'],
      [`'data', 1`.slice(0, 6), 'table_changes takes the table, and versions or times'],
      [`'other', 1`, 'there is no table other; the table is called data'],
      [`'data', 9`, 'there are no changes from version 9 on'],
      [`'data', 1, 9`, 'there is no version 9'],
    ])
      await expect(rowsOf(table, `FROM table_changes(${args})`)).rejects.toThrow(why)
    const plain = await createTable(localStore(join(folder.path, 'plain')), { schema: SCHEMA })
    await expect(rowsOf(plain, "FROM table_changes('data', 0)")).rejects.toThrow('no change data feed at version 0')
  })
})

test('a statement that changes the table may read older versions, and changes', async () => {
  using folder = temporaryFolder()
  const configuration = { 'delta.enableDeletionVectors': 'true', 'delta.enableChangeDataFeed': 'true' }
  const table = await createTable(localStore(folder.path), { schema: SCHEMA, configuration })
  const change = async (sql: string): Promise<void> => {
    const done = await execute(table, sql)
    expect([sql, done.kind === 'changed' && done.version]).toEqual([sql, table.snapshot.version])
  }
  const ids = async (): Promise<unknown[]> =>
    (await rowsOf(table, 'SELECT id::INT, name FROM data ORDER BY ALL')).map(row => row.join(' '))
  await change(`INSERT INTO data VALUES (1, 'a'), (2, 'b'), (3, 'c')`)
  await change('DELETE FROM data WHERE id < 3')
  await change('INSERT INTO data SELECT * FROM data VERSION AS OF 1 AS old WHERE old.id = 1')
  expect(await ids()).toEqual(['1 a', '3 c'])
  await change(`INSERT INTO data SELECT id, name FROM table_changes('data', 2, 2) WHERE id = 2`)
  expect(await ids()).toEqual(['1 a', '2 b', '3 c'])
  await change(`UPDATE data SET name = old.name || '!' FROM data FOR VERSION AS OF 2 old WHERE old.id = data.id`)
  await change(`DELETE FROM data WHERE id NOT IN (SELECT id FROM data VERSION AS OF 2) AND id < 2`)
  expect(await ids()).toEqual(['2 b', '3 c!'])
  expect((await table.history(1))[0]!.parameters).toEqual({
    predicate: '["id NOT IN (SELECT id FROM \\"version 2\\".data) AND id < 2"]',
  })
  await change(`MERGE INTO data USING data VERSION AS OF 1 AS old ON old.id = data.id
    WHEN MATCHED AND data.id = 3 THEN UPDATE SET name = old.name WHEN NOT MATCHED THEN INSERT *`)
  expect(await ids()).toEqual(['1 a', '2 b', '3 c'])
  await change(`INSERT OVERWRITE data SELECT id, name FROM table_changes('data', 1, 1) WHERE id > 1`)
  expect(await ids()).toEqual(['2 b', '3 c'])
  await change('INSERT OVERWRITE data FROM data VERSION AS OF 1')
  expect(await ids()).toEqual(['1 a', '2 b', '3 c'])
  await expect(execute(table, 'DELETE FROM data VERSION AS OF 1')).rejects.toThrow('the table is called data')
  await expect(execute(table, 'INSERT INTO data FROM data VERSION AS OF 99')).rejects.toThrow('there is no version 99')
})

test('texts and comments that look like a version are none', () => {
  for (const sql of [
    `SELECT 'data VERSION AS OF 3'`,
    'SELECT 1 -- data VERSION AS OF 3',
    'SELECT version as of_ FROM data',
    'SELECT * FROM datas VERSION AS OF 3',
    `SELECT 'table_changes(1)', table_changes FROM data`,
  ])
    expect(takeVersions(sql)).toEqual({ sql, versions: [], changes: [] })
})
