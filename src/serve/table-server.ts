import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { HoldTimes } from '../fs/edits/editor.ts'
import { ErrorJournal } from '../fs/error-journal.ts'
import { LakeFileSystem } from '../fs/lake-filesystem.ts'
import { Scratch } from '../fs/scratch/scratch.ts'
import { openText } from '../fs/text/layout.ts'
import { Segments } from '../fs/text/segments.ts'
import { runSql } from '../fs/views/run-sql.ts'
import { schemaSql } from '../fs/views/schema-sql.ts'
import { statsJson } from '../fs/views/stats.ts'
import { type Lake, openLake } from '../lake.ts'
import { ListenError, type NfsServer, startNfsServer } from '../nfs/server.ts'
import { ServeError } from './errors.ts'
import { openState, type StateFolder } from './state.ts'

export const DEFAULT_PORT = 12049
/** Tried in turn when no port was asked for. */
const PORTS_TRIED = 100
const CLOSE_GRACE_MS = 5000

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
  let state: StateFolder | undefined
  try {
    state = openState({ besideTable: lake.table.store.localPath('_posixlake'), location: lake.location, log })
    return await serveLake(lake, state, options)
  } catch (error) {
    state?.close()
    await lake.close()
    throw error
  }
}

async function serveLake(lake: Lake, state: StateFolder, options: ServeOptions): Promise<TableServer> {
  const { log } = options
  const { files, directory, database, secret } = state
  const errors = new ErrorJournal({ path: join(directory, 'errors.log'), clock: lake.clock })
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const segments = new Segments({ cache: lake.cache, pool: lake.pool, store: lake.table.store })
  const scratch = new Scratch({ directory: files, database, clock: lake.clock, owner, log })
  const fs = new LakeFileSystem({
    table: lake.table,
    segments,
    scratch,
    database,
    errors,
    stateDirectory: directory,
    runSql: sql => runSql(lake.table, sql, directory),
    renderSchema: snapshot => new TextEncoder().encode(schemaSql(snapshot)),
    renderStats: async snapshot =>
      new TextEncoder().encode(await statsJson(lake.table, snapshot, segments, lake.cache)),
    clock: lake.clock,
    readOnly: options.readOnly,
    owner,
    log,
    ...(options.holdTimes === undefined ? {} : { holdTimes: options.holdTimes }),
  })
  if (!options.readOnly) await fs.recover()
  const exportSecret = createHash('sha256').update('export').update(secret).digest('hex').slice(0, 32)
  const allowedUids = options.allowOther ? ('any' as const) : new Set([owner.uid])
  const server = await listen(options, port =>
    startNfsServer(fs, { host: options.host, port, secret, exportSecret, allowedUids, log }),
  )
  return {
    lake,
    host: server.host,
    port: server.port,
    exportPath: `/${exportSecret}`,
    stateDirectory: directory,
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
      state.close()
    },
  }
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
