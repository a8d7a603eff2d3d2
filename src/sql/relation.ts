import type { DuckDBConnection } from '@duckdb/node-api'
import { physicalName } from '../columns/schema.ts'
import { formatScalar } from '../columns/text/scalars.ts'
import type { Cell, DataType, Field } from '../columns/types.ts'
import type { LiveFile, Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { SqlError } from './errors.ts'
import { duckTypeOf, quoteName, quoteText, withLogicalNames } from './types.ts'

/** The name under which statements know the table. */
export const TABLE_NAME = 'data'

/** The live rows of a snapshot inside one connection. */
export interface Relation {
  /** The files that `file_index` counts, in view order. */
  readonly files: readonly LiveFile[]
  /** `SELECT` of the live rows: the table's columns in order, behind them the row's place as `fileColumn`, `rowColumn`. */
  readonly withPlaces: string
  readonly fileColumn: string
  readonly rowColumn: string
}

/** Where the engine finds a data file on this machine. */
export type PathOf = (file: LiveFile) => string

/**
 * Makes the live rows of `snapshot` known as the view `data`: deletion vectors, partition values, column mapping and the
 * columns that old files lack are applied, every column has the type that the table gives it. `schemaName`: a schema of
 * this connection's own for what stands beside the view.
 */
export async function defineData(
  connection: DuckDBConnection,
  table: Table,
  snapshot: Snapshot,
  schemaName: string,
  pathOf: PathOf,
): Promise<Relation> {
  const files = snapshot.files
  const taken = new Set(snapshot.schema.map(field => field.name.toLowerCase()))
  const fileColumn = freeName('__file', taken)
  const rowColumn = freeName('__row', taken)
  const columns = snapshot.schema.map(
    (field, i) => `${columnExpression(snapshot, field, i)} AS ${quoteName(field.name)}`,
  )
  let from: string
  if (files.length === 0) from = `(SELECT ${emptyColumns(snapshot)}) p`
  else {
    from = `${scanOf(snapshot, pathOf)} p`
    if (await definePartitions(connection, snapshot, schemaName))
      from += ` JOIN ${quoteName(schemaName)}.partitions v ON v.file = p.file_index`
    if (await defineDeleted(connection, table, files, schemaName)) {
      from += ` WHERE NOT EXISTS (SELECT 1 FROM ${quoteName(schemaName)}.deleted d WHERE d.file = p.file_index AND d.row = p.file_row_number)`
    }
  }
  const select = columns.length === 0 ? 'NULL AS "no columns"' : columns.join(', ')
  const places = files.length === 0 ? 'NULL::UBIGINT, NULL::BIGINT' : 'p.file_index, p.file_row_number'
  const [file, row] = places.split(', ')
  const nothing = files.length === 0 ? ' WHERE false' : ''
  await connection.run(`CREATE TEMP VIEW ${TABLE_NAME} AS SELECT ${select} FROM ${from}${nothing}`)
  const withPlaces = `SELECT ${select}, ${file} AS ${quoteName(fileColumn)}, ${row} AS ${quoteName(rowColumn)} FROM ${from}${nothing}`
  return { files, withPlaces, fileColumn, rowColumn }
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
  // Without files there is nothing to join partition values to: all columns come from one empty relation.
  if (snapshot.files.length === 0) return `p.c${index}`
  return isPartition(snapshot, field) ? `v.c${index}` : withLogicalNames(`p.c${index}`, field.type)
}

function emptyColumns(snapshot: Snapshot): string {
  const columns = snapshot.schema.map((field, i) => `NULL::${duckTypeOf(field.type)} AS c${i}`)
  return columns.length === 0 ? '1' : columns.join(', ')
}

/**
 * The scan of all files, its columns named c0, c1, ...: with an explicit schema DuckDB takes columns by name (or field
 * id), gives NULL for those that a file lacks and casts the rest, nested ones too, and need not open every file to plan.
 */
function scanOf(snapshot: Snapshot, pathOf: PathOf): string {
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
  const paths = snapshot.files.map(file => quoteText(pathOf(file)))
  // A table of partition columns only still needs the rows of its files counted.
  const schema = columns.length === 0 ? '' : `, schema = MAP {${columns.join(', ')}}`
  return `read_parquet([${paths.join(', ')}], hive_partitioning = false${schema})`
}

/** Where a data file is on this machine. SqlError `unsupported` for a table that is elsewhere. */
export function localPathOf(table: Table, file: LiveFile): string {
  const path = table.store.localPath(file.path)
  if (path !== undefined) return path
  throw new SqlError('unsupported', `SQL reads local tables only, and ${table.store.location} is not one`)
}

/** Partition values by file, as a table to join. False if the table has no partitions. */
async function definePartitions(
  connection: DuckDBConnection,
  snapshot: Snapshot,
  schemaName: string,
): Promise<boolean> {
  const fields = [...snapshot.schema.entries()].filter(([, field]) => isPartition(snapshot, field))
  if (fields.length === 0) return false
  const columns = fields.map(([i, field]) => `c${i} ${duckTypeOf(field.type)}`)
  await connection.run(`CREATE TABLE ${quoteName(schemaName)}.partitions (file UBIGINT, ${columns.join(', ')})`)
  const rows = snapshot.files.map((file, n) => {
    const values = fields.map(([, field]) => literal(file.partition.get(physicalName(field)) ?? null, field.type))
    return `(${[n, ...values].join(', ')})`
  })
  for (let start = 0; start < rows.length; start += 1000) {
    await connection.run(
      `INSERT INTO ${quoteName(schemaName)}.partitions VALUES ${rows.slice(start, start + 1000).join(', ')}`,
    )
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
  files: readonly LiveFile[],
  schemaName: string,
): Promise<boolean> {
  if (files.every(file => file.vector === undefined)) return false
  await connection.run(`CREATE TABLE ${quoteName(schemaName)}.deleted (file UBIGINT, row BIGINT)`)
  const appender = await connection.createAppender('deleted', schemaName)
  for (const [n, file] of files.entries()) {
    if (file.vector === undefined) continue
    const index = BigInt(n)
    for (const row of await table.deletedRows(file)) {
      appender.appendUBigInt(index)
      appender.appendBigInt(BigInt(row))
      appender.endRow()
    }
  }
  appender.closeSync()
  return true
}
