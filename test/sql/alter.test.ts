import { describe, expect, test } from 'bun:test'
import { sqlType } from '../../src/columns/schema.ts'
import { messageOf } from '../../src/core/errors.ts'
import { execute } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { actionsAt, append, changedRows, foreignTable, readRows, SCHEMA } from '../table/fixture.ts'

async function altered(table: Table, what: string): Promise<bigint | undefined> {
  const done = await execute(table, `ALTER TABLE data ${what}`)
  if (done.kind !== 'changed') throw new Error('rows?')
  return done.version
}

async function refusal(table: Table, what: string): Promise<string> {
  const { version } = await table.refresh()
  const said = await altered(table, what).then(
    () => 'it was done',
    (error: unknown) => messageOf(error),
  )
  expect((await table.refresh()).version).toBe(version)
  return said
}

const columns = (table: Table): string[] =>
  table.snapshot.schema.map(({ name, type, nullable }) => `${name} ${sqlType(type)}${nullable ? '' : ' NOT NULL'}`)

async function people(folder: string): Promise<Table> {
  const table = await createTable(localStore(folder), { schema: SCHEMA })
  await append(table, 0, 3)
  return table
}

describe('ALTER TABLE', () => {
  test('adds columns, which are NULL in the rows that are there', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    expect(await altered(table, 'ADD COLUMN age INT')).toBe(2n)
    expect(await altered(table, `ADD COLUMNS (tags ARRAY<STRING>, "the city" STRING COMMENT 'where')`)).toBe(3n)
    const wanted = ['id BIGINT', 'name STRING', 'age INT', 'tags ARRAY<STRING>', 'the city STRING']
    expect(columns(table)).toEqual(wanted)
    await execute(table, `INSERT INTO data VALUES (9, 'new', 30, ['a'], 'Oslo')`)
    const again = await openTable(table.store)
    expect(columns(again)).toEqual(wanted)
    expect(await readRows(again)).toEqual([
      ...[0n, 1n, 2n].map(id => [id, `row ${id}`, null, null, null]),
      [9n, 'new', 30, ['a'], 'Oslo'],
    ])
    const [info] = await actionsAt(table.store, 2n)
    expect(info!.commitInfo).toMatchObject({
      operation: 'ADD COLUMNS',
      operationParameters: {
        columns: JSON.stringify([{ column: { name: 'age', type: 'integer', nullable: true, metadata: {} } }]),
      },
    })
  })

  test('adds no column that is there, that has no value, or that is none', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    expect(await refusal(table, 'ADD COLUMN Name STRING')).toContain('ame')
    expect(await refusal(table, 'ADD COLUMN n INT NOT NULL')).toBe(
      'the column n cannot be NOT NULL: the rows that are there have no value for it; add it without, fill it, then ALTER COLUMN n SET NOT NULL',
    )
    expect(await refusal(table, 'ADD COLUMN n INTEGRE')).toContain('INTEGRE')
    for (const what of ['ADD COLUMN', 'RENAME COLUMN a TO b', 'DROP COLUMN name', 'nonsense'])
      expect(await refusal(table, what)).not.toBe('it was done')
    expect(await refusal(table, 'RENAME name TO other')).toContain('ADD COLUMN name TYPE')
    const other = await execute(table, 'ALTER TABLE other ADD COLUMN a INT').catch((error: unknown) => messageOf(error))
    expect(other).toBe('there is no table other; the table is called data')
  })

  test('lets a column be NULL or not, if no row is in the way', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    expect(await altered(table, 'ALTER COLUMN ID SET NOT NULL')).toBe(2n)
    expect(columns(table)[0]).toBe('id BIGINT NOT NULL')
    expect(await altered(table, 'ALTER COLUMN id SET NOT NULL')).toBeUndefined()
    const none = await execute(table, `INSERT INTO data VALUES (NULL, 'x')`).catch((error: unknown) => messageOf(error))
    expect(none).toContain('NOT NULL')
    expect(await altered(table, 'ALTER id DROP NOT NULL')).toBe(3n)
    await execute(table, `INSERT INTO data VALUES (NULL, 'x'), (NULL, 'y')`)
    expect(await refusal(table, 'ALTER COLUMN id SET NOT NULL')).toBe(
      'the column id cannot be NOT NULL: it is NULL in 2 rows',
    )
    expect(await refusal(table, 'ALTER COLUMN nope SET NOT NULL')).toBe(
      'there is no column nope; the table has id, name',
    )
  })

  test('sets and unsets properties that are heeded, and says which are not', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    expect(await altered(table, `SET TBLPROPERTIES ('delta.appendOnly' = 'true', owner.name = 'me')`)).toBe(2n)
    expect(table.snapshot.metadata.configuration.get('owner.name')).toBe('me')
    const gone = await execute(table, 'DELETE FROM data WHERE id = 1').catch((error: unknown) => messageOf(error))
    expect(gone).toContain('append-only')
    expect(await altered(table, `UNSET TBLPROPERTIES ('delta.appendOnly')`)).toBe(3n)
    expect(await refusal(table, `UNSET TBLPROPERTIES ('delta.appendOnly')`)).toContain('IF EXISTS')
    expect(await altered(table, `UNSET TBLPROPERTIES IF EXISTS ('delta.appendOnly')`)).toBeUndefined()
    expect(await refusal(table, `SET TBLPROPERTIES ('delta.appendOnyl' = 'true')`)).toBe(
      'the property delta.appendOnyl is none that posixlake heeds, and is not set; is delta.appendOnly meant?',
    )
    expect(await refusal(table, `SET TBLPROPERTIES ('delta.enableInCommitTimestamps' = 'true')`)).toContain('none that')
    expect(await refusal(table, `SET TBLPROPERTIES ('delta.logRetentionDuration' = 'soon')`)).toBe(
      `the property delta.logRetentionDuration takes a time such as 'interval 7 days', not "soon"`,
    )
  })

  test('switches deletion vectors on for a table of another writer that is asked to have them', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    await foreignTable(store)
    const table = await openTable(store)
    await append(table, 0, 3)
    expect(await altered(table, `SET TBLPROPERTIES (delta.enableDeletionVectors = true)`)).toBe(2n)
    expect(table.snapshot.protocol).toMatchObject({ minReaderVersion: 3, readerFeatures: ['deletionVectors'] })
    await execute(table, 'DELETE FROM data WHERE id = 1')
    expect(table.snapshot.files[0]!.vector?.cardinality).toBe(1)
  })

  test('switches the change data feed on, which then tells of updates as such', async () => {
    using folder = temporaryFolder()
    const table = await people(folder.path)
    await altered(table, `SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')`)
    const { protocol } = table.snapshot
    expect(protocol).toMatchObject({ minReaderVersion: 1, minWriterVersion: 7 })
    expect(protocol.writerFeatures).toContain('changeDataFeed')
    await execute(table, 'UPDATE data SET id = id + 10 WHERE id = 1')
    await execute(
      table,
      `MERGE INTO data USING (VALUES (11, 5), (2, 6), (99, 7)) AS new (id, n) ON data.id = new.id
       WHEN MATCHED AND n = 5 THEN DELETE WHEN MATCHED THEN UPDATE SET id = 20 WHEN NOT MATCHED THEN INSERT (id) VALUES (new.id)`,
    )
    await execute(table, 'DELETE FROM data WHERE id = 20')
    await execute(table, `INSERT INTO data VALUES (5, 'five')`)
    await execute(table, 'TRUNCATE data')
    expect(await changedRows(table, 3n, 6n)).toEqual([
      '1 row 1 update_preimage 3',
      '11 row 1 delete 4',
      '11 row 1 update_postimage 3',
      '2 row 2 update_preimage 4',
      '20 row 2 delete 5',
      '20 row 2 update_postimage 4',
      '5 five insert 6',
      '99 null insert 4',
    ])
    expect(await changedRows(table, 7n)).toEqual(['0 row 0 delete 7', '5 five delete 7', '99 null delete 7'])
    await execute(table, `INSERT INTO data VALUES (1, 'a'), (2, 'b')`)
    await execute(table, `INSERT INTO data REPLACE WHERE id = 2 VALUES (2, 'c')`)
    await execute(table, `INSERT OVERWRITE data VALUES (3, 'd')`)
    expect(await changedRows(table, 9n)).toEqual([
      '1 a delete 10',
      '2 b delete 9',
      '2 c delete 10',
      '2 c insert 9',
      '3 d insert 10',
    ])
  })
})
