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

/** A checkpoint of version 2 has an id of its own (PROTOCOL.md, "UUID-named checkpoint"). */
export function v2CheckpointPath(version: bigint, id: string): string {
  return `${LOG_FOLDER}/${padded(version)}.checkpoint.${id}.parquet`
}

/** The folder of files that checkpoints of version 2 name. */
export const SIDECAR_FOLDER = `${LOG_FOLDER}/_sidecars`

export function sidecarPath(name: string): string {
  return `${SIDECAR_FOLDER}/${name}`
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

/** Returns the kind of a file in the log folder, by its whole name; undefined for one that is not part of the history. */
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

const SCHEME = /^([a-z][a-z0-9+.-]*):/i
/** `file:/a`, `file:///a` and `file://localhost/a` are one file; that of another host is not here. */
const FILE_SCHEME = /^file:(?:\/\/(?:localhost)?(?=\/)|(?!\/\/))/i
const S3_SCHEME = /^s3[an]?:/i

/** Paths as most are: of parts that are nothing but themselves, however they are read. */
const PLAIN_PATH = /^[\w=-][\w=.-]*(?:\/[\w=-][\w=.-]*)*$/

/** True if a path in an action is the path in the store as it stands, and leads into the table. */
export function isPlainPath(encoded: string): boolean {
  return PLAIN_PATH.test(encoded)
}

/** True if a path, as `pathOf` gives it, is that of a file outside of the table: one that only the log of the table names. */
export function isOutside(path: string): boolean {
  return path.startsWith('/') || SCHEME.test(path)
}

/**
 * The path in an action as a path in the store: percent-decoded exactly once, relative to the table if it lies inside, else
 * absolute on this machine, or with its scheme. However a path is spelled, this tells the file. What cannot be one is given
 * back as it is, see `checkFilePath`.
 */
export function pathOf(location: string, encoded: string): string {
  if (PLAIN_PATH.test(encoded)) return encoded
  if (!encoded.includes('%') && !isOutside(encoded)) return encoded
  const path = decoded(encoded)
  if (path === undefined || !isOutside(encoded)) return path ?? encoded
  const absolute = path.replace(FILE_SCHEME, '').replace(S3_SCHEME, 's3:')
  return absolute.startsWith(`${location}/`) ? absolute.slice(location.length + 1) : absolute
}

/**
 * Refuses a file of the log whose path (`path`: what `pathOf` made of it) leads nowhere, or where posixlake does not reach.
 * Only an absolute path leads out of the table, as in a shallow clone. TableError; `what` is the file, for messages.
 */
export function checkFilePath(location: string, encoded: string, path: string, what = 'data file'): void {
  if (encoded === path && PLAIN_PATH.test(path)) return
  if (decoded(encoded) === undefined)
    throw new TableError(
      'corrupt_log',
      `${location}: the path ${shown(encoded)} in the log is not percent-encoded as it should be`,
    )
  const scheme = isOutside(encoded) ? SCHEME.exec(path)?.[1] : undefined
  if (scheme !== undefined || (isOutside(path) && !location.startsWith('/'))) {
    const place = scheme === 's3' ? 'on S3' : scheme === undefined ? 'on a local disk' : `where ${scheme}: leads`
    throw new TableError(
      'unsupported_feature',
      `${location}: the ${what} ${shown(path)} lies outside the table, ${place}; posixlake reads such files (of a shallow clone) on the disk of a table that is on a local disk itself`,
    )
  }
  const parts = path.replace(/^\//, '').split('/')
  if (parts.includes('..'))
    throw new TableError(
      'unsupported_feature',
      `${location}: the ${what} ${shown(path)} leads out of its folder by '..', which is not followed`,
    )
  if (parts.includes('') || parts.includes('.') || path.includes('\0') || (isOutside(path) && !isOutside(encoded)))
    throw new TableError('corrupt_log', `${location}: the path ${shown(encoded)} in the log leads to no file`)
}

function decoded(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}

/** Characters that the path of a URI does not have as they are: blanks, control characters, and these signs. */
const ESCAPED = /[\p{Z}\p{Cc}"#%<>?[\\\]^`{|}]/gu

/**
 * A path in the store as an action spells it (RFC 2396, as PROTOCOL.md wants). Letters beyond ASCII stay as they are, as
 * in a Java URI: Spark's VACUUM compares spellings, and takes a live file that is spelled otherwise for garbage.
 */
export function encodePath(path: string): string {
  return path.replace(ESCAPED, encodeURIComponent)
}
