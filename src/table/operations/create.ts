import { schemaFault, schemaToJson } from '../../columns/schema.ts'
import type { Schema } from '../../columns/types.ts'
import { type Clock, systemClock } from '../../core/clock.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { mapColumns } from '../column-mapping.ts'
import type { Operation } from '../commit/change.ts'
import { commitInfo } from '../commit/commit-info.ts'
import { addAction } from '../commit/file-actions.ts'
import { putWithFiles } from '../commit/put.ts'
import { StagedFiles } from '../commit/staged-files.ts'
import type { NewFile } from '../data-files/new-file.ts'
import { TableError } from '../errors.ts'
import type { Action, MetadataAction } from '../log/actions/index.ts'
import { hasLog } from '../log/segment.ts'
import { isTrue } from '../properties.ts'
import { newProtocol } from '../protocol.ts'
import { openTable, type Table } from '../table.ts'
import { VECTORS_ON_DEMAND, VECTORS_PROPERTY } from '../tags.ts'

export interface NewTable {
  readonly schema: Schema
  readonly partitionColumns?: readonly string[]
  readonly configuration?: Readonly<Record<string, string>>
  /**
   * False: rows are never removed by deletion vectors, but by writing files anew. Else the first change that needs them
   * switches them on, unless `delta.enableDeletionVectors` in the configuration says something else.
   */
  readonly deletionVectors?: boolean
  /**
   * The columns are mapped by name, so that they can be renamed and dropped: those of files that are added keep their names
   * there, else each column gets one in files that no other ever has.
   */
  readonly columnMapping?: boolean
  readonly name?: string
  /** Files that are in the table from its first version on. */
  readonly add?: readonly NewFile[]
  /** Those who own them; they are kept if the table is made. */
  readonly staged?: StagedFiles
  readonly clock?: Clock
}

/** TableError `exists` if a log is there: its first commits may have been cleaned up, so that any entry counts. */
export async function checkNoTable(store: ObjectStore): Promise<void> {
  if (await hasLog(store)) throw tableExists(store)
}

function tableExists(store: ObjectStore): TableError {
  return new TableError(
    'exists',
    `${store.location}: there is a table already; choose another directory, or remove this one first`,
  )
}

/** Creates a table. TableError `exists` if there is one. */
export async function createTable(store: ObjectStore, options: NewTable): Promise<Table> {
  const clock = options.clock ?? systemClock
  const nowMs = clock.nowMs()
  const { schema, partitionColumns = [], add = [] } = options
  const fault = schemaFault(schema)
  if (fault !== undefined) throw new TableError('bad_schema', `a table cannot have these columns: ${fault}`)
  checkPartitioning(schema, partitionColumns)
  await checkNoTable(store)
  const vectors = options.configuration?.['delta.enableDeletionVectors']
  const isOnDemand = vectors === undefined && options.deletionVectors !== false
  const id = crypto.randomUUID()
  const properties = { ...(isOnDemand ? { [VECTORS_PROPERTY]: VECTORS_ON_DEMAND } : {}), ...options.configuration }
  const columns =
    options.columnMapping === true
      ? mapColumns(schema, new Map(Object.entries(properties)), { id, hasFiles: add.length > 0 })
      : { schema, configuration: properties }
  const metaData: MetadataAction = {
    id,
    ...(options.name === undefined ? {} : { name: options.name }),
    format: { provider: 'parquet', options: {} },
    schemaString: schemaToJson(columns.schema),
    partitionColumns,
    configuration: columns.configuration,
    createdTime: nowMs,
  }
  const txnId = crypto.randomUUID()
  const isBlindAppend = true
  const configuration = new Map(Object.entries(columns.configuration))
  const timestampBeforeMs = isTrue(configuration.get('delta.enableInCommitTimestamps')) ? 0 : undefined
  const actions: Action[] = [
    { commitInfo: commitInfo(created(metaData, add), { nowMs, txnId, isBlindAppend, timestampBeforeMs }) },
    { protocol: newProtocol(schema, configuration) },
    { metaData },
    ...add.map(file => ({ add: addAction(file, nowMs) })),
  ]
  const { staged = new StagedFiles(store) } = options
  if ((await putWithFiles(store, staged, 0n, actions, txnId)).kind === 'exists') throw tableExists(store)
  return openTable(store, { clock })
}

/** The first version of a table, empty or with rows. */
function created({ partitionColumns, configuration }: MetadataAction, add: readonly NewFile[]): Operation {
  return {
    name: add.length === 0 ? 'CREATE TABLE' : 'CREATE TABLE AS SELECT',
    parameters: {
      isManaged: 'false',
      partitionBy: JSON.stringify(partitionColumns),
      properties: JSON.stringify(configuration),
    },
    metrics:
      add.length === 0
        ? {}
        : { numFiles: String(add.length), numOutputRows: String(add.reduce((sum, file) => sum + file.rows, 0)) },
  }
}

/** TableError `bad_schema` for columns by which a table cannot be partitioned. */
export function checkPartitioning(schema: Schema, partitionColumns: readonly string[]): void {
  for (const [i, name] of partitionColumns.entries()) {
    const field = schema.find(candidate => candidate.name === name)
    if (field === undefined) throw new TableError('bad_schema', `the partition column ${name} is not in the schema`)
    if (partitionColumns.indexOf(name) !== i)
      throw new TableError('bad_schema', `the partition column ${name} is named twice`)
    if (['struct', 'array', 'map'].includes(field.type.kind))
      throw new TableError(
        'bad_schema',
        `the column ${name} is a ${field.type.kind}; a table is partitioned by scalars`,
      )
  }
  if (partitionColumns.length > 0 && partitionColumns.length === schema.length)
    throw new TableError(
      'bad_schema',
      'the table is partitioned by all of its columns; one at least must be in the files',
    )
}
