import { schemaFingerprint } from '../../columns/schema.ts'
import type { Field } from '../../columns/types.ts'
import { TableError } from '../errors.ts'
import type { LiveFile } from '../live-files.ts'
import { orderRefsOf } from '../order-hint.ts'
import { identityOf } from '../rules/identity.ts'
import { haveSameRules, ruledTable } from '../rules/rules.ts'
import type { Snapshot } from '../snapshot.ts'
import { MOVED_TAG, ORDER_REFS_TAG } from '../tags.ts'
import type { Change } from './change.ts'

/** Why a change cannot stand on top of a newer version. It is a value: only who asked for the change makes it a failure. */
export interface Conflict {
  readonly kind: 'conflict'
  /** TableError `conflict`, not thrown. */
  readonly error: TableError
  /** Nothing but the numbers of identity columns is in the way: the same rows can be written again. */
  readonly isNumbering?: true
  /** Nothing but the places of new rows among others is in the way: they can be looked up again. */
  readonly isPlacing?: true
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
  return (
    newColumns(change, newest) ?? newRules(change, newest) ?? newRows(change, newest) ?? files ?? places(change, newest)
  )
}

/** Rows that stand among others would lose their places: new ones among rows that are gone, others' among rows that are moved. */
function places({ base, add, placedIn, removeFiles }: Change, newest: Snapshot): Conflict | undefined {
  const { live, version } = newest
  if (live === placedIn.live) return undefined
  const lost = add
    .flatMap(file => orderRefsOf(file.tags?.get(ORDER_REFS_TAG)))
    .find(path => placedIn.live.get(path) !== undefined && live.get(path) === undefined)
  if (lost !== undefined) {
    const sentence = `new rows stand among those of ${lost}, which another writer moved or removed (version ${version}); repeat the change`
    return { ...conflict(sentence), isPlacing: true }
  }
  if (!add.some(({ tags }) => tags?.has(MOVED_TAG))) return undefined
  const going = new Set(removeFiles.map(({ path }) => path))
  const named = removeFiles.find(({ path }) =>
    live.referrers(path).some(from => !going.has(from) && base.live.get(from) === undefined),
  )
  if (named === undefined) return undefined
  return conflict(`another writer put rows among those of ${named.path} (version ${version}); repeat the change`)
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

/** Rows that were written under other rules may break those that the table has by now, or have its numbers already. */
function newRules({ base, add, numbered }: Change, newest: Snapshot): Conflict | undefined {
  if (add.length === 0 || newest.metadata === base.metadata) return undefined
  if (!haveSameRules(ruledTable(base), ruledTable(newest)))
    return conflict(
      `another writer changed the rules that the table's rows have to keep (version ${newest.version}); look at the table again and repeat the change`,
    )
  const taken = newest.schema.find(
    field => numbered.before.has(field.name) && identityOf(field)?.mark !== numbered.before.get(field.name),
  )
  if (taken === undefined) return undefined
  const found = conflict(
    `another writer has the next numbers of the identity column ${taken.name} (version ${newest.version}); repeat the change`,
  )
  return { ...found, isNumbering: true }
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
