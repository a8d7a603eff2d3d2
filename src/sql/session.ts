import { statfsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import type { DuckDBConnection, DuckDBInstance, DuckDBResult } from '@duckdb/node-api'
import type { Batch, Schema } from '../columns/types.ts'
import { LakeError } from '../core/errors.ts'
import { spillFolder } from '../core/spill-folder.ts'
import { takeAway } from '../core/take-away.ts'
import type { AppVersion } from '../table/commit/app-versions.ts'
import { filesFor, rowGroupsFor } from '../table/file-pruning.ts'
import { ANY } from '../table/row-filter.ts'
import type { Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { batchOfChunk } from './convert.ts'
import { fromDuckDb, SqlError, TABLE_NAME, withoutPlace } from './errors.ts'
import { engineFiles, fetching } from './files.ts'
import { type DuckDb, duckDb } from './native.ts'
import { filterOf, wantedOf } from './predicate.ts'
import { RefusedFiles } from './refused-files.ts'
import { defineCount, defineData, type Relation, redefineDeleted } from './relation.ts'
import type { RemoteFiles } from './remote-files.ts'
import { columnsRead } from './scans.ts'
import { defineChanges } from './table-changes.ts'
import { duckTypeOf, quoteName } from './types.ts'
import type { NamedChanges, OlderVersion } from './versions.ts'
import type { WrittenFile } from './written.ts'

/** The memory of the engine if nothing else is said; beyond it, it spills. */
const MEMORY_BYTES = 256e6
/** Of the disk's free space, what the engine may spill into: saves need room, too. */
const SPILL_SHARE = 0.5
const INTERNAL_SCHEMA = 'posixlake_internal'

export interface RunOptions {
  /** Ends a statement that has not begun to commit, as if it had failed. */
  readonly signal?: AbortSignal
  /** Hears of what is not read as it is. */
  readonly log?: (sentence: string) => void
  /** The memory of the engine. */
  readonly memoryBytes?: number
  /** An empty folder for what does not fit into memory; by default one in the cache folder, which goes at the end. */
  readonly spillFolder?: string
  /** Refuse statements that change the table. */
  readonly readOnly?: boolean
  /** Becomes the `txnId` of the commit, if there is one. */
  readonly txnId?: string
  /** Makes a change once for each version of an application: nothing is done if the table has it. */
  readonly app?: AppVersion | undefined
  /** The files that the table's store has made since the statement began, if that is kept; emptied when it is over. */
  readonly written?: WrittenFile[]
}

/** The rows that a session shows. */
export interface SessionData {
  readonly table: Table
  readonly snapshot: Snapshot
  /** A query whose syntax tells which rows are needed; all, if not given. */
  readonly wanted?: string
  /** Older versions that are there, too. */
  readonly versions?: readonly OlderVersion[]
  /** Changes of versions that are there, too. */
  readonly changes?: readonly NamedChanges[]
}

/** An engine for one statement, with one table in it, if the statement is about one. */
export class Session {
  readonly duck: DuckDb
  readonly connection: DuckDBConnection
  readonly #opened: OpenedTable | undefined
  readonly #instance: DuckDBInstance
  readonly #spill: string
  readonly #signal: AbortSignal | undefined
  #isClosed = false
  readonly #interrupt = (): void => this.connection.interrupt()

  private constructor(
    duck: DuckDb,
    instance: DuckDBInstance,
    connection: DuckDBConnection,
    opened: OpenedTable | undefined,
    spill: string,
    { signal }: RunOptions,
  ) {
    this.duck = duck
    this.#instance = instance
    this.connection = connection
    this.#opened = opened
    this.#spill = spill
    this.#signal = signal
    signal?.addEventListener('abort', this.#interrupt)
  }

  /** SqlError, TableError. Without `data` the engine has no table. `refused`: files that it cannot read as they are. */
  static async open(data: SessionData | undefined, options: RunOptions, refused?: RefusedFiles): Promise<Session> {
    const duck = await duckDb()
    // The engine gives its files the same names in every process.
    const spill = options.spillFolder ?? spillFolder()
    const instance = await duck.DuckDBInstance.create(':memory:', {
      memory_limit: `${options.memoryBytes ?? MEMORY_BYTES}B`,
      temp_directory: spill,
      max_temp_directory_size: `${spillBytesMax(spill)}B`,
      threads: String(availableParallelism()),
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      // The system keeps what was read of files; a second copy would only take memory from the statement.
      enable_external_file_cache: 'false',
    })
    try {
      const connection = await instance.connect()
      await connection.run("SET TimeZone = 'UTC'")
      await connection.run(`CREATE SCHEMA ${INTERNAL_SCHEMA}`)
      const opened = data && (await relationOf(connection, spill, data, options, refused))
      if (data !== undefined) await defineVersions(connection, spill, data, options, refused)
      for (const named of data?.changes ?? [])
        await defineChanges(connection, data!.table, named, { folder: join(spill, 'changes'), signal: options.signal })
      // A statement reads this table and nothing else of the machine.
      await connection.run('SET enable_external_access = false')
      await connection.run('SET lock_configuration = true')
      return new Session(duck, instance, connection, opened, spill, options)
    } catch (error) {
      instance.closeSync()
      takeAway(spill)
      // The SQL up to here is ours.
      throw error instanceof LakeError ? error : withoutPlace(fromDuckDb(error))
    }
  }

  /** The table's rows. */
  get relation(): Relation {
    if (this.#opened === undefined) throw new Error('the session was opened without a table')
    return this.#opened.relation
  }

  /** Runs a statement of any kind, to its end. */
  async run(sql: string): Promise<DuckDBResult> {
    await this.#fetchFor(sql)
    return this.connection.run(sql)
  }

  /** Begins a query whose rows come when they are asked for. */
  async stream(sql: string): Promise<DuckDBResult> {
    await this.#fetchFor(sql)
    return this.connection.stream(sql)
  }

  /** All rows of a query. */
  async rows(sql: string): Promise<readonly (readonly unknown[])[]> {
    await this.#fetchFor(sql)
    return (await this.connection.runAndReadAll(sql)).getRows()
  }

  /** Fetches the columns that a statement reads of files that are elsewhere. */
  async #fetchFor(sql: string): Promise<void> {
    const remote = this.#opened?.remote
    if (remote === undefined) return
    await fetching(remote.location, this.#signal, async () => remote.fetch(await columnsRead(this.connection, sql)))
  }

  /** From now on, of files that are elsewhere there are only row groups that can have rows under a condition on the table's columns. */
  async narrow(condition: string): Promise<void> {
    if (this.#opened?.remote === undefined) return
    const { table, shown, remote, relation } = this.#opened
    const filter = await filterOf(this.connection, `FROM ${TABLE_NAME} WHERE ${condition}`)
    await fetching(remote.location, this.#signal, () =>
      remote.narrow(opened => rowGroupsFor(shown, opened.file, opened, filter)),
    )
    await redefineDeleted(this.connection, table, relation, INTERNAL_SCHEMA)
  }

  checkSignal(): void {
    this.#signal?.throwIfAborted()
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#signal?.removeEventListener('abort', this.#interrupt)
    this.connection.closeSync()
    this.#instance.closeSync()
    takeAway(this.#spill)
  }
}

/** In bytes. */
function spillBytesMax(folder: string): number {
  const { bavail, bsize } = statfsSync(dirname(folder))
  return Math.trunc(bavail * bsize * SPILL_SHARE)
}

interface OpenedTable {
  readonly table: Table
  readonly relation: Relation
  readonly shown: Snapshot
  /** Its files that are elsewhere. */
  readonly remote: RemoteFiles | undefined
}

/** Makes the table known to the engine, without the files that have none of the rows that are wanted. */
async function relationOf(
  connection: DuckDBConnection,
  spill: string,
  { table, snapshot, wanted }: SessionData,
  { signal, log }: RunOptions,
  refused = new RefusedFiles(table, log),
): Promise<OpenedTable> {
  const [first] = snapshot.files
  const isOneHere = snapshot.files.length === 1 && table.store.localPath(first!.path) !== undefined
  const isAsked = wanted !== undefined && first !== undefined && !isOneHere
  const { filter, isCount } = isAsked ? await wantedOf(connection, wanted) : { filter: ANY, isCount: false }
  const rows = isCount ? snapshot.live.rows : undefined
  if (rows !== undefined)
    return { table, relation: await defineCount(connection, rows), shown: snapshot, remote: undefined }
  const shown: Snapshot = { ...snapshot, files: filesFor(snapshot, filter) }
  const isRefused = refused.has.bind(refused)
  const { parts, remote } = await engineFiles(table, shown, join(spill, 'copies'), { isRefused, filter, signal })
  const relation = await defineData(connection, table, shown, INTERNAL_SCHEMA, parts)
  if (remote === undefined || !refused.wantsAll) return { table, relation, shown, remote }
  await fetching(remote.location, signal, () => remote.fetch())
  return { table, relation, shown, remote: undefined }
}

/** Makes the older versions known that a query names. Of those that are elsewhere all columns are fetched. */
async function defineVersions(
  connection: DuckDBConnection,
  spill: string,
  { table, versions = [] }: SessionData,
  { signal, log }: RunOptions,
  refused = new RefusedFiles(table, log),
): Promise<void> {
  for (const { schema, of } of versions) {
    const snapshot = await of(table)
    const isRefused = refused.has.bind(refused)
    const { parts, remote } = await engineFiles(table, snapshot, join(spill, schema), { isRefused, signal })
    if (remote !== undefined) await fetching(remote.location, signal, () => remote.fetch())
    await connection.run(`CREATE SCHEMA ${quoteName(schema)}`)
    const view = `VIEW ${quoteName(schema)}.${TABLE_NAME}`
    await defineData(connection, table, snapshot, schema, parts, view)
  }
}

/** The columns of a row's place in the table: the number of the file, the physical row. */
export const PLACE_SCHEMA: Schema = ['file', 'row'].map(name => ({
  name,
  type: { kind: 'long' as const },
  nullable: false,
  metadata: {},
}))

/** The rows of a statement of ours, in the types of `schema`. */
export async function* streamed(session: Session, sql: string, schema: Schema): AsyncGenerator<Batch> {
  const columns = schema.map(({ type }, i) => `CAST(x.c${i} AS ${duckTypeOf(type)})`)
  const names = schema.map((_, i) => `c${i}`)
  const statement = `SELECT ${columns.join(', ')} FROM (${sql}) AS x (${names.join(', ')})`
  yield* batchesOf(session, statement, await session.stream(statement), schema)
}

/**
 * The rows of a streamed result. An error behind its first rows ends it as if there were no more: the API tells it by the
 * type of the result alone, so the statement is run once more, without keeping its rows, for the sentence.
 */
export async function* batchesOf(
  session: Session,
  sql: string,
  result: DuckDBResult,
  schema: Schema,
): AsyncGenerator<Batch> {
  for (;;) {
    session.checkSignal()
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) break
    yield batchOfChunk(session.duck, chunk, schema)
  }
  if (result.returnType !== session.duck.ResultReturnType.INVALID) return
  session.checkSignal()
  await session.connection.run(`EXPLAIN ANALYZE ${sql}`)
  throw new SqlError(
    'failed',
    'the query failed before its last row, and did not when it was run again; run it once more',
  )
}
