import { describe, expect, test } from 'bun:test'
import { readFooter, readRowGroup } from '../../src/columns/parquet/read.ts'
import { storeSource } from '../../src/columns/parquet/source.ts'
import { cellAt } from '../../src/columns/vectors.ts'
import { idColumns, idsOf } from '../../src/table/commit/row-tracking.ts'
import { changeProperties } from '../../src/table/operations/alter.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { optimize } from '../../src/table/operations/optimize.ts'
import { restore } from '../../src/table/operations/restore.ts'
import { zOrder } from '../../src/table/operations/z-order.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { actionsAt, append, commitLines, foreignTable, remove, rows, SCHEMA } from './fixture.ts'

const ENABLED = {
  'delta.enableRowTracking': 'true',
  'delta.rowTracking.materializedRowIdColumnName': '_row-id-col-1',
  'delta.rowTracking.materializedRowCommitVersionColumnName': '_row-commit-version-col-1',
}

/** A table by another writer that tracks rows, with two files of three rows each. */
async function tracked(withVectors = true, properties: object = ENABLED): Promise<Table> {
  const store = memoryStore()
  await foreignTable(store, {
    protocol: {
      minReaderVersion: 3,
      minWriterVersion: 7,
      readerFeatures: ['deletionVectors'],
      writerFeatures: ['deletionVectors', 'rowTracking', 'domainMetadata'],
    },
    metaData: { configuration: { ...properties, 'delta.enableDeletionVectors': String(withVectors) } },
  })
  const table = await openTable(store)
  for (let i = 0; i < 2; i++) await append(table, i * 3, i * 3 + 3)
  return table
}

/** The live rows as `id:row id@row commit version`, by id. */
async function ids(table: Table): Promise<string> {
  const found: [number, string][] = []
  const hidden = idColumns(table.snapshot)
  for (const file of table.snapshot.files) {
    const source = storeSource(table.store, file.path, file.sizeBytes)
    const deleted = new Set(await table.deletedRows(file))
    const batch = await readRowGroup(source, await readFooter(source), 0, [...SCHEMA, ...hidden])
    const numbers = Array.from({ length: batch.rows }, (_, i) => i)
    const [own, versions] = idsOf(file.add, batch.vectors.slice(SCHEMA.length), numbers)
    for (const row of numbers)
      if (!deleted.has(row))
        found.push([Number(cellAt(batch.vectors[0]!, row)), `${cellAt(own!, row)}@${cellAt(versions!, row)}`])
  }
  return found
    .sort(([a], [b]) => a - b)
    .map(([id, text]) => `${id}:${text}`)
    .join(' ')
}

async function highWaterMark(table: Table, version = table.snapshot.version): Promise<unknown> {
  const domain = (await actionsAt(table.store, version)).find(action => action.domainMetadata)?.domainMetadata
  return domain === undefined || domain === null ? undefined : JSON.parse(domain.configuration)
}

describe('a table with row tracking', () => {
  test('gives new rows ids above all others, and tells how far they go', async () => {
    const table = await tracked()
    expect(await ids(table)).toBe('0:0@1 1:1@1 2:2@1 3:3@2 4:4@2 5:5@2')
    expect(await highWaterMark(table, 1n)).toEqual({ rowIdHighWaterMark: 2 })
    expect(await highWaterMark(table, 2n)).toEqual({ rowIdHighWaterMark: 5 })
    const [info] = await actionsAt(table.store, 2n)
    expect(info!.commitInfo!['tags']).toEqual({ 'delta.rowTracking.preserved': 'true' })
  })

  test('gives ids above those of the writer that was quicker', async () => {
    const table = await tracked()
    const base = table.snapshot
    await append(await openTable(table.store), 6, 8)
    await append(table, 8, 9, base)
    expect(await ids(table)).toBe('0:0@1 1:1@1 2:2@1 3:3@2 4:4@2 5:5@2 6:6@3 7:7@3 8:8@4')
    await commitLines(table.store, 5n, [
      {
        domainMetadata: {
          domain: 'delta.rowTracking',
          configuration: '{"rowIdHighWaterMark":9007199254740993}',
          removed: false,
        },
      },
    ])
    await table.refresh()
    await append(table, 9, 10)
    expect(await ids(table)).toEndWith(' 9:9007199254740994@6')
    expect(await ids(await openTable(table.store))).toEndWith(' 9:9007199254740994@6')
  })

  for (const withVectors of [true, false]) {
    const how = withVectors ? 'deletion vectors' : 'files that are written anew'
    test(`keeps ids and versions of rows whose neighbours go, by ${how}`, async () => {
      const table = await tracked(withVectors)
      const { version } = await remove(table, 0, [0])
      expect(await ids(table)).toBe('1:1@1 2:2@1 3:3@2 4:4@2 5:5@2')
      const [gone] = (await actionsAt(table.store, version)).flatMap(action => (action.remove ? [action.remove] : []))
      expect(gone).toMatchObject({ baseRowId: 0, defaultRowCommitVersion: 1 })
      await remove(table, 0, [withVectors ? 1 : 0])
      expect(await ids(table)).toBe('2:2@1 3:3@2 4:4@2 5:5@2')
      await append(table, 9, 10)
      const fresh = withVectors ? 6 : 9
      expect(await ids(table)).toBe(`2:2@1 3:3@2 4:4@2 5:5@2 9:${fresh}@5`)
    })

    for (const by of ['key', 'place'] as const) {
      test(`keeps the ids of rows that get new values, found by ${by}, by ${how}`, async () => {
        const table = await tracked(withVectors)
        const removed = [{ file: table.snapshot.files[0]!, rows: Uint32Array.of(0, 1) }]
        await using transaction = table.begin(table.snapshot)
        const updates = by === 'key' ? { by, column: 0 } : { by, removed, added: 2 }
        transaction.tellChanges({ removed, updates })
        transaction.deleteRows(...removed)
        await transaction.write([rows(0, 2), rows(50, 51)])
        await transaction.commit({ name: 'MERGE' })
        expect(await ids(table)).toMatch(/^0:0@3 1:1@3 2:2@1 3:3@2 4:4@2 5:5@2 50:\d+@3$/)
      })
    }

    test.each([
      ['put together', optimize],
      ['put in Z order', (table: Table) => zOrder(table, { columns: ['name'], spill: memoryStore(), memoryBytes: 1 })],
    ] as const)(`keeps ids and versions when rows are %s: ${how}`, async (_, run) => {
      const table = await tracked(withVectors)
      await remove(table, 0, [1])
      const before = await ids(table)
      await run(table)
      expect(table.snapshot.files).toHaveLength(1)
      expect(await ids(table)).toBe(before)
      await remove(table, 0, [0])
      expect(await ids(table)).toBe(before.split(' ').slice(1).join(' '))
      await table.checkpoint()
      expect(await ids(await openTable(table.store))).toBe(before.split(' ').slice(1).join(' '))
      await restore(table, 2n)
      expect(await ids(table)).toBe('0:0@1 1:1@1 2:2@1 3:3@2 4:4@2 5:5@2')
    })
  }

  test('gives ids though it does not keep them yet, and none while it is suspended', async () => {
    const supported = await tracked(true, {})
    await remove(supported, 0, [0])
    await optimize(supported)
    const { add } = supported.snapshot.files[0]!
    expect(add).toMatchObject({ baseRowId: 6, defaultRowCommitVersion: 4 })
    const suspended = await tracked(true, { 'delta.rowTrackingSuspended': 'true' })
    expect(suspended.snapshot.files[0]!.add.baseRowId).toBeUndefined()
    expect(await highWaterMark(suspended, 1n)).toBeUndefined()
  })

  test('begins with a property, by which all files that are there get ids', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    for (let i = 0; i < 3; i++) await append(table, i * 3, i * 3 + 3)
    await remove(table, 1, [0])
    const [, , bare] = table.snapshot.files
    // By a writer that leaves statistics out.
    await commitLines(table.store, 5n, [{ add: { ...bare!.add, stats: undefined } }])
    await table.refresh()
    const enable = (on: Table, value = 'true') =>
      changeProperties(on.begin(on.snapshot), new Map([['delta.enableRowTracking', value]]))
    const late = table.begin(table.snapshot)
    late.removeFiles(table.snapshot.files[0]!)
    await late.write([rows(0, 3)])
    // Another writer adds rows before the commit is made.
    const other = await openTable(table.store)
    const pending = table.begin(table.snapshot)
    await append(other, 9, 12)
    await changeProperties(pending, new Map([['delta.enableRowTracking', 'true']]))
    const before = '0:0@7 1:1@7 2:2@7 4:4@7 5:5@7 6:6@7 7:7@7 8:8@7 9:9@7 10:10@7 11:11@7'
    expect(await ids(table)).toBe(before)
    expect(await ids(await openTable(table.store))).toBe(before)
    expect(await highWaterMark(table)).toEqual({ rowIdHighWaterMark: 11 })
    const actions = await actionsAt(table.store, 7n)
    expect(actions.find(({ protocol }) => protocol)!.protocol!.writerFeatures).toContain('rowTracking')
    expect(actions.find(({ protocol }) => protocol)!.protocol!.writerFeatures).toContain('domainMetadata')
    expect(actions.flatMap(({ add }) => (add ? [add.dataChange] : []))).toEqual([false, false, false, false])
    expect(actions[0]!.commitInfo!.operation).toBe('SET TBLPROPERTIES')
    // Who began before that wrote rows without the ids that they have now.
    expect(await late.commit({ name: 'UPDATE' })).toMatchObject({ kind: 'conflict' })
    await append(table, 12, 13)
    await optimize(table)
    expect(await ids(table)).toBe(`${before} 12:12@8`)
    expect(await enable(table)).toMatchObject({ kind: 'unchanged' })
    const name = 'delta.rowTracking.materializedRowIdColumnName'
    const column = table.snapshot.metadata.configuration.get(name)
    expect(column).toStartWith('_row-id-col-')
    await expect(changeProperties(table.begin(), new Map([[name, undefined]]))).rejects.toMatchObject({
      code: 'bad_property',
    })
    // It may end and begin again: rows that came between get ids then, the others go on with theirs.
    await enable(table, 'false')
    await append(table, 13, 14)
    await enable(table)
    expect(table.snapshot.metadata.configuration.get(name)).toBe(column)
    expect((await ids(table)).split(' ').slice(0, 11).join(' ')).toBe(before)
    const suspended = await tracked(true, { 'delta.rowTrackingSuspended': 'true' })
    await expect(enable(suspended)).rejects.toThrow('rows are not tracked while delta.rowTrackingSuspended is true')
  })
})
