import { schemaFingerprint } from '../../columns/schema.ts'
import type { Field } from '../../columns/types.ts'
import { TableError } from '../errors.ts'
import type { LiveFile } from '../live-files.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Change } from './change.ts'

/** Why a change cannot stand on top of a newer version. It is a value: only who asked for the change makes it a failure. */
export interface Conflict {
  readonly kind: 'conflict'
  /** TableError `conflict`, not thrown. */
  readonly error: TableError
}

/** Another writer got in the way. */
export function conflict(sentence: string): Conflict {
  return { kind: 'conflict', error: new TableError('conflict', sentence) }
}

/** Returns the conflict of a change with those of other writers, as far as the two snapshots tell; undefined if none. */
export function conflictOf(change: Change, newest: Snapshot): Conflict | undefined {
  const files = change.removeFiles.map(file => goneOrChanged(file, newest)).find(found => found !== undefined)
  if (change.metadata !== undefined && newest.metadata !== change.base.metadata)
    return conflict(`another writer changed the table's properties (version ${newest.version}); repeat the change`)
  return newColumns(change, newest) ?? newRows(change, newest) ?? files
}

/** Another writer's new schema is a conflict, unless it only added columns that may be NULL. */
function newColumns(change: Change, newest: Snapshot): Conflict | undefined {
  const { base } = change
  const fits = base.schema.every(field =>
    newest.schema.some(other => isSame(field, other) && admitsNulls(field, other)),
  )
  const isUnchanged = schemaFingerprint(base.schema) === schemaFingerprint(newest.schema)
  const isSplitAlike = base.partitionColumns.join('\0') === newest.partitionColumns.join('\0')
  const isSameTable = base.tableId === newest.tableId
  if (isUnchanged && fits && isSplitAlike && isSameTable) return undefined
  const optional = newest.schema.every(field => field.nullable || base.schema.some(other => isSame(field, other)))
  const onlyAppends = change.schema === undefined && change.delete.length === 0 && change.addAgain.length === 0
  if (onlyAppends && fits && isSplitAlike && optional && isSameTable) return undefined
  return conflict(
    `the table's columns were changed by another writer (version ${newest.version}); look at the table again and repeat the change`,
  )
}

function isSame(a: Field, b: Field): boolean {
  return schemaFingerprint([a]) === schemaFingerprint([b])
}

/** Rows that were written when a column might be NULL do not fit where it must not be. */
function admitsNulls(before: Field, after: Field): boolean {
  return after.nullable || !before.nullable
}

function newRows({ base, readWholeTable }: Change, newest: Snapshot): Conflict | undefined {
  if (!readWholeTable || newest.version === base.version) return undefined
  if (newest.live.changesSince(base.live).length === 0) return undefined
  return conflict(
    `another writer changed rows that this change was worked out from (version ${newest.version}); repeat it`,
  )
}

function goneOrChanged(file: LiveFile, newest: Snapshot): Conflict | undefined {
  const live = newest.live.get(file.path)
  if (live === undefined)
    return conflict(`the rows of ${file.path} were changed or removed by another writer (version ${newest.version})`)
  if (live.key !== file.key)
    return conflict(`rows of ${file.path} were removed by another writer (version ${newest.version})`)
  return undefined
}
