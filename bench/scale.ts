/*
 * What tables of many commits, files and rows cost, beside delta-rs: BENCH_PYTHON=python3 bun bench/scale.ts [--commits N]
 * [--files N] [--rows N] [--merged N] [--small-files N]
 * [--huge-commits N] [--huge-files N] [--rounds N] [--only PARTS]. That Python needs deltalake and pyarrow.
 * Both sides take turns in one run, and medians count. "Warm": a library call in a process that stays, of both where a table is
 * opened; what changes a table goes to a posixlake server over NFS, as a mount sends it, and to delta-rs by calls. "Cold": a
 * process of its own for each, of the built binary and of Python. Each figure is seconds on the wall and, in brackets, of the
 * processor; a ratio above 1 says how often posixlake's fits into delta-rs's. posixlake makes all that it writes durable, by
 * fsync, which delta-rs does not.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { localStore } from '../src/storage/local.ts'
import { openTable } from '../src/table/table.ts'
import type { Handle } from '../test/nfs/client.ts'
import { checkpointed, tableOfCommits, tableOfFiles, tableOfRows, writeCsv } from './made-tables.ts'
import {
  appendRows,
  type Cost,
  DeltaRs,
  deleteSql,
  mergeSql,
  middle,
  PYTHON,
  SCRIPT,
  type Serving,
  Sides,
  sql,
} from './sides.ts'
import { readThrough, send } from './transfers.ts'

const { values } = parseArgs({
  options: {
    commits: { type: 'string', default: '10000' },
    files: { type: 'string', default: '100000' },
    rows: { type: 'string', default: '5000000' },
    merged: { type: 'string', default: '10000' },
    'huge-commits': { type: 'string', default: '100000' },
    'huge-files': { type: 'string', default: '300000' },
    'small-files': { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: 'opens,appends,changes,writes,small,huge' },
  },
})
const [COMMITS, FILES, ROWS, MERGED, ROUNDS] = [
  values.commits,
  values.files,
  values.rows,
  values.merged,
  values.rounds,
].map(Number) as [number, number, number, number, number]
const HUGE = { commits: Number(values['huge-commits']), files: Number(values['huge-files']) }
const CLIENTS = 8
/** Appends of one measurement. */
const APPENDS = 20
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-scale-'))
const sides = new Sides(folder)
/** Opens a table in this process. */
async function opened(location: string): Promise<Cost> {
  const [started, before] = [performance.now(), process.cpuUsage()]
  await openTable(localStore(location))
  const { user, system } = process.cpuUsage(before)
  return { seconds: (performance.now() - started) / 1000, busy: (user + system) / 1e6 }
}

const perAppend = ({ seconds, busy }: Cost): Cost => ({ seconds: seconds / APPENDS, busy: busy / APPENDS })

const shown = (seconds: number): string =>
  seconds < 0.1 ? `${(seconds * 1000).toFixed(1)} ms` : `${seconds.toFixed(2)} s`
const both = ({ seconds, busy }: Cost): string => `${shown(seconds)} (${shown(busy)})`

function line(cells: readonly string[]): void {
  process.stdout.write(`${cells.map((cell, i) => (i === 0 ? cell.padEnd(44) : cell.padStart(20))).join('')}\n`)
}

/** One row of the table: both sides in turns, after a round that does not count. */
async function row(name: string, ours: () => Promise<Cost>, theirs: () => Promise<Cost>, warmUp = 1): Promise<void> {
  const costs: { ours: Cost; theirs: Cost }[] = []
  for (let i = -warmUp; i < ROUNDS; i++) {
    const turn = { ours: await ours(), theirs: await theirs() }
    if (i >= 0) costs.push(turn)
  }
  const [a, b] = [middle(costs.map(cost => cost.ours)), middle(costs.map(cost => cost.theirs))]
  line([name, both(a), both(b), `${(b.seconds / a.seconds).toFixed(2)} (${(b.busy / a.busy).toFixed(2)})`])
}

async function opens(deltaRs: DeltaRs): Promise<void> {
  const [long, files] = ['long', 'files'].map(name => join(folder, name)) as [string, string]
  const cold = (name: string, location: string): Promise<void> =>
    row(
      `  the same, cold: count of its rows${name}`,
      () => sides.posixlake('query', location, 'SELECT count(*) FROM data'),
      () => sides.run(PYTHON, SCRIPT, 'count', location),
      0,
    )
  await tableOfCommits(long, COMMITS)
  await row(
    `open ${COMMITS} commits, no checkpoint`,
    () => opened(long),
    () => deltaRs.call('open', long),
  )
  await cold('', long)
  await checkpointed(long)
  await row(
    `open ${COMMITS} commits, checkpoint`,
    () => opened(long),
    () => deltaRs.call('open', long),
  )
  await cold('', long)
  await tableOfFiles(files, FILES)
  await row(
    `open ${FILES} files`,
    () => opened(files),
    () => deltaRs.call('open', files),
  )
  await cold('', files)
  for (const made of [long, files]) rmSync(made, { recursive: true })
}

async function appends(deltaRs: DeltaRs): Promise<void> {
  for (const [name, commits] of [
    ['short log', 1],
    [`log of ${COMMITS} commits`, COMMITS],
  ] as const) {
    const table = join(folder, `appended-${commits}`)
    await tableOfCommits(table, commits)
    if (commits > 1) await checkpointed(table)
    await appendsTo(deltaRs, name, table)
  }
}

async function appendsTo(deltaRs: DeltaRs, name: string, location: string): Promise<void> {
  const theirs = sides.copyOf(location)
  const repeated = async (operation: string): Promise<Cost> => {
    let sum: Cost = { seconds: 0, busy: 0 }
    for (let i = 0; i < APPENDS; i++) {
      const { seconds, busy } = await deltaRs.call(operation, theirs)
      sum = { seconds: sum.seconds + seconds, busy: sum.busy + busy }
    }
    return perAppend(sum)
  }
  await sides.withServer(location, async serving => {
    const ours = async (): Promise<Cost> => perAppend(await serving.cost(() => appendRows(serving, APPENDS)))
    await row(`append of a row, ${name}`, ours, () => repeated('append'))
    await deltaRs.call('hold', theirs)
    await row('  the same, delta-rs holds the table', ours, () => repeated('append_held'))
  })
}

async function changes(deltaRs: DeltaRs): Promise<void> {
  const csv = join(folder, 'rows.csv')
  const table = join(folder, 'rows')
  writeCsv(csv, ROWS)
  await sides.posixlake('create', table, '--from-csv', csv)
  for (const { name, statement, call } of [
    { name: `delete 1000 of ${ROWS} rows`, statement: deleteSql(ROWS), call: ['delete', ROWS] },
    { name: `merge ${MERGED} rows into ${ROWS}`, statement: mergeSql(ROWS, MERGED), call: ['merge', ROWS, MERGED] },
  ]) {
    const [operation, ...numbers] = call as [string, ...number[]]
    await row(
      name,
      () =>
        sides.withServer(sides.copyOf(table), async serving => {
          await sql(serving, 'SELECT 1')
          return serving.cost(() => sql(serving, statement))
        }),
      () => deltaRs.call(operation, sides.copyOf(table), ...numbers),
    )
    await row(
      '  the same, cold',
      () => sides.posixlake('query', sides.copyOf(table), statement),
      () => sides.run(PYTHON, SCRIPT, operation, sides.copyOf(table), ...numbers.map(String)),
      0,
    )
  }
}

/** Rows that come at once, and from many clients; and edits of one row of many. */
async function writes(): Promise<void> {
  const empty = join(folder, 'empty')
  await sides.posixlake('create', empty, '--schema', 'id:Int64,name:String,value:Int64')
  await sides.withServer(empty, async serving => {
    const { client, root, connect, cost } = serving
    await appendRows(serving, APPENDS)
    const clients = await Promise.all(Array.from({ length: CLIENTS }, connect))
    const watched = await openTable(localStore(empty))
    const { version: first } = watched.snapshot
    const all = await cost(async () => {
      await Promise.all(clients.map(own => appendRows({ client: own, root }, 1000 / CLIENTS)))
    })
    const commits = (await watched.refresh()).version - first
    line([`1000 appends of ${CLIENTS} clients: ${commits} commits`, both(all)])
    const file = await client.walk(root, 'data/data.csv')
    const { size } = await client.getattr(file)
    const rows = Buffer.from('-1,appended,1\n'.repeat(10_000))
    line(['10000 rows appended at once', both(await cost(async () => void (await client.write(file, size, rows))))])
    for (const own of clients) await own[Symbol.asyncDispose]()
  })
  await edits()
}

/** One row of many is changed, by each of the ways in which programs save. */
async function edits(): Promise<void> {
  const [csv, changed, table] = ['edited.csv', 'changed.csv', 'edited'].map(name => join(folder, name)) as [
    string,
    string,
    string,
  ]
  writeCsv(csv, ROWS)
  await sides.posixlake('create', table, '--from-csv', csv)
  const middleRow = Math.trunc(ROWS / 2)
  await Bun.write(changed, (await Bun.file(csv).text()).replace(`\n${middleRow},name`, `\n${middleRow},edited`))
  const bytes = readFileSync(changed)
  const part = (start: number, end: number): Uint8Array => bytes.subarray(start, end)
  const ways: Readonly<Record<string, (serving: Serving, data: Handle, file: Handle) => Promise<void>>> = {
    rename: async ({ client }, data) => {
      const { handle } = await client.create(data, 'sedAbCdEf')
      await send(client, handle, bytes.length, part)
      await client.commit(handle)
      await client.rename(data, 'sedAbCdEf', data, 'data.csv')
    },
    rewrite: async ({ client }, _, file) => {
      await client.setattr(file, { size: 0n })
      await send(client, file, bytes.length, part)
      await client.commit(file)
    },
    UPDATE: serving => sql(serving, `UPDATE data SET name = 'edited' WHERE id = ${middleRow}`),
  }
  for (const [way, save] of Object.entries(ways)) {
    const costs: Cost[] = []
    for (let round = 0; round < ROUNDS; round++)
      await sides.withServer(sides.copyOf(table), async serving => {
        const data = await serving.client.walk(serving.root, 'data')
        const { handle } = await serving.client.lookup(data, 'data.csv')
        // Whoever writes a text back has read it.
        await readThrough(serving.client, handle)
        await sql(serving, 'SELECT 1')
        costs.push(await serving.cost(() => save(serving, data, handle)))
      })
    const cost = middle(costs)
    const speed = way === 'UPDATE' ? '' : `${(bytes.length / 1e6 / cost.seconds).toFixed(0)} MB/s`
    line([`1 of ${ROWS} rows changed by ${way}`, both(cost), speed])
  }
}

/** What programs do with a table of many small files, and with one file of the same rows. */
async function smallFiles(count: number, rowsEach: number): Promise<void> {
  const many = join(folder, 'many')
  const one = join(folder, 'one')
  await tableOfRows(many, count, rowsEach)
  await tableOfRows(one, 1, count * rowsEach)
  const steps = ['start', 'stat', 'list', 'read', 'read again'] as const
  const costs = new Map<string, Cost[]>()
  const note = (name: string, cost: Cost): void => void costs.set(name, [...(costs.get(name) ?? []), cost])
  for (let round = 0; round < ROUNDS; round++)
    for (const location of [many, one]) {
      rmSync(join(folder, 'cache'), { recursive: true, force: true })
      const begun = performance.now()
      await sides.withServer(location, async serving => {
        const { client, root, cost } = serving
        const data = await client.walk(root, 'data')
        note(`start ${location}`, { seconds: (performance.now() - begun) / 1000, busy: serving.busy() })
        let file = data
        const run = {
          stat: async () => {
            file = await client.walk(data, 'data.csv')
            await client.getattr(file)
          },
          list: async () => void (await client.readdirplus(data)),
          read: async () => void (await client.readAll(file)),
          'read again': async () => void (await client.readAll(file)),
        }
        for (const step of steps) if (step !== 'start') note(`${step} ${location}`, await cost(run[step]))
      })
      note(`cat ${location}`, await sides.posixlake('cat', location))
    }
  line([`${count} files of ${rowsEach} rows, one file`, '1 file', `${count} files`, 'ratio'])
  for (const step of [...steps, 'cat']) {
    const [a, b] = [middle(costs.get(`${step} ${one}`)!), middle(costs.get(`${step} ${many}`)!)]
    line([`  ${step}`, both(a), both(b), `${(b.seconds / a.seconds).toFixed(2)} (${(b.busy / a.busy).toFixed(2)})`])
  }
}

/** Opened by processes that have nothing yet. */
async function huge(name: string, location: string): Promise<void> {
  for (const statement of ['SELECT 1', 'SELECT count(*) FROM data']) {
    const cost = await sides.posixlake('query', location, statement)
    line([`${name}: ${statement}`, both(cost), `${cost.peakMegabytes.toFixed(0)} MB`])
  }
  const started = performance.now()
  await sides.withServer(location, async ({ client, root, peak }) => {
    const { size } = await client.getattr(await client.walk(root, 'data/data.csv'))
    const seconds = (performance.now() - started) / 1000
    line([`${name}: serve, size of data.csv (${size})`, shown(seconds), `${peak().toFixed(0)} MB`])
  })
}

/** The parts of the table, in the order in which they are printed. */
const PARTS: Readonly<Record<string, (deltaRs: DeltaRs) => Promise<void>>> = {
  opens,
  appends,
  changes,
  writes,
  small: () => smallFiles(Number(values['small-files']), 100),
  huge: async () => {
    const table = join(folder, 'huge')
    await tableOfCommits(table, HUGE.commits)
    await huge(`${HUGE.commits} commits`, table)
    rmSync(table, { recursive: true })
    await tableOfFiles(table, HUGE.files)
    await huge(`${HUGE.files} files`, table)
  },
}

try {
  using deltaRs = new DeltaRs()
  line(['', 'posixlake', 'delta-rs', 'ratio'])
  for (const part of values.only.split(',')) await PARTS[part]!(deltaRs)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
