import { unquoted } from './tokens.ts'

/** A change of a table's CHECK constraints. */
export type ConstraintAlteration =
  | { readonly kind: 'addConstraint'; readonly name: string; readonly condition: string }
  | { readonly kind: 'dropConstraint'; readonly name: string; readonly ifExists: boolean }

const NAME = '(`(?:[^`]|``)+`|"(?:[^"]|"")+"|[\\p{L}_][\\p{L}\\p{N}_]*)'
const ADDED = new RegExp(`^ADD\\s+CONSTRAINT\\s+${NAME}\\s+CHECK\\s*\\(([\\s\\S]*)\\)\\s*;?\\s*$`, 'iu')
const DROPPED = new RegExp(`^DROP\\s+CONSTRAINT\\s+(IF\\s+EXISTS\\s+)?${NAME}\\s*;?\\s*$`, 'iu')

/**
 * Reads ADD CONSTRAINT name CHECK (condition), DROP CONSTRAINT [IF EXISTS] name. The condition is not looked at: it is Spark's
 * SQL, as the table keeps it. Undefined for anything else.
 */
export function parseConstraint(sql: string): ConstraintAlteration | undefined {
  const added = ADDED.exec(sql)
  if (added !== null) return { kind: 'addConstraint', name: unquoted(added[1]!), condition: added[2]!.trim() }
  const dropped = DROPPED.exec(sql)
  if (dropped === null) return undefined
  return { kind: 'dropConstraint', name: unquoted(dropped[2]!), ifExists: dropped[1] !== undefined }
}
