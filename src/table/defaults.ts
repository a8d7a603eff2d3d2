import { TextError } from '../columns/errors.ts'
import { parseScalar, ScalarError } from '../columns/text/scalars.ts'
import type { Cell, Field, Schema } from '../columns/types.ts'

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i
/** Quotes and backslashes inside mean different things in different versions of Spark. */
const QUOTED = /^(date|timestamp_ntz|)\s*'([^'\\]*)'$/i

/** The SQL of a column's default value (PROTOCOL.md, "Default Columns"); undefined if it has none, and so is NULL by default. */
export function defaultSql(field: Field): string | undefined {
  const sql = field.metadata['CURRENT_DEFAULT']
  return typeof sql === 'string' && sql.trim().toLowerCase() !== 'null' ? sql.trim() : undefined
}

/** The value of a column in a row that says nothing of it. TextError `bad_value` if that is not NULL or a constant. */
export function defaultCell(field: Field): Cell {
  const sql = defaultSql(field)
  if (sql === undefined) return null
  const quoted = QUOTED.exec(sql)
  try {
    if (quoted !== null && (quoted[1] || 'string').toLowerCase() === field.type.kind)
      return parseScalar(quoted[2]!, field.type)
    if (NUMBER.test(sql) || /^(?:true|false)$/i.test(sql)) return parseScalar(sql, field.type)
  } catch (error) {
    if (!(error instanceof ScalarError)) throw error
  }
  throw new TextError(
    'bad_value',
    `the default value of column ${field.name} is ${sql}, which posixlake does not work out; give the column a value`,
    { column: field.name },
  )
}

/** Refuses rows without a column that has a default value, where all get NULL in its place. TextError `bad_header`. */
export function checkDefaults(names: readonly string[], schema: Schema, line = 1): void {
  const missing = schema.find(field => !names.includes(field.name) && defaultSql(field) !== undefined)
  if (missing === undefined) return
  throw new TextError(
    'bad_header',
    `line ${line}: the column ${missing.name} is missing, which has the default value ${defaultSql(missing)}; write its values, too`,
    { line, column: missing.name },
  )
}
