import { isSameName } from '../columns/schema.ts'
import type { Schema } from '../columns/types.ts'
import { merged } from '../table/operations/merge.ts'
import { asWritten } from '../table/rules/rules.ts'
import type { Snapshot } from '../table/snapshot.ts'
import { type Base, type Tried, triedOf, UNCHANGED } from './changing.ts'
import { SqlError } from './errors.ts'
import { keyCondition } from './merge-keys.ts'
import { checked, NEW_ROWS, newValues, placesOf, SOURCE } from './new-rows.ts'
import { Places } from './places.ts'
import { PLACE_SCHEMA, type Session, streamed } from './session.ts'
import type { Assignment, MergeAction, MergeClause, MergeStatement } from './statement.ts'
import { duckTypeOf, quoteName } from './types.ts'

/** The numbers by which NEW_ROWS tells the effect of a clause on a row. */
const UPDATED = 1
const DELETED = 2
const INSERTED = 3

/**
 * Runs a MERGE INTO as one commit. Each clause is a query for the rows that it is the first to be about; what they become
 * waits in the engine until all is known. A row of the table that two rows of the source would change is an error, as in
 * the SQL standard. Rejects with SqlError or TableError, or what the engine throws.
 */
export async function merge(session: Session, { table, transaction }: Base, statement: MergeStatement): Promise<Tried> {
  const { relation } = session
  const snapshot = transaction.base
  const schema = asWritten(snapshot.schema)
  await session.run(`CREATE TEMP TABLE ${SOURCE} AS ${statement.prefix} SELECT * FROM ${statement.source}`)
  const sourceColumns = (await session.run(`SELECT * FROM ${SOURCE} LIMIT 0`)).columnNames()
  const columns = schema.map(({ type }, i) => `c${i} ${duckTypeOf(type)}`)
  await session.run(
    `CREATE TEMP TABLE ${NEW_ROWS} (${[...columns, 'file UBIGINT', 'row BIGINT', 'action TINYINT'].join(', ')})`,
  )
  const keys = await keyCondition(session, schema, statement)
  if (keys !== undefined) await session.narrow(keys)
  for (const [i, clause] of statement.clauses.entries()) {
    const rows = clauseRows(session, statement, statement.clauses.slice(0, i), clause, keys)
    await runClause(session, snapshot, statement, clause.action, rows, sourceColumns)
  }
  await checkChangedOnce(session)
  const changed = new Places(relation.parts)
  const updated = new Places(relation.parts)
  await gather(session, [UPDATED], [changed, updated])
  await gather(session, [DELETED], [changed])
  const values = schema.map((_, i) => `c${i}`).join(', ')
  const kept = `SELECT ${values} FROM ${NEW_ROWS} WHERE action <> ${DELETED}`
  const rows = streamed(session, `${kept} ORDER BY action, file, row, rowid`, schema)
  const order = await updated.orderHint(table.store, transaction.base.files)
  // What may be set was looked at clause by clause.
  await transaction.identityIsChecked()
  transaction.tellChanges({
    removed: changed.deletions(),
    updates: { by: 'place', removed: updated.deletions(), added: updated.count },
  })
  const files = await transaction.write(checked(rows, schema), { order })
  const written = files.reduce((sum, file) => sum + file.rows, 0)
  const counts = {
    inserted: written - updated.count,
    updated: updated.count,
    deleted: changed.count - updated.count,
  }
  if (changed.count === 0 && counts.inserted === 0) return UNCHANGED
  transaction.deleteRows(...changed.deletions())
  // That a row of the source has no match says something of every row that there is.
  if (statement.clauses.some(({ side }) => side !== 'matched')) transaction.readWholeTable()
  return triedOf(await transaction.commit(merged({ ...counts, predicate: statement.join, files })), counts)
}

/** FROM and WHERE of the rows that a clause is about and none of those before it. `keys`: what rows that match fulfil. */
function clauseRows(
  { relation }: Session,
  statement: MergeStatement,
  before: readonly MergeClause[],
  clause: MergeClause,
  keys: string | undefined,
): string {
  const { alias, sourceAlias, join } = statement
  const all = keys === undefined ? relation.withPlaces : `SELECT * FROM (${relation.withPlaces}) WHERE ${keys}`
  const target = `(${all}) AS ${alias}`
  const source = sourceAlias === undefined ? SOURCE : `${SOURCE} AS ${sourceAlias}`
  const from = {
    matched: `${target} JOIN ${source} ${join}`,
    notMatched: `${source} ANTI JOIN ${target} ${join}`,
    notMatchedBySource: `${target} ANTI JOIN ${source} ${join}`,
  }[clause.side]
  const taken = before
    .filter(({ side }) => side === clause.side)
    .map(({ condition }) => `NOT coalesce((${condition ?? 'true'}), false)`)
  return `FROM ${from} WHERE ${[`(${clause.condition ?? 'true'})`, ...taken].join(' AND ')}`
}

async function runClause(
  session: Session,
  snapshot: Snapshot,
  statement: MergeStatement,
  action: MergeAction,
  rows: string,
  sourceColumns: readonly string[],
): Promise<void> {
  const { alias, sourceAlias, prefix } = statement
  const { schema } = snapshot
  const { file, row } = placesOf(session.relation, alias)
  const inSourceOrder = `ORDER BY ${sourceAlias ?? SOURCE}.rowid`
  const select = (sql: string, order = ''): Promise<unknown> =>
    session.run(`INSERT INTO ${NEW_ROWS} ${prefix} SELECT ${sql} ${rows} ${order}`)
  switch (action.kind) {
    case 'nothing':
      return
    case 'error': {
      const found = await session.rows(
        `${prefix} SELECT CAST((${action.message ?? "'a row met a clause that is an error'"}) AS VARCHAR) ${rows} LIMIT 1`,
      )
      const [message] = found[0] ?? []
      if (message !== undefined) throw new SqlError('invalid_sql', `MERGE: ${String(message)}`)
      return
    }
    case 'delete':
      await select(`${schema.map(() => 'NULL, ').join('')}${file}, ${row}, ${DELETED}`)
      return
    case 'update': {
      const assignments = action.assignments ?? byName(statement, sourceColumns)
      await select(`${newValues(snapshot, alias, assignments).join(', ')}, ${file}, ${row}, ${UPDATED}`)
      return
    }
    case 'insert': {
      const assignments = insertedValues(schema, statement, action, sourceColumns)
      // What nothing is assigned to has its default.
      const missing = schema.filter(({ name }) => !assignments.some(({ column }) => isSameName(column, name)))
      const all = [...assignments, ...missing.map(({ name }) => ({ column: name, expression: undefined }))]
      await select(`${newValues(snapshot, alias, all, true).join(', ')}, NULL, NULL, ${INSERTED}`, inSourceOrder)
    }
  }
}

/** Every column of the source for the column of its name. */
function byName({ sourceAlias }: MergeStatement, sourceColumns: readonly string[]): Assignment[] {
  return sourceColumns.map(column => ({ column, expression: `${sourceAlias ?? SOURCE}.${quoteName(column)}` }))
}

function insertedValues(
  schema: Schema,
  statement: MergeStatement,
  { columns, values }: Extract<MergeAction, { kind: 'insert' }>,
  sourceColumns: readonly string[],
): Assignment[] {
  if (values === undefined) return byName(statement, sourceColumns)
  const names = columns ?? schema.map(({ name }) => name)
  if (names.length !== values.length)
    throw new SqlError('invalid_sql', `MERGE: INSERT has ${names.length} columns and ${values.length} values`)
  return names.map((column, i) => ({ column, expression: values[i] }))
}

/** Two rows of the source for one of the table: which of them were to win? That both delete it is no contradiction. */
async function checkChangedOnce({ connection }: Session): Promise<void> {
  const twice = await connection.runAndReadAll(
    `SELECT 1 FROM ${NEW_ROWS} WHERE file IS NOT NULL GROUP BY file, row HAVING count(*) > 1 AND min(action) = ${UPDATED} LIMIT 1`,
  )
  if (twice.currentRowCount > 0) {
    throw new SqlError(
      'invalid_sql',
      'MERGE: a row of the table matches more than one row of the source, and it is not clear what it becomes; make the source have one row for each',
    )
  }
}

async function gather(session: Session, actions: readonly number[], into: readonly Places[]): Promise<void> {
  const sql = `SELECT DISTINCT file, row FROM ${NEW_ROWS} WHERE action IN (${actions.join(', ')}) ORDER BY file, row`
  for await (const batch of streamed(session, sql, PLACE_SCHEMA)) for (const places of into) places.add(batch)
}
