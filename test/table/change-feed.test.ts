import { describe, expect, test } from 'bun:test'
import { readFooter, readRowGroup } from '../../src/columns/parquet/read.ts'
import { storeSource } from '../../src/columns/parquet/source.ts'
import type { Schema } from '../../src/columns/types.ts'
import { cellAt } from '../../src/columns/vectors.ts'
import { StorageError } from '../../src/storage/object-store.ts'
import { CHANGE_TYPE } from '../../src/table/commit/change-feed.ts'
import { pathOf } from '../../src/table/log/paths.ts'
import { optimize } from '../../src/table/operations/optimize.ts'
import { restore } from '../../src/table/operations/restore.ts'
import { truncate } from '../../src/table/operations/truncate.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { actionsAt, append, commitLines, failure, foreignTable, remove, rows, SCHEMA } from './fixture.ts'

const FEED = { 'delta.enableChangeDataFeed': 'true' }
const VECTORS = {
  minReaderVersion: 3,
  minWriterVersion: 7,
  readerFeatures: ['deletionVectors'],
  writerFeatures: ['deletionVectors', 'changeDataFeed'],
}

/** A table by another writer with a change data feed, and two files of three rows each. */
async function fed(withVectors: boolean, store = memoryStore()): Promise<Table> {
  const configuration = { ...FEED, ...(withVectors ? { 'delta.enableDeletionVectors': 'true' } : {}) }
  await foreignTable(store, { protocol: withVectors ? VECTORS : { minWriterVersion: 4 }, metaData: { configuration } })
  const table = await openTable(store)
  for (let i = 0; i < 2; i++) await append(table, i * 3, i * 3 + 3)
  return table
}

/** The rows that the change data files of a version tell, sorted; undefined where it has none. */
async function fedRows(table: Table, version: bigint, schema: Schema = SCHEMA): Promise<string[] | undefined> {
  const cdc = (await actionsAt(table.store, version)).flatMap(action => (action.cdc ? [action.cdc] : []))
  if (cdc.length === 0) return undefined
  const found: string[] = []
  for (const { path, size, dataChange } of cdc) {
    expect(path).toStartWith('_change_data/')
    expect(dataChange).toBe(false)
    const source = storeSource(table.store, pathOf(table.store.location, path), size)
    const batch = await readRowGroup(source, await readFooter(source), 0, [...schema, CHANGE_TYPE])
    for (let row = 0; row < batch.rows; row++)
      found.push(batch.vectors.map(vector => String(cellAt(vector, row))).join(' '))
  }
  return found.sort()
}

async function changeFiles({ store }: Table): Promise<number> {
  return (await store.list('')).filter(({ path }) => path.startsWith('_change_data/')).length
}

describe('a table with a change data feed', () => {
  for (const withVectors of [true, false]) {
    const how = withVectors ? 'deletion vectors' : 'files that are written anew'
    test(`tells which rows were deleted, by ${how}`, async () => {
      const table = await fed(withVectors)
      const { version } = await remove(table, 0, [0, 2])
      expect(await fedRows(table, version)).toEqual(['0 row 0 delete', '2 row 2 delete'])
    })

    test(`tells nothing besides of files that come or go as a whole, with ${how}`, async () => {
      const table = await fed(withVectors)
      for (const version of [1n, 2n, (await remove(table, 0, [0, 1, 2])).version])
        expect(await fedRows(table, version)).toBeUndefined()
      await using emptied = table.begin(table.snapshot)
      await truncate(emptied)
      expect(await fedRows(table, table.snapshot.version)).toBeUndefined()
      expect(await changeFiles(table)).toBe(0)
    })

    test(`tells of an update before and after, by ${how}`, async () => {
      const table = await fed(withVectors)
      const [first] = table.snapshot.files
      await using transaction = table.begin(table.snapshot)
      const removed = [{ file: first!, rows: Uint32Array.of(0, 1) }]
      transaction.tellChanges({ removed, updates: { by: 'key', column: 0 } })
      transaction.deleteRows(...removed)
      await transaction.write([rows(1, 2), rows(9, 10)])
      const result = await transaction.commit({ name: 'MERGE' })
      expect(result.kind).toBe('committed')
      expect(await fedRows(table, table.snapshot.version)).toEqual([
        '0 row 0 delete',
        '1 row 1 update_postimage',
        '1 row 1 update_preimage',
        '9 row 9 insert',
      ])
    })

    test(`tells of rows in files that were written before, by ${how}`, async () => {
      const table = await fed(withVectors)
      const add = await writeDataFiles(table, [rows(7, 8)])
      await using transaction = table.begin(table.snapshot)
      for (const file of add) transaction.addFile(file)
      transaction.deleteRows({ file: table.snapshot.files[1]!, rows: Uint32Array.of(0, 1, 2) })
      await transaction.commit({ name: 'MERGE' })
      expect(await fedRows(table, table.snapshot.version)).toEqual([
        '3 row 3 delete',
        '4 row 4 delete',
        '5 row 5 delete',
        '7 row 7 insert',
      ])
    })
  }

  test('keeps what it tells when another writer was quicker, and leaves nothing behind when that is a conflict', async () => {
    const table = await fed(true)
    const base = table.snapshot
    const other = await openTable(table.store)
    await remove(other, 0, [0])
    const { version } = await remove(table, 0, [1], base)
    expect(version).toBe(4n)
    expect(await fedRows(table, version)).toEqual(['1 row 1 delete'])
    const before = await changeFiles(table)
    expect((await failure(() => remove(table, 0, [0], base))).code).toBe('conflict')
    expect(await changeFiles(table)).toBe(before)
  })

  test('leaves no change data behind when the log cannot be written', async () => {
    const table = await fed(true)
    const store = { ...table.store, putIfAbsent: () => Promise.reject(new StorageError('io', 'the disk is away')) }
    const other = await openTable(store)
    await expect(remove(other, 0, [0])).rejects.toThrow('the disk is away')
    expect(await changeFiles(table)).toBe(0)
  })

  test('refuses a change of rows from before another writer switched the feed on', async () => {
    const store = memoryStore()
    await foreignTable(store, { protocol: { minWriterVersion: 4 } })
    const table = await openTable(store)
    await append(table, 0, 3)
    const base = table.snapshot
    await commitLines(store, 2n, [{ metaData: { ...base.metadata.action, configuration: FEED } }])
    const refused = await failure(() => remove(table, 0, [1], base))
    expect(refused.code).toBe('conflict')
    expect(refused.message).toContain('change data feed')
  })

  test('has none by its property alone, without the protocol', async () => {
    for (const protocol of [{ minWriterVersion: 2 }, { minWriterVersion: 7, writerFeatures: ['appendOnly'] }]) {
      const store = memoryStore()
      await foreignTable(store, { protocol, metaData: { configuration: FEED } })
      const table = await openTable(store)
      await append(table, 0, 3)
      expect(await fedRows(table, (await remove(table, 0, [1])).version)).toBeUndefined()
    }
  })

  test('tells nothing of what is only put elsewhere, and of a restored version by its files', async () => {
    const table = await fed(true)
    const { version } = await remove(table, 0, [1])
    await optimize(table)
    expect(await fedRows(table, table.snapshot.version)).toBeUndefined()
    expect(await changeFiles(table)).toBe(1)
    await restore(table, version)
    expect(await fedRows(table, table.snapshot.version)).toBeUndefined()
  })

  test('has the values of partitions in the log, not in the files', async () => {
    const store = memoryStore()
    await foreignTable(store, {
      protocol: { minWriterVersion: 4 },
      metaData: { configuration: FEED, partitionColumns: ['name'] },
    })
    const table = await openTable(store)
    await append(table, 0, 3)
    const { version } = await remove(table, 0, [0])
    expect(await fedRows(table, version)).toBeUndefined()
    await using transaction = table.begin(table.snapshot)
    const removed = [{ file: table.snapshot.files[0]!, rows: Uint32Array.of(0) }]
    transaction.tellChanges({ removed, updates: { by: 'place', removed, added: 1 } })
    transaction.deleteRows(...removed)
    await transaction.write([rows(8, 9)])
    await transaction.commit({ name: 'UPDATE' })
    const actions = await actionsAt(store, table.snapshot.version)
    const cdc = actions.flatMap(action => (action.cdc ? [action.cdc] : []))
    expect(cdc.map(({ partitionValues }) => partitionValues)).toEqual([{ name: 'row 8' }, { name: 'row 1' }])
    expect(await fedRows(table, table.snapshot.version, [SCHEMA[0]!])).toEqual([
      '1 update_preimage',
      '8 update_postimage',
    ])
  })
})
