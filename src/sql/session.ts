import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { DuckDBConnection, DuckDBInstance, DuckDBResult } from '@duckdb/node-api'
import type { Batch, Schema } from '../columns/types.ts'
import { errnoOf } from '../core/errors.ts'
import type { Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { batchOfChunk } from './convert.ts'
import { fromDuckDb, SqlError, withoutPlace } from './errors.ts'
import { pathsForEngine } from './files.ts'
import { type DuckDb, duckDb, engineCacheDirectory } from './native.ts'
import { RefusedFiles } from './refused-files.ts'
import { defineData, type Relation } from './relation.ts'
import { duckTypeOf, quoteText } from './types.ts'

/** What the engine may keep in memory; beyond it, it spills to the cache folder. */
const MEMORY_LIMIT = '256MB'
const INTERNAL_SCHEMA = 'posixlake_internal'

export interface RunOptions {
  /** Ends a statement that has not begun to commit, as if it had failed. */
  readonly signal?: AbortSignal
  /** Hears of what is not read as it is. */
  readonly log?: (sentence: string) => void
}

/** An engine with one table in it, for one statement. */
export class Session {
  readonly duck: DuckDb
  readonly connection: DuckDBConnection
  readonly relation: Relation
  readonly #instance: DuckDBInstance
  readonly #spill: string
  readonly #signal: AbortSignal | undefined
  readonly #interrupt = (): void => this.connection.interrupt()

  private constructor(
    duck: DuckDb,
    instance: DuckDBInstance,
    connection: DuckDBConnection,
    relation: Relation,
    spill: string,
    { signal }: RunOptions,
  ) {
    this.duck = duck
    this.#instance = instance
    this.connection = connection
    this.relation = relation
    this.#spill = spill
    this.#signal = signal
    signal?.addEventListener('abort', this.#interrupt)
  }

  /** `refused`: files that the engine cannot read as they are. */
  static async open(
    table: Table,
    snapshot: Snapshot,
    options: RunOptions,
    refused: RefusedFiles = new RefusedFiles(table),
  ): Promise<Session> {
    const duck = await duckDb()
    const spill = spillFolder()
    const { signal } = options
    const isRefused = refused.has.bind(refused)
    const pathOf = await pathsForEngine(table, snapshot, join(spill, 'copies'), { isRefused, signal }).catch(
      (error: unknown) => {
        rmSync(spill, { recursive: true, force: true })
        throw error
      },
    )
    const instance = await duck.DuckDBInstance.create(':memory:', {
      memory_limit: MEMORY_LIMIT,
      temp_directory: spill,
      threads: String(availableParallelism()),
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
    })
    try {
      const connection = await instance.connect()
      await connection.run("SET TimeZone = 'UTC'")
      await connection.run(`CREATE SCHEMA ${INTERNAL_SCHEMA}`)
      const relation = await defineData(connection, table, snapshot, INTERNAL_SCHEMA, pathOf)
      // A statement reads this table and nothing else of the machine.
      const paths = snapshot.files.map(file => quoteText(pathOf(file)))
      await connection.run(`SET allowed_paths = [${paths.join(', ')}]`)
      await connection.run('SET enable_external_access = false')
      await connection.run('SET lock_configuration = true')
      return new Session(duck, instance, connection, relation, spill, options)
    } catch (error) {
      instance.closeSync()
      rmSync(spill, { recursive: true, force: true })
      // The SQL up to here is ours.
      throw withoutPlace(fromDuckDb(error))
    }
  }

  checkSignal(): void {
    this.#signal?.throwIfAborted()
  }

  close(): void {
    this.#signal?.removeEventListener('abort', this.#interrupt)
    this.connection.closeSync()
    this.#instance.closeSync()
    rmSync(this.#spill, { recursive: true, force: true })
  }
}

/**
 * A folder for what a session's engine spills, which makes it when it needs it. Each session has one of its own: the engine
 * gives its files the same names in every process. Those of processes that were killed are taken away.
 */
function spillFolder(): string {
  const parent = join(engineCacheDirectory(), 'spill')
  mkdirSync(parent, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(parent)) {
    if (!isAlive(Number.parseInt(name, 10))) rmSync(join(parent, name), { recursive: true, force: true })
  }
  return join(parent, `${process.pid}-${randomUUID()}`)
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return errnoOf(error) === 'EPERM'
  }
}

/** Where rows of the table are: the number of the file, the physical row. */
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
  yield* batchesOf(session, statement, await session.connection.stream(statement), schema)
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
