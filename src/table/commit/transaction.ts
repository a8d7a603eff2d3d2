import { randomUUID } from 'node:crypto'
import { readFooter } from '../../columns/parquet/read.ts'
import { storeSource } from '../../columns/parquet/source.ts'
import { schemaFault, schemaFingerprint, schemaToJson } from '../../columns/schema.ts'
import type { Field } from '../../columns/types.ts'
import { VERSION } from '../../core/version.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { withMaxColumnId, withPhysicalNames } from '../column-mapping.ts'
import { TableError } from '../errors.ts'
import type {
  Action,
  AddAction,
  CommitInfoAction,
  DeletionVectorDescriptor,
  MetadataAction,
  RemoveAction,
} from '../log/actions.ts'
import { keepNumbers } from '../log/actions.ts'
import { encodePath } from '../log/paths.ts'
import { checkWritable, isTrue, protocolFor, usesDeletionVectors } from '../protocol.ts'
import { LIVE_TAG, type LiveFile, type Snapshot } from '../snapshot.ts'
import type { ChangeSet, Deletion, NewFile } from './change-set.ts'
import type { Staging } from './staging.ts'

export const ENGINE = `posixlake/${VERSION}`

export interface TransactionContext {
  readonly store: ObjectStore
  readonly nowMs: number
  readonly staging: Staging
  readonly deletedRows: (file: LiveFile) => Promise<Uint32Array>
}

/** A deletion against the newest snapshot: the file as it is there, and all rows that are deleted from now on. */
interface Rebased {
  readonly file: LiveFile
  readonly tags: ReadonlyMap<string, string> | undefined
  readonly rows: Uint32Array
  /** All rows of the file, deleted ones too. */
  readonly physical: number
  /** No row is left. */
  readonly whole: boolean
}

/**
 * Works out the actions of a change on top of the newest snapshot. TableError `conflict` if other writers took away what
 * it rests on. Vector files, and files without some of their rows, are written (durable) on the way.
 */
export async function actionsFor(change: ChangeSet, newest: Snapshot, context: TransactionContext): Promise<Action[]> {
  const { store, staging } = context
  staging.begin()
  checkPaths(change)
  checkSchema(change, newest)
  const deletes = change.delete.length > 0 || (change.removeFiles?.length ?? 0) > 0
  checkWritable(
    newest.protocol,
    newest.metadata.configuration,
    change.schema ?? newest.schema,
    deletes && change.dataChange !== false,
    store.location,
  )
  checkReads(change, newest)
  const removed = (change.removeFiles ?? []).map(file => liveFile(file, newest))
  const rebased = await Promise.all(change.delete.map(deletion => rebase(deletion, newest, context)))
  const byVector = usesDeletionVectors(newest.protocol, newest.metadata.configuration)
  // Without vectors a file cannot stay as a mere place either.
  const referenced = byVector ? referencedPaths(change, newest, rebased, removed) : new Set<string>()
  const rewritten = byVector ? [] : await rewrite(rebased, newest, staging)
  const vectors = await staging.vectors(
    byVector ? rebased.filter(entry => !entry.whole || referenced.has(entry.file.path)).map(entry => entry.rows) : [],
  )
  const dataChange = change.dataChange ?? true
  const actions: Action[] = [{ commitInfo: commitInfo(change, newest, context) }, ...metadataActions(change, newest)]
  for (const file of removed) actions.push({ remove: removeAction(file, context.nowMs, dataChange) })
  let next = 0
  for (const entry of rebased) {
    actions.push({ remove: removeAction(entry.file, context.nowMs, dataChange) })
    if (byVector && (!entry.whole || referenced.has(entry.file.path)))
      actions.push({ add: withVector(entry, vectors[next++]!, dataChange) })
  }
  const modificationTime = Math.max(context.nowMs, (newest.live.last?.modificationTime ?? 0) + 1)
  for (const file of [...rewritten, ...change.add]) {
    actions.push({
      add: {
        path: encodePath(file.path),
        partitionValues: file.partitionValues,
        size: file.sizeBytes,
        modificationTime: file.modificationTime ?? modificationTime,
        dataChange,
        stats: file.stats,
        ...(file.tags === undefined ? {} : { tags: Object.fromEntries(file.tags) }),
      },
    })
  }
  return actions
}

/** A version may add and remove a path once each (PROTOCOL.md, "Add File and Remove File"); twice would double its rows. */
function checkPaths(change: ChangeSet): void {
  const gone = [...change.delete.map(({ file }) => file.path), ...(change.removeFiles ?? []).map(({ path }) => path)]
  for (const paths of [gone, change.add.map(({ path }) => path)]) {
    const seen = new Set<string>()
    for (const path of paths) {
      if (seen.has(path)) throw new Error(`the change names the file ${path} twice`)
      seen.add(path)
    }
  }
}

/** Copy-on-write: what is left of each file, in a new one. */
async function rewrite(rebased: readonly Rebased[], newest: Snapshot, staging: Staging): Promise<NewFile[]> {
  const files: NewFile[] = []
  for (const { file, rows, whole } of rebased) if (!whole) files.push(await staging.withoutRows(newest, file, rows))
  return files
}

/** Another writer's new schema is a conflict, unless it only added columns that may be NULL. */
function checkSchema(change: ChangeSet, newest: Snapshot): void {
  const { base } = change
  const fits = base.schema.every(field =>
    newest.schema.some(other => isSame(field, other) && admitsNulls(field, other)),
  )
  const isUnchanged = schemaFingerprint(base.schema) === schemaFingerprint(newest.schema)
  const isSplitAlike = base.partitionColumns.join('\0') === newest.partitionColumns.join('\0')
  if (isUnchanged && fits && isSplitAlike && base.tableId === newest.tableId) return
  const optional = newest.schema.every(field => field.nullable || base.schema.some(other => isSame(field, other)))
  if (
    change.schema !== undefined ||
    change.delete.length > 0 ||
    !fits ||
    !isSplitAlike ||
    !optional ||
    base.tableId !== newest.tableId
  ) {
    throw new TableError(
      'conflict',
      `the table's columns were changed by another writer (version ${newest.version}); look at the table again and repeat the change`,
    )
  }
}

function isSame(a: Field, b: Field): boolean {
  return schemaFingerprint([a]) === schemaFingerprint([b])
}

/** Rows that were written when a column might be NULL do not fit where it must not be. */
function admitsNulls(before: Field, after: Field): boolean {
  return after.nullable || !before.nullable
}

function checkReads(change: ChangeSet, newest: Snapshot): void {
  if (change.readWholeTable !== true || newest.version === change.base.version) return
  if (newest.live.changesSince(change.base.live).length > 0) {
    throw new TableError(
      'conflict',
      `another writer changed rows that this change was worked out from (version ${newest.version}); repeat it`,
    )
  }
}

function liveFile(file: LiveFile, newest: Snapshot): LiveFile {
  const live = newest.live.get(file.path)
  if (live === undefined)
    throw new TableError(
      'conflict',
      `the rows of ${file.path} were changed or removed by another writer (version ${newest.version})`,
    )
  if (live.key !== file.key)
    throw new TableError('conflict', `rows of ${file.path} were removed by another writer (version ${newest.version})`)
  return live
}

async function rebase(deletion: Deletion, newest: Snapshot, context: TransactionContext): Promise<Rebased> {
  const { path } = deletion.file
  const file = newest.live.get(path)
  if (file === undefined)
    throw new TableError(
      'conflict',
      `the rows of ${path} were rewritten or removed by another writer (version ${newest.version})`,
    )
  const known = await context.deletedRows(file)
  const rows = union(known, deletion.rows, row => {
    throw new TableError('conflict', `row ${row} of ${path} was removed by another writer (version ${newest.version})`)
  })
  const physical = file.rows ?? (await readFooter(storeSource(context.store, path, file.sizeBytes))).rows
  // Rows that another writer removed meanwhile are in the vector, but not in the sizes worked out from the base.
  const tags = file.key === deletion.file.key ? deletion.tags : undefined
  const last = rows.at(-1)
  if (last !== undefined && last >= physical)
    throw new TableError('corrupt_log', `row ${last} of ${path} cannot be deleted: the file has ${physical} rows`)
  return { file, rows, tags, physical, whole: rows.length === physical }
}

/** Two ascending lists as one. */
function union(a: Uint32Array, b: Uint32Array, onBoth: (row: number) => never): Uint32Array {
  const out = new Uint32Array(a.length + b.length)
  let i = 0
  let j = 0
  for (let at = 0; at < out.length; at++) {
    if (j >= b.length || (i < a.length && a[i]! < b[j]!)) out[at] = a[i++]!
    else if (i < a.length && a[i] === b[j]) onBoth(b[j]!)
    else out[at] = b[j++]!
  }
  return out
}

/**
 * Of the files that lose their last row, those that order hints of live or new files refer to: they stay, even with no row
 * left, as places.
 */
function referencedPaths(
  change: ChangeSet,
  newest: Snapshot,
  rebased: readonly Rebased[],
  removed: readonly LiveFile[],
): ReadonlySet<string> {
  const empty = new Map(rebased.filter(entry => entry.whole).map(({ file }) => [file.path, file]))
  const gone = new Set([...empty.keys(), ...removed.map(file => file.path)])
  const named = new Set(empty.size === 0 ? [] : change.add.flatMap(file => refsOf(file.tags)))
  const staying = new Set<string>()
  const waiting: string[] = []
  for (const path of empty.keys()) {
    if (named.has(path) || newest.live.referrers(path).some(from => !gone.has(from))) waiting.push(path)
  }
  // A file that stays only as a place may itself have its place by another.
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const file = empty.get(path)
    if (file === undefined || staying.has(path)) continue
    staying.add(path)
    waiting.push(...file.orderRefs)
  }
  return staying
}

function refsOf(tags: ReadonlyMap<string, string> | undefined): readonly string[] {
  const text = tags?.get('posixlake.order.refs')
  return text === undefined ? [] : (JSON.parse(text) as string[])
}

function removeAction(file: LiveFile, nowMs: number, dataChange: boolean): RemoveAction {
  const { add } = file
  return {
    path: add.path,
    deletionTimestamp: nowMs,
    dataChange,
    extendedFileMetadata: true,
    partitionValues: add.partitionValues ?? {},
    size: add.size,
    ...(add.deletionVector ? { deletionVector: add.deletionVector } : {}),
    ...(add.tags ? { tags: add.tags } : {}),
  }
}

/** The add action of a file that has a new vector: its statistics are those of the whole file, and so no longer tight. */
function withVector(entry: Rebased, deletionVector: DeletionVectorDescriptor, dataChange: boolean): AddAction {
  const { add } = entry.file
  const tags: Record<string, string> = { ...add.tags }
  delete tags[LIVE_TAG]
  for (const [key, value] of entry.tags ?? []) tags[key] = value
  return {
    ...add,
    dataChange,
    deletionVector,
    stats: wideBounds(add.stats, entry.physical),
    ...(Object.keys(tags).length === 0 ? {} : { tags }),
  }
}

/** A file with a vector must say how many rows it has (PROTOCOL.md, "Writer Requirement for Deletion Vectors"). */
function wideBounds(stats: string | null | undefined, numRecords: number): string {
  let known: object = {}
  try {
    known = JSON.parse(stats ?? '{}', keepNumbers as never) as object
  } catch {
    // Damaged statistics are worth nothing.
  }
  return JSON.stringify({ ...known, numRecords, tightBounds: false })
}

function commitInfo(change: ChangeSet, newest: Snapshot, { nowMs }: TransactionContext): CommitInfoAction {
  const inCommit = isTrue(newest.metadata.configuration.get('delta.enableInCommitTimestamps'))
  return {
    ...(inCommit ? { inCommitTimestamp: Math.max(nowMs, newest.timestampMs + 1) } : {}),
    timestamp: nowMs,
    operation: change.operation,
    operationParameters: change.parameters ?? {},
    readVersion: Number(newest.version),
    isBlindAppend:
      change.delete.length === 0 &&
      (change.removeFiles?.length ?? 0) === 0 &&
      change.readWholeTable !== true &&
      change.schema === undefined,
    ...(change.metrics === undefined ? {} : { operationMetrics: change.metrics }),
    engineInfo: ENGINE,
    txnId: change.txnId ?? randomUUID(),
  }
}

function metadataActions(change: ChangeSet, newest: Snapshot): Action[] {
  if (change.schema === undefined) return []
  const fault = schemaFault(change.schema)
  // What another writer's table has already is not for this change to answer for.
  if (fault !== undefined && schemaFault(newest.schema) === undefined)
    throw new TableError('bad_schema', `the table cannot have these columns: ${fault}`)
  const protocol = protocolFor(newest.protocol, change.schema)
  const schema = withPhysicalNames(change.schema, newest)
  const metaData: MetadataAction = {
    ...newest.metadata.action,
    schemaString: schemaToJson(schema),
    configuration: withMaxColumnId(newest.metadata.action.configuration, schema, newest),
  }
  return [...(protocol === newest.protocol ? [] : [{ protocol }]), { metaData }]
}
