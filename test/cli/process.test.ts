import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { temporaryFolder } from '../helpers/temporary.ts'
import { NfsClient } from '../nfs/client.ts'

const MAIN = join(import.meta.dir, '../../src/main.ts')
/** A user who is root nowhere. */
const NOBODY = 65_534
const folder = temporaryFolder()
const table = join(folder.path, 'table')
const environment = {
  ...process.env,
  XDG_CACHE_HOME: join(folder.path, 'cache'),
  XDG_STATE_HOME: join(folder.path, 'state'),
}

interface Result {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function run(args: readonly string[], more: Readonly<Record<string, string>> = {}): Result {
  const child = Bun.spawnSync([process.execPath, MAIN, ...args], {
    env: { ...environment, ...more },
    cwd: folder.path,
    stdin: 'ignore',
  })
  return { code: child.exitCode, stdout: child.stdout.toString(), stderr: child.stderr.toString() }
}

beforeAll(() => {
  expect(run(['create', table, '--schema', 'id:Int64,name:String'])).toMatchObject({ code: 0, stderr: '' })
  expect(run(['query', table, `INSERT INTO data SELECT i, 'name ' || i FROM range(3) t(i)`]).code).toBe(0)
})
afterAll(() => folder[Symbol.dispose]())

describe('what is wrong on the machine', () => {
  test('is said in one line that names the place, and is no defect of posixlake', () => {
    writeFileSync(join(folder.path, 'file'), 'x')
    const cases: [string[], string, Record<string, string>?][] = [
      [['create', 'file', '--schema', 'id:Int64'], 'file: something of that name is there already'],
      [['create', 'file/sub'], 'file/sub: a part of this path is a file, not a folder'],
      [['create', 'new', '--from-csv', 'missing.csv'], 'missing.csv: there is no such file'],
      [['create', 'new', '--from-parquet', 'file'], 'file: 1 bytes are no Parquet file'],
      [['cat', 'file'], 'not a Delta table'],
      [['cat', ''], 'the location of the table is empty'],
      [['query', table, 'FROM data'], 'posixlake/spill: a part', { XDG_CACHE_HOME: join(folder.path, 'file') }],
    ]
    for (const [args, sentence, more] of cases) {
      const { code, stdout, stderr } = run(args, more)
      expect({ args, code, stdout, stderr }).toEqual({
        args,
        code: 1,
        stdout: '',
        stderr: expect.stringContaining(sentence),
      })
      expect(stderr).not.toContain('defect')
      expect(stderr.trimEnd().split('\n')).toHaveLength(1)
    }
    expect(existsSync(join(folder.path, 'new'))).toBe(false)
  })

  test('is a cache that cannot be written to: a table is read without it', () => {
    const { code, stdout, stderr } = run(['cat', table], { XDG_CACHE_HOME: join(folder.path, 'file') })
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'id,name\n0,name 0\n1,name 1\n2,name 2\n' })
    expect(stderr).toContain('cannot be used')
  })

  test('is a full disk under the output, whatever is printed', () => {
    for (const args of [['--help'], ['cat', '--help'], ['cat', table], ['query', table, 'FROM data']]) {
      const full = openSync('/dev/full', 'w')
      const child = Bun.spawnSync([process.execPath, MAIN, ...args], {
        env: environment,
        stdin: 'ignore',
        stdout: full,
      })
      closeSync(full)
      expect({ code: child.exitCode, stderr: child.stderr.toString() }).toEqual({
        code: 1,
        stderr: 'posixlake: the output could not be written: the disk is full\n',
      })
    }
  })
})

describe('a reader that goes away', () => {
  test('ends a long result quietly', () => {
    const { exitCode, stdout, stderr } = Bun.spawnSync(
      [
        'bash',
        '-c',
        'set -o pipefail; "$0" "$@" | head -2',
        process.execPath,
        MAIN,
        'query',
        table,
        'SELECT i FROM range(1000000) t(i)',
        '--format',
        'csv',
      ],
      { env: environment },
    )
    expect({ exitCode, stdout: stdout.toString(), stderr: stderr.toString() }).toEqual({
      exitCode: 0,
      stdout: 'i\n0\n',
      stderr: '',
    })
  })
})

describe('a command that is interrupted', () => {
  async function interrupted(signal: NodeJS.Signals, args: readonly string[], begun: () => boolean): Promise<Result> {
    const child = Bun.spawn([process.execPath, MAIN, ...args], {
      env: environment,
      cwd: folder.path,
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    })
    while (!begun() && child.exitCode === null) await Bun.sleep(1)
    child.kill(signal)
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
    await child.exited
    expect(child.signalCode).toBe(signal)
    return { code: child.exitCode ?? -1, stdout, stderr }
  }
  const large = join(folder.path, 'large.csv')

  test('takes back what an import wrote', async () => {
    writeFileSync(large, `id,name\n${'12345,a name\n'.repeat(3_000_000)}`)
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const target = join(folder.path, 'parent', 'interrupted')
      const begun = (): boolean => existsSync(target) && readdirSync(target).length > 0
      expect(await interrupted(signal, ['create', target, '--from-csv', large], begun)).toMatchObject({
        stdout: '',
        stderr: '',
      })
      expect(existsSync(join(folder.path, 'parent'))).toBe(false)
    }
  }, 60_000)

  test('leaves a table as it was, and no file of the engine', async () => {
    const spill = join(environment.XDG_CACHE_HOME, 'posixlake', 'spill')
    const isRunning = (): boolean => existsSync(spill) && readdirSync(spill).length > 0
    const before = readdirSync(table).sort()
    // What a killed process left, and what one that runs needs: the engines of two processes may not share a folder.
    mkdirSync(join(spill, '999999999-killed'), { recursive: true })
    mkdirSync(join(spill, `${process.pid}-running`))
    expect(run(['query', table, 'FROM data']).code).toBe(0)
    expect(readdirSync(spill)).toEqual([`${process.pid}-running`])
    rmdirSync(join(spill, `${process.pid}-running`))
    for (const sql of [
      `INSERT INTO data SELECT i, repeat('x', 100) || i FROM range(1000000000) t(i)`,
      'SELECT count(*) FROM range(10000000) a(x), range(10000000) b(y) WHERE hash(x) < hash(y)',
    ]) {
      expect(await interrupted('SIGINT', ['query', table, sql, '--query-memory', '64MB'], isRunning)).toMatchObject({
        stdout: '',
        stderr: '',
      })
      expect(readdirSync(spill)).toEqual([])
      expect(readdirSync(table).sort()).toEqual(before)
    }
  }, 60_000)
})

/** What the system says of a process, and which files it has mapped. */
function stateOf(pid: number): string {
  return readFileSync(`/proc/${pid}/status`, 'utf8') + readFileSync(`/proc/${pid}/maps`, 'utf8')
}

describe('a query that takes too much', () => {
  const spill = join(environment.XDG_CACHE_HOME, 'posixlake', 'spill')

  test('of time or memory ends with a sentence that names the flag, and leaves nothing', () => {
    const before = readdirSync(table).sort()
    const cases: [string, string[], string][] = [
      [
        'SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b',
        ['--query-timeout', '200ms'],
        'the statement was ended after 200ms, the longest that --query-timeout allows',
      ],
      [
        `INSERT INTO data SELECT i, repeat('x', 100) || i FROM range(1000000000) t(i)`,
        ['--query-timeout=1s', '--query-memory=64MB'],
        'the statement was ended after 1s, the longest that --query-timeout allows',
      ],
      [
        `SELECT length(string_agg(repeat(i::VARCHAR, 1000), '')) FROM range(1000000) t(i)`,
        ['--query-memory', '100MB'],
        'the statement needs more memory than --query-memory allows (100MB)',
      ],
    ]
    for (const [sql, flags, sentence] of cases) {
      const { code, stdout, stderr } = run(['query', table, sql, ...flags])
      expect({ sql, code, stdout, stderr }).toEqual({
        sql,
        code: 1,
        stdout: '',
        stderr: expect.stringContaining(`posixlake: ${sentence}`),
      })
      expect(readdirSync(spill)).toEqual([])
      expect(readdirSync(table).sort()).toEqual(before)
    }
  }, 60_000)

  test('ends though nobody reads what it prints, and by a signal, too', async () => {
    const fifo = join(folder.path, 'fifo')
    Bun.spawnSync(['mkfifo', fifo])
    const unread = openSync(fifo, 'r+')
    const start = (...flags: string[]) =>
      Bun.spawn([process.execPath, MAIN, 'query', table, 'FROM range(100000000)', '--format', 'csv', ...flags], {
        env: environment,
        stdin: 'ignore',
        stdout: unread,
        stderr: 'pipe',
      })
    const timed = start('--query-timeout', '500ms')
    expect(await timed.exited).toBe(1)
    expect(await new Response(timed.stderr).text()).toContain('--query-timeout')
    const interrupted = start()
    // It waits for room in the pipe when it is told to end.
    while (!/^State:\s+S/m.test(stateOf(interrupted.pid)) || !stateOf(interrupted.pid).includes('duckdb'))
      await Bun.sleep(5)
    interrupted.kill('SIGINT')
    await interrupted.exited
    expect(interrupted.signalCode).toBe('SIGINT')
    closeSync(unread)
    expect(readdirSync(spill)).toEqual([])
  }, 30_000)

  test('names what its flags take', () => {
    for (const flags of [
      ['--query-timeout', '5 minutes'],
      ['--query-timeout', '0s'],
      ['--query-timeout', '-1s'],
      ['--query-memory', 'much'],
      ['--query-memory', '1MB'],
    ]) {
      const { code, stderr } = run(['query', table, 'SELECT 1', ...flags])
      expect({ flags, code }).toEqual({ flags, code: 2 })
      expect(stderr).toContain(flags[0]!)
    }
    expect(run(['query', table, 'SELECT 1', '--query-timeout', 'none']).code).toBe(0)
  })

  test('is not needed to say that there is no table', () => {
    expect(run(['query', folder.path, 'SELECT 1'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('not a Delta table'),
    })
  })
})

describe('help', () => {
  test('is there under three names, and tells a command from a mistake', () => {
    const { stdout } = run(['query', '--help'])
    expect(run(['help', 'query']).stdout).toBe(stdout)
    expect(run(['query', '-h', '--nonsense']).stdout).toBe(stdout)
    expect(run(['help', 'qurey'])).toMatchObject({ code: 2, stdout: '' })
    expect(run([])).toMatchObject({ code: 2, stdout: '' })
  })
})

describe('a server', () => {
  test('tells what goes wrong in the background, which ends nothing else', async () => {
    const flaw = join(folder.path, 'flaw.ts')
    const sentences = ['left alone', 'thrown by a timer']
    writeFileSync(
      flaw,
      `process.on('SIGUSR2', () => {
         void Promise.reject(new Error('${sentences[0]}'))
         setTimeout(() => { throw new Error('${sentences[1]}') }, 1)
       })`,
    )
    const log = join(folder.path, 'flaw.log')
    const server = Bun.spawn([process.execPath, '--preload', flaw, MAIN, 'serve', table, '--port', '0'], {
      env: environment,
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: Bun.file(log),
    })
    const said = (await server.stdout.getReader().read()).value
    const port = Number(/127\.0\.0\.1:(\d+)/.exec(new TextDecoder().decode(said))![1])
    await using client = await NfsClient.connect({ port })
    server.kill('SIGUSR2')
    for (const sentence of sentences) {
      const expected = `this is a defect in posixlake: Error: ${sentence}`
      while (!readFileSync(log, 'utf8').includes(expected)) {
        expect(server.exitCode).toBeNull()
        await Bun.sleep(5)
      }
    }
    await client.null()
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)
  })

  test('says how to mount it, is known to status, refuses a second one, and ends cleanly when it is told to', async () => {
    const server = Bun.spawn([process.execPath, MAIN, 'serve', table, '--port', '0', '--read-only'], {
      env: environment,
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const reader = server.stdout.getReader()
    let said = ''
    while (!said.includes('mount_nfs')) {
      const { value, done } = await reader.read()
      if (done) throw new Error(await new Response(server.stderr).text())
      said += new TextDecoder().decode(value)
    }
    const port = Number(/,port=(\d+)/.exec(said)![1])
    expect(said).toContain(`on 127.0.0.1:${port}.`)
    expect(said).toContain('sudo mount -t nfs -o vers=3,tcp,nolock')
    const [status] = JSON.parse(run(['status', table, '--format', 'json']).stdout)
    expect(status).toMatchObject({
      table,
      mounted: false,
      running: true,
      address: `127.0.0.1:${port}`,
      pid: server.pid,
      read_only: true,
      held: [],
    })
    expect(status.command).toContain(String(port))
    expect(run(['serve', table, '--port', '0'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is being served already'),
    })
    expect(run(['cat', table]).stdout).toBe('id,name\n0,name 0\n1,name 1\n2,name 2\n')
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)
    expect(run(['status', table])).toMatchObject({ code: 1, stdout: '' })
    const { promise, resolve } = Promise.withResolvers<boolean>()
    connect(port, '127.0.0.1')
      .on('connect', () => resolve(true))
      .on('error', () => resolve(false))
    expect(await promise).toBe(false)
  })

  test.skipIf(process.getuid?.() !== 0)('of another user is said to be one (needs root, to run one)', async () => {
    using other = temporaryFolder()
    const theirs = join(other.path, 'table')
    const env = { ...environment, XDG_CACHE_HOME: join(other.path, 'cache'), XDG_STATE_HOME: other.path }
    expect(run(['create', theirs, '--schema', 'id:Int64']).code).toBe(0)
    chmodSync(other.path, 0o755)
    for (const path of ['.', ...readdirSync(other.path, { recursive: true })])
      chownSync(join(other.path, String(path)), NOBODY, NOBODY)
    const server = Bun.spawn([process.execPath, MAIN, 'serve', theirs, '--port', '0'], {
      env,
      cwd: '/',
      uid: NOBODY,
      gid: NOBODY,
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'ignore',
    })
    await server.stdout.getReader().read()
    const { code, stderr } = run(['serve', theirs, '--port', '0'])
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(new RegExp(`is being served already, by process ${server.pid} of user \\w+; only`)),
    })
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)
  })

  test('is stopped by unmount, too', async () => {
    const server = Bun.spawn([process.execPath, MAIN, 'serve', table, '--port', '0'], {
      env: environment,
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'ignore',
    })
    await server.stdout.getReader().read()
    expect(run(['unmount', table])).toMatchObject({ code: 0, stdout: `${table} is unmounted.\n`, stderr: '' })
    expect(await server.exited).toBe(0)
    expect(readFileSync(join(table, '_delta_log', '00000000000000000000.json'), 'utf8')).toContain('CREATE TABLE')
  })
})
