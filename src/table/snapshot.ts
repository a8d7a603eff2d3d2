import { schemaFingerprint } from '../columns/schema.ts'
import type { Schema } from '../columns/types.ts'
import type { TextMap } from '../core/ordered.ts'
import { inViewOrder, type LiveFile, type LiveFiles } from './live-files.ts'
import type { Action, DomainMetadataAction, ProtocolAction, RemoveAction, TxnAction } from './log/actions/index.ts'
import type { TableMetadata } from './metadata.ts'
import { MOVED_IN_PLACE, MOVED_TAG, ORDER_TAG } from './tags.ts'

export { type FilePlace, fileTextSizes, inViewOrder, LiveFile, LiveFiles } from './live-files.ts'

/** One version of the table. */
export interface Snapshot {
  readonly version: bigint
  /** The first version from which on the views show the same text, as far as commits were seen one by one. */
  readonly textVersion: bigint
  /** The first version from which on rows only came behind all others, in the same way. */
  readonly lineVersion: bigint
  readonly timestampMs: number
  readonly protocol: ProtocolAction
  readonly metadata: TableMetadata
  readonly tableId: string
  readonly schema: Schema
  readonly partitionColumns: readonly string[]
  /** In view order: by modification time, then path. */
  readonly live: LiveFiles
  /** The same as a list, which is made when it is first asked for. */
  readonly files: readonly LiveFile[]
  readonly state: LogState
}

/** The state that a snapshot carries along for the next commit and for checkpoints. */
export interface LogState {
  readonly txns: TextMap<TxnAction>
  readonly domains: TextMap<DomainMetadataAction>
  /** Removed files by path and vector. */
  readonly tombstones: TextMap<RemoveAction>
}

/**
 * The files that `to` has behind all those of `from`, in view order, if nothing else distinguishes the two: every file of
 * `from` is there unchanged, under the same columns. Undefined if something does. Takes the time of what changed.
 */
export function appendedFiles(from: Snapshot, to: Snapshot): readonly LiveFile[] | undefined {
  if (from.schema !== to.schema && schemaFingerprint(from.schema) !== schemaFingerprint(to.schema)) return undefined
  const { last } = from.live
  const added: LiveFile[] = []
  for (const { before, after } of to.live.changesSince(from.live)) {
    if (before !== undefined || after === undefined) return undefined
    if (last !== undefined && inViewOrder(after, last) < 0) return undefined
    added.push(after)
  }
  return added
}

/** True if a version shows the text of an earlier one, and nothing but rows behind its end. Takes the time of what changed. */
export function isContinued(from: Snapshot, to: Snapshot): boolean {
  if (from.tableId === to.tableId && from.version <= to.version && to.lineVersion <= from.version) return true
  // Rows of an edit have their places among the others.
  return appendedFiles(from, to)?.every(file => file.tag(ORDER_TAG) === undefined) ?? false
}

/** Tells a new snapshot what it shows of the one before, on top of which these actions made it. */
export function following(before: Snapshot, after: Snapshot, actions: readonly Action[]): Snapshot {
  const { textVersion, lineVersion } = before
  if (keepsText(actions)) return Object.assign(after, { textVersion, lineVersion })
  return isContinued(before, after) ? Object.assign(after, { lineVersion }) : after
}

/** True if the views show after a commit what they showed before it: its files, if there are any, have rows of others in their places. */
export function keepsText(actions: readonly Action[]): boolean {
  return actions.every(({ add, remove, metaData, protocol, cdc }) => {
    if (metaData || protocol || cdc) return false
    if (remove) return remove.dataChange === false
    return !add || (add.dataChange === false && add.tags?.[MOVED_TAG] === MOVED_IN_PLACE)
  })
}

/** A snapshot of its parts. */
export function snapshotOf(
  parts: Omit<Snapshot, 'tableId' | 'partitionColumns' | 'files' | 'textVersion' | 'lineVersion'>,
): Snapshot {
  const { metadata, live } = parts
  let files: readonly LiveFile[] | undefined
  return {
    ...parts,
    textVersion: parts.version,
    lineVersion: parts.version,
    tableId: metadata.id,
    partitionColumns: metadata.partitionColumns,
    // Of the object itself and enumerable: a copy by spreading has it too.
    get files() {
      files ??= live.toArray()
      return files
    },
  }
}
