import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from '../helpers/temporary.ts'

const MAIN = join(import.meta.dir, '../../src/main.ts')
const folder = temporaryFolder()
const table = join(folder.path, 'people')

function run(...args: string[]): { readonly code: number; readonly stdout: string; readonly stderr: string } {
  const env = { ...process.env, XDG_CACHE_HOME: join(folder.path, 'cache'), XDG_STATE_HOME: join(folder.path, 'state') }
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, MAIN, ...args], { env, stdin: 'ignore' })
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() }
}

function saidBy(...args: string[]): string {
  const { code, stdout, stderr } = run(...args)
  expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
  return stderr
}

beforeAll(() => {
  run('create', table, '--schema', 'id:Int64,name:String')
  run('query', table, `INSERT INTO data VALUES (1, 'Alice'), (2, 'Bob')`)
  run('query', table, `DELETE FROM data`)
})
afterAll(() => folder[Symbol.dispose]())

const shown = (): string => run('cat', table).stdout

describe('operations by command', () => {
  test('undo says what it takes back', () => {
    expect(shown()).toBe('id,name\n')
    const [first, second] = saidBy('undo', table).trimEnd().split('\n')
    expect(first).toMatch(/^version 2 of 20\S+Z is taken back: DELETE .*numDeletedRows=2/)
    expect(second).toBe('version 3: the table is as it was at version 1')
    expect(shown()).toBe('id,name\n1,Alice\n2,Bob\n')
  })

  test('restore needs to know which version, and leaves a table alone that is so', () => {
    expect(run('restore', table)).toMatchObject({
      code: 2,
      stderr: 'posixlake: give --version or --timestamp; posixlake history lists them\n',
    })
    expect(saidBy('restore', table, '--version', '1')).toBe('the table is as it was at version 1 already\n')
    expect(saidBy('restore', table, '--version', '0')).toBe('version 4: the table is as it was at version 0\n')
    expect(JSON.parse(run('restore', table, '--version', '1', '--format', 'json').stdout)).toEqual({
      restored: 1,
      version: 5,
      restoredFiles: 1,
      removedFiles: 0,
    })
    expect(run('restore', table, '--version', '77')).toMatchObject({ code: 1 })
  })

  test('changes prints the rows that versions changed, in any form, and says what to do without a feed', () => {
    const fed = join(folder.path, 'fed')
    run('create', fed, '--schema', 'id:Int64,name:String')
    expect(run('changes', fed, '--from', '0')).toMatchObject({ code: 1, stdout: '' })
    expect(run('changes', fed, '--from', '0').stderr).toContain('ALTER TABLE data SET TBLPROPERTIES')
    saidBy('query', fed, `ALTER TABLE data SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')`)
    saidBy('query', fed, `INSERT INTO data VALUES (1, 'Alice'), (2, 'Bob')`)
    saidBy('query', fed, `UPDATE data SET name = 'Bert' WHERE id = 2`)
    const lines = run('changes', fed, '--from', '1', '--format', 'csv').stdout.trimEnd().split('\n')
    expect(lines[0]).toBe('id,name,_change_type,_commit_version,_commit_timestamp')
    expect(lines.slice(1).map(line => line.replace(/,20[^,]*Z$/, ''))).toEqual([
      '1,Alice,insert,2',
      '2,Bob,insert,2',
      '2,Bert,update_postimage,3',
      '2,Bob,update_preimage,3',
    ])
    const from = (...args: string[]): number =>
      run('changes', fed, ...args, '--format', 'jsonl').stdout.split('\n').length - 1
    expect(from('--from', '3')).toBe(2)
    expect(from('--from', '2', '--to', '2')).toBe(2)
    const { timestamp } = JSON.parse(run('history', fed, '--format', 'jsonl', '--limit', '1').stdout) as {
      timestamp: string
    }
    expect(from('--from-timestamp', timestamp)).toBe(2)
    expect(from('--from', '1', '--to-timestamp', timestamp)).toBe(4)
    for (const [code, ...args] of [
      [2],
      [2, '--from', '1', '--from-timestamp', timestamp],
      [2, '--from', 'x'],
      [2, '--from-timestamp', 'now'],
      [2, '--from', '1', '--to', '2', '--to-timestamp', timestamp],
      [1, '--from', '9'],
      [1, '--from-timestamp', '2999-01-01'],
    ] as const)
      expect([args, run('changes', fed, ...args).code]).toEqual([args, code])
  })

  test('query --txn changes a table once for each number of an application', () => {
    const app = join(folder.path, 'app')
    run('create', app, '--schema', 'id:Int64')
    const insert = (txn: string) => run('query', app, '--txn', txn, 'INSERT INTO data VALUES (1)')
    expect(insert('night:ly:7')).toMatchObject({ code: 0, stderr: 'version 1: 1 inserted, 0 updated, 0 deleted\n' })
    for (const txn of ['night:ly:7', 'night:ly:3'])
      expect(insert(txn)).toMatchObject({ code: 0, stderr: `nothing changed: ${txn} or a later one is done already\n` })
    expect(insert('night:ly:8').stderr).toStartWith('version 2')
    expect(insert('other:1').stderr).toStartWith('version 3')
    expect(run('cat', app).stdout).toBe('id\n1\n1\n1\n')
    for (const txn of ['nightly', ':7', 'a:-1', 'a:b']) expect([txn, insert(txn).code]).toEqual([txn, 2])
  })

  test('vacuum prints the files, and refuses times that are too short or none', () => {
    const time = Date.now() / 1000 - 40 * 86_400
    for (const name of readdirSync(table)) if (name.endsWith('.parquet')) utimesSync(join(table, name), time, time)
    Bun.spawnSync([
      'sh',
      '-c',
      `cp ${table}/*.parquet ${table}/stray.parquet && touch -d '40 days ago' ${table}/stray.parquet`,
    ])
    const dry = run('vacuum', table, '--dry-run')
    expect(dry).toMatchObject({ code: 0, stdout: 'stray.parquet\n' })
    expect(dry.stderr).toMatch(/^1 file \(.*\) would be deleted; what versions of the last 1 week need stays\n$/)
    expect(run('vacuum', table, '--retain', '1h')).toMatchObject({ code: 1 })
    expect(run('vacuum', table, '--retain', 'soon')).toMatchObject({
      code: 2,
      stderr: "posixlake: --retain takes a time such as 168h, 7d or '7 days', not soon\n",
    })
    expect(JSON.parse(run('vacuum', table, '--retain', '30d', '--format', 'json').stdout)).toMatchObject({
      dryRun: false,
      files: ['stray.parquet'],
    })
    expect(readdirSync(table)).not.toContain('stray.parquet')
    expect(shown()).toBe('id,name\n1,Alice\n2,Bob\n')
  })

  test('optimize puts small files together, and leaves every line where it is', () => {
    const small = join(folder.path, 'small')
    run('create', small, '--schema', 'id:Int64,name:String')
    for (let i = 0; i < 4; i++) run('query', small, `INSERT INTO data VALUES (${i}, 'row ${i}')`)
    const before = run('cat', small).stdout
    expect(saidBy('optimize', small)).toBe('version 5: 4 files became 1 file\n')
    expect(run('cat', small).stdout).toBe(before)
    expect(saidBy('optimize', small)).toBe('there is nothing to put together\n')
    expect(run('optimize', small, '--target-size', 'big')).toMatchObject({ code: 2 })
    expect(run('optimize', small, '--where', 'id = 1')).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'posixlake: the condition id = 1 cannot be used: it picks partitions, and the table has none (id is a column like any other)\n',
    })
  })

  test('optimize --where puts the files of some partitions together', () => {
    const days = join(folder.path, 'days')
    run('create', days, '--schema', 'id:Int64,day:Date', '--partition-by', 'day')
    for (let i = 0; i < 3; i++)
      run('query', days, `INSERT INTO data VALUES (${i}, DATE '2026-01-01'), (${i}, DATE '2026-01-02')`)
    expect(saidBy('optimize', days, '--where', "day >= '2026-01-02'")).toBe('version 4: 3 files became 1 file\n')
    expect(JSON.parse(run('history', days, '--limit', '1', '--format', 'jsonl').stdout)).toMatchObject({
      operation: 'OPTIMIZE',
      parameters: { predicate: `["day >= '2026-01-02'"]` },
      metrics: { numRemovedFiles: '3', numAddedFiles: '1' },
    })
    expect(
      run('query', days, 'SELECT day, count(*) AS n FROM data GROUP BY 1 ORDER BY 1', '--format', 'csv').stdout,
    ).toBe('day,n\n2026-01-01,3\n2026-01-02,3\n')
  })

  test('optimize --zorder puts rows that are near to one another into the same files', () => {
    const points = join(folder.path, 'points')
    run('create', points, '--schema', 'id:Int64,x:Int64,`a.b`:String,s:struct<a:int>')
    run(
      'query',
      points,
      `INSERT INTO data SELECT i, (i * 7919) % 20000, CAST(i AS VARCHAR), {a: 1} FROM range(20000) t(i)`,
    )
    const sum = 'SELECT count(*) AS n, sum(id * x) AS s, sum(hash(id, x, "a.b")) AS h FROM data'
    const before = run('query', points, sum, '--format', 'csv').stdout
    expect(saidBy('optimize', points, '--zorder', 'x, `a.b`', '--target-size', '20kB')).toMatch(
      /^version 2: 1 file became \d+ files\n$/,
    )
    expect(run('query', points, sum, '--format', 'csv').stdout).toBe(before)
    expect(JSON.parse(run('history', points, '--limit', '1', '--format', 'jsonl').stdout)).toMatchObject({
      operation: 'OPTIMIZE',
      parameters: { predicate: '[]', zOrderBy: '["x","a.b"]' },
      metrics: { numRemovedFiles: '1' },
    })
    expect(readdirSync(join(folder.path, 'cache', 'posixlake', 'spill'))).toEqual([])
    for (const [code, columns] of [
      [2, 's.a'],
      [2, 'x,,id'],
      [2, ''],
      [1, 's'],
      [1, 'y'],
    ] as const)
      expect([columns, run('optimize', points, '--zorder', columns).code]).toEqual([columns, code])
    expect(run('check', points).code).toBe(0)
  })

  test('check says that nothing is wrong, or what, and its exit status tells', () => {
    expect(saidBy('check', table)).toMatch(/^version \d+, 1 data files?: nothing is wrong\n$/)
    const [name] = readdirSync(table).filter(file => file.endsWith('.parquet'))
    rmSync(join(table, name!))
    expect(run('check', table)).toEqual({ code: 1, stdout: `${name}: the file is gone\n`, stderr: '' })
    expect(JSON.parse(run('check', table, '--quick', '--format', 'json').stdout)).toMatchObject({
      faults: [`${name}: the file is gone`],
    })
  })
})
