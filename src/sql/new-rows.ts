import { TextError } from '../columns/errors.ts'
import { isSameName } from '../columns/schema.ts'
import type { Batch, Field, Schema } from '../columns/types.ts'
import { cellAt } from '../columns/vectors.ts'
import { defaultCell, defaultSql } from '../table/defaults.ts'
import { identityOf } from '../table/rules/identity.ts'
import { generationOf } from '../table/rules/rules.ts'
import type { Snapshot } from '../table/snapshot.ts'
import { SqlError } from './errors.ts'
import { literal, type Relation } from './relation.ts'
import type { Assignment } from './statement.ts'
import { duckTypeOf, quoteName, quoteText } from './types.ts'

/** The table in the engine where rows wait until they are written. */
export const NEW_ROWS = 'posixlake_new_rows'
/** The rows of a MERGE's source, looked at once: it may be another one every time. */
export const SOURCE = 'posixlake_source'

/** A column's default value as SQL. What is not worked out fails where it is used, and only there. */
export function defaultOf(field: Field): string {
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

/** The rows of an update under names that are ours: c0, c1, ..., file, row. */
export function numbered(sql: string, width: number): string {
  const names = [...Array.from({ length: width }, (_, i) => `c${i}`), 'file', 'row']
  return `SELECT * FROM (${sql}) AS changed (${names.join(', ')})`
}

/** Refuses to set what only the table gives; an identity column of rows that are there is never set. SqlError. */
function checkSettable(field: Field, { expression }: Assignment, isNew: boolean): void {
  const identity = identityOf(field)
  if (identity === undefined || expression === undefined) return
  if (isNew && identity.allowsExplicit) return
  throw new SqlError(
    'invalid_sql',
    `the column ${field.name} is an identity column, which is not set: the table itself numbers the rows`,
  )
}

/**
 * The values of a row of `alias` once columns are assigned, as SQL in the schema's order. Generated columns that are not
 * assigned are NULL: they are worked out when the row is written. `isNew`: the row is not in the table yet. SqlError for
 * columns that are not there.
 */
export function newValues(
  { schema, protocol }: Snapshot,
  alias: string,
  assignments: readonly Assignment[],
  isNew = false,
): string[] {
  const assigned = new Set<string>()
  for (const { column } of assignments) {
    if (assigned.has(column.toLowerCase())) throw new SqlError('invalid_sql', `the column ${column} is set twice`)
    assigned.add(column.toLowerCase())
    if (!schema.some(({ name }) => isSameName(name, column))) {
      throw new SqlError(
        'invalid_sql',
        `there is no column ${column}; the table has ${schema.map(({ name }) => name).join(', ')}`,
      )
    }
  }
  return schema.map(field => {
    const { name, type } = field
    const assignment = assignments.find(({ column }) => isSameName(column, name))
    if (assignment === undefined && generationOf(field, protocol) !== undefined) return `NULL::${duckTypeOf(type)}`
    if (assignment === undefined) return `${alias}.${quoteName(name)}`
    checkSettable(field, assignment, isNew)
    return `CAST((${assignment.expression ?? defaultOf(field)}) AS ${duckTypeOf(type)})`
  })
}

/** Refuses NULL where a column takes none. */
export async function* checked(batches: AsyncIterable<Batch>, schema: Schema): AsyncGenerator<Batch> {
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

/** The columns of `alias` that say where a row is. */
export function placesOf(relation: Relation, alias: string): { file: string; row: string } {
  return { file: `${alias}.${quoteName(relation.fileColumn)}`, row: `${alias}.${quoteName(relation.rowColumn)}` }
}
