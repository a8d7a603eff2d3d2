import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import { messageOf } from '../../src/core/errors.ts'
import { csvOf, execute } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { writeVectors } from '../../src/table/vectors/store.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { append, commitLines, failure, foreignTable, readIds, remove, SCHEMA } from './fixture.ts'

const VECTORS = {
  protocol: {
    minReaderVersion: 3,
    minWriterVersion: 7,
    readerFeatures: ['deletionVectors'],
    writerFeatures: ['deletionVectors'],
  },
  metaData: { configuration: { 'delta.enableDeletionVectors': 'true' } },
}

/** All files of a folder, with their bytes. */
function contents(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  return Object.fromEntries(
    names.map(entry => {
      const path = join(entry.parentPath, entry.name)
      return [path, readFileSync(path).toBase64()]
    }),
  )
}

/** A table with rows 0 to 5 in one file, in a folder whose name has to be encoded. */
async function source(folder: string): Promise<Table> {
  const table = await createTable(localStore(join(folder, 'a b%20c')), { schema: parseDdl('id:Int64,name:String') })
  await append(table, 0, 5)
  return table
}

/** A table in `clone` whose log names the file of another one. */
async function cloneOf(
  from: Table,
  to: string,
  spell: (path: string) => string,
  changes: object = VECTORS,
): Promise<Table> {
  const store = localStore(to)
  await foreignTable(store, changes)
  const { add } = from.snapshot.files[0]!
  const path = spell(`${from.store.location}/${add.path}`)
  const { tags: _, ...others } = add
  await commitLines(store, 1n, [{ add: { ...others, path } }])
  return openTable(store)
}

const encoded = (path: string): string => encodeURI(path)

async function csv(table: Table, sql: string): Promise<string> {
  const outcome = await execute(table, sql)
  if (outcome.kind !== 'rows') throw new Error('there are no rows')
  return new TextDecoder().decode(Buffer.concat(await Array.fromAsync(csvOf(outcome.result))))
}

describe('a table whose log names files outside of it', () => {
  test.each([
    ['file:/', (path: string) => `file:${encoded(path)}`],
    ['file:///', (path: string) => `file://${encoded(path)}`],
    ['file://localhost/', (path: string) => `FILE://localhost${encoded(path)}`],
    ['a plain absolute path', encoded],
  ] as const)('is read by %s, by SQL too', async (_, spell) => {
    using folder = temporaryFolder()
    const clone = await cloneOf(await source(folder.path), join(folder.path, 'clone'), spell)
    expect(await readIds(clone)).toEqual([0, 1, 2, 3, 4])
    expect(await csv(clone, 'SELECT sum(id) AS sum FROM data WHERE id > 2')).toBe('sum\n7\n')
  })

  test('has deletion vectors there, too', async () => {
    using folder = temporaryFolder()
    const from = await source(folder.path)
    // So many rows that the vector is a file.
    await append(from, 5, 4000)
    const odd = Array.from({ length: 1900 }, (_, i) => 2 * i + 1)
    await remove(from, 1, odd)
    const { add } = from.snapshot.files[1]!
    expect(add.deletionVector?.storageType).toBe('u')
    const [name] = readdirSync(from.store.location).filter(each => each.endsWith('.bin'))
    const store = localStore(join(folder.path, 'clone'))
    await foreignTable(store, VECTORS)
    const deletionVector = {
      ...add.deletionVector,
      storageType: 'p',
      pathOrInlineDv: `file:${encoded(`${from.store.location}/${name}`)}`,
    }
    const path = `file:${encoded(`${from.store.location}/${add.path}`)}`
    await commitLines(store, 1n, [{ add: { ...add, path, deletionVector } }])
    const clone = await openTable(store)
    expect(await readIds(clone)).toEqual((await readIds(from)).slice(5))
    const kept = contents(from.store.location)
    await execute(clone, 'DELETE FROM data WHERE id < 100')
    expect((await readIds(await openTable(store)))[0]).toBe(101)
    expect(contents(from.store.location)).toEqual(kept)
  })

  test.each([
    ['by deletion vectors', VECTORS],
    ['by writing files anew', {}],
  ])('is changed %s, and nothing outside of it is', async (_, changes) => {
    using folder = temporaryFolder()
    const from = await source(folder.path)
    const before = contents(from.store.location)
    const clone = await cloneOf(from, join(folder.path, 'clone'), path => `file:${encoded(path)}`, changes)
    await execute(clone, "UPDATE data SET name = 'x' WHERE id = 3")
    await execute(clone, 'DELETE FROM data WHERE id = 1')
    await execute(clone, "INSERT INTO data VALUES (7, 'seven')")
    expect(await readIds(await openTable(localStore(clone.store.location)))).toEqual([0, 2, 4, 3, 7])
    await execute(clone, 'DELETE FROM data')
    expect(contents(from.store.location)).toEqual(before)
    for (const operation of [
      () => clone.store.delete(from.snapshot.files[0]!.path),
      () => clone.store.delete(`${from.store.location}/${from.snapshot.files[0]!.path}`),
      () => clone.store.write(join(folder.path, 'new'), new Uint8Array(1)),
      () => clone.store.create(join(folder.path, 'new')),
      () => clone.store.putIfAbsent(join(folder.path, 'new'), new Uint8Array(1)),
    ])
      await operation().catch(error => expect(messageOf(error)).toContain('is no path inside the store'))
    expect(contents(from.store.location)).toEqual(before)
    expect(readdirSync(folder.path).sort()).toEqual(['a b%20c', 'clone'])
  })

  test('knows its own files by absolute paths, and a file however its path is spelled', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const own = await createTable(store, { schema: SCHEMA })
    await append(own, 0, 2)
    const { add } = own.snapshot.files[0]!
    await commitLines(store, 2n, [
      { remove: { path: add.path, dataChange: false, deletionTimestamp: 0 } },
      { add: { ...add, path: `file://${folder.path}/${add.path}` } },
    ])
    const table = await openTable(store)
    expect(table.snapshot.files.map(({ path }) => path)).toEqual([add.path])
    await commitLines(store, 3n, [{ remove: { path: `${folder.path}/${add.path}`, dataChange: true } }])
    expect((await openTable(store)).snapshot.files).toEqual([])
  })

  test.each([
    [
      's3://bucket/x.parquet',
      'unsupported_feature',
      'the data file s3://bucket/x.parquet lies outside the table, on S3;',
    ],
    [
      's3a://bucket/x.parquet',
      'unsupported_feature',
      'the data file s3://bucket/x.parquet lies outside the table, on S3;',
    ],
    ['abfss://c@a/x', 'unsupported_feature', 'lies outside the table, where abfss: leads;'],
    ['file://host/x', 'unsupported_feature', 'lies outside the table, where file: leads;'],
    ['../x.parquet', 'unsupported_feature', "leads out of its folder by '..'"],
    ['a/%2e%2E/../x.parquet', 'unsupported_feature', "leads out of its folder by '..'"],
    ['file:/a/../x.parquet', 'unsupported_feature', "leads out of its folder by '..'"],
    ['%2Fetc%2Fpasswd', 'corrupt_log', 'in the log leads to no file'],
    ['file%3A/etc/passwd', 'corrupt_log', 'in the log leads to no file'],
    ['//etc/passwd', 'corrupt_log', 'in the log leads to no file'],
    ['/', 'corrupt_log', 'in the log leads to no file'],
    ['%zz', 'corrupt_log', 'is not percent-encoded as it should be'],
  ] as const)('is refused by a sentence for %s', async (path, code, sentence) => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    await foreignTable(store)
    const file = { partitionValues: {}, size: 1, modificationTime: 1, dataChange: true }
    await commitLines(store, 1n, [{ add: { ...file, path } }])
    const error = await failure(() => openTable(store))
    expect(error.message).toContain(sentence)
    expect(error.code).toBe(code)
  })

  test('is refused for a vector that lies elsewhere, when its rows are asked for', async () => {
    using folder = temporaryFolder()
    const from = await source(folder.path)
    const [vector] = await writeVectors(from.store, [Uint32Array.of(1)])
    for (const [storageType, pathOrInlineDv, sentence] of [
      ['p', 's3://bucket/x.bin', 'the deletion vector s3://bucket/x.bin lies outside the table, on S3;'],
      ['p', '/a/../x.bin', "leads out of its folder by '..'"],
      ['u', '/etcvBn[lx{q8@P<9BNH/isA', 'its folder is not one of the table'],
      ['u', '../..vBn[lx{q8@P<9BNH/isA', 'is no path inside the store'],
    ] as const) {
      const { add } = from.snapshot.files[0]!
      const store = localStore(join(folder.path, `${storageType}${sentence.length}`))
      await foreignTable(store, VECTORS)
      await commitLines(store, 1n, [
        { add: { ...add, path: 'a', deletionVector: { ...vector, storageType, pathOrInlineDv, offset: 1 } } },
      ])
      const table = await openTable(store)
      expect((await failure(() => table.deletedRows(table.snapshot.files[0]!))).message).toContain(sentence)
    }
  })

  test('does not show what is no file of a table', async () => {
    using folder = temporaryFolder()
    const secret = join(folder.path, 'secret')
    writeFileSync(secret, 'the password is x')
    const clone = await cloneOf(await source(folder.path), join(folder.path, 'clone'), () => secret)
    const said = await readIds(clone).then(
      () => '',
      error => messageOf(error),
    )
    expect(said).toBe(
      `${secret}: the log of ${clone.store.location} names this file, which is no data file of a table; it is not read`,
    )
    const pipe = join(folder.path, 'pipe')
    Bun.spawnSync(['mkfifo', pipe])
    const other = await cloneOf(await source(join(folder.path, 'x')), join(folder.path, 'other'), () => pipe)
    const answer = await other.store.read(pipe).catch(error => messageOf(error))
    expect(answer).toBe(`${pipe}: there is no such file`)
  })

  test('is refused where the table is not on a local disk', async () => {
    const store = memoryStore()
    await foreignTable(store)
    const file = { partitionValues: {}, size: 1, modificationTime: 1, dataChange: true }
    await commitLines(store, 1n, [{ add: { ...file, path: '/x' } }])
    expect((await failure(() => openTable(store))).message).toContain('lies outside the table, on a local disk;')
  })
})
