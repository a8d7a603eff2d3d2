import { describe, expect, test } from 'bun:test'
import { ParquetFileWriter } from '../../src/columns/parquet/write.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import type { Cell } from '../../src/columns/types.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { csvOf, execute } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { encodeVariant } from '../columns/variant-encoder.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { commitLines, failure, foreignTable, readRows } from './fixture.ts'

const VECTORS = ['deletionVectors', 'variantType']
const PROTOCOL = { minReaderVersion: 3, minWriterVersion: 7, readerFeatures: VECTORS, writerFeatures: VECTORS }

/** A table by another writer: its columns in the log, and one file with other columns in it. */
async function foreign(
  store: ObjectStore,
  fields: readonly object[],
  inFile: string,
  rows: readonly (readonly Cell[])[],
  configuration: object = { 'delta.enableDeletionVectors': 'true' },
): Promise<Table> {
  await foreignTable(store, { protocol: PROTOCOL, metaData: { configuration }, schema: { type: 'struct', fields } })
  const schema = parseDdl(inFile)
  const parts: Uint8Array[] = []
  const writer = new ParquetFileWriter({ write: async bytes => void parts.push(bytes.slice()) }, schema)
  await writer.write(
    batchOf(
      schema.map(field => field.type),
      rows,
    ),
  )
  await writer.finish()
  const bytes = Buffer.concat(parts)
  await store.write('a.parquet', bytes)
  await commitLines(store, 1n, [
    { add: { path: 'a.parquet', partitionValues: {}, size: bytes.length, modificationTime: 1, dataChange: true } },
  ])
  return openTable(store)
}

function field(name: string, type: unknown): object {
  return { name, type, nullable: true, metadata: {} }
}

async function csv(table: Table, sql: string): Promise<string> {
  const outcome = await execute(table, sql)
  if (outcome.kind !== 'rows') throw new Error('there are no rows')
  return new TextDecoder().decode(Buffer.concat(await Array.fromAsync(csvOf(outcome.result))))
}

const variants = [1n, 2n, 3n].map((id): Cell[] => {
  const { metadata, value } = encodeVariant({
    members: [
      ['n', id],
      ['t', [null, 'x']],
    ],
  })
  return [id, id === 3n ? null : [metadata, value]]
})
const VARIANT_FIELDS = [field('id', 'long'), field('v', 'variant')]
const VARIANT_FILE = 'id:bigint, v:struct<metadata:binary,value:binary>'

describe('a table with a variant column', () => {
  test('is read, by SQL too', async () => {
    using folder = temporaryFolder()
    const table = await foreign(localStore(folder.path), VARIANT_FIELDS, VARIANT_FILE, variants)
    expect(await readRows(table)).toEqual([
      [1n, '{"n":1,"t":[null,"x"]}'],
      [2n, '{"n":2,"t":[null,"x"]}'],
      [3n, null],
    ])
    expect(await csv(table, "SELECT v->>'$.n' AS n, v->'t'->>1 AS t FROM data ORDER BY id")).toBe('n,t\n1,x\n2,x\n,\n')
  })

  test('loses rows by deletion vectors, and is not written to in any other way', async () => {
    using folder = temporaryFolder()
    const table = await foreign(localStore(folder.path), VARIANT_FIELDS, VARIANT_FILE, variants)
    for (const sql of ["INSERT INTO data VALUES (4, '1')", 'UPDATE data SET id = 5 WHERE id = 1'])
      expect((await failure(() => execute(table, sql))).message, sql).toStartWith(
        'the column v is a VARIANT, which posixlake reads and does not write',
      )
    await execute(table, 'DELETE FROM data WHERE id = 2')
    expect(table.snapshot.version).toBe(2n)
    expect((await readRows(table)).map(([id]) => id)).toEqual([1n, 3n])
  })

  test('without deletion vectors keeps all its rows', async () => {
    using folder = temporaryFolder()
    const nested = [field('id', 'long'), field('v', { type: 'array', elementType: 'variant', containsNull: true })]
    const table = await foreign(localStore(folder.path), nested, 'id:bigint', [[1n], [2n]], {})
    expect((await failure(() => execute(table, 'DELETE FROM data WHERE id = 2'))).message).toStartWith(
      'the column v is made of VARIANT',
    )
    expect((await readRows(table)).length).toBe(2)
  })
})

describe('a table with a column of type void', () => {
  const fields = [
    field('id', 'long'),
    field('nothing', 'void'),
    field('s', { type: 'struct', fields: [field('a', 'long'), field('b', 'void')] }),
  ]

  test('has NULL in it, whatever the files have under its name', async () => {
    using folder = temporaryFolder()
    const inFile = 'id:bigint, nothing:bigint, s:struct<a:bigint,b:string>'
    const table = await foreign(localStore(folder.path), fields, inFile, [[1n, 2n, [3n, 'x']]])
    expect(await readRows(table)).toEqual([[1n, null, [3n, null]]])
    expect(await csv(table, 'SELECT * FROM data')).toBe('id,nothing,s\n1,,"{""a"":3,""b"":null}"\n')
  })

  test('is written without it', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const table = await foreign(store, fields.slice(0, 2), 'id:bigint', [[1n]])
    await execute(table, 'INSERT INTO data (id) VALUES (2)')
    await execute(table, 'UPDATE data SET id = 3 WHERE id = 1')
    expect((await readRows(table)).map(([id, nothing]) => [id, nothing]).sort()).toEqual([
      [2n, null],
      [3n, null],
    ])
    expect(await csv(table, 'SELECT * FROM data ORDER BY id')).toBe('id,nothing\n2,\n3,\n')
    expect((await failure(() => execute(table, "INSERT INTO data VALUES (4, 'x')"))).message).toBe(
      'the column nothing is VOID: it takes no values',
    )
  })

  test('is not written where a file could not tell what there was', async () => {
    using folder = temporaryFolder()
    const table = await foreign(localStore(folder.path), fields, 'id:bigint', [[1n]])
    expect((await failure(() => execute(table, 'INSERT INTO data (id) VALUES (2)'))).message).toStartWith(
      'the column s has VOID inside, which posixlake reads and does not write',
    )
    using other = temporaryFolder()
    const empty = await foreign(localStore(other.path), [field('nothing', 'void')], 'id:bigint', [[1n]])
    expect(await readRows(empty)).toEqual([[null]])
    expect((await failure(() => execute(empty, 'INSERT INTO data VALUES (NULL)'))).message).toStartWith(
      'no column of the table has a type that a file could have',
    )
  })
})
