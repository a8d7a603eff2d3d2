import type { DuckDBResult } from '@duckdb/node-api'
import type { Batch, Schema } from '../columns/types.ts'
import { isDone } from '../table/commit/app-versions.ts'
import { TableError } from '../table/errors.ts'
import { asMissingFile } from '../table/missing-files.ts'
import { appended } from '../table/operations/append.ts'
import { deleted } from '../table/operations/delete.ts'
import { truncate } from '../table/operations/truncate.ts'
import { updated } from '../table/operations/update.ts'
import { asWritten } from '../table/rules/rules.ts'
import type { Snapshot } from '../table/snapshot.ts'
import type { Table, Transaction } from '../table/table.ts'
import { alter } from './alter.ts'
import { type Base, type Changed, type Tried, triedOf, UNCHANGED } from './changing.ts'
import { fromDuckDb, MISSING_TABLE, readOnlyTable, SqlError, TABLE_NAME, undecided, withoutPlace } from './errors.ts'
import { merge } from './merge.ts'
import { duckDb } from './native.ts'
import { checked, defaultOf, NEW_ROWS, newValues, numbered, placesOf, SOURCE } from './new-rows.ts'
import { overwrite, wantedToReplace } from './overwrite.ts'
import { Places } from './places.ts'
import { HandedRows, RefusedFiles } from './refused-files.ts'
import { mayMention, type Relation } from './relation.ts'
import { countedAs, countOf } from './row-count.ts'
import { batchesOf, PLACE_SCHEMA, type RunOptions, Session, type SessionData, streamed } from './session.ts'
import { parseStatements, type Statement, type Target } from './statement.ts'
import { duckTypeOf, quoteName, resultSchema } from './types.ts'
import { takeVersions, type WithVersions } from './versions.ts'

/** A statement that another writer got in the way of is run again, on the table as it is then. */
const ATTEMPTS_MAX = 10
/** If all that others have is the numbers that new rows were to have: each writer in the way has its rows in the table. */
const NUMBERINGS_MAX = 100
/** Statements that the engine knows and a table has no use for. What is neither here nor known gets the engine's own words. */
const REFUSED = [
  ...[
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

/** The begin of the engine's sentence where it finds no file, or one that it cannot open. */
const FILE_FAILURE = /^IO Error\b/

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

/** The result of a statement. */
export type StatementResult = { readonly kind: 'rows'; readonly result: SqlResult } | Changed

/** Runs a query on a snapshot, known to it as `data`. Rejects with SqlError: the engine's sentence. */
export async function query(
  table: Table,
  snapshot: Snapshot,
  sql: string,
  options: RunOptions = {},
): Promise<SqlResult> {
  const taken = takeVersions(sql)
  const { statement } = await theStatement(taken.sql)
  if (statement.kind !== 'query') {
    throw new SqlError(
      'unsupported',
      'only the newest version of a table can be changed, and this looks at an older one',
    )
  }
  return runQuery(async () => ({ table, snapshot }), statement, taken, options)
}

/**
 * Runs one statement on the newest version: a query, or an INSERT (INTO, OVERWRITE, REPLACE WHERE), UPDATE, DELETE, MERGE or TRUNCATE, which is one commit.
 * Rejects with SqlError or TableError, and then nothing has changed.
 */
export async function execute(source: TableSource, sql: string, options: RunOptions = {}): Promise<StatementResult> {
  const taken = takeVersions(sql)
  const { statement, returning } = await theStatement(taken.sql)
  const open = typeof source === 'function' ? source : async () => source
  if (statement.kind === 'query') {
    const newest = async (): Promise<SessionData> => {
      const table = await open()
      return { table, snapshot: await table.recent() }
    }
    return { kind: 'rows', result: await runQuery(newest, statement, taken, options) }
  }
  if (options.readOnly === true) throw readOnlyTable(statement.kind)
  if (returning) throw new SqlError('unsupported', 'RETURNING is not supported; run a SELECT behind the statement')
  return changeNewest(await open(), statement, taken, options)
}

/** Runs a change on the newest version, again if another writer got in its way. */
async function changeNewest(
  table: Table,
  statement: ChangingStatement,
  named: NamedVersions,
  options: RunOptions,
): Promise<StatementResult> {
  const { txnId = crypto.randomUUID(), app, signal, written } = options
  const refused = new RefusedFiles(table, options.log)
  try {
    for (let attempt = 1; ; attempt++) {
      const snapshot = attempt === 1 ? await table.recent() : await table.refresh()
      if (app !== undefined && isDone(snapshot, app)) return { ...UNCHANGED, isDone: true }
      const tried = await refused.retried(snapshot, async () => {
        await using transaction = table.begin(snapshot, { txnId, app, signal })
        return await change({ table, transaction }, { statement, named }, options, refused)
      })
      if (tried.kind !== 'conflict') return tried
      if (attempt === (tried.isNumbering === true ? NUMBERINGS_MAX : ATTEMPTS_MAX)) throw tried.error
    }
  } catch (error) {
    if (error instanceof TableError && error.code === 'undecided') throw undecided(error, error.cause)
    throw error
  } finally {
    // The transactions have taken back what nobody needs.
    written?.splice(0)
  }
}

async function theStatement(text: string): Promise<{ statement: Statement; returning: boolean }> {
  const statements = parseStatements(text)
  const [only] = statements
  if (only === undefined) throw new SqlError('invalid_sql', 'there is no SQL statement')
  if (statements.length > 1) {
    throw new SqlError(
      'unsupported',
      `one statement at a time: this has ${statements.length}, and each would be a commit of its own`,
    )
  }
  const { sql, statement, returning } = only
  // The clauses of a statement that changes rows are taken apart here, so that the engine has not seen it as a whole.
  // Nor does it know our forms of ALTER TABLE.
  if (statement?.kind !== 'query' && !isAlter(sql)) await checkSyntax(statement?.sql ?? sql)
  if (statement === undefined && isAlter(sql)) throw new SqlError('unsupported', ALTER_FORMS)
  if (statement === undefined) throw new SqlError('invalid_sql', `this statement is not understood: ${sql}`)
  if (statement.kind === 'query' && REFUSED.includes(statement.verb)) {
    throw new SqlError(
      'unsupported',
      `${statement.verb.toUpperCase()} is not supported here; a statement is a query, INSERT, UPDATE, DELETE, MERGE or TRUNCATE, and the table is called ${TABLE_NAME}`,
    )
  }
  return { statement, returning }
}

function isAlter(sql: string): boolean {
  return /^alter\b/i.test(sql)
}

const ALTER_FORMS = `this ALTER is not supported; there are ALTER TABLE ${TABLE_NAME} ADD COLUMN name TYPE, RENAME COLUMN name TO other, DROP COLUMN name, ALTER COLUMN name TYPE type, ALTER COLUMN name SET NOT NULL (or DROP NOT NULL), SET TBLPROPERTIES ('name' = 'value'), UNSET TBLPROPERTIES ('name'), ADD CONSTRAINT name CHECK (condition) and DROP CONSTRAINT name`

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

async function runQuery(
  data: () => Promise<SessionData>,
  { sql }: Statement,
  named: NamedVersions,
  options: RunOptions,
): Promise<SqlResult> {
  const counted = namesAny(named) ? undefined : countedAs(sql)
  if (counted !== undefined) {
    const result = countOf((await data()).snapshot, counted)
    if (result !== undefined) return { ...result, close: () => undefined }
  }
  return withTableIfNeeded(namesAny(named) ? TABLE_NAME : sql, async needed => {
    if (needed) {
      // While the log is on its way, the engine is loaded.
      const [newest] = await Promise.all([data(), duckDb()])
      return runOnTable({ ...newest, ...named }, sql, options)
    }
    const running = await begun(undefined, sql, options)
    return { schema: running.schema, batches: () => chunks(running), close: () => running.session.close() }
  })
}

async function runOnTable(data: SessionData, sql: string, options: RunOptions): Promise<SqlResult> {
  const { table, snapshot } = data
  const refused = new RefusedFiles(table, options.log)
  const begin = (): Promise<Running> =>
    refused.retried(snapshot, () => begun(data, sql, options, refused)).catch(error => failed(data, error))
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
        if (!refused.note(error, snapshot)) await failed(data, error)
      }
      current = await begin()
      handed.again()
    }
  }
  return { schema, batches, close: () => current.session.close() }
}

/** Says what a query failed with: of a file that is gone, in words of the version. */
async function failed({ table, snapshot }: SessionData, error: unknown): Promise<never> {
  if (!(error instanceof SqlError) || !FILE_FAILURE.test(error.message)) throw error
  const named = await asMissingFile(table.store, snapshot, error)
  throw named instanceof TableError ? new SqlError('failed', named.message, { cause: error }) : error
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
  const session = await Session.open(data && { ...data, wanted: sql }, options, refused)
  try {
    const result = await session.stream(sql)
    return { session, sql, result, schema: resultSchema(session.duck, result.columnNames(), result.columnTypes()) }
  } catch (error) {
    session.close()
    throw fromDuckDb(error)
  }
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

/** Older versions and changes that a statement reads. */
type NamedVersions = Pick<WithVersions, 'versions' | 'changes'>

function namesAny({ versions, changes }: NamedVersions): boolean {
  return versions.length + changes.length > 0
}

type ChangingStatement = Exclude<Statement, { kind: 'query' }>
/** A statement about rows. */
type RowStatement = Exclude<ChangingStatement, { kind: 'truncate' | 'alter' }>

async function change(
  base: Base,
  { statement, named }: { readonly statement: ChangingStatement; readonly named: NamedVersions },
  options: RunOptions,
  refused: RefusedFiles,
): Promise<Tried> {
  const { table, transaction } = base
  const snapshot = transaction.base
  checkTarget(statement.sql, statement.target)
  if (statement.kind === 'truncate') return truncateAll(transaction)
  if (statement.kind === 'alter') return alter(base, statement.alteration, options, refused)
  if (snapshot.schema.length === 0) {
    throw new SqlError(
      'unsupported',
      'the table has no columns yet; the first save of data/data.csv with a header line gives them',
    )
  }
  // What an INSERT adds need not follow from the table.
  const isBeside = isAppend(statement) && !namesAny(named)
  return withTableIfNeeded(isBeside ? besideTarget(statement) : TABLE_NAME, async needed => {
    const data = needed ? { table, snapshot, ...named, ...wantedBy(statement) } : undefined
    const session = await Session.open(data, options, refused)
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

/** True for an INSERT that no condition on rows of the table goes with. */
function isAppend(statement: RowStatement): statement is Extract<RowStatement, { kind: 'insert' }> {
  return statement.kind === 'insert' && statement.replaced?.condition === undefined
}

/** A query that tells which rows a statement is about; none where its syntax is not that of a query. */
function wantedBy(statement: RowStatement): { readonly wanted?: string } {
  if (statement.kind === 'insert') return wantedToReplace(statement.replaced, besideTarget(statement))
  if ((statement.kind !== 'delete' && statement.kind !== 'update') || statement.sources !== undefined) return {}
  const { prefix, alias, condition } = statement
  const values = statement.kind === 'update' ? (statement.assignments ?? []).map(each => each.expression) : []
  const selected = ['1', ...values.filter(each => each !== undefined)].join(', ')
  return { wanted: `${prefix} SELECT ${selected} FROM ${TABLE_NAME} AS ${alias} WHERE ${condition ?? 'true'}` }
}

function besideTarget({ sql, target }: { sql: string; target: Target }): string {
  return sql.slice(0, target.start) + sql.slice(target.end)
}

async function changeIn(session: Session, base: Base, statement: RowStatement): Promise<Tried> {
  switch (statement.kind) {
    case 'insert':
      return insert(session, base, statement)
    case 'delete':
      return remove(session, base, statement)
    case 'merge':
      return merge(session, base, statement)
    case 'update':
      return update(session, base, statement)
  }
}

/** Returns an error of the SQL that a statement was made into as one of the statement itself. */
function asOfStatement(error: SqlError): SqlError {
  const { code, message, cause } = withoutPlace(error)
  const sentence = message.replaceAll(NEW_ROWS, TABLE_NAME).replaceAll(SOURCE, 'source')
  return new SqlError(code, sentence, { cause })
}

function isFromEngine(error: unknown): boolean {
  return error instanceof Error && !('code' in error)
}

async function truncateAll(transaction: Transaction): Promise<Tried> {
  if (transaction.base.files.length === 0) return UNCHANGED
  const { result, rows } = await truncate(transaction)
  return triedOf(result, { deleted: rows })
}

async function insert(
  session: Session,
  { transaction }: Base,
  { sql, target, replaced }: Extract<Statement, { kind: 'insert' }>,
): Promise<Tried> {
  const { partitionColumns } = transaction.base
  const schema = asWritten(transaction.base.schema)
  const columns = schema.map(
    field =>
      `${quoteName(field.name)} ${duckTypeOf(field.type)} DEFAULT (${defaultOf(field)})${field.nullable ? '' : ' NOT NULL'}`,
  )
  await session.run(`CREATE TEMP TABLE ${NEW_ROWS} (${columns.join(', ')})`)
  await session.run(sql.slice(0, target.start) + NEW_ROWS + sql.slice(target.end))
  const files = await transaction.write(streamed(session, `SELECT * FROM ${NEW_ROWS}`, schema))
  if (replaced !== undefined) return overwrite(session, transaction, replaced, files)
  const rows = files.reduce((sum, file) => sum + file.rows, 0)
  if (rows === 0) return UNCHANGED
  return triedOf(await transaction.commit(appended({ rows, files, partitionColumns })), { inserted: rows })
}

/** A statement may only change the table that is there. */
function checkTarget(sql: string, { start, end, name }: Target): void {
  if (name?.toLowerCase() !== TABLE_NAME) {
    throw new SqlError('invalid_sql', `there is no table ${sql.slice(start, end)}; the table is called ${TABLE_NAME}`)
  }
}

async function remove(
  session: Session,
  { transaction }: Base,
  statement: Extract<Statement, { kind: 'delete' }>,
): Promise<Tried> {
  const { relation } = session
  const { alias, prefix, condition: predicate } = statement
  const places = placesOf(relation, alias)
  const from = sourceOf(relation, statement)
  const sql = `${prefix} SELECT DISTINCT ${places.file}, ${places.row} FROM ${from} WHERE ${predicate ?? 'true'}`
  const found = new Places(relation.parts)
  for await (const batch of streamed(session, sql, PLACE_SCHEMA)) found.add(batch)
  if (found.count === 0) return UNCHANGED
  transaction.deleteRows(...found.deletions())
  const operation = deleted({ rows: found.count, predicate, files: transaction.added })
  return triedOf(await transaction.commit(operation), { deleted: found.count })
}

async function update(
  session: Session,
  { table, transaction }: Base,
  statement: Extract<Statement, { kind: 'update' }>,
): Promise<Tried> {
  const { relation } = session
  const schema = asWritten(transaction.base.schema)
  const { condition: predicate } = statement
  const places = placesOf(relation, statement.alias)
  if (statement.assignments === undefined)
    throw new SqlError('unsupported', 'UPDATE takes SET column = expression, ...')
  const columns = newValues(transaction.base, statement.alias, statement.assignments)
  const sql = `${statement.prefix} SELECT DISTINCT ON (${places.file}, ${places.row}) ${columns.join(', ')}, ${places.file}, ${places.row}
    FROM ${sourceOf(relation, statement)} WHERE ${predicate ?? 'true'} ORDER BY ${places.file}, ${places.row}`
  const found = new Places(relation.parts)
  // The places are needed in front of the rows (for the order hint), so the rows wait in the engine, which can spill.
  await session.run(`CREATE TEMP TABLE ${NEW_ROWS} AS ${numbered(sql, schema.length)}`)
  for await (const batch of streamed(session, `SELECT file, row FROM ${NEW_ROWS} ORDER BY file, row`, PLACE_SCHEMA))
    found.add(batch)
  if (found.count === 0) return UNCHANGED
  const values = schema.map((_, i) => `c${i}`).join(', ')
  const rows = streamed(session, `SELECT ${values} FROM ${NEW_ROWS} ORDER BY file, row`, schema)
  await transaction.identityIsChecked()
  const removed = found.deletions()
  transaction.tellChanges({ removed, updates: { by: 'place', removed, added: found.count } })
  const files = await transaction.write(checked(rows, schema), {
    order: await found.orderHint(table.store, transaction.base.files),
  })
  transaction.deleteRows(...removed)
  return triedOf(await transaction.commit(updated({ rows: found.count, predicate, files })), { updated: found.count })
}

function sourceOf(relation: Relation, { alias, sources }: { alias: string; sources: string | undefined }): string {
  return `(${relation.withPlaces}) AS ${alias}${sources === undefined ? '' : `, ${sources}`}`
}
