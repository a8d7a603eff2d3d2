import { compileExpression, type RowExpression } from '../../columns/expressions/compile.ts'
import { ExpressionError } from '../../columns/expressions/errors.ts'
import { orderOf } from '../../columns/expressions/order.ts'
import { cellToJson } from '../../columns/text/json.ts'
import type { Batch, Cell, DataType, Schema } from '../../columns/types.ts'
import { cellAt, isNullAt, vectorOf } from '../../columns/vectors.ts'
import { Counts } from '../../core/counts.ts'
import { TableError } from '../errors.ts'
import { type Identity, identityOf, type Marks, nextNumber } from './identity.ts'
import type { Check, Rules } from './rules.ts'

const ROW_TEXT_MAX = 300

interface GeneratedColumn {
  readonly at: number
  readonly name: string
  readonly sql: string
  readonly type: DataType
  readonly expression: RowExpression
  readonly isSame: (a: Cell, b: Cell) => boolean
}

interface IdentityColumn {
  readonly at: number
  readonly name: string
  identity: Identity
}

/** A table's rules for new rows, ready to be applied. */
export class RowRules {
  readonly #schema: Schema
  readonly #checks: readonly (Check & { readonly expression: RowExpression })[]
  readonly #generated: readonly GeneratedColumn[]
  readonly #identities: readonly IdentityColumn[]
  readonly #marksBefore = new Map<string, bigint | undefined>()
  readonly #marks = new Map<string, bigint>()
  /** By the place of a column: the values of rows that new ones take the place of, and how many of them have each. */
  readonly #replaced = new Map<number, Counts>()
  #identityIsChecked = false
  #rows = 0

  /**
   * `newest`: the columns with the marks that numbers of identity columns go on from. TableError `unsupported_feature` if a
   * rule cannot be worked out: then nothing can be written.
   */
  constructor(rules: Rules, schema: Schema, newest: Schema, nowMs: number) {
    this.#schema = schema
    const at = (name: string): number => schema.findIndex(field => field.name === name)
    this.#checks = rules.checks.map(check => ({ ...check, expression: conditionOf(check, schema, nowMs) }))
    this.#generated = rules.generated.map(({ name, sql }) => generatedColumn(at(name), sql, schema))
    this.#identities = rules.identities.map(name => {
      const field = newest.find(other => other.name === name) ?? schema[at(name)]!
      return { at: at(name), name, identity: identityOf(field) ?? identityOf(schema[at(name)]!)! }
    })
  }

  /** True if rows get values that who writes them did not give. */
  get gives(): boolean {
    return this.#generated.length + this.#identities.length > 0
  }

  /** The marks of identity columns that have given numbers: those that they went on from, and the new ones. */
  get marks(): { readonly before: ReadonlyMap<string, bigint | undefined>; readonly after: Marks } {
    return { before: this.#marksBefore, after: this.#marks }
  }

  /** Numbers in identity columns are those that rows had, or were found to be allowed. */
  identityIsChecked(): void {
    this.#identityIsChecked = true
  }

  /** Remembers rows that new ones come in place of: those may keep what the table gave to these. */
  replaces({ rows, vectors }: Batch): void {
    for (const { at } of [...this.#generated, ...this.#identities]) {
      const known = this.#replaced.get(at) ?? new Counts()
      this.#replaced.set(at, known)
      for (let row = 0; row < rows; row++) known.add(this.#keyOf(at, cellAt(vectors[at]!, row)))
    }
  }

  /** New rows with the values that the table gives. TableError `constraint` for the first that breaks a rule. */
  applied(batch: Batch): Batch {
    const numbered = this.#identities.reduce((rows, column) => this.#numbered(rows, column), batch)
    const whole = this.#generated.reduce((rows, column) => this.#computed(rows, column), numbered)
    this.checked(whole)
    return whole
  }

  /** TableError `constraint` for the first row for which a condition is not TRUE. */
  checked(batch: Batch): void {
    for (const check of this.#checks) this.#check(check, batch)
    this.#rows += batch.rows
  }

  /** TableError `constraint` for a row for which a condition is not TRUE (NULL is not, as to Spark). */
  #check({ name, sql, expression }: Check & { readonly expression: RowExpression }, batch: Batch): void {
    const holds = this.#over(expression, batch, `${name} (${sql})`)
    for (let row = 0; row < batch.rows; row++) {
      if (holds(row) === true) continue
      throw this.#refusal(batch, row, `it breaks ${name}: ${sql}`, expression.columns)
    }
  }

  #computed(batch: Batch, { at, name, sql, type, expression, isSame }: GeneratedColumn): Batch {
    const given = batch.vectors[at]!
    const value = this.#over(expression, batch, `the value of the generated column ${name} (${sql})`)
    const cells: Cell[] = []
    for (let row = 0; row < batch.rows; row++) {
      const cell = value(row)
      const said = cellAt(given, row)
      if (said !== null && !isSame(said, cell) && !this.#takeReplaced(at, said)) {
        const [is, should] = [said, cell].map(one => cellToJson(one, type))
        const why = `the generated column ${name} is ${is}, and ${sql} is ${should}; leave it empty`
        throw this.#refusal(batch, row, why, [at, ...expression.columns])
      }
      cells.push(cell)
    }
    return withVector(batch, at, type, cells)
  }

  #numbered(batch: Batch, column: IdentityColumn): Batch {
    const { at, name } = column
    const vector = batch.vectors[at]!
    const isFree = column.identity.allowsExplicit || this.#identityIsChecked
    let cells: Cell[] | undefined
    for (let row = 0; row < batch.rows; row++) {
      if (isNullAt(vector, row)) {
        cells ??= Array.from({ length: batch.rows }, (_, i) => cellAt(vector, i))
        cells[row] = this.#next(column)
      } else if (!isFree && !this.#takeReplaced(at, cellAt(vector, row))) {
        const why = `the table itself numbers the rows (the identity column ${name}); leave it empty`
        throw this.#refusal(batch, row, why, [at])
      }
    }
    return cells === undefined ? batch : withVector(batch, at, vector.type, cells)
  }

  #next(column: IdentityColumn): bigint {
    const { name, identity } = column
    if (!this.#marksBefore.has(name)) this.#marksBefore.set(name, identity.mark)
    const mark = nextNumber(name, identity)
    column.identity = { ...identity, mark }
    this.#marks.set(name, mark)
    return mark
  }

  /** True if a row that new ones take the place of has a value that no other one has taken. */
  #takeReplaced(at: number, cell: Cell): boolean {
    return this.#replaced.get(at)?.take(this.#keyOf(at, cell)) ?? false
  }

  #keyOf(at: number, cell: Cell): string {
    return cellToJson(cell, this.#schema[at]!.type)
  }

  #over(expression: RowExpression, batch: Batch, what: string): (row: number) => Cell {
    const value = expression.over(batch)
    return row => {
      try {
        return value(row)
      } catch (error) {
        if (!(error instanceof ExpressionError)) throw error
        throw this.#refusal(batch, row, `${what} cannot be worked out: ${error.message}`, expression.columns)
      }
    }
  }

  /** `read`: the places of the columns that matter; of a long row they are told in front of the others. */
  #refusal({ vectors }: Batch, row: number, why: string, read: readonly number[]): TableError {
    const textOf = (places: readonly number[]): string => {
      const fields = places.map(at => {
        const { name, type } = this.#schema[at]!
        return `${JSON.stringify(name)}:${cellToJson(cellAt(vectors[at]!, row), type)}`
      })
      return `{${fields.join(',')}}`
    }
    const all = [...this.#schema.keys()]
    const whole = textOf(all)
    const inOrder = [...read, ...all.filter(at => !read.includes(at))]
    const shown = whole.length > ROW_TEXT_MAX ? `${textOf(inOrder).slice(0, ROW_TEXT_MAX)}...` : whole
    return new TableError('constraint', `row ${this.#rows + row + 1}, ${shown}: ${why}`)
  }
}

function withVector({ rows, vectors }: Batch, at: number, type: DataType, cells: readonly Cell[]): Batch {
  return { rows, vectors: vectors.map((vector, i) => (i === at ? vectorOf(type, cells) : vector)) }
}

/** A condition of a table. TableError `unsupported_feature` if it cannot be worked out. */
function conditionOf({ name, sql }: Check, schema: Schema, nowMs: number): RowExpression {
  const expression = compiled(name, sql, () => compileExpression(sql, schema, { nowMs }))
  if (expression.type.kind === 'boolean' || expression.type.kind === 'void') return expression
  throw notWorkedOut(name, sql, 'it is no condition')
}

function generatedColumn(at: number, sql: string, schema: Schema): GeneratedColumn {
  const { name, type } = schema[at]!
  return compiled(`the generated column ${name}`, sql, () => {
    const expression = compileExpression(sql, schema, { type })
    const order = orderOf(type)
    const isSame = (a: Cell, b: Cell): boolean => (a === null || b === null ? a === b : order(a, b) === 0)
    return { at, name, sql, type, expression, isSame }
  })
}

function compiled<T>(name: string, sql: string, compile: () => T): T {
  try {
    return compile()
  } catch (error) {
    if (error instanceof ExpressionError) throw notWorkedOut(name, sql, error.message)
    throw error
  }
}

function notWorkedOut(name: string, sql: string, why: string): TableError {
  return new TableError(
    'unsupported_feature',
    `${name} (${sql}) is none that posixlake works out: ${why}; so no rows can be written here, by Spark they can`,
  )
}
