/*
 * A large table from its import to a save of nearly all of it, with what is in it verified: bun bench/stress.ts [ROWS]
 * Imports a CSV of 30,000,000 rows (three columns: whole number, short text, large whole number), reads all of it over NFS by a
 * server that has just begun, writes a copy without 10,000 of its rows back as `cp` does, and counts the rows that are left by
 * a process of its own. Each byte that is read is compared with the file that was imported, and after the save with the copy.
 * The NFS client is the bench's own. Needs five times the CSV's size (1 GB) in BENCH_DIR or the folder for temporary files.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { writeCsv } from './made-tables.ts'
import { peakMegabytes, served, treeCpuMs, watchPeak } from './served.ts'
import { readThrough, send } from './transfers.ts'

const ROWS = Number(process.argv[2] ?? 30_000_000)
const LEFT_OUT = Math.min(10_000, Math.trunc(ROWS / 2))
const BINARY = resolve(process.env['POSIXLAKE'] ?? 'dist/posixlake')
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-stress-'))
const environment = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') }
const [table, csv, copy] = ['table', 'rows.csv', 'copy.csv'].map(name => join(folder, name)) as [string, string, string]

function report(name: string, seconds: number, busySeconds: number, peak: number): void {
  const figures = [`${seconds.toFixed(2)} s`, `${busySeconds.toFixed(2)} s`, `${peak.toFixed(0)} MB`]
  process.stdout.write(`${name.padEnd(44)}${figures.map(figure => figure.padStart(12)).join('')}\n`)
}

async function run(name: string, ...args: readonly string[]): Promise<string> {
  const started = performance.now()
  const child = Bun.spawn([BINARY, ...args], { env: environment, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  const peak = watchPeak(child.pid)
  const [output, said, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  if (code !== 0) throw new Error(`${args.join(' ')}: exit status ${code}: ${said}`)
  report(name, (performance.now() - started) / 1000, Number(child.resourceUsage()!.cpuTime.total) / 1e6, peak())
  return output
}

/** Writes the CSV without rows in equal distances. */
function leaveOut(): void {
  const text = readFileSync(csv)
  const step = Math.trunc(ROWS / LEFT_OUT)
  const out = openSync(copy, 'w')
  let start = 0
  let at = text.indexOf(0x0a) + 1
  for (let row = 0; row < ROWS; row++) {
    const end = text.indexOf(0x0a, at) + 1
    if (row % step === step - 1 && row / step < LEFT_OUT) {
      writeSync(out, text, start, at - start)
      start = end
    }
    at = end
  }
  writeSync(out, text, start, text.length - start)
  closeSync(out)
}

/** Compares what is read with a file, wherever in it. */
function comparison(path: string): ((bytes: Uint8Array, at: number) => void) & Disposable {
  const file = openSync(path, 'r')
  const same = new Uint8Array(1 << 20)
  const compare = (bytes: Uint8Array, at: number): void => {
    const length = readSync(file, same, 0, bytes.length, at)
    if (Buffer.compare(same.subarray(0, length), bytes) !== 0)
      throw new Error(`what was read at byte ${at} is not what is in ${path}`)
  }
  return Object.assign(compare, { [Symbol.dispose]: () => closeSync(file) })
}

async function overNfs(): Promise<void> {
  const { client, server } = await served(BINARY, table, folder)
  const measured = async (name: string, step: () => Promise<unknown>): Promise<void> => {
    const [started, before] = [performance.now(), treeCpuMs(server.pid)]
    await step()
    const busySeconds = (treeCpuMs(server.pid) - before) / 1000
    report(name, (performance.now() - started) / 1000, busySeconds, peakMegabytes(server.pid))
  }
  try {
    const data = await client.walk(await client.mount('/posixlake'), 'data')
    const read = async (path: string): Promise<void> => {
      using compare = comparison(path)
      const size = await readThrough(client, (await client.lookup(data, 'data.csv')).handle, compare)
      if (size !== statSync(path).size) throw new Error(`${size} bytes were read, ${path} has others`)
    }
    await measured('first read, all bytes compared', () => read(csv))
    const { handle } = await client.lookup(data, 'data.csv')
    const file = openSync(copy, 'r')
    await measured(`save of a copy without ${LEFT_OUT} rows`, async () => {
      await client.setattr(handle, { size: 0n })
      await send(client, handle, statSync(copy).size, (start, end) => {
        const bytes = new Uint8Array(end - start)
        readSync(file, bytes, 0, bytes.length, start)
        return bytes
      })
      await client.commit(handle)
    })
    closeSync(file)
    await measured('read of what was saved, all bytes compared', () => read(copy))
  } finally {
    await client[Symbol.asyncDispose]()
    server.kill('SIGTERM')
    await server.exited
  }
}

try {
  const bytes = writeCsv(csv, ROWS)
  leaveOut()
  process.stdout.write(`${ROWS} rows x 3 columns, ${(bytes / 1e6).toFixed(0)} MB of CSV\n`)
  process.stdout.write(
    `${''.padEnd(44)}${['time', 'processor', 'peak memory'].map(name => name.padStart(12)).join('')}\n`,
  )
  await run('import', 'create', table, '--from-csv', csv)
  await overNfs()
  const counted = await run('count', 'query', table, 'SELECT count(*) FROM data', '--format', 'csv')
  if (Number(counted.split('\n')[1]) !== ROWS - LEFT_OUT)
    throw new Error(`the table has ${counted.split('\n')[1]} rows`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
