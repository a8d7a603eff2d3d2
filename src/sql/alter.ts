import { TextError } from '../columns/errors.ts'
import { parseDdl } from '../columns/schema.ts'
import type { DataType, Schema } from '../columns/types.ts'
import { counted } from '../core/units.ts'
import { TableError } from '../table/errors.ts'
import { addColumns, changeNullability, changeProperties, columnOf } from '../table/operations/alter.ts'
import { dropColumns, renameColumn, widenColumn } from '../table/operations/alter-columns.ts'
import { addConstraint, dropConstraint } from '../table/operations/constraints.ts'
import type { CommitResult } from '../table/table.ts'
import type { Alteration } from './alter-statement.ts'
import { type Base, type Tried, triedOf, UNCHANGED } from './changing.ts'
import { SqlError, TABLE_NAME } from './errors.ts'
import type { RefusedFiles } from './refused-files.ts'
import { type RunOptions, Session } from './session.ts'
import { quoteName } from './types.ts'

/** Changes what a table is, in one commit. Rejects with SqlError or TableError, and then nothing has changed. */
export async function alter(
  base: Base,
  alteration: Alteration,
  options: RunOptions,
  refused: RefusedFiles,
): Promise<Tried> {
  const result = await changed(base, alteration, options, refused)
  return result.kind === 'unchanged' ? UNCHANGED : triedOf(result, {})
}

async function changed(
  base: Base,
  alteration: Alteration,
  options: RunOptions,
  refused: RefusedFiles,
): Promise<CommitResult> {
  const { transaction } = base
  switch (alteration.kind) {
    case 'addConstraint':
      return addConstraint(base.table, transaction, { ...alteration, nowMs: Date.now(), signal: options.signal })
    case 'dropConstraint':
      return dropConstraint(transaction, alteration.name, alteration.ifExists)
    case 'addColumns':
      return addColumns(transaction, columnsOf(alteration.columns))
    case 'rename':
      return renameColumn(transaction, alteration.path, alteration.name)
    case 'drop':
      return dropColumns(transaction, alteration.paths, alteration.ifExists)
    case 'type':
      return widenColumn(transaction, alteration.path, typeOf(alteration.type))
    case 'nullability': {
      const { column, nullable } = alteration
      if (!nullable) await checkNoNulls(base, column, options, refused)
      return changeNullability(transaction, column, nullable)
    }
    case 'setProperties':
      return changeProperties(transaction, alteration.properties)
    case 'unsetProperties': {
      const { configuration } = transaction.base.metadata
      const missing = alteration.names.find(name => !configuration.has(name))
      if (missing !== undefined && !alteration.ifExists)
        throw new SqlError(
          'invalid_sql',
          `the table has no property ${missing}; UNSET TBLPROPERTIES IF EXISTS passes over it`,
        )
      return changeProperties(transaction, new Map(alteration.names.map(name => [name, undefined])))
    }
  }
}

function typeOf(text: string): DataType {
  const [column, ...more] = columnsOf(`c ${text}`)
  if (column === undefined || more.length > 0 || !column.nullable || Object.keys(column.metadata).length > 0)
    throw new SqlError(
      'invalid_sql',
      `${text} is more than a type; ALTER COLUMN name TYPE takes a type and nothing else`,
    )
  return column.type
}

function columnsOf(text: string): Schema {
  try {
    return parseDdl(text)
  } catch (error) {
    if (!(error instanceof TextError)) throw error
    throw new SqlError('invalid_sql', error.message, { cause: error })
  }
}

/** TableError `constraint` if a column is NULL in some row. */
async function checkNoNulls(
  { table, transaction }: Base,
  column: string,
  options: RunOptions,
  refused: RefusedFiles,
): Promise<void> {
  const { name } = columnOf(transaction.base, column)
  const condition = `${quoteName(name)} IS NULL`
  const wanted = `SELECT 1 FROM ${TABLE_NAME} WHERE ${condition}`
  const session = await Session.open({ table, snapshot: transaction.base, wanted }, options, refused)
  try {
    const [[nulls] = []] = await session.rows(`SELECT count(*) FROM ${TABLE_NAME} WHERE ${condition}`)
    if (nulls === 0n) return
    throw new TableError(
      'constraint',
      `the column ${name} cannot be NOT NULL: it is NULL in ${counted(nulls as bigint, 'row')}`,
    )
  } finally {
    session.close()
  }
}
