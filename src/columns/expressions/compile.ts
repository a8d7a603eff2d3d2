import { messageOf } from '../../core/errors.ts'
import { isSameName } from '../schema.ts'
import { parseScalar } from '../text/scalars.ts'
import type { Batch, Cell, DataType, Field, Schema } from '../types.ts'
import { cellAt } from '../vectors.ts'
import { as, cast, decimalType, namedType } from './casts.ts'
import {
  BOOLEAN,
  type Compiled,
  type Cursor,
  DATE,
  DOUBLE,
  INTEGER,
  LONG,
  mapped,
  STRING,
  TIMESTAMP,
} from './compiled.ts'
import { DATES } from './dates.ts'
import { ExpressionError, unsupported } from './errors.ts'
import type { Functions } from './functions.ts'
import { condition, inOneType, OPERATORS } from './operators.ts'
import { type Expression, parseExpression } from './parse.ts'
import { TEXTS } from './texts.ts'

/** An expression of Spark's SQL over the columns of a schema. */
export interface RowExpression {
  readonly type: DataType
  /** The columns that it reads, by their places in the schema, ascending. */
  readonly columns: readonly number[]
  /** Its values for the rows of a batch that has the schema's columns. ExpressionError `no_value` where it has none. */
  over(batch: Batch): (row: number) => Cell
}

export interface CompileOptions {
  /** The time that `current_timestamp()` gives; without it the functions of the time are not worked out. */
  readonly nowMs?: number
  /** The type that the value is to have. */
  readonly type?: DataType
}

const FUNCTIONS: Functions = { ...OPERATORS, ...TEXTS, ...DATES }
const MS_MICROS = 1000n

/**
 * Makes an expression ready to be worked out, as Spark does with its usual settings (ANSI on) and the time zone UTC.
 * ExpressionError `unsupported` for all that is not known to mean the same here, whatever the settings are.
 */
export function compileExpression(sql: string, schema: Schema, options: CompileOptions = {}): RowExpression {
  const cursor: Cursor = { vectors: [], row: 0 }
  const compiler = new Compiler(schema, cursor, options.nowMs)
  let compiled = compiler.compile(parseExpression(sql))
  if (options.type !== undefined) compiled = cast(compiled, options.type)
  const { type, value } = compiled
  return {
    type,
    columns: [...compiler.columns].sort((a, b) => a - b),
    over: ({ vectors }) => {
      cursor.vectors = vectors
      return row => {
        cursor.row = row
        return value()
      }
    },
  }
}

class Compiler {
  readonly columns = new Set<number>()
  readonly #schema: Schema
  readonly #cursor: Cursor
  readonly #nowMs: number | undefined

  constructor(schema: Schema, cursor: Cursor, nowMs: number | undefined) {
    this.#schema = schema
    this.#cursor = cursor
    this.#nowMs = nowMs
  }

  compile(expression: Expression): Compiled {
    switch (expression.kind) {
      case 'null':
        return { type: { kind: 'void' }, value: () => null }
      case 'boolean':
        return constant(BOOLEAN, expression.value)
      case 'number':
        return numberOf(expression.text)
      case 'text':
        if (expression.isDouble && this.#schema.some(field => isNamed(field, expression.text)))
          throw unsupported(`"${expression.text}" may be a text or the name of a column`)
        return constant(STRING, expression.text)
      case 'typed':
        return as(constant(STRING, expression.text), namedType(expression.type))
      case 'column':
        return this.#column(expression.path)
      case 'cast':
        return cast(this.compile(expression.value), namedType(expression.type))
      case 'case':
        return this.#case(expression)
      case 'call':
        return this.#call(expression.name, expression.args)
    }
  }

  #column([name, ...members]: readonly string[]): Compiled {
    const at = this.#schema.findIndex(field => isNamed(field, name!))
    if (at < 0) throw unsupported(`there is no column ${name}`)
    this.columns.add(at)
    const cursor = this.#cursor
    let found: Compiled = {
      type: this.#schema[at]!.type,
      value: () => cellAt(cursor.vectors[at]!, cursor.row),
    }
    for (const member of members) found = memberOf(found, member)
    return found
  }

  #case({ whens, otherwise }: Extract<Expression, { kind: 'case' }>): Compiled {
    const conditions = whens.map(([when]) => condition(this.compile(when)))
    const results = inOneType([...whens.map(([, then]) => this.compile(then)), this.compile(otherwise)])
    return {
      type: results[0]!.type,
      value: () => {
        const met = conditions.findIndex(({ value }) => value() === true)
        return (results.at(met) as Compiled).value()
      },
    }
  }

  #call(name: string, args: readonly Expression[]): Compiled {
    if (name === 'if' || name === 'nvl2') {
      const [first, then, otherwise] = args
      if (args.length !== 3) throw unsupported(`${name.toUpperCase()} takes three values`)
      const when: Expression = name === 'if' ? first! : { kind: 'call', name: 'isnotnull', args: [first!] }
      return this.#case({ kind: 'case', whens: [[when, then!]], otherwise: otherwise! })
    }
    const now = this.#now(name, args)
    if (now !== undefined) return now
    const run = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined
    if (run === undefined) throw unsupported(`the function ${name} is not worked out`)
    // Those with no number of operands of their own take any.
    const isFit = run.length === 0 || args.length === run.length || (OPTIONAL[name] ?? run.length) === args.length
    if (!isFit && !VARIADIC.includes(name))
      throw unsupported(`the function ${name} is not worked out with ${args.length} operands`)
    return run(...args.map(arg => this.compile(arg)))
  }

  #now(name: string, args: readonly Expression[]): Compiled | undefined {
    const isDate = name === 'current_date' || name === 'curdate'
    if ((!isDate && name !== 'current_timestamp' && name !== 'now') || args.length > 0) return undefined
    if (this.#schema.some(field => isNamed(field, name))) throw unsupported(`${name} is also the name of a column`)
    if (this.#nowMs === undefined) throw unsupported('it depends on the time')
    const micros = constant(TIMESTAMP, BigInt(Math.trunc(this.#nowMs)) * MS_MICROS)
    return isDate ? cast(micros, DATE) : micros
  }
}

/** Functions that take another number of operands, too. */
const OPTIONAL: Readonly<Record<string, number>> = { substring: 2, substr: 2 }
const VARIADIC = ['in', 'concat', '||', 'coalesce']

function isNamed({ name }: Field, wanted: string): boolean {
  return isSameName(name, wanted)
}

function memberOf(compiled: Compiled, name: string): Compiled {
  const fields = compiled.type.kind === 'struct' ? compiled.type.fields : []
  const at = fields.findIndex(field => isNamed(field, name))
  if (at < 0) throw unsupported(`there is no member ${name} in a value`)
  return mapped<readonly Cell[]>(compiled, fields[at]!.type, cell => cell[at] ?? null)
}

function constant(type: DataType, cell: Exclude<Cell, null>): Compiled {
  return { type, value: () => cell, literal: cell }
}

const SUFFIXES: Readonly<Record<string, DataType>> = {
  y: { kind: 'byte' },
  s: { kind: 'short' },
  l: LONG,
  d: DOUBLE,
  f: { kind: 'float' },
}

/** A number as it is written. */
function numberOf(text: string): Compiled {
  const [, digits = '', suffix = ''] = /^(-?[\d.]+(?:[eE][+-]?\d+)?)(BD|bd|[LlSsYyDdFf])?$/.exec(text) ?? []
  const type = SUFFIXES[suffix.toLowerCase()] ?? numberType(digits, suffix !== '')
  try {
    return constant(type, parseScalar(digits, type))
  } catch (cause) {
    if (cause instanceof ExpressionError) throw cause
    throw unsupported(`the number ${text} is out of range: it is not ${messageOf(cause)}`)
  }
}

function numberType(digits: string, isDecimal: boolean): DataType {
  if (/e/i.test(digits)) {
    if (isDecimal) throw unsupported(`the number ${digits} has an exponent`)
    return DOUBLE
  }
  const [whole = '', fraction = ''] = digits.replace('-', '').split('.')
  if (digits.includes('.') || isDecimal)
    return decimalType(Math.max(whole.replace(/^0+/, '').length + fraction.length, 1), fraction.length)
  const value = BigInt(digits)
  if (BigInt.asIntN(32, value) === value) return INTEGER
  return BigInt.asIntN(64, value) === value ? LONG : decimalType(whole.length, 0)
}
