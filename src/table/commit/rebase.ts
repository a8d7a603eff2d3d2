import { readFooter } from '../../columns/parquet/read.ts'
import { storeSource } from '../../columns/parquet/source.ts'
import { schemaFault, schemaFromJson, schemaToJson } from '../../columns/schema.ts'
import type { Schema } from '../../columns/types.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { withMaxColumnId, withPhysicalNames } from '../column-mapping.ts'
import { TableError } from '../errors.ts'
import type { LiveFile } from '../live-files.ts'
import type { Action, MetadataAction } from '../log/actions/index.ts'
import { metadataOf } from '../metadata.ts'
import { isTrue } from '../properties.ts'
import {
  areVectorsOnDemand,
  checkWritable,
  hasChangeFeed,
  protocolFor,
  protocolWith,
  usesDeletionVectors,
  withConstraints,
  withFeatures,
} from '../protocol.ts'
import { withMarks } from '../rules/identity.ts'
import { constraintName } from '../rules/rules.ts'
import type { Snapshot } from '../snapshot.ts'
import { VECTORS_PROPERTY } from '../tags.ts'
import { type Change, type Deletion, type Operation, takesRows } from './change.ts'
import type { ChangeFeed } from './change-feed.ts'
import { commitInfo } from './commit-info.ts'
import { type Conflict, conflict, conflictOf } from './conflicts.ts'
import { addAction, addWithVector, removeAction } from './file-actions.ts'
import { placesOf } from './places.ts'
import type { DeletedRows, PreparedFiles } from './prepared-files.ts'
import { keepsIds, withoutIds, withRowIds } from './row-tracking.ts'

export interface RebaseContext {
  readonly store: ObjectStore
  readonly nowMs: number
  readonly txnId: string
  readonly prepared: PreparedFiles
  readonly feed: ChangeFeed
  readonly deletedRows: (file: LiveFile) => Promise<Uint32Array>
}

/** The actions of a change, its commitInfo first. */
export interface Rebased {
  readonly kind: 'actions'
  readonly actions: readonly Action[]
}

/**
 * Works out the actions of a change on top of the newest snapshot, or why it cannot stand there. Vectors, and files without
 * some of their rows, are written (durable) on the way, once for each logical file. TableError for what the table refuses.
 */
export async function rebase(
  change: Change,
  operation: Operation,
  newest: Snapshot,
  context: RebaseContext,
): Promise<Rebased | Conflict> {
  const found = conflictOf(change, newest)
  if (found !== undefined) return found
  const { dataChange = true } = operation
  const { configuration } = newest.metadata
  const changesRows = takesRows(change) && dataChange
  checkWritable(newest.protocol, configuration, change.schema ?? newest.schema, changesRows, context.store.location)
  const deletions: FileDeletion[] = []
  for (const deletion of await Promise.all(change.delete.map(one => rebaseDeletion(one, newest, context)))) {
    if ('kind' in deletion) return deletion
    deletions.push(deletion)
  }
  const { staying, left } = placesOf(change, newest, deletions)
  const hasVectors = usesDeletionVectors(newest.protocol, configuration)
  const needsVectors = deletions.some(({ whole, file }) => !whole || staying.has(file.path))
  const switchesVectorsOn = !hasVectors && needsVectors && areVectorsOnDemand(configuration)
  const files =
    hasVectors || switchesVectorsOn
      ? await byVectors(deletions, staying, context, dataChange)
      : await byRewriting(deletions, newest, context, dataChange)
  const removed = change.removeFiles.map(file => removeAction(newest.live.get(file.path)!, context.nowMs, dataChange))
  const modificationTime = Math.max(context.nowMs, (newest.live.last?.modificationTime ?? 0) + 1)
  const added = [
    ...change.addAgain.map(({ add }) => ({ ...add, dataChange })),
    ...change.add.map(file => addAction(file, modificationTime, dataChange)),
  ]
  const tells =
    changesRows && hasChangeFeed(newest.protocol, configuration) && isMixed(change, deletions, staying, context)
  if (tells && !hasChangeFeed(change.base.protocol, change.base.metadata.configuration))
    return conflict(`another writer switched the change data feed on (version ${newest.version}); repeat the change`)
  const cdc = tells ? await context.feed.actions(change) : []
  if (takesRows(change) && keepsIds(newest) && !keepsIds(change.base))
    return conflict(`another writer switched row tracking on (version ${newest.version}); repeat the change`)
  const actions: Action[] = [
    { commitInfo: commitInfoOf(change, operation, newest, context) },
    ...metadataActions(change, newest, switchesVectorsOn),
    ...removed.map(remove => ({ remove })),
    // They have no rows.
    ...left.map(file => ({ remove: removeAction(file, context.nowMs, false) })),
    ...files,
    ...added.map(add => ({ add })),
    ...cdc,
  ]
  const tracked = await withoutIds(actions, newest, context.store)
  return { kind: 'actions', actions: withRowIds([...actions, ...tracked.map(add => ({ add }))], newest) }
}

/** False for a change that only takes whole files or only adds such: they say themselves which rows go and come. */
function isMixed(
  change: Change,
  deletions: readonly FileDeletion[],
  staying: ReadonlySet<string>,
  { feed }: RebaseContext,
): boolean {
  if (feed.takesRows || (change.delete.length > 0 && change.add.length > 0)) return true
  return deletions.some(({ whole, file }) => !whole || staying.has(file.path))
}

/** A version may add and remove a path once each (PROTOCOL.md, "Add File and Remove File"); twice would double its rows. */
export function checkPaths(change: Change): void {
  const removed = [...change.delete.map(({ file }) => file.path), ...change.removeFiles.map(({ path }) => path)]
  const added = [...change.addAgain, ...change.add].map(({ path }) => path)
  for (const [paths, what] of [
    [removed, 'takes rows from'],
    [added, 'adds'],
  ] as const) {
    const seen = new Set<string>()
    const twice = paths.find(path => seen.size === seen.add(path).size)
    if (twice !== undefined) throw new Error(`a change ${what} the file ${twice} twice`)
  }
}

/** A deletion against the newest snapshot. */
interface FileDeletion extends DeletedRows {
  readonly tags: ReadonlyMap<string, string> | undefined
  /** All rows of the file, deleted ones too. */
  readonly physicalRows: number
  /** No row is left. */
  readonly whole: boolean
}

/** Files keep their rows, and get a vector that names those which are deleted. */
async function byVectors(
  deletions: readonly FileDeletion[],
  places: ReadonlySet<string>,
  { nowMs, prepared }: RebaseContext,
  dataChange: boolean,
): Promise<Action[]> {
  const staying = deletions.filter(({ whole, file }) => !whole || places.has(file.path))
  const vectors = new Map((await prepared.vectors(staying)).map((vector, i) => [staying[i]!.file, vector]))
  return deletions.flatMap(({ file, physicalRows, tags }): Action[] => {
    const remove = removeAction(file, nowMs, dataChange)
    const vector = vectors.get(file)
    if (vector === undefined) return [{ remove }]
    return [{ remove }, { add: addWithVector({ file, vector, physicalRows, tags }, dataChange) }]
  })
}

/** Copy-on-write: what is left of each file, in a new one. Without vectors a file cannot stay as a mere place either. */
async function byRewriting(
  deletions: readonly FileDeletion[],
  newest: Snapshot,
  { nowMs, prepared }: RebaseContext,
  dataChange: boolean,
): Promise<Action[]> {
  const removed = deletions.map(({ file }): Action => ({ remove: removeAction(file, nowMs, dataChange) }))
  const added: Action[] = []
  for (const deletion of deletions) {
    if (deletion.whole) continue
    const file = await prepared.withoutRows(newest, deletion)
    added.push({ add: addAction(file, file.modificationTime ?? nowMs, dataChange) })
  }
  return [...removed, ...added]
}

async function rebaseDeletion(
  { file: { path, key }, rows: wanted, tags }: Deletion,
  newest: Snapshot,
  context: RebaseContext,
): Promise<FileDeletion | Conflict> {
  const file = newest.live.get(path)
  if (file === undefined)
    return conflict(`the rows of ${path} were rewritten or removed by another writer (version ${newest.version})`)
  const known = await context.deletedRows(file)
  const { rows, common } = union(known, wanted)
  if (common !== undefined)
    return conflict(`row ${common} of ${path} was removed by another writer (version ${newest.version})`)
  const physicalRows = file.rows ?? (await readFooter(storeSource(context.store, path, file.sizeBytes))).rows
  const last = rows.at(-1)
  if (last !== undefined && last >= physicalRows)
    throw new TableError('corrupt_log', `row ${last} of ${path} cannot be deleted: the file has ${physicalRows} rows`)
  return {
    file,
    rows,
    // Rows that another writer removed meanwhile are in the vector, but not in what was worked out from the base.
    tags: file.key === key ? tags : undefined,
    physicalRows,
    whole: rows.length === physicalRows,
  }
}

/** Two ascending lists as one, and the first number that both have. */
function union(a: Uint32Array, b: Uint32Array): { readonly rows: Uint32Array; readonly common: number | undefined } {
  const rows = new Uint32Array(a.length + b.length)
  let i = 0
  let j = 0
  for (let at = 0; at < rows.length; at++) {
    if (j >= b.length || (i < a.length && a[i]! < b[j]!)) rows[at] = a[i++]!
    else if (i < a.length && a[i] === b[j]) return { rows, common: b[j]! }
    else rows[at] = b[j++]!
  }
  return { rows, common: undefined }
}

function commitInfoOf(change: Change, operation: Operation, newest: Snapshot, { nowMs, txnId }: RebaseContext) {
  const hasTimes = isTrue(newest.metadata.configuration.get('delta.enableInCommitTimestamps'))
  return commitInfo(operation, {
    nowMs,
    txnId,
    readVersion: newest.version,
    isBlindAppend:
      !takesRows(change) &&
      !change.readWholeTable &&
      change.schema === undefined &&
      change.metadata === undefined &&
      change.addAgain.length === 0,
    timestampBeforeMs: hasTimes ? newest.timestampMs : undefined,
  })
}

/** `switchesVectorsOn`: rows are removed by deletion vectors from now on. */
function metadataActions(change: Change, newest: Snapshot, switchesVectorsOn: boolean): Action[] {
  const { schema: wanted, metadata } = change
  if (metadata !== undefined) {
    const { configuration } = metadataOf(metadata)
    const hasConstraints = [...configuration.keys()].some(key => constraintName(key) !== undefined)
    const known = hasConstraints ? withConstraints(newest.protocol) : newest.protocol
    const needed = protocolWith(known, schemaFromJson(metadata.schemaString), configuration)
    return [...(needed === newest.protocol ? [] : [{ protocol: needed }]), { metaData: metadata }]
  }
  const { after: marks } = change.numbered
  if (wanted === undefined && !switchesVectorsOn && marks.size === 0) return []
  let protocol = newest.protocol
  let metaData: MetadataAction = newest.metadata.action
  if (wanted === undefined && marks.size > 0)
    metaData = { ...metaData, schemaString: schemaToJson(withMarks(newest.schema, newest.schema, marks)) }
  if (wanted !== undefined) {
    checkSchema(wanted, newest)
    protocol = protocolFor(protocol, wanted, newest.metadata.configuration)
    const schema = withMarks(withPhysicalNames(wanted, newest), newest.schema, marks)
    const configuration = withMaxColumnId(metaData.configuration, schema, newest)
    metaData = { ...metaData, schemaString: schemaToJson(schema), configuration }
  }
  if (switchesVectorsOn) {
    protocol = withFeatures(protocol, ['deletionVectors'])
    const { [VECTORS_PROPERTY]: _, ...configuration } = metaData.configuration ?? {}
    metaData = { ...metaData, configuration: { ...configuration, 'delta.enableDeletionVectors': 'true' } }
  }
  return [...(protocol === newest.protocol ? [] : [{ protocol }]), { metaData }]
}

/** TableError `bad_schema` for columns that no table can have. */
function checkSchema(wanted: Schema, newest: Snapshot): void {
  const fault = schemaFault(wanted)
  // What another writer's table has already is not for this change to answer for.
  if (fault !== undefined && schemaFault(newest.schema) === undefined)
    throw new TableError('bad_schema', `the table cannot have these columns: ${fault}`)
}
