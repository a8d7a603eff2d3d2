import { describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { createFromCsv } from '../../src/table/operations/import.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { actionsAt, append, foreignTable, readIds, readRows, remove, rows, SCHEMA } from './fixture.ts'

const PLAIN = { minReaderVersion: 1, minWriterVersion: 2 }

const vectorsOf = (table: Table): number => table.snapshot.files.filter(({ vector }) => vector !== undefined).length

describe('a table that was only appended to', () => {
  test('has a protocol that every reader knows', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    await append(table, 0, 3)
    expect(table.snapshot.protocol).toEqual(PLAIN)
    // Emptied as a whole, it needs no vectors either.
    const base = table.snapshot
    await commit(table, { base, operation: 'TRUNCATE', add: [], delete: [], removeFiles: base.files })
    await append(table, 3, 5)
    await remove(table, 0, [0, 1])
    expect(table.snapshot.protocol).toEqual(PLAIN)
    expect(await readIds(table)).toEqual([])
  })

  test('gets deletion vectors by the commit that first needs them, and the log tells', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    await append(table, 0, 5)
    await remove(table, 0, [1])
    const actions = await actionsAt(table.store, 2n)
    expect(actions.map(action => Object.keys(action)[0])).toEqual([
      'commitInfo',
      'protocol',
      'metaData',
      'remove',
      'add',
    ])
    expect(actions[1]!.protocol).toEqual({
      minReaderVersion: 3,
      minWriterVersion: 7,
      readerFeatures: ['deletionVectors'],
      writerFeatures: ['appendOnly', 'invariants', 'deletionVectors'],
    })
    expect(actions[2]!.metaData).toEqual({
      ...(await table.at(1n)).metadata.action,
      configuration: { 'delta.enableDeletionVectors': 'true' },
    })
    await remove(table, 0, [3])
    expect((await actionsAt(table.store, 3n)).map(action => Object.keys(action)[0])).toEqual([
      'commitInfo',
      'remove',
      'add',
    ])
    expect(await readIds(await openTable(table.store))).toEqual([0, 2, 4])
  })

  test('gets them once where two writers need them at the same time, and an append goes between', async () => {
    const store = memoryStore()
    const one = await createTable(store, { schema: SCHEMA })
    await append(one, 0, 5)
    const two = await openTable(store)
    const base = two.snapshot
    await append(one, 5, 7)
    await remove(one, 0, [1])
    await remove(two, 0, [2], base)
    expect(two.snapshot.version).toBe(4n)
    const kinds = (await actionsAt(store, 4n)).map(action => Object.keys(action)[0])
    expect(kinds).toEqual(['commitInfo', 'remove', 'add'])
    expect(await readIds(await openTable(store))).toEqual([0, 3, 4, 5, 6])
  })

  test('may get columns that need more', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    const transaction = table.begin()
    transaction.changeSchema([...SCHEMA, ...parseDdl('at:timestamp_ntz')])
    await transaction.commit({ name: 'ADD COLUMNS' })
    expect(table.snapshot.protocol).toEqual({
      minReaderVersion: 3,
      minWriterVersion: 7,
      readerFeatures: ['timestampNtz'],
      writerFeatures: ['appendOnly', 'invariants', 'timestampNtz'],
    })
    await append(await openTable(table.store), 0, 0)
  })
})

describe('a table without deletion vectors', () => {
  test('stays plain, and its files are written anew', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA, deletionVectors: false })
    await append(table, 0, 5)
    await remove(table, 0, [1, 2])
    expect(table.snapshot.protocol).toEqual(PLAIN)
    expect(vectorsOf(table)).toBe(0)
    expect(await readIds(table)).toEqual([0, 3, 4])
  })

  test('of another writer keeps its protocol, too', async () => {
    const store = memoryStore()
    await foreignTable(store)
    const table = await openTable(store)
    await commit(table, {
      base: table.snapshot,
      operation: 'WRITE',
      add: await writeDataFiles(table, [rows(0, 5)]),
      delete: [],
    })
    await remove(table, 0, [1])
    expect(table.snapshot.protocol).toEqual(PLAIN)
    expect(vectorsOf(table)).toBe(0)
  })
})

describe('an import into partitions', () => {
  test('has a file for each value, whatever it is', async () => {
    using folder = temporaryFolder()
    const pool = new WorkerPool({ threads: 1 })
    const long = 'ü'.repeat(150)
    const values = [
      'a/b',
      'a=b',
      '100%',
      ' blank ',
      'naïve 𝄞',
      '',
      '__HIVE_DEFAULT_PARTITION__',
      long,
      `${long}!`,
      '..',
      '.',
    ]
    const csv = join(folder.path, 'in.csv')
    const quoted = (value: string): string => (value === '' ? '' : `"${value}"`)
    writeFileSync(
      csv,
      `id,p,day\n${values.map((value, i) => `${i},${quoted(value)},2026-01-0${(i % 2) + 1}`).join('\n')}\n`,
    )
    try {
      const store = localStore(join(folder.path, 'table'))
      const table = await createFromCsv(store, [csv], { pool, partitionColumns: ['p', 'day'] })
      expect(table.snapshot.partitionColumns).toEqual(['p', 'day'])
      expect(table.snapshot.files).toHaveLength(values.length)
      const again = await openTable(store)
      const found = new Map<number, unknown>()
      for (const [id, p] of await readRows(again)) found.set(Number(id), p)
      for (const [i, value] of values.entries()) expect(found.get(i)).toBe(value === '' ? null : value)
      for (const { path } of again.snapshot.files)
        for (const part of path.split('/')) expect(Buffer.byteLength(part)).toBeLessThanOrEqual(255)
    } finally {
      await pool.close()
    }
  })

  test('is refused by columns that are not there, before anything is written', async () => {
    using folder = temporaryFolder()
    const pool = new WorkerPool({ threads: 1 })
    const csv = join(folder.path, 'in.csv')
    writeFileSync(csv, 'id,p\n1,a\n')
    try {
      const store = localStore(join(folder.path, 'table'))
      await expect(createFromCsv(store, [csv], { pool, partitionColumns: ['q'] })).rejects.toThrow(
        'the partition column q is not in the schema',
      )
      expect(await store.list('')).toEqual([])
    } finally {
      await pool.close()
    }
  })
})
