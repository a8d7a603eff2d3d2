import { mkdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { DuckDBConnection, DuckDBInstance, DuckDBResult } from '@duckdb/node-api'
import { defaultCell, defaultSql } from '../columns/defaults.ts'
import { TextError } from '../columns/errors.ts'
import { csvHeader, renderCsv } from '../columns/text/csv.ts'
import type { Batch, Field, Schema } from '../columns/types.ts'
import { cellAt } from '../columns/vectors.ts'
import { TableError } from '../table/errors.ts'
import { writeDataFiles } from '../table/operations/write.ts'
import type { Snapshot } from '../table/snapshot.ts'
import type { ChangeSet, Table } from '../table/table.ts'
import { batchOfChunk } from './convert.ts'
import { fromDuckDb, SqlError } from './errors.ts'
import { type DuckDb, duckDb, engineCacheDirectory } from './native.ts'
import { Places } from './places.ts'
import { defineData, literal, localPathOf, type Relation, TABLE_NAME } from './relation.ts'
import { hasReturning, parseStatement, type Statement } from './statement.ts'
import { nameOf, splitStatements, tokenize } from './tokens.ts'
import { duckTypeOf, quoteName, quoteText, resultSchema } from './types.ts'

/** What the engine may keep in memory; beyond it, it spills to the cache folder. */
const MEMORY_LIMIT = '256MB'
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
const INTERNAL_SCHEMA = 'posixlake_internal'
const NEW_ROWS = 'posixlake_new_rows'

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
export async function query(table: Table, snapshot: Snapshot, sql: string): Promise<SqlResult> {
  const statement = await theStatement(sql)
  if (statement.kind !== 'query') {
    throw new SqlError(
      'unsupported',
      'only the newest version of a table can be changed, and this looks at an older one',
    )
  }
  return runQuery(table, snapshot, statement)
}

/**
 * Runs one statement on the newest version: a query, or an INSERT, UPDATE, DELETE or TRUNCATE, which is one commit.
 * Rejects with SqlError or TableError, and then nothing has changed.
 */
export async function execute(table: Table, sql: string): Promise<Outcome> {
  const statement = await theStatement(sql)
  if (statement.kind === 'query')
    return { kind: 'rows', result: await runQuery(table, await table.refresh(), statement) }
  if (statement.kind === 'merge') {
    throw new SqlError(
      'unsupported',
      'MERGE INTO is not supported yet; use UPDATE, DELETE and INSERT, or save the edited data.csv, which is one commit',
    )
  }
  if (hasReturning(sql))
    throw new SqlError('unsupported', 'RETURNING is not supported; run a SELECT behind the statement')
  for (let attempt = 1; ; attempt++) {
    try {
      return await change(table, await table.refresh(), statement)
    } catch (error) {
      if (!(error instanceof TableError) || error.code !== 'conflict' || attempt === ATTEMPTS_MAX) throw error
    }
  }
}

/** A result as CSV, its header first. */
export async function* csvOf(result: SqlResult): AsyncGenerator<Uint8Array> {
  yield csvHeader(result.schema)
  for await (const batch of result.batches()) yield renderCsv(batch, result.schema).bytes
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
      `${statement.verb.toUpperCase()} is not supported here; a statement is a query, INSERT, UPDATE or DELETE, and the table is called ${TABLE_NAME}`,
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

// --- sessions --------------------------------------------------------------------------------------------------------

/** An engine with one table in it, for one statement. */
class Session {
  readonly duck: DuckDb
  readonly connection: DuckDBConnection
  readonly relation: Relation
  readonly #instance: DuckDBInstance

  private constructor(duck: DuckDb, instance: DuckDBInstance, connection: DuckDBConnection, relation: Relation) {
    this.duck = duck
    this.#instance = instance
    this.connection = connection
    this.relation = relation
  }

  static async open(table: Table, snapshot: Snapshot): Promise<Session> {
    const duck = await duckDb()
    const spill = join(engineCacheDirectory(), 'spill')
    mkdirSync(spill, { recursive: true, mode: 0o700 })
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
      const relation = await defineData(connection, table, snapshot, INTERNAL_SCHEMA)
      // A statement reads this table and nothing else of the machine.
      const paths = snapshot.files.map(file => quoteText(localPathOf(table, file)))
      await connection.run(`SET allowed_paths = [${paths.join(', ')}]`)
      await connection.run('SET enable_external_access = false')
      await connection.run('SET lock_configuration = true')
      return new Session(duck, instance, connection, relation)
    } catch (error) {
      instance.closeSync()
      throw fromDuckDb(error)
    }
  }

  close(): void {
    this.connection.closeSync()
    this.#instance.closeSync()
  }
}

async function runQuery(table: Table, snapshot: Snapshot, { sql }: Statement): Promise<SqlResult> {
  const session = await Session.open(table, snapshot)
  try {
    const result = await session.connection.stream(sql)
    const schema = resultSchema(session.duck, result.columnNames(), result.columnTypes())
    return {
      schema,
      batches: () => chunks(session, result, schema),
      close: () => session.close(),
    }
  } catch (error) {
    session.close()
    throw fromDuckDb(error)
  }
}

async function* chunks(session: Session, result: DuckDBResult, schema: Schema): AsyncGenerator<Batch> {
  try {
    for (;;) {
      const chunk = await result.fetchChunk()
      if (chunk === null || chunk.rowCount === 0) return
      yield batchOfChunk(session.duck, chunk, schema)
    }
  } catch (error) {
    throw fromDuckDb(error)
  } finally {
    session.close()
  }
}

// --- statements that change the table --------------------------------------------------------------------------------

type ChangingStatement = Exclude<Statement, { kind: 'query' } | { kind: 'merge' }>

async function change(table: Table, snapshot: Snapshot, statement: ChangingStatement): Promise<Outcome> {
  checkTarget(statement.sql, statement.target)
  if (statement.kind === 'truncate') return truncate(table, snapshot)
  if (snapshot.schema.length === 0) {
    throw new SqlError(
      'unsupported',
      'the table has no columns yet; the first save of data/data.csv with a header line gives them',
    )
  }
  const session = await Session.open(table, snapshot)
  try {
    if (statement.kind === 'insert') return await insert(session, table, snapshot, statement)
    if (statement.kind === 'delete') return await remove(session, table, snapshot, statement)
    return await update(session, table, snapshot, statement)
  } catch (error) {
    if (error instanceof TableError || error instanceof SqlError) throw error
    throw isFromEngine(error) ? asOfStatement(fromDuckDb(error)) : error
  } finally {
    session.close()
  }
}

/** What the engine says of the SQL that a statement was made into, as of the statement itself. */
function asOfStatement({ code, message, cause }: SqlError): SqlError {
  const sentence = message.replace(/\n\nLINE \d+:[\s\S]*$/, '').replaceAll(NEW_ROWS, TABLE_NAME)
  return new SqlError(code, sentence, { cause })
}

function isFromEngine(error: unknown): boolean {
  return error instanceof Error && !('code' in error)
}

async function truncate(table: Table, snapshot: Snapshot): Promise<Outcome> {
  let deleted = 0
  for (const file of snapshot.files) deleted += (file.rows ?? 0) - (file.vector?.cardinality ?? 0)
  if (snapshot.files.length === 0) return unchanged
  const { version } = await table.commit({
    base: snapshot,
    operation: 'TRUNCATE',
    add: [],
    delete: [],
    removeFiles: snapshot.files,
  })
  return { kind: 'changed', version, inserted: 0, updated: 0, deleted }
}

const unchanged: Outcome = { kind: 'changed', version: undefined, inserted: 0, updated: 0, deleted: 0 }

async function insert(
  session: Session,
  table: Table,
  snapshot: Snapshot,
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
  const { version } = await table.commit({
    base: snapshot,
    operation: 'WRITE',
    parameters: { mode: 'Append', partitionBy: JSON.stringify(snapshot.partitionColumns) },
    metrics: { numFiles: String(add.length), numOutputRows: String(inserted) },
    add,
    delete: [],
  })
  return { kind: 'changed', version, inserted, updated: 0, deleted: 0 }
}

/** A column's default value as SQL. What is not worked out fails where it is used, and only there. */
function defaultOf(field: Field): string {
  const sql = defaultSql(field)
  if (field.type.kind === 'timestamp' && /^(?:current_timestamp(?:\(\))?|now\(\))$/i.test(sql ?? '')) return 'now()'
  if (field.type.kind === 'date' && /^current_date(?:\(\))?$/i.test(sql ?? '')) return 'current_date()'
  try {
    return literal(defaultCell(field), field.type)
  } catch (error) {
    if (!(error instanceof TextError)) throw error
    return `error(${quoteText(error.message)})`
  }
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
  table: Table,
  snapshot: Snapshot,
  statement: Extract<Statement, { kind: 'delete' }>,
): Promise<Outcome> {
  const { relation } = session
  const places = placesOf(relation, statement.alias)
  const from = sourceOf(relation, statement)
  const sql = `${statement.prefix} SELECT DISTINCT ${places.file}, ${places.row} FROM ${from} WHERE ${statement.condition ?? 'true'}`
  const found = new Places(relation.files)
  for await (const batch of streamed(session, sql, PLACE_SCHEMA)) found.add(batch)
  if (found.count === 0) return unchanged
  const { version } = await table.commit({
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
  table: Table,
  snapshot: Snapshot,
  statement: Extract<Statement, { kind: 'update' }>,
): Promise<Outcome> {
  const { relation } = session
  const places = placesOf(relation, statement.alias)
  const columns = newValues(snapshot.schema, statement)
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
  const { version } = await table.commit({
    base: snapshot,
    operation: 'UPDATE',
    parameters: { predicate: JSON.stringify(statement.condition === undefined ? [] : [statement.condition]) },
    metrics: { numUpdatedRows: String(found.count), numAddedFiles: String(add.length) },
    add,
    delete: found.deletions(),
  } satisfies ChangeSet)
  return { kind: 'changed', version, inserted: 0, updated: found.count, deleted: 0 }
}

/** The rows of an update under names that are ours: c0, c1, ..., file, row. */
function numbered(sql: string, width: number): string {
  const names = [...Array.from({ length: width }, (_, i) => `c${i}`), 'file', 'row']
  return `SELECT * FROM (${sql}) AS changed (${names.join(', ')})`
}

function newValues(schema: Schema, statement: Extract<Statement, { kind: 'update' }>): string[] {
  const { assignments, alias } = statement
  if (assignments === undefined) throw new SqlError('unsupported', 'UPDATE takes SET column = expression, ...')
  const assigned = new Set<string>()
  for (const { column } of assignments) {
    if (assigned.has(column.toLowerCase())) throw new SqlError('invalid_sql', `the column ${column} is set twice`)
    assigned.add(column.toLowerCase())
    if (!schema.some(({ name }) => name.toLowerCase() === column.toLowerCase())) {
      throw new SqlError(
        'invalid_sql',
        `there is no column ${column}; the table has ${schema.map(({ name }) => name).join(', ')}`,
      )
    }
  }
  return schema.map(field => {
    const { name, type } = field
    const assignment = assignments.find(({ column }) => column.toLowerCase() === name.toLowerCase())
    if (assignment === undefined) return `${alias}.${quoteName(name)}`
    return `CAST((${assignment.expression ?? defaultOf(field)}) AS ${duckTypeOf(type)})`
  })
}

async function* checked(batches: AsyncIterable<Batch>, schema: Schema): AsyncGenerator<Batch> {
  for await (const batch of batches) {
    for (const [i, { name, nullable }] of schema.entries()) {
      if (nullable) continue
      for (let row = 0; row < batch.rows; row++) {
        if (cellAt(batch.vectors[i]!, row) === null)
          throw new SqlError('invalid_sql', `the column ${name} takes no NULL`)
      }
    }
    yield batch
  }
}

function placesOf(relation: Relation, alias: string): { file: string; row: string } {
  return { file: `${alias}.${quoteName(relation.fileColumn)}`, row: `${alias}.${quoteName(relation.rowColumn)}` }
}

function sourceOf(relation: Relation, { alias, sources }: { alias: string; sources: string | undefined }): string {
  return `(${relation.withPlaces}) AS ${alias}${sources === undefined ? '' : `, ${sources}`}`
}

const PLACE_SCHEMA: Schema = ['file', 'row'].map(name => ({
  name,
  type: { kind: 'long' as const },
  nullable: false,
  metadata: {},
}))

/** The rows of a statement of ours, in the types of `schema`. */
async function* streamed(session: Session, sql: string, schema: Schema): AsyncGenerator<Batch> {
  const columns = schema.map(({ type }, i) => `CAST(x.c${i} AS ${duckTypeOf(type)})`)
  const names = schema.map((_, i) => `c${i}`)
  const result = await session.connection.stream(
    `SELECT ${columns.join(', ')} FROM (${sql}) AS x (${names.join(', ')})`,
  )
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return
    yield batchOfChunk(session.duck, chunk, schema)
  }
}
