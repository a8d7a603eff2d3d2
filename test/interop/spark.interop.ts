import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serveTable } from '../../src/serve/table-server.ts'
import { EXPRESSIONS, ROW_SQL } from '../columns/spark-expressions.ts'
import { HELD } from '../fs/served.ts'
import { NfsClient } from '../nfs/client.ts'
import { posixlake, python, Spark } from './environment.ts'

let folder = ''
let spark: Spark

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'posixlake-spark-'))
  python()
  spark = await Spark.start(join(folder, 'spark.log'))
}, 600_000)
afterAll(async () => {
  await spark?.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** A table's folder, and its name in Spark's SQL. */
function place(name: string): { path: string; delta: string } {
  const path = join(folder, name)
  return { path, delta: `delta.\`${path}\`` }
}

/** What a query by posixlake gives, each row an array. */
function ours(path: string, query: string): unknown[][] {
  const lines = posixlake('query', path, query, '--format', 'jsonl').trimEnd()
  return lines === '' ? [] : lines.split('\n').map(line => Object.values(JSON.parse(line) as object))
}

const change = (path: string, statement: string): string => posixlake('query', path, statement)

/** The rows of the view without its header, in the order of their text. */
function rowsOf(path: string): string[] {
  return posixlake('cat', path).trimEnd().split('\n').slice(1).sort()
}

function refusal(path: string, statement: string): string {
  try {
    change(path, statement)
  } catch (error) {
    return String(error)
  }
  throw new Error(`it was not refused: ${statement}`)
}

/** Saves data.csv as a program would that writes the whole file again. */
async function save(path: string, edit: (text: string) => string): Promise<void> {
  const server = await serveTable({
    location: path,
    host: '127.0.0.1',
    port: 0,
    readOnly: false,
    allowOther: true,
    cacheDirectory: join(folder, 'cache'),
    holdTimes: HELD,
    log: () => undefined,
  })
  const client = await NfsClient.connect({ port: server.port })
  const data = await client.walk(await client.mount(server.exportPath), 'data')
  const csv = await client.walk(data, 'data.csv')
  const text = edit(await client.readText(csv))
  await client.setattr(csv, { size: 0n })
  await client.write(csv, 0n, text)
  client.close()
  await server.stop()
}

/** Both engines have the same rows in (id, text), and so many. */
async function expectSame(path: string, count: number): Promise<void> {
  const rows = await spark.sql(`SELECT id, text FROM delta.\`${path}\` ORDER BY id`)
  expect(rows.length).toBe(count)
  expect(ours(path, 'SELECT id, text FROM data ORDER BY id')).toEqual(rows)
}

const VECTORS = `'delta.enableDeletionVectors' = 'true'`

describe('tables that posixlake writes', () => {
  test('are read by Spark to the last digit, of every type, with deleted rows and through a checkpoint', async () => {
    const { path, delta } = place('types')
    posixlake(
      'create',
      path,
      '--schema',
      'id:Int64,i8:Int8,i16:Int16,i32:Int32,f32:Float32,f64:Float64,d38:Decimal(38,38),d20:Decimal(20,3),d9:Decimal(9,2),text:String,flag:Boolean,bin:Binary,day:Date,seen:Timestamp,wall:Timestamp_ntz,list:array<int>,pairs:map<string,bigint>,nested:struct<a:decimal(30,5),b:array<struct<c:timestamp,d:string>>>',
    )
    const row = (id: number): string =>
      `(${id}, -128, 32767, -2147483648, '-Infinity', '-0.0', '-0.${'1234567890'.repeat(4).slice(0, 38)}', '-12345678901234567.891', -1234567.89, 'text ''${id}'' "ü", ' || chr(13) || chr(10) || '😀', ${id % 2 === 0}, '\\x00\\xFFa'::BLOB, DATE '0001-01-01', TIMESTAMPTZ '0001-01-01 00:00:00.000001+00', TIMESTAMP '9999-12-31 23:59:59.999999', [1, NULL, ${id}], MAP {'k"': ${id}, '': NULL}, {'a': '-1234567890123456789012345.67891', 'b': [{'c': TIMESTAMPTZ '1969-12-31 23:59:59.999999+00', 'd': ''}, NULL, {'c': NULL, 'd': NULL}]})`
    for (let commit = 0; commit < 11; commit++)
      change(path, `INSERT INTO data VALUES ${[1, 2, 3].map(i => row(commit * 3 + i)).join(', ')}`)
    change(path, "INSERT INTO data (id, f64) VALUES (100, 'NaN')")
    change(path, 'DELETE FROM data WHERE id % 7 = 0')
    change(path, `UPDATE data SET text = 'changed' WHERE id % 5 = 0 AND id < 100`)
    // What Spark calls a value, and what posixlake does where it differs. DuckDB leaves out the 0 before the point.
    const columns: [theirs: string, ours?: string][] = [
      ...['id', 'i8', 'i16', 'i32', 'text', 'flag', 'hex(bin)'].map((name): [string] => [name]),
      ['CAST(d38 AS STRING)', "replace(d38::VARCHAR, '-.', '-0.')"],
      ...['d20', 'd9', 'day', 'wall', 'nested.a'].map((name): [string] => [`CAST(${name} AS STRING)`]),
      ["f32 = float('-Infinity')", "f32 = '-Infinity'"],
      ['CAST(f64 AS STRING)', "replace(f64::VARCHAR, 'nan', 'NaN')"],
      ['CAST(unix_micros(seen) AS STRING)', 'epoch_us(seen)::VARCHAR'],
      ...['list', 'pairs'].map((name): [string, string] => [`to_json(${name})`, `to_json(${name})::VARCHAR`]),
      ['CAST(unix_micros(nested.b[0].c) AS STRING)', 'epoch_us(nested.b[1].c)::VARCHAR'],
      ['nested.b[0].d', 'nested.b[1].d'],
      ['nested.b[1] IS NULL', 'nested.b[2] IS NULL'],
      ['nested.b[2] IS NULL', 'nested.b[3] IS NULL'],
    ]
    const select = (from: string, side: 0 | 1): string =>
      `SELECT ${columns.map((pair, i) => `${pair[side] ?? pair[0]} AS c${i}`).join(', ')} FROM ${from} ORDER BY c0`
    const mine = ours(path, select('data', 1))
    expect(mine.length).toBe(33 - 4 + 1)
    expect(await spark.sql(select(delta, 0))).toEqual(mine)
    expect(mine[0]!.slice(7, 10)).toEqual([
      `-0.${'1234567890'.repeat(4).slice(0, 38)}`,
      '-12345678901234567.891',
      '-1234567.89',
    ])
    const find = (condition: string): Promise<unknown[][]> =>
      spark.sql(`SELECT count(*) FROM ${delta} WHERE ${condition}`)
    // The bounds in the log must not hide a row that is there.
    expect(await find(`wall > timestamp_ntz '9999-12-31 23:59:59.999998' AND day < DATE '0001-01-02'`)).toEqual([[29]])
    expect(await find(`seen = timestamp_micros(-62135596799999999) AND f32 < -3.4e38`)).toEqual([[29]])
    expect(await find(`text > 'text' AND d38 < -0.123456789012345678901234567890123456BD`)).toEqual([[23]])
    expect(await spark.sql(`SELECT count(*) FROM ${delta} VERSION AS OF 11`)).toEqual([[33]])
  }, 120_000)

  test('are what Spark reads and goes on with after ALTER, optimize, undo, restore and vacuum', async () => {
    const { path, delta } = place('operations')
    const csv = join(folder, 'operations.csv')
    const values = ['a/b', 'a=b', '100%', 'naïve 𝄞', 'x'.repeat(300)]
    writeFileSync(csv, `id,text\n${values.map((value, i) => `${i},"${value}"`).join('\n')}\n9,\n`)
    posixlake('create', path, '--from-csv', csv, '--partition-by', 'text')
    change(path, `ALTER TABLE data ADD COLUMNS (n INT COMMENT 'a number', tags ARRAY<STRING>)`)
    change(path, `ALTER TABLE data SET TBLPROPERTIES ('delta.checkpointInterval' = '5')`)
    change(path, 'ALTER TABLE data ALTER COLUMN id SET NOT NULL')
    for (let i = 10; i < 14; i++) change(path, `INSERT INTO data VALUES (${i}, 'a/b', ${i}, ['t'])`)
    posixlake('optimize', path)
    await expectSame(path, 10)
    await spark.sql(`UPDATE ${delta} SET n = 1 WHERE text = 'a/b'`)
    posixlake('undo', path)
    expect(await spark.sql(`SELECT sum(n) FROM ${delta}`)).toEqual([[46]])
    posixlake('restore', path, '--version', '4')
    posixlake('vacuum', path, '--retain', '0s', '--force')
    await expectSame(path, 7)
    expect(posixlake('check', path)).toBe('')
    await spark.sql(`INSERT INTO ${delta} VALUES (20, 'theirs', 2, NULL)`)
    await expectSame(path, 8)
    const parameters = (): Record<string, unknown> => {
      const [entry] = posixlake('history', path, '--limit', '1', '--format', 'jsonl').split('\n')
      return (JSON.parse(entry!) as { parameters: Record<string, unknown> }).parameters
    }
    posixlake('optimize', path, '--where', "text = 'a/b'", '--zorder', 'id,n')
    await expectSame(path, 8)
    const mine = parameters()
    await spark.sql(`OPTIMIZE ${delta} WHERE text = 'a/b' ZORDER BY (id, n)`)
    await expectSame(path, 8)
    expect(parameters()).toEqual({ ...mine, auto: false, predicate: `["('text = a/b)"]` })
    expect(mine).toMatchObject({ predicate: `["text = 'a/b'"]`, zOrderBy: '["id","n"]' })
    posixlake('optimize', path, '--zorder', 'n')
    await expectSame(path, 8)
  }, 240_000)

  test('are changed by both in turns, and each sees at once what the other did', async () => {
    const { path, delta } = place('turns')
    posixlake('create', path, '--schema', 'id:Int64,text:String')
    change(path, `INSERT INTO data SELECT i, 'row ' || i FROM range(20) t(i)`)
    await spark.sql(`INSERT INTO ${delta} VALUES (100, 'theirs'), (101, NULL)`)
    await expectSame(path, 22)
    await spark.sql(`DELETE FROM ${delta} WHERE id % 11 = 0`)
    await expectSame(path, 20)
    change(path, `UPDATE data SET text = 'ours' WHERE id % 4 = 1`)
    await spark.sql(`UPDATE ${delta} SET text = 'theirs' WHERE id % 5 = 1`)
    await expectSame(path, 20)
    change(path, 'DELETE FROM data WHERE id = 6')
    await spark.sql(`OPTIMIZE ${delta}`)
    await expectSame(path, 19)
    change(path, 'DELETE FROM data WHERE id IN (2, 100)')
    await spark.sql(
      `MERGE INTO ${delta} t USING (SELECT 3L id UNION ALL SELECT 200L) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET text = 'merged' WHEN NOT MATCHED THEN INSERT (id, text) VALUES (s.id, 'new')`,
    )
    await expectSame(path, 18)
    // One save that changes, removes and adds rows is one commit.
    const commits = (): number => posixlake('history', path, '--format', 'jsonl').trimEnd().split('\n').length
    const before = commits()
    await save(path, text => `${text.replace(/^5,.*\n/m, '').replace(/^7,.*$/m, '7,"by ""save"""')}400,saved\n`)
    expect(commits()).toBe(before + 1)
    await expectSame(path, 18)
    await spark.sql(`REORG TABLE ${delta} APPLY (PURGE)`, `VACUUM ${delta} RETAIN 0 HOURS`)
    await expectSame(path, 18)
    change(
      path,
      `MERGE INTO data USING (VALUES (8, 'merged'), (9, NULL), (300, 'end')) s(i, t) ON id = i WHEN MATCHED AND t IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET text = t WHEN NOT MATCHED THEN INSERT VALUES (i, t)`,
    )
    expect(posixlake('cat', path)).toEndWith('\n300,end\n')
    await expectSame(path, 18)
  }, 120_000)

  test('have vectors in files that Spark reads and goes on with', async () => {
    const { path, delta } = place('vectors')
    const csv = join(folder, 'rows.csv')
    await Bun.write(csv, `id,text\n${Array.from({ length: 150_000 }, (_, i) => `${i},row ${i}\n`).join('')}`)
    posixlake('create', path, '--from-csv', csv)
    change(path, 'DELETE FROM data WHERE id % 3 = 0 AND hash(id) % 2 = 0')
    change(path, 'DELETE FROM data WHERE id BETWEEN 70000 AND 80000')
    const sums = 'count(*) n, sum(id) s, min(id) a, max(id) b, count(DISTINCT text) d'
    const compare = async (): Promise<void> =>
      expect(ours(path, `SELECT ${sums} FROM data`)).toEqual(await spark.sql(`SELECT ${sums} FROM ${delta}`))
    await compare()
    await spark.sql(`DELETE FROM ${delta} WHERE id % 1000 < 30`)
    await compare()
    change(path, 'DELETE FROM data WHERE id % 5 = 0')
    await compare()
    change(path, 'DELETE FROM data')
    expect(await spark.sql(`SELECT count(*) FROM ${delta}`)).toEqual([[0]])
  }, 120_000)

  test('from Parquet files of Spark have the same rows', async () => {
    const parquet = join(folder, 'parquet')
    const { path, delta } = place('imported')
    const columns = 'id, d, ts, wall, st, b, bin, f'
    await spark.sql(
      `CREATE TABLE parquet_source USING parquet LOCATION '${parquet}' AS SELECT id, CAST(id AS DECIMAL(38,3)) / 7 d, timestamp_micros(id * 1000003 - 62135596800000000) ts, timestamp_ntz '2020-01-01 00:00:00.000001' wall, named_struct('a', id, 'b', array(string(id), null)) st, CAST(id % 128 AS BYTE) b, X'00FF' bin, CAST(id AS FLOAT) / 3 f FROM range(1000)`,
    )
    posixlake('create', path, '--from-parquet', `${parquet}/*.parquet`)
    const rows = (table: string): Promise<unknown[][]> =>
      spark.sql(`SELECT count(*), sum(hash(${columns})), sum(xxhash64(${columns}) % 1000000) FROM ${table}`)
    expect(await rows(delta)).toEqual(await rows(`parquet.\`${parquet}\``))
    await spark.sql('DROP TABLE parquet_source')
  }, 120_000)
})

describe('tables that Spark writes', () => {
  test('with odd partition values are read and changed, and VACUUM takes no live file', async () => {
    const { path, delta } = place('partitions')
    await spark.sql(
      `CREATE TABLE ${delta} (id INT, p STRING, d DATE, ts TIMESTAMP, c DECIMAL(10,2), o BOOLEAN, w TIMESTAMP_NTZ, b BINARY, f DOUBLE) USING delta PARTITIONED BY (p, d, ts, c, o, w, b, f) TBLPROPERTIES (${VECTORS})`,
      `INSERT INTO ${delta} VALUES (1, 'a b/c=d%2F', '2020-02-29', timestamp '2020-01-01 01:02:03.000004', -1.50, true, timestamp_ntz '0001-01-01 00:00:00', X'41', 1.5), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (3, 'null', '9999-12-31', timestamp '1969-12-31 23:59:59.999999', 0, false, timestamp_ntz '2020-01-01 00:00:00', X'7a7a', double('NaN')), (4, 'ü"{}[]^#?:*<>|+ &😀', '0001-01-01', timestamp '9999-12-31 23:59:59.999999', 99999999.99, false, timestamp_ntz '2020-01-01 00:00:00.1', X'C3BC', double('-Infinity'))`,
    )
    const values = [
      'a b/c=d%2F,2020-02-29,2020-01-01T01:02:03.000004Z,-1.50,true,0001-01-01T00:00:00,QQ==,1.5',
      ',,,,,,,',
      'null,9999-12-31,1969-12-31T23:59:59.999999Z,0.00,false,2020-01-01T00:00:00,eno=,NaN',
      '"ü""{}[]^#?:*<>|+ &😀",0001-01-01,9999-12-31T23:59:59.999999Z,99999999.99,false,2020-01-01T00:00:00.100000,w7w=,-Infinity',
    ]
    expect(rowsOf(path)).toEqual(values.map((text, i) => `${i + 1},${text}`))
    change(path, 'UPDATE data SET id = id + 10')
    change(path, `INSERT INTO data SELECT id + 10, * EXCLUDE (id) FROM data WHERE id > 12`)
    change(path, `INSERT INTO data (id, p) VALUES (30, 'é ' || chr(160) || '日本'), (31, '%C3%A9'), (32, '..')`)
    change(path, 'DELETE FROM data WHERE id = 12')
    const rows = `SELECT id, p, CAST(d AS STRING) d, CAST(c AS STRING) c, o, hex(b) b FROM`
    const live = ours(path, `${rows} data ORDER BY id`)
    expect(live.length).toBe(8)
    expect(await spark.sql(`VACUUM ${delta} RETAIN 0 HOURS`, `${rows} ${delta} ORDER BY id`)).toEqual(live)
    expect(ours(path, `${rows} data ORDER BY id`)).toEqual(live)
  }, 120_000)

  for (const mode of ['name', 'id']) {
    test(`with column mapping by ${mode} are read and changed after columns were renamed, dropped and added`, async () => {
      const { path, delta } = place(`mapping-${mode}`)
      await spark.sql(
        `CREATE TABLE ${delta} (id INT, \`odd ,;{}()=\` STRING, st STRUCT<a: INT, b: STRING>, l ARRAY<STRUCT<x: INT>>, m MAP<STRING, STRUCT<y: INT>>, p STRING) USING delta PARTITIONED BY (p) TBLPROPERTIES ('delta.columnMapping.mode' = '${mode}', ${VECTORS})`,
        `INSERT INTO ${delta} VALUES (1, 'one', struct(1, 'b1'), array(struct(11)), map('k', struct(111)), 'p1'), (2, 'two', struct(2, 'b2'), array(struct(22)), map('k', struct(222)), 'p2')`,
        `ALTER TABLE ${delta} RENAME COLUMN id TO ident`,
        `ALTER TABLE ${delta} RENAME COLUMN st.a TO aa`,
        `ALTER TABLE ${delta} DROP COLUMN st.b`,
        `ALTER TABLE ${delta} ADD COLUMN st.b STRING`,
        `ALTER TABLE ${delta} ADD COLUMN id STRING`,
        `INSERT INTO ${delta} VALUES (0, NULL, NULL, NULL, NULL, 'p0', 'gone')`,
      )
      expect(rowsOf(path)[0]).toBe('0,,,,,p0,gone')
      await spark.sql(`ALTER TABLE ${delta} DROP COLUMN id`, `ALTER TABLE ${delta} ADD COLUMN id STRING`)
      expect(rowsOf(path)[0]).toBe('0,,,,,p0,')
      await spark.sql(`DELETE FROM ${delta} WHERE ident = 0`)
      expect(rowsOf(path)).toEqual([
        `1,one,"{""aa"":1,""b"":null}","[{""x"":11}]","{""k"":{""y"":111}}",p1,`,
        `2,two,"{""aa"":2,""b"":null}","[{""x"":22}]","{""k"":{""y"":222}}",p2,`,
      ])
      change(path, `UPDATE data SET "odd ,;{}()=" = 'changed', st = {'aa': 99, 'b': 'bb'}, id = 'new' WHERE ident = 2`)
      change(
        path,
        `INSERT INTO data VALUES (3, 'three', {'aa': 3, 'b': 'b3'}, [{'x': 33}], MAP {'k': {'y': 333}}, 'p3', 'i3')`,
      )
      change(path, 'DELETE FROM data WHERE ident = 1')
      expect(
        await spark.sql(`UPDATE ${delta} SET st.aa = 5 WHERE ident = 3`, `SELECT * FROM ${delta} ORDER BY ident`),
      ).toEqual([
        [2, 'changed', { aa: 99, b: 'bb' }, [{ x: 22 }], { k: { y: 222 } }, 'p2', 'new'],
        [3, 'three', { aa: 5, b: 'b3' }, [{ x: 33 }], { k: { y: 333 } }, 'p3', 'i3'],
      ])
      expect(rowsOf(path)[1]).toStartWith('3,three,"{""aa"":5')
      // A new column in the header is one in the table.
      await save(path, text =>
        text.replace(/^.*$/gm, (line, at) => (line === '' ? '' : `${line}${at === 0 ? ',new' : ',7'}`)),
      )
      expect(
        await spark.sql(
          `INSERT INTO ${delta} (ident, new) VALUES (4, 8)`,
          `SELECT ident, new FROM ${delta} ORDER BY ident`,
        ),
      ).toEqual([
        [2, 7],
        [3, 7],
        [4, 8],
      ])
      expect(ours(path, 'SELECT ident, new, id FROM data ORDER BY ident')).toEqual([
        [2, 7, 'new'],
        [3, 7, 'i3'],
        [4, 8, null],
      ])
    }, 120_000)
  }

  test('with widened types are read as the wide type, and changed', async () => {
    const { path, delta } = place('wide')
    const columns = {
      a: 'BIGINT',
      b: 'INT',
      f: 'DOUBLE',
      d: 'DECIMAL(20,5)',
      i: 'DECIMAL(15,3)',
      l: 'DECIMAL(38,10)',
      n: 'DOUBLE',
      y: 'TIMESTAMP_NTZ',
      's.x': 'BIGINT',
      'r.element': 'INT',
      'm.key': 'INT',
      'm.value': 'BIGINT',
    }
    await spark.sql(
      `CREATE TABLE ${delta} (a TINYINT, b SMALLINT, f FLOAT, d DECIMAL(10,2), i INT, l BIGINT, n INT, y DATE, s STRUCT<x: INT>, r ARRAY<TINYINT>, m MAP<SMALLINT, INT>) USING delta TBLPROPERTIES ('delta.enableTypeWidening' = 'true', 'delta.feature.timestampNtz' = 'supported', ${VECTORS})`,
      `INSERT INTO ${delta} VALUES (-128, -32768, 3.4, -12345678.91, 2147483647, -9223372036854775808, -7, '2020-02-29', struct(5), array(1Y, null), map(2S, 3))`,
      ...Object.entries(columns).map(([name, type]) => `ALTER TABLE ${delta} ALTER COLUMN ${name} TYPE ${type}`),
      `INSERT INTO ${delta} (a, l) VALUES (9223372036854775807, 0.5)`,
    )
    const wide =
      '-128,-32768,3.4000000953674316,-12345678.91000,2147483647.000,-9223372036854775808.0000000000,-7.0,2020-02-29T00:00:00,"{""x"":5}","[1,null]","[[2,3]]"'
    expect(rowsOf(path)).toEqual([wide, '9223372036854775807,,,,,0.5000000000,,,,,'])
    change(path, 'UPDATE data SET a = a + 1 WHERE a < 0')
    change(path, 'INSERT INTO data (b) VALUES (200000)')
    expect(
      await spark.sql(
        `SELECT a, b, f, CAST(d AS STRING), CAST(i AS STRING), CAST(l AS STRING), n, CAST(y AS STRING), s, r, m FROM ${delta} WHERE a < 0`,
      ),
    ).toEqual([
      [
        -127,
        -32_768,
        3.400_000_095_367_431_6,
        '-12345678.91000',
        '2147483647.000',
        '-9223372036854775808.0000000000',
        -7,
        '2020-02-29 00:00:00',
        { x: 5 },
        [1, null],
        { '2': 3 },
      ],
    ])
    expect(await spark.sql(`SELECT count(*), max(b) FROM ${delta}`)).toEqual([[3, 200_000]])
  }, 120_000)

  test('with timestamps of 96 bits and old forms of lists are read, over the whole range of years', async () => {
    const { path, delta } = place('legacy')
    await spark.call('conf', 'spark.sql.parquet.writeLegacyFormat', 'true')
    await spark.sql(
      `CREATE TABLE ${delta} (id INT NOT NULL, ts TIMESTAMP, a ARRAY<TIMESTAMP>, l ARRAY<ARRAY<STRUCT<a: INT, b: STRING>>>, m MAP<INT, ARRAY<STRING>>, d DECIMAL(18,4)) USING delta`,
      `INSERT INTO ${delta} VALUES (1, timestamp '0001-01-01 00:00:00.000001', array(timestamp '9999-12-31 23:59:59.999999', null), array(array(struct(1, 'x'), null), null, array()), map(1, array('a', null), 2, null), -99999999999999.9999)`,
    )
    await spark.call('conf', 'spark.sql.parquet.writeLegacyFormat', 'false')
    const rest =
      '0001-01-01T00:00:00.000001Z,"[""9999-12-31T23:59:59.999999Z"",null]","[[{""a"":1,""b"":""x""},null],null,[]]","[[1,[""a"",null]],[2,null]]",-99999999999999.9999'
    expect(rowsOf(path)).toEqual([`1,${rest}`])
    change(path, 'INSERT INTO data SELECT id + 1, * EXCLUDE (id) FROM data')
    change(path, 'UPDATE data SET id = 3 WHERE id = 1')
    const row = [
      '-62135596799999999',
      '253402300799999999',
      '[[{"a":1,"b":"x"},null],null,[]]',
      '{"1":["a",null],"2":null}',
    ]
    expect(
      await spark.sql(
        `SELECT id, CAST(unix_micros(ts) AS STRING), CAST(unix_micros(a[0]) AS STRING), to_json(l), to_json(m) FROM ${delta} ORDER BY id`,
      ),
    ).toEqual([2, 3].map(id => [id, ...row]))
  }, 120_000)

  test('with checkpoints of every form are read from these, and changed', async () => {
    const { path, delta } = place('sidecars')
    const parts = place('parts')
    await spark.call('conf', 'spark.databricks.delta.checkpoint.partSize', '2')
    for (const [table, policy] of [
      [delta, `'delta.checkpointPolicy' = 'v2'`],
      [parts.delta, `'delta.checkpoint.writeStatsAsStruct' = 'true', 'delta.checkpoint.writeStatsAsJson' = 'false'`],
    ]) {
      await spark.sql(
        `CREATE TABLE ${table} (id INT, text STRING) USING delta TBLPROPERTIES (${policy}, 'delta.checkpointInterval' = '3', ${VECTORS})`,
        ...[1, 2, 3].map(id => `INSERT INTO ${table} VALUES (${id}, 'a'), (${id + 10}, 'b')`),
        `DELETE FROM ${table} WHERE id = 1`,
      )
    }
    await spark.call('conf', 'spark.databricks.delta.checkpoint.partSize', '1000000')
    for (const table of [path, parts.path]) {
      for (const version of [0, 1, 2]) rmSync(join(table, '_delta_log', `0000000000000000000${version}.json`))
      expect(rowsOf(table)).toEqual(['11,b', '12,b', '13,b', '2,a', '3,a'])
      change(table, `UPDATE data SET text = 'ours' WHERE id > 12`)
      change(table, 'DELETE FROM data WHERE id = 2')
      change(table, `INSERT INTO data VALUES (4, 'ours')`)
      await expectSame(table, 5)
      await spark.sql(`INSERT INTO delta.\`${table}\` VALUES (5, 'theirs')`)
      await expectSame(table, 6)
    }
  }, 120_000)

  test('with commits that carry their time, with clusters and with a change data feed take rows', async () => {
    const times = place('times')
    const clusters = place('clusters')
    const feed = place('feed')
    await spark.sql(
      `CREATE TABLE ${times.delta} (id INT, text STRING) USING delta TBLPROPERTIES ('delta.enableInCommitTimestamps' = 'true', ${VECTORS})`,
      `CREATE TABLE ${clusters.delta} (id INT, text STRING) USING delta CLUSTER BY (id) TBLPROPERTIES (${VECTORS})`,
      `CREATE TABLE ${feed.delta} (id INT, text STRING) USING delta TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true', ${VECTORS})`,
      ...[times, clusters, feed].map(({ delta }) => `INSERT INTO ${delta} VALUES (1, 'a'), (2, 'b')`),
    )
    for (const { path, delta } of [times, clusters]) {
      change(path, `UPDATE data SET text = 'ours' WHERE id = 1`)
      for (let id = 3; id < 12; id++) change(path, `INSERT INTO data VALUES (${id}, 'ours')`)
      await spark.sql(`OPTIMIZE ${delta}`, `INSERT INTO ${delta} VALUES (20, 'theirs')`)
      change(path, 'DELETE FROM data WHERE id = 2')
      await expectSame(path, 11)
    }
    change(feed.path, `INSERT INTO data VALUES (3, 'ours')`)
    expect(await spark.sql(`SELECT id, _change_type FROM table_changes_by_path('${feed.path}', 2)`)).toEqual([
      [3, 'insert'],
    ])
    const history = posixlake('history', times.path, '--format', 'jsonl').trimEnd().split('\n')
    const stamps = history.map(line => (JSON.parse(line) as { timestamp: string }).timestamp)
    expect(stamps).toEqual(stamps.toSorted().toReversed())
    expect(new Set(stamps).size).toBe(stamps.length)
  }, 120_000)

  for (const [how, partition, properties] of [
    ['deletion vectors', '', VECTORS],
    ['files written anew', '', `'delta.enableDeletionVectors' = 'false'`],
    ['partitions', 'PARTITIONED BY (text)', VECTORS],
  ] as const) {
    test(`with a change data feed tell the same changes to both, whoever made them: ${how}`, async () => {
      const { path, delta } = place(`feed-${how.replaceAll(' ', '-')}`)
      await spark.sql(
        `CREATE TABLE ${delta} (id INT, text STRING) USING delta ${partition} TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true', ${properties})`,
        `INSERT INTO ${delta} SELECT id, concat('t', id % 3) FROM range(1, 13)`,
        `UPDATE ${delta} SET text = 'theirs' WHERE id IN (2, 3)`,
        `DELETE FROM ${delta} WHERE id = 4`,
      )
      change(path, `INSERT INTO data VALUES (20, 'ours'), (21, 'ours')`)
      change(path, `UPDATE data SET text = 'upd' WHERE id IN (1, 20)`)
      change(path, 'DELETE FROM data WHERE id IN (5, 21)')
      change(
        path,
        `MERGE INTO data USING (VALUES (6, 'm'), (7, 'm'), (30, 'm')) AS new (id, text) ON data.id = new.id
         WHEN MATCHED AND new.id = 6 THEN DELETE WHEN MATCHED THEN UPDATE SET text = new.text WHEN NOT MATCHED THEN INSERT (id, text) VALUES (new.id, new.text)`,
      )
      await save(path, text => text.replace(/^8,.*\n/m, '8,edited\n').replace(/^9,.*\n/m, ''))
      await spark.sql(
        `MERGE INTO ${delta} t USING (SELECT 10 id, 'x' text UNION SELECT 40, 'y') s ON t.id = s.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *`,
      )
      posixlake('optimize', path)
      await spark.sql(`DELETE FROM ${delta} WHERE id > 10`)
      posixlake('restore', path, '--version', '9')
      change(path, 'TRUNCATE data')
      const theirs = await spark.sql(
        `SELECT id, text, _change_type, CAST(_commit_version AS INT), unix_millis(_commit_timestamp) FROM table_changes_by_path('${path}', 0)`,
      )
      const mine = posixlake('changes', path, '--from', '0', '--format', 'jsonl')
        .trimEnd()
        .split('\n')
        .map(line => {
          const row = JSON.parse(line) as Record<string, string>
          return [row.id, row.text, row._change_type, row._commit_version, Date.parse(row._commit_timestamp!)]
        })
      const sorted = (rows: unknown[][]): string[] => rows.map(row => JSON.stringify(row)).sort()
      expect(sorted(mine)).toEqual(sorted(theirs))
      const kinds = (version: number): unknown[] =>
        theirs
          .filter(row => row[3] === version)
          .map(row => `${row[0]} ${row[2]}`)
          .sort()
      expect(kinds(5)).toEqual(['1 update_postimage', '1 update_preimage', '20 update_postimage', '20 update_preimage'])
      expect(kinds(6)).toEqual(['21 delete', '5 delete'])
      expect(kinds(7)).toEqual(['30 insert', '6 delete', '7 update_postimage', '7 update_preimage'])
      expect(kinds(8)).toEqual(['8 update_postimage', '8 update_preimage', '9 delete'])
    }, 120_000)
  }

  test('with default values give them to rows that lack the column', async () => {
    const { path, delta } = place('defaults')
    await spark.sql(
      `CREATE TABLE ${delta} (id INT, text STRING NOT NULL DEFAULT 'none', n INT DEFAULT 40 + 2) USING delta TBLPROPERTIES ('delta.feature.allowColumnDefaults' = 'supported')`,
      `INSERT INTO ${delta} (id) VALUES (1)`,
    )
    change(path, 'INSERT INTO data (id, n) VALUES (2, NULL)')
    change(path, 'INSERT INTO data (id) VALUES (3)')
    await save(path, text => `${text}id\n4\n`)
    expect(await spark.sql(`SELECT * FROM ${delta} ORDER BY id`)).toEqual([
      [1, 'none', 42],
      [2, 'none', null],
      [3, 'none', 42],
      [4, 'none', 42],
    ])
  }, 120_000)

  for (const [how, properties] of [
    ['deletion vectors', VECTORS],
    ['files written anew', `'delta.enableDeletionVectors' = 'false'`],
  ] as const) {
    test(`with row tracking keep the id of each row, whoever changes it: ${how}`, async () => {
      const { path, delta } = place(`tracked-${how.replaceAll(' ', '-')}`)
      await spark.sql(
        `CREATE TABLE ${delta} (id INT, text STRING) USING delta TBLPROPERTIES ('delta.enableRowTracking' = 'true', ${properties})`,
        `INSERT INTO ${delta} SELECT id, 'a' FROM range(1, 6)`,
        `UPDATE ${delta} SET text = 'theirs' WHERE id = 2`,
      )
      const tracked = async (): Promise<Map<unknown, unknown[]>> => {
        const rows = await spark.sql(
          `SELECT id, CAST(_metadata.row_id AS INT), CAST(_metadata.row_commit_version AS INT) FROM ${delta} ORDER BY id`,
        )
        expect(new Set(rows.map(row => row[1])).size).toBe(rows.length)
        return new Map(rows.map(([id, ...facts]) => [id, facts]))
      }
      const before = await tracked()
      const idOf = (id: number): unknown => before.get(id)![0]
      change(path, `INSERT INTO data VALUES (6, 'ours')`) // version 3
      change(path, `UPDATE data SET text = 'ours' WHERE id = 1`) // 4
      change(path, 'DELETE FROM data WHERE id = 5') // 5
      await save(path, text => text.replace(/^2,.*\n/m, '2,edited\n')) // 6
      change(
        path, // 7
        `MERGE INTO data USING (VALUES (3, 'm'), (7, 'm')) AS new (id, text) ON data.id = new.id
         WHEN MATCHED THEN UPDATE SET text = new.text WHEN NOT MATCHED THEN INSERT (id, text) VALUES (new.id, new.text)`,
      )
      const changed = await tracked()
      expect([...changed].map(([id, [, version]]) => [id, version])).toEqual([
        [1, 4],
        [2, 6],
        [3, 7],
        [4, before.get(4)![1]],
        [6, 3],
        [7, 7],
      ])
      for (const id of [1, 2, 3, 4]) expect([id, changed.get(id)![0]]).toEqual([id, idOf(id)])
      posixlake('optimize', path)
      expect(await tracked()).toEqual(changed)
      posixlake('optimize', path, '--zorder', 'text,id')
      expect(await tracked()).toEqual(changed)
      await spark.sql(`UPDATE ${delta} SET text = 'again' WHERE id = 1`, `INSERT INTO ${delta} VALUES (8, 'theirs')`)
      const after = await tracked()
      for (const [id, [rowId]] of changed) expect([id, after.get(id)![0]]).toEqual([id, rowId])
      posixlake('check', path)
    }, 120_000)
  }

  test('with row tracking that posixlake switches on give Spark ids that stay', async () => {
    const { path, delta } = place('tracking-begins')
    posixlake('create', path, '--schema', 'id:Int64,text:String')
    for (let i = 0; i < 3; i++) change(path, `INSERT INTO data VALUES (${2 * i}, 'a'), (${2 * i + 1}, 'b')`)
    change(path, 'DELETE FROM data WHERE id = 2')
    change(path, `ALTER TABLE data SET TBLPROPERTIES ('delta.enableRowTracking' = 'true')`)
    const tracked = (): Promise<unknown[][]> =>
      spark.sql(`SELECT id, CAST(_metadata.row_id AS INT) FROM ${delta} WHERE text != 'new' ORDER BY id`)
    const before = await tracked()
    expect(new Set(before.map(([, rowId]) => rowId)).size).toBe(5)
    await spark.sql(`UPDATE ${delta} SET text = 'theirs' WHERE id = 1`, `INSERT INTO ${delta} VALUES (10, 'new')`)
    change(path, `UPDATE data SET text = 'ours' WHERE id = 4`)
    change(path, `INSERT INTO data VALUES (11, 'new')`)
    posixlake('optimize', path, '--zorder', 'text')
    expect(await tracked()).toEqual(before)
    await spark.sql(`OPTIMIZE ${delta}`, `DELETE FROM ${delta} WHERE id = 0`)
    expect(await tracked()).toEqual(before.slice(1))
    const [[distinct] = []] = await spark.sql(`SELECT CAST(count(DISTINCT _metadata.row_id) AS INT) FROM ${delta}`)
    expect(distinct).toBe(6)
    expect(posixlake('check', path)).toBe('')
  }, 120_000)

  test('with rules that posixlake does not know how to keep are read, and writing is refused by the name of the rule', async () => {
    const hashed = place('hashed')
    await spark.sql(
      `CREATE TABLE ${hashed.delta} (id INT, text STRING) USING delta`,
      `ALTER TABLE ${hashed.delta} ADD CONSTRAINT spread CHECK (hash(id) IS NOT NULL)`,
      `INSERT INTO ${hashed.delta} VALUES (1, 'a'), (2, 'b')`,
    )
    for (const [table, rows, rule] of [
      [
        hashed,
        ['1,a', '2,b'],
        'the CHECK constraint spread (hash ( id ) IS NOT NULL) is none that posixlake works out',
      ],
    ] as const) {
      expect(rowsOf(table.path)).toEqual([...rows])
      expect(refusal(table.path, 'INSERT INTO data SELECT * FROM data')).toContain(rule)
      expect(await spark.sql(`SELECT count(*) FROM ${table.delta}`)).toEqual([[2]])
    }
    const variant = place('variant')
    await spark.sql(
      `CREATE TABLE ${variant.delta} (id INT, v VARIANT) USING delta`,
      `INSERT INTO ${variant.delta} SELECT 1, parse_json('{"b": [1.50, null, "ü"], "a": 9007199254740993}')`,
      `INSERT INTO ${variant.delta} SELECT 2, to_variant_object(named_struct('d', DATE'2024-01-31', 't', TIMESTAMP'2024-01-31 12:30:00.5', 'x', X'01FF'))`,
    )
    expect(rowsOf(variant.path)).toEqual([
      '1,"{""a"":9007199254740993,""b"":[1.50,null,""ü""]}"',
      '2,"{""d"":""2024-01-31"",""t"":""2024-01-31T12:30:00.500000Z"",""x"":""Af8=""}"',
    ])
    expect(refusal(variant.path, 'INSERT INTO data SELECT * FROM data')).toContain('the column v is a VARIANT')
  }, 120_000)

  test('with CHECK constraints, generated and identity columns keep them whoever writes', async () => {
    const { path, delta } = place('ruled')
    await spark.call('ruled_table', path)
    await spark.sql(
      `ALTER TABLE ${delta} ADD CONSTRAINT cheap CHECK (price BETWEEN 0 AND 100 AND text RLIKE '^[a-z]+$')`,
      `INSERT INTO ${delta} (text, price, seen) VALUES ('spark', 1.50, TIMESTAMP '2024-02-29 23:59:59.999999')`,
    )
    change(path, `INSERT INTO data (text, price, seen) VALUES ('sql', 2, '0001-01-01 00:00:00'), ('null', 0, NULL)`)
    await save(path, text => `${text},mount,3,,2024-12-31T12:00:00Z,,\n`)
    await save(path, text => text.replace('spark,1.50,1.800', 'sparks,9.99,1.800'))
    change(path, `UPDATE data SET price = 5 WHERE text = 'sql'`)
    expect(refusal(path, `INSERT INTO data (text, price) VALUES ('dear', 101)`)).toContain('the CHECK constraint cheap')
    expect(refusal(path, `INSERT INTO data (text) VALUES ('unknown')`)).toContain('the CHECK constraint cheap')
    expect(refusal(path, `INSERT INTO data (text, price) VALUES ('Two words', 1)`)).toContain(
      'the CHECK constraint cheap',
    )
    // NULL is no more TRUE to Spark than to posixlake.
    await expect(spark.sql(`INSERT INTO ${delta} (text) VALUES ('unknown')`)).rejects.toThrow('cheap')
    // Spark finds the generated values that it would have made itself, and goes on with the next number.
    await spark.sql(
      `INSERT INTO ${delta} (text, price, gross, seen, day, label) SELECT text, price, gross, seen, day, label FROM ${delta} WHERE text <> 'spark'`,
    )
    const rows = await spark.sql(`SELECT * FROM ${delta} ORDER BY id`)
    expect(rows.slice(0, 4)).toEqual([
      [1, 'sparks', 9.99, 11.988, '2024-02-29T23:59:59.999Z', '2024-02-29', 'SPAR 2024-02'],
      [2, 'sql', 5, 6, '0001-01-01T00:00:00.000Z', '0001-01-01', 'SQL 0001-01'],
      [3, 'null', 0, 0, null, null, null],
      [4, 'mount', 3, 3.6, '2024-12-31T12:00:00.000Z', '2024-12-31', 'MOUN 2024-12'],
    ])
    const values = (some: unknown[][]): string[] => some.map(([, ...row]) => JSON.stringify(row)).sort()
    expect(values(rows.slice(4))).toEqual(values(rows.slice(0, 4)))
    expect(new Set(rows.map(([id]) => id)).size).toBe(8)
    expect(Math.min(...rows.slice(4).map(([id]) => Number(id)))).toBeGreaterThan(4)
    change(path, `INSERT INTO data (text, price) VALUES ('last', 1)`)
    expect(ours(path, 'SELECT max(id) > 8 FROM data')).toEqual([[true]])
  }, 120_000)

  test('get CHECK constraints from posixlake, which Spark keeps', async () => {
    const { path, delta } = place('constrained')
    posixlake('create', path, '--schema', 'id:Int64,text:String')
    change(path, `INSERT INTO data VALUES (1, 'a')`)
    expect(refusal(path, 'ALTER TABLE data ADD CONSTRAINT large CHECK (id > 1)')).toContain(
      'row 1, {"id":1,"text":"a"}',
    )
    change(path, 'ALTER TABLE data ADD CONSTRAINT Positive CHECK (id > 0)')
    await expect(spark.sql(`INSERT INTO ${delta} VALUES (0, 'b')`)).rejects.toThrow('positive')
    await spark.sql(`INSERT INTO ${delta} VALUES (2, 'b')`, `ALTER TABLE ${delta} DROP CONSTRAINT positive`)
    change(path, `INSERT INTO data VALUES (0, 'c')`)
    await expectSame(path, 3)
  }, 120_000)

  test('have rules whose expressions mean the same to both', async () => {
    const all = Object.values(EXPRESSIONS).flat()
    const asked = all.flatMap(([sql], i) => [`CAST((${sql}\n) AS STRING) AS v${i}`, `typeof((${sql}\n)) AS t${i}`])
    const [answers = []] = await spark.sql(`SELECT ${asked.join(', ')} FROM (${ROW_SQL})`)
    const theirs = all.map(([sql], i) => [
      sql,
      `${answers[2 * i] ?? 'NULL'} ${String(answers[2 * i + 1]).toUpperCase()}`,
    ])
    // A timestamp in Spark's own form.
    const ours = all.map(([sql, expected]) => [sql, expected.replace(/^(\S+)T(\S+)Z TIMESTAMP$/, '$1 $2 TIMESTAMP')])
    expect(theirs).toEqual(ours)
  }, 120_000)
})
