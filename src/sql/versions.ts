import { parseTimestamp, ScalarError } from '../columns/text/scalars.ts'
import type { Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { SqlError, TABLE_NAME } from './errors.ts'
import { isWord, nameOf, type Token, tokenize } from './tokens.ts'
import { quoteName } from './types.ts'

/** An older version of the table that a query names. */
export interface OlderVersion {
  /** The engine's schema in which the version is called `data`. */
  readonly schema: string
  /** Returns the version. TableError `no_such_version`. */
  readonly of: (table: Table) => Promise<Snapshot>
}

/** A query in which older versions are tables of schemas of their own, so that each is still called `data` in it. */
export interface WithVersions {
  readonly sql: string
  readonly versions: readonly OlderVersion[]
}

const MENTIONED = /\bas\s+of\b/i

/**
 * Takes the versions out of a query that the engine has no words for: `data VERSION AS OF 3` and `data TIMESTAMP AS OF
 * '2026-01-31T12:00:00Z'`, with FOR and SYSTEM_ in front where other engines have them. SqlError `invalid_sql` for what is no version.
 */
export function takeVersions(sql: string): WithVersions {
  const versions = new Map<string, OlderVersion>()
  if (!MENTIONED.test(sql)) return { sql, versions: [] }
  const tokens = tokenize(sql)
  let taken = ''
  let at = 0
  for (let i = 0; i < tokens.length; i++) {
    const found = versionAt(tokens, i)
    if (found === undefined) continue
    const name = `posixlake_as_of_${versions.size}`
    const { schema } = versions.get(found.key) ?? { schema: name }
    versions.set(found.key, { schema, of: found.of })
    taken += `${sql.slice(at, tokens[i]!.start)}${quoteName(schema)}.${TABLE_NAME}`
    at = found.end
  }
  return { sql: taken + sql.slice(at), versions: [...versions.values()] }
}

interface Found {
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
  const text = value?.kind === 'literal' ? value.text.replace(/^'([\s\S]*)'$/, '$1') : ''
  const end = value?.end ?? tokens[i + 2]!.end
  return isVersion ? { ...byNumber(text), end } : { ...byTime(text), end }
}

function byNumber(text: string): Pick<Found, 'key' | 'of'> {
  if (!/^\d+$/.test(text))
    throw new SqlError('invalid_sql', 'VERSION AS OF is followed by the number of a version, as in VERSION AS OF 3')
  const version = BigInt(text)
  return { key: String(version), of: table => table.at(version) }
}

function byTime(text: string): Pick<Found, 'key' | 'of'> {
  try {
    const ms = Number(parseTimestamp(text.replace(' ', 'T'), true) / 1000n)
    return { key: `at ${ms}`, of: table => table.atTimestamp(ms) }
  } catch (cause) {
    if (!(cause instanceof ScalarError)) throw cause
    throw new SqlError(
      'invalid_sql',
      `TIMESTAMP AS OF is followed by a time, as in TIMESTAMP AS OF '2026-01-31T12:00:00Z'; without a zone it is UTC`,
      { cause },
    )
  }
}
