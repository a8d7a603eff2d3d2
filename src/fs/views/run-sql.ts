import type { TextFormatName } from '../../columns/text/formats/index.ts'
import { SqlError } from '../../sql/errors.ts'
import { FsError } from '../filesystem.ts'
import type { Text } from '../text/text.ts'

export interface RunSqlOptions {
  /** The format of the rows; CSV if not given. */
  readonly format?: TextFormatName
  /** Refuse a statement that changes the table. */
  readonly readOnly?: boolean
  /** Ends the statement when nobody waits for it any more. */
  readonly signal?: AbortSignal | undefined
  /** The name of the call that it comes with: no other call has it, and a repetition has the same. */
  readonly call?: string | undefined
}

/**
 * Runs SQL and gives its result as text (of a changing statement: its counts). Rejects with an Error whose message is the
 * engine's sentence.
 */
export type RunSql = (sql: string, options?: RunSqlOptions) => Promise<Text>

/** A statement that is wrong is the user's to mend (EINVAL); what else fails is not (EIO), or may be known later (EJUKEBOX). */
export function codeOf(error: unknown): FsError['code'] {
  if (error instanceof FsError) return error.code
  if (!(error instanceof SqlError)) return 'EIO'
  if (error.code === 'undecided') return 'EJUKEBOX'
  return error.code === 'invalid_sql' || error.code === 'unsupported' ? 'EINVAL' : 'EIO'
}
