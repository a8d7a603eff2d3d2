import type { Batch, Schema } from '../../src/columns/types.ts'
import { type Placement, RowsWriter } from '../../src/table/data-files/rows-writer.ts'
import { indexedColumns } from '../../src/table/properties.ts'
import type { LiveFile, Snapshot } from '../../src/table/snapshot.ts'
import { type Committed, committed, type Deletion, type NewFile, type Table } from '../../src/table/table.ts'

/** A change as data, for tests that say all of it at once. */
export interface TestChange {
  readonly base: Snapshot
  readonly operation: string
  readonly parameters?: Readonly<Record<string, string>>
  readonly metrics?: Readonly<Record<string, string>>
  readonly add: readonly NewFile[]
  readonly delete: readonly Deletion[]
  readonly removeFiles?: readonly LiveFile[]
  readonly schema?: Schema
  readonly readWholeTable?: boolean
  readonly dataChange?: boolean
  readonly txnId?: string
}

/** Commits a change. A lost race is a TableError here. */
export async function commit(table: Table, change: TestChange): Promise<Committed> {
  const { base, operation: name, parameters, metrics, dataChange, txnId } = change
  await using transaction = table.begin(base, { txnId })
  if (change.schema !== undefined) transaction.changeSchema(change.schema)
  for (const file of change.add) transaction.addFile(file)
  transaction.deleteRows(...change.delete)
  transaction.removeFiles(...(change.removeFiles ?? []))
  if (change.readWholeTable === true) transaction.readWholeTable()
  const operation = {
    name,
    ...(parameters === undefined ? {} : { parameters }),
    ...(metrics === undefined ? {} : { metrics }),
    ...(dataChange === undefined ? {} : { dataChange }),
  }
  return committed(await transaction.commit(operation))
}

/** Writes rows to new data files of a table that no transaction owns, as for a commit that comes later. */
export async function writeDataFiles(
  { snapshot, store }: Pick<Table, 'snapshot' | 'store'>,
  batches: AsyncIterable<Batch> | Iterable<Batch>,
  { schema = snapshot.schema, ...placement }: Placement & { readonly schema?: Schema } = {},
): Promise<NewFile[]> {
  const { partitionColumns, metadata } = snapshot
  const target = { schema, partitionColumns, indexed: indexedColumns(metadata.configuration) }
  const writer = new RowsWriter(path => store.create(path), target, placement)
  for await (const batch of batches) await writer.write(batch)
  return writer.finish()
}
