import type { Schema } from '../../columns/types.ts'
import type { LiveFile, Snapshot } from '../snapshot.ts'

/** A data file that is written and durable, and not yet in the log. */
export interface NewFile {
  /** Relative to the table. */
  readonly path: string
  readonly sizeBytes: number
  readonly rows: number
  /** The `stats` of the add action, as JSON text. */
  readonly stats: string
  /** By physical name, as the log spells them. */
  readonly partitionValues: Readonly<Record<string, string | null>>
  readonly tags?: ReadonlyMap<string, string>
  /** For a file that takes the place of another (copy-on-write): that one's time, so that it stands where it stood. */
  readonly modificationTime?: number
}

export interface Deletion {
  /** A file of the base snapshot. */
  readonly file: LiveFile
  /** Physical row numbers, ascending. */
  readonly rows: Uint32Array
  /** Tags of the file from now on, beside those it has. */
  readonly tags?: ReadonlyMap<string, string>
}

/** Everything that one commit does. */
export interface ChangeSet {
  /** The version that the change was worked out from. */
  readonly base: Snapshot
  /** As commitInfo names it: WRITE, MERGE, DELETE, ... */
  readonly operation: string
  readonly parameters?: Readonly<Record<string, string>>
  readonly metrics?: Readonly<Record<string, string>>
  readonly add: readonly NewFile[]
  readonly delete: readonly Deletion[]
  /** Files of the base that go as a whole. */
  readonly removeFiles?: readonly LiveFile[]
  /** The columns from now on. */
  readonly schema?: Schema
  /** The change follows from rows that it does not touch: rows added meanwhile are a conflict. */
  readonly readWholeTable?: boolean
  /** False for a rearrangement that changes no row. */
  readonly dataChange?: boolean
  /** Found in the history afterwards; a random one if not given. */
  readonly txnId?: string
  /** When the change was begun, by performance.now(), for who is told how long it took; the commit's begin if not given. */
  readonly startedMs?: number
}
