import { readFooter } from '../../columns/parquet/read.ts'
import { storeSource } from '../../columns/parquet/source.ts'
import { physicalName } from '../../columns/schema.ts'
import type { Batch, DataType, Field, Schema } from '../../columns/types.ts'
import { constantVector } from '../../columns/vectors.ts'
import { type ObjectStore, StorageError } from '../../storage/object-store.ts'
import { schemaInFiles } from '../column-mapping.ts'
import { CHANGE_TYPE } from '../commit/change-feed.ts'
import { fileTimes, inCommitTimes, ownTime, versionSince } from '../commit-times.ts'
import { partitionCells, pickedRows } from '../data-files/picked-rows.ts'
import { TableError } from '../errors.ts'
import type { Action, AddAction, CdcAction, DeletionVectorDescriptor, RemoveAction } from '../log/actions/index.ts'
import { readCommit } from '../log/load.ts'
import { checkFilePath, commitPath, pathOf } from '../log/paths.ts'
import { FEED_PROPERTY, hasChangeFeed } from '../protocol.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Table } from '../table.ts'
import { isWidening } from '../type-widening.ts'
import { readVector } from '../vectors/store.ts'

const COMMIT_VERSION: Field = { name: '_commit_version', type: { kind: 'long' }, nullable: true, metadata: {} }
const COMMIT_TIMESTAMP: Field = { name: '_commit_timestamp', type: { kind: 'timestamp' }, nullable: true, metadata: {} }

/** The rows that versions changed. */
export interface Changes {
  /** The table's columns as of the last of the versions, then `_change_type`, `_commit_version` and `_commit_timestamp`. */
  readonly schema: Schema
  /** The rows, version by version, when they are asked for. TableError, ParquetError, StorageError. */
  batches(): AsyncGenerator<Batch>
}

/** One version of the range, and its time. */
interface Version {
  readonly version: bigint
  readonly actions: readonly Action[]
  readonly timestampMs: number
}

/** A version, or a time: the first version of it or later where changes begin, the last one before it or of it where they end. */
export type ChangesBound = bigint | { readonly timeMs: number }

/**
 * Reads the rows that the versions `begin` to `to` (the newest if it is not given) changed (PROTOCOL.md, "Reader Requirements
 * for AddCDCFile"): those of its change data files where a version has such, else those of the files that it added and
 * removed. TableError `unsupported_feature` if the table had no change data feed at one of them, or columns that do not fit
 * those of the last; `no_such_version`.
 */
export async function changes(table: Table, begin: ChangesBound, to?: ChangesBound): Promise<Changes> {
  const { store } = table
  const newest = await table.refresh()
  const from = typeof begin === 'bigint' ? begin : await versionSince(store, newest.metadata, begin.timeMs)
  const end = typeof to === 'object' ? await table.atTimestamp(to.timeMs) : await table.at(to ?? newest.version)
  if (from > end.version)
    throw new TableError(
      'no_such_version',
      `${store.location}: there are no changes from version ${from} on up to version ${end.version}`,
    )
  const versions = await versionsOf(table, from, end)
  await checkVersions(table, from, end, versions)
  return {
    schema: [...end.schema, CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP],
    batches: async function* () {
      for (const one of versions) {
        const cdc = one.actions.flatMap(action => (action.cdc ? [action.cdc] : []))
        try {
          yield* cdc.length > 0 ? toldRows(store, cdc, end, one) : derivedRows(table, end, one)
        } catch (error) {
          throw asGone(error, store, one.version)
        }
      }
    },
  }
}

async function versionsOf({ store }: Table, from: bigint, end: Snapshot): Promise<Version[]> {
  const found: { version: bigint; actions: Action[]; modifiedMs: number }[] = []
  for (let version = from; version <= end.version; version++) {
    const commit = await readCommit(store, version)
    if (commit === undefined)
      throw new TableError(
        'no_such_version',
        `${store.location}: the changes of version ${version} cannot be read any more: ${commitPath(version)} has been cleaned up; ask for later versions`,
      )
    found.push({ version, ...commit })
  }
  const own = inCommitTimes(end.metadata)
  const times = fileTimes(found)
  return found.map(({ version, actions }, i) => {
    const carried = own !== undefined && version >= own.version ? ownTime(actions) : undefined
    return { version, actions, timestampMs: carried ?? times[i]! }
  })
}

/** Refuses versions without a feed, and those whose columns cannot be shown under the last ones. */
async function checkVersions(table: Table, from: bigint, end: Snapshot, versions: readonly Version[]): Promise<void> {
  for (const { version, actions } of versions) {
    const isNew = version === from || actions.some(({ metaData, protocol }) => metaData || protocol)
    if (!isNew) continue
    const snapshot = await table.at(version)
    const { location } = table.store
    if (!hasChangeFeed(snapshot.protocol, snapshot.metadata.configuration)) {
      const hasNow = hasChangeFeed(end.protocol, end.metadata.configuration)
      throw new TableError(
        'unsupported_feature',
        hasNow
          ? `${location}: the table had no change data feed at version ${version}; ask for the versions since it has one`
          : `${location}: the table had no change data feed at version ${version}; changes are kept from the version on that switches it on: ALTER TABLE data SET TBLPROPERTIES ('${FEED_PROPERTY}' = 'true')`,
      )
    }
    const lost = snapshot.schema.find(field => !isIn(field, end.schema))
    if (lost !== undefined || snapshot.partitionColumns.join('\0') !== end.partitionColumns.join('\0'))
      throw new TableError(
        'unsupported_feature',
        `${location}: the columns of version ${version} do not fit those of version ${end.version}${lost === undefined ? '' : ` (${lost.name})`}; ask for the changes up to the version before they were changed`,
      )
  }
}

/** True if what a file has of a field can be shown as a field of later columns. */
function isIn(field: Field, schema: Schema): boolean {
  const other = schema.find(candidate => physicalName(candidate) === physicalName(field))
  return other !== undefined && fits(field.type, other.type)
}

/** Members may have come since, and types may have become wider. */
function fits(before: DataType, after: DataType): boolean {
  if (before.kind === 'struct')
    return after.kind === 'struct' && before.fields.every(field => isIn(field, after.fields))
  if (before.kind === 'array') return after.kind === 'array' && fits(before.element, after.element)
  if (before.kind === 'map')
    return after.kind === 'map' && fits(before.key, after.key) && fits(before.value, after.value)
  return Bun.deepEquals(before, after) || isWidening(before, after)
}

/** The rows of change data files. */
async function* toldRows(
  store: ObjectStore,
  cdc: readonly CdcAction[],
  end: Snapshot,
  one: Version,
): AsyncGenerator<Batch> {
  const { schema, partitionColumns } = end
  const inFiles = [...schemaInFiles(end), CHANGE_TYPE]
  for (const { path: encoded, size, partitionValues } of cdc) {
    const path = pathOf(store.location, encoded)
    checkFilePath(store.location, encoded, path, 'change data file')
    const file = { path, sizeBytes: size, partition: partitionCells(partitionValues, schema, partitionColumns) }
    for await (const { batch } of pickedRows(store, file, inFiles)) yield stamped(batch, one)
  }
}

/** The rows of files that came and went; a file that only has another vector differs in the rows that this deletes. */
async function* derivedRows(table: Table, end: Snapshot, one: Version): AsyncGenerator<Batch> {
  const removed = changing(one.actions.flatMap(({ remove }) => (remove ? [remove] : [])))
  const added = changing(one.actions.flatMap(({ add }) => (add ? [add] : [])))
  for (const [path, remove] of removed) yield* rowsOf(table, end, one, remove, added.get(path), 'delete')
  for (const [path, add] of added) yield* rowsOf(table, end, one, add, removed.get(path), 'insert')
}

function changing<A extends AddAction | RemoveAction>(actions: readonly A[]): ReadonlyMap<string, A> {
  // An action that does not say is one that changes rows.
  return new Map(actions.filter(({ dataChange }) => dataChange !== false).map(action => [action.path, action]))
}

/** The rows of a file that `action` speaks of, without those that the action of the other kind has, too. */
async function* rowsOf(
  table: Table,
  end: Snapshot,
  one: Version,
  action: AddAction | RemoveAction,
  other: AddAction | RemoveAction | undefined,
  changeType: 'insert' | 'delete',
): AsyncGenerator<Batch> {
  const { store } = table
  const path = pathOf(store.location, action.path)
  checkFilePath(store.location, action.path, path)
  // A removal need not say more than a path.
  const isBare = action.size === undefined || action.partitionValues === undefined || action.partitionValues === null
  const { size, partitionValues } = isBare ? await addedBefore(table, one.version, path) : (action as AddAction)
  const file = { path, sizeBytes: size, partition: partitionCells(partitionValues, end.schema, end.partitionColumns) }
  const { rows } = await readFooter(storeSource(store, path, size))
  const deleted = async (vector: DeletionVectorDescriptor | null | undefined): Promise<Uint32Array> =>
    vector ? readVector(store, vector, rows, path) : new Uint32Array(0)
  const isGone = new Set(await deleted(action.deletionVector))
  const isThere = other === undefined ? undefined : new Set(await deleted(other.deletionVector))
  const numbers: number[] = []
  for (let row = 0; row < rows; row++)
    if (!isGone.has(row) && (isThere === undefined || isThere.has(row))) numbers.push(row)
  for await (const { batch } of pickedRows(store, file, schemaInFiles(end), Uint32Array.from(numbers)))
    yield stamped(
      { ...batch, vectors: [...batch.vectors, constantVector(CHANGE_TYPE.type, batch.rows, changeType)] },
      one,
    )
}

async function addedBefore(table: Table, version: bigint, path: string): Promise<AddAction> {
  const file = (await table.at(version - 1n)).live.get(path)
  if (file !== undefined) return file.add
  throw new TableError(
    'corrupt_log',
    `${table.store.location}: version ${version} removes ${path}, which was not in the table`,
  )
}

function stamped({ rows, vectors }: Batch, { version, timestampMs }: Version): Batch {
  return {
    rows,
    vectors: [
      ...vectors,
      constantVector(COMMIT_VERSION.type, rows, version),
      constantVector(COMMIT_TIMESTAMP.type, rows, BigInt(timestampMs) * 1000n),
    ],
  }
}

/** A file that is gone has ended a version, for who reads its changes too. */
function asGone(error: unknown, { location }: ObjectStore, version: bigint): unknown {
  const isGone =
    (error instanceof StorageError && error.code === 'not_found') ||
    (error instanceof TableError && error.code === 'missing_file')
  if (!isGone) return error
  return new TableError(
    'missing_file',
    `${location}: the changes of version ${version} cannot be read: one of its files is gone (${error.message}); VACUUM, or whoever removed it, has ended this version; ask for later ones`,
    { cause: error },
  )
}
