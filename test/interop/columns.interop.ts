import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { localStore } from '../../src/storage/local.ts'
import { writeCheckpoint } from '../../src/table/log/checkpoint-writer.ts'
import { openTable } from '../../src/table/table.ts'
import { engines, posixlake, python, Spark } from './environment.ts'

let folder = ''
let spark: Spark

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'posixlake-columns-'))
  python()
  spark = await Spark.start(join(folder, 'spark.log'))
}, 600_000)
afterAll(async () => {
  await spark?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const change = (path: string, statement: string): string => posixlake('query', path, statement)
const alter = (path: string, what: string): string => change(path, `ALTER TABLE data ${what}`)
const MAP_COLUMNS = `SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')`

function ours(path: string, query: string): unknown[][] {
  const lines = posixlake('query', path, query, '--format', 'jsonl').trimEnd()
  return lines === '' ? [] : lines.split('\n').map(line => Object.values(JSON.parse(line) as object))
}

/** All engines give these rows for a query on `data`. */
async function expectRows(path: string, query: string, rows: readonly unknown[][]): Promise<void> {
  expect(ours(path, query)).toEqual([...rows])
  expect(await spark.sql(query.replace(/\bdata\b/, `delta.\`${path}\``))).toEqual([...rows])
  expect(engines('rust_rows', path, query)).toEqual([...rows])
  expect(engines('duck_rows', path, query)).toEqual([...rows])
}

/** Puts a checkpoint of version 4 with a sidecar for each file in the place of the one that is there. */
async function withSidecars(path: string): Promise<void> {
  const log = join(path, '_delta_log')
  const store = localStore(path)
  const { snapshot } = await openTable(store)
  for (const file of readdirSync(log).filter(name => name.includes('.checkpoint.'))) rmSync(join(log, file))
  await writeCheckpoint(store, snapshot, { keepRemovedSinceMs: 0, sidecarActions: 1 })
  expect(readdirSync(join(log, '_sidecars'))).toHaveLength(3)
}

describe('columns that posixlake renamed and dropped', () => {
  test('are so to all engines, after columns were mapped and in a table made with mapping', async () => {
    for (const made of ['later', 'at-once']) {
      const path = join(folder, made)
      posixlake(
        'create',
        path,
        '--schema',
        'id:Int64,name:String,x:Int32',
        ...(made === 'later' ? [] : ['--column-mapping']),
      )
      change(path, `INSERT INTO data VALUES (1, 'one', 10), (2, 'two', 20)`)
      if (made === 'later') alter(path, MAP_COLUMNS)
      alter(path, 'RENAME COLUMN name TO title')
      alter(path, 'DROP COLUMN x')
      alter(path, 'ADD COLUMN x STRING')
      change(path, `INSERT INTO data VALUES (3, 'three', 'new')`)
      const rows = [
        [1, 'one', null],
        [2, 'two', null],
        [3, 'three', 'new'],
      ]
      await expectRows(path, 'SELECT id, title, x FROM data ORDER BY id', rows)
      await expectRows(path, `SELECT id FROM data WHERE title = 'two' ORDER BY id`, [[2]])
      change(path, 'DELETE FROM data WHERE id = 1')
      await spark.sql(
        `ALTER TABLE delta.\`${path}\` RENAME COLUMN title TO label`,
        `ALTER TABLE delta.\`${path}\` DROP COLUMN x`,
        `INSERT INTO delta.\`${path}\` VALUES (4, 'theirs')`,
        `UPDATE delta.\`${path}\` SET label = 'changed' WHERE id = 2`,
      )
      alter(path, 'RENAME COLUMN label TO l')
      change(path, `UPDATE data SET l = 'ours' WHERE id = 4`)
      await expectRows(path, 'SELECT id, l FROM data ORDER BY id', [
        [2, 'changed'],
        [3, 'three'],
        [4, 'ours'],
      ])
      expect(posixlake('check', path)).toBe('')
    }
  }, 280_000)

  test('of partitions, structs and lists are read by Spark and written by it', async () => {
    const path = join(folder, 'nested')
    const delta = `delta.\`${path}\``
    posixlake(
      ...['create', path, '--schema', 'id:Int64,p:String,s:struct<a:int,b:string>,l:array<struct<x:int>>'],
      ...['--partition-by', 'p', '--column-mapping'],
    )
    change(path, `INSERT INTO data VALUES (1, 'a/b', {a: 1, b: 'x'}, [{x: 5}])`)
    alter(path, 'RENAME COLUMN p TO q')
    alter(path, 'RENAME COLUMN s.a TO c')
    alter(path, 'DROP COLUMN s.b')
    alter(path, 'RENAME COLUMN l.element.x TO y')
    await spark.sql(`INSERT INTO ${delta} VALUES (2, 'a/b', struct(2), array(struct(6)))`)
    const rows = [
      [1, 'a/b', 1, 5],
      [2, 'a/b', 2, 6],
    ]
    expect(await spark.sql(`SELECT id, q, s.c, l[0].y FROM ${delta} ORDER BY id`)).toEqual(rows)
    expect(ours(path, 'SELECT id, q, s.c, l[1].y FROM data ORDER BY id')).toEqual(rows)
  }, 120_000)
})

describe('columns whose types posixlake widened', () => {
  test('have their values for Spark, which goes on with them', async () => {
    const path = join(folder, 'wide')
    const delta = `delta.\`${path}\``
    posixlake('create', path, '--schema', 'a:Int8,i:Int32,f:Float32,d:Decimal(5,2),y:Date,l:array<int>,m:map<int,int>')
    change(path, `INSERT INTO data VALUES (-7, -7, 0.5, -7.25, DATE '2020-01-02', [1], MAP {1: 2})`)
    alter(path, `SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')`)
    for (const [column, type] of [
      ['a', 'int'],
      ['a', 'bigint'],
      ['i', 'double'],
      ['f', 'double'],
      ['d', 'decimal(10,4)'],
      ['y', 'timestamp_ntz'],
      ['l.element', 'bigint'],
      ['m.value', 'bigint'],
    ])
      alter(path, `ALTER COLUMN ${column} TYPE ${type}`)
    change(
      path,
      `INSERT INTO data VALUES (5000000000, 0.5, 0.1, 0.0001, TIMESTAMP '2020-01-02 03:04:05', [5000000000], MAP {1: 5000000000})`,
    )
    await spark.sql(
      `ALTER TABLE ${delta} ALTER COLUMN d TYPE DECIMAL(12,4)`,
      `UPDATE ${delta} SET i = i + 1 WHERE a = -7`,
    )
    expect(
      await spark.sql(`SELECT a, i, f, CAST(d AS STRING), CAST(y AS STRING), l[0], m[1] FROM ${delta} ORDER BY a`),
    ).toEqual([
      [-7, -6, 0.5, '-7.2500', '2020-01-02 00:00:00', 1, 2],
      [5_000_000_000, 0.5, 0.1, '0.0001', '2020-01-02 03:04:05', 5_000_000_000, 5_000_000_000],
    ])
    expect(posixlake('cat', path).trimEnd().split('\n').slice(1).sort()).toEqual([
      '-7,-6.0,0.5,-7.2500,2020-01-02T00:00:00,[1],"[[1,2]]"',
      '5000000000,0.5,0.1,0.0001,2020-01-02T03:04:05,[5000000000],"[[1,5000000000]]"',
    ])
  }, 120_000)
})

describe('a clustered table', () => {
  test('stays so by all that posixlake does, under new names of its columns', async () => {
    const path = join(folder, 'clustered')
    const delta = `delta.\`${path}\``
    await spark.sql(
      `CREATE TABLE ${delta} (id BIGINT, name STRING, s STRUCT<x: INT>) USING delta CLUSTER BY (id, s.x) TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.checkpointInterval' = '3')`,
      `INSERT INTO ${delta} VALUES (1, 'one', struct(1)), (2, 'two', struct(2))`,
    )
    alter(path, 'RENAME COLUMN id TO key')
    alter(path, 'RENAME COLUMN s.x TO y')
    alter(path, 'DROP COLUMN name')
    change(path, `INSERT INTO data VALUES (3, {y: 3})`)
    change(path, 'UPDATE data SET key = 20 WHERE key = 2')
    posixlake('optimize', path)
    for (const column of ['key', 's.y']) expect(() => alter(path, `DROP COLUMN ${column}`)).toThrow('clustered by it')
    const [[columns]] = (await spark
      .sql(`DESCRIBE DETAIL ${delta}`)
      .then(rows => rows.map(row => row.filter(value => Array.isArray(value) && value.includes('key'))))) as [
      [string[]],
    ]
    expect(columns).toEqual(['key', 's.y'])
    await spark.sql(`INSERT INTO ${delta} VALUES (4, struct(4))`, `OPTIMIZE ${delta}`)
    expect(await spark.sql(`SELECT key, s.y FROM ${delta} ORDER BY key`)).toEqual([
      [1, 1],
      [3, 3],
      [4, 4],
      [20, 20 - 18],
    ])
    expect(ours(path, 'SELECT key FROM data ORDER BY key')).toEqual([[1], [3], [4], [20]])
  }, 120_000)
})

describe('rows that posixlake put in the place of others', () => {
  test('are those that all engines have', async () => {
    const path = join(folder, 'overwritten')
    posixlake('create', path, '--schema', 'id:Int64,day:String', '--partition-by', 'day')
    change(path, `INSERT INTO data VALUES (1, 'a'), (2, 'a'), (3, 'b')`)
    change(path, `INSERT INTO data REPLACE WHERE day = 'a' VALUES (9, 'a')`)
    const query = 'SELECT id, day FROM data ORDER BY id'
    await expectRows(path, query, [
      [3, 'b'],
      [9, 'a'],
    ])
    const delta = `delta.\`${path}\``
    await spark.sql(`INSERT OVERWRITE ${delta} SELECT id + 10, day FROM ${delta}`)
    change(path, `INSERT INTO data REPLACE WHERE id > 15 VALUES (16, 'c')`)
    change(path, `INSERT OVERWRITE data SELECT id + 1, day FROM data`)
    await expectRows(path, query, [
      [14, 'b'],
      [17, 'c'],
    ])
    const history = (await spark.sql(`DESCRIBE HISTORY ${delta}`)) as unknown[][]
    expect(JSON.stringify(history)).toContain('"predicate": "id > 15"'.replace(': ', ':'))
  }, 120_000)
})

describe('checkpoints that posixlake writes', () => {
  test('of version 2, and with statistics in columns of their own, are what other engines start from', async () => {
    for (const [name, properties] of [
      ['v2', `'delta.checkpointPolicy' = 'v2'`],
      ['struct', `'delta.checkpoint.writeStatsAsStruct' = 'true', 'delta.checkpoint.writeStatsAsJson' = 'false'`],
      ['v2struct', `'delta.checkpointPolicy' = 'v2', 'delta.checkpoint.writeStatsAsJson' = 'false'`],
    ] as const) {
      const path = join(folder, name)
      posixlake(
        'create',
        path,
        '--schema',
        'id:Int64,name:String,day:Date,at:Timestamp,n:struct<x:int>,p:String',
        '--partition-by',
        'p',
      )
      alter(path, `SET TBLPROPERTIES (${properties}, 'delta.checkpointInterval' = '4')`)
      for (let i = 1; i <= 3; i++)
        change(
          path,
          `INSERT INTO data VALUES (${i}, 'row ${i}', DATE '2020-01-0${i}', TIMESTAMPTZ '2020-01-0${i} 00:00:00+00', {x: ${i}}, 'p${i}')`,
        )
      const log = join(path, '_delta_log')
      expect(readdirSync(log).some(file => /^0{19}4\.checkpoint\./.test(file))).toBe(true)
      // Spark wants to see the commit of the checkpoint itself.
      for (const version of [0, 1, 2, 3]) rmSync(join(log, `0000000000000000000${version}.json`))
      for (const crc of readdirSync(log).filter(file => file.endsWith('.crc'))) rmSync(join(log, crc))
      if (name === 'v2struct') await withSidecars(path)
      const rows = [1, 2, 3].map(i => [i, `row ${i}`, `p${i}`])
      await expectRows(path, 'SELECT id, name, p FROM data ORDER BY id', rows)
      await expectRows(path, `SELECT id FROM data WHERE id > 1 AND day < DATE '2020-01-03' AND p <> 'p1'`, [[2]])
      await spark.sql(`DELETE FROM delta.\`${path}\` WHERE id = 1`, `OPTIMIZE delta.\`${path}\``)
      change(path, `UPDATE data SET name = 'ours' WHERE id = 2`)
      await expectRows(path, 'SELECT id, name FROM data ORDER BY id', [
        [2, 'ours'],
        [3, 'row 3'],
      ])
    }
  }, 280_000)
})
