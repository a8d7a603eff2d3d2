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
