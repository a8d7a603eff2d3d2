import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sha256Hex } from '../core/hash.ts'
import type { SqlLimits } from '../lake.ts'
import type { MountEntry } from '../mount/linux.ts'
import { mounts } from '../mount/linux.ts'
import type { Endpoint } from './endpoints.ts'
import { ServeError } from './errors.ts'
import type { Rights } from './table-server.ts'

/** The settings of a store that is elsewhere, beside those in the server's environment; no secrets. */
export interface StoreSettings {
  readonly region?: string
  readonly profile?: string
}

/** The settings that a server is started with, as far as its command line says them. */
export interface ServerSettings extends Rights {
  /** The table's real path, or its URL. */
  readonly location: string
  readonly host: string
  /** undefined: the default port or the next free one. */
  readonly port: number | undefined
  /** The bound of the disk cache, in bytes. */
  readonly cacheBytes: number | undefined
  /** Small files are left as they are. */
  readonly noCompact?: boolean
  /** The limits of each SQL statement. */
  readonly sqlLimits: Partial<SqlLimits>
  readonly store: StoreSettings
  /** The file that the log goes to; undefined: standard error. */
  readonly logFile: string | undefined
  /** It ends with the last mount; otherwise when it is told to. */
  readonly untilUnmounted: boolean
}

export interface ExportRecord extends Rights {
  /** With the leading slash. */
  readonly path: string
}

/** A server that runs, as it describes itself. */
export interface ServerRecord {
  readonly pid: number
  readonly location: string
  /** Its settings, with the port that it got. */
  readonly settings: ServerSettings
  /** The first one is that of the settings. */
  readonly endpoints: readonly Endpoint[]
  /** Of the first endpoint, and of the rights in the settings. */
  readonly host: string
  readonly port: number
  readonly exportPath: string
  readonly readOnly: boolean
  /** All paths by which mounts of it are known. */
  readonly exports: readonly ExportRecord[]
  /** The mount points where `posixlake mount` has mounted it; they are unmounted when the server ends. */
  readonly mountPoints: readonly string[]
  readonly log?: string | undefined
  /** The folder of the users' own files, and of saves that are under way. */
  readonly state?: string
  /** Started again, this takes up the same endpoints and mounts. */
  readonly command: readonly string[]
  readonly startedMs: number
}

/** A mount of a table, as the system lists it. */
export interface TableMount extends Rights {
  readonly mountPoint: string
  /** Of the server, as the mount calls it. */
  readonly host: string
  readonly port: number | undefined
}

/** The mounts of a server and its predecessors: the path of an export holds a secret, so it is of no other table. */
export function mountsOf(exports: readonly ExportRecord[], entries: readonly MountEntry[] = mounts()): TableMount[] {
  return entries.flatMap(({ type, source, mountPoint, port }) => {
    if (type !== 'nfs') return []
    const colon = source.indexOf(':/')
    const host = source.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
    const path = source.slice(colon + 1)
    const found = exports.find(known => path === known.path || path.startsWith(`${known.path}/`))
    return found === undefined ? [] : [{ mountPoint, host, port, ...rightsOf(found) }]
  })
}

function rightsOf({ readOnly, allowOther }: Rights): Rights {
  return { readOnly, allowOther }
}

/** A folder of this user's own for sockets and records: the same for all of the user's processes, whatever their environment. */
export function runtimeDirectory(): string {
  const uid = process.getuid?.() ?? 0
  const base = uid === 0 ? '/run' : `/run/user/${uid}`
  const directory = existsSync(base) ? join(base, 'posixlake') : `/tmp/posixlake-${uid}`
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const found = lstatSync(directory)
  if (!found.isDirectory() || found.uid !== uid || (found.mode & 0o077) !== 0) {
    throw new ServeError(
      'bad_registry',
      `${directory} is not a folder that only you can write to; remove it, and try again`,
    )
  }
  return directory
}

function nameOf(location: string): string {
  return sha256Hex(location).slice(0, 16)
}

/** The socket of the server of a table; short, as the system wants. */
export function socketPath(location: string): string {
  return join(runtimeDirectory(), `${nameOf(location)}.sock`)
}

function recordPath(location: string): string {
  return join(runtimeDirectory(), `${nameOf(location)}.json`)
}

export function writeRecord(record: ServerRecord): void {
  const path = recordPath(record.location)
  writeFileSync(`${path}.tmp`, `${JSON.stringify(record)}\n`, { mode: 0o600 })
  renameSync(`${path}.tmp`, path)
}

/** Removes the record and the socket of a server that died, or has ended. */
export function removeRecord(location: string): void {
  rmSync(recordPath(location), { force: true })
  rmSync(socketPath(location), { force: true })
}

/** The record of a table's server, or of one that died. */
export function recordOf(location: string): ServerRecord | undefined {
  return readRecord(recordPath(location))
}

/** All records, those of servers that died among them. What is no record is passed over. */
export function readRecords(): ServerRecord[] {
  const directory = runtimeDirectory()
  return readdirSync(directory)
    .filter(name => name.endsWith('.json'))
    .flatMap(name => readRecord(join(directory, name)) ?? [])
}

function readRecord(path: string): ServerRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(path, 'utf8')) as Partial<ServerRecord> | null
    const isWhole =
      typeof record?.location === 'string' && Array.isArray(record.exports) && record.settings !== undefined
    return isWhole ? withoutNull(record as ServerRecord) : undefined
  } catch {
    return undefined
  }
}

/** JSON has no Infinity, which stands for a statement that may take as long as it wants. */
function withoutNull(record: ServerRecord): ServerRecord {
  const { settings } = record
  const { timeoutMs, ...limits } = settings.sqlLimits ?? {}
  const timeout = timeoutMs === undefined ? {} : { timeoutMs: timeoutMs ?? Number.POSITIVE_INFINITY }
  return { ...record, settings: { ...settings, sqlLimits: { ...limits, ...timeout } } }
}
