import { describe, expect, test } from 'bun:test'
import { rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { localStore } from '../../src/storage/local.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { commitPath } from '../../src/table/log/paths.ts'
import { checkTable } from '../../src/table/operations/check.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { optimize } from '../../src/table/operations/optimize.ts'
import { restore, undo } from '../../src/table/operations/restore.ts'
import { vacuum } from '../../src/table/operations/vacuum.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { actionsAt, append, commitLines, failure, foreignTable, readIds, remove, SCHEMA } from './fixture.ts'

const DAY = 86_400_000

async function faultsIn(table: Table, quick = false): Promise<string[]> {
  const faults: string[] = []
  for await (const fault of checkTable(table, { quick })) faults.push(fault)
  return faults
}

/** Versions: 0 no rows, 1 ids 0 to 4, 2 ids 5 to 9, 3 without 1 and 2, 4 without the second file. */
async function changed(store: ObjectStore): Promise<Table> {
  const table = await createTable(store, { schema: SCHEMA })
  await append(table, 0, 5)
  await append(table, 5, 10)
  await remove(table, 0, [1, 2])
  const base = table.snapshot
  await commit(table, { base, operation: 'TRUNCATE', add: [], delete: [], removeFiles: [base.files[1]!] })
  return table
}

describe('restore', () => {
  test('makes the table as it was at each of its versions, in one commit each', async () => {
    const table = await changed(memoryStore())
    const rows = [[], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 3, 4, 5, 6, 7, 8, 9], [0, 3, 4]]
    let version = 4n
    for (const as of [0, 1, 2, 3, 4, 2, 0, 3]) {
      const done = await restore(table, BigInt(as))
      version++
      expect(done).toMatchObject({ version, as: BigInt(as), isUnchanged: false })
      expect(await readIds(table)).toEqual(rows[as]!)
      expect(await readIds(await openTable(table.store))).toEqual(rows[as]!)
    }
    expect(await faultsIn(table)).toEqual([])
  })

  test('is no commit where the table is so already', async () => {
    const table = await changed(memoryStore())
    expect(await restore(table, 4n)).toMatchObject({ version: 4n, isUnchanged: true })
  })

  test('tells in the log what it did, as Spark does', async () => {
    const table = await changed(memoryStore())
    const { files } = await table.at(2n)
    await restore(table, 2n)
    const [{ commitInfo }, ...actions] = (await actionsAt(table.store, 5n)) as [{ commitInfo: object }]
    const [first, second] = files.map(({ sizeBytes }) => sizeBytes) as [number, number]
    expect(commitInfo).toMatchObject({
      operation: 'RESTORE',
      operationParameters: { version: '2' },
      isBlindAppend: false,
      operationMetrics: {
        tableSizeAfterRestore: String(first + second),
        numOfFilesAfterRestore: '2',
        numRemovedFiles: '1',
        numRestoredFiles: '2',
        removedFilesSize: String(first),
        restoredFilesSize: String(first + second),
      },
    })
    expect(actions.map(action => Object.keys(action)[0])).toEqual(['remove', 'add', 'add'])
  })

  test('brings the columns of the version back, and keeps what the table goes on with', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    await append(table, 0, 3)
    const transaction = table.begin()
    transaction.changeSchema([...table.snapshot.schema, ...parseDdl('more:Int32')])
    await transaction.commit({ name: 'ADD COLUMNS' })
    expect(table.snapshot.schema).toHaveLength(3)
    await restore(table, 1n)
    expect(table.snapshot.schema.map(({ name }) => name)).toEqual(['id', 'name'])
    expect(table.snapshot.metadata.configuration.get('posixlake.deletionVectors')).toBe('when-needed')
    expect((await undo(table)).undone.operation).toBe('RESTORE')
    expect(table.snapshot.schema).toHaveLength(3)
  })

  test('looks for all files first, and names one that is gone', async () => {
    using folder = temporaryFolder()
    const table = await changed(localStore(folder.path))
    const [, second] = (await table.at(2n)).files
    rmSync(join(folder.path, second!.path))
    const { code, message } = await failure(() => restore(table, 2n))
    expect(code).toBe('missing_file')
    expect(message).toBe(
      `${folder.path}: version 2 cannot be restored: its file ${second!.path} is gone; VACUUM, or whoever removed it, has ended this version`,
    )
    expect((await table.refresh()).version).toBe(4n)
    expect(await failure(() => restore(table, 9n))).toMatchObject({ code: 'no_such_version' })
  })

  test('stands on top of what another writer committed meanwhile', async () => {
    const store = memoryStore()
    const table = await changed(store)
    const other = await openTable(store)
    await append(other, 20, 22)
    expect(await restore(table, 1n)).toMatchObject({ version: 6n })
    expect(await readIds(table)).toEqual([0, 1, 2, 3, 4])
  })
})

describe('undo', () => {
  test('takes back one commit after the other, its own included', async () => {
    const table = await changed(memoryStore())
    expect(await undo(table)).toMatchObject({ as: 3n, version: 5n, undone: { version: 4n, operation: 'TRUNCATE' } })
    expect(await readIds(table)).toEqual([0, 3, 4, 5, 6, 7, 8, 9])
    expect(await undo(table)).toMatchObject({ as: 4n, version: 6n, undone: { version: 5n, operation: 'RESTORE' } })
    expect(await readIds(table)).toEqual([0, 3, 4])
  })

  test('passes over commits that changed nothing', async () => {
    const table = await changed(memoryStore())
    await vacuum(table, { nowMs: Date.now() })
    expect(table.snapshot.version).toBe(6n)
    expect(await undo(table)).toMatchObject({ as: 3n, undone: { version: 4n } })
  })

  test('says so where there is nothing to take back', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    const { code, message } = await failure(() => undo(table))
    expect(code).toBe('no_such_version')
    expect(message).toEndWith(': there is nothing to take back: version 0 made the table')
  })
})

describe('vacuum', () => {
  /** Makes every file of a table so old. */
  async function age(store: ObjectStore, folder: string, ms: number): Promise<void> {
    const at = (Date.now() - ms) / 1000
    for (const { path } of await store.list('')) utimesSync(join(folder, path), at, at)
  }

  const namesIn = async (store: ObjectStore): Promise<string[]> =>
    (await store.list('')).map(({ path }) => path).filter(path => !path.startsWith('_delta_log/'))

  test('deletes what no version of the time needs, and nothing else', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const table = await changed(store)
    const [first, second] = (await table.at(2n)).files
    for (const name of [
      '_posixlake/files/mine',
      '.hidden',
      'left-behind.parquet',
      'sub/left.parquet',
      '_change_data/old',
    ])
      await store.write(name, Uint8Array.of(1))
    const before = await namesIn(store)
    // Nothing is older than a week.
    expect((await vacuum(table, { nowMs: Date.now(), dryRun: true })).files).toEqual([])
    await age(store, folder.path, 8 * DAY)
    // The tombstones are young: what was removed within the time stays.
    const left = ['_change_data/old', 'left-behind.parquet', 'sub/left.parquet']
    const dry = await vacuum(table, { nowMs: Date.now(), dryRun: true })
    expect(dry.files.map(({ path }) => path)).toEqual(left)
    expect(dry.sizeBytes).toBe(3)
    expect(await namesIn(store)).toEqual(before)
    expect((await vacuum(table, { nowMs: Date.now() })).files).toEqual(dry.files)
    expect(await namesIn(store)).toEqual(before.filter(path => !left.includes(path)))
    // Eight days later nobody needs the versions before.
    const later = await vacuum(table, { nowMs: Date.now() + 8 * DAY })
    expect(later.files.map(({ path }) => path)).toEqual([second!.path])
    expect(await readIds(table)).toEqual([0, 3, 4])
    expect(await store.stat(first!.path)).toBeDefined()
    expect(await faultsIn(table)).toEqual([])
    expect(await failure(() => restore(table, 2n))).toMatchObject({ code: 'missing_file' })
  })

  test('tells of it in two commits, as Spark does', async () => {
    const table = await changed(memoryStore())
    await vacuum(table, { nowMs: Date.now() + 8 * DAY, retainMs: 7 * DAY })
    const [start] = await actionsAt(table.store, 5n)
    expect(start!.commitInfo).toMatchObject({
      operation: 'VACUUM START',
      operationParameters: {
        retentionCheckEnabled: 'true',
        defaultRetentionMillis: String(7 * DAY),
        specifiedRetentionMillis: String(7 * DAY),
      },
      operationMetrics: { numFilesToDelete: '1' },
    })
    const [end] = await actionsAt(table.store, 6n)
    expect(end!.commitInfo).toMatchObject({
      operation: 'VACUUM END',
      operationParameters: { status: 'COMPLETED' },
      operationMetrics: { numDeletedFiles: '1' },
    })
  })

  test('takes no shorter time than the table asks for, unless it is told to', async () => {
    const table = await changed(memoryStore())
    const { code, message } = await failure(() => vacuum(table, { nowMs: Date.now(), retainMs: 0 }))
    expect(code).toBe('constraint')
    expect(message).toEndWith(
      'files are to be kept for 1 week (delta.deletedFileRetentionDuration) for those who read older versions or are about to commit; 0 seconds is shorter, and taken with --force',
    )
    expect(table.snapshot.version).toBe(4n)
    const { files } = await vacuum(table, { nowMs: Date.now() + 1000, retainMs: 0, force: true })
    expect(files).toHaveLength(1)
    expect(await readIds(table)).toEqual([0, 3, 4])
  })

  test('keeps what was removed within a longer time than checkpoints remember', async () => {
    const table = await changed(memoryStore())
    await table.checkpoint()
    const again = await openTable(table.store)
    const { files } = await vacuum(again, { nowMs: Date.now() + 10 * DAY, retainMs: 30 * DAY, dryRun: true })
    expect(files).toEqual([])
  })

  test('leaves a table alone that has a feature nobody here knows', async () => {
    const store = memoryStore()
    await foreignTable(store, {
      protocol: { minReaderVersion: 1, minWriterVersion: 7, writerFeatures: ['futureFiles'] },
    })
    const { code, message } = await failure(async () => vacuum(await openTable(store), { nowMs: Date.now() }))
    expect(code).toBe('unsupported_feature')
    expect(message).toContain('the writer feature futureFiles')
  })
})

describe('a check', () => {
  test('of a table that is whole finds nothing', async () => {
    const table = await changed(memoryStore())
    for (let i = 0; i < 12; i++) await append(table, 100 + i, 101 + i)
    await table.close()
    await table.checkpoint()
    expect(await faultsIn(table)).toEqual([])
  })

  test('names what is wrong with each file', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const table = await createTable(store, { schema: SCHEMA })
    for (let i = 0; i < 3; i++) await append(table, 10 * i, 10 * i + 5)
    const [gone, short, damaged] = table.snapshot.files.map(({ path }) => path) as [string, string, string]
    rmSync(join(folder.path, gone))
    const { sizeBytes } = table.snapshot.files[1]!
    truncateSync(join(folder.path, short), sizeBytes - 10)
    const bytes = await store.read(damaged)
    writeFileSync(join(folder.path, damaged), bytes.fill(0, bytes.length - 4))
    const faults = await faultsIn(table)
    expect(faults[0]).toBe(`${gone}: the file is gone`)
    expect(faults[1]).toBe(`${short}: the file has ${sizeBytes - 10} bytes, the log says ${sizeBytes}`)
    expect(faults[2]).toStartWith(`${damaged}: `)
    expect(faults).toHaveLength(3)
  })

  test('finds rows that the statistics rule out, and NULLs that they do not count', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA })
    await append(table, 0, 5)
    const { add } = table.snapshot.files[0]!
    const wrong = {
      numRecords: 5,
      minValues: { id: 1, name: 'row 0' },
      maxValues: { id: 4, name: 'row 3' },
      nullCount: { id: 0, name: 2 },
    }
    await commitLines(store, 2n, [{ add: { ...add, stats: JSON.stringify(wrong) } }])
    const { path } = table.snapshot.files[0]!
    expect(await faultsIn(table)).toEqual([
      `${path}: column id: a value is below the least that its statistics name, so that queries may miss it`,
      `${path}: column name: a value is above the greatest that its statistics name, so that queries may miss it`,
      `${path}: column name: 0 rows are NULL, its statistics say 2`,
    ])
    expect(await faultsIn(table, true)).toEqual([])
  })

  test('finds other numbers of rows, and a vector that does not fit', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA })
    await append(table, 0, 5)
    await remove(table, 0, [1])
    const { add, path } = table.snapshot.files[0]!
    const stats = JSON.stringify({ ...(JSON.parse(add.stats!) as object), numRecords: 6 })
    await commitLines(store, 3n, [{ add: { ...add, stats } }])
    expect(await faultsIn(table, true)).toEqual([`${path}: the file has 5 rows, its statistics say 6`])
  })

  test('finds commits that are missing or damaged, and a checkpoint that says something else', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA })
    for (let i = 0; i < 4; i++) await append(table, i, i + 1)
    await table.checkpoint()
    const lines = (await actionsAt(store, 2n)).filter(({ add }) => !add)
    await store.write(commitPath(2n), new TextEncoder().encode(lines.map(line => JSON.stringify(line)).join('\n')))
    const { path } = table.snapshot.files[1]!
    expect(await faultsIn(await openTable(store), true)).toEqual([
      `the checkpoint of version 4 does not say what the commits say: the file ${path} is only in it`,
    ])
    await store.write(commitPath(2n), new TextEncoder().encode('{"add":'))
    const [damage, ...others] = await faultsIn(await openTable(store), true)
    expect(damage).toContain(commitPath(2n))
    expect(others).toEqual([])
    await store.delete(commitPath(2n))
    expect(await faultsIn(await openTable(store), true)).toEqual([
      `${commitPath(3n)}: the commit before it, of version 2, is missing`,
    ])
  })
})

describe('optimize', () => {
  test('makes one file of many, in the order of their rows, in a commit that changes none', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    for (let i = 0; i < 20; i++) await append(table, 3 * i, 3 * i + 3)
    await remove(table, 4, [0, 2])
    const rows = await readIds(table)
    expect(await optimize(table)).toEqual({ commits: 1, removedFiles: 20, addedFiles: 1 })
    expect(table.snapshot.files).toHaveLength(1)
    expect(await readIds(await openTable(table.store))).toEqual(rows)
    const [first, ...actions] = await actionsAt(table.store, table.snapshot.version)
    expect(first!.commitInfo).toMatchObject({
      operation: 'OPTIMIZE',
      operationMetrics: { numRemovedFiles: '20', numAddedFiles: '1', numDeletionVectorsRemoved: '1' },
    })
    expect(actions.map(({ add, remove: gone }) => (add ?? gone)?.dataChange)).toEqual(new Array(21).fill(false))
    // Rows that come later stand behind.
    await append(table, 100, 101)
    expect((await readIds(table)).at(-1)).toBe(100)
    expect(await optimize(table)).toEqual({ commits: 1, removedFiles: 2, addedFiles: 1 })
    expect(await optimize(table)).toEqual({ commits: 0, removedFiles: 0, addedFiles: 0 })
    expect(await faultsIn(table)).toEqual([])
  })

  test('leaves files of the wanted size, puts what is between them together, and keeps their order', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    for (const [from, to] of [
      [0, 2],
      [2, 4],
      [4, 3000],
      [3000, 3002],
      [3002, 3004],
      [3004, 3006],
    ] as const)
      await append(table, from, to)
    const sizes = table.snapshot.files.map(({ sizeBytes }) => sizeBytes)
    const rows = await readIds(table)
    const large = table.snapshot.files[2]!.path
    expect(await optimize(table, { targetBytes: sizes[2]! - 1 })).toEqual({
      commits: 1,
      removedFiles: 5,
      addedFiles: 2,
    })
    expect(table.snapshot.files.map(({ path }) => path)[1]).toBe(large)
    expect(await readIds(table)).toEqual(rows)
  })

  test('puts files of a partition together, and none of different ones', async () => {
    const schema = parseDdl('id:Int64,p:String')
    const table = await createTable(memoryStore(), { schema, partitionColumns: ['p'] })
    const types = schema.map(({ type }) => type)
    for (let i = 0; i < 4; i++) {
      const add = await writeDataFiles(table, [
        batchOf(types, [
          [BigInt(i), 'a'],
          [BigInt(10 + i), null],
        ]),
      ])
      await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    }
    expect(await optimize(table)).toEqual({ commits: 1, removedFiles: 8, addedFiles: 2 })
    // Rows move beside those of their partition.
    expect(await readIds(table)).toSatisfy(ids =>
      [
        [0, 1, 2, 3, 10, 11, 12, 13],
        [10, 11, 12, 13, 0, 1, 2, 3],
      ].some(order => Bun.deepEquals(order, ids)),
    )
    expect(table.snapshot.files.map(({ add }) => add.partitionValues?.['p'] ?? null).sort()).toEqual(['a', null].sort())
  })

  test('leaves partitions alone that a condition does not pick, and refuses one that picks none', async () => {
    const schema = parseDdl('id:Int64,day:Date,p:String')
    const table = await createTable(memoryStore(), { schema, partitionColumns: ['day', 'p'] })
    const types = schema.map(({ type }) => type)
    for (let i = 0; i < 3; i++) {
      const add = await writeDataFiles(table, [
        batchOf(types, [
          [BigInt(i), 0, 'a'],
          [BigInt(10 + i), 1, 'a'],
          [BigInt(20 + i), 1, null],
        ]),
      ])
      await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    }
    const files = (): string[] =>
      table.snapshot.files.map(({ add }) => JSON.stringify(Object.values(add.partitionValues ?? {}))).sort()
    for (const where of ['id > 3', 'day', 'day > 5', 'nothing = 1', 'rand() > 1', "p = 'a'; x", ''])
      await expect(optimize(table, { where })).rejects.toMatchObject({ code: 'unsupported_feature' })
    await expect(optimize(table, { where: 'ID > 3 OR p IS NULL' })).rejects.toThrow(
      'the condition ID > 3 OR p IS NULL cannot be used: it picks partitions, and id is no partition column; those are day, p',
    )
    expect(await optimize(table, { where: "day = '2999-01-01'" })).toMatchObject({ commits: 0 })
    const where = "Day = '1970-01-02' AND p IS NULL"
    expect(await optimize(table, { where })).toEqual({ commits: 1, removedFiles: 3, addedFiles: 1 })
    const [first] = await actionsAt(table.store, table.snapshot.version)
    expect(first!.commitInfo?.operationParameters).toMatchObject({ predicate: JSON.stringify([where]) })
    // NULL is not TRUE.
    expect(await optimize(table, { where: "p <> 'b' AND day < '1970-01-02'" })).toMatchObject({ removedFiles: 3 })
    expect(files()).toEqual([
      ...new Array(1).fill('["1970-01-01","a"]'),
      ...new Array(3).fill('["1970-01-02","a"]'),
      ...new Array(1).fill('["1970-01-02",null]'),
    ])
    const plain = await createTable(memoryStore(), { schema: SCHEMA })
    await expect(optimize(plain, { where: 'id = 1' })).rejects.toThrow('the table has none')
  })

  test('begins anew where another writer changed a file meanwhile, and loses nothing', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA })
    for (let i = 0; i < 5; i++) await append(table, 2 * i, 2 * i + 2)
    const other = await openTable(store)
    let once = true
    const progress = (): void => {
      if (once) racing.push(remove(other, 1, [0]))
      once = false
    }
    const racing: Promise<unknown>[] = []
    const slow: ObjectStore = {
      ...store,
      create: async path => {
        await Promise.all(racing)
        return store.create(path)
      },
      putIfAbsent: async (path, bytes) => {
        await Promise.all(racing)
        return store.putIfAbsent(path, bytes)
      },
    }
    const done = await optimize(await openTable(slow), { progress })
    expect(done).toEqual({ commits: 1, removedFiles: 5, addedFiles: 1 })
    expect(await readIds(await openTable(store))).toEqual([0, 1, 3, 4, 5, 6, 7, 8, 9])
  })

  test('ends when it is told to, and leaves no file behind', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA })
    for (let i = 0; i < 5; i++) await append(table, i, i + 1)
    const before = (await store.list('')).map(({ path }) => path)
    const end = new AbortController()
    const run = optimize(table, { signal: end.signal, progress: () => end.abort(new Error('enough')) })
    await expect(run).rejects.toThrow('enough')
    expect((await store.list('')).map(({ path }) => path)).toEqual(before)
  })
})
