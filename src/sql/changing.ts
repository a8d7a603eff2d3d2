import type { CommitResult, Conflict, Table, Transaction } from '../table/table.ts'

/** What a statement changes: a table, and the transaction that becomes the commit. */
export interface Base {
  readonly table: Table
  readonly transaction: Transaction
}

/** What a changing statement did. `version` is undefined if it changed nothing, and so made no commit. */
export interface Changed {
  readonly kind: 'changed'
  readonly version: bigint | undefined
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
}

/** What a statement did, or that another writer was quicker: then it is run again. */
export type Tried = Changed | Conflict

export const UNCHANGED: Changed = { kind: 'changed', version: undefined, inserted: 0, updated: 0, deleted: 0 }

/** What a statement did, by how its commit went and by how many rows it was about. */
export function triedOf(result: CommitResult, rows: Partial<Pick<Changed, 'inserted' | 'updated' | 'deleted'>>): Tried {
  return result.kind === 'conflict' ? result : { ...UNCHANGED, version: result.version, ...rows }
}
