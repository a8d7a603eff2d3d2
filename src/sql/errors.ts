import { LakeError, messageOf } from '../core/errors.ts'

/**
 * invalid_sql: the engine refuses the statement (its own sentence); unsupported: a statement or a table that SQL cannot
 * serve here; unavailable: the engine cannot be loaded; failed: it ran into a limit or a broken file on the way.
 */
export type SqlErrorCode = 'invalid_sql' | 'unsupported' | 'unavailable' | 'failed'

/** A statement that could not be run. The message is DuckDB's own sentence, with its position, where DuckDB spoke. */
export class SqlError extends LakeError<SqlErrorCode> {}

/** What DuckDB throws, as a SqlError: its sentence with the marked line, without a stack. */
export function fromDuckDb(error: unknown): SqlError {
  if (error instanceof SqlError) return error
  const sentence = messageOf(error)
    .replace(/^Failed to extract statements: /, '')
    .trimEnd()
  const own =
    /^(Parser|Binder|Catalog|Syntax|Conversion|Constraint|Invalid Input|Out of Range|Type|Mismatch Type|Permission|Not implemented)\b/.test(
      sentence,
    )
  return new SqlError(own ? 'invalid_sql' : 'failed', sentence, { cause: error })
}

/** The same without the engine's copy of the line of SQL where it found the error. */
export function withoutPlace({ code, message, cause }: SqlError): SqlError {
  return new SqlError(code, message.replace(/\n\nLINE \d+:[\s\S]*$/, ''), { cause })
}
