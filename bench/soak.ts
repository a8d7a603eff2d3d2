/*
 * A server that lives for long: bun bench/soak.ts [OPERATIONS] [BINARY] [NAME]
 * Does 100,000 mixed operations on a served table over NFS, with a client of our own that looks names up for each open as the
 * kernel does: appends, reads, renames onto data.csv, rewrites in place, rows that are refused, SQL queries and changes. The
 * table keeps its size: renames drop the oldest rows. What is read is compared with what was written. At each of some points
 * the server's memory, descriptors and files on disk are noted, with the median time of each operation since the one before;
 * all of it is printed, written to NAME.csv and drawn to NAME.svg, and should be flat. In the end the server is left alone for
 * a while.
 *
 * A table remembers the files that it removed for a week, as Delta wants it: so many operations within the hour would be a
 * week's. RETENTION (default: interval 60 seconds) is what the table asks for instead; IDLE_SECONDS (70) is the pause;
 * ONLY=append,read leaves out all other operations.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseDdl } from '../src/columns/schema.ts'
import { localStore } from '../src/storage/local.ts'
import { createTable } from '../src/table/operations/create.ts'
import { freePort } from '../test/helpers/free-port.ts'
import { type Handle, type NfsClient, NfsClientError } from '../test/nfs/client.ts'
import { seeded } from '../test/nfs/random.ts'
import { processSample, type Sample, Samples, sizeOf } from './samples.ts'
import { connected } from './served.ts'

const OPERATIONS = Number(process.argv[2] ?? 100_000)
const BINARY = resolve(process.argv[3] ?? 'dist/posixlake')
const NAME = process.argv[4] ?? 'soak'
const RETENTION = process.env['RETENTION'] ?? 'interval 60 seconds'
const IDLE_SECONDS = Number(process.env['IDLE_SECONDS'] ?? 70)
const ONLY = process.env['ONLY']?.split(',')
const POINTS = Math.min(50, OPERATIONS)
const ROWS_KEPT = 200
const ROWS_MAX = 400
const HEADER = 'id,name\n'
const random = seeded(Number(process.env['SEED'] ?? 1))
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-soak-'))
const location = join(folder, 'table')
const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

interface Server {
  readonly client: NfsClient
  readonly root: Handle
  readonly data: Handle
  readonly pid: number
  stop(): Promise<void>
}

async function serve(): Promise<Server> {
  mkdirSync(location, { recursive: true })
  const configuration = { 'delta.deletedFileRetentionDuration': RETENTION }
  await createTable(localStore(location), { schema: parseDdl('id:Int64,name:String'), configuration })
  const port = freePort()
  const child = Bun.spawn([BINARY, 'serve', location, '--port', String(port)], {
    env: { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') },
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: Bun.file(join(folder, 'log')),
  })
  const client = await connected(port, child)
  const root = await client.mount('/posixlake')
  const data = await client.walk(root, 'data')
  return {
    client,
    root,
    data,
    pid: child.pid,
    stop: async () => {
      client.close()
      child.kill('SIGTERM')
      await child.exited
    },
  }
}

/** The rows that the table must have, in the order of the view. */
let rows: string[] = []
let nextId = 0

function newRow(): string {
  return `${nextId++},row ${random.below(1000)}\n`
}

function image(): Uint8Array {
  return encode(HEADER + rows.join(''))
}

function changeOne(): void {
  const at = random.below(rows.length)
  rows[at] = `${rows[at]!.split(',')[0]},changed ${random.below(1_000_000)}\n`
}

async function open({ client, data }: Server): Promise<Handle> {
  return (await client.lookup(data, 'data.csv')).handle
}

async function readAll({ client }: Server, handle: Handle): Promise<string> {
  return client.readText(handle)
}

/** Runs SQL as a program does that writes `.query` and reads it. */
async function query({ client, root }: Server, sql: string): Promise<string> {
  const { handle } = await client.lookup(root, '.query')
  await client.setattr(handle, { size: 0n })
  await client.write(handle, 0n, `${sql}\n`)
  return client.readText((await client.lookup(root, '.query')).handle)
}

function expectSame(what: string, found: string, expected: string): void {
  if (found !== expected)
    throw new Error(`${what}: ${found.length} bytes were read, ${expected.length} expected; see ${folder}`)
}

interface Operation {
  readonly name: string
  /** How many of two hundred operations are of this kind. */
  readonly share: number
  run(server: Server): Promise<void>
}

const allOperations: readonly Operation[] = [
  {
    name: 'append',
    share: 100,
    run: async server => {
      const handle = await open(server)
      const { size } = await server.client.getattr(handle)
      const row = newRow()
      await server.client.write(handle, size, row)
      rows.push(row)
    },
  },
  {
    name: 'read',
    share: 52,
    run: async server => expectSame('data.csv', await readAll(server, await open(server)), HEADER + rows.join('')),
  },
  {
    name: 'rename',
    share: 20,
    run: async server => {
      const { client, data } = server
      await readAll(server, await open(server))
      // Fewer rows in place would be waited for, as the rest of them may be on its way.
      if (rows.length > ROWS_MAX) rows = rows.slice(-ROWS_KEPT)
      else changeOne()
      const { handle } = await client.create(data, 'sedAbCdEf')
      await client.write(handle, 0n, image())
      await client.rename(data, 'sedAbCdEf', data, 'data.csv')
    },
  },
  {
    name: 'rewrite',
    share: 16,
    run: async server => {
      const handle = await open(server)
      await readAll(server, handle)
      changeOne()
      await server.client.setattr(handle, { size: 0n })
      await server.client.write(handle, 0n, image())
    },
  },
  {
    name: 'bad row',
    share: 10,
    run: async server => {
      const handle = await open(server)
      const { size } = await server.client.getattr(handle)
      try {
        await server.client.write(handle, size, 'no number,x\n')
      } catch (error) {
        if (error instanceof NfsClientError && error.code === 'EINVAL') return
        throw error
      }
      throw new Error('a row that does not fit was taken')
    },
  },
  {
    name: 'SELECT',
    share: 1,
    run: async server => {
      const counted = await query(server, 'SELECT count(*) AS n FROM data')
      expectSame('SELECT count(*)', counted, `n\n${rows.length}\n`)
    },
  },
  {
    name: 'UPDATE',
    share: 1,
    run: async server => {
      const at = random.below(rows.length)
      const [id] = rows[at]!.split(',')
      const name = `updated ${random.below(1000)}`
      await query(server, `UPDATE data SET name = '${name}' WHERE id = ${id}`)
      rows[at] = `${id},${name}\n`
      // A statement may put the rows it changes elsewhere.
      const now = (await readAll(server, await open(server))).slice(HEADER.length).split(/(?<=\n)/)
      expectSame('data.csv after UPDATE', [...now].sort().join(''), [...rows].sort().join(''))
      rows = now
    },
  },
]

const operations = allOperations.filter(({ name }) => ONLY === undefined || ONLY.includes(name))

function pick(): Operation {
  let left = random.below(operations.reduce((sum, { share }) => sum + share, 0))
  for (const operation of operations) {
    if (left < operation.share) return operation
    left -= operation.share
  }
  return operations[0]!
}

function sample(pid: number, done: number, times: ReadonlyMap<string, number[]>): Sample {
  const state = sizeOf(join(location, '_posixlake'))
  const medians = operations.map(({ name }) => {
    const sorted = [...(times.get(name) ?? [])].sort((a, b) => a - b)
    return [`${name} ms`, sorted[sorted.length >> 1] ?? Number.NaN] as const
  })
  return {
    operations: done,
    ...processSample(pid),
    'state MB': state.megabytes,
    'state files': state.files,
    'cache MB': sizeOf(join(folder, 'cache')).megabytes,
    ...Object.fromEntries(medians),
  }
}

async function main(): Promise<void> {
  const server = await serve()
  const samples = new Samples(NAME)
  const note = (done: number, times: ReadonlyMap<string, number[]>): void =>
    samples.add(sample(server.pid, done, times))
  try {
    rows = Array.from({ length: ROWS_KEPT }, newRow)
    await server.client.write(await open(server), BigInt(HEADER.length), rows.join(''))
    let times = new Map<string, number[]>()
    for (let done = 1; done <= OPERATIONS; done++) {
      const operation = pick()
      const started = performance.now()
      await operation.run(server)
      const list = times.get(operation.name) ?? []
      times.set(operation.name, list)
      list.push(performance.now() - started)
      if (done % Math.ceil(OPERATIONS / POINTS) !== 0 && done !== OPERATIONS) continue
      note(done, times)
      times = new Map()
    }
    await Bun.sleep(IDLE_SECONDS * 1000)
    process.stdout.write(`after ${IDLE_SECONDS} s with nothing to do:\n`)
    note(OPERATIONS, new Map())
    expectSame('data.csv in the end', await readAll(server, await open(server)), HEADER + rows.join(''))
  } finally {
    await server.stop()
  }
  rmSync(folder, { recursive: true, force: true })
}

await main()
