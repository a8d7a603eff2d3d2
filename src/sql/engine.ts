import { randomUUID } from 'node:crypto'
import type { DuckDBResult } from '@duckdb/node-api'
import type { Batch, Schema } from '../columns/types.ts'
import { TableError } from '../table/errors.ts'
import { writeDataFiles } from '../table/operations/write.ts'
import type { Snapshot } from '../table/snapshot.ts'
import type { ChangeSet, Committed, Table } from '../table/table.ts'
import { fromDuckDb, MISSING_TABLE, readOnlyTable, SqlError, TABLE_NAME, undecided, withoutPlace } from './errors.ts'
import { fetching } from './files.ts'
import { type Base, merge, SOURCE } from './merge.ts'
import { duckDb } from './native.ts'
import { checked, defaultOf, NEW_ROWS, newValues, numbered, placesOf } from './new-rows.ts'
import { Places } from './places.ts'
import { HandedRows, RefusedFiles } from './refused-files.ts'
import { mayMention, type Relation } from './relation.ts'
import type { RemoteFiles } from './remote-files.ts'
import { neededFor } from './scans.ts'
import { batchesOf, PLACE_SCHEMA, type RunOptions, Session, type SessionData, streamed } from './session.ts'
import { hasReturning, parseStatement, type Span, type Statement } from './statement.ts'
import { nameOf, splitStatements, tokenize } from './tokens.ts'
import { duckTypeOf, quoteName, resultSchema } from './types.ts'
import { changesOf, type FoundCommit, findCommit, takeBack } from './written.ts'

/** A statement that another writer got in the way of is run again, on the table as it is then. */
const ATTEMPTS_MAX = 10
/** Statements that the engine knows and a table has no use for. What is neither here nor known gets the engine's own words. */
const REFUSED = [
  ...[
    'alter',
    'analyze',
    'attach',
    'begin',
    'call',
    'checkpoint',
    'comment',
    'commit',
    'copy',
    'create',
    'deallocate',
    'detach',
    'drop',
  ],
  ...[
    'execute',
    'export',
    'import',
    'install',
    'load',
    'pragma',
    'prepare',
    'reset',
    'rollback',
    'set',
    'use',
    'vacuum',
  ],
]

export { csvOf } from './format.ts'
export type { RunOptions } from './session.ts'

/** A table, or how to open it: a statement that is not about the table does not wait for that. */
export type TableSource = Table | (() => Promise<Table>)

/** The rows of a query, as they come. */
export interface SqlResult {
  readonly schema: Schema
  /** To be gone through once; ends the query when it ends or is left. Rejects with SqlError. */
  batches(): AsyncIterable<Batch>
  close(): void
}

/** What a statement did. `version` is undefined if it changed nothing, and so made no commit. */
export type Outcome =
  | { readonly kind: 'rows'; readonly result: SqlResult }
  | {
      readonly kind: 'changed'
      readonly version: bigint | undefined
      readonly inserted: number
      readonly updated: number
      readonly deleted: number
    }

/** Runs a query on a snapshot, known to it as `data`. Rejects with SqlError: the engine's sentence. */
export async function query(
  table: Table,
  snapshot: Snapshot,
  sql: string,
  options: RunOptions = {},
): Promise<SqlResult> {
  const statement = await theStatement(sql)
  if (statement.kind !== 'query') {
    throw new SqlError(
      'unsupported',
      'only the newest version of a table can be changed, and this looks at an older one',
    )
  }
  return runQuery(async () => ({ table, snapshot }), statement, options)
}

/**
 * Runs one statement on the newest version: a query, or an INSERT, UPDATE, DELETE, MERGE or TRUNCATE, which is one commit.
 * Rejects with SqlError or TableError, and then nothing has changed.
 */
export async function execute(source: TableSource, sql: string, options: RunOptions = {}): Promise<Outcome> {
  const statement = await theStatement(sql)
  const open = typeof source === 'function' ? source : async () => source
  if (statement.kind === 'query') {
    const newest = async (): Promise<SessionData> => {
      const table = await open()
      return { table, snapshot: await table.refresh() }
    }
    return { kind: 'rows', result: await runQuery(newest, statement, options) }
  }
  if (options.readOnly === true) throw readOnlyTable(statement.kind)
  if (hasReturning(sql))
    throw new SqlError('unsupported', 'RETURNING is not supported; run a SELECT behind the statement')
  return changeNewest(await open(), statement, options)
}

/** Runs a change on the newest version, again if another writer got in its way, and finds out what became of its commit. */
async function changeNewest(table: Table, statement: ChangingStatement, options: RunOptions): Promise<Outcome> {
  const txnId = options.txnId ?? randomUUID()
  const { written = [] } = options
  const refused = new RefusedFiles(table, options.log)
  for (let attempt = 1; ; attempt++) {
    const snapshot = await table.refresh()
    let begun = false
    const commit = (set: ChangeSet): Promise<Committed> => {
      options.signal?.throwIfAborted()
      begun = true
      return table.commit({ ...set, txnId })
    }
    try {
      const run = (): Promise<Outcome> => change({ table, snapshot, commit }, statement, options, refused)
      const outcome = await refused.retried(snapshot, run)
      // What is in the table is not to be taken back.
      written.splice(0)
      return outcome
    } catch (error) {
      const isConflict = error instanceof TableError && error.code === 'conflict'
      const found = begun && !isConflict ? await foundOut(table, txnId, snapshot.version, error) : undefined
      await takeBack(table, written.splice(0), found)
      if (found !== undefined) return { kind: 'changed', version: found.version, ...changesOf(found) }
      if (!isConflict || attempt === ATTEMPTS_MAX) throw error
    }
  }
}

/** The commit whose making failed, if it is in the log all the same: what fails behind it (an fsync) undoes nothing. */
async function foundOut(table: Table, txnId: string, base: bigint, why: unknown): Promise<FoundCommit | undefined> {
  try {
    return await findCommit(table, txnId, base)
  } catch (error) {
    throw undecided(why, error)
  }
}

async function theStatement(sql: string): Promise<Statement> {
  const statements = splitStatements(sql)
  const [only] = statements
  if (only === undefined) throw new SqlError('invalid_sql', 'there is no SQL statement')
  if (statements.length > 1) {
    throw new SqlError(
      'unsupported',
      `one statement at a time: this has ${statements.length}, and each would be a commit of its own`,
    )
  }
  const statement = parseStatement(only)
  // The clauses of a statement that changes rows are taken apart here, so that the engine has not seen it as a whole.
  if (statement?.kind !== 'query') await checkSyntax(only)
  if (statement === undefined) throw new SqlError('invalid_sql', `this statement is not understood: ${only}`)
  if (statement.kind === 'query' && REFUSED.includes(statement.verb)) {
    throw new SqlError(
      'unsupported',
      `${statement.verb.toUpperCase()} is not supported here; a statement is a query, INSERT, UPDATE, DELETE, MERGE or TRUNCATE, and the table is called ${TABLE_NAME}`,
    )
  }
  return statement
}

/** Rejects with the engine's sentence, the place marked, if a statement is not SQL. */
async function checkSyntax(sql: string): Promise<void> {
  const { DuckDBInstance } = await duckDb()
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  try {
    const connection = await instance.connect()
    await connection.extractStatements(sql)
  } catch (error) {
    throw fromDuckDb(error)
  } finally {
    instance.closeSync()
  }
}

async function runQuery(data: () => Promise<SessionData>, { sql }: Statement, options: RunOptions): Promise<SqlResult> {
  return withTableIfNeeded(sql, async needed => {
    if (needed) return runOnTable(await data(), sql, options)
    const running = await begun(undefined, sql, options)
    return { schema: running.schema, batches: () => chunks(running), close: () => running.session.close() }
  })
}

async function runOnTable(data: SessionData, sql: string, options: RunOptions): Promise<SqlResult> {
  const { table, snapshot } = data
  const refused = new RefusedFiles(table, options.log)
  const begin = (): Promise<Running> => refused.retried(snapshot, () => begun(data, sql, options, refused))
  const first = await begin()
  const { schema } = first
  let current = first
  const batches = async function* (): AsyncGenerator<Batch> {
    const handed = new HandedRows()
    for (;;) {
      try {
        for await (const batch of chunks(current)) yield* handed.next(batch)
        handed.finish()
        return
      } catch (error) {
        if (!refused.note(error, snapshot)) throw error
      }
      current = await begin()
      handed.again()
    }
  }
  return { schema, batches, close: () => current.session.close() }
}

/** A query whose rows are to be fetched. */
interface Running {
  readonly session: Session
  readonly sql: string
  readonly result: DuckDBResult
  readonly schema: Schema
}

async function begun(
  data: SessionData | undefined,
  sql: string,
  options: RunOptions,
  refused?: RefusedFiles,
): Promise<Running> {
  let remote: RemoteFiles | undefined
  const later = (files: RemoteFiles): void => {
    remote = files
  }
  const session = await Session.open(data, options, refused, refused?.wantsAll === false ? later : undefined)
  try {
    if (data !== undefined && remote !== undefined) await fetchNeeded(remote, session, sql, data, options)
    const result = await session.connection.stream(sql)
    return { session, sql, result, schema: resultSchema(session.duck, result.columnNames(), result.columnTypes()) }
  } catch (error) {
    session.close()
    throw fromDuckDb(error)
  }
}

/** Fetches what a query seems to need of files that are elsewhere. */
function fetchNeeded(
  remote: RemoteFiles,
  session: Session,
  sql: string,
  { table, snapshot }: SessionData,
  { signal }: RunOptions,
): Promise<void> {
  return fetching(table.store.location, signal, async () => {
    const { columns, isNeeded } = await neededFor(session.connection, sql, snapshot.schema)
    await remote.fetch(columns, isNeeded)
  })
}

/** Runs something with the table if `sql` may be about it, else without; with it after all if the engine asks for it. */
async function withTableIfNeeded<T>(sql: string, run: (needed: boolean) => Promise<T>): Promise<T> {
  if (mayMention(sql)) return run(true)
  try {
    return await run(false)
  } catch (error) {
    if (error instanceof SqlError && error.message.startsWith(MISSING_TABLE)) return run(true)
    throw error
  }
}

async function* chunks({ session, sql, result, schema }: Running): AsyncGenerator<Batch> {
  try {
    yield* batchesOf(session, sql, result, schema)
  } catch (error) {
    throw fromDuckDb(error)
  } finally {
    session.close()
  }
}

// --- statements that change the table --------------------------------------------------------------------------------

type ChangingStatement = Exclude<Statement, { kind: 'query' }>

async function change(
  base: Base,
  statement: ChangingStatement,
  options: RunOptions,
  refused: RefusedFiles,
): Promise<Outcome> {
  const { snapshot } = base
  checkTarget(statement.sql, statement.target)
  if (statement.kind === 'truncate') return truncate(base)
  if (snapshot.schema.length === 0) {
    throw new SqlError(
      'unsupported',
      'the table has no columns yet; the first save of data/data.csv with a header line gives them',
    )
  }
  // What an INSERT adds need not follow from the table.
  return withTableIfNeeded(statement.kind === 'insert' ? besideTarget(statement) : TABLE_NAME, async needed => {
    const session = await Session.open(needed ? base : undefined, options, refused)
    try {
      return await changeIn(session, base, statement)
    } catch (error) {
      if (error instanceof TableError || error instanceof SqlError) throw error
      throw isFromEngine(error) ? asOfStatement(fromDuckDb(error)) : error
    } finally {
      session.close()
    }
  })
}

function besideTarget({ sql, target }: { sql: string; target: Span }): string {
  return sql.slice(0, target.start) + sql.slice(target.end)
}

async function changeIn(
  session: Session,
  base: Base,
  statement: Exclude<ChangingStatement, { kind: 'truncate' }>,
): Promise<Outcome> {
  switch (statement.kind) {
    case 'insert':
      return insert(session, base, statement)
    case 'delete':
      return remove(session, base, statement)
    case 'merge':
      return { kind: 'changed', ...(await merge(session, base, statement)) }
    case 'update':
      return update(session, base, statement)
  }
}

/** What the engine says of the SQL that a statement was made into, as of the statement itself. */
function asOfStatement(error: SqlError): SqlError {
  const { code, message, cause } = withoutPlace(error)
  const sentence = message.replaceAll(NEW_ROWS, TABLE_NAME).replaceAll(SOURCE, 'source')
  return new SqlError(code, sentence, { cause })
}

function isFromEngine(error: unknown): boolean {
  return error instanceof Error && !('code' in error)
}

async function truncate({ snapshot, commit }: Base): Promise<Outcome> {
  let deleted = 0
  for (const file of snapshot.files) deleted += (file.rows ?? 0) - (file.vector?.cardinality ?? 0)
  if (snapshot.files.length === 0) return unchanged
  const { version } = await commit({
    base: snapshot,
    operation: 'TRUNCATE',
    metrics: { numDeletedRows: String(deleted) },
    add: [],
    delete: [],
    removeFiles: snapshot.files,
  })
  return { kind: 'changed', version, inserted: 0, updated: 0, deleted }
}

const unchanged: Outcome = { kind: 'changed', version: undefined, inserted: 0, updated: 0, deleted: 0 }

async function insert(
  session: Session,
  { table, snapshot, commit }: Base,
  { sql, target }: Extract<Statement, { kind: 'insert' }>,
): Promise<Outcome> {
  const columns = snapshot.schema.map(
    field =>
      `${quoteName(field.name)} ${duckTypeOf(field.type)} DEFAULT (${defaultOf(field)})${field.nullable ? '' : ' NOT NULL'}`,
  )
  await session.connection.run(`CREATE TEMP TABLE ${NEW_ROWS} (${columns.join(', ')})`)
  await session.connection.run(sql.slice(0, target.start) + NEW_ROWS + sql.slice(target.end))
  let inserted = 0
  const rows = async function* (): AsyncGenerator<Batch> {
    for await (const batch of streamed(session, `SELECT * FROM ${NEW_ROWS}`, snapshot.schema)) {
      inserted += batch.rows
      yield batch
    }
  }
  const add = await writeDataFiles(table, rows())
  if (inserted === 0) return unchanged
  const { version } = await commit({
    base: snapshot,
    operation: 'WRITE',
    parameters: { mode: 'Append', partitionBy: JSON.stringify(snapshot.partitionColumns) },
    metrics: { numFiles: String(add.length), numOutputRows: String(inserted) },
    add,
    delete: [],
  })
  return { kind: 'changed', version, inserted, updated: 0, deleted: 0 }
}

/** A statement may only change the table that is there. */
function checkTarget(sql: string, { start, end }: { start: number; end: number }): void {
  const [first, ...more] = tokenize(sql.slice(start, end))
  const name = first === undefined ? '' : nameOf(first)
  if (more.length > 0 || name.toLowerCase() !== TABLE_NAME) {
    throw new SqlError('invalid_sql', `there is no table ${sql.slice(start, end)}; the table is called ${TABLE_NAME}`)
  }
}

async function remove(
  session: Session,
  { snapshot, commit }: Base,
  statement: Extract<Statement, { kind: 'delete' }>,
): Promise<Outcome> {
  const { relation } = session
  const places = placesOf(relation, statement.alias)
  const from = sourceOf(relation, statement)
  const sql = `${statement.prefix} SELECT DISTINCT ${places.file}, ${places.row} FROM ${from} WHERE ${statement.condition ?? 'true'}`
  const found = new Places(relation.files)
  for await (const batch of streamed(session, sql, PLACE_SCHEMA)) found.add(batch)
  if (found.count === 0) return unchanged
  const { version } = await commit({
    base: snapshot,
    operation: 'DELETE',
    parameters: { predicate: JSON.stringify(statement.condition === undefined ? [] : [statement.condition]) },
    metrics: { numDeletedRows: String(found.count), numAddedFiles: '0' },
    add: [],
    delete: found.deletions(),
  })
  return { kind: 'changed', version, inserted: 0, updated: 0, deleted: found.count }
}

async function update(
  session: Session,
  { table, snapshot, commit }: Base,
  statement: Extract<Statement, { kind: 'update' }>,
): Promise<Outcome> {
  const { relation } = session
  const places = placesOf(relation, statement.alias)
  if (statement.assignments === undefined)
    throw new SqlError('unsupported', 'UPDATE takes SET column = expression, ...')
  const columns = newValues(snapshot.schema, statement.alias, statement.assignments)
  const sql = `${statement.prefix} SELECT DISTINCT ON (${places.file}, ${places.row}) ${columns.join(', ')}, ${places.file}, ${places.row}
    FROM ${sourceOf(relation, statement)} WHERE ${statement.condition ?? 'true'} ORDER BY ${places.file}, ${places.row}`
  const found = new Places(relation.files)
  const width = snapshot.schema.length
  // The places are needed in front of the rows (for the order hint), so the rows wait in the engine, which can spill.
  await session.connection.run(`CREATE TEMP TABLE ${NEW_ROWS} AS ${numbered(sql, width)}`)
  for await (const batch of streamed(session, `SELECT file, row FROM ${NEW_ROWS} ORDER BY file, row`, PLACE_SCHEMA))
    found.add(batch)
  if (found.count === 0) return unchanged
  const values = snapshot.schema.map((_, i) => `c${i}`).join(', ')
  const rows = streamed(session, `SELECT ${values} FROM ${NEW_ROWS} ORDER BY file, row`, snapshot.schema)
  const order = await found.orderHint(table.store)
  const add = await writeDataFiles(table, checked(rows, snapshot.schema), { order })
  const { version } = await commit({
    base: snapshot,
    operation: 'UPDATE',
    parameters: { predicate: JSON.stringify(statement.condition === undefined ? [] : [statement.condition]) },
    metrics: { numUpdatedRows: String(found.count), numAddedFiles: String(add.length) },
    add,
    delete: found.deletions(),
  } satisfies ChangeSet)
  return { kind: 'changed', version, inserted: 0, updated: found.count, deleted: 0 }
}

function sourceOf(relation: Relation, { alias, sources }: { alias: string; sources: string | undefined }): string {
  return `(${relation.withPlaces}) AS ${alias}${sources === undefined ? '' : `, ${sources}`}`
}
