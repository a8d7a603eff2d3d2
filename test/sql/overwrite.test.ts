import { describe, expect, test } from 'bun:test'
import { parseDdl } from '../../src/columns/schema.ts'
import { messageOf } from '../../src/core/errors.ts'
import { execute } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable, type NewTable } from '../../src/table/operations/create.ts'
import { undo } from '../../src/table/operations/restore.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { actionsAt, append, commitLines, readRows, SCHEMA } from '../table/fixture.ts'

async function made(folder: string, options: Partial<NewTable> = {}): Promise<Table> {
  const table = await createTable(localStore(folder), { schema: SCHEMA, ...options })
  await append(table, 0, 3)
  await append(table, 3, 6)
  return table
}

async function change(table: Table, sql: string): Promise<object> {
  const done = await execute(table, sql)
  if (done.kind !== 'changed') throw new Error('rows?')
  const { inserted, updated, deleted, version } = done
  return { inserted, updated, deleted, version }
}

const ids = async (table: Table): Promise<unknown[]> =>
  (await readRows(await openTable(table.store))).map(([id]) => Number(id)).sort((a, b) => a - b)

async function refusal(table: Table, sql: string): Promise<string> {
  const { version } = await table.refresh()
  const said = await execute(table, sql).then(
    () => 'it was done',
    (error: unknown) => messageOf(error),
  )
  expect((await table.refresh()).version).toBe(version)
  return said
}

describe('INSERT OVERWRITE', () => {
  test('puts rows in the place of all, in one commit', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path)
    expect(await change(table, `INSERT OVERWRITE data SELECT id + 10, name FROM data WHERE id > 3`)).toEqual({
      inserted: 2,
      updated: 0,
      deleted: 6,
      version: 3n,
    })
    expect(await ids(table)).toEqual([14, 15])
    const [info] = await actionsAt(table.store, 3n)
    expect(info!.commitInfo).toMatchObject({
      operation: 'WRITE',
      operationParameters: { mode: 'Overwrite', partitionBy: '[]' },
      operationMetrics: { numOutputRows: '2', numFiles: '1' },
      isBlindAppend: false,
    })
    await undo(table)
    expect(await ids(table)).toEqual([0, 1, 2, 3, 4, 5])
    for (const [sql, left] of [
      [`INSERT OVERWRITE TABLE data VALUES (1, 'x')`, [1]],
      [`insert overwrite into "data" (name, id) VALUES ('x', 2)`, [2]],
      [`WITH r AS (SELECT 7 AS id) INSERT OVERWRITE data BY NAME SELECT id FROM r`, [7]],
      ['INSERT OVERWRITE data SELECT * FROM data WHERE false', []],
    ] as const) {
      await change(table, sql)
      expect(await ids(table)).toEqual([...left])
    }
    expect(await change(table, 'INSERT OVERWRITE data SELECT * FROM data')).toMatchObject({ version: undefined })
  })

  test('is refused by an append-only table, of another name, and where it is no query', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path, { configuration: { 'delta.appendOnly': 'true' } })
    expect(await refusal(table, `INSERT OVERWRITE data VALUES (1, 'x')`)).toContain('append-only')
    expect(await refusal(table, `INSERT OVERWRITE other VALUES (1, 'x')`)).toBe(
      'there is no table other; the table is called data',
    )
    expect(await refusal(table, 'INSERT OVERWRITE data')).not.toBe('it was done')
    expect(await refusal(table, `INSERT OVERWRITE data SELECT nope`)).toContain('nope')
  })

  test('replaces what others added meanwhile, too, by being run again', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path)
    const other = await openTable(table.store)
    const base = await table.refresh()
    await append(other, 6, 7)
    await using transaction = table.begin(base)
    transaction.readWholeTable()
    transaction.removeFiles(...base.files)
    expect((await transaction.commit({ name: 'WRITE' })).kind).toBe('conflict')
    await change(table, `INSERT OVERWRITE data VALUES (9, 'x')`)
    expect(await ids(table)).toEqual([9])
  })
})

describe('INSERT INTO ... REPLACE WHERE', () => {
  for (const options of [{}, { deletionVectors: false }] as const) {
    test(`puts rows in the place of those of a condition${'deletionVectors' in options ? ', without deletion vectors' : ''}`, async () => {
      using folder = temporaryFolder()
      const table = await made(folder.path, options)
      const sql = `INSERT INTO data REPLACE WHERE id BETWEEN 2 AND 4 SELECT 2, 'new' UNION ALL SELECT 4, 'new'`
      expect(await change(table, sql)).toEqual({ inserted: 2, updated: 0, deleted: 3, version: 3n })
      expect(await ids(table)).toEqual([0, 1, 2, 4, 5])
      expect((await actionsAt(table.store, 3n))[0]!.commitInfo).toMatchObject({
        operation: 'WRITE',
        operationParameters: { mode: 'Overwrite', predicate: 'id BETWEEN 2 AND 4' },
      })
      await change(table, `INSERT INTO data REPLACE WHERE data.id < 2 SELECT id - 1, name FROM data WHERE id = 2`)
      expect(await ids(table)).toEqual([1, 2, 4, 5])
      await change(table, `INSERT INTO data REPLACE WHERE CASE WHEN id > 4 THEN true END VALUES (10, 'x')`)
      expect(await ids(table)).toEqual([1, 2, 4, 10])
    })
  }

  test('of a partition takes its files away', async () => {
    using folder = temporaryFolder()
    const schema = parseDdl('id:Int64,day:Date')
    const table = await createTable(localStore(folder.path), { schema, partitionColumns: ['day'] })
    await execute(table, `INSERT INTO data VALUES (1, '2024-01-01'), (2, '2024-01-01'), (3, '2024-01-02')`)
    await change(table, `INSERT INTO data REPLACE WHERE day = DATE '2024-01-01' VALUES (9, '2024-01-01')`)
    expect(await ids(table)).toEqual([3, 9])
    expect(table.snapshot.files).toHaveLength(2)
    expect(table.snapshot.files.every(file => file.vector === undefined)).toBe(true)
    await change(table, `INSERT INTO data REPLACE WHERE day = DATE '2024-01-02' SELECT * FROM data WHERE false`)
    expect(await ids(table)).toEqual([9])
  })

  test('and OVERWRITE give generated columns their values, which a condition on them has to be given', async () => {
    using folder = temporaryFolder()
    const generated = { 'delta.generationExpression': 'id * 2' }
    const schema = parseDdl('id:Int64,twice:Int64').map(field =>
      field.name === 'twice' ? { ...field, metadata: generated } : field,
    )
    const table = await createTable(localStore(folder.path), { schema })
    const protocol = { minReaderVersion: 1, minWriterVersion: 4 }
    await commitLines(table.store, 1n, [{ protocol }])
    await change(table, 'INSERT OVERWRITE data (id) VALUES (1), (2), (3)')
    await change(table, 'INSERT INTO data REPLACE WHERE id > 2 VALUES (4, NULL)')
    expect(await readRows(await openTable(table.store))).toEqual([
      [1n, 2n],
      [2n, 4n],
      [4n, 8n],
    ])
    expect(await refusal(table, 'INSERT INTO data REPLACE WHERE twice > 6 VALUES (5, NULL)')).toContain(
      'values that the table gives by itself have to be given for that',
    )
    await change(table, 'INSERT INTO data REPLACE WHERE twice > 6 VALUES (5, 10)')
    expect(await ids(table)).toEqual([1, 2, 5])
  })

  test('refuses rows that the condition is not true of, and what it does not understand', async () => {
    using folder = temporaryFolder()
    const table = await made(folder.path)
    expect(await refusal(table, `INSERT INTO data REPLACE WHERE id > 3 VALUES (4, 'x'), (1, 'y'), (NULL, 'z')`)).toBe(
      '2 of the new rows would not be replaced by themselves: REPLACE WHERE takes rows of id > 3 only',
    )
    expect(await refusal(table, `INSERT INTO data REPLACE WHERE nope = 3 VALUES (4, 'x')`)).toContain('nope')
    expect(await refusal(table, `INSERT INTO data REPLACE WHERE VALUES (4, 'x')`)).not.toBe('it was done')
    expect(await refusal(table, `INSERT INTO data REPLACE WHERE id > 3`)).not.toBe('it was done')
  })
})
