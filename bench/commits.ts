/*
 * What a commit costs in tables of many files: bun bench/commits.ts [BINARY ...]
 * Serves tables of 0, 500, 4,000 and 20,000 files with each of the executables (dist/posixlake if none is named) and appends
 * rows, one commit each, as `echo >>` does, over NFS with a client of our own; then replaces one row of a file by a rename onto
 * data.csv, as `sed -i` does. Executables are compared side by side, in turns, in one run. Counted is the processor time of the
 * server's process with all its threads, checkpoints included, since time on the wall also measures whatever else runs here.
 */
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parseDdl } from '../src/columns/schema.ts'
import { batchOf } from '../src/columns/vectors.ts'
import { localStore } from '../src/storage/local.ts'
import { createTable } from '../src/table/operations/create.ts'
import { writeDataFiles } from '../test/helpers/changes.ts'
import type { Handle, NfsClient } from '../test/nfs/client.ts'
import { median } from './median.ts'
import { cpuMs, served } from './served.ts'

const BINARIES =
  process.argv.length > 2 ? process.argv.slice(2).map(path => resolve(path)) : [resolve('dist/posixlake')]
const FILES = (process.env['FILES'] ?? '0,500,4000,20000').split(',').map(Number)
const APPENDS = Number(process.env['APPENDS'] ?? 200)
const RENAMES = Number(process.env['RENAMES'] ?? 20)
const ROUNDS = 3
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-commits-'))
const schema = parseDdl('id:Int64,name:String')

/** A table with so many files of one row each, which share their bytes on disk. */
async function tableOf(location: string, files: number): Promise<void> {
  mkdirSync(location, { recursive: true })
  const store = localStore(location)
  // The server is to do nothing beside what is measured.
  const configuration = { 'delta.autoOptimize.autoCompact': 'false' }
  const empty = await createTable(store, { schema, configuration })
  if (files === 0) return
  const types = schema.map(field => field.type)
  const [file] = await writeDataFiles(empty, [batchOf(types, [[1n, 'first']])])
  await store.delete('_delta_log/00000000000000000000.json')
  const add = Array.from({ length: files }, (_, i) => ({
    ...file!,
    path: `part-${String(i).padStart(6, '0')}.parquet`,
  }))
  for (const { path } of add) linkSync(join(location, file!.path), join(location, path))
  const table = await createTable(store, { schema, add, configuration })
  await table.checkpoint()
}

interface Served {
  readonly client: NfsClient
  readonly directory: Handle
  /** Milliseconds of processor time so far. */
  cpuMs(): number
  /** Megabytes in memory now. */
  megabytes(): number
  stop(): Promise<void>
}

async function serve(binary: string, location: string): Promise<Served> {
  const { client, server } = await served(binary, location, folder)
  const directory = await client.walk(await client.mount('/posixlake'), 'data')
  return {
    client,
    directory,
    cpuMs: () => cpuMs(server),
    megabytes: () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) / 1e3,
    stop: async () => {
      await client[Symbol.asyncDispose]()
      server.kill('SIGTERM')
      await server.exited
    },
  }
}

async function append({ client, directory }: Served, count: number): Promise<void> {
  const { handle } = await client.lookup(directory, 'data.csv')
  for (let i = 0; i < count; i++) {
    const { size } = await client.getattr(handle)
    await client.write(handle, size, new TextEncoder().encode(`${i},appended\n`), 'FILE_SYNC')
  }
}

/** Changes the last row each time, by a file that is renamed into place. */
async function rename({ client, directory }: Served, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const text = await client.readAll((await client.lookup(directory, 'data.csv')).handle)
    const last = text.lastIndexOf(0x0a, text.length - 2) + 1
    const { handle } = await client.create(directory, 'sedAbCdEf')
    const changed = Buffer.concat([text.subarray(0, last), new TextEncoder().encode(`${i},changed ${i}\n`)])
    for (let at = 0; at < changed.length; at += 1 << 20)
      await client.write(handle, BigInt(at), changed.subarray(at, at + (1 << 20)), 'UNSTABLE')
    await client.commit(handle)
    await client.rename(directory, 'sedAbCdEf', directory, 'data.csv')
  }
}

interface Cost {
  readonly appendMs: number
  readonly renameMs: number
  readonly megabytes: number
}

async function measure(binary: string, files: number): Promise<Cost> {
  const location = join(folder, 'table')
  await tableOf(location, files)
  const served = await serve(binary, location)
  try {
    const perCall = async (count: number, run: (served: Served, count: number) => Promise<void>): Promise<number> => {
      const before = served.cpuMs()
      await run(served, count)
      return (served.cpuMs() - before) / count
    }
    await append(served, 20) // The first ones are compiled on the way.
    const appendMs = await perCall(APPENDS, append)
    await rename(served, 2)
    const renameMs = await perCall(RENAMES, rename)
    return { appendMs, renameMs, megabytes: served.megabytes() }
  } catch (error) {
    const errors = await served.client.readText(
      await served.client.walk(await served.client.mount('/posixlake'), '.errors'),
    )
    throw new Error(`${binary}: ${errors}`, { cause: error })
  } finally {
    await served.stop()
    rmSync(location, { recursive: true, force: true })
  }
}

try {
  process.stdout.write(
    `Processor time of one commit in ms, median of ${ROUNDS} rounds (${APPENDS} appends, ${RENAMES} renames each)\n\n`,
  )
  for (const files of FILES) {
    const costs = BINARIES.map((): Cost[] => [])
    for (let round = 0; round < ROUNDS; round++)
      for (const [i, binary] of BINARIES.entries()) costs[i]!.push(await measure(binary, files))
    for (const [i, binary] of BINARIES.entries()) {
      const of = (pick: (cost: Cost) => number): string => median(costs[i]!.map(pick)).toFixed(1).padStart(7)
      process.stdout.write(
        `${String(files).padStart(6)} files  append ${of(cost => cost.appendMs)}  rename ${of(cost => cost.renameMs)}` +
          `  ${of(cost => cost.megabytes)} MB  ${join(dirname(binary), '..')}\n`,
      )
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
