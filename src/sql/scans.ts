import type { DuckDBConnection } from '@duckdb/node-api'

/** The part of a plan that is looked at. */
interface PlanNode {
  readonly name?: string
  readonly children?: readonly PlanNode[]
  readonly extra_info?: Readonly<Record<string, unknown>>
}

/**
 * The columns of the table that a statement reads, as the engine plans it, by their numbers. Where that is too little, the
 * engine comes upon a column that is not there, and refuses the statement.
 */
export async function columnsRead(connection: DuckDBConnection, sql: string): Promise<ReadonlySet<number>> {
  return new Set((await scansOf(connection, sql)).flatMap(columnsIn))
}

/** The scans of a statement's plan; none if it reads no rows, or cannot be planned. */
async function scansOf(connection: DuckDBConnection, sql: string): Promise<PlanNode[]> {
  try {
    const rows = (await connection.runAndReadAll(`EXPLAIN (FORMAT JSON) ${sql}`)).getRows()
    const plan = JSON.parse(rows.map(row => String(row[1])).join('')) as readonly PlanNode[]
    return plan.flatMap(scansBelow)
  } catch {
    // The engine says what is wrong with the statement when it runs it.
    return []
  }
}

function scansBelow(node: PlanNode): PlanNode[] {
  const below = (node.children ?? []).flatMap(scansBelow)
  return node.name?.includes('PARQUET') === true ? [node, ...below] : below
}

/** Returns the columns that a scan names; also one that only a constant of a filter looks like, which is fetched for nothing. */
function columnsIn({ extra_info: info = {} }: PlanNode): number[] {
  const texts = [info['Projections'], info['Filters']].flat().filter(text => typeof text === 'string')
  return [...texts.join(' ').matchAll(/\bc(\d+)\b/g)].map(([, number]) => Number(number))
}
