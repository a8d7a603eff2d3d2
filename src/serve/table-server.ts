import type { Database } from 'bun:sqlite'
import { join } from 'node:path'
import type { Clock } from '../core/clock.ts'
import { withinMs } from '../core/limit.ts'
import type { Disk } from '../fs/edits/disk.ts'
import type { HoldTimes } from '../fs/edits/editor.ts'
import { ErrorJournal } from '../fs/error-journal.ts'
import { ExportedFileSystem } from '../fs/export.ts'
import type { Export } from '../fs/filesystem.ts'
import { LakeFileSystem } from '../fs/lake-filesystem.ts'
import type { Openers } from '../fs/saves/openers.ts'
import { ProcOpeners } from '../fs/saves/proc-openers.ts'
import { Scratch } from '../fs/scratch/scratch.ts'
import { openText } from '../fs/text/layout.ts'
import { Segments } from '../fs/text/segments.ts'
import { schemaSql } from '../fs/views/schema-sql.ts'
import { statsJson } from '../fs/views/stats.ts'
import { type Lake, type ObjectStore, openLake, openSql, type SqlLimits, type SqlService } from '../lake.ts'
import { Exports } from '../nfs/exports.ts'
import { Endpoints, type WantedEndpoint } from './endpoints.ts'
import { Health, tableLook } from './health.ts'
import { RefusalLog, versionSentence } from './log.ts'
import { openState, type StateFolder } from './state.ts'

const CLOSE_GRACE_MS = 5000
const FINISH_LIMIT_MS = 30_000

/** What an export of the table grants. */
export interface Rights {
  readonly readOnly: boolean
  /** Lets in every local user, not only root and the one who serves. */
  readonly allowOther: boolean
}

export interface ServeOptions extends WantedEndpoint, Rights {
  readonly location: string
  readonly cacheDirectory?: string | undefined
  readonly cacheBytes?: number | undefined
  /** What each SQL statement may take. */
  readonly sqlLimits?: Partial<SqlLimits> | undefined
  readonly holdTimes?: HoldTimes | undefined
  /** Who has files open for writing; by default /proc is asked. */
  readonly openers?: Openers | undefined
  /** What all that is kept on disk goes through, and where the time comes from, so that tests can have others. */
  readonly seams?: Partial<Seams> | undefined
  readonly log: (sentence: string) => void
  /** Called as soon as no other process can serve the table, and just before one can again. */
  readonly onLocked?: (() => void) | undefined
  readonly onUnlock?: (() => void) | undefined
  /** A client's connection has ended. */
  readonly onDisconnect?: (() => void) | undefined
}

/** Stand-ins for what the server keeps things with. */
export interface Seams {
  readonly store: (store: ObjectStore) => ObjectStore
  readonly database: (database: Database) => Database
  readonly disk: Disk
  readonly clock: Clock
}

/** A table that is served. */
export interface TableServer {
  readonly lake: Lake
  /** Of the first endpoint. */
  readonly host: string
  readonly port: number
  readonly endpoints: Endpoints
  /** The export of the rights that it was started with, as mounts of this machine use it. Nobody else is told of it. */
  readonly exportPath: string
  /** The same for clients that keep names cached: an old version of a view is not shown to them for long. */
  readonly plainPath: string
  readonly stateDirectory: string
  readonly health: Health
  /** The path of the export with these rights, whether it is open or not. */
  pathOf(rights: Rights): string
  /** Lets clients in through the export with these rights, from now on. */
  openExport(rights: Rights): Promise<void>
  /** Its handles are stale from now on, unless it is the one that the server was started with. */
  closeExport(rights: Rights): void
  /** What is held, in sentences. */
  held(): string[]
  /** How far the first measuring of other writers' files has come; undefined if none is going on. */
  measuring(): { doneBytes: number; totalBytes: number } | undefined
  /** Resolves when no save is held. */
  settle(): Promise<void>
  /** Measures the view that people look at first. */
  warmUp(): Promise<void>
  /** Ends all SQL statements, with a sentence for each, and takes no more. */
  endStatements(): Promise<void>
  /** Brings held saves to their end, answers what is under way, and closes everything. Takes 40 seconds at most. */
  stop(): Promise<void>
}

/** Serves a table over NFS. Rejects with ServeError, TableError or StorageError. */
export async function serveTable(options: ServeOptions): Promise<TableServer> {
  const { location, log, onLocked, onUnlock, cacheDirectory, cacheBytes } = options
  // Statements commit in processes of their own.
  let sql: SqlService | undefined
  const lake = await openLake(location, {
    log,
    onVersion: version => log(versionSentence(version, sql?.hasBegun(version.txnId))),
    wrapStore: options.seams?.store,
    ...(options.seams?.clock === undefined ? {} : { clock: options.seams.clock }),
    ...(cacheDirectory === undefined ? {} : { cacheDirectory }),
    ...(cacheBytes === undefined ? {} : { cacheBytes }),
  })
  let state: StateFolder | undefined
  try {
    const besideTable = lake.table.store.localPath('_posixlake')
    state = openState({ besideTable, location: lake.location, log, onLocked, onUnlock })
    sql = openSql(lake, { folder: join(state.directory, 'sql'), limits: options.sqlLimits, log })
    const database = options.seams?.database?.(state.database) ?? state.database
    return await serveLake(lake, { ...state, database }, sql, options)
  } catch (error) {
    state?.close()
    await lake.close()
    throw error
  }
}

async function serveLake(lake: Lake, state: StateFolder, sql: SqlService, options: ServeOptions): Promise<TableServer> {
  const { log } = options
  const refusals = new RefusalLog(log, lake.clock)
  const errorsPath = join(state.directory, 'errors.log')
  const errors = new ErrorJournal({ path: errorsPath, clock: lake.clock, onAppend: text => refusals.save(text) })
  const { cache, pool, table } = lake
  const segments = new Segments({ cache, pool, store: table.store, report: text => errors.append(text) })
  let endpoints: Endpoints | undefined
  const ports = (): number[] => endpoints?.all.map(({ port }) => port) ?? []
  const openers = options.openers ?? new ProcOpeners({ ports })
  const fs = fileSystemOf(lake, state, segments, errors, sql, { ...options, openers })
  let recovered: Promise<void> | undefined
  const recover = (rights: Rights): Promise<void> => {
    // What an earlier server held is brought to its end by one that may write.
    if (!rights.readOnly) recovered ??= sql.recover().then(() => fs.recover())
    return recovered ?? Promise.resolve()
  }
  await recover(options)
  const exports = new Exports({ secret: state.secret, uids: new Set([ownerOf().uid]), plain: exportOf(options, false) })
  exports.open(exportOf(options, true))
  const listening = new Endpoints(new ExportedFileSystem(fs, (call, error) => refusals.call(call, error)), {
    secret: state.secret,
    exports,
    log,
    onDisconnect: () => options.onDisconnect?.(),
  })
  endpoints = listening
  const { host, port } = await listening.listen(options).catch(error => {
    fs.close()
    throw error
  })
  const health = new Health({ clock: lake.clock, log, look: tableLook(lake, () => recovered !== undefined) })
  const stop = async (): Promise<void> => {
    health.stop()
    // Calls that wait for a statement are answered now, and not held against the others.
    await sql.end()
    await listening.close(CLOSE_GRACE_MS)
    await sql.close()
    const finished = await withinMs(
      FINISH_LIMIT_MS,
      fs.finish().then(() => true),
    )
    if (finished === undefined)
      log('a save that is held is not at its end; it is kept for the next server of the table')
    fs.close()
    await lake.close()
    state.close()
  }
  return {
    lake,
    host,
    port,
    endpoints: listening,
    exportPath: exports.pathOf(exportOf(options, true)),
    plainPath: exports.pathOf(exportOf(options, false)),
    stateDirectory: state.directory,
    health,
    pathOf: rights => exports.pathOf(exportOf(rights, true)),
    openExport: async rights => {
      await recover(rights)
      exports.open(exportOf(rights, true))
    },
    closeExport: rights => {
      if (rights.readOnly !== options.readOnly || rights.allowOther !== options.allowOther)
        exports.close(exportOf(rights, true))
    },
    held: () => fs.held(),
    measuring: () => segments.measuring,
    settle: () => fs.settled(),
    warmUp: async () => {
      lake.pool.start()
      await openText(lake.table, await lake.table.refresh(), segments, 'csv')
    },
    endStatements: () => sql.end(),
    stop,
  }
}

function fileSystemOf(
  lake: Lake,
  { files, directory, database }: StateFolder,
  segments: Segments,
  errors: ErrorJournal,
  sql: SqlService,
  { log, holdTimes, openers, seams }: ServeOptions & { readonly openers: Openers },
): LakeFileSystem {
  const { clock } = lake
  const owner = ownerOf()
  return new LakeFileSystem({
    table: lake.table,
    segments,
    scratch: new Scratch({ directory: files, database, clock, owner, log }),
    database,
    errors,
    stateDirectory: directory,
    runSql: (statement, how) => sql.run(statement, how),
    renderSchema: snapshot => new TextEncoder().encode(schemaSql(snapshot)),
    renderStats: async snapshot =>
      new TextEncoder().encode(await statsJson(lake.table, snapshot, segments, lake.cache)),
    clock,
    owner,
    log,
    openers,
    ...(holdTimes === undefined ? {} : { holdTimes }),
    ...(seams?.disk === undefined ? {} : { disk: seams.disk }),
  })
}

function exportOf({ readOnly, allowOther }: Rights, frozen: boolean): Export {
  return { frozen, readOnly, others: allowOther }
}

function ownerOf(): { uid: number; gid: number } {
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
}
