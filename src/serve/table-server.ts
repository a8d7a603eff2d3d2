import type { Database } from 'bun:sqlite'
import { join } from 'node:path'
import { withinMs } from '../core/limit.ts'
import { type CompactionOptions, Compactor } from '../fs/compactor.ts'
import { ErrorJournal } from '../fs/error-journal.ts'
import { ExportedFileSystem } from '../fs/export.ts'
import type { Export } from '../fs/filesystem.ts'
import type { Disk } from '../fs/saves/disk.ts'
import type { HoldTimes } from '../fs/saves/hold-times.ts'
import type { Openers } from '../fs/saves/openers.ts'
import { ProcOpeners } from '../fs/saves/proc-openers.ts'
import { csv, openText } from '../fs/text/layout.ts'
import { Segments } from '../fs/text/segments.ts'
import { LakeTree } from '../fs/tree/lake-tree.ts'
import { type Lake, type ObjectStore, openLake, openSql, type SqlLimits, type SqlService } from '../lake.ts'
import { Exports } from '../nfs/exports.ts'
import { type Endpoint, Endpoints, type WantedEndpoint } from './endpoints.ts'
import { Health, tableLook } from './health.ts'
import { RefusalLog, versionSentence } from './log.ts'
import { openState, type StateFolder } from './state.ts'

const CLOSE_GRACE_MS = 5000
const FINISH_LIMIT_MS = 30_000

/** The rights that an export of the table grants. */
export interface Rights {
  readonly readOnly: boolean
  /** Lets in every local user, not only root and the one who serves. */
  readonly allowOther: boolean
}

export interface ServeOptions extends WantedEndpoint, Rights {
  readonly location: string
  readonly cacheDirectory?: string | undefined
  readonly cacheBytes?: number | undefined
  /** The limits of each SQL statement. */
  readonly sqlLimits?: Partial<SqlLimits> | undefined
  /** The way in which small files are put together in the background; they are not if it is not given. */
  readonly compaction?: CompactionOptions | undefined
  readonly holdTimes?: HoldTimes | undefined
  /** Finds the processes that have files open for writing; by default in /proc. */
  readonly openers?: Openers | undefined
  /** Stand-ins for the store, the database and the disk, so that their failures can be tried. */
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
  /** The saves that are held, in sentences. */
  held(): string[]
  /** The fate of the small files that changes leave, as a sentence; undefined if they are left. */
  compaction(): string | undefined
  /** The progress of the first measuring of other writers' files; undefined if none is going on. */
  measuring(): { doneBytes: number; totalBytes: number } | undefined
  /** Looks for commits of others now. */
  look(): Promise<void>
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
  let served: { readonly compactor: Compactor | undefined } | undefined
  const lake = await openLake(location, {
    log,
    onVersion: version => {
      const isSql = sql?.hasBegun(version.txnId)
      log(versionSentence(version, isSql))
      // What others do to the table is theirs to tidy up.
      if (version.durationMs !== undefined || isSql === true) served?.compactor?.noteChange()
    },
    wrapStore: options.seams?.store,
    ...(cacheDirectory === undefined ? {} : { cacheDirectory }),
    ...(cacheBytes === undefined ? {} : { cacheBytes }),
  })
  let state: StateFolder | undefined
  try {
    await lake.table.lookBack()
    const besideTable = lake.table.store.localPath('_posixlake')
    state = openState({ besideTable, location: lake.location, log, onLocked, onUnlock })
    sql = openSql(lake, { folder: join(state.directory, 'sql'), limits: options.sqlLimits, log })
    const database = options.seams?.database?.(state.database) ?? state.database
    const parts = await serveLake(lake, { ...state, database }, sql, options)
    served = parts
    return serverOf(parts)
  } catch (error) {
    state?.close()
    await lake.close()
    throw error
  }
}

async function serveLake(lake: Lake, state: StateFolder, sql: SqlService, options: ServeOptions): Promise<Parts> {
  const { log } = options
  const refusals = new RefusalLog(log, lake.clock)
  const errorsPath = join(state.directory, 'errors.log')
  const errors = new ErrorJournal({ path: errorsPath, clock: lake.clock, onAppend: text => refusals.save(text) })
  const { cache, pool, table } = lake
  const segments = new Segments({ cache, pool, store: table.store, report: text => errors.append(text) })
  let endpoints: Endpoints | undefined
  const ports = (): number[] => endpoints?.all.map(({ port }) => port) ?? []
  const openers = options.openers ?? new ProcOpeners({ ports })
  const tree = treeOf(lake, state, segments, errors, sql, { ...options, openers })
  const recovery = new Recovery(sql, tree)
  await recovery.before(options)
  const exports = new Exports({ secret: state.secret, uids: new Set([ownerOf().uid]), plain: exportOf(options, false) })
  exports.open(exportOf(options, true))
  const fileSystem = new ExportedFileSystem(tree.fileSystem, (call, error) => refusals.call(call, error))
  const onDisconnect = (): void => options.onDisconnect?.()
  endpoints = new Endpoints(fileSystem, { secret: state.secret, exports, log, onDisconnect })
  const listening = await endpoints.listen(options).catch(error => {
    tree.close()
    throw error
  })
  const health = new Health({ clock: lake.clock, log, look: tableLook(lake, () => recovery.hasBegun) })
  const { compaction } = options
  const compactor = compaction && compactorOf(lake, sql, tree, recovery, { ...options, compaction })
  return { lake, state, sql, segments, tree, recovery, exports, endpoints, listening, health, compactor, options }
}

function compactorOf(
  { table, clock }: Lake,
  sql: SqlService,
  tree: LakeTree,
  recovery: Recovery,
  { compaction, log }: Pick<ServeOptions, 'compaction' | 'log'>,
): Compactor {
  return new Compactor({
    table,
    clock,
    ...(compaction === undefined ? {} : { options: compaction }),
    mayWrite: () => recovery.hasBegun,
    isQuiet: () => tree.isQuiet && !sql.isChanging,
    goOn: () => tree.goOn(),
    log,
  })
}

/** The parts of a server, which listens already. */
interface Parts {
  readonly lake: Lake
  readonly state: StateFolder
  readonly sql: SqlService
  readonly segments: Segments
  readonly tree: LakeTree
  readonly recovery: Recovery
  readonly exports: Exports
  readonly endpoints: Endpoints
  readonly listening: Endpoint
  readonly health: Health
  readonly compactor: Compactor | undefined
  readonly options: ServeOptions
}

function serverOf(parts: Parts): TableServer {
  const { lake, state, sql, segments, tree, recovery, exports, endpoints, health, compactor, options } = parts
  const { host, port } = parts.listening
  return {
    lake,
    host,
    port,
    endpoints,
    exportPath: exports.pathOf(exportOf(options, true)),
    plainPath: exports.pathOf(exportOf(options, false)),
    stateDirectory: state.directory,
    health,
    pathOf: rights => exports.pathOf(exportOf(rights, true)),
    openExport: async rights => {
      await recovery.before(rights)
      exports.open(exportOf(rights, true))
    },
    closeExport: rights => {
      if (rights.readOnly !== options.readOnly || rights.allowOther !== options.allowOther)
        exports.close(exportOf(rights, true))
    },
    held: () => tree.held(),
    compaction: () => compactor?.status,
    measuring: () => segments.measuring,
    look: async () => void (await lake.table.refresh()),
    settle: () => tree.settled(),
    warmUp: async () => {
      lake.pool.start()
      await openText(lake.table, await lake.table.refresh(), segments, csv)
    },
    endStatements: () => sql.end(),
    stop: () => stop(parts),
  }
}

async function stop({ lake, state, sql, tree, endpoints, health, compactor, options }: Parts): Promise<void> {
  health.stop()
  await compactor?.stop()
  // Calls that wait for a statement are answered now, and not held against the others.
  await sql.end()
  await endpoints.close(CLOSE_GRACE_MS)
  await sql.close()
  const finished = await withinMs(
    FINISH_LIMIT_MS,
    tree.finish().then(() => true),
  )
  if (finished === undefined)
    options.log('a save that is held is not at its end; it is kept for the next server of the table')
  tree.close()
  await lake.close()
  state.close()
}

/** Brings what an earlier server held to its end, once, when this one may write. */
class Recovery {
  readonly #sql: SqlService
  readonly #tree: LakeTree
  #recovered: Promise<void> | undefined

  constructor(sql: SqlService, tree: LakeTree) {
    this.#sql = sql
    this.#tree = tree
  }

  get hasBegun(): boolean {
    return this.#recovered !== undefined
  }

  /** Resolves when an export with these rights may be opened. */
  async before({ readOnly }: Rights): Promise<void> {
    if (!readOnly) this.#recovered ??= this.#sql.recover().then(() => this.#tree.recover())
    await this.#recovered
  }
}

function treeOf(
  lake: Lake,
  { files, directory, database }: StateFolder,
  segments: Segments,
  errors: ErrorJournal,
  sql: SqlService,
  { log, holdTimes, openers, seams }: ServeOptions & { readonly openers: Openers },
): LakeTree {
  const { clock } = lake
  const owner = ownerOf()
  return new LakeTree({
    table: lake.table,
    segments,
    cache: lake.cache,
    filesDirectory: files,
    database,
    errors,
    stateDirectory: directory,
    runSql: (statement, how) => sql.run(statement, how),
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
