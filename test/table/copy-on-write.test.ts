import { describe, expect, test } from 'bun:test'
import { readFooter } from '../../src/columns/parquet/read.ts'
import { storeSource } from '../../src/columns/parquet/source.ts'
import { ROW_GROUP_ROWS } from '../../src/columns/parquet/write.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import type { Cell } from '../../src/columns/types.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import type { NewFile } from '../../src/table/data-files/new-file.ts'
import { pathInPlaceOf } from '../../src/table/data-files/paths.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { decodeOrderHint } from '../../src/table/order-hint.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { ORDER_KEY } from '../../src/table/tags.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { actionsAt, append, commitLines, failure, foreignTable, readIds, readRows, remove, rows } from './fixture.ts'

const WITHOUT = { 'delta.enableDeletionVectors': 'false' }

/** A table by another writer, with three files of three rows each. */
async function foreign(changes: Parameters<typeof foreignTable>[1] = {}): Promise<Table> {
  const store = memoryStore()
  await foreignTable(store, changes)
  const table = await openTable(store)
  for (let i = 0; i < 3; i++) await append(table, i * 3, i * 3 + 3)
  return table
}

describe('a deletion in a table that does not enable deletion vectors', () => {
  for (const [name, changes] of [
    ['by its protocol', {}],
    [
      'by its properties',
      {
        protocol: {
          minReaderVersion: 3,
          minWriterVersion: 7,
          readerFeatures: ['deletionVectors'],
          writerFeatures: ['deletionVectors'],
        },
        metaData: { configuration: { 'delta.enableDeletionVectors': 'false' } },
      },
    ],
    [
      'though a property without the feature says so',
      { metaData: { configuration: { 'delta.enableDeletionVectors': 'true' } } },
    ],
  ] as const) {
    test(`writes the file anew without the rows, in its place: ${name}`, async () => {
      const table = await foreign(changes)
      const old = table.snapshot.files[1]!
      const { protocol, metadata } = table.snapshot
      const { version, snapshot } = await remove(table, 1, [0, 2])
      expect(await readIds(table)).toEqual([0, 1, 2, 4, 6, 7, 8])
      expect(snapshot.protocol).toEqual(protocol)
      expect(snapshot.metadata.action).toEqual(metadata.action)
      const actions = await actionsAt(table.store, version)
      expect(actions.map(action => Object.keys(action)[0])).toEqual(['commitInfo', 'remove', 'add'])
      expect(actions[1]!.remove).toMatchObject({ path: old.add.path, size: old.sizeBytes, dataChange: true })
      const add = actions[2]!.add!
      expect(add.path).not.toBe(old.add.path)
      expect(add.modificationTime).toBe(old.modificationTime)
      expect(add.deletionVector).toBeUndefined()
      expect(JSON.parse(add.stats!)).toMatchObject({ numRecords: 1, minValues: { id: 4 }, maxValues: { id: 4 } })
      expect((await table.store.read(snapshot.files[1]!.path)).length).toBe(add.size)
      expect(await readIds(await openTable(table.store))).toEqual([0, 1, 2, 4, 6, 7, 8])
    })
  }

  test('of all rows removes the file and writes none', async () => {
    const table = await foreign()
    const before = (await table.store.list('')).filter(({ path }) => path.endsWith('.parquet')).length
    const { version } = await remove(table, 0, [0, 1, 2])
    expect((await actionsAt(table.store, version)).map(action => Object.keys(action)[0])).toEqual([
      'commitInfo',
      'remove',
    ])
    expect((await table.store.list('')).filter(({ path }) => path.endsWith('.parquet')).length).toBe(before)
    expect(await readIds(table)).toEqual([3, 4, 5, 6, 7, 8])
  })

  test('keeps the place of a file among others of the same time, however often', async () => {
    const store = memoryStore()
    await foreignTable(store)
    const table = await openTable(store)
    const files = (await Promise.all([0, 1, 2].map(i => writeDataFiles(table, [rows(i * 5, i * 5 + 5)])))).flat()
    const names = ['a-part.parquet', 'a.c000.snappy.parquet', 'b.parquet']
    for (const [i, name] of names.entries()) await store.write(name, await store.read(files[i]!.path))
    await commitLines(
      store,
      1n,
      files.map(({ sizeBytes: size, stats }, i) => ({
        add: { path: names[i], partitionValues: {}, size, modificationTime: 1000, dataChange: true, stats },
      })),
    )
    await table.refresh()
    const expected = Array.from({ length: 15 }, (_, i) => i)
    for (let round = 0; round < 4; round++) {
      for (let file = 0; file < 3; file++) {
        await remove(table, file, [0])
        expected.splice(file * (4 - round), 1)
        expect(await readIds(table)).toEqual(expected)
      }
    }
    expect(table.snapshot.files.every(({ path }) => path.length < 100)).toBe(true)
  })

  test('reads each row group with its own rows, and fills columns that are younger than the file', async () => {
    const table = await foreign()
    const before = ROW_GROUP_ROWS + 100
    await append(table, 0, before)
    const schema = [...table.snapshot.schema, ...parseDdl('late:Decimal(20,2)')]
    await commit(table, { base: table.snapshot, operation: 'ADD COLUMNS', add: [], delete: [], schema })
    const gone = [0, ROW_GROUP_ROWS - 1, ROW_GROUP_ROWS, before - 2]
    await remove(table, 3, gone)
    const file = table.snapshot.files[3]!
    expect((await readFooter(storeSource(table.store, file.path, file.sizeBytes))).rows).toBe(before - gone.length)
    const left = (await readRows(table)).slice(9)
    expect(left.every(([, , late]) => late === null)).toBe(true)
    const expected = Array.from({ length: before }, (_, i) => i).filter(id => !gone.includes(id))
    expect(left.map(([id]) => Number(id))).toEqual(expected)
    await remove(
      table,
      3,
      Array.from({ length: ROW_GROUP_ROWS }, (_, i) => i),
    )
    expect((await readRows(table)).slice(9).map(([id]) => Number(id))).toEqual(expected.slice(ROW_GROUP_ROWS))
  })

  test('keeps values of every type as they are', async () => {
    const store = memoryStore()
    const types = ['long', 'double', 'decimal(38,4)', 'timestamp', 'binary', 'date', 'boolean', 'string']
    const fields = types.map((type, i) => ({ name: `c${i}`, type, nullable: true, metadata: {} }))
    await foreignTable(store, { schema: { type: 'struct', fields } })
    const table = await openTable(store)
    const cells: Cell[][] = [
      [2n ** 63n - 1n, -0, 10n ** 37n, -1n, Uint8Array.of(0, 255), -719162, true, 'ü"\n'],
      [null, null, null, null, null, null, null, null],
      [-(2n ** 63n), Number.NaN, -1n, 2n ** 52n, new Uint8Array(0), 2932896, false, ''],
    ]
    const batch = batchOf(
      table.snapshot.schema.map(({ type }) => type),
      [...cells, cells[0]!],
    )
    const add = await writeDataFiles(table, [batch])
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    const before = await readRows(table)
    await remove(table, 0, [3])
    expect(await readRows(table)).toEqual(before.slice(0, 3))
    expect(before.slice(0, 3)).toEqual(cells)
  })

  test('keeps partition values and column mapping', async () => {
    const store = memoryStore()
    const field = (id: number, name: string, physical: string, type: string): object => ({
      name,
      type,
      nullable: true,
      metadata: { 'delta.columnMapping.id': id, 'delta.columnMapping.physicalName': physical },
    })
    await foreignTable(store, {
      protocol: { minReaderVersion: 2, minWriterVersion: 5 },
      metaData: {
        partitionColumns: ['place'],
        configuration: { 'delta.columnMapping.mode': 'name', 'delta.columnMapping.maxColumnId': '3' },
      },
      schema: {
        type: 'struct',
        fields: [
          field(1, 'id', 'col-1', 'long'),
          field(2, 'place', 'col-2', 'string'),
          field(3, 'name', 'col-3', 'string'),
        ],
      },
    })
    const table = await openTable(store)
    const cells = Array.from({ length: 12 }, (_, i) => [BigInt(i), i % 2 === 0 ? 'Köln/Süd = 100%' : null, `row ${i}`])
    const batch = batchOf(
      table.snapshot.schema.map(({ type }) => type),
      cells,
    )
    await commit(table, {
      base: table.snapshot,
      operation: 'WRITE',
      add: await writeDataFiles(table, [batch]),
      delete: [],
    })
    const even = table.snapshot.files.findIndex(file => file.partition.get('col-2') !== null)
    const before = table.snapshot.files[even]!
    const { snapshot } = await remove(table, even, [1, 2])
    const after = snapshot.files[even]!
    expect(after.add.partitionValues).toEqual({ 'col-2': 'Köln/Süd = 100%' })
    expect(after.path.split('/')[0]).toBe(before.path.split('/')[0]!)
    expect(JSON.parse(after.add.stats!).minValues).toMatchObject({ 'col-1': 0 })
    const left = cells.filter(([id]) => id !== 2n && id !== 4n)
    expect((await readRows(table)).sort((a, b) => Number(a[0]) - Number(b[0]))).toEqual(left)
    expect(await readRows(await openTable(store))).toEqual(await readRows(table))
  })

  test('takes along what an older vector of the file removed', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: parseDdl('id:Int64,name:String') })
    await append(table, 0, 6)
    await remove(table, 0, [1])
    const { action } = table.snapshot.metadata
    await commitLines(store, 3n, [{ metaData: { ...action, configuration: WITHOUT } }])
    await table.refresh()
    const { version } = await remove(table, 0, [4])
    const [, removed, added] = await actionsAt(store, version)
    expect(removed!.remove!.deletionVector).toMatchObject({ cardinality: 1 })
    expect(added!.add!.deletionVector).toBeUndefined()
    expect(await readIds(table)).toEqual([0, 2, 3, 5])
  })

  test('and an append are one commit; a conflict leaves nothing behind', async () => {
    const table = await foreign()
    const other = await openTable(table.store)
    const base = table.snapshot
    const add = await writeDataFiles(table, [rows(100, 102)])
    const merged = await commit(table, {
      base,
      operation: 'MERGE',
      add,
      delete: [{ file: base.files[0]!, rows: Uint32Array.of(0) }],
    })
    expect(merged.version).toBe(base.version + 1n)
    expect(await readIds(table)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 100, 101])
    const before = (await table.store.list('')).length
    const conflict = await failure(() =>
      commit(other, {
        base,
        operation: 'DELETE',
        add: [],
        delete: [
          { file: base.files[1]!, rows: Uint32Array.of(0) },
          { file: base.files[0]!, rows: Uint32Array.of(2) },
        ],
      }),
    )
    expect(conflict.code).toBe('conflict')
    expect((await table.store.list('')).length).toBe(before)
  })

  test('leaves no file behind when other writers were quicker', async () => {
    const table = await foreign()
    const rivals = await Promise.all([0, 1, 2].map(() => openTable(table.store)))
    const base = table.snapshot
    await Promise.all(rivals.map((rival, file) => remove(rival, file, [1], base)))
    await table.refresh()
    expect(await readIds(table)).toEqual([0, 2, 3, 5, 6, 8])
    const parquet = (await table.store.list('')).filter(({ path }) => path.endsWith('.parquet'))
    expect(parquet.length).toBe(6)
  })

  test('drops the hint of order of a file that it writes anew', async () => {
    const table = await foreign()
    const [, second] = table.snapshot.files
    const order = { refs: [second!.path], runs: [{ count: 2, ref: 0, row: 0 }] }
    const add = await writeDataFiles(table, [rows(50, 52)], { order })
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    const hinted = table.snapshot.files[3]!
    const footer = await readFooter(storeSource(table.store, hinted.path, hinted.sizeBytes))
    expect(decodeOrderHint(footer.keyValue.get(ORDER_KEY) ?? '')).toEqual(order)
    await remove(table, 1, [0])
    expect(table.snapshot.files.map(({ path }) => path)).not.toContain(second!.path)
    await remove(table, 3, [0])
    const rewritten = table.snapshot.files[3]!
    expect(rewritten.orderRefs).toEqual([])
    const again = await readFooter(storeSource(table.store, rewritten.path, rewritten.sizeBytes))
    expect(again.keyValue.has(ORDER_KEY)).toBe(false)
    expect(await readIds(table)).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 51])
  })
})

describe('new files in the place of another', () => {
  test('have its time and stand where it stood, in the order in which they were written', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: parseDdl('id:Int64,name:String'), configuration: WITHOUT })
    const write = (from: number): Promise<NewFile[]> => writeDataFiles(table, [rows(from, from + 2)])
    const add = [...(await write(0)), ...(await write(10)), ...(await write(20))]
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    for (let round = 0; round < 3; round++) {
      const ids = await readIds(table)
      const base = table.snapshot
      expect(new Set(base.files.map(({ modificationTime }) => modificationTime)).size).toBe(1)
      const inPlaceOf = base.files[1]!
      const first = ids[2]!
      const placed = await writeDataFiles(table, [rows(first + 100, first + 102)], { inPlaceOf })
      await commit(table, { base, operation: 'MERGE', add: placed, delete: [], removeFiles: [inPlaceOf] })
      expect(await readIds(table)).toEqual(ids.with(2, first + 100).with(3, first + 101))
    }
    expect(pathInPlaceOf('a/b.parquet', 1) > pathInPlaceOf('a/b.parquet')).toBe(true)
    expect(pathInPlaceOf('a/b.parquet', 12) > pathInPlaceOf('a/b.parquet', 2)).toBe(true)
    const again = pathInPlaceOf(pathInPlaceOf('a/b.parquet', 1))
    expect(again).toStartWith('a/b.0.00001-')
    expect(again.length).toBe(pathInPlaceOf('a/b.parquet', 1).length)
  })
})
