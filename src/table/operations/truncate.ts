import type { Operation } from '../commit/change.ts'
import type { CommitResult, Transaction } from '../commit/transaction.ts'

/** A table that lost all its rows. */
export function truncated(rows: number): Operation {
  return { name: 'TRUNCATE', metrics: { numDeletedRows: String(rows) } }
}

/** Takes all rows away that the transaction's base has. */
export async function truncate(
  transaction: Transaction,
): Promise<{ readonly result: CommitResult; readonly rows: number }> {
  const { files } = transaction.base
  const rows = files.reduce((sum, file) => sum + (file.rows ?? 0) - (file.vector?.cardinality ?? 0), 0)
  transaction.removeFiles(...files)
  return { result: await transaction.commit(truncated(rows)), rows }
}
