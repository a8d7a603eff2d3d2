import { TableError } from '../errors.ts'
import { shown } from './shapes.ts'

export const LOG_FOLDER = '_delta_log'
export const LAST_CHECKPOINT = `${LOG_FOLDER}/_last_checkpoint`

/** `_delta_log/00000000000000000007.json` */
export function commitPath(version: bigint): string {
  return `${LOG_FOLDER}/${padded(version)}.json`
}

export function checkpointPath(version: bigint): string {
  return `${LOG_FOLDER}/${padded(version)}.checkpoint.parquet`
}

function padded(version: bigint): string {
  return String(version).padStart(20, '0')
}

export type LogFile =
  | { readonly kind: 'commit'; readonly version: bigint; readonly path: string }
  | {
      readonly kind: 'checkpoint'
      readonly version: bigint
      readonly path: string
      readonly part: number
      readonly parts: number
      readonly json: boolean
    }

const COMMIT = /^(\d{20})\.json$/
const CLASSIC = /^(\d{20})\.checkpoint\.parquet$/
const MULTI_PART = /^(\d{20})\.checkpoint\.(\d{10})\.(\d{10})\.parquet$/
const UUID_NAMED = /^(\d{20})\.checkpoint\.[0-9a-f-]{36}\.(json|parquet)$/

/** What a file in the log folder is, by its whole name; undefined for anything that is not part of the log's history. */
export function parseLogFile(path: string): LogFile | undefined {
  const name = path.slice(LOG_FOLDER.length + 1)
  const commit = COMMIT.exec(name)
  if (commit !== null) return { kind: 'commit', version: BigInt(commit[1]!), path }
  const one = CLASSIC.exec(name)
  if (one !== null) return { kind: 'checkpoint', version: BigInt(one[1]!), path, part: 1, parts: 1, json: false }
  const part = MULTI_PART.exec(name)
  if (part !== null)
    return {
      kind: 'checkpoint',
      version: BigInt(part[1]!),
      path,
      part: Number(part[2]),
      parts: Number(part[3]),
      json: false,
    }
  const v2 = UUID_NAMED.exec(name)
  if (v2 !== null)
    return { kind: 'checkpoint', version: BigInt(v2[1]!), path, part: 1, parts: 1, json: v2[2] === 'json' }
  return undefined
}

const ABSOLUTE = /^[a-z][a-z0-9+.-]*:|^\//i

/**
 * The path in an action as a path in the store: percent-decoded exactly once, relative to the table if it lies inside.
 * However a path is spelled, this tells the file. What cannot be one is given back as it is, see `checkFilePath`.
 */
export function pathOf(location: string, encoded: string): string {
  if (!encoded.includes('%') && !ABSOLUTE.test(encoded)) return encoded
  const path = decoded(encoded)
  if (path === undefined || !ABSOLUTE.test(encoded)) return path ?? encoded
  const absolute = path.replace(/^file:(?:\/\/)?/i, '')
  return absolute.startsWith(`${location}/`) ? absolute.slice(location.length + 1) : path
}

/** Refuses a live file whose path (`path`: what `pathOf` made of it) leads nowhere, or out of the table. TableError. */
export function checkFilePath(location: string, encoded: string, path: string): void {
  if (decoded(encoded) === undefined)
    throw new TableError(
      'corrupt_log',
      `${location}: the path ${shown(encoded)} in the log is not percent-encoded as it should be`,
    )
  const parts = path.split('/')
  if ((ABSOLUTE.test(encoded) && path === decoded(encoded)) || parts.includes('..'))
    throw new TableError(
      'unsupported_feature',
      `${location}: the data file ${shown(path)} lies outside the table; such a (shallow) clone is not supported`,
    )
  if (parts.includes('') || parts.includes('.') || path.includes('\0'))
    throw new TableError('corrupt_log', `${location}: the path ${shown(encoded)} in the log leads to no file`)
}

function decoded(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}

/** What the path of a URI does not have as it is: blanks, control characters, and these signs. */
const ESCAPED = /[\p{Z}\p{Cc}"#%<>?[\\\]^`{|}]/gu

/**
 * A path in the store as an action spells it (RFC 2396, as PROTOCOL.md wants). Letters beyond ASCII stay as they are, as
 * in a Java URI: Spark's VACUUM compares spellings, and takes a live file that is spelled otherwise for garbage.
 */
export function encodePath(path: string): string {
  return path.replace(ESCAPED, encodeURIComponent)
}
