import type { Schema } from '../../columns/types.ts'
import type { NewFile } from '../data-files/new-file.ts'
import type { LiveFile } from '../live-files.ts'
import type { MetadataAction } from '../log/actions/index.ts'
import type { Marks } from '../rules/identity.ts'
import type { Snapshot } from '../snapshot.ts'

/** The part of a commit that its commitInfo tells. The files of `operations/` make them. */
export interface Operation {
  /** WRITE, MERGE, DELETE, ... */
  readonly name: string
  readonly parameters?: Readonly<Record<string, string>>
  readonly metrics?: Readonly<Record<string, string>>
  /** False for a rearrangement that changes no row. */
  readonly dataChange?: boolean
  /** The commit is made even if nothing in the table changes: it tells of what was done besides. */
  readonly isRecorded?: boolean
}

/** Rows of a live file that go. */
export interface Deletion {
  /** A file of the base snapshot. */
  readonly file: LiveFile
  /** Physical row numbers, ascending. */
  readonly rows: Uint32Array
  /** Tags of the file from now on, beside those it has. */
  readonly tags?: ReadonlyMap<string, string>
}

/** The marks of identity columns that new rows got numbers of: those that the numbers go on from, and the last ones. */
export interface Numbered {
  readonly before: ReadonlyMap<string, bigint | undefined>
  readonly after: Marks
}

/** Everything that one commit does. */
export interface Change {
  /** The version that the change was worked out from. */
  readonly base: Snapshot
  readonly add: readonly NewFile[]
  /** The version whose files the places of new rows (order-hint.ts) name. */
  readonly placedIn: Snapshot
  readonly delete: readonly Deletion[]
  /** Files of the base that go as a whole. */
  readonly removeFiles: readonly LiveFile[]
  /** Files of an older version that are in the table again, as they were. */
  readonly addAgain: readonly LiveFile[]
  /** The table's metadata from now on, where it changes as a whole. */
  readonly metadata: MetadataAction | undefined
  /** The columns from now on. */
  readonly schema: Schema | undefined
  /** The numbers that identity columns have given to new rows, by the columns' names. */
  readonly numbered: Numbered
  /** The change follows from rows that it does not touch: rows added meanwhile are a conflict. */
  readonly readWholeTable: boolean
}

/** True if a change takes rows away, or rewrites them. */
export function takesRows({ delete: deletions, removeFiles }: Pick<Change, 'delete' | 'removeFiles'>): boolean {
  return deletions.length > 0 || removeFiles.length > 0
}
