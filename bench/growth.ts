/*
 * How what programs do grows with a table: BENCH_PYTHON=python3 bun bench/growth.ts [ROWS ...]
 * For tables of so many rows (10,000 to 3,000,000 if none are named), three columns each: the processor time of posixlake, of
 * DuckDB and delta-rs for the same, and of `cat` for a plain file, each in turns in one run, medians of three rounds. Import,
 * reads and the count are processes of their own, from their start on; an append, a DELETE of 1,000 rows and a MERGE of 1,000
 * are done by a server and a Python that stay. That Python needs deltalake and pyarrow. Written to bench/growth.svg.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { copyToCsv, duckDbCommand } from './duckdb.ts'
import { type Line, logPlot } from './log-plot.ts'
import { writeCsv } from './made-tables.ts'
import { appendRows, type Cost, DeltaRs, deleteSql, mergeSql, middle, PYTHON, SCRIPT, Sides, sql } from './sides.ts'

const SIZES = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [10_000, 100_000, 1_000_000, 3_000_000]
const ROUNDS = 3
const APPENDS = 20
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-growth-'))
const sides = new Sides(folder)
const [csv, table] = ['rows.csv', 'table'].map(name => join(folder, name)) as [string, string]

/** What one side does, by the name of its line. */
type Turns = Readonly<Record<string, () => Promise<Cost>>>

function byDuckDb(statement: string): Promise<Cost> {
  return sides.run(...duckDbCommand(folder, statement))
}

async function shared(count: number, run: () => Promise<Cost>): Promise<Cost> {
  const { seconds, busy } = await run()
  return { seconds: seconds / count, busy: busy / count }
}

async function repeated(run: () => Promise<Cost>): Promise<Cost> {
  let [seconds, busy] = [0, 0]
  for (let i = 0; i < APPENDS; i++) {
    const cost = await run()
    seconds += cost.seconds
    busy += cost.busy
  }
  return { seconds: seconds / APPENDS, busy: busy / APPENDS }
}

/** A change by SQL, by a server that has run a statement before. */
function changed(statement: string): Promise<Cost> {
  return sides.withServer(sides.copyOf(table), async serving => {
    await sql(serving, 'SELECT 1')
    return serving.cost(() => sql(serving, statement))
  })
}

/** What is measured of a table of so many rows, in the order in which it is done. */
function measurements(rows: number, deltaRs: DeltaRs): Readonly<Record<string, Turns>> {
  return {
    'import of a CSV': {
      posixlake: () => {
        rmSync(table, { recursive: true, force: true })
        return sides.posixlake('create', table, '--from-csv', csv)
      },
      "DuckDB's COPY to Parquet": () =>
        byDuckDb(`COPY (FROM read_csv('${csv}')) TO '${join(folder, 'duck.parquet')}' (FORMAT parquet)`),
    },
    'first read of all': {
      posixlake: () => {
        sides.forgetTexts()
        return sides.posixlake('cat', table)
      },
      "DuckDB's COPY to CSV": () => byDuckDb(copyToCsv(table, join(folder, 'duck.csv'))),
    },
    'second read of all': {
      posixlake: () => sides.posixlake('cat', table),
      'cat of a plain file': () => sides.run('cat', csv),
    },
    'count of its rows': {
      posixlake: () => sides.posixlake('query', table, 'SELECT count(*) FROM data'),
      'delta-rs': () => sides.run(PYTHON, SCRIPT, 'count', table),
    },
    'append of a row': {
      posixlake: () =>
        sides.withServer(sides.copyOf(table), async serving => {
          await appendRows(serving, APPENDS)
          return shared(APPENDS, () => serving.cost(() => appendRows(serving, APPENDS)))
        }),
      'delta-rs': () => {
        const copy = sides.copyOf(table)
        return repeated(() => deltaRs.call('append', copy))
      },
    },
    'DELETE of 1,000 rows': {
      posixlake: () => changed(deleteSql(rows)),
      'delta-rs': () => deltaRs.call('delete', sides.copyOf(table), rows),
    },
    'MERGE of 1,000 rows': {
      posixlake: () => changed(mergeSql(rows, 1000)),
      'delta-rs': () => deltaRs.call('merge', sides.copyOf(table), rows, 1000),
    },
  }
}

const shown = (seconds: number): string =>
  seconds < 1 ? `${Number((seconds * 1000).toPrecision(3))} ms` : `${Number(seconds.toPrecision(3))} s`

async function measured(turns: Turns): Promise<ReadonlyMap<string, number>> {
  const costs = new Map(Object.keys(turns).map(name => [name, [] as Cost[]]))
  for (let round = 0; round < ROUNDS; round++)
    for (const [name, run] of Object.entries(turns)) costs.get(name)!.push(await run())
  // A clock that ticks a hundred times a second tells of no less.
  return new Map([...costs].map(([name, all]) => [name, Math.max(middle(all).busy, 0.001)]))
}

/** Draws what is measured so far. */
function draw(lines: ReadonlyMap<string, ReadonlyMap<string, [number, number][]>>): void {
  const panels = [...lines].map(([title, own]) => ({
    title,
    lines: [...own].map(([name, points]): Line => ({ name, points })),
  }))
  const title = 'Processor time of posixlake and others by the rows of a table'
  writeFileSync(join(import.meta.dir, 'growth.svg'), logPlot(title, panels, 'rows', shown))
}

try {
  using deltaRs = new DeltaRs()
  const lines = new Map<string, Map<string, [number, number][]>>()
  for (const rows of SIZES) {
    writeCsv(csv, rows)
    for (const [what, turns] of Object.entries(measurements(rows, deltaRs))) {
      const own = lines.get(what) ?? new Map<string, [number, number][]>()
      lines.set(what, own)
      const found = await measured(turns)
      for (const [name, seconds] of found) own.set(name, [...(own.get(name) ?? []), [rows, seconds]])
      const [ours, theirs] = [...found.values()] as [number, number]
      const cells = [...found].map(([name, seconds]) => `${name} ${shown(seconds)}`)
      process.stdout.write(
        `${String(rows).padStart(9)} rows  ${what.padEnd(22)} ${cells.join(', ')}: ${(theirs / ours).toFixed(2)}\n`,
      )
    }
    draw(lines)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
