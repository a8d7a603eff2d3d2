import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import type { Cell, Schema } from '../../src/columns/types.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { localStore } from '../../src/storage/local.ts'
import { type ObjectStore, StorageError } from '../../src/storage/object-store.ts'
import { commitPath } from '../../src/table/log/paths.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { appendedFiles } from '../../src/table/snapshot.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { LIVE_TAG } from '../../src/table/tags.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import {
  actionsAt,
  append,
  commitLines,
  failure,
  foreignTable,
  readIds,
  readRows,
  remove,
  rows,
  SCHEMA,
} from './fixture.ts'

const WIDER = parseDdl('id:Int64,name:String,score:Float64')

/** A table with one file of ten rows, and a second hand on it. */
async function pair(): Promise<{ store: ObjectStore; one: Table; two: Table }> {
  const store = memoryStore()
  const one = await createTable(store, { schema: SCHEMA })
  await append(one, 0, 10)
  return { store, one, two: await openTable(store) }
}

/** A table with three files of two rows, each of which but the first has its place behind the one before. */
async function chain(): Promise<{ table: Table; hang: (id: number, on: string) => Promise<void> }> {
  const table = await createTable(memoryStore(), { schema: SCHEMA })
  const hang = async (id: number, on: string): Promise<void> => {
    const order = { refs: [on], runs: [{ count: 2, ref: 0, row: 0 }] }
    const add = await writeDataFiles(table, [rows(id, id + 2)], { order })
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
  }
  await append(table, 0, 2)
  for (const id of [2, 4]) await hang(id, table.snapshot.files.at(-1)!.path)
  return { table, hang }
}

const ten = Array.from({ length: 10 }, (_, i) => i)

describe('one commit', () => {
  test('carries appended rows, deleted rows and whole files that go', async () => {
    const { store, one } = await pair()
    await append(one, 10, 13)
    await append(one, 13, 16)
    const base = one.snapshot
    const { version } = await commit(one, {
      base,
      operation: 'MERGE',
      parameters: { predicate: '[]' },
      metrics: { numTargetRowsDeleted: '5' },
      add: await writeDataFiles(one, [rows(20, 22)]),
      delete: [{ file: base.files[0]!, rows: Uint32Array.of(0, 9) }],
      removeFiles: [base.files[1]!],
      txnId: 'merge-1',
    })
    const actions = await actionsAt(store, version)
    expect(actions.map(action => Object.keys(action)[0])).toEqual([
      'commitInfo',
      // The first vector of the table.
      'protocol',
      'metaData',
      'remove',
      'remove',
      'add',
      'add',
    ])
    expect(actions[0]!.commitInfo).toMatchObject({
      operation: 'MERGE',
      operationParameters: { predicate: '[]' },
      operationMetrics: { numTargetRowsDeleted: '5' },
      isBlindAppend: false,
      txnId: 'merge-1',
    })
    expect(await readIds(one)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 20, 21])
    expect(await readIds(await openTable(store))).toEqual(await readIds(one))
  })

  test('that does nothing is no version', async () => {
    const { store, one, two } = await pair()
    await append(two, 10, 13)
    const change = { base: one.snapshot, operation: 'WRITE', metrics: { numOutputRows: '0' }, add: [], delete: [] }
    const { version, snapshot } = await commit(one, change)
    expect({ version, newest: snapshot.version }).toEqual({ version: 2n, newest: 2n })
    expect(await store.stat(commitPath(3n))).toBeUndefined()
    expect((await commit(one, { ...change, base: snapshot, schema: WIDER })).version).toBe(3n)
  })

  test('removes by the path and the vector of before, and adds with bounds that are wide', async () => {
    const { store, one } = await pair()
    await remove(one, 0, [3])
    const before = one.snapshot.files[0]!.add
    const { version } = await remove(one, 0, [5, 8])
    const [, removed, added] = await actionsAt(store, version)
    expect(removed!.remove).toMatchObject({
      path: before.path,
      deletionVector: before.deletionVector!,
      extendedFileMetadata: true,
      partitionValues: {},
      size: before.size,
    })
    expect(added!.add).toMatchObject({
      path: before.path,
      modificationTime: before.modificationTime,
      deletionVector: { storageType: 'i', cardinality: 3 },
    })
    expect(JSON.parse(added!.add!.stats!)).toMatchObject({
      numRecords: 10,
      minValues: { id: 0 },
      maxValues: { id: 9 },
      tightBounds: false,
    })
    expect(await readIds(one)).toEqual([0, 1, 2, 4, 6, 7, 9])
  })

  test('gives files times that rise from commit to commit, though the clock stands still or runs back', async () => {
    let nowMs = 5000
    const table = await createTable(memoryStore(), { schema: SCHEMA, clock: { nowMs: () => nowMs } })
    for (const at of [5000, 5000, 4000, 9000, 8000]) {
      nowMs = at
      await append(table, nowMs, nowMs + 1)
    }
    expect(table.snapshot.files.map(({ modificationTime }) => modificationTime)).toEqual([5000, 5001, 5002, 9000, 9001])
  })

  test('keeps the tags of a file, save those that a new vector makes wrong', async () => {
    const { one } = await pair()
    const live = new Map([
      [LIVE_TAG, 'sizes'],
      ['other', 'x'],
    ])
    const base = one.snapshot
    const tagged = { file: base.files[0]!, rows: Uint32Array.of(1), tags: live }
    await commit(one, { base, operation: 'DELETE', add: [], delete: [tagged] })
    expect(one.snapshot.files[0]!.tag(LIVE_TAG)).toBe('sizes')
    expect(one.snapshot.files[0]!.tag('posixlake.text')).toBe(base.files[0]!.tag('posixlake.text')!)
    await remove(one, 0, [2])
    expect(one.snapshot.files[0]!.tag(LIVE_TAG)).toBeUndefined()
    expect(one.snapshot.files[0]!.tag('other')).toBe('x')
  })

  test('of deletions does not believe the tags of one that was worked out without another writer', async () => {
    const { one, two } = await pair()
    const base = two.snapshot
    await remove(one, 0, [1])
    const tagged = { file: base.files[0]!, rows: Uint32Array.of(2), tags: new Map([[LIVE_TAG, 'sizes']]) }
    const { snapshot } = await commit(two, { base, operation: 'DELETE', add: [], delete: [tagged] })
    expect(snapshot.files[0]!.vector!.cardinality).toBe(2)
    expect(snapshot.files[0]!.tag(LIVE_TAG)).toBeUndefined()
  })
})

describe('a change that names a file twice', () => {
  test('is refused, for it would show rows twice', async () => {
    const { one } = await pair()
    const base = one.snapshot
    const deletion = (row: number) => ({ file: base.files[0]!, rows: Uint32Array.of(row) })
    const [added] = await writeDataFiles(one, [rows(20, 21)])
    for (const change of [
      { add: [], delete: [deletion(1), deletion(2)] },
      { add: [], delete: [deletion(1)], removeFiles: base.files },
      { add: [added!, added!], delete: [] },
    ])
      await expect(commit(one, { base, operation: 'MERGE', ...change })).rejects.toThrow('twice')
    expect((await one.refresh()).version).toBe(base.version)
  })
})

describe('statistics of other writers', () => {
  async function withStats(stats: string | undefined): Promise<Table> {
    const store = memoryStore()
    const ours = await createTable(store, { schema: SCHEMA })
    const [file] = await writeDataFiles(ours, [rows(0, 10)])
    const { path, sizeBytes: size } = file!
    const add = { path, partitionValues: {}, size, modificationTime: 1, dataChange: true }
    await commitLines(store, 1n, [{ add: stats === undefined ? add : { ...add, stats } }])
    return openTable(store)
  }

  test('count rows by numRecords alone, wherever it stands, though a column has that name too', async () => {
    for (const stats of [
      '{"minValues":{"numRecords":1},"nullCount":{"numRecords":0},"numRecords":10}',
      '{"minValues":{"x":"\\"numRecords\\":1"},"numRecords":10}',
      ' { "numRecords" : 10 , "tightBounds" : true }',
    ]) {
      const table = await withStats(stats)
      expect(table.snapshot.files[0]!.rows).toBe(10)
      await remove(table, 0, [0])
      expect(await readIds(table)).toEqual(ten.slice(1))
    }
    for (const stats of [undefined, '', '{}', 'nonsense', 'null', '{"numRecords":-1}', '{"numRecords":null}']) {
      const table = await withStats(stats)
      expect(table.snapshot.files[0]!.rows).toBeUndefined()
      await remove(table, 0, [0])
      expect(await readIds(table)).toEqual(ten.slice(1))
    }
  })

  test('keep every digit beside a new vector, and say how many rows there are', async () => {
    for (const [stats, expected] of [
      [undefined, '{"numRecords":10,"tightBounds":false}'],
      ['{}', '{"numRecords":10,"tightBounds":false}'],
      [
        '{"numRecords":10,"minValues":{"id":-9223372036854775808,"d":1234567890123456789.12,"f":1.50},"tightBounds":true}',
        '{"numRecords":10,"minValues":{"id":-9223372036854775808,"d":1234567890123456789.12,"f":1.50},"tightBounds":false}',
      ],
      [
        '{"numRecords":10,"nullCount":{"tightBounds":0}}',
        '{"numRecords":10,"nullCount":{"tightBounds":0},"tightBounds":false}',
      ],
    ] as const) {
      const table = await withStats(stats)
      await remove(table, 0, [0])
      expect(table.snapshot.files[0]!.add.stats).toBe(expected)
    }
  })
})

describe('a file that hints of order refer to', () => {
  test('stays with a full vector when all its rows are gone, and those it refers to itself', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    await append(table, 0, 2)
    for (const [from, to] of [
      [2, 4],
      [4, 6],
    ] as const) {
      const order = { refs: [table.snapshot.files.at(-1)!.path], runs: [{ count: 2, ref: 0, row: 0 }] }
      const add = await writeDataFiles(table, [rows(from, to)], { order })
      await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    }
    await remove(table, 1, [0, 1])
    await remove(table, 0, [0, 1])
    expect(table.snapshot.files.map(({ rows, vector }) => [rows, vector?.cardinality ?? 0])).toEqual([
      [2, 2],
      [2, 2],
      [2, 0],
    ])
    expect(await readIds(table)).toEqual([4, 5])
    expect(await readIds(await openTable(table.store))).toEqual([4, 5])
  })

  test('goes with the last of them, and those it refers to itself', async () => {
    const { table, hang } = await chain()
    await hang(6, table.snapshot.files[2]!.path)
    // All but the last have no rows; then the last goes, by its rows or as a whole.
    for (const at of [0, 1, 2]) await remove(table, at, [0, 1])
    expect(table.snapshot.files.map(({ path }) => path).length).toBe(4)
    const before = table.snapshot
    await remove(table, 3, [0, 1])
    expect(table.snapshot.files).toEqual([])
    const removes = (await actionsAt(table.store, table.snapshot.version)).flatMap(({ remove }) => remove ?? [])
    expect(removes.map(({ dataChange }) => dataChange).sort()).toEqual([false, false, false, true])
    const again = await openTable(table.store)
    expect(again.snapshot.files).toEqual([])
    const other = await chain()
    for (const at of [0, 1]) await remove(other.table, at, [0, 1])
    const { snapshot: base } = other.table
    await commit(other.table, { base, operation: 'TRUNCATE', add: [], delete: [], removeFiles: [base.files[2]!] })
    expect(other.table.snapshot.files).toEqual([])
    expect(before.files.length).toBe(4)
  })

  test('stays while another one refers to it, live or added in the same commit', async () => {
    const { table, hang } = await chain()
    const [first, second, third] = table.snapshot.files
    await hang(6, first!.path)
    for (const at of [0, 1]) await remove(table, at, [0, 1])
    const order = { refs: [second!.path], runs: [{ count: 1, ref: 0, row: 0 }] }
    const base = table.snapshot
    await commit(table, {
      base,
      operation: 'MERGE',
      add: await writeDataFiles(table, [rows(50, 51)], { order }),
      delete: [{ file: base.live.get(third!.path)!, rows: Uint32Array.of(0, 1) }],
    })
    const paths = (): string[] => table.snapshot.files.map(({ path }) => path)
    expect(paths().slice(0, 2)).toEqual([first!.path, second!.path])
    expect(await readIds(table)).toEqual([6, 7, 50])
    await remove(table, 3, [0])
    expect(paths().length).toBe(2)
    expect(paths()[0]).toBe(first!.path)
    await remove(table, 1, [0, 1])
    expect(paths()).toEqual([])
  })

  test('is kept for rows that are added in the same commit', async () => {
    const { one } = await pair()
    const base = one.snapshot
    const order = { refs: [base.files[0]!.path], runs: [{ count: 1, ref: 0, row: 4 }] }
    await commit(one, {
      base,
      operation: 'MERGE',
      add: await writeDataFiles(one, [rows(50, 51)], { order }),
      delete: [{ file: base.files[0]!, rows: Uint32Array.from(ten) }],
    })
    expect(one.snapshot.files.length).toBe(2)
    expect(await readIds(one)).toEqual([50])
  })
})

describe('a change that was worked out from an older version', () => {
  test('appends, whatever rows others added or removed', async () => {
    const { one, two } = await pair()
    const base = two.snapshot
    await remove(one, 0, [1])
    await append(one, 10, 12)
    const { snapshot } = await append(two, 20, 22, base)
    expect(snapshot.version).toBe(4n)
    expect(await readIds(two)).toEqual([0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20, 21])
    expect(appendedFiles(base, snapshot)).toBeUndefined()
    expect(appendedFiles(await two.at(3n), snapshot)).toBeDefined()
  })

  test('deletes rows that are still there, through several vectors', async () => {
    const { one, two } = await pair()
    const base = two.snapshot
    await remove(one, 0, [1, 7])
    await remove(one, 0, [4])
    await remove(two, 0, [0, 5, 9], base)
    expect(await readIds(two)).toEqual([2, 3, 6, 8])
  })

  test('conflicts where a row of it is gone, or its file, and names it', async () => {
    const { one, two } = await pair()
    const base = two.snapshot
    await remove(one, 0, [4])
    const row = await failure(() => remove(two, 0, [3, 4], base))
    expect(row.code).toBe('conflict')
    expect(row.message).toContain(`row 4 of ${base.files[0]!.path}`)
    const whole = await failure(() =>
      commit(two, { base, operation: 'TRUNCATE', add: [], delete: [], removeFiles: base.files }),
    )
    expect(whole.code).toBe('conflict')
    await remove(one, 0, [0, 1, 2, 3, 5, 6, 7, 8, 9])
    const file = await failure(() => remove(two, 0, [3], base))
    expect(file.code).toBe('conflict')
    expect(file.message).toContain(base.files[0]!.path)
    expect((await two.refresh()).version).toBe(3n)
  })

  test('conflicts if it read the whole table, and anything was added or removed since', async () => {
    for (const disturb of [(table: Table) => append(table, 10, 11), (table: Table) => remove(table, 0, [0])]) {
      const { one, two } = await pair()
      const base = two.snapshot
      await disturb(one)
      const error = await failure(() =>
        commit(two, { base, operation: 'UPDATE', add: [], delete: [], readWholeTable: true }),
      )
      expect(error.code).toBe('conflict')
    }
  })

  test('conflicts with new columns, except an append that they do not hinder', async () => {
    const { one, two } = await pair()
    const base = two.snapshot
    await commit(one, { base: one.snapshot, operation: 'ADD COLUMNS', add: [], delete: [], schema: WIDER })
    expect((await failure(() => remove(two, 0, [1], base))).code).toBe('conflict')
    const other = parseDdl('id:Int64,name:String,other:String')
    const evolve = { base, operation: 'ADD COLUMNS', add: [], delete: [], schema: other }
    expect((await failure(() => commit(two, evolve))).code).toBe('conflict')
    // Files that were written before the columns were there have NULLs in them.
    const early = await writeDataFiles({ ...two, snapshot: base, store: two.store } as Table, [rows(10, 11)])
    await commit(two, { base, operation: 'WRITE', add: early, delete: [] })
    expect((await readRows(two)).at(-1)).toEqual([10n, 'row 10', null])
  })

  test('conflicts with columns that are gone, of another type, or no longer NULL', async () => {
    const changes: readonly Schema[] = [
      parseDdl('id:Int64'),
      parseDdl('id:Int64,name:Binary'),
      parseDdl('id:Int64,name:String,must:String NOT NULL'),
      parseDdl('id:Int64,name:String NOT NULL'),
    ]
    for (const schema of changes) {
      const { one, two } = await pair()
      const base = two.snapshot
      const early = await writeDataFiles(two, [rows(10, 11)])
      await commit(one, { base: one.snapshot, operation: 'CHANGE COLUMN', add: [], delete: [], schema })
      const append = { base, operation: 'WRITE', add: early, delete: [] }
      expect((await failure(() => commit(two, append))).code).toBe('conflict')
    }
  })
})

describe('writers that race', () => {
  test('lose nothing and take nothing twice, in many hands of one process', async () => {
    const { store, one } = await pair()
    const hands = await Promise.all(Array.from({ length: 4 }, () => openTable(store)))
    await Promise.all(
      hands.map(async (hand, i) => {
        for (let n = 0; n < 5; n++) await append(hand, 100 * i + n + 100, 100 * i + n + 101)
      }),
    )
    await one.refresh()
    const ids = await readIds(one)
    expect(ids.length).toBe(30)
    expect(new Set(ids).size).toBe(30)
    const times = one.snapshot.files.map(({ modificationTime }) => modificationTime)
    expect(times).toEqual([...new Set(times)].sort((a, b) => a - b))
  })

  test('of two processes, one appends and one deletes row by row: all of it is there at the end', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: SCHEMA })
    await append(table, 0, 40)
    const script = `
      const { openTable } = await import(${JSON.stringify(join(import.meta.dir, '../../src/table/table.ts'))})
      const { localStore } = await import(${JSON.stringify(join(import.meta.dir, '../../src/storage/local.ts'))})
      const { append, remove } = await import(${JSON.stringify(join(import.meta.dir, 'fixture.ts'))})
      const table = await openTable(localStore(process.argv[1]))
      const base = table.snapshot
      for (let i = 0; i < 20; i++)
        if (process.argv[2] === 'append') await append(table, 100 + i, 101 + i)
        else await remove(table, 0, [i * 2], base)
      await table.close()`
    const writers = ['append', 'remove'].map(what =>
      Bun.spawn([process.execPath, '-e', script, folder.path, what], { stderr: 'inherit' }),
    )
    expect(await Promise.all(writers.map(writer => writer.exited))).toEqual([0, 0])
    await table.refresh()
    expect(table.snapshot.version).toBe(41n)
    expect(await readIds(table)).toEqual([
      ...Array.from({ length: 20 }, (_, i) => i * 2 + 1),
      ...Array.from({ length: 20 }, (_, i) => 100 + i),
    ])
  })

  test('leave no vector file behind that no version names', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA })
    await append(table, 0, 90_000)
    const base = table.snapshot
    const hands = await Promise.all([0, 1, 2].map(() => openTable(store)))
    await Promise.all(
      hands.map((hand, i) =>
        remove(
          hand,
          0,
          Array.from({ length: 20_000 }, (_, n) => n * 4 + i),
          base,
        ),
      ),
    )
    await table.refresh()
    expect(table.snapshot.files[0]!.vector!.cardinality).toBe(60_000)
    expect((await store.list('')).filter(({ path }) => path.endsWith('.bin')).length).toBe(3)
  })
})

describe('a store that fails', () => {
  const failing = (store: ObjectStore, put: ObjectStore['putIfAbsent']): ObjectStore => ({ ...store, putIfAbsent: put })
  const broken = (): never => {
    throw new StorageError('io', 'the disk reported an error')
  }

  test('before the commit is there leaves the table as it was', async () => {
    const { store } = await pair()
    const table = await openTable(failing(store, async () => broken()))
    await expect(remove(table, 0, [1])).rejects.toThrow('the disk reported an error')
    const again = await openTable(store)
    expect(await readIds(again)).toEqual(ten)
    expect(await readIds(table)).toEqual(ten)
  })

  test('after the commit is there has committed, and says that a power cut may take it away', async () => {
    const store = memoryStore()
    await foreignTable(store)
    const first = await openTable(store)
    await append(first, 0, 10)
    const table = await openTable(
      failing(store, async (path, bytes) => {
        await store.putIfAbsent(path, bytes)
        return broken()
      }),
    )
    expect(await remove(table, 0, [1])).toMatchObject({ version: 2n, doubt: 'the disk reported an error' })
    expect(await readIds(table)).toEqual([0, ...ten.slice(2)])
    expect(await readIds(await openTable(store))).toEqual([0, ...ten.slice(2)])
  })

  test('and cannot be read either leaves open what became of a commit, keeps its files, and tells later', async () => {
    for (const takesEffect of [true, false]) {
      const { store } = await pair()
      let isDown = false
      const table = await openTable({
        ...store,
        read: async (...args) => (isDown ? broken() : store.read(...args)),
        stat: async path => (isDown ? broken() : store.stat(path)),
        putIfAbsent: async (path, bytes) => {
          isDown = true
          if (takesEffect) await store.putIfAbsent(path, bytes)
          return broken()
        },
      })
      const { version } = table.snapshot
      const base = table.snapshot
      const change = { base, operation: 'DELETE', add: [], delete: [{ file: base.files[0]!, rows: Uint32Array.of(1) }] }
      await expect(commit(table, { ...change, txnId: 'mine' })).rejects.toMatchObject({ code: 'undecided' })
      await expect(table.findTransaction('mine', version)).rejects.toThrow('the disk reported an error')
      isDown = false
      expect(await table.findTransaction('mine', version)).toBe(takesEffect ? version + 1n : undefined)
      expect(await readIds(table)).toEqual(takesEffect ? [0, ...ten.slice(2)] : ten)
    }
  })

  test('that finds its own commit in its way (a call was repeated whose reply was lost) has committed, once', async () => {
    const store = memoryStore()
    await foreignTable(store)
    await append(await openTable(store), 0, 10)
    const table = await openTable(
      failing(store, async (path, bytes) => {
        await store.putIfAbsent(path, bytes)
        return store.putIfAbsent(path, bytes)
      }),
    )
    expect((await remove(table, 0, [1])).version).toBe(2n)
    expect((await openTable(store)).snapshot.version).toBe(2n)
  })

  test('while a checkpoint is written fails no commit', async () => {
    const store = memoryStore()
    const table = await createTable(
      { ...store, create: path => (path.includes('checkpoint') ? broken() : store.create(path)) },
      { schema: SCHEMA },
    )
    for (let i = 0; i < 11; i++) await append(table, i, i + 1)
    await table.close()
    expect((await store.list('_delta_log')).every(({ path }) => path.endsWith('.json'))).toBe(true)
    expect((await openTable(store)).snapshot.version).toBe(11n)
  })
})

describe('a new table', () => {
  test('has the protocol and the metadata that other engines expect', async () => {
    const store = memoryStore()
    const schema = parseDdl('id:Int64,at:Timestamp_ntz,tags:array<string>')
    await createTable(store, {
      schema,
      partitionColumns: ['id'],
      name: 'n',
      configuration: { 'delta.appendOnly': 'true' },
    })
    const [info, protocol, metaData] = await actionsAt(store, 0n)
    expect(info!.commitInfo).toMatchObject({ operation: 'CREATE TABLE', isBlindAppend: true })
    expect(protocol!.protocol).toEqual({
      minReaderVersion: 3,
      minWriterVersion: 7,
      readerFeatures: ['timestampNtz'],
      writerFeatures: ['appendOnly', 'invariants', 'timestampNtz'],
    })
    expect(metaData!.metaData).toMatchObject({
      name: 'n',
      format: { provider: 'parquet', options: {} },
      partitionColumns: ['id'],
      configuration: { 'posixlake.deletionVectors': 'when-needed', 'delta.appendOnly': 'true' },
    })
    expect((await store.list('')).map(({ path }) => path)).toEqual([commitPath(0n)])
  })

  test('with times in its commits has one from the first on', async () => {
    const store = memoryStore()
    const configuration = { 'delta.enableInCommitTimestamps': 'true' }
    const table = await createTable(store, { schema: SCHEMA, configuration, clock: { nowMs: () => 1000 } })
    await append(table, 0, 2)
    const times = await Promise.all([0n, 1n].map(async version => (await actionsAt(store, version))[0]!.commitInfo))
    expect(times.map(info => info?.inCommitTimestamp)).toEqual([1000, 1001])
    expect(table.snapshot.protocol).toEqual({
      minReaderVersion: 1,
      minWriterVersion: 7,
      writerFeatures: ['appendOnly', 'invariants', 'inCommitTimestamp'],
    })
    expect((await (await openTable(store)).atTimestamp(1000)).version).toBe(0n)
  })

  test('is partitioned by columns that it has, and not by all of them', async () => {
    for (const partitionColumns of [['nope'], ['id', 'name'], ['id', 'id']])
      expect((await failure(() => createTable(memoryStore(), { schema: SCHEMA, partitionColumns }))).code).toBe(
        'bad_schema',
      )
    const schema = parseDdl('id:Int64,tags:array<string>')
    const nested = await failure(() => createTable(memoryStore(), { schema, partitionColumns: ['tags'] }))
    expect(nested.message).toContain('tags')
  })

  test('takes no NULL where its schema wants a value, in partition columns neither', async () => {
    for (const [ddl, cells, partitionColumns] of [
      ['id:Int64 NOT NULL,name:String', [null, 'x'], []],
      ['id:Int64,name:String NOT NULL', [1n, null], []],
      ['id:Int64,name:String NOT NULL', [1n, null], ['name']],
      ['id:Int64,tags:array<string> NOT NULL', [1n, null], []],
    ] as const) {
      const schema = parseDdl(ddl)
      const store = memoryStore()
      const table = await createTable(store, { schema, partitionColumns })
      const types = schema.map(({ type }) => type)
      const refused = await failure(() => writeDataFiles(table, [batchOf(types, [cells])]))
      expect(refused.code).toBe('constraint')
      expect(refused.message).toContain('NOT NULL')
      expect((await store.list('')).map(({ path }) => path)).toEqual([commitPath(0n)])
    }
  })

  test('takes no NULL inside a value where its schema wants one there, and takes it for the whole value', async () => {
    const inside = { kind: 'struct', fields: parseDdl('x:Int32 NOT NULL,y:String') } as const
    const list = { kind: 'array', element: inside, containsNull: false } as const
    const map = { kind: 'map', key: { kind: 'string' }, value: { kind: 'long' }, valueContainsNull: false } as const
    const schema = [
      { name: 's', type: inside, nullable: true, metadata: {} },
      { name: 'l', type: list, nullable: true, metadata: {} },
      { name: 'm', type: map, nullable: true, metadata: {} },
    ]
    const table = await createTable(memoryStore(), { schema })
    const types = schema.map(({ type }) => type)
    const write = (...cells: readonly Cell[]): Promise<unknown> => writeDataFiles(table, [batchOf(types, [cells])])
    await write(null, null, null)
    await write([1, null], [[2, 'y']], [['k', 1n]])
    for (const [cells, where] of [
      [[[null, 'y'], null, null], 's.x is NOT NULL'],
      [[null, [null], null], 'l.element is NOT NULL'],
      [[null, [[null, null]], null], 'l.element.x is NOT NULL'],
      [[null, null, [['k', null]]], 'm.value is NOT NULL'],
    ] as const) {
      const refused = await failure(() => write(...cells))
      expect(refused.code).toBe('constraint')
      expect(refused.message).toContain(where)
    }
  })

  test('gets rows into the folders of their partitions, NULL and odd values too', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: SCHEMA, partitionColumns: ['name'] })
    const values = ['plain', null, 'a b', 'x=y/z', '100%', 'ü', '#?&+', '"', '..', 'null']
    const batch = batchOf(
      SCHEMA.map(({ type }) => type),
      values.map((value, i) => [BigInt(i), value]),
    )
    const add = await writeDataFiles(table, [batch])
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    const found = (await readRows(await openTable(table.store))).sort((a, b) => Number(a[0]) - Number(b[0]))
    expect(found.map(([, value]) => value)).toEqual(values)
    expect(new Set(table.snapshot.files.map(({ path }) => path.split('/').length))).toEqual(new Set([2]))
  })
})
