/*
 * The cost of reading tables of several shapes: bun bench/reads.ts [SHAPE ...]
 * Counted is the processor time of whole processes (user and system, all threads), which other work on the machine changes little;
 * what is compared runs in turns, in the same run: DuckDB's COPY of the same Parquet files to CSV, cat of the text as a plain
 * file, and posixlake cat with nothing cached, once more, and into head -1 with nothing cached.
 */
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { copyToCsv, duckDbCommand } from './duckdb.ts'

const ROUNDS = 3
const BINARY = resolve('dist/posixlake')
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-reads-'))
const cache = join(folder, 'cache')
const copied = join(folder, 'read.csv')

interface Shape {
  readonly rows: number
  readonly header: string
  readonly row: (i: number) => string
}

/** A number from 0 to `below`, the same for the same i. */
const mixed = (i: number, below: number): number => (Math.imul(i ^ 0x9e37, 0x85eb_ca6b) >>> 8) % below
const narrow = (rows: number): Shape => ({
  rows,
  header: 'id,amount,name',
  row: i => `${i},${mixed(i, 1_000_000) / 100},name ${(i * 7919) % 100_003}`,
})
const wideCell = (i: number, column: number): number | string => {
  const value = mixed(i * 200 + column, 100_000)
  return column % 4 === 1 ? value / 100 : column % 4 === 2 ? `v${value % 1000}` : column % 4 === 3 ? value : i * column
}
const SHAPES: Readonly<Record<string, Shape>> = {
  narrow: narrow(5_000_000),
  long: narrow(30_000_000),
  wide: {
    rows: 50_000,
    header: Array.from({ length: 200 }, (_, column) => `c${column}`).join(','),
    row: i => Array.from({ length: 200 }, (_, column) => wideCell(i, column)).join(','),
  },
  text: {
    rows: 500_000,
    header: 'id,title,body',
    row: i =>
      `${i},"He said ""no ${mixed(i, 1e9)}"", twice","Line ${i}, with commas, and ""quotes"" of ${mixed(i, 1e6)}; it goes on for a while, until it is about ${mixed(i, 1e5)} long\nand has another line with ${mixed(i + 7, 1e9)} in it"`,
  },
}

function writeRows(path: string, { rows, header, row }: Shape): void {
  const file = openSync(path, 'w')
  let text = `${header}\n`
  for (let i = 0; i < rows; i++) {
    text += `${row(i)}\n`
    if (text.length < 1 << 20 && i < rows - 1) continue
    writeSync(file, text)
    text = ''
  }
  closeSync(file)
}

/** Processor seconds of a process and of those that it waits for. */
async function measured(command: readonly string[], path: string): Promise<number> {
  const env = { ...process.env, XDG_CACHE_HOME: cache }
  const out = openSync(path, 'w')
  const child = Bun.spawn([...command], { env, stdin: 'ignore', stdout: out, stderr: 'pipe' })
  const [said, code] = await Promise.all([child.stderr.text(), child.exited])
  closeSync(out)
  if (code !== 0) throw new Error(`${command.join(' ')}: exit status ${code}: ${said}`)
  return Number(child.resourceUsage()!.cpuTime.total) / 1e6
}

function duckCopy(table: string): Promise<number> {
  return measured(duckDbCommand(folder, copyToCsv(table, join(folder, 'duck.csv'))), '/dev/null')
}

async function round(table: string, csv: string): Promise<Record<string, number>> {
  const emptyCache = (): void => rmSync(cache, { recursive: true, force: true })
  const duck = await duckCopy(table)
  emptyCache()
  const first = await measured([BINARY, 'cat', table], copied)
  const cat = await measured(['cat', csv], join(folder, 'cat.csv'))
  const second = await measured([BINARY, 'cat', table], copied)
  emptyCache()
  const head = await measured(['sh', '-c', '"$0" cat "$1" | head -1', BINARY, table], '/dev/null')
  return { "DuckDB's COPY": duck, 'first read': first, cat, 'second read': second, 'head -1': head }
}

async function measureShape(name: string, shape: Shape): Promise<void> {
  const csv = join(folder, 'rows.csv')
  const table = join(folder, 'table')
  writeRows(csv, shape)
  await measured([BINARY, 'create', table, '--from-csv', csv], '/dev/null')
  const rounds: Record<string, number>[] = []
  for (let i = 0; i < ROUNDS; i++) rounds.push(await round(table, csv))
  process.stdout.write(`${name}: ${shape.rows} rows, ${(statSync(copied).size / 1e6).toFixed(0)} MB of CSV\n`)
  for (const what of Object.keys(rounds[0]!)) {
    const seconds = rounds.map(all => all[what]!).sort((a, b) => a - b)
    const figures = `${seconds[ROUNDS >> 1]!.toFixed(3)} s  (${seconds[0]!.toFixed(3)} to ${seconds.at(-1)!.toFixed(3)})`
    process.stdout.write(`  ${what.padEnd(14)} ${figures}\n`)
  }
  rmSync(table, { recursive: true })
}

try {
  const names = process.argv.length > 2 ? process.argv.slice(2) : ['narrow', 'wide', 'text']
  for (const name of names) {
    const shape = SHAPES[name]
    if (shape === undefined) throw new Error(`there is no shape ${name}: ${Object.keys(SHAPES).join(', ')}`)
    await measureShape(name, shape)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
