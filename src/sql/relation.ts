import type { DuckDBConnection } from '@duckdb/node-api'
import { physicalName } from '../columns/schema.ts'
import { formatScalar } from '../columns/text/scalars.ts'
import type { Cell, DataType, Field } from '../columns/types.ts'
import { lowerBound } from '../core/search.ts'
import type { LiveFile, Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { isWidened } from '../table/type-widening.ts'
import { TABLE_NAME } from './errors.ts'
import { duckTypeOf, quoteName, quoteText, withLogicalNames } from './types.ts'

const ROWS_PER_INSERT = 1000

/** The live rows of a snapshot inside one connection. */
export interface Relation {
  /** The parts that `file_index` counts, in view order. */
  readonly parts: readonly EnginePart[]
  /** `SELECT` of the live rows: the table's columns in order, behind them the row's place as `fileColumn`, `rowColumn`. */
  readonly withPlaces: string
  readonly fileColumn: string
  readonly rowColumn: string
}

/** Rows of a data file, as many as `rows`. */
export interface RowRun {
  readonly firstRow: number
  readonly rows: number
}

/** Some rows of a data file, in a file of this machine that has no others. */
export interface EnginePart {
  readonly file: LiveFile
  readonly path: string
  /** One behind the other, as they are in the part. */
  runs: readonly RowRun[]
}

/** Words by which a statement may get at the table, or at a list of the tables that there are. */
const WAYS_TO_TABLES = /data|query|show|desc|summarize|duckdb_|pg_|sqlite_|information_schema/i

/**
 * True if a statement may be about the table. If not, nothing need be known of it, neither its files nor its columns. (That
 * a statement gets at it without these words is found out by the engine, which then finds no table.)
 */
export function mayMention(sql: string): boolean {
  return WAYS_TO_TABLES.test(sql)
}

/**
 * Makes the live rows of `snapshot` known as the view `data`: deletion vectors, partition values, column mapping and the
 * columns that old files lack are applied, every column has the type that the table gives it. `schemaName`: a schema of
 * this connection's own for what stands beside the view; `view`: another name for it. The connection may read these files
 * from now on.
 */
export async function defineData(
  connection: DuckDBConnection,
  table: Table,
  snapshot: Snapshot,
  schemaName: string,
  parts: readonly EnginePart[],
  view = `TEMP VIEW ${TABLE_NAME}`,
): Promise<Relation> {
  const taken = new Set(snapshot.schema.map(field => field.name.toLowerCase()))
  const fileColumn = freeName('__file', taken)
  const rowColumn = freeName('__row', taken)
  // Without files there is nothing to join partition values to: all columns come from one empty relation.
  const columns = snapshot.schema.map(
    (field, i) =>
      `${parts.length === 0 ? `p.c${i}` : columnExpression(snapshot, field, i)} AS ${quoteName(field.name)}`,
  )
  await defineFiles(connection, parts, schemaName)
  let from: string
  if (parts.length === 0) from = `(SELECT ${emptyColumns(snapshot)}) p`
  else {
    from = `${scanOf(snapshot, schemaName)} p`
    if (await definePartitions(connection, snapshot, parts, schemaName))
      from += ` JOIN ${quoteName(schemaName)}.partitions v ON v.file = p.file_index`
    if (await defineDeleted(connection, table, parts, schemaName)) {
      from += ` WHERE NOT EXISTS (SELECT 1 FROM ${quoteName(schemaName)}.deleted d WHERE d.file = p.file_index AND d.row = p.file_row_number)`
    }
  }
  const select = columns.length === 0 ? 'NULL AS "no columns"' : columns.join(', ')
  const places = parts.length === 0 ? 'NULL::UBIGINT, NULL::BIGINT' : 'p.file_index, p.file_row_number'
  const [file, row] = places.split(', ')
  const nothing = parts.length === 0 ? ' WHERE false' : ''
  await connection.run(`CREATE ${view} AS SELECT ${select} FROM ${from}${nothing}`)
  const withPlaces = `SELECT ${select}, ${file} AS ${quoteName(fileColumn)}, ${row} AS ${quoteName(rowColumn)} FROM ${from}${nothing}`
  return { parts, withPlaces, fileColumn, rowColumn }
}

/** Makes so many rows known as `data`, for a query that asks for their number and names none of their columns. */
export async function defineCount(connection: DuckDBConnection, rows: bigint): Promise<Relation> {
  const withPlaces = `SELECT NULL::UBIGINT AS "__file", NULL::BIGINT AS "__row" FROM range(${rows})`
  await connection.run(`CREATE TEMP VIEW ${TABLE_NAME} AS ${withPlaces}`)
  return { parts: [], withPlaces, fileColumn: '__file', rowColumn: '__row' }
}

/**
 * The paths of the files, in the snapshot's order, as a variable: written into the text of statements, hundreds of
 * thousands of them take gigabytes to parse.
 */
async function defineFiles(
  connection: DuckDBConnection,
  parts: readonly EnginePart[],
  schemaName: string,
): Promise<void> {
  const name = `${quoteName(schemaName)}.files`
  await connection.run(`CREATE TABLE ${name} (path VARCHAR)`)
  const appender = await connection.createAppender('files', schemaName)
  for (const { path } of parts) {
    appender.appendVarchar(path)
    appender.endRow()
  }
  appender.closeSync()
  const variable = filesVariable(schemaName)
  await connection.run(`SET VARIABLE ${quoteName(variable)} = (SELECT list(path ORDER BY rowid) FROM ${name})`)
  await connection.run(`DROP TABLE ${name}`)
  // list() of nothing is NULL.
  if (parts.length === 0) return
  await connection.run(
    `SET allowed_paths = list_distinct(list_concat(current_setting('allowed_paths'), getvariable('${variable}')))`,
  )
}

/** The variable of the files whose view has its tables in a schema. */
function filesVariable(schemaName: string): string {
  return `${schemaName}_files`
}

function freeName(wanted: string, taken: ReadonlySet<string>): string {
  let name = wanted
  while (taken.has(name)) name = `_${name}`
  return name
}

function isPartition(snapshot: Snapshot, field: Field): boolean {
  return snapshot.partitionColumns.includes(field.name)
}

function columnExpression(snapshot: Snapshot, field: Field, index: number): string {
  if (isPartition(snapshot, field)) return `v.c${index}`
  const column = withLogicalNames(`p.c${index}`, field.type)
  // The engine makes a value that is looked for one of the file's own type, so that 0.75 would be found as the integer 1.
  return isWidened(field) ? `CASE WHEN p.file_row_number >= 0 THEN ${column} END` : column
}

function emptyColumns(snapshot: Snapshot): string {
  const columns = snapshot.schema.map((field, i) => `NULL::${duckTypeOf(field.type)} AS c${i}`)
  return columns.length === 0 ? '1' : columns.join(', ')
}

/**
 * The scan of all files, its columns named c0, c1, ...: with an explicit schema DuckDB takes columns by name (or field
 * id), gives NULL for those that a file lacks and casts the rest, nested ones too, and need not open every file to plan.
 */
function scanOf(snapshot: Snapshot, schemaName: string): string {
  const byId = snapshot.metadata.configuration.get('delta.columnMapping.mode') === 'id'
  const columns: string[] = []
  for (const [i, field] of snapshot.schema.entries()) {
    if (isPartition(snapshot, field)) continue
    const id = field.metadata['delta.columnMapping.id']
    const key = byId && typeof id === 'number' ? String(id) : quoteText(physicalName(field))
    columns.push(
      `${key}: {name: 'c${i}', type: ${quoteText(duckTypeOf(field.type, physicalName))}, default_value: NULL}`,
    )
  }
  // A table of partition columns only still needs the rows of its files counted.
  const schema = columns.length === 0 ? '' : `, schema = MAP {${columns.join(', ')}}`
  return `read_parquet(getvariable('${filesVariable(schemaName)}'), hive_partitioning = false${schema})`
}

/** Partition values by file, as a table to join. False if the table has no partitions. */
async function definePartitions(
  connection: DuckDBConnection,
  snapshot: Snapshot,
  parts: readonly EnginePart[],
  schemaName: string,
): Promise<boolean> {
  const fields = [...snapshot.schema.entries()].filter(([, field]) => isPartition(snapshot, field))
  if (fields.length === 0) return false
  const columns = fields.map(([i, field]) => `c${i} ${duckTypeOf(field.type)}`)
  await connection.run(`CREATE TABLE ${quoteName(schemaName)}.partitions (file UBIGINT, ${columns.join(', ')})`)
  const row = ({ file }: EnginePart, n: number): string => {
    const values = fields.map(([, field]) => literal(file.partition.get(physicalName(field)) ?? null, field.type))
    return `(${[n, ...values].join(', ')})`
  }
  for (let start = 0; start < parts.length; start += ROWS_PER_INSERT) {
    const rows = parts.slice(start, start + ROWS_PER_INSERT).map((part, i) => row(part, start + i))
    await connection.run(`INSERT INTO ${quoteName(schemaName)}.partitions VALUES ${rows.join(', ')}`)
  }
  return true
}

/** A value that is not nested as SQL. */
export function literal(cell: Cell, type: DataType): string {
  if (cell === null) return 'NULL'
  if (type.kind === 'binary') return `unhex('${(cell as Uint8Array).toHex()}')`
  if (type.kind === 'timestamp' || type.kind === 'timestamp_ntz') {
    return type.kind === 'timestamp' ? `make_timestamptz(${cell})` : `make_timestamp(${cell})`
  }
  if (type.kind === 'date') return `(DATE '1970-01-01' + ${cell})`
  // A NUL byte ends the text of a statement.
  const text = formatScalar(cell, type).split('\0').map(quoteText).join(' || chr(0) || ')
  return `(${text})::${duckTypeOf(type)}`
}

/** The rows that deletion vectors take away, as a table. False if there are none. */
async function defineDeleted(
  connection: DuckDBConnection,
  table: Table,
  parts: readonly EnginePart[],
  schemaName: string,
): Promise<boolean> {
  if (parts.every(({ file }) => file.vector === undefined)) return false
  await connection.run(`CREATE TABLE ${quoteName(schemaName)}.deleted (file UBIGINT, row BIGINT)`)
  await fillDeleted(connection, table, parts, schemaName)
  return true
}

/** Says anew which rows of parts are deleted, as they have others than they had. */
export async function redefineDeleted(
  connection: DuckDBConnection,
  table: Table,
  { parts }: Relation,
  schemaName: string,
): Promise<void> {
  if (parts.every(({ file }) => file.vector === undefined)) return
  await connection.run(`DELETE FROM ${quoteName(schemaName)}.deleted`)
  await fillDeleted(connection, table, parts, schemaName)
}

async function fillDeleted(
  connection: DuckDBConnection,
  table: Table,
  parts: readonly EnginePart[],
  schemaName: string,
): Promise<void> {
  const appender = await connection.createAppender('deleted', schemaName)
  for (const [n, { file, runs }] of parts.entries()) {
    if (file.vector === undefined) continue
    const deleted = await table.deletedRows(file)
    let before = 0
    for (const { firstRow, rows } of runs) {
      const end = lowerBound(deleted, firstRow + rows)
      for (let i = lowerBound(deleted, firstRow); i < end; i++) {
        appender.appendUBigInt(BigInt(n))
        appender.appendBigInt(BigInt(before + deleted[i]! - firstRow))
        appender.endRow()
      }
      before += rows
    }
  }
  appender.closeSync()
}
