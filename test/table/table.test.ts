import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { localStore } from '../../src/storage/local.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { append, failure, remove, rows, SCHEMA } from './fixture.ts'

async function liveRows(table: Table): Promise<number> {
  let count = 0
  for (const file of table.snapshot.files) count += file.rows! - (await table.deletedRows(file)).length
  return count
}

describe('a table', () => {
  test('is created once, and opened at its newest version', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA, name: 'people' })
    expect(table.snapshot).toMatchObject({ version: 0n, files: [], metadata: { name: 'people' } })
    expect(await failure(() => createTable(store, { schema: SCHEMA }))).toMatchObject({ code: 'exists' })
    await append(table, 0, 10)
    const again = await openTable(store)
    expect(again.snapshot.version).toBe(1n)
    expect(await liveRows(again)).toBe(10)
  })

  test('is the same through a checkpoint as through its commits', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const table = await createTable(store, { schema: SCHEMA })
    for (let i = 0; i < 23; i++) await append(table, i * 10, i * 10 + 10)
    await remove(table, 3, [0, 5, 9])
    await table.close()
    expect(
      readdirSync(join(folder.path, '_delta_log')).filter(name => name.endsWith('.checkpoint.parquet')).length,
    ).toBe(2)
    const throughCheckpoint = await openTable(store)
    for (const name of readdirSync(join(folder.path, '_delta_log')))
      if (!name.endsWith('.json')) rmSync(join(folder.path, '_delta_log', name))
    const throughCommits = await openTable(store)
    for (const other of [throughCheckpoint, throughCommits]) {
      // A checkpoint's actions change no data (PROTOCOL.md, "Checkpoints").
      const adds = (of: Table): object[] => of.snapshot.files.map(file => ({ ...file.add, dataChange: false }))
      expect(adds(other)).toEqual(adds(table))
      expect(other.snapshot.schema).toEqual(table.snapshot.schema)
      expect(await liveRows(other)).toBe(227)
    }
  })

  test('opens from a checkpoint when the commits before it are gone', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const table = await createTable(store, { schema: SCHEMA })
    for (let i = 0; i < 12; i++) await append(table, i, i + 1)
    await table.close()
    for (let version = 0; version < 10; version++)
      rmSync(join(folder.path, '_delta_log', `${String(version).padStart(20, '0')}.json`))
    expect(await liveRows(await openTable(store))).toBe(12)
    expect(await failure(async () => (await openTable(store)).at(3n))).toMatchObject({ code: 'no_such_version' })
  })

  test('sees the commits of others when it looks, each file in the order of the commits', async () => {
    const store = memoryStore()
    const one = await createTable(store, { schema: SCHEMA })
    const two = await openTable(store)
    await append(one, 0, 1)
    await append(two, 1, 2)
    await append(one, 2, 3)
    const { files, version } = await two.refresh()
    expect(version).toBe(3n)
    expect(files.map(file => JSON.parse(file.add.stats!).minValues.id)).toEqual([0, 1, 2])
    const times = files.map(file => file.modificationTime)
    expect(times).toEqual([...new Set(times)].sort((a, b) => a - b))
  })

  test('sees what was there when it is asked to look, though a look that began before is under way', async () => {
    const store = memoryStore()
    const one = await createTable(store, { schema: SCHEMA })
    const { promise: held, resolve: goOn } = Promise.withResolvers<void>()
    let reads = 0
    const slow: ObjectStore = {
      ...store,
      read: async (path, start, end) => {
        const found = store.read(path, start, end)
        found.catch(() => undefined)
        if (path.endsWith('1.json') && reads++ === 0) await held
        return found
      },
    }
    const two = await openTable(slow, {})
    reads = 0
    const early = two.refresh()
    await append(one, 0, 1)
    const late = two.refresh()
    goOn()
    expect((await early).version).toBe(0n)
    expect((await late).version).toBe(1n)
  })

  test('shows any of its versions, and its history', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    await append(table, 0, 5)
    await remove(table, 0, [1])
    expect((await table.at(1n)).files[0]?.vector).toBeUndefined()
    expect((await table.at(2n)).files[0]?.vector?.cardinality).toBe(1)
    expect((await table.history()).map(({ version, operation }) => `${version} ${operation}`)).toEqual([
      '2 DELETE',
      '1 WRITE',
      '0 CREATE TABLE',
    ])
    expect(await failure(() => table.at(9n))).toMatchObject({ code: 'no_such_version' })
  })
})

describe('deleted rows', () => {
  test('are kept in the log when they are few, in a file when they are many, and are merged', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    await append(table, 0, 100_000)
    await remove(table, 0, [7, 99_999])
    expect(table.snapshot.files[0]?.vector?.storageType).toBe('i')
    const many = Array.from({ length: 30_000 }, (_, i) => i * 3 + 1)
    await remove(
      table,
      0,
      many.filter(row => row !== 7 && row !== 99_999),
    )
    expect(table.snapshot.files[0]?.vector?.storageType).toBe('u')
    const expected = [...new Set([...many, 7, 99_999])].sort((a, b) => a - b)
    expect([...(await table.deletedRows(table.snapshot.files[0]!))]).toEqual(expected)
  })

  test('take the file with them when none is left, unless a hint of order leans on it', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    await append(table, 0, 3)
    const path = table.snapshot.files[0]!.path
    const add = await writeDataFiles(table, [rows(10, 11)], {
      order: { refs: [path], runs: [{ count: 1, ref: 0, row: 1 }] },
    })
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    await remove(table, 0, [0, 1, 2])
    expect(table.snapshot.files.map(file => file.path)).toContain(path)
    await remove(table, 1, [0])
    expect(await liveRows(table)).toBe(0)
  })
})

describe('commits of several writers', () => {
  test('append beside each other, and delete different rows of one file', async () => {
    const store = memoryStore()
    const one = await createTable(store, { schema: SCHEMA })
    await append(one, 0, 10)
    const two = await openTable(store)
    const base = two.snapshot
    await remove(one, 0, [1])
    await remove(two, 0, [2, 3], base)
    await append(one, 10, 20)
    expect([...(await one.deletedRows((await one.refresh()).files[0]!))]).toEqual([1, 2, 3])
  })

  test('fail where both took the same row, and then nothing has changed', async () => {
    const store = memoryStore()
    const one = await createTable(store, { schema: SCHEMA })
    await append(one, 0, 10)
    const two = await openTable(store)
    const base = two.snapshot
    await remove(one, 0, [4])
    const conflict = await failure(() => remove(two, 0, [4, 5], base))
    expect(conflict).toMatchObject({ code: 'conflict' })
    expect(conflict.message).toContain('row 4')
    expect((await two.refresh()).version).toBe(2n)
  })

  test('lose nothing when two processes append as fast as they can', async () => {
    using folder = temporaryFolder()
    await createTable(localStore(folder.path), { schema: SCHEMA })
    const script = `
      const source = ${JSON.stringify(join(import.meta.dir, '../../src'))}
      const { openTable } = await import(source + '/table/table.ts')
      const { localStore } = await import(source + '/storage/local.ts')
      const { commit, writeDataFiles } = await import(${JSON.stringify(join(import.meta.dir, '../helpers/changes.ts'))})
      const { batchOf } = await import(source + '/columns/vectors.ts')
      const table = await openTable(localStore(${JSON.stringify(folder.path)}))
      for (let i = 0; i < 15; i++) {
        const add = await writeDataFiles(table, [batchOf(table.snapshot.schema.map(f => f.type), [[BigInt(i), 'x']])])
        await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
      }
      await table.close()`
    const writers = [1, 2].map(() => Bun.spawn([process.execPath, '-e', script], { stderr: 'inherit' }))
    expect(await Promise.all(writers.map(writer => writer.exited))).toEqual([0, 0])
    const table = await openTable(localStore(folder.path))
    expect(table.snapshot.version).toBe(30n)
    expect(await liveRows(table)).toBe(30)
  })

  test('are found by the id that was given to them', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    const add = await writeDataFiles(table, [rows(0, 1)])
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [], txnId: 'mine' })
    expect((await table.history()).map(({ txnId }) => txnId)).toContain('mine')
  })
})

describe('what is no table that can be served', () => {
  const log = (folder: string, version: number): string =>
    join(folder, '_delta_log', `${String(version).padStart(20, '0')}.json`)

  async function made(folder: string): Promise<ObjectStore> {
    const store = localStore(folder)
    const table = await createTable(store, { schema: SCHEMA })
    await append(table, 0, 3)
    await append(table, 3, 6)
    return store
  }

  test('a folder without a log is told from a table', async () => {
    using folder = temporaryFolder()
    expect(await failure(() => openTable(localStore(folder.path)))).toMatchObject({ code: 'not_a_table' })
    expect(await failure(() => openTable(localStore(join(folder.path, 'nowhere'))))).toMatchObject({
      code: 'not_a_table',
    })
  })

  test('a damaged or missing commit is named', async () => {
    using folder = temporaryFolder()
    const store = await made(folder.path)
    const text = readFileSync(log(folder.path, 1), 'utf8')
    writeFileSync(log(folder.path, 1), text.slice(0, text.length - 20))
    const damaged = await failure(() => openTable(store))
    expect(damaged.code).toBe('corrupt_log')
    expect(damaged.message).toContain('00000000000000000001.json')
    rmSync(log(folder.path, 1))
    const missing = await failure(() => openTable(store))
    expect(missing.code).toBe('corrupt_log')
    expect(missing.message).toContain('1')
  })

  test('a feature that is not known is refused by its name, before anything is read', async () => {
    using folder = temporaryFolder()
    const store = await made(folder.path)
    const text = readFileSync(log(folder.path, 0), 'utf8')
    writeFileSync(
      log(folder.path, 0),
      text.replace(
        '"minReaderVersion":1,"minWriterVersion":2',
        '"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["timeMachine"],"writerFeatures":["timeMachine"]',
      ),
    )
    const refused = await failure(() => openTable(store))
    expect(refused.code).toBe('unsupported_feature')
    expect(refused.message).toContain('timeMachine')
  })

  test('an append-only table takes rows and gives none away', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA, configuration: { 'delta.appendOnly': 'true' } })
    await append(table, 0, 3)
    expect(await failure(() => remove(table, 0, [0]))).toMatchObject({ code: 'append_only' })
  })
})
