import { describe, expect, test } from 'bun:test'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl, schemaToJson } from '../../src/columns/schema.ts'
import type { Batch, Cell, Field, Schema } from '../../src/columns/types.ts'
import { cellAt } from '../../src/columns/vectors.ts'
import { messageOf } from '../../src/core/errors.ts'
import { cacheHome } from '../../src/core/xdg.ts'
import { execute } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import {
  bytes,
  CODEC,
  ENCODING,
  type HandmadeChunk,
  type HandmadeField,
  handmade,
  int32s,
  OPTIONAL,
  pageV1,
  REQUIRED,
  TYPE,
} from '../columns/handmade.ts'
import { encode } from '../columns/values.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { commitLines, foreignTable, readRows } from '../table/fixture.ts'

/** A table by another writer of files by hand. */
async function tableOf(
  directory: string,
  schema: Schema | string,
  files: readonly Uint8Array[],
  configuration: Readonly<Record<string, string>> = {},
): Promise<Table> {
  const store = localStore(directory)
  const isMapped = configuration['delta.columnMapping.mode'] !== undefined
  await foreignTable(store, {
    ...(isMapped ? { protocol: { minReaderVersion: 2, minWriterVersion: 5 } } : {}),
    metaData: { configuration },
    schema: JSON.parse(schemaToJson(typeof schema === 'string' ? parseDdl(schema) : schema)) as object,
  })
  const adds = files.map((file, i) => ({
    add: { path: `${i}.parquet`, partitionValues: {}, size: file.length, modificationTime: i, dataChange: true },
  }))
  for (const [i, file] of files.entries()) await store.write(`${i}.parquet`, file)
  await commitLines(store, 1n, adds)
  return openTable(store)
}

async function bySql(table: Table, sql = 'SELECT * FROM data'): Promise<Cell[][]> {
  const outcome = await execute(table, sql)
  if (outcome.kind !== 'rows') throw new Error('a query gave no rows')
  const rows: Cell[][] = []
  for await (const batch of outcome.result.batches() as AsyncIterable<Batch>)
    for (let row = 0; row < batch.rows; row++) rows.push(batch.vectors.map(vector => cellAt(vector, row)))
  return rows
}

/** What our reader and SQL make of the same table; a sentence where they fail. */
async function both(table: Table): Promise<[unknown, unknown]> {
  const sentence = (error: unknown): string => messageOf(error)
  return [await readRows(table).catch(sentence), await bySql(table).catch(sentence)]
}

const chunk = (page: Uint8Array, values = 1, codec: number = CODEC.UNCOMPRESSED): HandmadeChunk => ({
  pages: [pageV1(values, ENCODING.PLAIN, page)],
  values,
  codec,
})
const text = (value: string): Uint8Array => {
  const encoded = encode(value)
  return bytes(...int32s(encoded.length), ...encoded)
}

/** A file of one row: required columns and their values. */
function oneRow(...columns: readonly (readonly [Omit<HandmadeField, 'repetition'>, Uint8Array])[]): Uint8Array {
  return handmade(
    columns.map(([field]) => ({ ...field, repetition: REQUIRED })),
    [{ rows: 1, chunks: Object.fromEntries(columns.map(([{ name }, value]) => [name, chunk(value)])) }],
  )
}

const int = (name: string, value: number, id?: number) =>
  [{ name, type: TYPE.INT32, ...(id === undefined ? {} : { id }) }, int32s(value)] as const

describe('SQL and our reader take from a file', () => {
  const cases: [string, string, Uint8Array, unknown][] = [
    ['names in another case', 'id:Int32,`größe`:Int32', oneRow(int('ID', 1), int('GRÖßE', 2)), [[1, 2]]],
    ['the very name before another', 'id:Int32', oneRow(int('ID', 1), int('id', 2)), [[2]]],
    [
      'text that says nowhere that it is text',
      's:String',
      oneRow([{ name: 's', type: TYPE.BYTE_ARRAY }, text('ü\\x41')]),
      [['ü\\x41']],
    ],
    [
      'text that only the logical type names',
      's:String,e:String',
      oneRow(
        [{ name: 's', type: TYPE.BYTE_ARRAY, logical: { field_1: {} } }, text('ü')],
        [{ name: 'e', type: TYPE.BYTE_ARRAY, logical: { field_4: {} } }, text('ä')],
      ),
      [['ü', 'ä']],
    ],
    [
      'text as bytes',
      'b:Binary',
      oneRow([{ name: 'b', type: TYPE.BYTE_ARRAY, converted: 0 }, text('\\x41')]),
      [[encode('\\x41')]],
    ],
    ['a name that begins with a byte-order mark', '`\ufeffid`:Int32', oneRow(int('\ufeffid', 1)), [[1]]],
    [
      'nothing of a struct',
      's:struct<x:int>',
      handmade(
        [{ name: 's', repetition: REQUIRED, children: [{ name: 'y', type: TYPE.INT32, repetition: REQUIRED }] }],
        [{ rows: 1, chunks: { 's.y': chunk(int32s(1)) } }],
      ),
      [[[null]]],
    ],
  ]
  for (const [what, ddl, file, rows] of cases) {
    test(`${what} alike`, async () => {
      using folder = temporaryFolder()
      expect(await both(await tableOf(folder.path, ddl, [file]))).toEqual([rows, rows])
    })
  }

  test('rows of files with row groups that have none, each at its place', async () => {
    using folder = temporaryFolder()
    const field = { name: 'n', type: TYPE.INT32, repetition: REQUIRED }
    const none = { rows: 0, chunks: { n: { pages: [], values: 0 } } }
    const group = (...values: number[]) => ({
      rows: values.length,
      chunks: { n: chunk(int32s(...values), values.length) },
    })
    const files = [
      handmade([field], [none, group(1, 2), none, group(3)]),
      handmade([field], [none]),
      handmade([field], []),
    ]
    const table = await tableOf(folder.path, 'n:Int32', [...files, handmade([field], [group(4), none])])
    const rows = [[1], [2], [3], [4]]
    expect(await both(table)).toEqual([rows, rows])
    await execute(table, 'DELETE FROM data WHERE n = 3')
    await execute(table, 'UPDATE data SET n = 9 WHERE n = 4')
    const left = [[1], [2], [9]]
    expect(await both(table)).toEqual([left, left])
  })

  test('a file that the engine cannot read in place among others: places stay the same', async () => {
    using folder = temporaryFolder()
    const field = { name: 'n', type: TYPE.INT32, repetition: REQUIRED }
    const plain = (...values: number[]): Uint8Array =>
      handmade([field], [{ rows: values.length, chunks: { n: chunk(int32s(...values), values.length) } }])
    // LZ4 of literals only.
    const packed = (...values: number[]): Uint8Array => {
      const body = int32s(...values)
      const page = { ...pageV1(values.length, ENCODING.PLAIN, bytes(body.length << 4, ...body)), size: body.length }
      return handmade(
        [field],
        [{ rows: values.length, chunks: { n: { pages: [page], values: values.length, codec: CODEC.LZ4 } } }],
      )
    }
    const table = await tableOf(folder.path, 'n:Int32', [plain(1, 2), packed(3, 4, 5), plain(6), packed(7)])
    const spill = join(cacheHome(), 'spill')
    const before = existsSync(spill) ? readdirSync(spill) : []
    expect(await both(table)).toEqual([[1, 2, 3, 4, 5, 6, 7].map(n => [n]), [1, 2, 3, 4, 5, 6, 7].map(n => [n])])
    await execute(table, 'DELETE FROM data WHERE n IN (2, 4, 7)')
    await execute(table, 'UPDATE data SET n = n * 10 WHERE n IN (5, 6)')
    const left = [1, 3, 50, 60].map(n => [n])
    expect(await both(table)).toEqual([left, left])
    // Nothing of the copies is left. (Other processes may be at work in the same folder.)
    const own = (names: readonly string[]): string[] => names.filter(name => name.startsWith(`${process.pid}-`))
    expect(own(readdirSync(spill))).toEqual(own(before))
  })

  test('values of a file whose type is narrower than the table says, though nothing was widened, are compared as they are shown', async () => {
    using folder = temporaryFolder()
    for (const type of ['Float64', 'Decimal(15,2)', 'Int64']) {
      const table = await tableOf(join(folder.path, type), `n:${type}`, [oneRow(int('n', 1)), oneRow(int('n', 2))])
      for (const [condition, count] of [
        ['n > 0.75', 2],
        ['n < 1.25', 1],
        ['n = 1.25', 0],
        ['n IN (0.75, 2)', 1],
        ['n > 5000000000', 0],
      ]) {
        const outcome = await execute(table, `SELECT n FROM data WHERE ${condition}`)
        if (outcome.kind !== 'rows') throw new Error('there are no rows')
        let found = 0
        for await (const batch of outcome.result.batches()) found += batch.rows
        expect([type, condition, found]).toEqual([type, condition, count])
      }
    }
  })

  test('what cannot be read is the same sentence', async () => {
    using folder = temporaryFolder()
    const file = oneRow(int('ID', 1), int('Id', 2))
    const table = await tableOf(join(folder.path, 'a'), 'id:Int32', [file])
    const [ours, theirs] = await both(table)
    expect(ours).toContain('the file has ID and Id, and either could be meant')
    expect(theirs).toBe(ours)
    const lzo = handmade(
      [{ name: 'n', type: TYPE.INT32, repetition: OPTIONAL }],
      [{ rows: 1, chunks: { n: chunk(bytes(1, 2, 3), 1, CODEC.LZO) } }],
    )
    const [lzoOurs, lzoTheirs] = await both(await tableOf(join(folder.path, 'b'), 'n:Int32', [lzo]))
    expect(lzoOurs).toContain('column n of row group 0 cannot be read: the compression LZO is not supported')
    expect(lzoTheirs).toBe(lzoOurs)
    const cut = oneRow(int('n', 1))
    const [cutOurs, cutTheirs] = await both(await tableOf(join(folder.path, 'c'), 'n:Int32', [cut.slice(0, -5)]))
    expect(cutOurs).toContain('does not end as a Parquet file does')
    expect(cutTheirs).toBe(cutOurs)
  })
})

describe('a column with an id', () => {
  const field = (name: string, id: number, physical: string): Field => ({
    name,
    type: { kind: 'integer' },
    nullable: true,
    metadata: { 'delta.columnMapping.id': id, 'delta.columnMapping.physicalName': physical },
  })
  // Before the table was mapped another writer numbered the columns in a way of its own.
  const file = oneRow(int('a', 10, 2), int('b', 20, 1))
  const schema = [field('first', 1, 'a'), field('second', 2, 'b'), field('late', 3, 'c')]

  test('is found by its name where the table is mapped by names, whatever ids a file has', async () => {
    using folder = temporaryFolder()
    const table = await tableOf(folder.path, schema, [file], { 'delta.columnMapping.mode': 'name' })
    expect(await both(table)).toEqual([[[10, 20, null]], [[10, 20, null]]])
  })

  test('is found by its id where it is mapped by ids, and by its name in a file without', async () => {
    using folder = temporaryFolder()
    const without = oneRow(int('a', 30), int('B', 40))
    const table = await tableOf(folder.path, schema, [file, without], { 'delta.columnMapping.mode': 'id' })
    const rows = [
      [20, 10, null],
      [30, 40, null],
    ]
    expect(await both(table)).toEqual([rows, rows])
  })
})
