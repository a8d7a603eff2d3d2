import { describe, expect, test } from 'bun:test'
import { readFooter } from '../../src/columns/parquet/read.ts'
import { schemaOfFooter } from '../../src/columns/parquet/schema.ts'
import { storeSource } from '../../src/columns/parquet/source.ts'
import { parseDdl, physicalName, sqlType } from '../../src/columns/schema.ts'
import { rawNumber } from '../../src/core/raw-json.ts'
import { execute } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { filesFor } from '../../src/table/file-pruning.ts'
import { writeCheckpoint } from '../../src/table/log/checkpoint-writer.ts'
import { cleanUpLog } from '../../src/table/log/clean-up.ts'
import { checkpointPath, LAST_CHECKPOINT } from '../../src/table/log/paths.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { append, commitLines, readIds, remove, SCHEMA } from './fixture.ts'

const DAY = 86_400_000

/** The table as it is read from its checkpoints alone. */
async function throughCheckpoint(store: ObjectStore): Promise<Table> {
  for (const { path } of await store.list('_delta_log')) if (/\/\d{20}\.json$/.test(path)) await store.delete(path)
  return openTable(store)
}

/** The type of a member of `add` in a checkpoint, as SQL; undefined if it is not there. */
async function addMember(store: ObjectStore, path: string, name: string): Promise<string | undefined> {
  const { sizeBytes } = (await store.stat(path))!
  const schema = schemaOfFooter(await readFooter(storeSource(store, path, sizeBytes)), path)
  const add = schema.find(field => field.name === 'add')?.type
  const found = add?.kind === 'struct' ? add.fields.find(field => field.name === name) : undefined
  return found && sqlType(found.type)
}

describe('a checkpoint', () => {
  test('has statistics and partition values in the types of their columns where the table asks for it', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const ddl =
      'id:Int64,i:Int32,s:Int16,f:Float32,g:Float64,d:Decimal(20,3),t:String,b:Boolean,day:Date,at:Timestamp,wall:Timestamp_ntz,l:array<int>,n:struct<x:int,y:struct<z:string>>,p:Date'
    const table = await createTable(store, {
      schema: parseDdl(ddl),
      partitionColumns: ['p'],
      configuration: { 'delta.checkpoint.writeStatsAsJson': 'false', 'delta.checkpoint.writeStatsAsStruct': 'true' },
    })
    await execute(
      table,
      `INSERT INTO data VALUES (9223372036854775807, 1, -2, 0.5, 1e300, 12345678901234567.891, 'text', true, DATE '1969-12-31', TIMESTAMPTZ '2020-01-02 03:04:05.678+00', TIMESTAMP '1960-01-02 03:04:05.678', [1], {x: 7, y: {z: 'deep'}}, DATE '2024-05-06')`,
    )
    await execute(table, `INSERT INTO data (id) VALUES (-5)`)
    const stats = table.snapshot.files.map(({ add }) => JSON.parse(add.stats!) as Record<string, unknown>)
    await table.checkpoint()
    const path = checkpointPath(2n)
    expect(await addMember(store, path, 'stats')).toBeUndefined()
    expect(await addMember(store, path, 'partitionValues_parsed')).toBe('STRUCT<p: DATE>')
    expect(await addMember(store, path, 'stats_parsed')).toContain('minValues: STRUCT<id: BIGINT, i: INT, s: SMALLINT')
    const again = await throughCheckpoint(store)
    expect(again.snapshot.version).toBe(2n)
    for (const [i, { add, partition }] of again.snapshot.files.entries()) {
      // Milliseconds, with more digits.
      const found = JSON.parse(add.stats!.replace(/(\.\d{3})000(?=Z?")/g, '$1')) as Record<string, unknown>
      expect(found).toMatchObject(stats[i]!)
      expect(partition).toEqual(table.snapshot.files[i]!.partition)
    }
    const filter = {
      kind: 'compare' as const,
      column: ['id'],
      operator: '>' as const,
      value: { kind: 'exact' as const, unscaled: 9_223_372_036_854_775_806n, scale: 0 },
    }
    expect(filesFor(again.snapshot, filter)).toHaveLength(1)
  })

  test('has them as text only, or in both forms, as the table asks', async () => {
    for (const [configuration, asText, asStruct] of [
      [{}, true, false],
      [{ 'delta.checkpoint.writeStatsAsStruct': 'true' }, true, true],
      [{ 'delta.checkpoint.writeStatsAsJson': 'false' }, false, true],
      [{ 'delta.checkpoint.writeStatsAsJson': 'false', 'delta.checkpoint.writeStatsAsStruct': 'false' }, false, false],
    ] as const) {
      const store = memoryStore()
      const table = await createTable(store, { schema: SCHEMA, configuration, columnMapping: true })
      await append(table, 0, 3)
      await table.checkpoint()
      const path = checkpointPath(1n)
      expect((await addMember(store, path, 'stats')) !== undefined).toBe(asText)
      const struct = await addMember(store, path, 'stats_parsed')
      expect(struct !== undefined).toBe(asStruct)
      if (asStruct) for (const field of table.snapshot.schema) expect(struct).toContain(physicalName(field))
      const again = await throughCheckpoint(store)
      expect(await readIds(again)).toEqual([0, 1, 2])
      expect(again.snapshot.files[0]!.rows).toBe(asText || asStruct ? 3 : undefined)
    }
  })

  test('of columns whose statistics are of narrower types, or damaged, has what can be said of them', async () => {
    const store = memoryStore()
    const table = await createTable(store, {
      schema: parseDdl('a:Int32,b:Int64,c:String,d:Date'),
      configuration: { 'delta.checkpoint.writeStatsAsJson': 'false' },
    })
    const add = (path: string, stats: unknown): object => ({
      add: { path, partitionValues: {}, size: 1, modificationTime: 1, dataChange: true, stats },
    })
    await commitLines(store, 1n, [
      add('a', '{"numRecords":2,"minValues":{"a":5000000000,"b":1.5,"c":7,"d":"soon"},"nullCount":{"a":"x","b":1}}'),
      add('b', '{"numRecords":3,"minValues":5'),
      add('c', '{"numRecords":4,"minValues":[1]}'),
    ])
    await table.refresh()
    await table.checkpoint()
    const { files } = (await throughCheckpoint(store)).snapshot
    expect(files.map(({ add: { stats } }) => stats && JSON.parse(stats))).toEqual([
      { numRecords: 2, minValues: {}, nullCount: { b: 1 } },
      undefined,
      { numRecords: 4 },
    ])
  })
})

/** The same numbers for the same seed. */
function randomly(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

describe('actions that went through a checkpoint', () => {
  const seed = Math.floor(Math.random() * 2 ** 31)

  test(`are what they were, whatever is in them and missing (seed ${seed})`, async () => {
    const below = randomly(seed)
    const oneOf = <T>(...values: readonly T[]): T => values[below(values.length)]!
    const texts = (): Record<string, string | null> | undefined =>
      oneOf(
        undefined,
        {},
        { a: 'b' },
        { a: null, ['\u00e9']: '\u{1f600}' },
        JSON.parse(`{"__proto__": "p", "q": "", "long": "${'x'.repeat(200)}"}`),
      )
    const vector = (): object | undefined =>
      oneOf(
        undefined,
        undefined,
        { storageType: 'u', pathOrInlineDv: 'ab^-aqEH.-t@S}K{vb[*k^', offset: 4, sizeInBytes: 40, cardinality: 1 },
        { storageType: 'p', pathOrInlineDv: '/a/b.bin', sizeInBytes: 7, cardinality: 0 },
      )
    const store = memoryStore()
    await createTable(store, { schema: SCHEMA })
    const lines = Array.from({ length: 3000 }, (_, i) => {
      const path = oneOf(`part-${i}.parquet`, `p=%20${i}/\u00e9.parquet`, `${'long'.repeat(50)}/${i}`)
      const shared = { path, size: oneOf(0, i, 2 ** 53 - 1), partitionValues: texts(), deletionVector: vector() }
      const stats = oneOf(
        undefined,
        '{"numRecords":5}',
        `{"numRecords":5,"minValues":{"s":"${'\u00fc'.repeat(below(99))}"}}`,
      )
      const baseRowId = oneOf<unknown>(undefined, 0, 7, rawNumber('9007199254740993'))
      const times = { modificationTime: i, dataChange: false }
      const remove = { ...shared, deletionTimestamp: Date.now(), dataChange: false, extendedFileMetadata: true }
      return below(4) === 0
        ? { remove: { ...remove, path: `gone-${path}` } }
        : { add: { ...shared, ...times, stats, tags: texts(), baseRowId } }
    })
    await commitLines(store, 1n, lines)
    const before = await openTable(store)
    await before.checkpoint()
    const after = await throughCheckpoint(store)
    const plain = (value: object): unknown => JSON.parse(JSON.stringify(value), (_, item) => item ?? undefined)
    const told = ({ snapshot }: Table): unknown[] => [
      ...snapshot.files.map(({ add }) => plain({ ...add, partitionValues: add.partitionValues ?? {} })),
      ...[...snapshot.state.tombstones.values()].map(plain),
    ]
    expect(told(after)).toEqual(told(before))
    expect(after.snapshot.files.map(({ key }) => key)).toEqual(before.snapshot.files.map(({ key }) => key))
  })
})

describe('a checkpoint of version 2', () => {
  async function v2Table(store: ObjectStore): Promise<Table> {
    const table = await createTable(store, {
      schema: SCHEMA,
      configuration: { 'delta.checkpointPolicy': 'v2', 'delta.checkpointInterval': '1000000' },
    })
    expect(table.snapshot.protocol).toMatchObject({ minReaderVersion: 3, readerFeatures: ['v2Checkpoint'] })
    for (let i = 0; i < 7; i++) await append(table, i, i + 1)
    await remove(table, 2, [0])
    await commitLines(store, 9n, [
      { txn: { appId: 'stream', version: 7 } },
      { domainMetadata: { domain: 'a.b', configuration: '{}', removed: false } },
    ])
    await table.refresh()
    return table
  }

  const names = async (store: ObjectStore): Promise<string[]> =>
    (await store.list('_delta_log')).map(({ path }) => path.slice('_delta_log/'.length))

  test('has a name of its own, and holds a small table itself', async () => {
    const store = memoryStore()
    const table = await v2Table(store)
    await table.checkpoint()
    const found = (await names(store)).filter(name => name.includes('checkpoint.'))
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(/^0{19}9\.checkpoint\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.parquet$/)
    const last = JSON.parse(new TextDecoder().decode(await store.read(LAST_CHECKPOINT))) as object
    expect(last).toMatchObject({ version: 9, numOfAddFiles: 6, size: 1 + 2 + 2 + 6 + 1 })
    const again = await throughCheckpoint(store)
    expect(await readIds(again)).toEqual([0, 1, 3, 4, 5, 6])
    expect(again.snapshot.state.txns.get('stream')?.version).toBe(7)
    expect([...again.snapshot.state.domains.keys()]).toEqual(['a.b'])
    expect(again.snapshot.state.tombstones.size).toBe(1)
  })

  test('has many files in sidecars, of which those that no checkpoint names go with the log', async () => {
    const clock = { atMs: Date.UTC(2026, 0, 1), nowMs: () => clock.atMs }
    const store = memoryStore('memory:', clock.nowMs)
    const table = await v2Table(store)
    const sidecars = async (): Promise<string[]> => (await names(store)).filter(name => name.startsWith('_sidecars/'))
    await writeCheckpoint(store, table.snapshot, { keepRemovedSinceMs: 0, sidecarActions: 3 })
    const first = await sidecars()
    expect(first).toHaveLength(3)
    const copy = memoryStore()
    for (const { path } of await store.list('')) await copy.write(path, await store.read(path))
    expect(await readIds(await throughCheckpoint(copy))).toEqual([0, 1, 3, 4, 5, 6])
    clock.atMs += 40 * DAY
    await append(table, 7, 8)
    await writeCheckpoint(store, table.snapshot, { keepRemovedSinceMs: 0, sidecarActions: 4 })
    clock.atMs += 40 * DAY
    await append(table, 8, 9)
    const gone = await cleanUpLog(store, clock.atMs, 30 * DAY)
    expect(gone.filter(path => path.includes('_sidecars')).sort()).toEqual(
      first.map(name => `_delta_log/${name}`).sort(),
    )
    expect(await sidecars()).toHaveLength(2)
    expect(await readIds(await openTable(store))).toEqual([0, 1, 3, 4, 5, 6, 7, 8])
    // One whose sidecar is gone is not whole: nothing in front of it goes.
    await store.delete(`_delta_log/${(await sidecars())[0]}`)
    expect(await cleanUpLog(store, clock.atMs + 80 * DAY, DAY)).toEqual([])
  })

  test('is damaged where a sidecar is missing, and what stands before it in the log does', async () => {
    const store = memoryStore()
    const table = await v2Table(store)
    await writeCheckpoint(store, table.snapshot, { keepRemovedSinceMs: 0, sidecarActions: 3 })
    const [sidecar] = (await names(store)).filter(name => name.startsWith('_sidecars/'))
    await store.delete(`_delta_log/${sidecar}`)
    expect(await readIds(await openTable(store))).toEqual([0, 1, 3, 4, 5, 6])
  })
})
