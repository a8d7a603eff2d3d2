import { Database } from 'bun:sqlite'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, isCorruptDatabase, messageOf } from '../core/errors.ts'
import { sha256Hex } from '../core/hash.ts'
import { stateHome } from '../core/xdg.ts'
import { ServeError } from './errors.ts'

const SECRET_BYTES = 32

export interface StateOptions {
  /** The folder inside a local table; undefined for other tables. */
  readonly besideTable: string | undefined
  readonly location: string
  readonly log: (sentence: string) => void
  /** Called as soon as the table is locked, and just before it is not any more. */
  readonly onLocked?: (() => void) | undefined
  readonly onUnlock?: (() => void) | undefined
}

/** The files and the database that a server keeps on disk. While it is open, no other process serves the table. */
export interface StateFolder {
  /** The user's own files. */
  readonly files: string
  readonly directory: string
  readonly database: Database
  /** The key of file handles and export paths: the same for all servers of the table. */
  readonly secret: Uint8Array
  close(): void
}

/** Opens a table's state folder, and locks it. Throws ServeError `already_served` or `state_unusable`. */
export function openState(options: StateOptions): StateFolder {
  const { files, directory } = foldersOf(options)
  const lock = lockState(directory, options.location)
  const unlock = (): void => {
    options.onUnlock?.()
    lock.close()
  }
  try {
    options.onLocked?.()
    const secret = secretOf(directory)
    const database = openDatabase(join(directory, 'state.sqlite'), options.log)
    const close = (): void => {
      database.close()
      unlock()
    }
    return { files, directory, database, secret, close }
  } catch (error) {
    unlock()
    throw error
  }
}

/** Beside a local table, so that whoever serves it next finds it; elsewhere for tables that this user cannot write to. */
function foldersOf({ besideTable, location }: StateOptions): { files: string; directory: string } {
  const own = join(stateHome(), sha256Hex(location).slice(0, 16))
  let failure: unknown
  for (const folder of [besideTable, own]) {
    if (folder === undefined) continue
    try {
      const files = join(folder, 'files')
      const directory = join(folder, 'state')
      mkdirSync(join(files, 'data'), { recursive: true })
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      chmodSync(directory, 0o700)
      return { files, directory }
    } catch (error) {
      failure = error
    }
  }
  throw new ServeError(
    'state_unusable',
    `there is no room for the server's own files: ${messageOf(failure)}; set XDG_STATE_HOME to a folder that can be written`,
    { cause: failure },
  )
}

/** One server for a table: a lock of the system, which goes with the process however it ends. */
function lockState(state: string, location: string): Database {
  const path = join(state, 'lock.sqlite')
  let lock: Database | undefined
  try {
    lock = new Database(path)
    lock.run('PRAGMA locking_mode = EXCLUSIVE')
    lock.run('BEGIN EXCLUSIVE')
    return lock
  } catch (cause) {
    lock?.close()
    if (!errnoOf(cause)?.startsWith('SQLITE_BUSY')) {
      throw new ServeError('state_unusable', `${path} cannot be locked: ${messageOf(cause)}`, { cause })
    }
    throw new ServeError('already_served', alreadyServed(location, lockHolder(path)), { cause })
  }
}

/** The process that holds a lock on a file, as far as the system says (proc(5), /proc/locks). */
function lockHolder(path: string): { pid: number; uid: number } | undefined {
  try {
    const { ino } = statSync(path)
    const held = new RegExp(`^\\d+: POSIX +ADVISORY +WRITE +(\\d+) [0-9a-f]+:[0-9a-f]+:${ino} `, 'm')
    const pid = Number(held.exec(readFileSync('/proc/locks', 'utf8'))?.[1] ?? 0)
    return pid > 0 ? { pid, uid: statSync(`/proc/${pid}`).uid } : undefined
  } catch {
    return undefined
  }
}

function alreadyServed(location: string, holder: { pid: number; uid: number } | undefined): string {
  if (holder === undefined) return `${location} is being served already, by a process that cannot be seen from here`
  const { pid, uid } = holder
  if (uid === process.getuid?.()) return `${location} is being served already, by process ${pid}`
  return `${location} is being served already, by process ${pid} of user ${userName(uid)}; only that user can mount it once more, or end it with: posixlake unmount ${location}`
}

function userName(uid: number): string {
  try {
    const users = readFileSync('/etc/passwd', 'utf8')
    return new RegExp(`^([^:\\n]+):[^:\\n]*:${uid}:`, 'm').exec(users)?.[1] ?? String(uid)
  } catch {
    return String(uid)
  }
}

/** Opens the database of handles and lineages; a damaged one is put aside, as all that is lost with it is open handles. */
function openDatabase(path: string, log: (sentence: string) => void): Database {
  for (;;) {
    let database: Database | undefined
    try {
      database = new Database(path)
      database.run('PRAGMA journal_mode = WAL')
      database.run('PRAGMA synchronous = NORMAL')
      database.run('PRAGMA busy_timeout = 5000')
      const fault = faultOf(database)
      if (fault !== undefined) throw Object.assign(new Error(fault), { code: 'SQLITE_CORRUPT' })
      return database
    } catch (error) {
      database?.close()
      if (!existsSync(path) || !isCorruptDatabase(error)) {
        throw new ServeError('state_unusable', `${path} cannot be opened: ${messageOf(error)}`, { cause: error })
      }
      const aside = `${path}.broken-${Date.now()}`
      renameSync(path, aside)
      for (const ending of ['-wal', '-shm']) if (existsSync(path + ending)) renameSync(path + ending, aside + ending)
      log(
        `${path} was damaged (${messageOf(error)}); it was put aside as ${aside}, and handles that were open are stale`,
      )
    }
  }
}

/** The first fault that SQLite finds in a database; undefined if there is none. */
function faultOf(database: Database): string | undefined {
  const found = database.query<{ quick_check: string }, []>('PRAGMA quick_check(1)').get()?.quick_check
  return found === 'ok' ? undefined : found
}

function secretOf(state: string): Uint8Array {
  const path = join(state, 'secret')
  if (!existsSync(path)) {
    const temporary = `${path}.${process.pid}`
    writeFileSync(temporary, crypto.getRandomValues(new Uint8Array(SECRET_BYTES)), { mode: 0o600, flush: true })
    renameSync(temporary, path)
  }
  const secret = readFileSync(path)
  if (secret.length < SECRET_BYTES)
    throw new ServeError('state_unusable', `${path} is damaged; remove it, and mount again`)
  return secret
}
