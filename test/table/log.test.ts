import { describe, expect, test } from 'bun:test'
import { version } from '../../package.json'
import { ParquetFileWriter } from '../../src/columns/parquet/write.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { rawNumber } from '../../src/core/raw-json.ts'
import { localStore } from '../../src/storage/local.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { readCheckpoint } from '../../src/table/log/checkpoint.ts'
import { checkpointPath, commitPath, LAST_CHECKPOINT, parseLogFile } from '../../src/table/log/paths.ts'
import { createTable } from '../../src/table/operations/create.ts'
import type { Snapshot } from '../../src/table/snapshot.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { append, commitLines, failure, foreignTable, readIds, remove, rows, SCHEMA } from './fixture.ts'

const text = async (store: ObjectStore, path: string): Promise<string> =>
  new TextDecoder().decode(await store.read(path))
const write = (store: ObjectStore, path: string, content: string): Promise<void> =>
  store.write(path, new TextEncoder().encode(content))

/** What two snapshots of one version must have in common, however they were come by. */
function essence(snapshot: Snapshot): object {
  const { version, protocol, metadata, schema, files, state } = snapshot
  return {
    version,
    protocol,
    metadata: metadata.action,
    schema,
    files: files.map(({ key, add }) => ({ key, add: { ...add, dataChange: false } })),
    txns: [...state.txns],
    domains: [...state.domains],
    tombstones: [...state.tombstones].map(([key, remove]) => [key, { ...remove, dataChange: false, tags: undefined }]),
  }
}

/** A table with a checkpoint at version 10, and two commits behind it. */
async function checkpointed(store: ObjectStore = memoryStore()): Promise<Table> {
  const table = await createTable(store, { schema: SCHEMA })
  for (let i = 0; i < 12; i++) await append(table, i, i + 1)
  await table.close()
  return table
}

describe('a checkpoint', () => {
  test('holds every kind of action, and opening through it is opening through the commits', async () => {
    const store = memoryStore()
    await foreignTable(store, {
      protocol: {
        minReaderVersion: 3,
        minWriterVersion: 7,
        readerFeatures: ['deletionVectors'],
        writerFeatures: ['deletionVectors', 'domainMetadata', 'appendOnly'],
      },
      metaData: {
        name: 'ä',
        description: 'two\nlines',
        configuration: { 'delta.enableDeletionVectors': 'true', x: '' },
      },
    })
    const table = await openTable(store)
    await append(table, 0, 100)
    await append(table, 100, 200)
    await remove(table, 0, [1, 5])
    await remove(
      table,
      1,
      Array.from({ length: 50 }, (_, i) => i * 2),
    )
    await commitLines(store, 5n, [
      { txn: { appId: 'stream', version: 7, lastUpdated: 1_700_000_000_000 } },
      { txn: { appId: 'other', version: 1 } },
      { txn: { appId: 'hash', version: rawNumber('-9223372036854775808') } },
      { domainMetadata: { domain: 'a.b', configuration: '{"x":1}', removed: false } },
      { domainMetadata: { domain: 'gone', configuration: '', removed: false } },
    ])
    await commitLines(store, 6n, [{ domainMetadata: { domain: 'gone', configuration: '', removed: true } }])
    await table.refresh()
    await table.checkpoint()
    const last = JSON.parse(await text(store, LAST_CHECKPOINT)) as Record<string, number>
    expect(last).toMatchObject({ version: 6, numOfAddFiles: 2 })
    expect(last['sizeInBytes']).toBe((await store.stat(checkpointPath(6n)))!.sizeBytes)
    const replayed = await openTable(memoryStoreWith(await copyOf(store, path => !path.includes('checkpoint'))))
    const opened = await openTable(memoryStoreWith(await copyOf(store, path => !/_delta_log\/\d+\.json$/.test(path))))
    expect(essence(opened.snapshot)).toEqual(essence(replayed.snapshot))
    expect(essence(opened.snapshot)).toEqual(essence(table.snapshot))
    expect(opened.snapshot.state.tombstones.size).toBe(2)
    expect([...opened.snapshot.state.domains.keys()]).toEqual(['a.b'])
    expect(await readIds(opened)).toEqual(await readIds(table))
  })

  test('keeps partition values that are NULL, and paths as they are spelled', async () => {
    const store = memoryStore()
    await foreignTable(store, { metaData: { partitionColumns: ['name'] } })
    await commitLines(store, 1n, [
      { add: added('name=__HIVE_DEFAULT_PARTITION__/a.parquet', { name: null }) },
      { add: added('name=x%2520y/b.parquet', { name: 'x%20y' }) },
      { add: added('name=/c.parquet', { name: '' }) },
    ])
    const table = await openTable(store)
    const before = table.snapshot.files.map(({ path, partition }) => [path, [...partition]])
    await table.checkpoint()
    const through = await openTable(memoryStoreWith(await copyOf(store, path => !/_delta_log\/\d+\.json$/.test(path))))
    expect(through.snapshot.files.map(({ path, partition }) => [path, [...partition]])).toEqual(before)
    expect(before).toContainEqual(['name=x%20y/b.parquet', [['name', 'x%20y']]])
    expect(before).toContainEqual(['name=/c.parquet', [['name', null]]])
  })

  test('may have statistics in the types of their columns alone', async () => {
    const store = memoryStore()
    const bounds = 'struct<id:bigint, d:decimal(38,2), at:timestamp, f:double>'
    const schema = parseDdl(
      `add: struct<path:string, partitionValues:map<string,string>, size:bigint, modificationTime:bigint, dataChange:boolean,
        stats_parsed: struct<numRecords:bigint, minValues:${bounds}, nullCount:struct<id:bigint>, tightBounds:boolean>>`,
    )
    const out = await store.create(checkpointPath(1n))
    const writer = new ParquetFileWriter(out, schema)
    const min = [2n ** 63n - 1n, -(10n ** 37n) - 1n, 1_234_567n, null]
    const add = ['a.parquet', [], 1n, 2n, true, [7n, min, [0n], true]]
    await writer.write(
      batchOf(
        schema.map(({ type }) => type),
        [[add], [['b.parquet', [], 1n, 3n, true, null]]],
      ),
    )
    await writer.finish()
    await out.close()
    const files = (await readCheckpoint(store, checkpointPath(1n), false)).actions.map(action => action.add!)
    expect(files.map(({ stats }) => stats)).toEqual([
      '{"numRecords":7,"minValues":{"id":9223372036854775807,"d":-100000000000000000000000000000000000.01,"at":"1970-01-01T00:00:01.234567Z"},"nullCount":{"id":0},"tightBounds":true}',
      undefined,
    ])
    expect(Object.keys(files[0]!)).not.toContain('stats_parsed')
  })

  test('forgets removed files when their time is over', async () => {
    const store = memoryStore()
    let nowMs = 1_700_000_000_000
    const clock = { nowMs: () => nowMs }
    const configuration = { 'delta.deletedFileRetentionDuration': 'interval 2 days' }
    const table = await createTable(store, { schema: SCHEMA, configuration, clock })
    for (let i = 0; i < 2; i++) {
      await append(table, 0, 2)
      await remove(table, 0, [0, 1])
      nowMs += 36 * 3600 * 1000
    }
    await table.checkpoint()
    const opened = await openTable(memoryStoreWith(await copyOf(store, path => !/_delta_log\/\d+\.json$/.test(path))))
    expect(table.snapshot.state.tombstones.size).toBe(2)
    expect(opened.snapshot.state.tombstones.size).toBe(1)
  })

  test('that is damaged, cut off or empty is passed over, as long as the log reaches back', async () => {
    for (const damage of [(bytes: Uint8Array) => bytes.subarray(0, bytes.length - 9), () => new Uint8Array(0), flip]) {
      const { store } = await checkpointed()
      const path = checkpointPath(10n)
      await store.write(path, damage(await store.read(path)))
      expect(await readIds(await openTable(store))).toEqual(Array.from({ length: 12 }, (_, i) => i))
      await store.delete(commitPath(0n))
      const error = await failure(() => openTable(store))
      expect(error.code).toBe('corrupt_log')
      expect(error.message).toContain(path)
    }
  })

  test('is found though the hint is missing, empty, cut off, stale, or speaks of one that is gone', async () => {
    for (const hint of [
      '',
      '{"version":1',
      '{"version":0}',
      '{"version":99}',
      '{"version":-1}',
      '{"version":"x"}',
      '[]',
    ]) {
      const { store } = await checkpointed()
      await write(store, LAST_CHECKPOINT, hint)
      for (let version = 0n; version < 10n; version++) await store.delete(commitPath(version))
      expect((await openTable(store)).snapshot.version).toBe(12n)
      await store.delete(LAST_CHECKPOINT)
      expect((await openTable(store)).snapshot.version).toBe(12n)
    }
  })

  test('newer than the version that is asked for is not used', async () => {
    const { store } = await checkpointed()
    const table = await openTable(store)
    for (const version of [0n, 5n, 9n, 10n, 11n, 12n])
      expect(await readIds(table, await table.at(version))).toEqual(
        Array.from({ length: Number(version) }, (_, i) => i),
      )
  })

  test('in parts is used only if all its parts are there', async () => {
    const { store } = await checkpointed()
    const whole = await store.read(checkpointPath(10n))
    await store.delete(checkpointPath(10n))
    for (let version = 0n; version < 10n; version++) await store.delete(commitPath(version))
    const part = (n: number): string => checkpointPath(10n).replace('.parquet', `.000000000${n}.0000000002.parquet`)
    await store.write(part(1), whole)
    expect((await failure(() => openTable(store))).code).toBe('corrupt_log')
    await store.write(part(2), whole)
    expect((await openTable(store)).snapshot.files.length).toBe(12)
  })

  test('of a table of many files is written after more commits, unless the table says when', async () => {
    for (const [configuration, expected] of [
      [{}, ['30']],
      [{ 'delta.checkpointInterval': '10' }, ['10', '20', '30']],
    ] as const) {
      const store = memoryStore()
      const empty = await createTable(memoryStore(), { schema: SCHEMA })
      const [file] = await writeDataFiles(empty, [rows(0, 1)])
      const add = Array.from({ length: 500 }, (_, i) => ({ ...file!, path: `${i}.parquet` }))
      const table = await createTable(store, { schema: SCHEMA, configuration, add })
      for (let i = 0; i < 35; i++) {
        await append(table, i, i + 1)
        await table.close()
      }
      const found = (await store.list('_delta_log')).filter(({ path }) => path.endsWith('.checkpoint.parquet'))
      expect(found.map(({ path }) => String(parseLogFile(path)!.version))).toEqual([...expected])
      expect((await openTable(store)).snapshot.files.length).toBe(535)
    }
  })

  test('lets a long-lived table forget removed files whose time is over', async () => {
    let nowMs = 1_700_000_000_000
    const table = await createTable(memoryStore(), { schema: SCHEMA, clock: { nowMs: () => nowMs } })
    await append(table, 0, 2)
    await remove(table, 0, [0])
    await remove(table, 0, [1])
    nowMs += 8 * 24 * 3600 * 1000
    await append(table, 2, 4)
    await remove(table, 0, [0])
    expect(table.snapshot.state.tombstones.size).toBe(3)
    await table.checkpoint()
    await append(table, 4, 5)
    expect([...table.snapshot.state.tombstones.values()].map(({ deletionTimestamp }) => deletionTimestamp)).toEqual([
      nowMs,
    ])
  })

  test('need not be written here for removed files to be forgotten when their time is over', async () => {
    let nowMs = 1_700_000_000_000
    const clock = { nowMs: () => nowMs }
    const store = memoryStore()
    await foreignTable(store)
    const following = await openTable(store, { clock })
    const path = (i: number): string => `f${i}.parquet`
    let most = 0
    for (let version = 1; version <= 200; version++) {
      const add = { path: path(version), partitionValues: {}, size: 1, modificationTime: version, dataChange: true }
      const removed = Array.from({ length: 50 }, (_, i) => ({
        remove: { path: path(-50 * version - i), dataChange: true, deletionTimestamp: nowMs },
      }))
      await commitLines(store, BigInt(version), [{ add }, ...removed])
      await following.refresh()
      most = Math.max(most, following.snapshot.state.tombstones.size)
      // Twenty versions are a week.
      nowMs += (7 * 24 * 3600 * 1000) / 20
    }
    expect(most).toBeLessThan(2200)
    expect(following.snapshot.state.tombstones.has(path(-50 * 200))).toBe(true)
    expect(following.snapshot.live.size).toBe(200)
  })

  test('is written at the interval that the table asks for, and a senseless interval stops no commit', async () => {
    for (const [interval, expected] of [
      ['3', ['3', '6']],
      ['0', []],
      ['0.5', []],
      ['-1', []],
      ['Infinity', []],
      ['often', []],
    ] as const) {
      const store = memoryStore()
      const table = await createTable(store, {
        schema: SCHEMA,
        configuration: { 'delta.checkpointInterval': interval },
      })
      for (let i = 0; i < 7; i++) await append(table, i, i + 1)
      await table.close()
      const found = (await store.list('_delta_log')).filter(({ path }) => path.endsWith('.checkpoint.parquet'))
      expect(found.map(({ path }) => String(parseLogFile(path)!.version))).toEqual([...expected])
    }
  })
})

describe('a log entry that is damaged', () => {
  const cases: readonly [string, (line: string) => string, number][] = [
    ['cut off', line => `${line}\n${line.slice(0, 20)}`, 2],
    ['not JSON', line => `${line}\nnonsense`, 2],
    ['no object', line => `${line}\n\n[1]`, 3],
    ['an add without a path', line => `${line}\n{"add":{"size":1}}`, 2],
    ['an add with no size', line => `${line}\n{"add":{"path":"x","modificationTime":1}}`, 2],
    ['an add with no time', line => `${line}\n{"add":{"path":"x","size":1}}`, 2],
    ['an add that is no object', line => `${line}\n{"add":"x"}`, 2],
    ['a remove without a path', line => `${line}\n{"remove":{}}`, 2],
    ['metadata without a schema', line => `${line}\n{"metaData":{"id":"x"}}`, 2],
    ['a protocol without versions', line => `${line}\n{"protocol":{}}`, 2],
  ]
  for (const [name, damage, line] of cases) {
    test(`(${name}) is named with its file and its line`, async () => {
      using folder = temporaryFolder()
      const store = localStore(folder.path)
      const table = await createTable(store, { schema: SCHEMA })
      await append(table, 0, 1)
      const other = await openTable(store)
      const original = (await text(store, commitPath(1n))).split('\n')[0]!
      await write(store, commitPath(2n), damage(original))
      const name = `${folder.path}/${commitPath(2n)}, line ${line}:`
      for (const look of [() => openTable(store), () => other.refresh(), () => append(table, 1, 2)]) {
        const error = await failure(look)
        expect(error.code).toBe('corrupt_log')
        expect(error.message).toContain(name)
      }
      expect(await readIds(other)).toEqual([0])
    })
  }

  test('(empty, or not UTF-8) is named with its file', async () => {
    for (const bytes of [new Uint8Array(0), Uint8Array.of(0x0a, 0x0a), Uint8Array.of(0x7b, 0xff, 0x7d)]) {
      const { store } = await createTable(memoryStore(), { schema: SCHEMA })
      await store.write(commitPath(1n), bytes)
      const error = await failure(() => openTable(store))
      expect(error.code).toBe('corrupt_log')
      expect(error.message).toContain(commitPath(1n))
    }
  })

  test('(an older one) does not matter behind a checkpoint', async () => {
    const { store } = await checkpointed()
    await write(store, commitPath(4n), 'nonsense')
    const table = await openTable(store)
    expect(table.snapshot.version).toBe(12n)
    expect((await failure(() => table.at(6n))).message).toContain(commitPath(4n))
  })
})

describe('a gap in the log', () => {
  test('is named by the entry that is missing', async () => {
    const { store } = await checkpointed()
    await store.delete(commitPath(11n))
    const error = await failure(() => openTable(store))
    expect(error.code).toBe('corrupt_log')
    expect(error.message).toContain(commitPath(11n))
  })

  test('at its beginning is one too, where no checkpoint bridges it', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    for (let i = 0; i < 3; i++) await append(table, i, i + 1)
    await table.store.delete(commitPath(0n))
    const error = await failure(() => openTable(table.store))
    expect(error.code).toBe('corrupt_log')
    expect(error.message).toContain(commitPath(0n))
  })

  test('before a checkpoint is none, but the versions there are gone', async () => {
    const { store } = await checkpointed()
    await store.delete(commitPath(3n))
    const table = await openTable(store)
    expect(table.snapshot.version).toBe(12n)
    expect(await failure(() => table.at(5n))).toMatchObject({ code: 'corrupt_log' })
    await store.delete(commitPath(0n))
    expect(await failure(() => table.at(5n))).toMatchObject({ code: 'no_such_version' })
  })
})

describe('a refresh', () => {
  test('reads only what is new, and nothing twice', async () => {
    const store = memoryStore()
    const reads: string[] = []
    const counting: ObjectStore = {
      ...store,
      read: (path, start, end) => {
        reads.push(path)
        return store.read(path, start, end)
      },
    }
    const table = await createTable(counting, { schema: SCHEMA })
    const other = await openTable(store)
    for (let i = 0; i < 5; i++) await append(other, i, i + 1)
    reads.length = 0
    await Promise.all([table.refresh(), table.refresh()])
    expect(reads).toEqual([1n, 2n, 3n, 4n, 5n, 6n].map(commitPath))
    const { snapshot } = table
    reads.length = 0
    expect(await table.refresh()).toBe(snapshot)
    expect(reads).toEqual([commitPath(6n)])
  })

  test('step by step is opening afresh, whatever was committed', async () => {
    const store = memoryStore()
    const following = await createTable(store, { schema: SCHEMA })
    const writer = await openTable(store)
    let seed = 5
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      return Math.floor((seed / 2 ** 32) * n)
    }
    for (let round = 0; round < 40; round++) {
      const { files } = writer.snapshot
      if (files.length < 3 || random(3) === 0) await append(writer, round * 10, round * 10 + 4)
      else {
        const at = random(files.length)
        const gone = await writer.deletedRows(files[at]!)
        const left = [0, 1, 2, 3].filter(row => !gone.includes(row))
        await remove(writer, at, left.slice(0, 1 + random(left.length)))
      }
      if (random(3) > 0) continue
      const fresh = await openTable(store)
      expect(essence(await following.refresh())).toEqual(essence(fresh.snapshot))
      expect(essence(writer.snapshot)).toEqual(essence(fresh.snapshot))
    }
    await writer.close()
  })

  test('finds its way when the log was cleaned up behind its back, and commits go on top', async () => {
    const store = memoryStore()
    const idle = await createTable(store, { schema: SCHEMA })
    await append(idle, 0, 1)
    const busy = await openTable(store)
    for (let i = 1; i < 12; i++) await append(busy, i, i + 1)
    await busy.close()
    for (let version = 0n; version < 10n; version++) await store.delete(commitPath(version))
    expect((await append(idle, 12, 13)).version).toBe(13n)
    await busy.refresh()
    expect(await readIds(busy)).toEqual(Array.from({ length: 13 }, (_, i) => i))
  })

  test('keeps going on a version of which only the checkpoint is left', async () => {
    const { store } = await checkpointed()
    const table = await openTable(store)
    await table.checkpoint()
    for (let version = 0n; version <= 12n; version++) await store.delete(commitPath(version))
    const only = await openTable(store)
    expect((await only.refresh()).version).toBe(12n)
    expect((await append(only, 12, 13)).version).toBe(13n)
    expect((await readIds(await openTable(store))).length).toBe(13)
  })

  test('tells when another table stands in the place of this one, and commits nothing there', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA })
    for (let i = 0; i < 3; i++) await append(table, i, i + 1)
    for (const { path } of await store.list('')) await store.delete(path)
    expect((await failure(() => append(table, 9, 10))).code).toBe('not_a_table')
    const other = await createTable(store, { schema: SCHEMA })
    expect((await failure(() => append(table, 9, 10))).code).toBe('conflict')
    expect((await other.refresh()).version).toBe(0n)
  })
})

describe('versions and history', () => {
  test('are found by their time', async () => {
    let nowMs = 1000
    const clock = { nowMs: () => nowMs }
    const table = await createTable(memoryStore('memory:', clock.nowMs), { schema: SCHEMA, clock })
    for (const at of [2000, 3000]) {
      nowMs = at
      await append(table, at, at + 1)
    }
    for (const [at, version] of [
      [1000, 0n],
      [1999, 0n],
      [2000, 1n],
      [2500, 1n],
      [9999, 2n],
    ] as const)
      expect((await table.atTimestamp(at)).version).toBe(version)
    const early = await failure(() => table.atTimestamp(999))
    expect(early.code).toBe('no_such_version')
    expect(early.message).toContain('1970-01-01T00:00:00.999Z')
    for (const version of [-1n, 3n]) expect((await failure(() => table.at(version))).code).toBe('no_such_version')
  })

  test('tell what was done, by whom, newest first, as many as are asked for', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    const add = await writeDataFiles(table, [rows(0, 2)])
    await commit(table, {
      base: table.snapshot,
      operation: 'MERGE',
      parameters: { matched: '[]' },
      metrics: { numOutputRows: '2' },
      add,
      delete: [],
      txnId: 'mine',
    })
    await commitLines(table.store, 2n, [{ txn: { appId: 'x', version: 1 } }])
    await table.refresh()
    const history = await table.history()
    expect(history.map(({ version }) => version)).toEqual([2n, 1n, 0n])
    expect(history[0]).toMatchObject({ operation: 'unknown', parameters: {}, metrics: {} })
    expect(history[1]).toMatchObject({
      operation: 'MERGE',
      parameters: { matched: '[]' },
      metrics: { numOutputRows: '2' },
      txnId: 'mine',
    })
    expect(history[1]!.engine).toStartWith('posixlake/')
    expect(history[1]!.engine).toBe(`posixlake/${version}`)
    expect((await table.history(1)).map(({ version }) => version)).toEqual([2n])
  })
})

describe('names in the log folder', () => {
  test('are told apart by their whole form', () => {
    const kind = (name: string): string | undefined => parseLogFile(`_delta_log/${name}`)?.kind
    const n = '00000000000000000007'
    for (const name of [`${n}.json`]) expect(kind(name)).toBe('commit')
    for (const name of [
      `${n}.checkpoint.parquet`,
      `${n}.checkpoint.0000000001.0000000002.parquet`,
      `${n}.checkpoint.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json`,
      `${n}.checkpoint.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.parquet`,
    ])
      expect(kind(name)).toBe('checkpoint')
    for (const name of [
      '_last_checkpoint',
      `${n}.crc`,
      `.${n}.json.crc`,
      `${n}.json.tmp`,
      `7.json`,
      `${n}.${n}.compacted.json`,
      `_staged_commits/${n}.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json`,
      `_commits/${n}.json`,
      `.tmp/${n}.json`,
      `_sidecars/3a0d65cd-4056-49b8-937b-95f9e3ee90e5.parquet`,
    ])
      expect(kind(name)).toBeUndefined()
  })
})

function added(path: string, partitionValues: object): object {
  return { path, partitionValues, size: 1, modificationTime: 1, dataChange: true }
}

function flip(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte, i) => (i > 8 && i % 3 === 0 ? byte ^ 0x55 : byte))
}

async function copyOf(store: ObjectStore, keep: (path: string) => boolean): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  for (const { path } of await store.list('')) if (keep(path)) files.set(path, await store.read(path))
  return files
}

function memoryStoreWith(files: ReadonlyMap<string, Uint8Array>): ObjectStore {
  const store = memoryStore()
  for (const [path, bytes] of files) void store.write(path, bytes)
  return store
}
