import type { CommitResult, Conflict, Table, Transaction } from '../table/table.ts'

/** The table that a statement changes, and the transaction that becomes the commit. */
export interface Base {
  readonly table: Table
  readonly transaction: Transaction
}

/** The result of a changing statement. `version` is undefined if it changed nothing, and so made no commit. */
export interface Changed {
  readonly kind: 'changed'
  readonly version: bigint | undefined
  /** The application that asked for the change has made it before. */
  readonly isDone?: true
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
}

/** The result of a statement, or the conflict with another writer who was quicker: then it is run again. */
export type Tried = Changed | Conflict

export const UNCHANGED: Changed = { kind: 'changed', version: undefined, inserted: 0, updated: 0, deleted: 0 }

/** Returns the result of a statement, by its commit and by the number of rows it was about. */
export function triedOf(result: CommitResult, rows: Partial<Pick<Changed, 'inserted' | 'updated' | 'deleted'>>): Tried {
  return result.kind === 'conflict' ? result : { ...UNCHANGED, version: result.version, ...rows }
}
