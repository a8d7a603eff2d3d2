import { describe, expect, test } from 'bun:test'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import type { AddAction } from '../../src/table/log/actions/index.ts'
import { commitPath } from '../../src/table/log/paths.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { writeVectors } from '../../src/table/vectors/store.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { append, failure, foreignTable, SCHEMA } from './fixture.ts'

type Json = string | number | boolean | null | Json[] | { [name: string]: Json }

/** One action of each kind, whole and right. */
const VECTOR = { storageType: 'i', pathOrInlineDv: 'abcde', offset: 0, sizeInBytes: 4, cardinality: 1 }
const ACTIONS: Readonly<Record<string, { [name: string]: Json }>> = {
  add: {
    path: 'a.parquet',
    partitionValues: { x: 'y' },
    size: 1,
    modificationTime: 1,
    dataChange: true,
    stats: '{"numRecords":7}',
    tags: { t: 'u' },
    deletionVector: VECTOR,
    baseRowId: 1,
    defaultRowCommitVersion: 1,
  },
  remove: {
    path: 'b.parquet',
    deletionTimestamp: 1,
    dataChange: true,
    extendedFileMetadata: true,
    partitionValues: { x: 'y' },
    size: 1,
    deletionVector: VECTOR,
  },
  metaData: {
    id: 'x',
    name: 'n',
    description: 'd',
    format: { provider: 'parquet', options: { a: 'b' } },
    schemaString: '{"type":"struct","fields":[{"name":"id","type":"long","nullable":true,"metadata":{}}]}',
    partitionColumns: ['id'],
    configuration: { c: 'd' },
    createdTime: 1,
  },
  protocol: {
    minReaderVersion: 3,
    minWriterVersion: 7,
    readerFeatures: ['deletionVectors'],
    writerFeatures: ['deletionVectors'],
  },
  txn: { appId: 'a', version: 1, lastUpdated: 1 },
  domainMetadata: { domain: 'd', configuration: '{}', removed: false },
}
const WRONG: readonly Json[] = ['x', '', 5, -1, 1.5, 1e300, true, [], [5], {}, { a: 5 }]

const put = (store: ObjectStore, version: bigint, text: string): Promise<void> =>
  store.write(commitPath(version), new TextEncoder().encode(text))

/** A table, and behind it a version with these lines: what opening it comes to. */
async function opened(lines: readonly string[]): Promise<string> {
  const store = memoryStore()
  await foreignTable(store)
  await put(store, 1n, lines.join('\n'))
  const table = await openTable(store).catch((error: unknown) => error)
  return table instanceof Error ? `${Object(table).code}: ${table.message}` : 'opened'
}

/** Whether a value may stand where another one that is right stands: the same kind of JSON, down to the members. */
function isAlike(right: Json, value: Json): boolean {
  if (Array.isArray(right)) return Array.isArray(value) && value.every(item => isAlike(right[0]!, item))
  if (typeof right === 'object' && right !== null) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
    return Object.values(value).every(item => isAlike(Object.values(right)[0]!, item))
  }
  if (typeof right === 'number') return typeof value === 'number' && Number.isSafeInteger(value)
  return typeof right === typeof value
}

/** Every member of an action, members of members too, as the path to it. */
function* membersOf(value: Json, path: readonly string[] = []): Generator<readonly string[]> {
  if (path.length > 0) yield path
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return
  for (const [name, inner] of Object.entries(value)) yield* membersOf(inner, [...path, name])
}

function withMember(value: Json, [name, ...rest]: readonly string[], member: Json): Json {
  if (name === undefined) return member
  const object = value as { [name: string]: Json }
  return { ...object, [name]: withMember(object[name]!, rest, member) }
}

function memberAt(value: Json, path: readonly string[]): Json {
  return path.reduce<Json>((inner, name) => (inner as { [name: string]: Json })[name]!, value)
}

describe('a member of an action', () => {
  test('that is right is taken', async () => {
    const lines = Object.entries(ACTIONS).map(([kind, action]) => JSON.stringify({ [kind]: action }))
    expect(await opened(lines.filter(line => !line.includes('metaData')))).toBe('opened')
  })

  for (const [kind, action] of Object.entries(ACTIONS))
    test(`of ${kind} that has the wrong type is named with the version, the line and the member`, async () => {
      for (const path of membersOf(action)) {
        for (const value of WRONG) {
          if (isAlike(memberAt(action, path), value) && value !== -1) continue
          const line = JSON.stringify({ [kind]: withMember(action, path, value) })
          const said = await opened(['{"commitInfo":{}}', line])
          if (value === -1 && !/corrupt_log/.test(said)) continue // Some numbers may be below zero.
          const where = `corrupt_log: memory:/${commitPath(1n)}, line 2: ${kind}.${path.join('.')}`
          expect(said).toStartWith(where)
        }
      }
      for (const value of WRONG.filter(value => typeof value !== 'object' || Array.isArray(value)))
        expect(await opened([JSON.stringify({ [kind]: value })])).toContain(`line 1: ${kind} is`)
    })

  test('that stands twice is named: only the last would be seen otherwise', async () => {
    const add = '{"path":"a.parquet","size":1,"modificationTime":1,"partitionValues":{}}'
    for (const [line, member] of [
      [`{"add":${add},"add":${add}}`, 'add'],
      [`{"add":{"path":"b.parquet",${add.slice(1)}}`, 'path'],
      [`{"add":{"p\\u0061th":"b.parquet",${add.slice(1)}}`, 'path'],
      ['{"txn":{"appId":"{\\"a\\":1,\\"a\\":2}","version":1,"version":1}}', 'version'],
      ['{"commitInfo":{"a":[{"b":1,"c":{"b":2}},{"b":1,"b":1}]}}', 'b'],
    ])
      expect(await opened([line!])).toContain(`line 1: the member ${member} is there twice`)
    expect(await opened([`{"add":${add.replace('a.parquet', 'x/a:\\":\\\\')}}`, '{"__proto__":{"a":1}}'])).toBe(
      'opened',
    )
  })
})

describe('a line of a commit', () => {
  test('that is longer than any action is refused before all of it is read', async () => {
    const store = memoryStore()
    await foreignTable(store)
    let read = 0
    const endless: ObjectStore = {
      ...store,
      read: async (path, start = 0, end = undefined) => {
        if (path !== commitPath(1n) || end === undefined) return store.read(path, start, end)
        read += end - start
        return new Uint8Array(end - start).fill(0x20)
      },
      list: async (prefix, startAfter) => [
        ...(await store.list(prefix, startAfter)),
        { path: commitPath(1n), sizeBytes: 2 ** 40, modifiedMs: 0 },
      ],
    }
    const error = await failure(() => openTable(endless))
    expect(error.code).toBe('corrupt_log')
    expect(error.message).toContain(`${commitPath(1n)}, line 1: the line is longer than 32 MiB`)
    expect(read).toBeLessThan(64 << 20)
  })

  test('may lie over the borders of the pieces in which a log entry is read', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA })
    await append(table, 0, 1)
    const info = JSON.stringify({ commitInfo: { note: 'ä'.repeat(9 << 20) } })
    const add = (i: number): string =>
      JSON.stringify({ add: { path: `${i}.parquet`, size: 1, modificationTime: 1, dataChange: true } })
    await put(store, 2n, [add(0), info, ...Array.from({ length: 5000 }, (_, i) => add(i))].join('\n'))
    expect((await openTable(store)).snapshot.files.length).toBe(5001)
    expect((await table.refresh()).files.length).toBe(5001)
  })
})

describe('metadata', () => {
  const column = (name: string, type: unknown, metadata: unknown = {}): object => ({
    name,
    type,
    nullable: true,
    metadata,
  })
  const nested = (depth: number): object =>
    JSON.parse(`${'{"type":"array","containsNull":true,"elementType":'.repeat(depth)}"long"${'}'.repeat(depth)}`)

  test.each([
    ['a column twice', { fields: [column('a', 'long'), column('a', 'long')] }, 'the schema has the column a twice'],
    ['a type without end', { fields: [column('a', nested(20_000))] }, 'nested more than 200 deep'],
    ['metadata of a column that is none', { fields: [column('a', 'long', 'x')] }, 'its metadata is not an object'],
    [
      'a partition column that is not there',
      { partitionColumns: ['b'] },
      'the partition column b is not in the schema',
    ],
    ['a partition column twice', { partitionColumns: ['a', 'a'] }, 'the partition column a is named twice'],
    ['files of another format', { provider: 'orc' }, 'files are of the format orc'],
  ])('with %s is refused in a sentence', async (_, { fields, partitionColumns, provider }: Metadata, sentence) => {
    const metaData = {
      id: 'x',
      format: { provider: provider ?? 'parquet', options: {} },
      schemaString: JSON.stringify({ type: 'struct', fields: fields ?? [column('a', 'long')] }),
      partitionColumns: partitionColumns ?? [],
      configuration: {},
    }
    expect(await opened([JSON.stringify({ metaData })])).toContain(sentence)
  })
})

interface Metadata {
  readonly fields?: object[]
  readonly partitionColumns?: string[]
  readonly provider?: string
}

describe('a deletion vector that does not fit its file', () => {
  /** A table of one file of 10 rows, whose add action is changed in the last version. */
  async function changed(change: (add: AddAction) => object): Promise<{ table: Table; store: ObjectStore }> {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA })
    await append(table, 0, 10)
    const { add } = table.snapshot.files[0]!
    await put(store, 2n, `${JSON.stringify({ remove: { path: add.path } })}\n${JSON.stringify({ add: change(add) })}`)
    return { table, store }
  }
  /** All rows up to `rows`, in a few bytes. */
  const allRows = async (rows: number): Promise<object> => {
    const [descriptor] = await writeVectors(memoryStore(), [
      Uint32Array.from({ length: Math.min(rows, 65_536) }, (_, i) => i),
    ])
    return { ...descriptor, cardinality: rows }
  }

  test('as the log tells is refused when the version is looked at', async () => {
    const deletionVector = await allRows(11)
    const { table, store } = await changed(add => ({ ...add, deletionVector }))
    for (const look of [() => openTable(store), () => table.refresh()]) {
      const error = await failure(look)
      expect(error.code).toBe('corrupt_log')
      expect(error.message).toContain('its deletion vector is damaged: it deletes 11 rows, the file has 10')
    }
  })

  test('as only the file tells is refused before it is read: the log may announce any number of rows', async () => {
    for (const stats of [
      undefined,
      '{"numRecords":4000000000}',
      '{"numRecords":1e99}',
      '{"numRecords":-5}',
      'nonsense',
    ]) {
      for (const cardinality of [3_000_000_000, 2 ** 53 - 1, 1_100_000]) {
        if (stats === '{"numRecords":4000000000}' && cardinality > 4e9) continue
        const deletionVector = await allRows(cardinality)
        const { store } = await changed(add => ({ ...add, stats, deletionVector }))
        const table = await openTable(store)
        const error = await failure(() => table.deletedRows(table.snapshot.files[0]!))
        expect(error.code).toBe('corrupt_log')
        expect(error.message).toContain(`it deletes ${cardinality} rows, the file has 10`)
      }
    }
  })

  test('as its bytes tell is refused', async () => {
    const [descriptor] = await writeVectors(memoryStore(), [Uint32Array.of(3, 10)])
    const { store } = await changed(add => ({ ...add, deletionVector: descriptor }))
    const table = await openTable(store)
    const error = await failure(() => table.deletedRows(table.snapshot.files[0]!))
    expect(error.message).toContain('it marks row 10, the file has 10')
    expect(error.message).toContain(table.snapshot.files[0]!.path)
  })
})
