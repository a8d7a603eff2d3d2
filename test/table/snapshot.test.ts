import { describe, expect, spyOn, test } from 'bun:test'
import { TextMap } from '../../src/core/ordered.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import type { AddAction } from '../../src/table/log/actions/index.ts'
import { vectorId } from '../../src/table/log/actions/index.ts'
import { commitPath, LAST_CHECKPOINT, parseLogFile } from '../../src/table/log/paths.ts'
import { appendedFiles, LiveFile, type Snapshot } from '../../src/table/snapshot.ts'
import { openTable } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { commitLines, failure, foreignTable } from './fixture.ts'

function generator(seed: number): (n: number) => number {
  let state = seed
  return n => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
}

/** All that may be asked of a snapshot, however it was come by. */
function essence({ version, protocol, metadata, schema, live, files, state }: Snapshot): object {
  const { commitInfo: _, ...rest } = { commitInfo: undefined, version, protocol, schema, metadata: metadata.action }
  return {
    ...rest,
    files: files.map(file => ({
      path: file.path,
      key: file.key,
      size: file.sizeBytes,
      partition: [...file.partition],
      found: live.get(file.path) === file,
      referrers: [...live.referrers(file.path)],
    })),
    listed: [...live].map(({ key }) => key),
    last: live.last?.key,
    txns: [...state.txns].map(([key, { version }]) => [key, version]),
    domains: [...state.domains].map(([key, { configuration }]) => [key, configuration]),
    tombstones: [...state.tombstones.keys()],
  }
}

const METADATA = {
  id: '5e7a3c1e-0000-4000-8000-000000000000',
  format: { provider: 'parquet', options: {} },
  partitionColumns: ['p'],
  configuration: {},
}

function schemaString(type: string): string {
  const fields = ['id', 'p'].map(name => ({ name, type: name === 'p' ? type : 'long', nullable: true, metadata: {} }))
  return JSON.stringify({ type: 'struct', fields })
}

const SPELLINGS: readonly ((path: string) => string)[] = [
  path => path,
  path => path.replaceAll(' ', '%20').replaceAll('ä', '%C3%A4'),
  path => path.replaceAll(' ', '%20').replaceAll('ä', '%c3%a4').replace('f', '%66'),
  path => `memory:/${path.replaceAll(' ', '%20')}`,
]

/** What another writer might commit next: files that come, go, change their vectors and places, and all else there is. */
function* randomActions(files: ReadonlyMap<string, AddAction>, random: (n: number) => number): Generator<object> {
  const spelled = (path: string): string => SPELLINGS[random(SPELLINGS.length)]!(path)
  const touched = new Set<string>()
  for (let i = random(5); i > 0; i--) {
    const path = `f ${random(12)}ä`
    if (touched.has(path)) continue
    touched.add(path)
    const known = files.get(path)
    const isKept = known !== undefined && random(4) === 0
    if (known !== undefined && !isKept) {
      const { deletionVector } = known
      yield {
        remove: {
          path: spelled(path),
          deletionTimestamp: Date.now(),
          dataChange: true,
          ...(deletionVector ? { deletionVector } : {}),
        },
      }
      if (random(2) === 0) continue
    }
    const vector = isKept ? known.deletionVector : random(2) === 0 ? { cardinality: random(9) } : undefined
    const refs = Array.from({ length: random(3) }, () => `f ${random(12)}ä`)
    yield {
      add: {
        path: spelled(path),
        partitionValues: { p: random(4) === 0 ? null : String(random(100)) },
        size: random(1000),
        modificationTime: random(6),
        dataChange: true,
        stats: '{"numRecords":10}',
        ...(refs.length === 0 ? {} : { tags: { 'posixlake.order.refs': JSON.stringify(refs) } }),
        ...(vector
          ? { deletionVector: { storageType: 'i', pathOrInlineDv: 'abcde', offset: 0, sizeInBytes: 4, ...vector } }
          : {}),
      },
    }
  }
  if (random(3) === 0) yield { txn: { appId: `app ${random(4)}`, version: random(100) } }
  if (random(3) === 0)
    yield { domainMetadata: { domain: `d${random(3)}`, configuration: `${random(9)}`, removed: random(2) === 0 } }
  if (random(8) === 0) yield { metaData: { ...METADATA, schemaString: schemaString(['integer', 'long'][random(2)]!) } }
}

/** What the actions leave, told by the plainest of means. */
function noted(files: Map<string, AddAction>, actions: readonly object[], location: string): void {
  const plain = (path: string): string => decodeURIComponent(path).replace(`${location}/`, '')
  for (const { remove } of actions as { remove?: { path: string } }[]) if (remove) files.delete(plain(remove.path))
  for (const { add } of actions as { add?: AddAction }[]) if (add) files.set(plain(add.path), add)
}

function naiveAppended(from: Snapshot, to: Snapshot): readonly LiveFile[] | undefined {
  const place = (file: LiveFile | undefined): string => `${file?.key} ${file?.modificationTime}`
  const isSame = from.files.every((file, i) => place(to.files[i]) === place(file))
  const types = (snapshot: Snapshot): string => JSON.stringify(snapshot.schema)
  return isSame && types(from) === types(to) ? to.files.slice(from.files.length) : undefined
}

async function withoutCheckpoints(store: ObjectStore): Promise<ObjectStore> {
  const copy = memoryStore()
  for (const { path } of await store.list(''))
    if (parseLogFile(path)?.kind === 'commit') await copy.write(path, await store.read(path))
  return copy
}

describe('a snapshot that follows the log', () => {
  test('is one that was made from scratch, whatever other writers did, and so is one from a checkpoint', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = generator(seed)
      const store = memoryStore()
      await foreignTable(store, { metaData: { ...METADATA, schemaString: schemaString('integer') } })
      const following = await openTable(store)
      const versions: Snapshot[] = [following.snapshot]
      const files = new Map<string, AddAction>()
      for (let version = 1n; version <= 25n; version++) {
        const actions = [...randomActions(files, random), { commitInfo: {} }]
        noted(files, actions, store.location)
        await commitLines(store, version, actions)
        await following.refresh()
        versions.push(following.snapshot)
        if (random(6) === 0) await following.checkpoint()
        if (random(3) > 0) continue
        const said = `seed ${seed}, version ${version}`
        const scratch = (await openTable(await withoutCheckpoints(store))).snapshot
        expect([said, essence(following.snapshot)]).toEqual([said, essence(scratch)])
        const tombstones = { tombstones: undefined }
        expect([said, { ...essence((await openTable(store)).snapshot), ...tombstones }]).toEqual([
          said,
          { ...essence(scratch), ...tombstones },
        ])
        expect(scratch.files.map(({ path }) => path).toSorted()).toEqual([...files.keys()].toSorted())
        for (const file of scratch.files)
          expect(vectorId(file.vector)).toBe(vectorId(files.get(file.path)!.deletionVector))
        versions[versions.length - 1] = random(2) === 0 ? scratch : following.snapshot
      }
      for (let i = 0; i < 100; i++) {
        const from = versions[random(versions.length)]!
        const to = versions[random(versions.length)]!
        const expected = naiveAppended(from, to)
        expect(appendedFiles(from, to)?.map(({ key }) => key)).toEqual(expected?.map(({ key }) => key))
      }
    }
  })
})

describe('a new version of a table of many files', () => {
  const FILES = 20_000
  const path = (i: number): string => `f${String(i).padStart(6, '0')}.parquet`
  const add = (i: number): object => ({
    add: {
      path: path(i),
      partitionValues: {},
      size: 1,
      modificationTime: i,
      dataChange: true,
      stats: '{"numRecords":1}',
    },
  })
  const remove = (i: number): object => ({ remove: { path: path(i), dataChange: true, deletionTimestamp: 1 } })

  test('costs its own actions, and not those of the versions before', async () => {
    const store = memoryStore()
    await foreignTable(store)
    await commitLines(
      store,
      1n,
      Array.from({ length: FILES }, (_, i) => add(i)),
    )
    await commitLines(
      store,
      2n,
      Array.from({ length: FILES / 2 }, (_, i) => remove(i)),
    )
    const table = await openTable(store)
    const { live, state } = table.snapshot
    expect([live.size, state.tombstones.size]).toEqual([FILES / 2, FILES / 2])
    // The first change puts the files in order.
    await commitLines(store, 3n, [add(FILES + 1), remove(FILES - 2), { commitInfo: {} }])
    await table.refresh()
    let looks = 0
    const names = ['key', 'hash', 'modificationTime'] as const
    const getters = names.map(name => Object.getOwnPropertyDescriptor(LiveFile.prototype, name)!)
    for (const [i, name] of names.entries()) {
      const counted = function (this: LiveFile): unknown {
        looks++
        return getters[i]!.get!.call(this)
      }
      Object.defineProperty(LiveFile.prototype, name, { ...getters[i], get: counted })
    }
    const walks = spyOn(TextMap.prototype, Symbol.iterator as never)
    try {
      await commitLines(store, 4n, [add(FILES), remove(FILES - 1), { commitInfo: {} }])
      const { version } = await table.refresh()
      expect(version).toBe(4n)
      // A few looks for each level of a tree; a look at each file would be ten thousand.
      expect(looks).toBeGreaterThan(0)
      expect(looks).toBeLessThan(1000)
      expect(walks).not.toHaveBeenCalled()
    } finally {
      for (const [i, name] of names.entries()) Object.defineProperty(LiveFile.prototype, name, getters[i]!)
      walks.mockRestore()
    }
    expect(table.snapshot.live.size).toBe(FILES / 2)
  })
})

describe('one file under two spellings', () => {
  const add = (path: string): object => ({
    add: { path, partitionValues: {}, size: 1, modificationTime: 1, dataChange: true },
  })

  test('is one file: added twice it is there once, and removed under another spelling it is gone', async () => {
    const store = memoryStore()
    await foreignTable(store)
    await commitLines(store, 1n, [add('a%20b.parquet'), add('a b.parquet'), add('memory:/a%20b.parquet')])
    await commitLines(store, 2n, [add('%61%20b.parquet'), add('x%2520y.parquet'), add('x%20y.parquet')])
    const table = await openTable(store)
    expect(table.snapshot.files.map(({ path }) => path)).toEqual(['a b.parquet', 'x y.parquet', 'x%20y.parquet'])
    await commitLines(store, 3n, [{ remove: { path: 'a b.parquet', dataChange: true } }])
    for (const { files } of [await table.refresh(), (await openTable(store)).snapshot])
      expect(files.map(({ path }) => path)).toEqual(['x y.parquet', 'x%20y.parquet'])
  })

  test('that a path has with empty or dotted parts is refused', async () => {
    for (const path of ['./a.parquet', 'x//a.parquet', 'x/./a.parquet', '', 'a.parquet/', 'a%00.parquet']) {
      const store = memoryStore()
      await foreignTable(store)
      const table = await openTable(store)
      await commitLines(store, 1n, [add(path)])
      for (const look of [() => openTable(store), () => table.refresh()]) {
        const error = await failure(look)
        expect(error.code).toBe('corrupt_log')
        expect(error.message).toContain(`the path ${path} in the log leads to no file`)
      }
    }
  })

  test('with two vectors at once is damage, in a commit as in a checkpoint', async () => {
    const vector = { storageType: 'i', pathOrInlineDv: 'abcde', offset: 0, sizeInBytes: 4, cardinality: 1 }
    const both = [add('a%20b.parquet'), { add: { ...Object(add('a b.parquet')).add, deletionVector: vector } }]
    const store = memoryStore()
    await foreignTable(store)
    const table = await openTable(store)
    await commitLines(store, 1n, both.slice(0, 1))
    await table.refresh()
    await commitLines(store, 2n, both.slice(1))
    for (const look of [() => openTable(store), () => table.refresh()])
      expect((await failure(look)).message).toContain('adds the file a b.parquet twice')
    await store.write(commitPath(2n), new TextEncoder().encode('{"commitInfo":{}}\n'))
    const name = commitPath(2n).replace('.json', '.checkpoint.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json')
    const first = new TextDecoder().decode(await store.read(commitPath(0n)))
    const lines = [first.trim(), ...both.map(action => JSON.stringify(action))].join('\n')
    await store.write(name, new TextEncoder().encode(lines))
    await store.write(LAST_CHECKPOINT, new TextEncoder().encode('{"version":2}'))
    // The commits before it are there, and are not damaged.
    expect((await openTable(store)).snapshot.files.length).toBe(1)
    await store.delete(commitPath(0n))
    expect((await failure(() => openTable(store))).message).toContain('adds the file a b.parquet twice')
  })
})
