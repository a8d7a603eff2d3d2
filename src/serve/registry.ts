import { createHash } from 'node:crypto'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MountError } from '../mount/errors.ts'

/** A server that runs, as it describes itself. */
export interface ServerRecord {
  readonly pid: number
  readonly location: string
  readonly host: string
  readonly port: number
  readonly exportPath: string
  readonly readOnly: boolean
  /** Where it is mounted, if it was started to be. */
  readonly mountPoint?: string | undefined
  readonly log?: string | undefined
  /** Started again, this takes up the same port. */
  readonly command: readonly string[]
  readonly startedMs: number
}

/** A folder of this user's own for sockets and records: the same for all of the user's processes, whatever their environment. */
export function runtimeDirectory(): string {
  const uid = process.getuid?.() ?? 0
  const base = uid === 0 ? '/run' : `/run/user/${uid}`
  const directory = existsSync(base) ? join(base, 'posixlake') : `/tmp/posixlake-${uid}`
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const found = lstatSync(directory)
  if (!found.isDirectory() || found.uid !== uid || (found.mode & 0o077) !== 0) {
    throw new MountError('failed', `${directory} is not a folder that only you can write to; remove it, and try again`)
  }
  return directory
}

function nameOf(location: string): string {
  return createHash('sha256').update(location).digest('hex').slice(0, 16)
}

/** The socket of the server of a table; short, as the system wants. */
export function socketPath(location: string): string {
  return join(runtimeDirectory(), `${nameOf(location)}.sock`)
}

export function writeRecord(record: ServerRecord): void {
  const path = join(runtimeDirectory(), `${nameOf(record.location)}.json`)
  writeFileSync(`${path}.tmp`, `${JSON.stringify(record)}\n`, { mode: 0o600 })
  renameSync(`${path}.tmp`, path)
}

export function removeRecord(location: string): void {
  rmSync(join(runtimeDirectory(), `${nameOf(location)}.json`), { force: true })
}

/** All records, those of servers that died among them. What is no record is passed over. */
export function readRecords(): ServerRecord[] {
  const directory = runtimeDirectory()
  return readdirSync(directory)
    .filter(name => name.endsWith('.json'))
    .flatMap(name => {
      try {
        const record = JSON.parse(readFileSync(join(directory, name), 'utf8')) as ServerRecord | null
        return typeof record?.location === 'string' ? [record] : []
      } catch {
        return []
      }
    })
}
