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

/** The path in an action as a path in the store: percent-decoded exactly once. Throws URIError. */
export function decodePath(encoded: string): string {
  return decodeURIComponent(encoded)
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
