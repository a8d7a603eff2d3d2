import { describe, expect, test } from 'bun:test'
import { parseDdl } from '../../src/columns/schema.ts'
import type { Cell, Schema } from '../../src/columns/types.ts'
import { batchOf, cellAt } from '../../src/columns/vectors.ts'
import { execute, type SqlResult } from '../../src/sql/engine.ts'
import { SqlError } from '../../src/sql/errors.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import type { Table } from '../../src/table/table.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

async function append(table: Table, rows: readonly (readonly Cell[])[], schema?: Schema): Promise<void> {
  const columns = schema ?? table.snapshot.schema
  const batch = batchOf(
    columns.map(field => field.type),
    rows,
  )
  await commit(table, {
    base: table.snapshot,
    operation: 'WRITE',
    add: await writeDataFiles(table, [batch], schema === undefined ? {} : { schema }),
    delete: [],
    ...(schema === undefined ? {} : { schema }),
  })
}

async function result(table: Table, sql: string): Promise<SqlResult> {
  const outcome = await execute(table, sql)
  if (outcome.kind !== 'rows') throw new Error('there are no rows')
  return outcome.result
}

async function rowsOf(table: Table, sql: string): Promise<Cell[][]> {
  const rows: Cell[][] = []
  for await (const batch of (await result(table, sql)).batches()) {
    for (let row = 0; row < batch.rows; row++) rows.push(batch.vectors.map(vector => cellAt(vector, row)))
  }
  return rows
}

describe('values of every type', () => {
  const schema = parseDdl(
    [
      'i8:Int8',
      'i16:Int16',
      'i32:Int32',
      'i64:Int64',
      'f32:Float32',
      'f64:Float64',
      'small:Decimal(4,2)',
      'large:Decimal(38,10)',
      'text:String',
      'ok:Boolean',
      'bytes:Binary',
      'day:Date',
      'at:Timestamp',
      'local:Timestamp_ntz',
      's:struct<a:Int32,b:struct<c:Decimal(20,0),d:array<String>>>',
      'list:array<array<Timestamp>>',
      'm:map<String,struct<x:Binary,y:Int64>>',
    ].join(','),
  )
  const rows: Cell[][] = [
    [
      -128,
      -32_768,
      -2_147_483_648,
      -(2n ** 63n),
      1.5,
      Number.MIN_VALUE,
      -9999n,
      -(10n ** 38n - 1n),
      'ü€😀\0"\n',
      true,
      Uint8Array.of(0, 255),
      -719_162,
      -62_135_596_800_000_000n,
      -1n,
      [1, [10n ** 20n - 1n, ['a', null, '']]],
      [[0n, null], [], null],
      [
        ['k', [Uint8Array.of(1), 2n ** 63n - 1n]],
        ['\ufeff', null],
      ],
    ],
    [
      127,
      32_767,
      2_147_483_647,
      2n ** 63n - 1n,
      Number.NaN,
      Number.NEGATIVE_INFINITY,
      9999n,
      10n ** 38n - 1n,
      '\ufeffmarked',
      false,
      new Uint8Array(0),
      2_932_896,
      253_402_300_799_999_999n,
      1n,
      [null, null],
      [],
      [],
    ],
    schema.map(() => null),
  ]

  test('come out of a query as they went into the table', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema })
    await append(table, rows)
    expect(await rowsOf(table, 'FROM data')).toEqual(rows)
    expect((await result(table, 'FROM data')).schema.map(({ type }) => type)).toEqual(schema.map(({ type }) => type))
  })

  test('are the same after INSERT and UPDATE', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema })
    await append(table, rows)
    await execute(table, 'INSERT INTO data SELECT * FROM data')
    await execute(table, 'UPDATE data SET i32 = i32')
    expect((await rowsOf(table, 'FROM data')).length).toBe(6)
    for (const row of rows) {
      const same = (await rowsOf(table, `SELECT * FROM data WHERE i8 IS NOT DISTINCT FROM ${row[0]}`)) as Cell[][]
      expect(same).toEqual([row, row])
    }
  })

  test('that only the engine has come as the nearest type or as text', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: parseDdl('a:Int64') })
    const sql = `SELECT 255::UTINYINT, 4294967295::UINTEGER, 18446744073709551615::UBIGINT, sum(i)::HUGEINT,
      TIME '01:02:03.5', INTERVAL 1 DAY, '101'::BIT, 'x'::ENUM('x', 'y'), [1, 2]::INT[2], TIMESTAMP_S '2020-01-01 00:00:00',
      '00000000-0000-0000-0000-000000000001'::UUID, NULL, row(1, 'a') FROM range(3) t(i)`
    expect(await rowsOf(table, sql)).toEqual([
      [
        255,
        4_294_967_295n,
        18_446_744_073_709_551_615n,
        3n,
        '01:02:03.5',
        '1 day',
        '101',
        'x',
        [1, 2],
        1_577_836_800_000_000n,
        '00000000-0000-0000-0000-000000000001',
        null,
        [1, 'a'],
      ],
    ])
  })

  test('that Delta has no value for are refused, never changed', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: parseDdl('a:Int64') })
    for (const sql of [
      `SELECT 'infinity'::DATE`,
      `SELECT '-infinity'::TIMESTAMP`,
      'SELECT 170141183460469231731687303715884105727::HUGEINT',
      `SELECT [{'x': 'infinity'::DATE}]`,
    ]) {
      const failure: unknown = await rowsOf(table, sql).catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(SqlError)
      expect((failure as SqlError).message).toContain('cast it to VARCHAR')
    }
  })

  test('with one name get names of their own', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: parseDdl('a:Int64') })
    const names = async (sql: string): Promise<string[]> => (await result(table, sql)).schema.map(({ name }) => name)
    expect(await names('SELECT 1 AS a, 2 AS a, 3 AS "A", 4 AS a_1')).toEqual(['a', 'a_2', 'A_3', 'a_1'])
  })
})

describe('a table whose columns changed', () => {
  test('shows NULL where older files lack a column, and takes wider rows', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: parseDdl('id:Int64') })
    await append(table, [[1n], [2n]])
    const wider = parseDdl('id:Int64,tags:array<String>,"odd, ""name""":struct<a:Int32>')
    await append(table, [[3n, ['x'], [7]]], wider)
    expect(await rowsOf(table, 'FROM data ORDER BY id')).toEqual([
      [1n, null, null],
      [2n, null, null],
      [3n, ['x'], [7]],
    ])
    await execute(table, `UPDATE data SET tags = ['new'], "odd, ""name""" = {'a': id} WHERE tags IS NULL AND id = 2`)
    await execute(table, 'DELETE FROM data WHERE id = 1')
    expect(await rowsOf(table, 'FROM data ORDER BY id')).toEqual([
      [2n, ['new'], [2]],
      [3n, ['x'], [7]],
    ])
  })

  test('is read by its columns’ logical names where files have physical ones, inside structs too', async () => {
    using folder = temporaryFolder()
    const mapped = (id: number, physical: string): Record<string, unknown> => ({
      'delta.columnMapping.id': id,
      'delta.columnMapping.physicalName': physical,
    })
    const schema: Schema = [
      { name: 'key', type: { kind: 'long' }, nullable: true, metadata: mapped(1, 'col-1') },
      {
        name: 'col-1',
        type: {
          kind: 'struct',
          fields: [
            { name: 'x', type: { kind: 'string' }, nullable: true, metadata: mapped(3, 'col-3') },
            { name: 'col-3', type: { kind: 'integer' }, nullable: true, metadata: mapped(4, 'col-4') },
          ],
        },
        nullable: true,
        metadata: mapped(2, 'col-2'),
      },
    ]
    const table = await createTable(localStore(folder.path), {
      schema,
      configuration: { 'delta.columnMapping.mode': 'name', 'delta.columnMapping.maxColumnId': '4' },
    })
    await append(table, [
      [1n, ['a', 1]],
      [2n, null],
    ])
    await execute(table, `INSERT INTO data VALUES (3, {'x': 'c', 'col-3': 3})`)
    await execute(table, `UPDATE data SET key = key * 10 WHERE "col-1".x = 'a'`)
    expect(await rowsOf(table, 'SELECT key, "col-1" FROM data ORDER BY key')).toEqual([
      [2n, null],
      [3n, ['c', 3]],
      [10n, ['a', 1]],
    ])
    expect(await rowsOf(table, `SELECT "col-1"['col-3'] FROM data WHERE key = 3`)).toEqual([[3]])
  })

  test('has columns that are called as nothing else here may be', async () => {
    using folder = temporaryFolder()
    const schema = parseDdl('__file:Int64,__row:Int64,c0:String,data:String,file:Int64,p:Int64')
    const table = await createTable(localStore(folder.path), { schema, partitionColumns: ['p'] })
    await append(table, [
      [5n, 6n, 'a', 'b', 7n, 8n],
      [1n, 2n, 'c', 'd', 3n, 4n],
    ])
    await execute(table, `UPDATE data SET __row = __file + p, data = data || c0 WHERE file = 7`)
    await execute(table, 'DELETE FROM data WHERE __row = 2')
    expect(await rowsOf(table, 'FROM data')).toEqual([[5n, 13n, 'a', 'ba', 7n, 8n]])
  })
})

describe('partition values', () => {
  test('of every type are the same in a query', async () => {
    using folder = temporaryFolder()
    const schema = parseDdl(
      'v:Int64,i:Int8,l:Int64,f:Float64,d:Decimal(38,10),t:String,o:Boolean,b:Binary,y:Date,at:Timestamp,local:Timestamp_ntz',
    )
    const table = await createTable(localStore(folder.path), {
      schema,
      partitionColumns: schema.slice(1).map(({ name }) => name),
    })
    const rows: Cell[][] = [
      [1n, -1, 2n ** 63n - 1n, 0.1, -(10n ** 37n) - 1n, "it's, ü/%=\\", true, Uint8Array.of(0x41, 0x7a), -1, -1n, 1n],
      [2n, null, null, null, null, null, null, null, null, null, null],
      [
        3n,
        127,
        0n,
        -1e300,
        1n,
        ' \0é',
        false,
        Uint8Array.of(0x41),
        20_000,
        1_700_000_000_123_456n,
        -62_135_596_800_000_000n,
      ],
    ]
    expect(await rowsOf(table, 'FROM data')).toEqual([])
    await append(table, rows)
    expect(await rowsOf(table, 'FROM data ORDER BY v')).toEqual(rows)
    await execute(table, 'UPDATE data SET v = v + 10, i = i - 1')
    expect((await rowsOf(table, 'FROM data ORDER BY v')).map(row => row.slice(2))).toEqual(
      rows.map(row => row.slice(2)),
    )
  })
})
