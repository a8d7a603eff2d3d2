import { describe, expect, test } from 'bun:test'
import { schemaFromJson } from '../../src/columns/schema.ts'
import type { Cell } from '../../src/columns/types.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { appended } from '../../src/table/operations/append.ts'
import { addConstraint, dropConstraint } from '../../src/table/operations/constraints.ts'
import { optimize } from '../../src/table/operations/optimize.ts'
import { restore } from '../../src/table/operations/restore.ts'
import { type CommitResult, committed, openTable, type Table } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { actionsAt, commitLines, failure, foreignTable, readRows } from './fixture.ts'

interface Column {
  readonly name: string
  readonly type?: string
  readonly nullable?: boolean
  readonly metadata?: object
}

/** A table of another writer with these columns, all BIGINT unless they say otherwise. */
async function tableOf(
  columns: readonly Column[],
  metaData: object = {},
  protocol: object = { minWriterVersion: 6 },
): Promise<Table> {
  const store = memoryStore()
  const fields = columns.map(column => ({ type: 'long', nullable: true, metadata: {}, ...column }))
  await foreignTable(store, { protocol, metaData, schema: { type: 'struct', fields } })
  return openTable(store)
}

const IDENTITY = { 'delta.identity.start': 1, 'delta.identity.step': 1, 'delta.identity.allowExplicitInsert': false }

async function add(table: Table, ...rows: readonly (readonly Cell[])[]): Promise<CommitResult> {
  await using transaction = table.begin()
  const types = table.snapshot.schema.map(({ type }) => type)
  const files = await transaction.write([batchOf(types, rows)])
  return await transaction.commit(
    appended({ rows: rows.length, files, partitionColumns: table.snapshot.partitionColumns }),
  )
}

async function sentence(run: () => Promise<unknown>, code: string = 'constraint'): Promise<string> {
  const error = await failure(run)
  expect(error.code as string).toBe(code)
  return error.message
}

/** All that a store has. */
async function paths(store: ObjectStore): Promise<string[]> {
  return (await store.list('')).map(({ path }) => path)
}

const mark = async (table: Table, column = 'id'): Promise<unknown> =>
  JSON.parse((await table.refresh()).metadata.action.schemaString).fields.find(({ name }: Column) => name === column)
    .metadata['delta.identity.highWaterMark']

describe('a CHECK constraint', () => {
  const checked = (sql: string): Promise<Table> =>
    tableOf([{ name: 'id' }, { name: 'n', type: 'integer' }], { configuration: { 'delta.constraints.small': sql } })

  test('lets no row in for which it is not TRUE, and no file of the refused write stays', async () => {
    const table = await checked('n < 10')
    await add(table, [1n, 5])
    const before = await paths(table.store)
    expect(await sentence(() => add(table, [2n, 6], [3n, 10]))).toBe(
      'row 2, {"id":3,"n":10}: it breaks the CHECK constraint small: n < 10',
    )
    // As Spark has it (CheckDeltaInvariant): NULL is not TRUE.
    expect(await sentence(() => add(table, [4n, null]))).toStartWith('row 1, {"id":4,"n":null}: it breaks')
    expect(await paths(table.store)).toEqual(before)
    expect(await readRows(table)).toEqual([[1n, 5]])
  })

  test('that is not worked out refuses the write by its name and its text, and deletes go on', async () => {
    const table = await checked('hash(n) > 0')
    expect(await sentence(() => add(table, [1n, 5]), 'unsupported_feature')).toBe(
      'the CHECK constraint small (hash(n) > 0) is none that posixlake works out: the function hash is not worked out; so no rows can be written here, by Spark they can',
    )
    expect(
      (await checked('n + 1')) &&
        (await sentence(async () => add(await checked('n + 1'), [1n, 1]), 'unsupported_feature')),
    ).toContain('it is no condition')
  })

  test('that fails for a row refuses it', async () => {
    expect(await sentence(async () => add(await checked('10 / n > 1'), [1n, 0]))).toContain(
      'the CHECK constraint small (10 / n > 1) cannot be worked out: something is divided by 0',
    )
  })

  test('that another writer added meanwhile is a conflict for rows that were not checked against it', async () => {
    const table = await checked('n < 10')
    const other = await openTable(table.store)
    await using transaction = table.begin()
    await transaction.write([
      batchOf(
        table.snapshot.schema.map(({ type }) => type),
        [[1n, 5]],
      ),
    ])
    await committed(await addConstraint(other, other.begin(), { name: 'Large', condition: 'n > 6', nowMs: 0 }))
    const result = await transaction.commit(appended({ rows: 1, partitionColumns: [] }))
    expect(result).toMatchObject({ kind: 'conflict' })
    expect(await sentence(async () => committed(result), 'conflict')).toContain('another writer changed the rules')
  })

  test('is added when all rows keep it, and not when others come meanwhile', async () => {
    const table = await tableOf([{ name: 'id' }], {}, { minWriterVersion: 2 })
    await add(table, [1n], [2n])
    const added = (condition: string, name = 'Positive'): Promise<CommitResult> =>
      addConstraint(table, table.begin(), { name, condition, nowMs: 0 })
    expect(await sentence(() => added('id > 1'))).toBe(
      'row 1, {"id":1}: it breaks the CHECK constraint positive: id > 1',
    )
    expect(await added('id > 0')).toMatchObject({ kind: 'committed', version: 2n })
    const { protocol, metadata } = table.snapshot
    expect(protocol).toEqual({ minReaderVersion: 1, minWriterVersion: 3 })
    expect([...metadata.configuration]).toEqual([['delta.constraints.positive', 'id > 0']])
    expect(await sentence(() => added('id > 0', 'POSITIVE'), 'bad_property')).toContain(
      'has a constraint POSITIVE already',
    )
    const transaction = table.begin()
    const other = await openTable(table.store)
    await add(other, [3n])
    expect((await addConstraint(table, transaction, { name: 'x', condition: 'id < 3', nowMs: 0 })).kind).toBe(
      'conflict',
    )
    expect(await dropConstraint(table.begin(await table.refresh()), 'POSITIVE', false)).toMatchObject({ version: 4n })
    await add(table, [-1n])
    expect(await dropConstraint(table.begin(), 'positive', true)).toMatchObject({ kind: 'unchanged' })
    expect(await sentence(() => dropConstraint(table.begin(), 'positive', false), 'bad_property')).toContain(
      'the table has no constraint positive',
    )
  })

  test('of a table with named features is named among them', async () => {
    const table = await tableOf(
      [{ name: 'id' }],
      {},
      { minReaderVersion: 3, minWriterVersion: 7, readerFeatures: [], writerFeatures: ['appendOnly'] },
    )
    await addConstraint(table, table.begin(), { name: 'c', condition: 'id > 0', nowMs: 0 })
    expect(table.snapshot.protocol.writerFeatures).toEqual(['appendOnly', 'checkConstraints'])
  })
})

test('an invariant is kept, of a member of a struct too', async () => {
  const rule = (sql: string): object => ({ 'delta.invariants': JSON.stringify({ expression: { expression: sql } }) })
  const inner = [{ name: 'a', type: 'long', nullable: true, metadata: rule('s.a > 0') }]
  const table = await tableOf([
    { name: 'id', metadata: rule('id < 5') },
    { name: 's', type: { type: 'struct', fields: inner } as unknown as string },
  ])
  await add(table, [1n, [1n]])
  expect(await sentence(() => add(table, [5n, [1n]]))).toBe(
    'row 1, {"id":5,"s":{"a":1}}: it breaks the invariant on column id: id < 5',
  )
  expect(await sentence(() => add(table, [1n, [0n]]))).toContain('the invariant on column a: s.a > 0')
  const strange = await tableOf([{ name: 'id', metadata: { 'delta.invariants': '{}' } }])
  expect(await sentence(() => add(strange, [1n]), 'unsupported_feature')).toContain('is not understood ({})')
})

test('rules are kept of files that nobody looked into: they are not added as they are', async () => {
  const plain = await tableOf([{ name: 'id' }])
  await add(plain, [1n])
  const table = await tableOf([{ name: 'id' }], { configuration: { 'delta.constraints.c': 'id > 1' } })
  await using transaction = table.begin()
  const { path, sizeBytes, add: action } = plain.snapshot.files[0]!
  transaction.addFile({ path, sizeBytes, rows: 1, stats: action.stats!, partitionValues: {} })
  expect(
    await sentence(() => transaction.commit(appended({ rows: 1, partitionColumns: [] })), 'unsupported_feature'),
  ).toContain('files cannot be added as they are')
})

describe('a generated column', () => {
  const generated = (): Promise<Table> =>
    tableOf([{ name: 'id' }, { name: 'twice', nullable: false, metadata: { 'delta.generationExpression': 'id * 2' } }])

  test('is worked out where no value is given, and one that is given has to be the same', async () => {
    const table = await generated()
    await add(table, [1n, null], [2n, 4n])
    expect(await readRows(table)).toEqual([
      [1n, 2n],
      [2n, 4n],
    ])
    expect(await sentence(() => add(table, [3n, 7n]))).toBe(
      'row 1, {"id":3,"twice":7}: the generated column twice is 7, and id * 2 is 6; leave it empty',
    )
    expect(await sentence(() => add(table, [null, null]))).toContain('the column twice is NOT NULL')
  })

  test('by which the table is partitioned says where its rows go', async () => {
    const table = await tableOf(
      [
        { name: 'at', type: 'timestamp' },
        { name: 'day', type: 'date', metadata: { 'delta.generationExpression': 'CAST(at AS DATE)' } },
      ],
      { partitionColumns: ['day'] },
    )
    await add(table, [0n, null], [86_400_000_000n, null], [null, null])
    const values = table.snapshot.files.map(({ add }) => add.partitionValues)
    expect(values).toEqual(expect.arrayContaining([{ day: '1970-01-01' }, { day: '1970-01-02' }, { day: null }]))
  })

  test('keeps the value of a row that it comes in place of: it is worked out anew', async () => {
    const table = await generated()
    const write = async (row: readonly Cell[]): Promise<unknown> => {
      await using transaction = table.begin()
      const types = table.snapshot.schema.map(({ type }) => type)
      await transaction.replaces(async function* () {
        yield batchOf(types, [[1n, 2n]])
      })
      await transaction.write([batchOf(types, [row])])
      return await transaction.commit(appended({ rows: 1, partitionColumns: [] }))
    }
    await write([5n, 2n])
    expect(await readRows(table)).toEqual([[5n, 10n]])
    expect(await sentence(() => write([5n, 3n]))).toContain('the generated column twice is 3')
  })

  test('is a column as any other where the protocol does not speak of generated ones', async () => {
    const table = await tableOf(
      [{ name: 'id' }, { name: 'n', metadata: { 'delta.generationExpression': 'id * 2' } }],
      {},
      { minWriterVersion: 3 },
    )
    await add(table, [1n, 5n], [1n, null])
    expect(await readRows(table)).toEqual([
      [1n, 5n],
      [1n, null],
    ])
  })

  test('that is not worked out refuses the write by its name and its text', async () => {
    const table = await tableOf([{ name: 'id' }, { name: 'h', metadata: { 'delta.generationExpression': 'hash(id)' } }])
    expect(await sentence(() => add(table, [1n, null]), 'unsupported_feature')).toContain(
      'the generated column h (hash(id)) is none that posixlake works out',
    )
  })
})

describe('an identity column', () => {
  test('numbers new rows, and its mark moves with their commit', async () => {
    const table = await tableOf([{ name: 'id', metadata: IDENTITY }, { name: 'n' }])
    await add(table, [null, 5n], [null, 6n])
    expect(await mark(table)).toBe(2)
    const { schemaString } = (await actionsAt(table.store, 1n)).find(action => action.metaData)!.metaData!
    expect(schemaFromJson(schemaString)[0]!.metadata).toEqual({ ...IDENTITY, 'delta.identity.highWaterMark': 2 })
    await add(table, [null, 7n])
    expect(await readRows(table)).toEqual([
      [1n, 5n],
      [2n, 6n],
      [3n, 7n],
    ])
    expect(await sentence(() => add(table, [9n, 1n]))).toBe(
      'row 1, {"id":9,"n":1}: the table itself numbers the rows (the identity column id); leave it empty',
    )
    expect(await mark(table)).toBe(3)
  })

  test('BY DEFAULT takes numbers of their own, which move no mark', async () => {
    const table = await tableOf([{ name: 'id', metadata: { ...IDENTITY, 'delta.identity.allowExplicitInsert': true } }])
    await add(table, [null], [50n], [null])
    expect((await readRows(table)).flat()).toEqual([1n, 50n, 2n])
    expect(await mark(table)).toBe(2)
  })

  test('counts down and in steps, with all digits, and ends where 64 bits do', async () => {
    const start = -9_223_372_036_854_775_803n
    const raw = (text: string): unknown => (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(text)
    const metadata = { ...IDENTITY, 'delta.identity.start': raw(String(start)), 'delta.identity.step': -3 }
    const table = await tableOf([{ name: 'id', metadata }])
    await add(table, [null], [null])
    expect((await readRows(table)).flat()).toEqual([start, start - 3n])
    expect((await table.refresh()).metadata.action.schemaString).toContain(
      '"delta.identity.start":-9223372036854775803',
    )
    expect(table.snapshot.metadata.action.schemaString).toContain('"delta.identity.highWaterMark":-9223372036854775806')
    expect(await sentence(() => add(table, [null]))).toContain('the identity column id has no numbers left')
  })

  test('goes on behind a mark that somebody set between two of its numbers', async () => {
    const metadata = { ...IDENTITY, 'delta.identity.step': 10, 'delta.identity.highWaterMark': 25 }
    const table = await tableOf([{ name: 'id', metadata }])
    await add(table, [null])
    expect((await readRows(table)).flat()).toEqual([31n])
  })

  test('never gives two rows one number, however many write at once', async () => {
    const table = await tableOf([{ name: 'id', metadata: IDENTITY }, { name: 'n' }])
    const writers = await Promise.all(Array.from({ length: 4 }, () => openTable(table.store)))
    let conflicts = 0
    await Promise.all(
      writers.map(async writer => {
        for (let done = 0; done < 10; ) {
          const result = await add(writer, [null, 1n], [null, 2n])
          if (result.kind === 'conflict') conflicts++
          else done++
          if (result.kind === 'conflict') expect(result.isNumbering).toBe(true)
        }
      }),
    )
    await table.refresh()
    const ids = (await readRows(table)).map(([id]) => Number(id)).sort((a, b) => a - b)
    expect(ids).toEqual(Array.from({ length: 80 }, (_, i) => i + 1))
    expect(await mark(table)).toBe(80)
    expect(conflicts).toBeGreaterThan(0)
  })

  test('keeps the mark that others moved when its columns or properties change, or an older version comes back', async () => {
    const table = await tableOf([{ name: 'id', metadata: IDENTITY }])
    await add(table, [null])
    await using transaction = table.begin()
    transaction.changeSchema(
      table.snapshot.schema.map(field => ({ ...field, metadata: { ...field.metadata, comment: 'x' } })),
    )
    await add(await openTable(table.store), [null])
    expect((await transaction.commit({ name: 'CHANGE COLUMN' })).kind).toBe('committed')
    expect(await mark(table)).toBe(2)
    await restore(table, 1n)
    expect(await mark(table)).toBe(2)
    await add(table, [null])
    expect((await readRows(table)).flat()).toEqual([1n, 3n])
  })
})

test('rows that are only moved are not asked again', async () => {
  const table = await tableOf([{ name: 'id', metadata: IDENTITY }, { name: 'n' }], {
    configuration: { 'delta.constraints.c': 'n > 0' },
  })
  await add(table, [null, 1n])
  await add(table, [null, 2n])
  const { metaData } = (await actionsAt(table.store, 2n)).find(action => action.metaData)!
  await commitLines(table.store, 3n, [
    { metaData: { ...metaData, configuration: { 'delta.constraints.c': 'hash(n) > 0' } } },
  ])
  expect(await optimize(table)).toMatchObject({ removedFiles: 2, addedFiles: 1 })
  expect(await readRows(table)).toEqual([
    [1n, 1n],
    [2n, 2n],
  ])
})
