import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Batch } from '../../src/columns/types.ts'
import { constantVector } from '../../src/columns/vectors.ts'
import { messageOf } from '../../src/core/errors.ts'
import { localStore } from '../../src/storage/local.ts'
import { type ObjectStore, StorageError } from '../../src/storage/object-store.ts'
import { namedFiles } from '../../src/table/commit/file-actions.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { createFromCsv } from '../../src/table/operations/import.ts'
import { truncate } from '../../src/table/operations/truncate.ts'
import { committed, openTable, type Table, type Transaction } from '../../src/table/table.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { actionsAt, append, readIds, remove, rows, SCHEMA } from './fixture.ts'

const pool = new WorkerPool({ threads: 2 })
afterAll(() => pool.close())

const WRITE = { name: 'WRITE' }
const ROWS = 9000
/** So many deleted rows that their vector needs a file of its own. */
const MANY = 2000

/** Everything below a folder, folders too. */
function everything(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder, { recursive: true }).map(String).sort() : []
}

/** The files of a table that are no log, and what the log names. */
async function dataAndNamed(folder: string, store: ObjectStore, newest: bigint): Promise<[string[], string[]]> {
  const log = new Set<string>()
  for (let version = 0n; version <= newest; version++)
    for (const path of namedFiles(store, await actionsAt(store, version))) log.add(path)
  const files = (await localStore(folder).list('')).map(({ path }) => path).filter(path => !path.startsWith('_'))
  return [files, [...log].sort()]
}

interface Kind {
  readonly what: string
  readonly configuration?: Readonly<Record<string, string>>
  readonly partitionColumns?: readonly string[]
}

/** Changes write vectors beside the data, files anew, or folders of partitions. */
const KINDS: readonly Kind[] = [
  { what: 'with deletion vectors' },
  { what: 'without deletion vectors', configuration: { 'delta.enableDeletionVectors': 'false' } },
  { what: 'with partitions', partitionColumns: ['name'] },
]

function named(name: string, from: number, to: number): Batch {
  const { vectors } = rows(from, to)
  return { rows: to - from, vectors: [vectors[0]!, constantVector({ kind: 'string' }, to - from, name)] }
}

async function tableOf(folder: string, { configuration = {}, partitionColumns = [] }: Kind): Promise<Table> {
  const table = await createTable(localStore(folder), { schema: SCHEMA, configuration, partitionColumns })
  await using transaction = table.begin()
  await transaction.write([named('zero', 0, ROWS)])
  committed(await transaction.commit(WRITE))
  return table
}

/** New rows of two partitions, and rows less in the file that is there. */
async function change(transaction: Transaction): Promise<void> {
  await transaction.write([named('one', ROWS, ROWS + 10), named('two', ROWS + 10, ROWS + 20)])
  const file = transaction.base.files[0]!
  transaction.deleteRows({ file, rows: Uint32Array.from({ length: MANY }, (_, i) => i * 3) })
}

async function* thenFails(): AsyncGenerator<Batch> {
  yield named('three', 0, 10)
  yield named('four', 0, 10)
  throw new Error('the rows end in an error')
}

function failing(store: ObjectStore, changes: Partial<ObjectStore>): ObjectStore {
  const { location } = store
  return {
    location,
    localPath: path => store.localPath(path),
    read: (...args) => store.read(...args),
    stat: path => store.stat(path),
    list: (...args) => store.list(...args),
    write: (...args) => store.write(...args),
    create: path => store.create(path),
    putIfAbsent: (...args) => store.putIfAbsent(...args),
    delete: path => store.delete(path),
    deleteMany: paths => store.deleteMany(paths),
    ...changes,
  }
}

const broken = (): never => {
  throw new StorageError('io', 'the disk reported an error')
}

const isVector = (path: string): boolean => path.endsWith('.bin')

/** Ways in which a transaction ends that is not committed, and how it is told. */
const ENDINGS: readonly (readonly [
  how: string,
  run: (table: Table, transaction: Transaction, stop: AbortController) => Promise<unknown>,
  told: string,
])[] = [
  ['by being left', async () => undefined, 'undefined'],
  ['by rows that cannot be had', (_, transaction) => transaction.write(thenFails()), 'end in an error'],
  [
    'by rows that the columns refuse',
    (_, transaction) => {
      transaction.changeSchema(SCHEMA.map(field => ({ ...field, nullable: false })))
      return transaction.write([named('fine', 0, 1), { ...rows(0, 1), vectors: [rows(0, 1).vectors[0]!, NO_NAME] }])
    },
    'NOT NULL',
  ],
  [
    'by a conflict',
    async (table, transaction) => {
      await remove(await openTable(table.store), 0, [0])
      return (await transaction.commit(WRITE)).kind
    },
    'conflict',
  ],
  [
    'by a signal before the commit',
    (_, transaction, stop) => {
      stop.abort(new Error('Ctrl-C'))
      return transaction.commit(WRITE)
    },
    'Ctrl-C',
  ],
  [
    'by a signal while rows are written',
    (_, transaction, stop) =>
      transaction.write(
        (function* () {
          yield named('five', 0, 10)
          stop.abort(new Error('Ctrl-C'))
          yield named('six', 0, 10)
        })(),
      ),
    'Ctrl-C',
  ],
  [
    'by columns that are none',
    (_, transaction) => {
      transaction.changeSchema([...SCHEMA, ...SCHEMA])
      return transaction.commit(WRITE)
    },
    'cannot have these columns',
  ],
]

const NO_NAME = constantVector({ kind: 'string' }, 1, null)

for (const kind of KINDS) {
  describe(`a transaction on a table ${kind.what}`, () => {
    test('that is committed leaves the files that the log names, and no others', async () => {
      using folder = temporaryFolder()
      const table = await tableOf(folder.path, kind)
      {
        await using transaction = table.begin()
        await change(transaction)
        const result = await transaction.commit(WRITE)
        expect(result).toMatchObject({ kind: 'committed', version: 2n })
      }
      const [files, log] = await dataAndNamed(folder.path, table.store, 2n)
      expect(files).toEqual(log)
      expect((await readIds(await openTable(table.store))).length).toBe(ROWS + 20 - MANY)
    })

    for (const [how, run, told] of ENDINGS) {
      test(`that ends ${how} leaves nothing`, async () => {
        using folder = temporaryFolder()
        const table = await tableOf(folder.path, kind)
        const before = everything(folder.path).filter(name => !name.startsWith('_delta_log'))
        const stop = new AbortController()
        const ended = async (): Promise<unknown> => {
          await using transaction = table.begin(table.snapshot, { signal: stop.signal })
          await change(transaction)
          return await run(table, transaction, stop)
        }
        expect(String(await ended().catch(messageOf))).toContain(told)
        // Not what the other writer did, who was quicker.
        const [files, log] = await dataAndNamed(folder.path, table.store, (await table.refresh()).version)
        expect(files).toEqual(log)
        if (how !== 'by a conflict')
          expect(everything(folder.path).filter(name => !name.startsWith('_delta_log'))).toEqual(before)
      })
    }

    test('that the store fails leaves nothing, wherever it does', async () => {
      for (const part of ['vector', 'close', 'put'] as const) {
        using folder = temporaryFolder()
        await tableOf(folder.path, kind)
        const inner = localStore(folder.path)
        const before = everything(folder.path)
        const table = await openTable(
          failing(inner, {
            write: (path, bytes) => (part === 'vector' && isVector(path) ? broken() : inner.write(path, bytes)),
            create: async path => {
              const out = await inner.create(path)
              return part !== 'close'
                ? out
                : { write: bytes => out.write(bytes), close: broken, abort: () => out.abort() }
            },
            putIfAbsent: (path, bytes) => (part === 'put' ? broken() : inner.putIfAbsent(path, bytes)),
          }),
        )
        const run = async (): Promise<unknown> => {
          await using transaction = table.begin()
          await change(transaction)
          return await transaction.commit(WRITE)
        }
        if (part === 'vector' && kind.configuration !== undefined) continue
        expect(await run().catch(messageOf)).toBe('the disk reported an error')
        expect(everything(folder.path)).toEqual(before)
      }
    })

    test('of which nobody can tell whether it is in the log keeps its files', async () => {
      using folder = temporaryFolder()
      await tableOf(folder.path, kind)
      const inner = localStore(folder.path)
      let isDown = false
      const table = await openTable(
        failing(inner, {
          read: (...args) => (isDown ? broken() : inner.read(...args)),
          putIfAbsent: async (path, bytes) => {
            isDown = true
            await inner.putIfAbsent(path, bytes)
            return broken()
          },
        }),
      )
      const run = async (): Promise<unknown> => {
        await using transaction = table.begin()
        await change(transaction)
        return await transaction.commit(WRITE)
      }
      expect(await run().catch(error => error)).toMatchObject({ code: 'undecided' })
      const [files, log] = await dataAndNamed(folder.path, inner, 2n)
      expect(files).toEqual(log)
      expect((await readIds(await openTable(inner))).length).toBe(ROWS + 20 - MANY)
    })

    test('that others overtake prepares its files once', async () => {
      using folder = temporaryFolder()
      await tableOf(folder.path, kind)
      const inner = localStore(folder.path)
      const other = await openTable(inner)
      const made: string[] = []
      let overtaken = 0
      const table = await openTable(
        failing(inner, {
          write: async (path, bytes) => {
            made.push(path)
            await inner.write(path, bytes)
          },
          create: async path => {
            made.push(path)
            return inner.create(path)
          },
          putIfAbsent: async (path, bytes) => {
            if (overtaken++ < 3) await append(other, 1_000_000 + overtaken, 1_000_001 + overtaken)
            return inner.putIfAbsent(path, bytes)
          },
        }),
      )
      await using transaction = table.begin()
      await change(transaction)
      expect(await transaction.commit(WRITE)).toMatchObject({ kind: 'committed', version: 5n })
      const [files, log] = await dataAndNamed(folder.path, inner, 5n)
      expect(files).toEqual(log)
      // All that was made is in the log: nothing was made for an attempt that failed.
      expect(made.filter(path => !files.includes(path) && !path.startsWith('_delta_log'))).toEqual([])
    })
  })
}

describe('a transaction', () => {
  test('that is overtaken by one that touched the same file makes a new vector, and takes the old one away', async () => {
    using folder = temporaryFolder()
    await tableOf(folder.path, { what: '' })
    const inner = localStore(folder.path)
    const other = await openTable(inner)
    let isFirst = true
    const table = await openTable(
      failing(inner, {
        putIfAbsent: async (path, bytes) => {
          if (isFirst) {
            isFirst = false
            await remove(other, 0, [1])
          }
          return inner.putIfAbsent(path, bytes)
        },
      }),
    )
    await using transaction = table.begin()
    await change(transaction)
    expect(await transaction.commit(WRITE)).toMatchObject({ kind: 'committed', version: 3n })
    const [files, log] = await dataAndNamed(folder.path, inner, 3n)
    expect(files).toEqual(log)
    expect((await readIds(await openTable(inner))).length).toBe(ROWS + 20 - MANY - 1)
  })

  test('without a change is no version, and of a lost race says so as a value', async () => {
    using folder = temporaryFolder()
    const table = await tableOf(folder.path, { what: '' })
    expect(await table.begin().commit(WRITE)).toMatchObject({ kind: 'unchanged', version: 1n })
    const base = table.snapshot
    await append(await openTable(table.store), 0, 1)
    await using late = table.begin(base)
    late.readWholeTable()
    await late.write([named('late', 0, 1)])
    const result = await late.commit(WRITE)
    expect(result.kind).toBe('conflict')
    expect(() => committed(result)).toThrow('another writer changed rows')
    const emptied = await truncate(table.begin())
    expect(emptied).toMatchObject({ rows: ROWS + 1, result: { kind: 'committed', version: 3n } })
  })

  test('takes a damaged hint of order for none, in the file that it adds as in one that is there', async () => {
    for (const refs of ['not JSON', '{}', '[1]', 'null']) {
      using folder = temporaryFolder()
      const table = await tableOf(folder.path, { what: '' })
      const tags = new Map([['posixlake.order.refs', refs]])
      const all = (count: number): Uint32Array => Uint32Array.from({ length: count }, (_, i) => i)
      for (const count of [ROWS, 10]) {
        await using transaction = table.begin()
        const file = table.snapshot.files[0]!
        // The file loses its last row, so that the hints of the others are asked whether it has to stay as a place.
        transaction.deleteRows({ file, rows: all(count) })
        const [added] = await transaction.write([named('new', 0, 10)])
        await using hinted = table.begin()
        hinted.deleteRows({ file, rows: all(count) })
        hinted.addFile({ ...added!, tags })
        expect(await hinted.commit(WRITE)).toMatchObject({ kind: 'committed' })
        expect(table.snapshot.files.map(({ orderRefs }) => orderRefs)).toEqual([[]])
      }
    }
  })

  test('does not take away a file that it was given', async () => {
    using folder = temporaryFolder()
    const table = await tableOf(folder.path, { what: '' })
    const before = everything(folder.path)
    {
      await using transaction = table.begin()
      const { path, sizeBytes, add } = table.snapshot.files[0]!
      transaction.addFile({ path, sizeBytes, rows: ROWS, stats: add.stats!, partitionValues: {} })
    }
    expect(everything(folder.path)).toEqual(before)
  })
})

describe('a table that is made of files', () => {
  test('and is not, as the work is ended, leaves no file and no folder', async () => {
    using folder = temporaryFolder()
    const csv = join(folder.path, 'in.csv')
    writeFileSync(csv, `id,n\n${Array.from({ length: 100_000 }, (_, i) => `${i},${i}`).join('\n')}\n`)
    const before = everything(folder.path)
    const stop = new AbortController()
    const progress = (): void => stop.abort(new Error('Ctrl-C'))
    const target = localStore(join(folder.path, 'deep', 'table'))
    const ended = createFromCsv(target, [csv], { pool, progress, signal: stop.signal })
    expect(await ended.then(() => 'done', messageOf)).toBe('Ctrl-C')
    expect(everything(folder.path)).toEqual(before)
  })

  test('and is not, as another one was quicker, leaves that one alone', async () => {
    using folder = temporaryFolder()
    const csv = join(folder.path, 'in.csv')
    const at = join(folder.path, 'table')
    writeFileSync(csv, 'id,name\n1,a\n')
    const quicker = failing(localStore(at), {
      putIfAbsent: async (path, bytes) => {
        await createTable(localStore(at), { schema: SCHEMA })
        return localStore(at).putIfAbsent(path, bytes)
      },
    })
    const late = createFromCsv(quicker, [csv], { pool })
    expect(await late.then(() => 'done', messageOf)).toContain('there is a table already')
    expect(everything(at)).toEqual(['_delta_log', '_delta_log/00000000000000000000.json'])
  })
})
