import { describe, expect, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import { parseDdl } from '../../src/columns/schema.ts'
import { messageOf } from '../../src/core/errors.ts'
import { execute } from '../../src/sql/engine.ts'
import type { SqlError } from '../../src/sql/errors.ts'
import type { WrittenFile } from '../../src/sql/written.ts'
import { localStore } from '../../src/storage/local.ts'
import { type ObjectStore, StorageError } from '../../src/storage/object-store.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

interface Faults {
  /** What becomes of the next commit: it fails before or after it took effect. */
  commit?: 'before' | 'after' | 'after, and the log' | undefined
  /** The log cannot be read. */
  log?: boolean
}

/** A store whose calls go wrong as they are told to. */
function faulty(store: ObjectStore, faults: Faults): ObjectStore {
  const broken = (path: string): StorageError => new StorageError('io', `${path}: the disk reported an error`)
  return {
    location: store.location,
    read: async (path, start, end) => {
      if (faults.log === true && path.startsWith('_delta_log/')) throw broken(path)
      return store.read(path, start, end)
    },
    stat: path => store.stat(path),
    list: (prefix, after) => store.list(prefix, after),
    write: (path, bytes) => store.write(path, bytes),
    create: path => store.create(path),
    putIfAbsent: async (path, bytes) => {
      const fault = faults.commit
      faults.commit = undefined
      if (fault === 'before') throw broken(path)
      const outcome = await store.putIfAbsent(path, bytes)
      if (fault === 'after, and the log') faults.log = true
      if (fault !== undefined) throw broken(path)
      return outcome
    },
    delete: path => store.delete(path),
    deleteMany: paths => store.deleteMany(paths),
    localPath: path => store.localPath(path),
  }
}

interface Bench {
  readonly table: Table
  readonly written: WrittenFile[]
  readonly faults: Faults
  files(): string[]
}

async function bench(folder: string, configuration: Record<string, string> = {}): Promise<Bench> {
  const written: WrittenFile[] = []
  const faults: Faults = {}
  const store = localStore(folder, { onWrite: (temporary, path) => void written.push({ temporary, path }) })
  await createTable(store, { schema: parseDdl('id:Int64,name:String'), configuration })
  const table = await openTable(faulty(store, faults))
  await execute(table, `INSERT INTO data VALUES (1, 'a'), (2, 'b'), (3, 'c')`)
  written.length = 0
  return { table, written, faults, files: () => readdirSync(folder).sort() }
}

async function codeOf(run: Promise<unknown>): Promise<string> {
  return run.then(
    () => 'done',
    (error: SqlError) => error.code,
  )
}

const STATEMENTS: readonly (readonly [string, object])[] = [
  [`INSERT INTO data SELECT id + 10, name FROM data`, { inserted: 3, updated: 0, deleted: 0 }],
  [`UPDATE data SET name = 'x' WHERE id < 3`, { inserted: 0, updated: 2, deleted: 0 }],
  ['DELETE FROM data WHERE id = 2', { inserted: 0, updated: 0, deleted: 1 }],
  [
    `MERGE INTO data USING (VALUES (1), (9)) s(id) ON data.id = s.id
      WHEN MATCHED THEN UPDATE SET name = 'm' WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)`,
    { inserted: 1, updated: 1, deleted: 0 },
  ],
  ['TRUNCATE data', { inserted: 0, updated: 0, deleted: 3 }],
]
/** With and without deletion vectors, files are written in other places. */
const TABLES = [{}, { 'delta.enableDeletionVectors': 'false' }]

describe('a statement whose commit fails', () => {
  test('has succeeded if it is in the log all the same', async () => {
    for (const configuration of TABLES) {
      for (const [sql, counts] of STATEMENTS) {
        using folder = temporaryFolder()
        const { table, written, faults } = await bench(folder.path, configuration)
        faults.commit = 'after'
        expect(await execute(table, sql, { written })).toEqual({ kind: 'changed', version: 2n, ...counts } as never)
        expect(written).toEqual([])
        const again = await openTable(localStore(folder.path))
        expect(again.snapshot.version).toBe(2n)
        // Every file that the version names is there.
        for (const file of again.snapshot.files) expect(await again.store.stat(file.path)).toBeDefined()
        for (const file of again.snapshot.files) await again.deletedRows(file)
      }
    }
  })

  test('has changed nothing and left nothing if it is not', async () => {
    for (const configuration of TABLES) {
      for (const [sql] of STATEMENTS) {
        using folder = temporaryFolder()
        const { table, written, faults, files } = await bench(folder.path, configuration)
        const before = files()
        faults.commit = 'before'
        expect(await codeOf(execute(table, sql, { written }))).toBe('io')
        expect({ sql, files: files() }).toEqual({ sql, files: before })
        expect((await table.refresh()).version).toBe(1n)
        expect(await execute(table, sql, { written })).toMatchObject({ version: 2n })
      }
    }
  })

  test('says that nobody can tell while the log cannot be read, and takes nothing away that may be needed', async () => {
    using folder = temporaryFolder()
    const { table, written, faults, files } = await bench(folder.path)
    faults.commit = 'after, and the log'
    expect(await codeOf(execute(table, `INSERT INTO data VALUES (4, 'd')`, { written }))).toBe('undecided')
    expect(files()).toHaveLength(3)
    faults.log = false
    const { files: live } = await table.refresh()
    for (const file of live) expect(await table.store.stat(file.path)).toBeDefined()
  })
})

describe('a statement that another writer gets in the way of', () => {
  test('leaves no file of its attempts', async () => {
    using folder = temporaryFolder()
    const { table, written, files } = await bench(folder.path)
    const other = await openTable(localStore(folder.path))
    let isFirst = true
    const begin = table.begin.bind(table)
    table.begin = (...args) => {
      const transaction = begin(...args)
      const commit = transaction.commit.bind(transaction)
      transaction.commit = async operation => {
        if (isFirst) {
          isFirst = false
          await execute(other, `UPDATE data SET name = 'theirs' WHERE id = 2`)
        }
        return commit(operation)
      }
      return transaction
    }
    const before = files().length
    expect(await execute(table, `UPDATE data SET name = 'ours' WHERE id <= 2`, { written })).toMatchObject({
      version: 3n,
      updated: 2,
    })
    // One file of theirs, one of ours; vectors as small as these stand in the log.
    expect(files()).toHaveLength(before + 2)
  })
})

describe('a statement that fails while its rows are written', () => {
  test('leaves none of its files, and none of their folders', async () => {
    using folder = temporaryFolder()
    const schema = parseDdl('id:Int64,key:Binary')
    const table = await createTable(localStore(folder.path), { schema, partitionColumns: ['key'] })
    const before = readdirSync(folder.path, { recursive: true })
    // The last value has no text in the log: by then ten files have been begun.
    const sql = `INSERT INTO data SELECT i, CASE WHEN i < 10 THEN encode('k' || i) ELSE from_hex('ff') END FROM range(11) t(i)`
    expect(await execute(table, sql).then(() => 'done', messageOf)).toContain('cannot be a partition value')
    expect(readdirSync(folder.path, { recursive: true })).toEqual(before)
    expect(await execute(table, sql.replace('range(11)', 'range(10)'))).toMatchObject({ inserted: 10 })
    expect((await table.refresh()).files.length).toBe(10)
  })
})
