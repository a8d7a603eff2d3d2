import { describe, expect, test } from 'bun:test'
import { parseDdl, schemaToJson } from '../../src/columns/schema.ts'
import type { Cell } from '../../src/columns/types.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { optimize } from '../../src/table/operations/optimize.ts'
import { restore } from '../../src/table/operations/restore.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { actionsAt, append, changedRows, commitLines, failure, foreignTable, remove } from './fixture.ts'

const FEED = { 'delta.enableChangeDataFeed': 'true', 'delta.enableDeletionVectors': 'true' }
const PROTOCOL = {
  minReaderVersion: 3,
  minWriterVersion: 7,
  readerFeatures: ['deletionVectors'],
  writerFeatures: ['deletionVectors', 'changeDataFeed'],
}

/** A table by another writer, with one file of three rows in version 1. */
async function fed(configuration: object = FEED): Promise<Table> {
  const store = memoryStore()
  await foreignTable(store, { protocol: PROTOCOL, metaData: { configuration } })
  const table = await openTable(store)
  await append(table, 0, 3)
  return table
}

describe('the changes of a table', () => {
  test('are the rows of files that came and went, where a version has no change data', async () => {
    const table = await fed()
    await remove(table, 0, [0, 1, 2])
    expect(await changedRows(table, 0n, 1n)).toEqual(['0 row 0 insert 1', '1 row 1 insert 1', '2 row 2 insert 1'])
    expect(await changedRows(table, 2n)).toEqual(['0 row 0 delete 2', '1 row 1 delete 2', '2 row 2 delete 2'])
  })

  test('are those of change data, where a version has such', async () => {
    const table = await fed()
    await remove(table, 0, [1])
    expect(await changedRows(table, 2n)).toEqual(['1 row 1 delete 2'])
  })

  test('are the difference of the vectors of a file, and nothing where rows only moved', async () => {
    const table = await fed()
    await remove(table, 0, [1])
    await restore(table, 1n)
    expect(await changedRows(table, 3n)).toEqual(['1 row 1 insert 3'])
    await restore(table, 2n)
    expect(await changedRows(table, 4n)).toEqual(['1 row 1 delete 4'])
    await optimize(table)
    expect(table.snapshot.version).toBe(5n)
    expect(await changedRows(table, 5n)).toEqual([])
  })

  test('are found though a removal says no more than a path', async () => {
    const table = await fed()
    const [{ path }] = [table.snapshot.files[0]!]
    await commitLines(table.store, 2n, [{ remove: { path, dataChange: true } }])
    expect(await changedRows(table, 2n)).toEqual(['0 row 0 delete 2', '1 row 1 delete 2', '2 row 2 delete 2'])
  })

  test('have the columns of the last version', async () => {
    const table = await fed()
    const schema = [...table.snapshot.schema, ...parseDdl('late:String')]
    await commit(table, { base: table.snapshot, operation: 'ADD COLUMNS', add: [], delete: [], schema })
    await remove(table, 0, [0])
    expect(await changedRows(table, 1n)).toEqual([
      '0 row 0 null delete 3',
      '0 row 0 null insert 1',
      '1 row 1 null insert 1',
      '2 row 2 null insert 1',
    ])
  })

  test('have them also where columns became wider, and structs got members', async () => {
    const store = memoryStore()
    const [before, after] = [
      'id:Int32,name:String,s:struct<a:int>,l:array<date>',
      'id:Int64,name:String,s:struct<a:bigint,b:string>,l:array<timestamp_ntz>',
    ].map(text => parseDdl(text!))
    const metaData = { configuration: FEED, schemaString: schemaToJson(before!) }
    await foreignTable(store, { protocol: PROTOCOL, metaData })
    const table = await openTable(store)
    const row: Cell[] = [1, 'x', [7], [0]]
    const add = await writeDataFiles(table, [
      batchOf(
        before!.map(({ type }) => type),
        [row, [2, 'y', [8], [1]]],
      ),
    ])
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    await remove(table, 0, [0])
    const { action } = table.snapshot.metadata
    await commitLines(store, 3n, [{ metaData: { ...action, schemaString: schemaToJson(after!) } }])
    expect(await changedRows(table, 1n)).toEqual([
      '1 x 7, 0 delete 2',
      '1 x 7, 0 insert 1',
      '2 y 8, 86400000000 insert 1',
    ])
    await commitLines(store, 4n, [{ metaData: { ...action, schemaString: schemaToJson(before!) } }])
    expect((await failure(() => changedRows(table, 3n))).message).toContain('do not fit those of version 4 (id)')
  })

  test('are refused across columns that do not fit, by the name of the version', async () => {
    const table = await fed()
    const schema = parseDdl('id:Int64')
    await commitLines(table.store, 2n, [
      {
        metaData: {
          ...table.snapshot.metadata.action,
          schemaString: JSON.stringify({
            type: 'struct',
            fields: schema.map(({ name }) => ({ name, type: 'long', nullable: true, metadata: {} })),
          }),
        },
      },
    ])
    const { message } = await failure(() => changedRows(table, 1n))
    expect(message).toContain('version 1 do not fit those of version 2 (name)')
    expect(await changedRows(table, 2n)).toEqual([])
  })

  test('are refused where the feed was off, with what to do', async () => {
    const never = await fed({})
    const refused = await failure(() => changedRows(never, 1n))
    expect(refused.message).toContain('no change data feed at version 1')
    expect(refused.message).toContain("ALTER TABLE data SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')")
    const later = await fed({})
    await commitLines(later.store, 2n, [{ metaData: { ...later.snapshot.metadata.action, configuration: FEED } }])
    expect((await failure(() => changedRows(later, 0n))).message).toContain('ask for the versions since it has one')
    expect(await changedRows(later, 2n)).toEqual([])
  })

  test('are refused by the version and the file that is gone', async () => {
    const table = await fed()
    await remove(table, 0, [1])
    const cdc = (await actionsAt(table.store, 2n)).find(action => action.cdc)!.cdc!
    await table.store.delete(cdc.path)
    const { message, code } = await failure(() => changedRows(table, 1n))
    expect(code).toBe('missing_file')
    expect(message).toContain('version 2')
    expect(message).toContain(cdc.path)
  })

  test('are refused for versions that are not there', async () => {
    const table = await fed()
    expect((await failure(() => changedRows(table, 5n))).code).toBe('no_such_version')
    expect((await failure(() => changedRows(table, 0n, 9n))).code).toBe('no_such_version')
  })
})
