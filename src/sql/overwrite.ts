import type { NewFile } from '../table/data-files/new-file.ts'
import { TableError } from '../table/errors.ts'
import { overwritten } from '../table/operations/overwrite.ts'
import type { Transaction } from '../table/table.ts'
import { type Tried, triedOf, UNCHANGED } from './changing.ts'
import { TABLE_NAME } from './errors.ts'
import { NEW_ROWS, placesOf } from './new-rows.ts'
import { Places } from './places.ts'
import { mayMention } from './relation.ts'
import { PLACE_SCHEMA, type Session, streamed } from './session.ts'
import type { Replaced } from './statement.ts'

/** A query that tells which rows are to be replaced; none if `rest` of the statement may need others, too. */
export function wantedToReplace(replaced: Replaced | undefined, rest: string): { readonly wanted?: string } {
  if (replaced?.condition === undefined || mayMention(rest)) return {}
  return { wanted: `SELECT 1 FROM ${TABLE_NAME} WHERE ${replaced.condition}` }
}

/**
 * Puts the new rows, which are in `files` already, in the place of those of a condition, or of all, in one commit. TableError
 * `constraint` if some of them are not among those that they replace.
 */
export async function overwrite(
  session: Session,
  transaction: Transaction,
  { condition }: Replaced,
  files: readonly NewFile[],
): Promise<Tried> {
  const { base } = transaction
  // Rows that others add meanwhile would stay: the statement is run again.
  transaction.readWholeTable()
  const deleted =
    condition === undefined ? removeAll(transaction) : await removeMatching(session, transaction, condition)
  const rows = files.reduce((sum, file) => sum + file.rows, 0)
  if (rows === 0 && deleted === 0) return UNCHANGED
  const { partitionColumns } = base
  const operation = overwritten({ rows, files, partitionColumns, predicate: condition })
  return triedOf(await transaction.commit(operation), { inserted: rows, deleted })
}

/** Returns the number of rows that go. */
function removeAll(transaction: Transaction): number {
  const { files } = transaction.base
  transaction.removeFiles(...files)
  return files.reduce((sum, file) => sum + (file.rows ?? 0) - (file.vector?.cardinality ?? 0), 0)
}

async function removeMatching(session: Session, transaction: Transaction, condition: string): Promise<number> {
  const [[strange] = []] = await session.rows(
    `SELECT count(*) FROM ${NEW_ROWS} AS ${TABLE_NAME} WHERE (${condition}) IS NOT TRUE`,
  )
  if (strange !== 0n) {
    const hint = transaction.givesValues ? '; values that the table gives by itself have to be given for that' : ''
    throw new TableError(
      'constraint',
      `${String(strange)} of the new rows would not be replaced by themselves: REPLACE WHERE takes rows of ${condition} only${hint}`,
    )
  }
  const places = placesOf(session.relation, TABLE_NAME)
  const sql = `SELECT ${places.file}, ${places.row} FROM (${session.relation.withPlaces}) AS ${TABLE_NAME} WHERE ${condition}`
  const found = new Places(session.relation.parts)
  for await (const batch of streamed(session, sql, PLACE_SCHEMA)) found.add(batch)
  transaction.deleteRows(...found.deletions())
  return found.count
}
