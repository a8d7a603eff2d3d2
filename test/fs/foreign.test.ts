import { describe, expect, test } from 'bun:test'
import { parseDdl, schemaToJson } from '../../src/columns/schema.ts'
import { localStore } from '../../src/storage/local.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { openTable } from '../../src/table/table.ts'
import { bytes, ENCODING, type HandmadeGroup, handmade, int32s, pageV1, REQUIRED, TYPE } from '../columns/handmade.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { append, changedRows, commitLines, foreignTable } from '../table/fixture.ts'
import { codeOf, type ServedTable, serveMade } from './served.ts'

/** Files with the columns `ID` and `Name` of a table by another writer, which calls them `id` and `name`. */
function serveFiles(...files: readonly (readonly (readonly string[])[])[]): Promise<ServedTable> {
  const fields = [
    { name: 'ID', type: TYPE.INT32, repetition: REQUIRED },
    { name: 'Name', type: TYPE.BYTE_ARRAY, converted: 0, repetition: REQUIRED },
  ]
  const group = (names: readonly string[]): HandmadeGroup => {
    const ids = int32s(...names.keys())
    const texts = bytes(...names.flatMap(name => [...int32s(name.length), ...new TextEncoder().encode(name)]))
    const chunk = (body: Uint8Array) => ({
      pages: names.length === 0 ? [] : [pageV1(names.length, ENCODING.PLAIN, body)],
      values: names.length,
    })
    return { rows: names.length, chunks: { ID: chunk(ids), Name: chunk(texts) } }
  }
  return serveMade(async directory => {
    const store = localStore(directory)
    await foreignTable(store, { schema: JSON.parse(schemaToJson(parseDdl('id:Int32,name:String'))) as object })
    const adds: object[] = []
    for (const [i, groups] of files.entries()) {
      const file = handmade(fields, groups.map(group))
      await store.write(`${i}.parquet`, file)
      const add = {
        path: `${i}.parquet`,
        partitionValues: {},
        size: file.length,
        modificationTime: i,
        dataChange: true,
      }
      adds.push({ add })
    }
    await commitLines(store, 1n, adds)
  })
}

/** A table by another writer with a change data feed and three rows. */
function serveFed(withVectors: boolean, made: (store: ObjectStore) => void): Promise<ServedTable> {
  return serveMade(async directory => {
    const store = localStore(directory)
    made(store)
    const features = { readerFeatures: ['deletionVectors'], writerFeatures: ['deletionVectors', 'changeDataFeed'] }
    await foreignTable(store, {
      protocol: withVectors ? { minReaderVersion: 3, minWriterVersion: 7, ...features } : { minWriterVersion: 4 },
      metaData: {
        configuration: {
          'delta.enableChangeDataFeed': 'true',
          ...(withVectors ? { 'delta.enableDeletionVectors': 'true' } : {}),
        },
      },
    })
    await append(await openTable(store), 0, 3)
  })
}

describe('a table with a change data feed', () => {
  for (const withVectors of [true, false]) {
    test(`is edited, and tells of it, ${withVectors ? 'by deletion vectors' : 'by files that are written anew'}`, async () => {
      let store = memoryStore()
      await using s = await serveFed(withVectors, made => {
        store = made
      })
      const { handle } = await s.client.create(s.data, 'temp')
      await s.client.write(handle, 0n, 'id,name\n0,row 0\n1,edited\n9,new\n')
      await s.client.rename(s.data, 'temp', s.data, 'data.csv')
      expect(await s.read()).toBe('id,name\n0,row 0\n1,edited\n9,new\n')
      const table = await openTable(store)
      expect(await changedRows(table, 1n)).toEqual([
        '0 row 0 insert 1',
        '1 edited update_postimage 2',
        '1 row 1 insert 1',
        '1 row 1 update_preimage 2',
        '2 row 2 delete 2',
        '2 row 2 insert 1',
        '9 new insert 2',
      ])
    })
  }
})

describe('a table of files by another writer', () => {
  test('whose row groups have no rows, some or all, is served as any other', async () => {
    await using s = await serveFiles([[], ['a', 'b'], [], ['c']], [[]], [], [['d'], []])
    expect(await s.read()).toBe('id,name\n0,a\n1,b\n0,c\n0,d\n')
    expect(await s.read('data/data.jsonl')).toContain('{"id":0,"name":"c"}\n')
    expect(await s.read('data/data.json')).toContain('"name":"d"')
    expect(JSON.parse(await s.read('.stats'))).toMatchObject({ total_files: 4 })
  })

  test('is served before any of them is looked into, and whoever reads one that is gone is told its name', async () => {
    await using s = await serveMade(async directory => {
      const store = localStore(directory)
      await foreignTable(store, { schema: JSON.parse(schemaToJson(parseDdl('id:Int32'))) as object })
      const add = { path: 'gone.parquet', partitionValues: {}, size: 1000, modificationTime: 0, dataChange: true }
      await commitLines(store, 1n, [{ add }])
    })
    const { handle } = await s.client.create(s.root, 'mine')
    await s.client.write(handle, 0n, 'note')
    expect(await s.read('mine')).toBe('note')
    expect(await codeOf(s.read())).toBe('EIO')
    expect(await s.read('mine')).toBe('note')
  })

  test('without any row shows its header, and takes rows', async () => {
    await using s = await serveFiles([[]])
    expect(await s.read()).toBe('id,name\n')
    await s.client.write(await s.csv(), 8n, '1,x\n')
    expect(await s.read()).toBe('id,name\n1,x\n')
  })

  test('that spells its columns in another case shows their values, and an edit keeps them', async () => {
    await using s = await serveFiles([['a', 'b'], ['c']])
    expect(await s.read()).toBe('id,name\n0,a\n1,b\n0,c\n')
    const { handle } = await s.client.create(s.data, 'temp')
    await s.client.write(handle, 0n, 'id,name\n0,a\n1,changed\n0,c\n')
    await s.client.rename(s.data, 'temp', s.data, 'data.csv')
    expect(await s.commits()).toBe(1)
    expect(await s.read()).toBe('id,name\n0,a\n1,changed\n0,c\n')
    await s.elsewhere("DELETE FROM data WHERE name = 'a'")
    expect(await s.read()).toBe('id,name\n1,changed\n0,c\n')
  })
})
