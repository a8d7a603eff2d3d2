/*
 * Files that queries read before and after `optimize --zorder`: bun bench/zorder.ts [BINARY]
 * Makes a table of ROWS rows whose columns have nothing to do with each other, as they arrive in files of FILE_ROWS, puts it in
 * Z order by three columns with the executable (dist/posixlake if none is named), and asks for random values and ranges of each
 * column. Counted is what SQL reads: the files that its pruning leaves, of all, and the processor time and the memory that the
 * ordering took, beside a plain `optimize` to files of the same size.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseDdl } from '../src/columns/schema.ts'
import type { Cell } from '../src/columns/types.ts'
import { batchOf } from '../src/columns/vectors.ts'
import { filterOf } from '../src/sql/predicate.ts'
import { Session } from '../src/sql/session.ts'
import { localStore } from '../src/storage/local.ts'
import { filesFor } from '../src/table/file-pruning.ts'
import { createTable } from '../src/table/operations/create.ts'
import { openTable } from '../src/table/table.ts'
import { Random } from '../test/columns/values.ts'
import { commit, writeDataFiles } from '../test/helpers/changes.ts'

const BINARY = resolve(process.argv[2] ?? 'dist/posixlake')
const ROWS = Number(process.env['ROWS'] ?? 2_000_000)
const FILE_ROWS = Number(process.env['FILE_ROWS'] ?? 10_000)
const TARGET = process.env['TARGET'] ?? '250kB'
const QUESTIONS = 100
const CUSTOMERS = 100_000
const CENTS = 1_000_000
const DAYS = 730
const DAY_MICROS = 86_400_000_000n
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-zorder-'))
const schema = parseDdl('id:Int64,customer:String,amount:Decimal(12,2),seen:Timestamp,note:String')
const random = new Random(20_261_128)

const customer = (): string => `customer-${String(random.below(CUSTOMERS)).padStart(6, '0')}`
const cents = (): number => random.below(CENTS)
const micros = (): bigint => BigInt(random.below(DAYS * 86_400)) * 1_000_000n

/** In the order in which rows come, which is none of these columns'. */
async function arrive(location: string): Promise<void> {
  const table = await createTable(localStore(location), { schema })
  const types = schema.map(({ type }) => type)
  for (let first = 0; first < ROWS; first += FILE_ROWS) {
    const rows = Array.from({ length: Math.min(FILE_ROWS, ROWS - first) }, (_, i): Cell[] => [
      BigInt(first + i),
      customer(),
      BigInt(cents()),
      micros(),
      `note ${random.below(1e9).toString(36)}`,
    ])
    const add = await writeDataFiles(table, [batchOf(types, rows)])
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
  }
  await table.checkpoint()
}

const money = (amount: number): string => (amount / 100).toFixed(2)
const moment = (time: bigint): string =>
  `'${new Date(Number(time / 1000n)).toISOString().slice(0, 19).replace('T', ' ')}'`

/** Conditions that a user asks for, by what they are. */
const QUERIES: Readonly<Record<string, () => string>> = {
  'one customer': () => `customer = '${customer()}'`,
  'one amount': () => `amount = ${money(cents())}`,
  '1 % of the amounts': () => {
    const from = cents()
    return `amount BETWEEN ${money(from)} AND ${money(from + CENTS / 100)}`
  },
  'a week': () => {
    const from = micros()
    return `seen >= ${moment(from)} AND seen < ${moment(from + 7n * DAY_MICROS)}`
  },
  'one customer, a month': () => {
    const from = micros()
    return `customer = '${customer()}' AND seen >= ${moment(from)} AND seen < ${moment(from + 30n * DAY_MICROS)}`
  },
  'one id': () => `id = ${random.below(ROWS)}`,
}

async function asked(location: string, label: string): Promise<void> {
  const table = await openTable(localStore(location))
  const { snapshot } = table
  const session = await Session.open({ table, snapshot }, {})
  const all = snapshot.files.length
  const megabytes = snapshot.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) / 1e6
  console.info(`${label}: ${all} files, ${megabytes.toFixed(1)} MB`)
  for (const [name, condition] of Object.entries(QUERIES)) {
    let files = 0
    for (let i = 0; i < QUESTIONS; i++)
      files += filesFor(snapshot, await filterOf(session.connection, `FROM data WHERE ${condition()}`)).length
    const mean = files / QUESTIONS
    console.info(
      `  ${name.padEnd(24)} reads ${mean.toFixed(1).padStart(6)} files (${((100 * mean) / all).toFixed(0)} %)`,
    )
  }
  session.close()
  await table.close()
}

function optimized(location: string, ...flags: string[]): void {
  const command = [BINARY, 'optimize', location, '--target-size', TARGET, ...flags]
  const { exitCode, resourceUsage, stderr } = Bun.spawnSync(command, {
    env: { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') },
  })
  if (exitCode !== 0) throw new Error(stderr.toString())
  const { cpuTime, maxRSS } = resourceUsage
  console.info(
    `optimize ${flags.join(' ')}: ${(Number(cpuTime.total) / 1e6).toFixed(1)} s of the processor, ${(maxRSS / 1e6).toFixed(0)} MB at most`,
  )
}

try {
  const location = join(folder, 'orders')
  await arrive(location)
  await asked(location, 'as the rows came')
  optimized(location)
  await asked(location, 'files put together')
  optimized(location, '--zorder', 'customer,amount,seen')
  await asked(location, 'in Z order')
} finally {
  rmSync(folder, { recursive: true, force: true })
}
