/*
 * Measures what the README says of speed, on this machine, with the built binary: bun bench/bench.ts [ROWS]
 * Everything that is compared is measured in the same run. Times are of whole processes; the mount's side is measured
 * over NFS with a client of our own, so that the kernel's is not part of it.
 */
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { readRecords } from '../src/mount/registry.ts'
import { NfsClient } from '../test/nfs/client.ts'

const ROWS = Number(process.argv[2] ?? 5_000_000)
const BINARY = resolve('dist/posixlake')
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-bench-'))
const environment = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') }
const table = join(folder, 'table')
const csv = join(folder, 'rows.csv')

interface Measured {
  readonly seconds: number
  readonly peakMegabytes: number
}

async function timed(command: readonly string[], output: 'null' | string = 'null'): Promise<Measured> {
  const started = performance.now()
  const out = openSync(output === 'null' ? '/dev/null' : output, 'w')
  const child = Bun.spawn([...command], { env: environment, stdin: 'ignore', stdout: out, stderr: 'inherit' })
  const code = await child.exited
  closeSync(out)
  if (code !== 0) throw new Error(`${command.join(' ')}: exit status ${code}`)
  return { seconds: (performance.now() - started) / 1000, peakMegabytes: (child.resourceUsage()?.maxRSS ?? 0) / 1e6 }
}

function report(name: string, bytes: number | undefined, { seconds, peakMegabytes }: Measured): void {
  const speed = bytes === undefined ? '' : `${(bytes / 1e6 / seconds).toFixed(0)} MB/s`
  const memory = peakMegabytes === 0 ? '' : `peak ${peakMegabytes.toFixed(0)} MB`
  process.stdout.write(`${name.padEnd(46)} ${seconds.toFixed(3).padStart(8)} s  ${speed.padStart(9)}  ${memory}\n`)
}

function writeRows(path: string): number {
  const file = openSync(path, 'w')
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
  return statSync(path).size
}

/** DuckDB's own COPY of the same Parquet files to CSV, in a process of its own. */
async function duckCopy(): Promise<Measured> {
  const script = join(folder, 'copy.ts')
  const files = readdirSync(table)
    .filter(name => name.endsWith('.parquet'))
    .map(name => `'${join(table, name)}'`)
  await Bun.write(
    script,
    `const { DuckDBInstance } = await import(${JSON.stringify(Bun.resolveSync('@duckdb/node-api', process.cwd()))})
     const connection = await (await DuckDBInstance.create(':memory:')).connect()
     await connection.run(\`COPY (FROM read_parquet([${files.join(', ')}])) TO '${join(folder, 'duck.csv')}' (HEADER)\`)`,
  )
  return timed([process.execPath, script])
}

function peakOf(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1e3
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
    stderr: 'inherit',
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

/** The median time of single rows appended as `echo >>` does. */
async function appends(location: string): Promise<{ median: Measured }> {
  const { client, pid, stop } = await serve(location)
  const file = await client.walk(await client.mount('/posixlake'), 'data/data.csv')
  const times: number[] = []
  for (let i = 0; i < 21; i++) {
    const { size } = await client.getattr(file)
    const started = performance.now()
    await client.write(file, size, new TextEncoder().encode(`${-i},appended,${i}\n`), 'FILE_SYNC')
    times.push((performance.now() - started) / 1000)
  }
  const peakMegabytes = peakOf(pid)
  await stop()
  return { median: { seconds: times.sort((a, b) => a - b)[10]!, peakMegabytes } }
}

/** Writes the table's text back without 1,000 of its rows, as cp does: truncation, a megabyte at a time, COMMIT. */
async function overwrite(): Promise<{ bytes: number; sending: Measured; whole: Measured }> {
  const { client, pid, stop } = await serve(table)
  const file = await client.walk(await client.mount('/posixlake'), 'data/data.csv')
  const text = new TextDecoder('latin1').decode(readFileSync(join(folder, 'read.csv')))
  const step = Math.floor(ROWS / 1000)
  const lines = text.split('\n')
  const kept = Buffer.from(lines.filter((_, i) => i === 0 || i % step !== 0 || i / step > 1000).join('\n'), 'latin1')
  const started = performance.now()
  await client.setattr(file, { size: 0n })
  for (let at = 0; at < kept.length; at += 8 << 20) {
    const calls: Promise<unknown>[] = []
    for (let part = at; part < Math.min(kept.length, at + (8 << 20)); part += 1 << 20) {
      calls.push(
        client.write(file, BigInt(part), kept.subarray(part, Math.min(kept.length, part + (1 << 20))), 'UNSTABLE'),
      )
    }
    await Promise.all(calls)
  }
  const sent = performance.now()
  await client.commit(file)
  const { size } = await client.getattr(file)
  if (Number(size) !== kept.length) throw new Error(`the table shows ${size} bytes, ${kept.length} were written`)
  const peakMegabytes = peakOf(pid)
  await stop()
  const deleted = readdirSync(join(table, '_delta_log')).filter(name => name.endsWith('.json')).length
  process.stdout.write(`  (the table has ${deleted} versions)\n`)
  return {
    bytes: kept.length,
    sending: { seconds: (sent - started) / 1000, peakMegabytes: 0 },
    whole: { seconds: (performance.now() - started) / 1000, peakMegabytes },
  }
}

const bytes = writeRows(csv)
process.stdout.write(
  `${ROWS} rows x 3 columns, ${(bytes / 1e6).toFixed(0)} MB of CSV, ${navigator.hardwareConcurrency} processors\n\n`,
)
report('bulk import', bytes, await timed([BINARY, 'create', table, '--from-csv', csv]))
const duck = await duckCopy()
report("DuckDB's COPY of the same Parquet to CSV", bytes, duck)
const first = await timed([BINARY, 'cat', table], join(folder, 'read.csv'))
report('first full read', bytes, first)
if (readFileSync(join(folder, 'read.csv')).equals(readFileSync(csv)) !== true)
  throw new Error('what was read is not what was imported')
process.stdout.write(`  (first full read: ${(duck.seconds / first.seconds).toFixed(2)} of DuckDB's speed)\n`)
report('second full read', bytes, await timed([BINARY, 'cat', table], join(folder, 'read.csv')))
rmSync(join(folder, 'cache'), { recursive: true })
mkdirSync(join(folder, 'cache'))
report('head -1, cold', undefined, await timed(['bash', '-c', `${BINARY} cat ${table} | head -1`]))
const overwritten = await overwrite()
report('overwrite that deletes 1,000 rows: writing', overwritten.bytes, overwritten.sending)
report('overwrite that deletes 1,000 rows: in all', overwritten.bytes, overwritten.whole)
const small = join(folder, 'small')
await timed([BINARY, 'create', small, '--schema', 'id:Int64,name:String,value:Int64'])
report('append of one row, empty table', undefined, (await appends(small)).median)
report(`append of one row, ${ROWS} rows`, undefined, (await appends(table)).median)
rmSync(folder, { recursive: true, force: true })
