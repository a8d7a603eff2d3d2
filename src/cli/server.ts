import { Database } from 'bun:sqlite'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { errnoOf, LakeError, messageOf } from '../core/errors.ts'
import type { HoldTimes } from '../fs/edits/editor.ts'
import { FileSpool } from '../fs/edits/spool.ts'
import { ErrorJournal } from '../fs/error-journal.ts'
import { LakeFileSystem } from '../fs/lake-filesystem.ts'
import type { Openers } from '../fs/saves/openers.ts'
import { ProcOpeners } from '../fs/saves/proc-openers.ts'
import { Scratch } from '../fs/scratch/scratch.ts'
import { openText } from '../fs/text/layout.ts'
import { Segments } from '../fs/text/segments.ts'
import type { Text } from '../fs/text/text.ts'
import type { RunSqlOptions } from '../fs/views/query.ts'
import { schemaSql } from '../fs/views/schema-sql.ts'
import { statsJson } from '../fs/views/stats.ts'
import { type Lake, openLake } from '../lake.ts'
import { ListenError, type NfsServer, startNfsServer } from '../nfs/server.ts'

export const DEFAULT_PORT = 12049
/** Tried in turn when no port was asked for. */
const PORTS_TRIED = 100
const CLOSE_GRACE_MS = 5000
const SECRET_BYTES = 32

export class ServeError extends LakeError<'already_served' | 'state_unusable' | 'address_in_use' | 'listen_failed'> {}

export interface ServeOptions {
  readonly location: string
  readonly host: string
  /** undefined: the default port or the next free one. */
  readonly port: number | undefined
  readonly readOnly: boolean
  /** Answer every local user, not only root and the one who runs this. */
  readonly allowOther: boolean
  readonly cacheDirectory?: string | undefined
  readonly cacheBytes?: number | undefined
  readonly holdTimes?: HoldTimes | undefined
  /** Who has files open for writing; by default /proc is asked. */
  readonly openers?: Openers | undefined
  readonly log: (sentence: string) => void
}

/** A table that is served. */
export interface TableServer {
  readonly lake: Lake
  readonly host: string
  readonly port: number
  /** The export that our own mount uses; nobody else is told of it. */
  readonly exportPath: string
  readonly stateDirectory: string
  /** What is held, in sentences. */
  held(): string[]
  /** How far the first measuring of other writers' files has come; undefined if none is going on. */
  measuring(): { doneBytes: number; totalBytes: number } | undefined
  /** Resolves when no save is held. */
  settle(): Promise<void>
  /** Measures the view that people look at first. */
  warmUp(): Promise<void>
  /** Brings held saves to their end, answers what is under way, and closes everything. */
  stop(): Promise<void>
}

/** Serves a table over NFS. Rejects with ServeError, TableError or StorageError. */
export async function serveTable(options: ServeOptions): Promise<TableServer> {
  const { log } = options
  const lake = await openLake(options.location, {
    log,
    ...(options.cacheDirectory === undefined ? {} : { cacheDirectory: options.cacheDirectory }),
    ...(options.cacheBytes === undefined ? {} : { cacheBytes: options.cacheBytes }),
  })
  try {
    return await serveLake(lake, options)
  } catch (error) {
    await lake.close()
    throw error
  }
}

async function serveLake(lake: Lake, options: ServeOptions): Promise<TableServer> {
  const { log } = options
  const { files, state } = stateOf(lake)
  const lock = lockState(state, lake.location)
  const database = openDatabase(join(state, 'state.sqlite'), log)
  const errors = new ErrorJournal({ path: join(state, 'errors.log'), clock: lake.clock })
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const segments = new Segments({
    cache: lake.cache,
    pool: lake.pool,
    store: lake.table.store,
    report: sentence => errors.append(sentence),
  })
  const scratch = new Scratch({ directory: files, database, clock: lake.clock, owner, log })
  let port: number | undefined
  const openers = options.openers ?? new ProcOpeners({ ports: () => (port === undefined ? [] : [port]) })
  const fs = new LakeFileSystem({
    table: lake.table,
    segments,
    scratch,
    database,
    errors,
    stateDirectory: state,
    runSql: (sql, options) => runSql(lake, sql, state, options),
    renderSchema: snapshot => new TextEncoder().encode(schemaSql(snapshot)),
    renderStats: async snapshot =>
      new TextEncoder().encode(await statsJson(lake.table, snapshot, segments, lake.cache)),
    clock: lake.clock,
    readOnly: options.readOnly,
    owner,
    log,
    openers,
    ...(options.holdTimes === undefined ? {} : { holdTimes: options.holdTimes }),
  })
  if (!options.readOnly) await fs.recover()
  const secret = secretOf(state)
  const exportSecret = createHash('sha256').update('export').update(secret).digest('hex').slice(0, 32)
  const allowedUids = options.allowOther ? ('any' as const) : new Set([owner.uid])
  const server = await listen(options, wanted =>
    startNfsServer(fs, { host: options.host, port: wanted, secret, exportSecret, allowedUids, log }),
  )
  port = server.port
  return {
    lake,
    host: server.host,
    port: server.port,
    exportPath: `/${exportSecret}`,
    stateDirectory: state,
    held: () => fs.held(),
    measuring: () => segments.measuring,
    settle: () => fs.settled(),
    warmUp: async () => {
      lake.pool.start()
      await openText(lake.table, await lake.table.refresh(), segments, 'csv')
    },
    stop: async () => {
      await server.close(CLOSE_GRACE_MS)
      await fs.finish()
      fs.close()
      await lake.close()
      database.close()
      lock.close()
    },
  }
}

/** Beside a local table, so that whoever serves it next finds it; elsewhere for tables that this user cannot write to. */
function stateOf({ table, location }: Lake): { files: string; state: string } {
  const beside = table.store.localPath('_posixlake')
  const base = process.env['XDG_STATE_HOME']
  const home = join(base === undefined || base === '' ? join(homedir(), '.local', 'state') : base, 'posixlake')
  const own = join(home, createHash('sha256').update(location).digest('hex').slice(0, 16))
  let failure: unknown
  for (const directory of [beside, own]) {
    if (directory === undefined) continue
    try {
      const files = join(directory, 'files')
      const state = join(directory, 'state')
      mkdirSync(join(files, 'data'), { recursive: true })
      mkdirSync(state, { recursive: true, mode: 0o700 })
      chmodSync(state, 0o700)
      return { files, state }
    } catch (error) {
      failure = error
    }
  }
  throw new ServeError(
    'state_unusable',
    `there is no room for the server's own files: ${messageOf(failure)}; set XDG_STATE_HOME to a folder that can be written`,
    {
      cause: failure,
    },
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
    throw new ServeError('already_served', `${location} is being served already; \`posixlake status\` says where`, {
      cause,
    })
  }
}

/** The database of handles and lines; a broken one is put aside, as all it loses is open handles. */
function openDatabase(path: string, log: (sentence: string) => void): Database {
  for (;;) {
    try {
      const database = new Database(path)
      database.run('PRAGMA journal_mode = WAL')
      database.run('PRAGMA synchronous = NORMAL')
      database.run('PRAGMA busy_timeout = 5000')
      database.query('PRAGMA quick_check').get()
      return database
    } catch (error) {
      if (!existsSync(path) || !/malformed|not a database/i.test(messageOf(error))) {
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

function secretOf(state: string): Uint8Array {
  const path = join(state, 'secret')
  if (!existsSync(path)) {
    const temporary = `${path}.${process.pid}`
    writeFileSync(temporary, randomBytes(SECRET_BYTES), { mode: 0o600, flush: true })
    renameSync(temporary, path)
  }
  const secret = readFileSync(path)
  if (secret.length < SECRET_BYTES)
    throw new ServeError('state_unusable', `${path} is damaged; remove it, and mount again`)
  return secret
}

async function listen(options: ServeOptions, start: (port: number) => Promise<NfsServer>): Promise<NfsServer> {
  const ports =
    options.port === undefined ? Array.from({ length: PORTS_TRIED }, (_, i) => DEFAULT_PORT + i) : [options.port]
  for (const port of ports) {
    try {
      return await start(port)
    } catch (error) {
      if (!(error instanceof ListenError)) throw error
      if (error.code === 'address_in_use' && port !== ports.at(-1)) continue
      throw new ServeError(error.code, error.message, { cause: error })
    }
  }
  throw new ServeError(
    'address_in_use',
    `no port from ${DEFAULT_PORT} to ${DEFAULT_PORT + PORTS_TRIED - 1} is free; say which one to take with --port`,
  )
}

/** The rows of a statement as text, or what it changed. Kept in an unlinked file, however large. */
async function runSql(
  lake: Lake,
  sql: string,
  directory: string,
  { format = 'csv', signal }: RunSqlOptions = {},
): Promise<Text> {
  // Loaded on first use: a mount that never runs SQL does not pay for the engine.
  const [{ execute }, { changesText, resultText }] = await Promise.all([
    import('../sql/engine.ts'),
    import('../sql/format.ts'),
  ])
  const outcome = await execute(lake.table, sql, signal === undefined ? {} : { signal })
  const spool = FileSpool.create(directory)
  if (outcome.kind === 'changed') spool.append(changesText(outcome, format))
  else for await (const bytes of resultText(outcome.result, format)) spool.append(bytes)
  return spool.finish()
}
