/*
 * Measures what the README says of speed, on this machine, with the built binary: bun bench/bench.ts [ROWS]
 * Everything that is compared is measured in the same run, side by side and three times, since other work on the machine
 * changes the times of both. Times are of whole processes, cold ones with an empty cache of posixlake's own; the mount's side
 * is measured over NFS with a client of our own that reads as the kernel does, so that the kernel's is not part of it.
 */
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, readSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { readRecords } from '../src/serve/registry.ts'
import { type Handle, NfsClient } from '../test/nfs/client.ts'
import { copyToCsv, duckDbCommand } from './duckdb.ts'
import { writeCsv } from './made-tables.ts'
import { median } from './median.ts'
import { peakMegabytes, watchPeak } from './served.ts'
import { readThrough, send } from './transfers.ts'

const ROWS = Number(process.argv[2] ?? 5_000_000)
const ROUNDS = 3
const BINARY = resolve('dist/posixlake')
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-bench-'))
const cache = join(folder, 'cache')
const environment = { ...process.env, XDG_CACHE_HOME: cache }
const table = join(folder, 'table')
const csv = join(folder, 'rows.csv')
const copied = join(folder, 'read.csv')
const duckParquet = join(folder, 'duck.parquet')

interface Measured {
  readonly seconds: number
  /** 0: not measured. */
  readonly peakMegabytes: number
}

async function timed(command: readonly string[], output = '/dev/null'): Promise<Measured> {
  const started = performance.now()
  const out = openSync(output, 'w')
  const child = Bun.spawn([...command], { env: environment, stdin: 'ignore', stdout: out, stderr: 'pipe' })
  const peak = watchPeak(child.pid)
  const [said, code] = await Promise.all([child.stderr.text(), child.exited])
  closeSync(out)
  const seconds = (performance.now() - started) / 1000
  if (code !== 0) throw new Error(`${command.join(' ')}: exit status ${code}: ${said}`)
  return { seconds, peakMegabytes: peak() }
}

/** As head -1: something is taken from a pipe, and the pipe closed. The time is that of the whole process. */
async function firstLine(): Promise<Measured> {
  const pipe = join(folder, 'pipe')
  Bun.spawnSync(['mkfifo', pipe])
  const both = openSync(pipe, 'r+') // Without it, opening one end would wait for the other.
  const [input, output] = [openSync(pipe, 'r'), openSync(pipe, 'w')]
  closeSync(both)
  const started = performance.now()
  const child = Bun.spawn([BINARY, 'cat', table], {
    env: environment,
    stdin: 'ignore',
    stdout: output,
    stderr: 'ignore',
  })
  closeSync(output)
  const peak = watchPeak(child.pid)
  readSync(input, new Uint8Array(4096))
  closeSync(input)
  await child.exited
  rmSync(pipe)
  return { seconds: (performance.now() - started) / 1000, peakMegabytes: peak() }
}

/** One line for all rounds of a measurement: the median time, the largest memory. */
function report(name: string, bytes: number | undefined, rounds: readonly Measured[]): void {
  const seconds = median(rounds.map(round => round.seconds))
  const peakMegabytes = Math.max(...rounds.map(round => round.peakMegabytes))
  const speed = bytes === undefined ? '' : `${(bytes / 1e6 / seconds).toFixed(0)} MB/s`
  const memory = peakMegabytes === 0 ? '' : `peak ${peakMegabytes.toFixed(0)} MB`
  process.stdout.write(`${name.padEnd(46)} ${seconds.toFixed(3).padStart(8)} s  ${speed.padStart(9)}  ${memory}\n`)
}

/** How fast `ours` was in terms of what ran right before it. */
function reportRatio(name: string, ours: readonly Measured[], theirs: readonly Measured[]): void {
  const ratios = ours.map((round, i) => theirs[i]!.seconds / round.seconds)
  const figures = ratios.map(ratio => ratio.toFixed(2)).join(', ')
  process.stdout.write(
    `  (${name}: ${figures}; least ${Math.min(...ratios).toFixed(2)}, median ${median(ratios).toFixed(2)})\n`,
  )
}

function emptyCache(): void {
  rmSync(cache, { recursive: true, force: true })
}

function checkSame(path: string): void {
  const wrong = Bun.spawnSync(['cmp', path, csv])
  if (wrong.exitCode !== 0) throw new Error(`what was read is not what was imported: ${wrong.stdout.toString()}`)
}

/** DuckDB's own COPY of the same Parquet files to CSV, in a process of its own. */
function duckCopy(): Promise<Measured> {
  return byDuckDb(copyToCsv(table, join(folder, 'duck.csv')))
}

/** DuckDB's own COPY of the same CSV to Parquet. */
function duckImport(): Promise<Measured> {
  return byDuckDb(`COPY (FROM read_csv('${csv}')) TO '${duckParquet}' (FORMAT parquet)`)
}

function byDuckDb(sql: string): Promise<Measured> {
  return timed(duckDbCommand(folder, sql))
}

function dataFiles(): string[] {
  return readdirSync(table)
    .filter(name => name.endsWith('.parquet'))
    .map(name => join(table, name))
}

interface Served {
  readonly client: NfsClient
  readonly pid: number
  stop(): Promise<void>
}

async function serve(location: string): Promise<Served> {
  const child = Bun.spawn([BINARY, 'serve', location, '--port', '0'], {
    env: environment,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  })
  let record = readRecords().find(known => known.pid === child.pid)
  while (record === undefined) {
    await Bun.sleep(5)
    record = readRecords().find(known => known.pid === child.pid)
  }
  const client = await NfsClient.connect({ port: record.port })
  return {
    client,
    pid: child.pid,
    stop: async () => {
      await client[Symbol.asyncDispose]()
      child.kill('SIGTERM')
      await child.exited
    },
  }
}

/** The mount's side: a server that has just begun, its first lines, all of it, all of it again. */
async function overNfs(): Promise<{ head: Measured; first: Measured; second: Measured }> {
  const { client, pid, stop } = await serve(table)
  const clock = performance.now
  const began = clock()
  const file = await client.walk(await client.mount('/posixlake'), 'data/data.csv')
  await client.read(file, 0n, 16 << 10)
  const head = { seconds: (clock() - began) / 1000, peakMegabytes: peakMegabytes(pid) }
  const started = clock()
  await readThrough(client, file)
  const first = { seconds: (clock() - started) / 1000, peakMegabytes: peakMegabytes(pid) }
  const again = clock()
  await readThrough(client, file)
  const second = { seconds: (clock() - again) / 1000, peakMegabytes: peakMegabytes(pid) }
  await stop()
  return { head, first, second }
}

/** The median time of single rows appended as `echo >>` does. */
async function appends(location: string): Promise<Measured> {
  const { client, pid, stop } = await serve(location)
  const file = await client.walk(await client.mount('/posixlake'), 'data/data.csv')
  const times: number[] = []
  for (let i = 0; i < 21; i++) {
    const { size } = await client.getattr(file)
    const started = performance.now()
    await client.write(file, size, new TextEncoder().encode(`${-i},appended,${i}\n`), 'FILE_SYNC')
    times.push((performance.now() - started) / 1000)
  }
  const peak = peakMegabytes(pid)
  await stop()
  return { seconds: median(times), peakMegabytes: peak }
}

/** The table's text without `count` of its rows, in equal distances from row `from` on. */
function withoutRows(text: Buffer, count: number, from: number): Buffer {
  const step = Math.floor((ROWS - from) / (count + 1))
  const kept: Buffer[] = []
  let start = 0
  let line = 0
  for (let next = from + step; next < ROWS && kept.length < count; next += step) {
    let at = start
    for (; line < next; line++) at = text.indexOf(0x0a, at) + 1
    const end = text.indexOf(0x0a, at) + 1
    line++
    kept.push(text.subarray(start, at))
    start = end
  }
  return Buffer.concat([...kept, text.subarray(start)])
}

interface Overwritten {
  readonly bytes: number
  readonly sending: Measured
  readonly whole: Measured
}

/** Writes the table's text back without 1,000 of its rows, as cp does: truncation, a megabyte at a time, COMMIT. */
async function overwrite(): Promise<Overwritten> {
  return changing(async (client, directory, kept, sent) => {
    const { handle } = await client.lookup(directory, 'data.csv')
    await client.setattr(handle, { size: 0n })
    await send(client, handle, kept.length, (start, end) => kept.subarray(start, end))
    sent()
    await client.commit(handle)
  }, 3)
}

/** The same as sed -i does it: a file beside it, renamed onto it. The rename answers when the table has the change. */
async function replace(): Promise<Overwritten> {
  return changing(async (client, directory, kept, sent) => {
    const { handle } = await client.create(directory, 'sedAbCdEf')
    await send(client, handle, kept.length, (start, end) => kept.subarray(start, end))
    await client.commit(handle)
    sent()
    await client.rename(directory, 'sedAbCdEf', directory, 'data.csv')
  }, 100)
}

async function changing(
  save: (client: NfsClient, directory: Handle, kept: Buffer, sent: () => void) => Promise<void>,
  from: number,
): Promise<Overwritten> {
  const { client, pid, stop } = await serve(table)
  const directory = await client.walk(await client.mount('/posixlake'), 'data')
  const { handle } = await client.lookup(directory, 'data.csv')
  // Whoever writes a text back has read it.
  await readThrough(client, handle)
  await timed([BINARY, 'cat', table], copied)
  const kept = withoutRows(readFileSync(copied), 1000, from)
  const started = performance.now()
  let sentMs = 0
  await save(client, directory, kept, () => {
    sentMs = performance.now()
  })
  const whole = { seconds: (performance.now() - started) / 1000, peakMegabytes: peakMegabytes(pid) }
  const { attributes } = await client.lookup(directory, 'data.csv')
  if (Number(attributes?.size) !== kept.length)
    throw new Error(`the table shows ${attributes?.size} bytes, ${kept.length} were written`)
  await stop()
  return { bytes: kept.length, sending: { seconds: (sentMs - started) / 1000, peakMegabytes: 0 }, whole }
}

async function rounds<T>(run: () => Promise<T>): Promise<T[]> {
  const all: T[] = []
  for (let i = 0; i < ROUNDS; i++) all.push(await run())
  return all
}

/** One of the things that were measured, of every round. */
function each<K extends string>(all: readonly Readonly<Record<K, Measured>>[], name: K): Measured[] {
  return all.map(round => round[name])
}

async function main(): Promise<void> {
  const bytes = writeCsv(csv, ROWS)
  process.stdout.write(
    `${ROWS} rows x 3 columns, ${(bytes / 1e6).toFixed(0)} MB of CSV, ${navigator.hardwareConcurrency} processors; medians of ${ROUNDS} rounds\n\n`,
  )
  const imports = await rounds(async () => {
    const duck = await duckImport()
    rmSync(table, { recursive: true, force: true })
    return { duck, ours: await timed([BINARY, 'create', table, '--from-csv', csv]) }
  })
  report("DuckDB's COPY of the CSV to Parquet", bytes, each(imports, 'duck'))
  report('bulk import', bytes, each(imports, 'ours'))
  reportRatio("bulk import, of DuckDB's speed", each(imports, 'ours'), each(imports, 'duck'))
  const sizes = [dataFiles(), [duckParquet]].map(paths => paths.reduce((sum, path) => sum + statSync(path).size, 0))
  process.stdout.write(`  (files: ${sizes.map(size => `${(size / 1e6).toFixed(1)} MB`).join(', DuckDB ')})\n`)
  const reads = await rounds(async () => {
    const duck = await duckCopy()
    emptyCache()
    const first = await timed([BINARY, 'cat', table], copied)
    checkSame(copied)
    const second = await timed([BINARY, 'cat', table], copied)
    emptyCache()
    return { duck, first, second, head: await firstLine() }
  })
  report("DuckDB's COPY of the same Parquet to CSV", bytes, each(reads, 'duck'))
  report('first full read', bytes, each(reads, 'first'))
  reportRatio("first full read, of DuckDB's speed", each(reads, 'first'), each(reads, 'duck'))
  report('second full read', bytes, each(reads, 'second'))
  report('head -1, cold', undefined, each(reads, 'head'))
  const nfs = await rounds(async () => {
    const duck = await duckCopy()
    emptyCache()
    return { duck, ...(await overNfs()) }
  })
  report('over NFS: first lines, cold', undefined, each(nfs, 'head'))
  report('over NFS: first full read', bytes, each(nfs, 'first'))
  reportRatio("first full read over NFS, of DuckDB's speed", each(nfs, 'first'), each(nfs, 'duck'))
  report('over NFS: second full read', bytes, each(nfs, 'second'))
  for (const [name, save] of [
    ['overwrite that deletes 1,000 rows', overwrite],
    ['rename onto it that deletes 1,000 rows', replace],
  ] as const) {
    const saved = await save()
    report(`${name}: sent`, saved.bytes, [saved.sending])
    report(`${name}: in all`, saved.bytes, [saved.whole])
  }
  const small = join(folder, 'small')
  await timed([BINARY, 'create', small, '--schema', 'id:Int64,name:String,value:Int64'])
  report('append of one row, empty table', undefined, [await appends(small)])
  report(`append of one row, ${ROWS} rows`, undefined, [await appends(table)])
}

try {
  await main()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
