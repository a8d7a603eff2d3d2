import { schemaFingerprint } from '../columns/schema.ts'
import type { Schema } from '../columns/types.ts'
import type { TextMap } from '../core/ordered.ts'
import { inViewOrder, type LiveFile, type LiveFiles } from './live-files.ts'
import type { DomainMetadataAction, ProtocolAction, RemoveAction, TxnAction } from './log/actions/index.ts'
import type { TableMetadata } from './metadata.ts'

export { type FilePlace, fileTextSizes, inViewOrder, LiveFile, LiveFiles } from './live-files.ts'

/** One version of the table. */
export interface Snapshot {
  readonly version: bigint
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

/** A snapshot of its parts. */
export function snapshotOf(parts: Omit<Snapshot, 'tableId' | 'partitionColumns' | 'files'>): Snapshot {
  const { metadata, live } = parts
  let files: readonly LiveFile[] | undefined
  return {
    ...parts,
    tableId: metadata.id,
    partitionColumns: metadata.partitionColumns,
    // Of the object itself and enumerable: a copy by spreading has it too.
    get files() {
      files ??= live.toArray()
      return files
    },
  }
}
