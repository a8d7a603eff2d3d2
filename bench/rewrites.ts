/*
 * The cost of an overwrite that changes rows all over a table: bun bench/rewrites.ts [BINARY ...]
 * Serves a table with each of the executables (dist/posixlake if none is named) and overwrites data.csv as `cp` does, every
 * seventh row changed, over NFS with a client of our own. Executables are compared side by side, in turns, in one run. Counted
 * is the processor time of the server's process from the COMMIT on, in which rows are compared and the change is committed.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseDdl } from '../src/columns/schema.ts'
import { localStore } from '../src/storage/local.ts'
import { createTable } from '../src/table/operations/create.ts'
import { median } from './median.ts'
import { cpuMs, served } from './served.ts'

const BINARIES =
  process.argv.length > 2 ? process.argv.slice(2).map(path => resolve(path)) : [resolve('dist/posixlake')]
const ROWS = (process.env['ROWS'] ?? '60000,600000').split(',').map(Number)
const SAVES = 3
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-rewrites-'))

function textOf(rows: number, save: number): Uint8Array {
  const lines = Array.from({ length: rows }, (_, i) => `${i},save ${i % 7 === 0 ? save : 0} of row ${i}\n`)
  return new TextEncoder().encode(`id,name\n${lines.join('')}`)
}

/** Processor seconds of each overwrite behind the first save, which fills the table. */
async function measure(binary: string, rows: number): Promise<number[]> {
  const location = join(folder, 'table')
  await createTable(localStore(location), { schema: parseDdl('id:Int64,name:String') })
  const { client, server } = await served(binary, location, folder)
  const seconds: number[] = []
  for (let save = 0; save <= SAVES; save++) {
    const csv = await client.walk(await client.mount('/posixlake'), 'data/data.csv')
    const bytes = textOf(rows, save)
    await client.setattr(csv, { size: 0n })
    for (let at = 0; at < bytes.length; at += 1 << 20)
      await client.write(csv, BigInt(at), bytes.subarray(at, at + (1 << 20)), 'UNSTABLE')
    const before = cpuMs(server)
    await client.commit(csv)
    if (save > 0) seconds.push((cpuMs(server) - before) / 1000)
  }
  await client[Symbol.asyncDispose]()
  server.kill('SIGTERM')
  await server.exited
  rmSync(location, { recursive: true, force: true })
  return seconds
}

try {
  for (const rows of ROWS) {
    for (const binary of BINARIES) {
      const middle = median(await measure(binary, rows))
      process.stdout.write(`${String(rows).padStart(8)} rows  ${middle.toFixed(2).padStart(6)} s  ${binary}\n`)
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
