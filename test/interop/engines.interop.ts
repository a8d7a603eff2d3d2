import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BINARY, engines, posixlake, python } from './environment.ts'

let folder = ''

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'posixlake-interop-'))
  python()
}, 600_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const sql = (table: string, statement: string): string => posixlake('query', table, statement)

/** The rows of a query by posixlake, each value as text. */
function ours(table: string, query: string): (string | null)[][] {
  const lines = posixlake('query', table, query, '--format', 'jsonl').trimEnd()
  return lines === ''
    ? []
    : lines.split('\n').map(line => Object.values(JSON.parse(line) as Record<string, string | null>))
}

const ALL_TYPES =
  'id:Int64,i8:Int8,i16:Int16,i32:Int32,f32:Float32,f64:Float64,dec:Decimal(38,10),small:Decimal(7,2),text:String,flag:Boolean,bin:Binary,day:Date,seen:Timestamp,wall:Timestamp_ntz,list:array<int>,pairs:map<string,bigint>,nested:struct<a:int,b:array<string>>'

describe('tables that posixlake writes', () => {
  test('are read by DuckDB to the last digit, of every type, with deleted rows and through a checkpoint', () => {
    const table = join(folder, 'types')
    posixlake('create', table, '--schema', ALL_TYPES)
    const values = (id: number): string =>
      `(${id}, ${id % 100}, ${-id}, ${id * 1000}, ${id}.5, ${id}.125, 12345678901234567890123456${(id % 90) + 10}.0123456789, -12345.67, 'text ''${id}'' ü', ${id % 2 === 0}, 'ab'::BLOB, DATE '19${60 + (id % 30)}-02-03', TIMESTAMPTZ '1969-12-31 23:59:59.999999+00', TIMESTAMP '2024-05-06 07:08:09.123456', [1, NULL, ${id}], MAP {'k': ${id}, 'l': NULL}, {'a': ${id}, 'b': ['x', NULL]})`
    for (let commit = 0; commit < 12; commit++) {
      sql(
        table,
        `INSERT INTO data VALUES ${Array.from({ length: 20 }, (_, i) => values(commit * 20 + i + 1)).join(', ')}`,
      )
    }
    sql(table, `INSERT INTO data (id) VALUES (9999)`)
    sql(table, 'DELETE FROM data WHERE id % 7 = 0')
    sql(table, `UPDATE data SET text = 'changed' WHERE id % 5 = 0`)
    const query = `SELECT id::VARCHAR a, i8::VARCHAR b, i16::VARCHAR c, i32::VARCHAR d, f32::VARCHAR e, f64::VARCHAR f, dec::VARCHAR g, small::VARCHAR h,
      text i, flag::VARCHAR j, hex(bin) k, day::VARCHAR l, epoch_us(seen)::VARCHAR m, epoch_us(wall)::VARCHAR n, list::VARCHAR o, pairs::VARCHAR p, nested::VARCHAR q
      FROM data ORDER BY id`
    const mine = ours(table, query)
    expect(mine.length).toBe(240 - 34 + 1)
    expect(engines('duck_rows', table, query)).toEqual(mine)
  }, 120_000)

  test('are read by delta-rs, with vectors in the log and in files', () => {
    const table = join(folder, 'vectors')
    const csv = join(folder, 'rows.csv')
    Bun.spawnSync(['bash', '-c', `(echo id,name; seq 200000 | sed 's/.*/&,row &/') > ${csv}`])
    posixlake('create', table, '--from-csv', csv)
    sql(table, 'DELETE FROM data WHERE id = 17')
    sql(table, 'DELETE FROM data WHERE id % 3 = 0 AND hash(id) % 2 = 0')
    sql(table, `UPDATE data SET name = 'changed' WHERE id % 1000 = 1`)
    const query = `SELECT count(*) AS n, sum(id) AS s, count(CASE WHEN name = 'changed' THEN 1 END) AS c, min(id) AS a, max(id) AS b FROM data`
    const mine = ours(table, query).map(row => row.map(Number))
    expect((engines('rust_rows', table, query) as number[][]).map(row => row.map(Number))).toEqual(mine)
    expect((engines('duck_rows', table, query) as number[][]).map(row => row.map(Number))).toEqual(mine)
  }, 120_000)

  test('take appends by delta-rs, which show at the end of the view', () => {
    const table = join(folder, 'shared')
    posixlake('create', table, '--schema', 'id:Int64,name:String')
    sql(table, `INSERT INTO data VALUES (1, 'ours'), (2, 'gone')`)
    sql(table, 'DELETE FROM data WHERE id = 2')
    engines('rust_append', table, JSON.stringify([{ id: 3, name: 'theirs' }]))
    expect(posixlake('cat', table)).toBe('id,name\n1,ours\n3,theirs\n')
    sql(table, `UPDATE data SET name = 'both' WHERE id = 3`)
    expect(posixlake('cat', table)).toBe('id,name\n1,ours\n3,both\n')
    expect(engines('rust_rows', table, 'SELECT id, name FROM data ORDER BY id')).toEqual([
      [1, 'ours'],
      [3, 'both'],
    ])
  }, 120_000)
})

describe('plain tables of posixlake', () => {
  test('are read by pandas: what was only appended to, and what has no deletion vectors for ever', () => {
    const csv = join(folder, 'plain.csv')
    Bun.spawnSync(['bash', '-c', `(echo id,name,n; seq 50000 | sed 's/.*/&,row &,1&000/') > ${csv}`])
    const appended = join(folder, 'appended')
    posixlake('create', appended, '--from-csv', csv)
    sql(appended, `INSERT INTO data VALUES (50001, 'new', NULL)`)
    const rows = engines('pandas_rows', appended) as unknown[][]
    expect(rows).toHaveLength(50_001)
    expect([rows[0], rows[49_999], rows[50_000]]).toEqual([
      [1, 'row 1', 11000],
      [50000, 'row 50000', 150000000],
      [50001, 'new', null],
    ])
    const plain = join(folder, 'plain')
    posixlake('create', plain, '--from-csv', csv, '--no-deletion-vectors')
    sql(plain, 'DELETE FROM data WHERE id > 3')
    sql(plain, `UPDATE data SET name = 'changed' WHERE id = 2`)
    expect(engines('pandas_rows', plain)).toEqual([
      [1, 'row 1', 11000],
      [2, 'changed', 12000],
      [3, 'row 3', 13000],
    ])
    // The first change of the other one switches them on: engines that know them go on reading.
    sql(appended, 'DELETE FROM data WHERE id > 3')
    const query = 'SELECT id, name FROM data ORDER BY id'
    const left = [1, 2, 3].map(id => [id, `row ${id}`])
    expect(engines('rust_rows', appended, query)).toEqual(left)
    expect(engines('duck_rows', appended, query)).toEqual(left)
  }, 120_000)

  test('have partitions that others find, whatever their values are', () => {
    const table = join(folder, 'partitions')
    const csv = join(folder, 'parts.csv')
    const values = ['a/b', 'a=b', '100%', ' blank ', 'naïve 𝄞', "o'clock", 'x'.repeat(300)]
    Bun.write(csv, `id,p\n${values.map((value, i) => `${i},"${value}"`).join('\n')}\n${values.length},\n`)
    posixlake('create', table, '--from-csv', csv, '--partition-by', 'p')
    sql(table, `INSERT INTO data VALUES (100, 'a/b')`)
    sql(table, `UPDATE data SET p = 'moved/to' WHERE id = 100`)
    const expected = [...values.map((value, i) => [i, value]), [values.length, null], [100, 'moved/to']]
    const query = 'SELECT id, p FROM data ORDER BY id'
    expect(engines('rust_rows', table, query)).toEqual(expected)
    expect(engines('duck_rows', table, query)).toEqual(expected)
  }, 120_000)

  test('have files without rows that others read', async () => {
    const table = join(folder, 'no-rows')
    posixlake('create', table, '--schema', 'id:Int64,name:String,list:array<int>')
    sql(table, `INSERT INTO data VALUES (1, 'a', [1])`)
    const bytes = Bun.spawnSync([BINARY, 'query', table, 'FROM data WHERE id = 2', '--format', 'parquet']).stdout
    await Bun.write(join(table, 'none.parquet'), bytes)
    const add = { path: 'none.parquet', partitionValues: {}, size: bytes.length, modificationTime: 1, dataChange: true }
    await Bun.write(join(table, '_delta_log/00000000000000000002.json'), JSON.stringify({ add }))
    const query = 'SELECT id, name FROM data'
    expect(engines('rust_rows', table, query)).toEqual([[1, 'a']])
    expect(engines('duck_rows', table, query)).toEqual([[1, 'a']])
    expect(ours(table, query) as unknown[]).toEqual([[1, 'a']])
  }, 120_000)

  test('are read in Z order, and without the files that statistics rule out', () => {
    const table = join(folder, 'curved')
    posixlake('create', table, '--schema', 'id:Int64,name:String,seen:Timestamp')
    sql(
      table,
      `INSERT INTO data SELECT i, 'name ' || ((i * 7919) % 20000), make_timestamptz(((i * 104729) % 20000) * 1000000) FROM range(20000) t(i)`,
    )
    posixlake('optimize', table, '--zorder', 'name,seen', '--target-size', '50kB')
    const query = `SELECT count(*), sum(id), min(name), max(id) FROM data WHERE name >= 'name 5' AND seen < TIMESTAMP '1970-01-01 01:00:00'`
    const ours = JSON.parse(
      posixlake('query', table, 'SELECT count(*) AS n, sum(id) AS s FROM data', '--format', 'jsonl'),
    ) as object
    expect(ours).toEqual({ n: 20_000, s: 199_990_000 })
    const rust = engines('rust_rows', table, query)
    expect(engines('duck_rows', table, query)).toEqual(rust)
    expect(posixlake('check', table)).toBe('')
  }, 120_000)

  test('are read after restore, undo, optimize and vacuum', () => {
    const table = join(folder, 'restored')
    posixlake('create', table, '--schema', 'id:Int64,name:String')
    for (let i = 0; i < 5; i++) sql(table, `INSERT INTO data VALUES (${i}, 'row ${i}')`)
    sql(table, 'DELETE FROM data WHERE id < 2')
    sql(table, 'DELETE FROM data')
    posixlake('undo', table)
    posixlake('restore', table, '--version', '4')
    posixlake('optimize', table)
    posixlake('vacuum', table, '--retain', '0s', '--force')
    const query = 'SELECT id FROM data ORDER BY id'
    expect(engines('rust_rows', table, query)).toEqual([[0], [1], [2], [3]])
    expect(engines('duck_rows', table, query)).toEqual([[0], [1], [2], [3]])
    expect(posixlake('check', table)).toBe('')
  }, 120_000)
})

describe('tables that delta-rs writes', () => {
  test('are read and changed without deletion vectors, which they do not enable', () => {
    const table = join(folder, 'theirs')
    engines('rust_append', table, JSON.stringify([1, 2, 3, 4].map(id => ({ id, name: `row ${id}` }))))
    engines('rust_append', table, JSON.stringify([5, 6].map(id => ({ id, name: `row ${id}` }))))
    engines('rust_delete', table, 'id = 2')
    expect(posixlake('cat', table).trimEnd().split('\n').sort()).toEqual([
      '1,row 1',
      '3,row 3',
      '4,row 4',
      '5,row 5',
      '6,row 6',
      'id,name',
    ])
    sql(table, `INSERT INTO data VALUES (7, 'ours')`)
    sql(table, 'DELETE FROM data WHERE id = 4')
    sql(table, `UPDATE data SET name = 'changed' WHERE id = 5`)
    const expected = [
      [1, 'row 1'],
      [3, 'row 3'],
      [5, 'changed'],
      [6, 'row 6'],
      [7, 'ours'],
    ]
    expect(engines('rust_rows', table, 'SELECT id, name FROM data ORDER BY id')).toEqual(expected)
    expect(engines('duck_rows', table, 'SELECT id, name FROM data ORDER BY id')).toEqual(expected)
    expect(posixlake('query', table, 'SELECT count(*) AS n FROM data', '--format', 'csv')).toBe('n\n5\n')
  }, 120_000)
})
