import { describe, expect, test } from 'bun:test'
import { parseDdl, physicalName, schemaFingerprint, schemaFromJson } from '../../src/columns/schema.ts'
import type { Cell, Schema } from '../../src/columns/types.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { csvOf, execute } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { withPhysicalNames } from '../../src/table/column-mapping.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { actionsAt, commitLines, failure, foreignTable, readRows } from './fixture.ts'

const mapped = (id: number, name: string, physical: string, type: unknown = 'long'): object => ({
  name,
  type,
  nullable: true,
  metadata: { 'delta.columnMapping.id': id, 'delta.columnMapping.physicalName': physical },
})

interface Options {
  readonly mode?: string
  readonly fields?: readonly object[]
  readonly maxColumnId?: string
}

/** A table with the columns `a` (called col-1 in the files) and `b` (col-2), of which one with a higher id was dropped. */
async function mappedTable(
  store: ObjectStore,
  { mode = 'name', fields, maxColumnId = '7' }: Options = {},
): Promise<Table> {
  await foreignTable(store, {
    protocol: { minReaderVersion: 2, minWriterVersion: 5 },
    metaData: { configuration: { 'delta.columnMapping.mode': mode, 'delta.columnMapping.maxColumnId': maxColumnId } },
    schema: { type: 'struct', fields: fields ?? [mapped(1, 'a', 'col-1'), mapped(2, 'b', 'col-2')] },
  })
  return openTable(store)
}

async function add(table: Table, schema: Schema, cells: (bigint | null)[][], evolve = false): Promise<void> {
  const batch = batchOf(
    schema.map(({ type }) => type),
    cells,
  )
  const change = evolve ? { schema } : {}
  await commit(table, {
    base: table.snapshot,
    operation: 'WRITE',
    add: await writeDataFiles(table, [batch], change),
    delete: [],
    ...change,
  })
}

/** The metaData action of a schema change by another writer. */
function metaData(table: Table, fields: readonly object[], more: object = {}): object {
  return {
    metaData: { ...table.snapshot.metadata.action, schemaString: JSON.stringify({ type: 'struct', fields }), ...more },
  }
}

describe('a new column of a table with column mapping', () => {
  for (const mode of ['name', 'id']) {
    test(`gets a name and an id of its own, by ${mode}`, async () => {
      const store = memoryStore()
      const table = await mappedTable(store, { mode })
      await add(table, table.snapshot.schema, [[1n, 2n]])
      const schema = withPhysicalNames([...table.snapshot.schema, ...parseDdl('c:Int64')], table.snapshot)
      expect(withPhysicalNames(schema, table.snapshot)).toEqual(schema)
      await add(table, schema, [[3n, 4n, 5n]], true)
      const found = (await actionsAt(store, 2n)).find(action => action.metaData)?.metaData
      expect(found?.configuration['delta.columnMapping.maxColumnId']).toBe('8')
      const [a, , c] = schemaFromJson(found!.schemaString)
      expect(a?.metadata).toEqual({ 'delta.columnMapping.id': 1, 'delta.columnMapping.physicalName': 'col-1' })
      expect(c?.metadata['delta.columnMapping.id']).toBe(8)
      expect(physicalName(c!)).toMatch(/^col-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
      const stats = (await actionsAt(store, 2n)).find(action => action.add)?.add?.stats
      expect(JSON.parse(stats!).maxValues).toEqual({ 'col-1': 3, 'col-2': 4, [physicalName(c!)]: 5 })
      expect(await readRows(await openTable(store))).toEqual([
        [1n, 2n, null],
        [3n, 4n, 5n],
      ])
    })
  }

  test('has them on every field inside it, and those of other tables have none', async () => {
    const table = await mappedTable(memoryStore())
    const added = parseDdl('s:struct<x:int, l:array<struct<y:int>>, m:map<string, struct<z:int>>>')
    const text = JSON.stringify(withPhysicalNames([...table.snapshot.schema, ...added], table.snapshot))
    const ids = [...text.matchAll(/columnMapping\.id":(\d+)/g)].map(match => Number(match[1]))
    expect(ids.toSorted((a, b) => a - b)).toEqual([1, 2, 8, 9, 10, 11, 12, 13])
    expect(new Set(text.match(/"col-[0-9a-f-]+"/g)).size).toBe(8)
    const plain = memoryStore()
    await foreignTable(plain)
    expect(withPhysicalNames(added, (await openTable(plain)).snapshot)).toBe(added)
  })

  test('that has the name of one that was dropped is another one, for texts and for commits', async () => {
    const store = memoryStore()
    const table = await mappedTable(store)
    await add(table, table.snapshot.schema, [[1n, 2n]])
    const before = table.snapshot
    const staged = await writeDataFiles(table, [
      batchOf(
        before.schema.map(({ type }) => type),
        [[5n, 6n]],
      ),
    ])
    await commitLines(store, 2n, [metaData(table, [mapped(1, 'a', 'col-1'), mapped(8, 'b', 'col-8')])])
    await table.refresh()
    expect(schemaFingerprint(table.snapshot.schema)).not.toBe(schemaFingerprint(before.schema))
    expect(await readRows(table)).toEqual([[1n, null]])
    const late = await failure(() => commit(table, { base: before, operation: 'WRITE', add: staged, delete: [] }))
    expect(late).toMatchObject({ code: 'conflict' })
  })

  test('that another writer added at the same time is a conflict', async () => {
    const store = memoryStore()
    const [one, two] = [await mappedTable(store), await openTable(store)]
    const schemas = [one, two].map(({ snapshot }) =>
      withPhysicalNames([...snapshot.schema, ...parseDdl('c:Int64')], snapshot),
    )
    await add(one, schemas[0]!, [[1n, 2n, 3n]], true)
    expect(await failure(() => add(two, schemas[1]!, [[4n, 5n, 6n]], true))).toMatchObject({ code: 'conflict' })
  })
})

describe('a table whose columns are found by their ids', () => {
  const struct = (...fields: readonly object[]): object => ({ type: 'struct', fields })
  const array = (elementType: object): object => ({ type: 'array', elementType, containsNull: true })
  const map = (keyType: unknown, valueType: object): object => ({
    type: 'map',
    keyType,
    valueType,
    valueContainsNull: true,
  })
  /** Columns `x` and `y` by id `first` and the one after it, under these names in the files. */
  const pair = (first: number, x: string, y: string): object =>
    struct(mapped(first, 'x', x), mapped(first + 1, 'y', y, 'string'))
  const columns = (x: string, y: string): object[] => [
    mapped(1, 's', 'p1', struct(mapped(2, 'inner', 'p2', pair(3, x, y)), mapped(5, 'z', 'p5'))),
    mapped(6, 'l', 'p6', array(array(pair(7, x, y)))),
    mapped(9, 'm', 'p9', map(pair(10, x, y), pair(12, x, y))),
    mapped(14, 'one', 'p14', array(struct(mapped(15, 'x', x)))),
  ]
  const cells = [
    [[1n, 'a'], 2n],
    [[[[3n, 'b']], null, [null, [4n, null]]], null],
    [
      [
        [
          [5n, 'c'],
          [6n, 'd'],
        ],
      ],
      null,
    ],
    [[[7n], null], [[8n]]],
  ]
  const rows = [0, 1].map(row => [
    row === 0 ? cells[0]! : null,
    ...cells.slice(1).map(column => column[row] ?? null),
  ]) as Cell[][]

  test('finds them so inside structs, lists and maps, whatever names the file has', async () => {
    for (const [x, y] of [
      ['q1', 'q2'],
      // Each has the other's name.
      ['b', 'a'],
    ] as const) {
      using folder = temporaryFolder()
      const store = localStore(folder.path)
      const written = await mappedTable(store, { mode: 'id', fields: columns(x, y), maxColumnId: '15' })
      const types = written.snapshot.schema.map(({ type }) => type)
      const files = await writeDataFiles(written, [batchOf(types, rows)])
      await commit(written, { base: written.snapshot, operation: 'WRITE', add: files, delete: [] })
      // The same ids under other physical names: nothing but the ids leads to the values.
      await commitLines(store, 2n, [metaData(written, columns('a', 'b'))])
      const table = await openTable(store)
      expect(await readRows(table)).toEqual(rows)
      const outcome = await execute(
        table,
        'SELECT s.inner.x, l[1][1].y, map_values(m)[1].y, one[1].x FROM data LIMIT 1',
      )
      if (outcome.kind !== 'rows') throw new Error('there are no rows')
      const text = new TextDecoder().decode(Buffer.concat(await Array.fromAsync(csvOf(outcome.result))))
      expect(text.split('\n')[1]).toBe('1,b,d,7')
    }
  })
})

describe('physical names that column mapping left behind', () => {
  test('mean nothing once it is off', async () => {
    const store = memoryStore()
    await foreignTable(store)
    const plain = await openTable(store)
    const files = await writeDataFiles(plain, [
      batchOf(
        plain.snapshot.schema.map(({ type }) => type),
        [[1n, 'one']],
      ),
    ])
    await commit(plain, { base: plain.snapshot, operation: 'WRITE', add: files, delete: [] })
    const fields = [mapped(1, 'id', 'name'), mapped(2, 'name', 'id', 'string')]
    for (const configuration of [{}, { 'delta.columnMapping.mode': 'none' }, { 'delta.columnMapping.mode': 'name' }]) {
      // The last is a property that the protocol does not know.
      await commitLines(store, plain.snapshot.version + 1n, [metaData(plain, fields, { configuration })])
      await plain.refresh()
      expect(await readRows(plain)).toEqual([[1n, 'one']])
      expect(await readRows(await openTable(store))).toEqual([[1n, 'one']])
    }
  })
})

test('rows that were split by other partition columns than the table has now are a conflict', async () => {
  const store = memoryStore()
  await foreignTable(store)
  const table = await openTable(store)
  const base = table.snapshot
  const staged = await writeDataFiles(table, [
    batchOf(
      base.schema.map(({ type }) => type),
      [[1n, 'one']],
    ),
  ])
  const { action } = base.metadata
  await commitLines(store, 1n, [{ metaData: { ...action, partitionColumns: ['name'] } }])
  const late = await failure(() => commit(table, { base, operation: 'WRITE', add: staged, delete: [] }))
  expect(late).toMatchObject({ code: 'conflict' })
})
