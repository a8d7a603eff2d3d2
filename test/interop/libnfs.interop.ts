import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DEFAULT_HOLD_TIMES } from '../../src/fs/saves/hold-times.ts'
import { type ServedTable, serveNew } from '../fs/served.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

/** libnfs is a second client beside the kernel's: it talks to the server from its own process, and mounts nothing. */

const HEADER = 'id,name\n'
const ROWS = '1,Alice\n2,Bob\n'

interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

async function run(command: readonly string[], input = ''): Promise<Finished> {
  const child = Bun.spawn([...command], { stdin: new Blob([input]), stdout: 'pipe', stderr: 'pipe' })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { code, stdout, stderr }
}

function urlOf({ server: { port } }: ServedTable, path: string): string {
  return `nfs://127.0.0.1/${path}?nfsport=${port}&mountport=${port}&version=3`
}

/** One of libnfs's programs on a file of the table; it must succeed. */
async function nfs(program: 'cat' | 'ls', s: ServedTable, path: string): Promise<string> {
  const { code, stdout, stderr } = await run([`nfs-${program}`, urlOf(s, path)])
  expect({ path, code, stderr: stderr.trim() }).toEqual({ path, code: 0, stderr: '' })
  return stdout
}

async function change(
  s: ServedTable,
  operation: string,
  path: string,
  input = '',
  ...more: string[]
): Promise<Finished> {
  return run(['python3', join(import.meta.dir, 'libnfs.py'), operation, urlOf(s, path), ...more], input)
}

const done: Finished = { code: 0, stdout: '', stderr: '' }
const open = (): Promise<ServedTable> => serveNew('id:Int64,name:String', ROWS, DEFAULT_HOLD_TIMES)

describe('libnfs', () => {
  test('reads every file, from whichever folder of an export it mounts', async () => {
    await using s = await open()
    const { handle: notes } = await s.client.mkdir(s.root, 'my notes')
    await s.client.write((await s.client.create(notes, 'a.txt')).handle, 0n, 'mine\n')
    for (const at of ['posixlake/', 'posixlake//', `${s.server.exportPath.slice(1)}/`]) {
      expect(await nfs('cat', s, `${at}data/data.csv`)).toBe(HEADER + ROWS)
      expect(await nfs('cat', s, `${at}data/data.jsonl`)).toBe('{"id":1,"name":"Alice"}\n{"id":2,"name":"Bob"}\n')
      expect(JSON.parse(await nfs('cat', s, `${at}.stats`))).toMatchObject({ total_rows: 2 })
      expect(await nfs('cat', s, `${at}schema.sql`)).toContain('name STRING')
      expect(await nfs('cat', s, `${at}my notes/a.txt`)).toBe('mine\n')
      expect(await nfs('cat', s, `${at}.errors`)).toBe('')
    }
    expect(await nfs('cat', s, 'data/data.csv')).toBe(HEADER + ROWS)
    const parquet = (await s.client.list(s.data)).find(({ name }) => name.endsWith('.parquet'))!
    using folder = temporaryFolder()
    const copy = join(folder.path, 'copy')
    expect((await run(['nfs-cp', urlOf(s, `data/${parquet.name}`), copy])).code).toBe(0)
    expect(readFileSync(copy)).toEqual(readFileSync(join(s.server.lake.location, parquet.name)))
  })

  test('lists folders of any size', async () => {
    await using s = await open()
    const { handle } = await s.client.mkdir(s.root, 'many')
    for (let i = 0; i < 2000; i++) await s.client.create(handle, `f${i}`)
    const names = (listing: string): string[] =>
      listing
        .trimEnd()
        .split('\n')
        .map(line => line.split(' ').at(-1)!)
    expect(names(await nfs('ls', s, 'posixlake'))).toEqual(
      expect.arrayContaining(['data', 'many', '.query', '.stats', '.errors', 'schema.sql']),
    )
    expect(new Set(names(await nfs('ls', s, 'posixlake/many'))).size).toBe(2000)
    expect(names(await nfs('ls', s, 'data'))).toEqual(expect.arrayContaining(['data.csv', 'data.json', 'data.jsonl']))
  })

  test('is told what cannot be mounted', async () => {
    await using s = await open()
    expect((await run(['nfs-ls', urlOf(s, 'none')])).stderr).toContain('MNT3ERR_NOENT')
    expect((await run(['nfs-cat', urlOf(s, 'data/none/x')])).stderr).toContain('MNT3ERR_NOENT')
    expect((await run(['nfs-cat', urlOf(s, 'data/data.csv/x')])).stderr).toContain('MNT3ERR_NOTDIR')
    expect((await run(['nfs-cat', urlOf(s, 'data/none.csv')])).code).not.toBe(0)
  })

  test('makes files of the user, renames and removes them', async () => {
    await using s = await open()
    using folder = temporaryFolder()
    const file = join(folder.path, 'file')
    await Bun.write(file, 'x'.repeat(3_000_001))
    expect((await run(['nfs-cp', file, urlOf(s, 'posixlake/mine')])).code).toBe(0)
    expect(await s.read('mine')).toBe('x'.repeat(3_000_001))
    expect(await nfs('cat', s, 'posixlake/mine')).toBe('x'.repeat(3_000_001))
    expect(await change(s, 'append', 'posixlake/mine', 'y')).toEqual(done)
    expect((await s.read('mine')).slice(-2)).toBe('xy')
    expect(await change(s, 'rename', 'posixlake/mine', '', '/yours')).toEqual(done)
    expect(await change(s, 'unlink', 'posixlake/yours')).toEqual(done)
    expect((await change(s, 'symlink', 'posixlake/link', '', 'yours')).stderr).toContain('NFS3ERR_PERM')
    expect((await s.client.list(s.root)).map(({ name }) => name)).not.toContain('yours')
  })

  test('edits the table: each save is one commit, and a bad one is refused', async () => {
    await using s = await open()
    expect(await change(s, 'write', 'data/data.csv', `${HEADER}1,Alicia\n2,Bob\n3,Carol\n`)).toEqual(done)
    expect(await nfs('cat', s, 'data/data.csv')).toBe(`${HEADER}1,Alicia\n2,Bob\n3,Carol\n`)
    expect(await s.commits()).toBe(1)
    expect(await change(s, 'append', 'data/data.csv', '4,Dave\n')).toEqual(done)
    expect(await s.commits()).toBe(2)
    expect(await s.read()).toBe(`${HEADER}1,Alicia\n2,Bob\n3,Carol\n4,Dave\n`)
    expect((await change(s, 'append', 'data/data.csv', 'five,Eve\n')).code).not.toBe(0)
    expect(await s.read('.errors')).toContain('five')
    using folder = temporaryFolder()
    const file = join(folder.path, 'file')
    await Bun.write(file, `${HEADER}9,Zoe\n`)
    expect((await run(['nfs-cp', file, urlOf(s, 'data/new')])).code).toBe(0)
    expect(await change(s, 'rename', 'data/new', '', '/data.csv')).toEqual(done)
    expect(await nfs('cat', s, 'posixlake/data/data.csv')).toBe(`${HEADER}9,Zoe\n`)
    expect(await s.commits()).toBe(3)
  })

  test('runs SQL with .query', async () => {
    await using s = await open()
    expect(await change(s, 'write', 'posixlake/.query', 'SELECT name FROM data ORDER BY name DESC')).toEqual(done)
    expect(await nfs('cat', s, 'posixlake/.query')).toBe('name\nBob\nAlice\n')
    expect((await change(s, 'write', 'posixlake/.query', 'SELECT nope FROM data')).code).not.toBe(0)
    expect(await nfs('cat', s, 'posixlake/.query')).toContain('nope')
  })
})
