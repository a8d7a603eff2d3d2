import { describe, expect, test } from 'bun:test'
import { messageOf } from '../../src/core/errors.ts'
import { execute } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { foreignTable, readRows } from '../table/fixture.ts'

const IDENTITY = { 'delta.identity.start': 1, 'delta.identity.step': 1, 'delta.identity.allowExplicitInsert': false }
const field = (name: string, type: string, metadata: object = {}, nullable = true): object => ({
  name,
  type,
  nullable,
  metadata,
})

/** A table with an identity column, a generated one, a default and a CHECK constraint. */
async function orders(folder: string, configuration: object = {}): Promise<Table> {
  const store = localStore(folder)
  const fields = [
    field('id', 'long', IDENTITY, false),
    field('price', 'decimal(10,2)'),
    field('gross', 'decimal(14,3)', { 'delta.generationExpression': 'price * 1.2' }, false),
    field('state', 'string', { CURRENT_DEFAULT: "upper('new')" }),
  ]
  await foreignTable(store, {
    protocol: {
      minWriterVersion: 7,
      writerFeatures: [
        'appendOnly',
        'invariants',
        'checkConstraints',
        'generatedColumns',
        'identityColumns',
        'allowColumnDefaults',
      ],
    },
    metaData: { configuration: { 'delta.constraints.cheap': 'price BETWEEN 0 AND 100', ...configuration } },
    schema: { type: 'struct', fields },
  })
  return openTable(store)
}

async function rowsOf(table: Table): Promise<string[]> {
  await table.refresh()
  return (await readRows(table)).map(row => row.join(' '))
}

async function refusal(table: Table, sql: string): Promise<string> {
  const { version } = await table.refresh()
  const said = await execute(table, sql).then(() => 'it was done', messageOf)
  expect((await table.refresh()).version).toBe(version)
  return said
}

describe('SQL on a table with rules', () => {
  test('INSERT leaves out what the table gives, or says DEFAULT', async () => {
    using folder = temporaryFolder()
    const table = await orders(folder.path)
    await execute(table, 'INSERT INTO data (price) VALUES (10), (20.5)')
    await execute(table, "INSERT INTO data VALUES (DEFAULT, 1, DEFAULT, 'old'), (NULL, 2, 2.4, NULL)")
    expect(await rowsOf(table)).toEqual(['1 1000 12000 NEW', '2 2050 24600 NEW', '3 100 1200 old', '4 200 2400 '])
    for (const [sql, words] of [
      [
        'INSERT INTO data (price) VALUES (5), (101)',
        'row 2, {"id":6,"price":101.00,"gross":121.200,"state":"NEW"}: it breaks the CHECK constraint cheap: price BETWEEN 0 AND 100',
      ],
      ['INSERT INTO data (state) VALUES (NULL)', 'it breaks the CHECK constraint cheap'],
      [
        'INSERT INTO data (price, gross) VALUES (1, 5)',
        'the generated column gross is 5.000, and price * 1.2 is 1.200; leave it empty',
      ],
      [
        'INSERT INTO data (id, price) VALUES (9, 1)',
        'the table itself numbers the rows (the identity column id); leave it empty',
      ],
    ] as const)
      expect([sql, await refusal(table, sql)]).toEqual([sql, expect.stringContaining(words)])
    await execute(table, 'INSERT INTO data (price) VALUES (3)')
    expect((await rowsOf(table)).at(-1)).toBe('5 300 3600 NEW')
  })

  for (const vectors of ['true', 'false']) {
    test(`UPDATE works generated columns out anew and keeps the rows' numbers (deletion vectors: ${vectors})`, async () => {
      using folder = temporaryFolder()
      const table = await orders(folder.path, vectors === 'true' ? { 'posixlake.deletionVectors': 'whenNeeded' } : {})
      await execute(table, 'INSERT INTO data (price) VALUES (10), (20.5), (30)')
      await execute(table, 'UPDATE data SET price = price + 1 WHERE id <> 2')
      expect((await rowsOf(table)).sort()).toEqual(['1 1100 13200 NEW', '2 2050 24600 NEW', '3 3100 37200 NEW'])
      expect(await refusal(table, 'UPDATE data SET price = -1 WHERE id = 2')).toContain(
        'it breaks the CHECK constraint cheap',
      )
      expect(await refusal(table, 'UPDATE data SET gross = 1 WHERE id = 2')).toContain(
        'the generated column gross is 1.000',
      )
      expect(await refusal(table, 'UPDATE data SET id = 7 WHERE id = 2')).toContain(
        'the column id is an identity column',
      )
      await execute(table, 'DELETE FROM data WHERE id = 2')
      expect((await rowsOf(table)).length).toBe(2)
    })
  }

  test('MERGE does both, and numbers what it inserts', async () => {
    using folder = temporaryFolder()
    const table = await orders(folder.path, { 'delta.enableDeletionVectors': 'false' })
    await execute(table, 'INSERT INTO data (price) VALUES (10), (20)')
    const source = '(VALUES (1, 11.0), (5, 50.0)) AS s(key, p)'
    await execute(
      table,
      `MERGE INTO data USING ${source} ON data.id = s.key WHEN MATCHED THEN UPDATE SET price = s.p WHEN NOT MATCHED THEN INSERT (price) VALUES (s.p)`,
    )
    expect((await rowsOf(table)).sort()).toEqual(['1 1100 13200 NEW', '2 2000 24000 NEW', '3 5000 60000 NEW'])
    const bad = `MERGE INTO data USING ${source} ON false WHEN NOT MATCHED THEN INSERT (id, price) VALUES (s.key, s.p)`
    expect(await refusal(table, bad)).toContain('the column id is an identity column, which is not set')
    const high = `MERGE INTO data USING ${source} ON data.id = s.key WHEN MATCHED THEN UPDATE SET price = s.p * 100`
    expect(await refusal(table, high)).toContain('it breaks the CHECK constraint cheap')
  })

  test('never gives two rows one number when several run at once', async () => {
    using folder = temporaryFolder()
    await orders(folder.path)
    await Promise.all(
      Array.from({ length: 3 }, async () => {
        const table = await openTable(localStore(folder.path))
        for (let i = 0; i < 3; i++) await execute(table, 'INSERT INTO data (price) VALUES (1), (2)')
      }),
    )
    const ids = (await rowsOf(await openTable(localStore(folder.path)))).map(row => Number(row.split(' ')[0]))
    expect(ids.sort((a, b) => a - b)).toEqual(Array.from({ length: 18 }, (_, i) => i + 1))
  })
})

describe('ALTER TABLE ADD CONSTRAINT', () => {
  test('looks at the rows that are there first, and is kept from then on', async () => {
    const store = memoryStore()
    await foreignTable(store)
    const table = await openTable(store)
    await execute(table, "INSERT INTO data VALUES (1, 'a'), (2, NULL)")
    const alter = (what: string): string => `ALTER TABLE data ${what}`
    expect(await refusal(table, alter("ADD CONSTRAINT named CHECK (name <> '')"))).toBe(
      `row 2, {"id":2,"name":null}: it breaks the CHECK constraint named: name <> ''`,
    )
    expect(await refusal(table, alter('ADD CONSTRAINT c CHECK (hash(id) > 1)'))).toContain(
      'the CHECK constraint c (hash(id) > 1) is none that posixlake works out',
    )
    expect(await refusal(table, alter('ADD CONSTRAINT c CHECK id > 1'))).toContain('this ALTER is not supported')
    await execute(table, alter('add constraint `Short Name` check (length(`name`) < 3 OR name IS NULL)'))
    expect([...table.snapshot.metadata.configuration]).toEqual([
      ['delta.constraints.short name', 'length(`name`) < 3 OR name IS NULL'],
    ])
    expect(table.snapshot.protocol.minWriterVersion).toBe(3)
    const [{ operation, parameters } = { operation: '', parameters: {} }] = await table.history(1)
    expect([operation, parameters]).toEqual([
      'ADD CONSTRAINT',
      { name: 'Short Name', expr: 'length(`name`) < 3 OR name IS NULL' },
    ])
    expect(await refusal(table, "INSERT INTO data VALUES (3, 'abc')")).toContain('the CHECK constraint short name')
    expect(await refusal(table, alter('DROP CONSTRAINT nope'))).toContain('the table has no constraint nope')
    await execute(table, alter('DROP CONSTRAINT IF EXISTS nope'))
    await execute(table, alter('DROP CONSTRAINT "short name"'))
    await execute(table, "INSERT INTO data VALUES (3, 'abc')")
  })
})
