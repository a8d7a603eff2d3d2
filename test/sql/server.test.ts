import { afterEach, describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from '../helpers/temporary.ts'
import { type Handle, NfsClient } from '../nfs/client.ts'
import { begun, isInEngine, sqlProcesses, until } from './processes.ts'

const MAIN = join(import.meta.dir, '../../src/main.ts')
/** Runs for hours. */
const SLOW = 'SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b\n'

interface Served {
  readonly location: string
  readonly pid: number
  readonly exited: Promise<number>
  readonly client: NfsClient
  readonly query: Handle
  readonly csv: Handle
  kill(signal: NodeJS.Signals): void
  connect(): Promise<NfsClient>
  /** What the server has of statements, and what they made in the table's folder. */
  leftOver(): string[]
  /** Serves the same table again. */
  again(): Promise<Served>
}

const running: { end(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of running.splice(0).reverse()) await one.end()
})

async function serve(...flags: string[]): Promise<Served> {
  const folder = temporaryFolder()
  running.push({ end: async () => folder[Symbol.dispose]() })
  const location = join(folder.path, 'table')
  const environment = {
    ...process.env,
    XDG_CACHE_HOME: join(folder.path, 'cache'),
    XDG_STATE_HOME: join(folder.path, 'state'),
  }
  const run = (...args: string[]): void => {
    const { exitCode, stderr } = Bun.spawnSync([process.execPath, MAIN, ...args], { env: environment })
    expect({ exitCode, stderr: stderr.toString() }).toMatchObject({ exitCode: 0 })
  }
  run('create', location, '--schema', 'id:Int64,name:String')
  return start(location, environment, flags)
}

async function start(
  location: string,
  environment: Record<string, string | undefined>,
  flags: string[],
): Promise<Served> {
  const server = Bun.spawn([process.execPath, MAIN, 'serve', location, '--port', '0', ...flags], {
    env: environment,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: Bun.file(`${location}.log`),
  })
  const reader = server.stdout.getReader()
  let said = ''
  while (!said.includes('mount_nfs')) {
    const { value, done } = await reader.read()
    if (done) throw new Error('the server ended')
    said += new TextDecoder().decode(value)
  }
  const port = Number(/,port=(\d+)/.exec(said)![1])
  const clients: NfsClient[] = []
  const connect = async (): Promise<NfsClient> => {
    const client = await NfsClient.connect({ port })
    clients.push(client)
    return client
  }
  running.push({
    end: async () => {
      for (const client of clients) client.close()
      server.kill('SIGTERM')
      await server.exited
    },
  })
  const client = await connect()
  const root = await client.mount('/')
  const state = join(location, '_posixlake', 'state', 'sql')
  const list = (name: string): string[] => (existsSync(join(state, name)) ? readdirSync(join(state, name)) : [])
  return {
    location,
    pid: server.pid,
    exited: server.exited,
    client,
    query: await client.walk(root, '.query'),
    csv: await client.walk(root, 'data/data.csv'),
    kill: signal => server.kill(signal),
    connect,
    leftOver: () => [
      ...list('processes'),
      ...list('statements'),
      ...readdirSync(location).filter(name => name !== '_delta_log' && name !== '_posixlake'),
    ],
    again: () => start(location, environment, flags),
  }
}

const status = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'OK',
    (error: { code?: string }) => error.code ?? 'the connection is gone',
  )

describe('a server with statements under way', () => {
  test('goes on serving files, and other statements; it has no engine itself', async () => {
    const s = await serve()
    await s.client.write(s.csv, 8n, '1,a\n')
    const writers = [await s.connect(), await s.connect()]
    const slow = writers.map(client => status(client.write(s.query, 0n, SLOW)))
    await begun(s.location)
    expect(await s.client.readText(s.csv)).toBe('id,name\n1,a\n')
    await s.client.write(s.csv, 12n, '2,b\n')
    expect(await s.client.readText(s.csv)).toBe('id,name\n1,a\n2,b\n')
    // They still run.
    expect(await Promise.race([...slow, Promise.resolve('running')])).toBe('running')
    expect(sqlProcesses(s.location).length).toBeGreaterThanOrEqual(1)
    expect(isInEngine(s.pid)).toBe(false)
    s.kill('SIGTERM')
    await Promise.all(slow)
    await s.exited
  }, 30_000)

  test('ends them when it is told to end, and leaves no process and no file', async () => {
    const s = await serve()
    const writer = await s.connect()
    const insert = status(
      writer.write(s.query, 0n, `INSERT INTO data SELECT range, repeat('x', 100) FROM range(1000000000)\n`),
    )
    await begun(s.location)
    s.kill('SIGTERM')
    expect(await s.exited).toBe(0)
    expect(await insert).not.toBe('OK')
    expect(sqlProcesses(s.location)).toEqual([])
    expect(s.leftOver()).toEqual([])
  }, 30_000)

  test('ends one whose client is gone', async () => {
    const s = await serve()
    const writer = await s.connect()
    const slow = status(writer.write(s.query, 0n, SLOW))
    await begun(s.location)
    writer.close()
    expect(await slow).toBe('the connection is gone')
    await until(() => sqlProcesses(s.location).length === 0)
    await until(() => s.leftOver().length === 0)
    expect(await s.client.readText(s.csv)).toBe('id,name\n')
  }, 30_000)

  test('leaves none behind when it is killed, and its successor takes away what they made', async () => {
    const s = await serve()
    const writer = await s.connect()
    const writers = [SLOW, `INSERT INTO data SELECT range, 'x' FROM range(1000000000)\n`]
    const statements = writers.map(async sql => status((await s.connect()).write(s.query, 0n, sql)))
    writer.close()
    await begun(s.location)
    s.kill('SIGKILL')
    await Promise.all(statements)
    // The end of the server is the end of what its processes listen to.
    await until(() => sqlProcesses(s.location).length === 0)
    const after = await s.again()
    expect(after.leftOver()).toEqual([])
    expect(await after.client.readText(after.csv)).toBe('id,name\n')
    expect(await status(after.client.write(after.query, 0n, `INSERT INTO data VALUES (1, 'a')\n`))).toBe('OK')
    // By its name: what a statement changes is a new file behind it.
    const root = await after.client.mount('/')
    expect(await after.client.readText(await after.client.walk(root, 'data/data.csv'))).toBe('id,name\n1,a\n')
    expect(readFileSync(`${s.location}.log`, 'utf8')).toContain('version 1: WRITE, 1 row inserted, by SQL')
  }, 30_000)

  test('bounds them as its flags say', async () => {
    const s = await serve('--query-timeout', '300ms', '--query-result', '1kB')
    expect(await status(s.client.write(s.query, 0n, SLOW))).toBe('EIO')
    const root = await s.client.mount('/')
    const sentence = async (): Promise<string> => s.client.readText(await s.client.walk(root, '.query'))
    expect(await sentence()).toBe('the statement was ended after 300ms, the longest that --query-timeout allows\n')
  }, 30_000)
})
