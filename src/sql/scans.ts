import type { DuckDBConnection } from '@duckdb/node-api'
import { physicalName } from '../columns/schema.ts'
import type { Schema } from '../columns/types.ts'
import type { LiveFile } from '../table/snapshot.ts'
import { tokenize } from './tokens.ts'

/** How one scan of the table's files reads them. Columns go by their numbers in the table. */
interface Scan {
  readonly columns: ReadonlySet<number>
  readonly bounds: readonly Bound[]
}

interface Bound {
  readonly column: number
  readonly operator: '=' | '<' | '<=' | '>' | '>='
  readonly value: number
}

/** What a statement reads: of which columns, and of which files. */
export interface Needed {
  readonly columns: ReadonlySet<number>
  readonly isNeeded: (file: LiveFile) => boolean
}

/** The part of a plan that is looked at. */
interface PlanNode {
  readonly name?: string
  readonly children?: readonly PlanNode[]
  readonly extra_info?: Readonly<Record<string, unknown>>
}

/**
 * What a query needs of the files, as the engine plans it, and the columns that it names. That is a guess which saves
 * fetching: where it is too little, the engine comes upon something empty, fails, and gets all. `schema`: the table's.
 */
export async function neededFor(connection: DuckDBConnection, sql: string, schema: Schema): Promise<Needed> {
  const scans = await scansOf(connection, sql)
  const columns = new Set(scans.flatMap(scan => [...scan.columns]))
  if (scans.length > 0) for (const column of namedColumns(sql, schema)) columns.add(column)
  return { columns, isNeeded: file => scans.some(({ bounds }) => mayHold(file, bounds, schema)) }
}

/** The scans of a query's plan; none if it reads no rows, or cannot be planned. */
async function scansOf(connection: DuckDBConnection, sql: string): Promise<Scan[]> {
  try {
    const rows = (await connection.runAndReadAll(`EXPLAIN (FORMAT JSON) ${sql}`)).getRows()
    const plan = JSON.parse(rows.map(row => String(row[1])).join('')) as readonly PlanNode[]
    return plan.flatMap(scansBelow)
  } catch {
    // The engine says what is wrong with the query when it runs it.
    return []
  }
}

function scansBelow({ name = '', children = [], extra_info: info = {} }: PlanNode): Scan[] {
  const below = children.flatMap(scansBelow)
  if (!name.includes('PARQUET')) return below
  const filters = texts(info['Filters'])
  const mentioned = [...texts(info['Projections']), ...filters].join(' ').matchAll(/\bc(\d+)\b/g)
  return [{ columns: new Set([...mentioned].map(([, number]) => Number(number))), bounds: boundsIn(filters) }, ...below]
}

function texts(value: unknown): string[] {
  return [value].flat().filter(text => typeof text === 'string')
}

/** Comparisons with whole numbers. What else a filter says only makes files be fetched that need not be. */
function boundsIn(filters: readonly string[]): Bound[] {
  return filters
    .flatMap(filter => filter.split(' AND '))
    .flatMap(text => {
      const match = /^c(\d+)(=|<=|>=|<|>)(-?\d{1,15})$/.exec(text.trim())
      if (match === null) return []
      return [{ column: Number(match[1]), operator: match[2] as Bound['operator'], value: Number(match[3]) }]
    })
}

/** Columns whose names are among the words of a statement. */
function namedColumns(sql: string, schema: Schema): number[] {
  const words = new Set(tokenize(sql).map(({ text }) => text.replace(/^"|"$/g, '').toLowerCase()))
  return schema.flatMap(({ name }, i) => (words.has(name.toLowerCase()) ? [i] : []))
}

/** True if a value between the least and the largest may compare so. */
const HOLDS: Readonly<Record<Bound['operator'], (min: number, max: number, value: number) => boolean>> = {
  '=': (min, max, value) => min <= value && value <= max,
  '<': (min, _, value) => min < value,
  '<=': (min, _, value) => min <= value,
  '>': (_, max, value) => max > value,
  '>=': (_, max, value) => max >= value,
}

/** True if rows of a file may be within bounds, by its statistics in the log. */
function mayHold(file: LiveFile, bounds: readonly Bound[], schema: Schema): boolean {
  if (bounds.length === 0) return true
  const { minValues, maxValues } = statisticsOf(file)
  return bounds.every(({ column, operator, value }) => {
    const field = schema[column]
    const name = field === undefined ? '' : physicalName(field)
    const [min, max] = [minValues[name], maxValues[name]]
    if (typeof min !== 'number' || typeof max !== 'number') return true
    return HOLDS[operator](min, max, value)
  })
}

function statisticsOf({ add }: LiveFile): Record<'minValues' | 'maxValues', Readonly<Record<string, unknown>>> {
  try {
    const { minValues, maxValues } = JSON.parse(add.stats ?? '{}') as Record<string, Record<string, unknown> | null>
    return { minValues: minValues ?? {}, maxValues: maxValues ?? {} }
  } catch {
    return { minValues: {}, maxValues: {} }
  }
}
