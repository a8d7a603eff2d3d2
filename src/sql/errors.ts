import { LakeError, messageOf } from '../core/errors.ts'

/**
 * invalid_sql: the engine refuses the statement (its own sentence); unsupported: a statement or a table that SQL cannot
 * serve here; unavailable: the engine cannot be loaded; failed: it ran into a broken file, or its process ended, on the
 * way; limit: it met a limit (the sentence says which, and the flag that sets it); ended: whoever asked is gone, or the
 * server is being stopped; undecided: whether a change was committed cannot be known until the log can be read again.
 */
export type SqlErrorCode = 'invalid_sql' | 'unsupported' | 'unavailable' | 'failed' | 'limit' | 'ended' | 'undecided'

export const SQL_ERROR_CODES: readonly SqlErrorCode[] = [
  'invalid_sql',
  'unsupported',
  'unavailable',
  'failed',
  'limit',
  'ended',
  'undecided',
]

/** The name under which statements know the table. */
export const TABLE_NAME = 'data'

/** The begin of the sentence that says the table is not known to the engine. */
export const MISSING_TABLE = `there is no table ${TABLE_NAME};`

/** A statement that could not be run. The message is DuckDB's own sentence, with its position, where DuckDB spoke. */
export class SqlError extends LakeError<SqlErrorCode> {}

/** Returns an error of DuckDB as a SqlError: its sentence with the marked line, without a stack. */
export function fromDuckDb(error: unknown): SqlError {
  if (error instanceof SqlError) return error
  const sentence = messageOf(error)
    .replace(/^Failed to extract statements: /, '')
    .trimEnd()
  const own =
    /^(Parser|Binder|Catalog|Syntax|Conversion|Constraint|Invalid Input|Out of Range|Type|Mismatch Type|Permission|Not implemented)\b/.test(
      sentence,
    )
  return new SqlError(own ? 'invalid_sql' : 'failed', inWordsOfTheTable(sentence), { cause: error })
}

export function readOnlyTable(kind: string): SqlError {
  return new SqlError(
    'unsupported',
    `${kind.toUpperCase()} is refused: the table is read-only here; a statement can be a query`,
  )
}

/** Returns the error of a change that failed, where it cannot be found out whether it was committed all the same. */
export function undecided(why: unknown, cause: unknown): SqlError {
  return new SqlError(
    'undecided',
    `whether this statement changed the table is not known: ${messageOf(why)}; and the log cannot be read: ${messageOf(cause)}; look at the table before you run it again`,
    { cause },
  )
}

/** The same without the engine's copy of the line of SQL where it found the error. */
export function withoutPlace({ code, message, cause }: SqlError): SqlError {
  return new SqlError(code, message.replace(/\n\nLINE \d+:[\s\S]*$/, ''), { cause })
}

/** Names of the engine's own, and of ours inside it: nobody who has one table called data has asked for them. */
const INTERNAL_NAME = /^(?:pg_|duckdb_|sqlite_|pragma_|information_schema|posixlake_|_+(?:file|row)$)/i

const REWORDED: readonly (readonly [RegExp, (name: string) => string])[] = [
  [/^Catalog Error: Table with name "(.+)" does not exist because (?:schema|catalog) .*$/m, noTable],
  [/^Catalog Error: Table with name (.+) does not exist!$/m, noTable],
  [/^Binder Error: Catalog "(.+)" does not exist!$/m, noTable],
  [
    /^Permission Error: Cannot access file "(.*)" - file system operations are disabled by configuration$/m,
    name =>
      `Permission Error: a statement reads the table, which is called ${TABLE_NAME}, and no files; it cannot read "${name}"`,
  ],
]

function noTable(name: string): string {
  return `there is no table ${name}; the table is called ${TABLE_NAME}`
}

/** The engine's sentence without what only makes sense to who knows what else is in the engine. */
function inWordsOfTheTable(sentence: string): string {
  for (const [pattern, reword] of REWORDED) {
    const match = pattern.exec(sentence)
    // What the engine takes for a similar name of a table is none: there is only one.
    if (match !== null) return reword(match[1]!) + (/\n\nLINE \d+:[\s\S]*$/.exec(sentence)?.[0] ?? '')
  }
  return sentence
    .replace(/\n+(?:Candidate bindings|Did you mean)(?:: )*[^\n]*/g, suggestion => withoutInternalNames(suggestion))
    .replace(/^(Binder Error: )Values list "/, '$1Table "')
}

function withoutInternalNames(suggestion: string): string {
  const names = [...suggestion.matchAll(/"(?:[^"]|"")*"/g)].map(match => match[0])
  const kept = names.filter(
    name =>
      !name
        .slice(1, -1)
        .split('.')
        .some(part => INTERNAL_NAME.test(part)),
  )
  if (kept.length === names.length) return suggestion
  if (kept.length === 0) return ''
  const [before = ''] = suggestion.split('"')
  return before + kept.join(', ') + (suggestion.endsWith('?') ? '?' : '')
}
