/*
 * Measures a table on S3, beside delta-rs (with Arrow's CSV writer) and DuckDB, on a MinIO of its own on this machine, with the
 * built binary: BENCH_PYTHON=python3 bun bench/s3.ts [ROWS]. That Python needs deltalake, pyarrow and duckdb. Times are of whole
 * processes, of one after the other in the same round, medians of all rounds; what is cold has an empty cache of posixlake's
 * own. DuckDB reads the table's files through Arrow's S3, as its own extension for HTTP has to be fetched. Requests and bytes
 * are the store's own count. In brackets: seconds of the processor.
 */
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Subprocess } from 'bun'
import { readRecords } from '../src/serve/registry.ts'
import { startMinio } from '../test/helpers/minio.ts'
import { NfsClient } from '../test/nfs/client.ts'

const ROWS = Number(process.argv[2] ?? 5_000_000)
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 3)
const APPENDS = 200
/** Each of its appends takes so much longer. */
const APPENDS_OF_OTHERS = 50
const BINARY = resolve(process.env['POSIXLAKE'] ?? 'dist/posixlake')
const PYTHON = process.env['BENCH_PYTHON'] ?? 'python3'
const SCRIPT = join(import.meta.dir, 's3.py')
const QUERIES = {
  count: 'SELECT count(*) FROM data',
  filter: `SELECT count(*), sum(value) FROM data WHERE name = 'name 7919'`,
  lookup: `SELECT name, value FROM data WHERE id = ${Math.trunc(ROWS * 0.77)}`,
}

const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-bench-'))
const cache = join(folder, 'cache')
const local = join(folder, 'local')
const csv = join(folder, 'rows.csv')
const output = join(folder, 'output')
await using minio = await startMinio('bench')
const remote = 's3://bench/table'
const environment = {
  ...process.env,
  ...minio.environment,
  XDG_CACHE_HOME: cache,
  XDG_STATE_HOME: join(folder, 'state'),
}
Object.assign(process.env, { XDG_STATE_HOME: environment.XDG_STATE_HOME })

interface Traffic {
  readonly requests: number
  readonly bytes: number
}

interface Run {
  readonly seconds: number
  /** Of the processor. It is the figure to go by where other work is on the machine. */
  readonly busySeconds: number
}

interface Measured extends Traffic, Run {}

/** What the store has answered since it began. */
async function traffic(): Promise<Traffic> {
  const text = await (await fetch(`${minio.endpoint}/minio/metrics/v3/api/requests`)).text()
  const sum = (name: string): number =>
    [...text.matchAll(new RegExp(`^${name}{.*} (\\S+)$`, 'gm'))].reduce((all, [, value]) => all + Number(value), 0)
  return { requests: sum('minio_api_requests_total'), bytes: sum('minio_api_requests_traffic_sent_bytes') }
}

async function measured(run: () => Promise<Run>): Promise<Measured> {
  const before = await traffic()
  const found = await run()
  const after = await traffic()
  return { ...found, requests: after.requests - before.requests, bytes: after.bytes - before.bytes }
}

function runOf(child: Subprocess, started: number): Run {
  const seconds = (performance.now() - started) / 1000
  return { seconds, busySeconds: Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1e6 }
}

/** Runs a process to its end. */
async function timed(command: readonly string[]): Promise<Run> {
  const out = openSync(output, 'w')
  const started = performance.now()
  const child = Bun.spawn([...command], { env: environment, stdin: 'ignore', stdout: out, stderr: 'pipe' })
  const [said, code] = await Promise.all([child.stderr.text(), child.exited])
  const run = runOf(child, started)
  closeSync(out)
  if (code !== 0) throw new Error(`${command.join(' ')}: exit status ${code}: ${said}`)
  return run
}

const ours = (...args: readonly string[]): Promise<Measured> => measured(() => timed([BINARY, ...args]))
const theirs = (...args: readonly string[]): Promise<Measured> => measured(() => timed([PYTHON, SCRIPT, ...args]))

function cold(): void {
  rmSync(join(cache, 'posixlake', 'text'), { recursive: true, force: true })
}

/** As head -1: something is taken from a pipe, and the pipe closed. */
async function firstLine(): Promise<Measured> {
  const pipe = join(folder, 'pipe')
  Bun.spawnSync(['mkfifo', pipe])
  const both = openSync(pipe, 'r+') // Without it, opening one end would wait for the other.
  const [input, out] = [openSync(pipe, 'r'), openSync(pipe, 'w')]
  closeSync(both)
  const found = await measured(async () => {
    const started = performance.now()
    const child = Bun.spawn([BINARY, 'cat', remote], {
      env: environment,
      stdin: 'ignore',
      stdout: out,
      stderr: 'ignore',
    })
    closeSync(out)
    // A read of an empty pipe would keep this process from everything else.
    const first = Bun.spawn(['head', '-1'], { stdin: input, stdout: 'ignore' })
    closeSync(input)
    await Promise.all([first.exited, child.exited])
    return runOf(child, started)
  })
  rmSync(pipe)
  return found
}

interface Appended {
  readonly seconds: readonly number[]
  readonly requests: number
}

/** Single rows appended as `echo >>` does, through a server. */
async function appends(): Promise<Appended> {
  const child = Bun.spawn([BINARY, 'serve', remote, '--port', '0'], {
    env: environment,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  })
  let record = readRecords().find(known => known.pid === child.pid)
  for (; record === undefined; record = readRecords().find(known => known.pid === child.pid)) await Bun.sleep(5)
  const client = await NfsClient.connect({ port: record.port })
  const file = await client.walk(await client.mount('/posixlake'), 'data/data.csv')
  const seconds: number[] = []
  const append = async (i: number): Promise<number> => {
    const { size } = await client.getattr(file)
    const started = performance.now()
    await client.write(file, size, new TextEncoder().encode(`${-i},appended,${i}\n`), 'FILE_SYNC')
    return (performance.now() - started) / 1000
  }
  // The first one loads what writes.
  await append(0)
  const { requests } = await measured(async () => {
    for (let i = 1; i <= APPENDS; i++) seconds.push(await append(i))
    return { seconds: 0, busySeconds: 0 }
  })
  await client[Symbol.asyncDispose]()
  child.kill('SIGTERM')
  await child.exited
  return { seconds, requests: requests / APPENDS }
}

async function appendsOfOthers(): Promise<Appended> {
  const { requests } = await theirs('append', remote, String(APPENDS_OF_OTHERS))
  return { seconds: JSON.parse(await Bun.file(output).text()) as number[], requests: requests / APPENDS_OF_OTHERS }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
}

/** The round whose time is in the middle. */
function middle(rounds: readonly Measured[]): Measured {
  return [...rounds].sort((a, b) => a.seconds - b.seconds)[rounds.length >> 1]!
}

function print(cells: readonly string[]): void {
  process.stdout.write(`| ${cells.map((cell, i) => cell.padEnd(i === 0 ? 30 : 26)).join(' | ')} |\n`)
}

function cell({ seconds, busySeconds, requests, bytes }: Measured): string {
  const size = bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
  return `${seconds.toFixed(2)} s (${busySeconds.toFixed(2)}), ${requests} requests, ${size}`
}

/** One line: what was measured of us and of others, and how many times as long they took. */
function report(name: string, us: readonly Measured[], ...others: readonly (readonly Measured[])[]): void {
  const { seconds, busySeconds } = middle(us)
  const ratio = (other: Measured): string =>
    `${(other.seconds / seconds).toFixed(1)} (${(other.busySeconds / busySeconds).toFixed(1)})`
  const ratios = others.map(other => (other.length === 0 ? '' : ratio(middle(other))))
  const cells = others.map(other => (other.length === 0 ? '' : cell(middle(other))))
  print([name, cell(middle(us)), ...cells, ratios.join(' ')])
}

async function rounds<K extends string>(run: () => Promise<Record<K, Measured>>): Promise<Record<K, Measured[]>> {
  const all: Record<K, Measured>[] = []
  for (let i = 0; i < ROUNDS; i++) all.push(await run())
  const names = Object.keys(all[0]!) as K[]
  return Object.fromEntries(names.map(name => [name, all.map(round => round[name])])) as Record<K, Measured[]>
}

function writeRows(): number {
  const file = openSync(csv, 'w')
  writeSync(file, 'id,name,value\n')
  let text = ''
  for (let i = 0; i < ROWS; i++) {
    text += `${i},name ${(i * 7919) % 100_003},${1_000_000_007n * BigInt(i)}\n`
    if (text.length > 1 << 20 || i === ROWS - 1) {
      writeSync(file, text)
      text = ''
    }
  }
  closeSync(file)
  return statSync(csv).size
}

function checkSame(path: string): void {
  const wrong = Bun.spawnSync(['cmp', path, csv])
  if (wrong.exitCode !== 0) throw new Error(`what was read is not what was imported: ${wrong.stdout.toString()}`)
}

async function readings(): Promise<void> {
  const full = await rounds(async () => {
    cold()
    const here = await ours('cat', local)
    cold()
    const us = await ours('cat', remote)
    checkSame(output)
    const again = await ours('cat', remote)
    const deltaRs = await theirs('read', remote, join(folder, 'theirs.csv'))
    const duck = await theirs('duck', remote, `COPY (FROM data) TO '${join(folder, 'theirs.csv')}' (HEADER)`)
    cold()
    return { here, us, again, deltaRs, duck, head: await firstLine(), theirHead: await theirs('head', remote) }
  })
  report('cold full read', full.us, full.deltaRs, full.duck)
  report('warm full read', full.again, full.deltaRs, full.duck)
  report('cold head -1', full.head, full.theirHead, [])
  const ratios = full.us.map((us, i) => us.seconds / full.here[i]!.seconds)
  const busy = full.us.map((us, i) => us.busySeconds / full.here[i]!.busySeconds)
  const here = middle(full.here)
  const figures = (all: readonly number[]): string => all.map(figure => figure.toFixed(2)).join(', ')
  print([
    `(the same of a local table: ${here.seconds.toFixed(2)} s (${here.busySeconds.toFixed(2)}); the cold read takes ${figures(ratios)} (${figures(busy)}) times as long)`,
  ])
  for (const [name, query] of Object.entries(QUERIES)) {
    const found = await rounds(async () => {
      cold()
      const us = await ours('query', remote, query)
      return { us, deltaRs: await theirs('sql', remote, query), duck: await theirs('duck', remote, query) }
    })
    report(`SQL ${name}, cold`, found.us, found.deltaRs, found.duck)
  }
}

async function changes(): Promise<void> {
  const rowOf = (i: number): string => String(Math.trunc(ROWS / 3) + 1000 * i)
  const theirEdits: Measured[] = []
  for (let i = 0; i < ROUNDS; i++) theirEdits.push(await theirs('update', remote, rowOf(i)))
  const others = await appendsOfOthers()
  const us = await appends()
  const cells = [us, others].map(({ seconds, requests }) => {
    const [p50, p99] = [0.5, 0.99].map(share => `${(quantile(seconds, share) * 1000).toFixed(0)} ms`)
    return `${p50}, p99 ${p99}, ${requests.toFixed(1)} requests`
  })
  print(['append of one row', ...cells, '', (quantile(others.seconds, 0.5) / quantile(us.seconds, 0.5)).toFixed(1)])
  const ourEdits: Measured[] = []
  for (let i = 0; i < ROUNDS; i++) {
    cold()
    ourEdits.push(await ours('query', remote, `UPDATE data SET name = 'edited' WHERE id = ${rowOf(ROUNDS + i)}`))
  }
  report(`edit of one row, cold`, ourEdits, theirEdits, [])
}

try {
  const bytes = writeRows()
  process.stdout.write(
    `${ROWS} rows x 3 columns, ${(bytes / 1e6).toFixed(0)} MB of CSV, ${navigator.hardwareConcurrency} processors, medians of ${ROUNDS} rounds\n\n`,
  )
  for (const table of [local, remote]) await timed([BINARY, 'create', table, '--from-csv', csv])
  print(['', 'posixlake', 'delta-rs', 'DuckDB', 'times as long'])
  await readings()
  await changes()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
