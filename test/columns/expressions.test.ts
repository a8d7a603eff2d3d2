import { describe, expect, test } from 'bun:test'
import { compileExpression } from '../../src/columns/expressions/compile.ts'
import { ExpressionError } from '../../src/columns/expressions/errors.ts'
import { sqlType } from '../../src/columns/schema.ts'
import { formatScalar } from '../../src/columns/text/scalars.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { EXPRESSIONS, ROW, SCHEMA } from './spark-expressions.ts'

const BATCH = batchOf(
  SCHEMA.map(({ type }) => type),
  [ROW],
)

/** The value of an expression for the row, with its type. */
function value(sql: string): string {
  const expression = compileExpression(sql, SCHEMA, { nowMs: 0 })
  const cell = expression.over(BATCH)(0)
  return `${cell === null ? 'NULL' : formatScalar(cell, expression.type)} ${sqlType(expression.type)}`
}

function refusal(sql: string): string {
  try {
    value(sql)
  } catch (error) {
    if (error instanceof ExpressionError) return `${error.code}: ${error.message}`
    throw error
  }
  throw new Error(`it was taken: ${sql}`)
}

describe("an expression of Spark's SQL", () => {
  for (const [about, list] of Object.entries(EXPRESSIONS)) {
    test(`has the value and the type that Spark gives it: ${about}`, () => {
      for (const [sql, expected] of list) expect([sql, value(sql)]).toEqual([sql, expected])
    })
  }

  test('may ask for the time, where the time is given', () => {
    expect(value('current_date()')).toBe('1970-01-01 DATE')
    expect(value('now() = current_timestamp')).toBe('true BOOLEAN')
    expect(() => compileExpression('ts < now()', SCHEMA)).toThrow('it depends on the time')
  })

  test('is refused where it might mean something else in another version, or with other settings', () => {
    for (const [sql, words] of [
      ["ts IN ('2024-02-29')", 'some are texts and some are not'],
      ['coalesce(n, none)', 'some are texts and some are not'],
      ['none = 1 / 0', 'of type STRING stands beside one of type DOUBLE'],
      ['CAST(x AS DECIMAL(5,1))', 'a cast from DOUBLE to DECIMAL(5,1)'],
      ["'a''b'", 'two texts stand side by side'],
      ['"n" = 1', 'may be a text or the name of a column'],
      ["n = '7'", 'of type INT stands beside one of type STRING'],
      ['f > n', 'a FLOAT stands beside a whole number'],
      ['f * 2', 'a FLOAT stands beside a whole number'],
      ['p / 2', 'decimal numbers are divided'],
      ['CAST(x AS STRING)', 'a cast from DOUBLE to STRING'],
      ['hash(n)', 'the function hash is not worked out'],
      ["s RLIKE '\\\\bGr'", 'may find something else'],
      ["s RLIKE '(?i)gr'", 'may find something else'],
      ["s RLIKE 'a++'", 'may find something else'],
      ["s LIKE 'a\\\\b'", 'a backslash too many'],
      ['s LIKE s', 'a pattern is only used on texts'],
      ["d + INTERVAL '1' DAY", 'INTERVAL is not worked out'],
      ['nope > 1', 'there is no column nope'],
      ['st.nope', 'there is no member nope'],
      ['n > ', 'it ends too early'],
      ['n > 1 n', '"n" is not understood there'],
      ['n AND ok', 'a condition has the type INT'],
      ['exists(SELECT 1)', 'EXISTS is not worked out'],
      ['upper(s, s)', 'with 2 operands'],
      ["d > 'soon'", 'is not taken for a DATE'],
      ["date_format(ts, 'YYYY')", 'the format "YYYY" is not worked out'],
      ['n > 1;', 'is not understood'],
      ["X'00' = s", 'X is not worked out'],
      ['p * big * big', 'a decimal number of 52 digits'],
      [`${'('.repeat(300)}n${')'.repeat(300)}`, 'nested more than'],
    ] as const)
      expect([sql, refusal(sql)]).toEqual([sql, expect.stringContaining(words)])
  })

  test('has no value where Spark with ANSI on would fail', () => {
    for (const [sql, words] of [
      ['n / 0', 'divided by 0'],
      ['n % 0', 'divided by 0'],
      ['2147483647 + n', 'does not fit 32 bits'],
      ['big * big', 'does not fit 64 bits'],
      ['CAST(big AS INT)', 'does not fit 32 bits'],
      ['CAST(s AS INT)', 'is no whole number'],
      ['to_date(s)', 'is not taken for a DATE'],
      ['CAST(tiny * 100 AS TINYINT)', 'does not fit 8 bits'],
      ['CAST(p AS DECIMAL(3,1))', 'more than 3 digits'],
    ] as const)
      expect([sql, refusal(sql)]).toEqual([sql, expect.stringMatching(new RegExp(`^no_value: .*${words}`))])
  })

  test('names the columns that it reads', () => {
    expect(compileExpression('st.a > 1 AND n < big', SCHEMA).columns).toEqual([0, 1, 10])
  })
})
