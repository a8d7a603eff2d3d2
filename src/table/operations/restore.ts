import { schemaFromJson, schemaToJson } from '../../columns/schema.ts'
import { isMapped, mapColumns } from '../column-mapping.ts'
import type { Operation } from '../commit/change.ts'
import { type Committed, committed } from '../commit/transaction.ts'
import { TableError } from '../errors.ts'
import type { HistoryEntry } from '../history.ts'
import type { LiveFile } from '../live-files.ts'
import type { MetadataAction } from '../log/actions/index.ts'
import { metadataOf } from '../metadata.ts'
import { firstMissing } from '../missing-files.ts'
import { hasColumnMapping } from '../protocol.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Table } from '../table.ts'
import { vectorFile } from '../vectors/store.ts'

/** Other writers may be quicker so many times. */
const ATTEMPTS_MAX = 10
/** The properties that a table keeps, whatever an older version had: they tell how later versions are to be read. */
const KEPT_PROPERTIES =
  /^(?:posixlake\.deletionVectors|delta\.(?:enableInCommitTimestamps|inCommitTimestampEnablement\w+|columnMapping\.(?:mode|maxColumnId)|rowTracking\.\w+|enableRowTracking|enableDeletionVectors))$/

/** A table that is as it was at an older version again. */
export interface Restored extends Committed {
  /** The version as which it is. */
  readonly as: bigint
  /** The table was so already, and there is no new version. */
  readonly isUnchanged: boolean
  /** Files of the older version that were not in the table any more, and files that went. */
  readonly restoredFiles: number
  readonly removedFiles: number
}

/**
 * Makes the table as it was at `version`, in one commit: its files with their vectors, and its columns. The protocol stays.
 * All files are looked for first: TableError `missing_file` names one that is gone. TableError `no_such_version`,
 * `conflict`; StorageError.
 */
export async function restore(table: Table, version: bigint): Promise<Restored> {
  const target = await table.at(version)
  for (let attempt = 1; ; attempt++) {
    const base = await table.refresh()
    const again = target.live.notIn(base.live)
    const removed = base.live.notIn(target.live)
    await checkFiles(table, target, again)
    await using transaction = table.begin(base)
    transaction.readWholeTable()
    transaction.addAgain(...again)
    transaction.removeFiles(...removed)
    const metadata = metadataAsOf(target, base)
    if (metadata !== undefined) transaction.changeMetadata(metadata)
    const result = await transaction.commit(restored(target, again, removed))
    if (result.kind === 'conflict' && attempt < ATTEMPTS_MAX) continue
    const isUnchanged = result.kind === 'unchanged'
    return { ...committed(result), as: version, isUnchanged, restoredFiles: again.length, removedFiles: removed.length }
  }
}

/** A commit that was taken back. */
export interface Undone extends Restored {
  readonly undone: HistoryEntry
}

/**
 * Takes the last commit back that changed something: the table is as it was before it. TableError `no_such_version` where
 * that is the first one, or the version before it is gone.
 */
export async function undo(table: Table): Promise<Undone> {
  const { version: newest } = await table.refresh()
  for (let version = newest; version > 0n; version--) {
    const before = await table.at(version - 1n)
    if (isSame(before, await table.at(version))) continue
    const entries = await table.history(Number(table.snapshot.version - version) + 1)
    const undone = entries.find(entry => entry.version === version)
    if (undone === undefined) throw nothingToUndo(table, `the log no longer has the commit of version ${version}`)
    return { ...(await restore(table, before.version)), undone }
  }
  throw nothingToUndo(table, 'version 0 made the table')
}

function nothingToUndo({ store }: Table, why: string): TableError {
  return new TableError('no_such_version', `${store.location}: there is nothing to take back: ${why}`)
}

function isSame(before: Snapshot, after: Snapshot): boolean {
  const [gone] = before.live.notIn(after.live)
  const [come] = after.live.notIn(before.live)
  return gone === undefined && come === undefined && metadataAsOf(before, after) === undefined
}

async function checkFiles({ store }: Table, { version }: Snapshot, files: readonly LiveFile[]): Promise<void> {
  const paths = files.flatMap(({ path, vector }) => {
    const inFile = vector === undefined ? undefined : vectorFile(store, vector)
    return inFile === undefined ? [path] : [path, inFile]
  })
  const missing = await firstMissing(store, paths)
  if (missing === undefined) return
  throw new TableError(
    'missing_file',
    `${store.location}: version ${version} cannot be restored: its file ${missing} is gone; VACUUM, or whoever removed it, has ended this version`,
  )
}

/** The metadata of an older version for a table that goes on from `base`; undefined if that has the same. */
function metadataAsOf(target: Snapshot, base: Snapshot): MetadataAction | undefined {
  const kept = [...base.metadata.configuration].filter(([key]) => KEPT_PROPERTIES.test(key))
  const own = Object.entries(target.metadata.action.configuration ?? {}).filter(([key]) => !KEPT_PROPERTIES.test(key))
  const metadata = mappedAs(base, {
    ...target.metadata.action,
    id: base.metadata.action.id,
    schemaString: withHighWaterMarks(target, base),
    configuration: Object.fromEntries([...own, ...kept]),
  })
  return Bun.deepEquals(plain(metadata), plain(base.metadata.action)) ? undefined : metadata
}

/** Columns of before they were mapped are mapped as they were: files have them under their names. */
function mappedAs({ protocol, metadata }: Snapshot, action: MetadataAction): MetadataAction {
  const schema = schemaFromJson(action.schemaString)
  if (!hasColumnMapping(protocol, metadata.configuration) || isMapped(schema)) return action
  const mapped = mapColumns(schema, metadataOf(action).configuration, { id: action.id, hasFiles: true })
  return { ...action, schemaString: schemaToJson(mapped.schema), configuration: mapped.configuration }
}

/** As it is compared: members in any order, and columns by their meaning. */
function plain(metadata: MetadataAction): object {
  const { schemaString, configuration, createdTime: _, ...rest } = metadata
  return { ...rest, configuration: { ...configuration }, schema: JSON.parse(schemaString) as unknown }
}

const HIGH_WATER_MARK = 'delta.identity.highWaterMark'

/** The older columns; an identity column goes on from the numbers that were given out since. */
function withHighWaterMarks(target: Snapshot, base: Snapshot): string {
  const marks = new Map(base.schema.map(({ name, metadata }) => [name, metadata[HIGH_WATER_MARK]]))
  if ([...marks.values()].every(mark => mark === undefined)) return target.metadata.action.schemaString
  return schemaToJson(
    target.schema.map(field => {
      const mark = marks.get(field.name)
      const { metadata } = field
      const isIdentity = Object.keys(metadata).some(key => key.startsWith('delta.identity.'))
      return mark === undefined || !isIdentity
        ? field
        : { ...field, metadata: { ...metadata, [HIGH_WATER_MARK]: mark } }
    }),
  )
}

function restored(target: Snapshot, again: readonly LiveFile[], removed: readonly LiveFile[]): Operation {
  const sizeOf = (files: readonly LiveFile[]): string =>
    String(files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0))
  return {
    name: 'RESTORE',
    parameters: { version: String(target.version) },
    metrics: {
      tableSizeAfterRestore: sizeOf(target.files),
      numOfFilesAfterRestore: String(target.files.length),
      numRemovedFiles: String(removed.length),
      numRestoredFiles: String(again.length),
      removedFilesSize: sizeOf(removed),
      restoredFilesSize: sizeOf(again),
    },
  }
}
