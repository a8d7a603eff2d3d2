import { parseTimestamp, ScalarError } from '../columns/text/scalars.ts'
import type { ChangesBound } from '../table/operations/changes.ts'
import type { Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { SqlError, TABLE_NAME } from './errors.ts'
import { isSymbol, isWord, nameOf, type Token, tokenize } from './tokens.ts'
import { quoteName } from './types.ts'

/** An older version of the table that a query names. */
export interface OlderVersion {
  /** The engine's schema in which the version is called `data`. */
  readonly schema: string
  /** Returns the version. TableError `no_such_version`. */
  readonly of: (table: Table) => Promise<Snapshot>
}

/** The changes of some versions that a query names. */
export interface NamedChanges {
  /** The engine's schema in which they are called `table_changes`. */
  readonly schema: string
  readonly from: ChangesBound
  /** Undefined: up to the newest. */
  readonly to: ChangesBound | undefined
}

/** A query in which older versions and changes have schemas of their own: each version is still called `data` in it. */
export interface WithVersions {
  readonly sql: string
  readonly versions: readonly OlderVersion[]
  readonly changes: readonly NamedChanges[]
}

/** The function whose rows are the changes of versions, and the name of these rows. */
export const CHANGES = 'table_changes'
const MENTIONED = /\bas\s+of\b|\btable_changes\b/i

/**
 * Takes the versions out of a query that the engine has no words for: `data VERSION AS OF 3` and `data TIMESTAMP AS OF
 * '2026-01-31T12:00:00Z'`, with FOR and SYSTEM_ in front where other engines have them, and `table_changes('data', 3, 7)`.
 * SqlError `invalid_sql` for what is no version.
 */
export function takeVersions(sql: string): WithVersions {
  const versions = new Map<string, OlderVersion>()
  const changes: NamedChanges[] = []
  if (!MENTIONED.test(sql)) return { sql, versions: [], changes }
  const tokens = tokenize(sql)
  let taken = ''
  let at = 0
  const replace = (start: number, schema: string, name: string, end: number): void => {
    taken += `${sql.slice(at, start)}${quoteName(schema)}.${name}`
    at = end
  }
  for (const [i, { start }] of tokens.entries()) {
    const version = versionAt(tokens, i)
    if (version !== undefined) {
      // It stands in the history where it is part of a condition.
      const schema = version.key
      versions.set(version.key, { schema, of: version.of })
      replace(start, schema, TABLE_NAME, version.end)
    }
    const changed = changesAt(tokens, i)
    if (changed !== undefined) {
      const schema = `changes ${changes.length + 1}`
      changes.push({ schema, from: changed.from, to: changed.to })
      replace(start, schema, CHANGES, changed.end)
    }
  }
  return { sql: taken + sql.slice(at), versions: [...versions.values()], changes }
}

interface Found {
  /** A name that tells the version from all others. */
  readonly key: string
  readonly of: OlderVersion['of']
  /** The offset behind it. */
  readonly end: number
}

function versionAt(tokens: readonly Token[], table: number): Found | undefined {
  const name = tokens[table]!
  if (!['word', 'quoted'].includes(name.kind) || nameOf(name).toLowerCase() !== TABLE_NAME) return undefined
  let i = table + 1
  if (isWord(tokens[i], 'for')) i++
  const isVersion = isWord(tokens[i], 'version', 'system_version')
  if (!isVersion && !isWord(tokens[i], 'timestamp', 'system_time')) return undefined
  if (!isWord(tokens[i + 1], 'as') || !isWord(tokens[i + 2], 'of')) return undefined
  const value = tokens[i + 3]
  const text = value?.kind === 'literal' ? textOf(value) : ''
  const end = value?.end ?? tokens[i + 2]!.end
  return isVersion ? { ...byNumber(text), end } : { ...byTime(text), end }
}

/** A text without its quotes, a number as it is. */
function textOf({ text }: Token): string {
  return text.replace(/^'([\s\S]*)'$/, '$1')
}

function byNumber(text: string): Pick<Found, 'key' | 'of'> {
  if (!/^\d+$/.test(text))
    throw new SqlError('invalid_sql', 'VERSION AS OF is followed by the number of a version, as in VERSION AS OF 3')
  const version = BigInt(text)
  return { key: `version ${version}`, of: table => table.at(version) }
}

function byTime(text: string): Pick<Found, 'key' | 'of'> {
  const ms = timeOf(
    text,
    `TIMESTAMP AS OF is followed by a time, as in TIMESTAMP AS OF '2026-01-31T12:00:00Z'; without a zone it is UTC`,
  )
  return { key: `version of ${text}`, of: table => table.atTimestamp(ms) }
}

/** Milliseconds since 1970. SqlError `invalid_sql` with the sentence `else` for what is no time. */
function timeOf(text: string, otherwise: string): number {
  try {
    return Number(parseTimestamp(text.replace(' ', 'T'), true) / 1000n)
  } catch (cause) {
    if (!(cause instanceof ScalarError)) throw cause
    throw new SqlError('invalid_sql', otherwise, { cause })
  }
}

const CHANGES_FORM = `${CHANGES} takes the table, and versions or times, as in ${CHANGES}('${TABLE_NAME}', 3), ${CHANGES}('${TABLE_NAME}', 3, 7) or ${CHANGES}('${TABLE_NAME}', '2026-01-31T12:00:00Z')`

interface FoundChanges extends Omit<NamedChanges, 'schema'> {
  /** The offset behind it. */
  readonly end: number
}

function changesAt(tokens: readonly Token[], at: number): FoundChanges | undefined {
  const open = tokens[at + 1]
  if (!isWord(tokens[at], CHANGES) || !isSymbol(open, '(')) return undefined
  const close = tokens.findIndex((token, i) => i > at && token.depth === open!.depth && isSymbol(token, ')'))
  const inside = tokens.slice(at + 2, close < 0 ? undefined : close)
  const isList = inside.length % 2 === 1 && inside.every((token, i) => isSymbol(token, ',') === (i % 2 === 1))
  const [table, from, to, more] = inside.filter((_, i) => i % 2 === 0)
  if (close < 0 || !isList || table === undefined || from === undefined || more !== undefined)
    throw new SqlError('invalid_sql', CHANGES_FORM)
  const name = table.kind === 'literal' ? textOf(table) : nameOf(table)
  if (name.toLowerCase() !== TABLE_NAME)
    throw new SqlError('invalid_sql', `there is no table ${name}; the table is called ${TABLE_NAME}`)
  return { from: boundOf(from), to: to && boundOf(to), end: tokens[close]!.end }
}

function boundOf(token: Token): ChangesBound {
  const text = token.kind === 'literal' ? textOf(token) : ''
  return /^\d+$/.test(text) ? BigInt(text) : { timeMs: timeOf(text, CHANGES_FORM) }
}
