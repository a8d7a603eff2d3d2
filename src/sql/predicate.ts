import type { DuckDBConnection } from '@duckdb/node-api'
import { isSameName } from '../columns/schema.ts'
import { JsonNumber, parseExactJson } from '../columns/text/json.ts'
import { parseDate, parseTimestamp, ScalarError } from '../columns/text/scalars.ts'
import {
  ANY,
  allOf,
  type ColumnPath,
  type Comparison,
  type Literal,
  oneOf,
  type RowFilter,
} from '../table/row-filter.ts'
import { TABLE_NAME } from './errors.ts'

/** A node of the engine's syntax tree. */
type Node = Readonly<Record<string, unknown>>

const COMPARISONS: Readonly<Record<string, Comparison>> = {
  COMPARE_EQUAL: '=',
  COMPARE_NOTEQUAL: '!=',
  COMPARE_LESSTHAN: '<',
  COMPARE_LESSTHANOREQUALTO: '<=',
  COMPARE_GREATERTHAN: '>',
  COMPARE_GREATERTHANOREQUALTO: '>=',
}
/** `5 < id` is `id > 5`. */
const TURNED: Readonly<Record<Comparison, Comparison>> = {
  '=': '=',
  '!=': '!=',
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
}
const NEGATED: Readonly<Record<Comparison, Comparison>> = {
  '=': '!=',
  '!=': '=',
  '<': '>=',
  '>=': '<',
  '>': '<=',
  '<=': '>',
}
const INTEGERS: readonly unknown[] = ['TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'HUGEINT']
/** A decimal with more digits may be compared as a float. */
const DECIMAL_DIGITS_MAX = 18
/** Functions that are given the names of tables as text. */
const NAMING_FUNCTIONS: readonly unknown[] = ['query', 'query_table']
/** Nodes that may be about the table without naming it as others do, or about rows that its own WHERE does not let through. */
const OPAQUE: readonly unknown[] = ['SHOW_REF', 'PIVOT', 'DELIM_GET', 'COLUMN_DATA', 'BOUND_TABLE_REF']
/** A statement that is longer lists values, and is not worth its tree. */
const SQL_CHARS_MAX = 200_000
const DATE = /^\d{4}-\d{2}-\d{2}$/
const TIMESTAMP = /^\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z?)?$/

/**
 * Returns the condition of a query on the rows of the table, as far as its syntax tells: the table must be named once,
 * and the WHERE beside it decides. The engine parses it; whatever is not understood is a filter that lets all rows through.
 */
export async function filterOf(connection: DuckDBConnection, sql: string): Promise<RowFilter> {
  return (await wantedOf(connection, sql)).filter
}

/** The rows of the table that a query asks for, and whether it only counts them. */
export interface Wanted {
  readonly filter: RowFilter
  /** It asks how many rows there are, and for nothing else. */
  readonly isCount: boolean
}

/** The same as `filterOf`, and more. */
export async function wantedOf(connection: DuckDBConnection, sql: string): Promise<Wanted> {
  if (sql.length > SQL_CHARS_MAX) return { filter: ANY, isCount: false }
  const reader = await connection.runAndReadAll('SELECT json_serialize_sql($1::VARCHAR)', [sql])
  const [row] = reader.getRows()
  const tree = parseExactJson(String(row?.[0]))
  return { filter: filterOfTree(tree), isCount: isCount(tree) }
}

/** True of `SELECT count(*) FROM data` alone. */
function isCount(tree: unknown): boolean {
  const statements = (tree as Node | null)?.['statements']
  const node = Array.isArray(statements) && statements.length === 1 ? ((statements[0] as Node)['node'] as Node) : {}
  const { select_list: selected, from_table: from, cte_map: ctes } = node
  if (node['type'] !== 'SELECT_NODE' || !Array.isArray(selected) || !isNothing((ctes as Node | undefined)?.['map']))
    return false
  const { references, isOpaque } = TableReferences.in(tree)
  const isPlain = references.length === 1 && references[0]!.where === null && (from as Node)['type'] === 'BASE_TABLE'
  const others = ['group_expressions', 'group_sets', 'having', 'qualify', 'sample', 'modifiers']
  return (
    !isOpaque &&
    isPlain &&
    others.every(name => isNothing(node[name])) &&
    selected.every(each => isCountOfRows(each as Node))
  )
}

function isCountOfRows(call: Node): boolean {
  return call['class'] === 'FUNCTION' && functionName({ function: call }) === 'count_star' && isNothing(call['filter'])
}

function isNothing(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.length === 0)
}

/** The same of a syntax tree. */
export function filterOfTree(tree: unknown): RowFilter {
  const found = TableReferences.in(tree)
  const [only] = found.references
  if (found.isOpaque || found.references.length !== 1 || only === undefined) return ANY
  return only.where === undefined || only.where === null ? ANY : conditionOf(only.where, only)
}

/** The place where a query names the table. */
interface Reference {
  /** The name that columns may have in front. */
  readonly name: string
  readonly where: unknown
  /** Other relations stand beside it, so that a bare name may be a column of theirs. */
  readonly isJoined: boolean
}

class TableReferences {
  readonly references: Reference[] = []
  isOpaque = false

  static in(tree: unknown): TableReferences {
    const found = new TableReferences()
    found.walk(tree, undefined)
    return found
  }

  /** `select`: the SELECT whose FROM this is part of, if all that leads here are inner joins. */
  walk(value: unknown, select: { readonly node: Node; readonly isJoined: boolean } | undefined): void {
    if (Array.isArray(value)) {
      for (const item of value) this.walk(item, undefined)
      return
    }
    if (typeof value !== 'object' || value === null || value instanceof JsonNumber) return
    const node = value as Node
    this.#look(node, select)
    for (const [key, inner] of Object.entries(node)) {
      if (key === 'from_table' && node['type'] === 'SELECT_NODE') this.walk(inner, { node, isJoined: false })
      else if (isPlainJoin(node) && (key === 'left' || key === 'right'))
        this.walk(inner, select && { node: select.node, isJoined: true })
      else this.walk(inner, undefined)
    }
  }

  #look(node: Node, select: { readonly node: Node; readonly isJoined: boolean } | undefined): void {
    const { type } = node
    if (OPAQUE.includes(type)) this.isOpaque = true
    if (type === 'TABLE_FUNCTION' && NAMING_FUNCTIONS.includes(functionName(node))) this.isOpaque = true
    // Of a CTE of this name nothing is known.
    if (isTable(node['key']) && 'value' in node) this.isOpaque = true
    if (type !== 'BASE_TABLE' || !isTable(node['table_name'])) return
    const names = node['column_name_alias']
    const isPlain =
      Array.isArray(names) && names.length === 0 && !isThere(node['sample']) && !isThere(node['at_clause'])
    const alias = node['alias']
    this.references.push({
      name: typeof alias === 'string' && alias !== '' ? alias : TABLE_NAME,
      where:
        isPlain && select !== undefined && !isThere(select.node['sample']) ? select.node['where_clause'] : undefined,
      isJoined: select?.isJoined === true,
    })
  }
}

function isTable(name: unknown): boolean {
  return typeof name === 'string' && name.toLowerCase() === TABLE_NAME
}

function isThere(value: unknown): boolean {
  return value !== undefined && value !== null
}

function functionName(node: Node): unknown {
  const name = (node['function'] as Node | undefined)?.['function_name']
  return typeof name === 'string' ? name.toLowerCase() : name
}

/** A join that has no rows but those of both sides that its condition lets through. */
function isPlainJoin({ type, join_type, ref_type }: Node): boolean {
  return type === 'JOIN' && join_type === 'INNER' && (ref_type === 'REGULAR' || ref_type === 'CROSS')
}

/** Returns a filter that must hold for a condition to be TRUE; with `isNegated`, for it to be FALSE. */
function conditionOf(value: unknown, reference: Reference, isNegated = false): RowFilter {
  const node = (value ?? {}) as Node
  const children = Array.isArray(node['children']) ? (node['children'] as unknown[]) : []
  const inside = (child: unknown): RowFilter => conditionOf(child, reference, isNegated)
  const { type } = node
  switch (type) {
    case 'CONJUNCTION_AND':
    case 'CONJUNCTION_OR':
      return ((type === 'CONJUNCTION_AND') === isNegated ? oneOf : allOf)(children.map(inside))
    case 'OPERATOR_NOT':
      return children.length === 1 ? conditionOf(children[0], reference, !isNegated) : ANY
    case 'OPERATOR_IS_NULL':
    case 'OPERATOR_IS_NOT_NULL': {
      const column = columnOf(children[0], reference)
      return column === undefined ? ANY : { kind: 'null', column, isNull: (type === 'OPERATOR_IS_NULL') !== isNegated }
    }
    case 'COMPARE_IN':
    case 'COMPARE_NOT_IN': {
      const [left, ...items] = children
      return (type === 'COMPARE_IN') === isNegated
        ? allOf(items.map(item => comparison('!=', left, item, reference)))
        : oneOf(items.map(item => comparison('=', left, item, reference)))
    }
    case 'COMPARE_BETWEEN':
      return between(node, reference, isNegated)
    case 'COLUMN_REF': {
      const column = columnOf(node, reference)
      return column === undefined ? ANY : isFlag(column, !isNegated)
    }
    case 'FUNCTION':
      return node['function_name'] === '~~' && !isNegated ? likeOf(children, reference) : ANY
    default: {
      const operator = COMPARISONS[String(type)]
      if (operator === undefined) return ANY
      return comparison(isNegated ? NEGATED[operator] : operator, node['left'], node['right'], reference)
    }
  }
}

function between({ input, lower, upper }: Node, reference: Reference, isNegated: boolean): RowFilter {
  // Of different types, all three are compared in a third.
  if (literalOf(lower)?.kind !== literalOf(upper)?.kind) return ANY
  return isNegated
    ? oneOf([comparison('<', input, lower, reference), comparison('>', input, upper, reference)])
    : allOf([comparison('>=', input, lower, reference), comparison('<=', input, upper, reference)])
}

function isFlag(column: ColumnPath, flag: boolean): RowFilter {
  return { kind: 'compare', column, operator: '=', value: { kind: 'boolean', flag } }
}

function comparison(operator: Comparison, left: unknown, right: unknown, reference: Reference): RowFilter {
  const column = columnOf(left, reference)
  const value = literalOf(right)
  if (column !== undefined && value !== undefined) return { kind: 'compare', column, operator, value }
  const turned = columnOf(right, reference)
  const first = literalOf(left)
  return turned === undefined || first === undefined
    ? ANY
    : { kind: 'compare', column: turned, operator: TURNED[operator], value: first }
}

/** `name LIKE 'abc%'`: all that match begin with what stands before the first sign. */
function likeOf([left, right]: readonly unknown[], reference: Reference): RowFilter {
  const column = columnOf(left, reference)
  const pattern = literalOf(right)
  if (column === undefined || pattern?.kind !== 'text') return ANY
  const text = /^[^%_\\]*/.exec(pattern.text)![0]
  return text === '' || !text.isWellFormed() ? ANY : { kind: 'prefix', column, text }
}

/** A column of the table, whatever else is named beside it; undefined for anything else. */
function columnOf(value: unknown, { name, isJoined }: Reference): ColumnPath | undefined {
  const { type, column_names: names } = (value ?? {}) as Node
  if (type !== 'COLUMN_REF' || !Array.isArray(names) || !names.every(each => typeof each === 'string')) return undefined
  const [first = '', ...rest] = names as string[]
  // Without a column of such a name it may be something else: `filesFor` finds none then, and rules nothing out.
  if (rest.length === 0) return isJoined ? undefined : [first]
  return rest.length === 1 && isSameName(first, name) ? rest : undefined
}

/** A constant; undefined for anything else. */
function literalOf(value: unknown): Literal | undefined {
  const node = (value ?? {}) as Node
  if (node['type'] === 'OPERATOR_CAST' && node['try_cast'] === false) return castOf(node)
  if (node['type'] !== 'VALUE_CONSTANT') return undefined
  const { type, is_null: isNull, value: constant } = node['value'] as Node
  const { id, type_info: info } = type as Node
  if (isNull !== false) return undefined
  if (id === 'VARCHAR') return typeof constant === 'string' ? { kind: 'text', text: constant } : undefined
  if (id === 'BOOLEAN') return typeof constant === 'boolean' ? { kind: 'boolean', flag: constant } : undefined
  if (id === 'DOUBLE')
    return constant instanceof JsonNumber ? { kind: 'double', number: Number(constant.source) } : undefined
  const unscaled = integerOf(constant)
  if (unscaled === undefined) return undefined
  if (INTEGERS.includes(id)) return { kind: 'exact', unscaled, scale: 0 }
  if (id !== 'DECIMAL') return undefined
  const { width, scale } = (info ?? {}) as Node
  if (!(width instanceof JsonNumber) || !(scale instanceof JsonNumber)) return undefined
  if (Number(width.source) > DECIMAL_DIGITS_MAX) return undefined
  return { kind: 'exact', unscaled, scale: Number(scale.source) }
}

/** Numbers of 128 bits come in two halves. */
function integerOf(value: unknown): bigint | undefined {
  if (value instanceof JsonNumber) return /^-?\d+$/.test(value.source) ? BigInt(value.source) : undefined
  const { upper, lower } = (value ?? {}) as Node
  if (!(upper instanceof JsonNumber) || !(lower instanceof JsonNumber)) return undefined
  return (BigInt(upper.source) << 64n) + BigInt(lower.source)
}

/** `DATE '2024-01-31'`, `TIMESTAMP '...'`, `true`: texts that the engine makes values of. Its time zone is UTC. */
function castOf(node: Node): Literal | undefined {
  const text = literalOf(node['child'])
  if (text?.kind !== 'text') return undefined
  try {
    switch ((node['cast_type'] as Node)['id']) {
      case 'BOOLEAN':
        return text.text === 't' || text.text === 'f' ? { kind: 'boolean', flag: text.text === 't' } : undefined
      case 'DATE':
        return DATE.test(text.text) ? { kind: 'date', days: parseDate(text.text) } : undefined
      case 'TIMESTAMP':
      case 'TIMESTAMP WITH TIME ZONE':
        return TIMESTAMP.test(text.text) ? { kind: 'timestamp', micros: parseTimestamp(text.text, true) } : undefined
      default:
        return undefined
    }
  } catch (error) {
    if (error instanceof ScalarError) return undefined
    throw error
  }
}
