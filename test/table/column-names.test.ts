import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TextError } from '../../src/columns/errors.ts'
import { ParquetFileWriter } from '../../src/columns/parquet/write.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { parseHeader } from '../../src/columns/text/csv.ts'
import type { DataType, Field, Schema } from '../../src/columns/types.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { createFromParquet } from '../../src/table/operations/import.ts'
import { openTable } from '../../src/table/table.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { serveNew } from '../fs/served.ts'
import { commit } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { foreignTable } from './fixture.ts'

const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

const column = (name: string, type: DataType = { kind: 'long' }): Field => ({
  name,
  type,
  nullable: true,
  metadata: {},
})
const struct = (...names: string[]): DataType => ({ kind: 'struct', fields: names.map(name => column(name)) })

/** Columns that a table cannot have, and what is said of them. */
const FAULTY: readonly (readonly [Schema, string])[] = [
  [[column('x'), column('x')], 'the column x is named twice'],
  [[column('x'), column('X')], 'the column X is named twice: x and X differ in case only'],
  [[column('Ä'), column('ä')], 'the column ä is named twice: Ä and ä differ in case only'],
  [[column('x'), column('')], 'column 2 has no name'],
  [[column('x'), column('a\0b')], 'the name of column 2 holds a byte 0: "a\\u0000b"'],
  [[column('s', struct('a', 'A'))], 'inside column s: the column A is named twice: a and A differ in case only'],
  [[column('s', struct('a', ''))], 'inside column s: column 2 has no name'],
  [
    [column('s', { kind: 'array', element: struct('a', 'a'), containsNull: true })],
    'inside column s: the column a is named twice',
  ],
  [
    [column('m', { kind: 'map', key: { kind: 'string' }, value: struct('b', 'b'), valueContainsNull: true })],
    'inside column m: the column b is named twice',
  ],
]

async function message(run: () => unknown): Promise<string> {
  try {
    await run()
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('it was taken')
}

describe('columns that no table can have are refused, by their names', () => {
  test('wherever a table is made, or gets columns', async () => {
    for (const [schema, sentence] of FAULTY) {
      expect(await message(() => createTable(memoryStore(), { schema }))).toContain(sentence)
      const table = await createTable(memoryStore(), { schema: parseDdl('id:Int64') })
      const change = { base: table.snapshot, operation: 'WRITE', add: [], delete: [] }
      expect(
        await message(() => commit(table, { ...change, schema: [...table.snapshot.schema, ...schema] })),
      ).toContain(sentence.replace(/column 2/, schema[1] === undefined ? 'column 2' : 'column 3'))
      expect(table.snapshot.version).toBe(0n)
    }
  })

  test('in Parquet files, which are named, and nothing is left behind', async () => {
    using folder = temporaryFolder()
    for (const [i, [schema, sentence]] of FAULTY.entries()) {
      const pieces: Uint8Array[] = []
      const writer = new ParquetFileWriter({ write: bytes => void pieces.push(bytes) }, schema)
      const row = schema.map(({ type }) => (type.kind === 'long' ? 1n : null))
      await writer.write(
        batchOf(
          schema.map(({ type }) => type),
          [row],
        ),
      )
      await writer.finish()
      const path = join(folder.path, `${i}.parquet`)
      writeFileSync(path, Buffer.concat(pieces))
      expect(await message(() => createFromParquet(localStore(join(folder.path, 'table')), [path], { pool }))).toBe(
        `${path}: ${sentence}; rename it in the file first`,
      )
      expect(existsSync(join(folder.path, 'table'))).toBe(false)
    }
  })

  test('in the columns of --schema, and in the header of CSV', async () => {
    for (const ddl of ['x:Int8,x:Int8', 'x:Int8,X:Int8', 's:struct<a:int,A:int>', 's:struct<>'])
      expect([ddl, await message(() => parseDdl(ddl))]).toEqual([ddl, expect.stringMatching(/named twice|no fields/)])
    for (const header of ['x,x', 'x,X', 'x,', '"",x'])
      expect(() => parseHeader(new TextEncoder().encode(header))).toThrow(TextError)
  })

  test('in a save whose header adds them', async () => {
    await using s = await serveNew('id:Int64,name:String', '1,Alice\n')
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, 'id,name,Name\n1,Alice,x\n').catch(() => undefined)
    expect([await s.commits(), await s.read()]).toEqual([0, 'id,name\n1,Alice\n'])
    expect(await s.read('.errors')).toContain('the column Name is named twice: name and Name differ in case only')
  })

  test('but another writer’s table that has them already is read', async () => {
    const store = memoryStore()
    const fields = ['x', 'X'].map(name => ({ name, type: 'long', nullable: true, metadata: {} }))
    await foreignTable(store, { schema: { type: 'struct', fields } })
    expect((await openTable(store)).snapshot.schema.map(({ name }) => name)).toEqual(['x', 'X'])
  })
})
