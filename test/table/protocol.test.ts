import { describe, expect, test } from 'bun:test'
import { localStore } from '../../src/storage/local.ts'
import { checkpointPath, commitPath, encodePath, pathOf } from '../../src/table/log/paths.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { actionsAt, append, commitLines, failure, foreignTable, readIds, remove, rows } from './fixture.ts'

type Changes = Parameters<typeof foreignTable>[1]

/** A table by another writer with three rows. */
async function foreign(changes: Changes): Promise<Table> {
  const store = memoryStore()
  await foreignTable(store)
  const plain = await openTable(store)
  const add = await writeDataFiles(plain, [rows(0, 3)])
  await store.delete(commitPath(0n))
  await foreignTable(store, changes)
  await commitLines(
    store,
    1n,
    add.map(({ path, sizeBytes: size, stats }) => ({
      add: { path, partitionValues: {}, size, modificationTime: 1, dataChange: true, stats },
    })),
  )
  return openTable(store)
}

function features(writerFeatures: readonly string[], readerFeatures: readonly string[] = []): Changes {
  return { protocol: { minReaderVersion: 3, minWriterVersion: 7, readerFeatures, writerFeatures } }
}

describe('a table that needs more of a reader than there is', () => {
  test('is refused by the name of the feature', async () => {
    for (const feature of ['catalogManaged', 'catalogOwned-preview', 'geospatial', 'x-y']) {
      const refused = await failure(() => foreign(features([feature], [feature, 'deletionVectors'])))
      expect(refused.code).toBe('unsupported_feature')
      expect(refused.message).toContain(`the reader feature ${feature},`)
    }
    // The feature is the reason, not the type that nothing is known of.
    const fields = [{ name: 'v', type: 'geometry(OGC:CRS84)', nullable: true, metadata: {} }]
    const store = memoryStore()
    await foreignTable(store, {
      ...features(['geospatial'], ['geospatial']),
      schema: { type: 'struct', fields },
    })
    expect((await failure(() => openTable(store))).message).toContain('the reader feature geospatial,')
    const version = await failure(() => foreign({ protocol: { minReaderVersion: 4, minWriterVersion: 8 } }))
    expect(version).toMatchObject({ code: 'unsupported_feature' })
    expect(version.message).toContain('reader version 4')
  })

  test('is refused from the version on that needs it, and older versions are shown', async () => {
    const table = await foreign({})
    const protocol = {
      minReaderVersion: 3,
      minWriterVersion: 7,
      readerFeatures: ['future'],
      writerFeatures: ['future'],
    }
    await commitLines(table.store, 2n, [{ protocol }])
    for (const look of [() => openTable(table.store), () => table.refresh(), () => append(table, 5, 6)])
      expect((await failure(look)).message).toContain('future')
    expect(await readIds(table, await table.at(1n))).toEqual([0, 1, 2])
    expect(await table.store.stat(commitPath(3n))).toBeUndefined()
  })

  test('is none for what only writers must know', async () => {
    const table = await foreign(features(['icebergCompatV1', 'icebergCompatV2', 'x-y']))
    expect(await readIds(table)).toEqual([0, 1, 2])
  })

  test('with every feature that is known is read', async () => {
    const known = [
      'deletionVectors',
      'columnMapping',
      'timestampNtz',
      'v2Checkpoint',
      'vacuumProtocolCheck',
      'typeWidening',
    ]
    expect(await readIds(await foreign(features(known, known)))).toEqual([0, 1, 2])
    for (const protocol of [
      { minReaderVersion: 1, minWriterVersion: 1 },
      { minReaderVersion: 2, minWriterVersion: 6 },
      { minReaderVersion: 2, minWriterVersion: 7, writerFeatures: ['columnMapping'] },
      { minReaderVersion: 1, minWriterVersion: 2, readerFeatures: null, writerFeatures: null },
    ])
      expect(await readIds(await foreign({ protocol }))).toEqual([0, 1, 2])
  })
})

describe('a table with rules for writers', () => {
  const refusals: readonly [string, Changes, string][] = [
    ['a feature that is not known', features(['icebergCompatV1', 'x-y']), 'icebergCompatV1, x-y'],
    ['a later writer version', { protocol: { minWriterVersion: 8 } }, 'writer version 8'],
  ]
  for (const [name, changes, words] of refusals) {
    test(`(${name}) is read, and refuses to be written by that name`, async () => {
      const table = await foreign(changes)
      expect(await readIds(table)).toEqual([0, 1, 2])
      for (const write of [() => append(table, 5, 6), () => remove(table, 0, [1])]) {
        const refused = await failure(write)
        expect(refused.code).toBe('unsupported_feature')
        expect(refused.message).toContain(words)
        expect(refused.message).toContain('the table can be read')
      }
      expect(await readIds(await openTable(table.store))).toEqual([0, 1, 2])
    })
  }

  test('(append-only) takes rows and gives none away', async () => {
    for (const [key, code] of [['delta.appendOnly', 'append_only']] as const) {
      const table = await foreign({ metaData: { configuration: { [key]: 'TRUE' } } })
      await append(table, 3, 4)
      expect((await failure(() => remove(table, 0, [1]))).code).toBe(code)
      const all = {
        base: table.snapshot,
        operation: 'TRUNCATE',
        add: [],
        delete: [],
        removeFiles: table.snapshot.files,
      }
      expect((await failure(() => commit(table, all))).code).toBe(code)
      expect(await readIds(table)).toEqual([0, 1, 2, 3])
    }
  })

  test('(in-commit timestamps) gets one first in each commit, later than the one before', async () => {
    const table = await foreign({
      ...features(['inCommitTimestamp']),
      metaData: { configuration: { 'delta.enableInCommitTimestamps': 'true' } },
    })
    const future = Date.now() + 3_600_000
    await commitLines(table.store, 2n, [{ commitInfo: { inCommitTimestamp: future, operation: 'x' } }])
    await append(table, 3, 4)
    await append(table, 4, 5)
    for (const [version, expected] of [
      [3n, future + 1],
      [4n, future + 2],
    ] as const) {
      const [info] = await actionsAt(table.store, version)
      expect(Object.keys(info!.commitInfo!)[0]).toBe('inCommitTimestamp')
      expect(info!.commitInfo!.inCommitTimestamp).toBe(expected)
    }
    expect(table.snapshot.timestampMs).toBe(future + 2)
    expect((await openTable(table.store)).snapshot.timestampMs).toBe(future + 2)
    await table.checkpoint()
    const through = await openTable(table.store)
    expect(through.snapshot.timestampMs).toBe(future + 2)
    await append(through, 5, 6)
    expect((await actionsAt(table.store, 5n))[0]!.commitInfo!.inCommitTimestamp).toBe(future + 3)
  })

  test('keeps its protocol and its properties, whatever is written', async () => {
    const table = await foreign({ metaData: { configuration: { 'delta.enableDeletionVectors': 'true', odd: 'ä' } } })
    const { protocol, metadata } = table.snapshot
    await append(table, 3, 6)
    await remove(table, 0, [0])
    for (const version of [2n, 3n])
      expect((await actionsAt(table.store, version)).some(action => action.protocol || action.metaData)).toBe(false)
    expect((await openTable(table.store)).snapshot.protocol).toEqual(protocol)
    expect(table.snapshot.metadata.configuration).toEqual(metadata.configuration)
  })
})

describe('paths in the log', () => {
  test('are percent-encoded, and decoded exactly once', () => {
    for (const path of ['a b.parquet', 'x=100%/a', 'x=%20/ü', 'a+b', 'a#b?c', "it's", 'p=[1]/{2}', '😀'])
      expect(pathOf('/table', encodePath(path))).toBe(path)
    expect(pathOf('/table', '_2=bar+%252521')).toBe('_2=bar+%2521')
    expect(encodePath('a b#?%')).toBe('a%20b%23%3F%25')
    // As java.net.URI does, for Spark compares spellings when it looks for garbage.
    expect(encodePath('p=é ü😀/"<>[]^`{|}\\\u00a0\u0085~!$&\'()*+,;:@=')).toBe(
      "p=é%20ü😀/%22%3C%3E%5B%5D%5E%60%7B%7C%7D%5C%C2%A0%C2%85~!$&'()*+,;:@=",
    )
  })

  test('that lead out of the table by dots, or where nobody reaches, are refused, and those inside are the same however they are spelled', async () => {
    using folder = temporaryFolder()
    const store = localStore(`${folder.path}/my table`)
    await foreignTable(store)
    const add = (path: string): object => ({
      add: { path, partitionValues: {}, size: 1, modificationTime: 1, dataChange: true },
    })
    for (const path of ['../x', 'a/%2e%2e/%2e%2e/x', '/etc/../x', 's3://b/x', `file://${folder.path}/other/../x`]) {
      await store.delete(commitPath(1n))
      await commitLines(store, 1n, [add(path)])
      expect((await failure(() => openTable(store))).code).toBe('unsupported_feature')
    }
    for (const root of ['file://', 'file:', '']) {
      await store.delete(commitPath(1n))
      await commitLines(store, 1n, [add(`${root}${encodePath(store.location)}/p=1/x.parquet`)])
      expect((await openTable(store)).snapshot.files[0]!.path).toBe('p=1/x.parquet')
    }
    for (const path of ['%', 'a%zz']) {
      await store.delete(commitPath(1n))
      await commitLines(store, 1n, [add(path)])
      expect((await failure(() => openTable(store))).code).toBe('corrupt_log')
    }
    await store.delete(commitPath(1n))
    await commitLines(store, 1n, [add(`file://${store.location}/../secret`)])
    expect((await failure(() => openTable(store))).code).toBe('unsupported_feature')
  })
})

describe('a checkpoint of another writer', () => {
  test('as JSON with sidecars is read; a sidecar that is elsewhere or gone is damage', async () => {
    const table = await foreign(features(['v2Checkpoint'], ['v2Checkpoint']))
    await table.checkpoint()
    const { store } = table
    const sidecar = await store.read(checkpointPath(1n))
    await store.delete(checkpointPath(1n))
    await store.delete('_delta_log/_last_checkpoint')
    for (const version of [0n, 1n]) await store.delete(commitPath(version))
    const path = checkpointPath(1n).replace('.parquet', '.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json')
    const write = (name: string): Promise<void> => {
      const { protocol, metadata } = table.snapshot
      const actions = [
        { checkpointMetadata: { version: 1 } },
        { protocol },
        { metaData: metadata.action },
        { sidecar: { path: name, sizeInBytes: sidecar.length, modificationTime: 1 } },
      ]
      return store.write(path, new TextEncoder().encode(actions.map(action => `${JSON.stringify(action)}\n`).join('')))
    }
    await store.write('_delta_log/_sidecars/one.parquet', sidecar)
    await write('one.parquet')
    expect(await readIds(await openTable(store))).toEqual([0, 1, 2])
    for (const name of ['two.parquet', '../one.parquet', '%2e%2e%2fone.parquet', '..', '/etc/passwd']) {
      await write(name)
      const damaged = await failure(() => openTable(store))
      expect(damaged.code).toBe('corrupt_log')
      expect(damaged.message).toContain(path)
    }
  })
})
