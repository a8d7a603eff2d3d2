import { readFooter, readRowGroup } from '../../src/columns/parquet/read.ts'
import { storeSource } from '../../src/columns/parquet/source.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import type { Batch, Cell } from '../../src/columns/types.ts'
import { batchOf, cellAt } from '../../src/columns/vectors.ts'
import { messageOf } from '../../src/core/errors.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { schemaInFiles } from '../../src/table/column-mapping.ts'
import { TableError } from '../../src/table/errors.ts'
import type { Action } from '../../src/table/log/actions/index.ts'
import { readActions } from '../../src/table/log/json.ts'
import { commitPath } from '../../src/table/log/paths.ts'
import { changes } from '../../src/table/operations/changes.ts'
import type { Snapshot } from '../../src/table/snapshot.ts'
import type { Committed, Table } from '../../src/table/table.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'

/** The columns of the tables that the tests make unless they say otherwise. */
export const SCHEMA = parseDdl('id:Int64,name:String')

/** Rows `from` to `to`, as `batchOf` makes them. */
export function rows(from: number, to: number): Batch {
  return batchOf(
    SCHEMA.map(field => field.type),
    Array.from({ length: to - from }, (_, i) => [BigInt(from + i), `row ${from + i}`]),
  )
}

/** Appends rows in one commit. */
export async function append(table: Table, from: number, to: number, base = table.snapshot): Promise<Committed> {
  return commit(table, { base, operation: 'WRITE', add: await writeDataFiles(table, [rows(from, to)]), delete: [] })
}

/** Deletes physical rows of a file of `base` in one commit. */
export function remove(
  table: Table,
  file: number,
  deleted: readonly number[],
  base: Snapshot = table.snapshot,
): Promise<Committed> {
  const deletion = { file: base.files[file]!, rows: Uint32Array.from(deleted) }
  return commit(table, { base, operation: 'DELETE', add: [], delete: [deletion] })
}

/** Every live row in view order, as cells in the schema's order. */
export async function readRows(table: Table, snapshot: Snapshot = table.snapshot): Promise<Cell[][]> {
  const found: Cell[][] = []
  for (const file of snapshot.files) {
    const deleted = new Set(await table.deletedRows(file))
    const source = storeSource(table.store, file.path, file.sizeBytes)
    const footer = await readFooter(source)
    for (const [group, { firstRow }] of footer.rowGroups.entries()) {
      const batch = await readRowGroup(source, footer, group, schemaInFiles(snapshot), file.partition)
      for (let row = 0; row < batch.rows; row++)
        if (!deleted.has(firstRow + row)) found.push(batch.vectors.map(vector => cellAt(vector, row)))
    }
  }
  return found
}

/** The first column of every live row, as numbers. */
export async function readIds(table: Table, snapshot: Snapshot = table.snapshot): Promise<number[]> {
  return (await readRows(table, snapshot)).map(([id]) => Number(id))
}

/** The rows that versions changed: columns, change type and version of each, without its time, in some order of their own. */
export async function changedRows(table: Table, from: bigint, to?: bigint): Promise<string[]> {
  const found: string[] = []
  for await (const { rows: count, vectors } of (await changes(table, from, to)).batches())
    for (let row = 0; row < count; row++)
      found.push(
        vectors
          .slice(0, -1)
          .map(vector => String(cellAt(vector, row)))
          .join(' '),
      )
  return found.sort()
}

/** The actions of one version, as they stand in the log. */
export function actionsAt(store: ObjectStore, version: bigint): Promise<Action[]> {
  return readActions(store, commitPath(version))
}

/** Writes a version by hand, as another writer might have. */
export async function commitLines(store: ObjectStore, version: bigint, actions: readonly object[]): Promise<void> {
  const text = actions.map(action => `${JSON.stringify(action)}\n`).join('')
  if ((await store.putIfAbsent(commitPath(version), new TextEncoder().encode(text))) === 'exists')
    throw new Error(`version ${version} is there already`)
}

/** Writes version 0 of a table by another writer: readers 1, writers 2, no properties, unless `changes` says otherwise. */
export async function foreignTable(
  store: ObjectStore,
  changes: { readonly protocol?: object; readonly metaData?: object; readonly schema?: object } = {},
): Promise<void> {
  const fields = SCHEMA.map(({ name }, i) => ({ name, type: ['long', 'string'][i], nullable: true, metadata: {} }))
  await commitLines(store, 0n, [
    { protocol: { minReaderVersion: 1, minWriterVersion: 2, ...changes.protocol } },
    {
      metaData: {
        id: '5e7a3c1e-0000-4000-8000-000000000000',
        format: { provider: 'parquet', options: {} },
        schemaString: JSON.stringify(changes.schema ?? { type: 'struct', fields }),
        partitionColumns: [],
        configuration: {},
        createdTime: 0,
        ...changes.metaData,
      },
    },
  ])
}

/** The TableError that `run` ends with. */
export async function failure(run: () => Promise<unknown>): Promise<TableError> {
  try {
    await run()
  } catch (error) {
    if (error instanceof TableError) return error
    throw new Error(`it failed, but not with a TableError: ${messageOf(error)}`, { cause: error })
  }
  throw new Error('it did not fail')
}
