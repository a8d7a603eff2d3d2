import { TextError } from '../columns/errors.ts'
import { compileExpression } from '../columns/expressions/compile.ts'
import { ExpressionError } from '../columns/expressions/errors.ts'
import { parseScalar, ScalarError } from '../columns/text/scalars.ts'
import type { Cell, Field } from '../columns/types.ts'
import { systemClock } from '../core/clock.ts'

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
  return worked(field, sql)
}

/** The value of an expression, at the time it is asked for. */
function worked({ name, type }: Field, sql: string): Cell {
  try {
    const nowMs = systemClock.nowMs()
    return compileExpression(sql, [], { nowMs, type }).over({ rows: 1, vectors: [] })(0)
  } catch (cause) {
    if (!(cause instanceof ExpressionError)) throw cause
    throw new TextError(
      'bad_value',
      `the default value of column ${name} is ${sql}, which posixlake does not work out (${cause.message}); give the column a value`,
      { cause, column: name },
    )
  }
}
