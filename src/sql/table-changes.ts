import { join } from 'node:path'
import type { DuckDBConnection } from '@duckdb/node-api'
import { changes } from '../table/operations/changes.ts'
import { LiveFile } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { storeRows } from './files.ts'
import { defineData } from './relation.ts'
import { quoteName } from './types.ts'
import { CHANGES, type NamedChanges } from './versions.ts'

/**
 * Makes the changes known to the engine that a query names: as rows of a file in `folder`, which is made. Rejects with
 * SqlError, and TableError as `changes` does.
 */
export async function defineChanges(
  connection: DuckDBConnection,
  table: Table,
  { schema: name, from, to }: NamedChanges,
  { folder, signal }: { readonly folder: string; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const { schema, batches } = await changes(table, from, to)
  const path = join(folder, `${name}.parquet`)
  const rows = await storeRows(path, schema, batches(), { name: CHANGES, signal })
  const add = { path, partitionValues: {}, size: 0, modificationTime: 0, dataChange: true }
  const parts = rows === 0 ? [] : [{ file: new LiveFile(add, path, new Map()), path, runs: [{ firstRow: 0, rows }] }]
  // They are the rows of a table of this one file, which has its columns by their names.
  const metadata = { ...table.snapshot.metadata, configuration: new Map<string, string>() }
  const shown = { ...table.snapshot, schema, metadata, partitionColumns: [], files: [] }
  await connection.run(`CREATE SCHEMA ${quoteName(name)}`)
  await defineData(connection, table, shown, name, parts, `VIEW ${quoteName(name)}.${CHANGES}`)
}
