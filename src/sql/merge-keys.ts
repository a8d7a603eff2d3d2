import { isSameName } from '../columns/schema.ts'
import { parseExactJson } from '../columns/text/json.ts'
import type { DataType, Schema } from '../columns/types.ts'
import { SOURCE } from './new-rows.ts'
import type { Session } from './session.ts'
import type { MergeStatement } from './statement.ts'
import { quoteName, quoteText } from './types.ts'

/** So many values are named one by one; of more, the least and the largest. */
const LISTED_MAX = 200
const INTEGERS: readonly string[] = [
  ...['TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'HUGEINT'],
  ...['UTINYINT', 'USMALLINT', 'UINTEGER', 'UBIGINT'],
]
/** The types of the source with which columns of the table are compared in their own order. */
const ALIKE: Readonly<Partial<Record<DataType['kind'], readonly string[]>>> = {
  ...{ byte: INTEGERS, short: INTEGERS, integer: INTEGERS, long: INTEGERS },
  ...{ string: ['VARCHAR'], date: ['DATE'] },
}

type Node = Readonly<Record<string, unknown>>

/**
 * A condition that all rows of the table fulfil which a row of the source can match, as the source has been made: the values
 * that its keys have. The rows without need not be looked at. Undefined where nothing is known, or where rows that match
 * nothing are asked for.
 */
export async function keyCondition(
  session: Session,
  schema: Schema,
  statement: MergeStatement,
): Promise<string | undefined> {
  if (statement.clauses.some(({ side }) => side === 'notMatchedBySource')) return undefined
  const types = new Map((await session.rows(`DESCRIBE ${SOURCE}`)).map(([name, type]) => [String(name), String(type)]))
  const conditions: string[] = []
  for (const [column, sourceColumn] of await keysOf(session, schema, statement, [...types.keys()])) {
    const { name, type } = schema.find(field => isSameName(field.name, column))!
    const sourceType = types.get(sourceColumn) ?? ''
    if (ALIKE[type.kind]?.includes(sourceType) !== true) continue
    const values = await valuesOf(session, sourceColumn)
    const literals = values.texts.map(text => literalOf(text, sourceType))
    if (literals.length === 0 || literals.includes(undefined)) continue
    const list = literals.join(', ')
    conditions.push(
      values.isComplete
        ? `${quoteName(name)} IN (${list})`
        : `${quoteName(name)} BETWEEN ${literals[0]} AND ${literals[1]}`,
    )
  }
  return conditions.length === 0 ? undefined : conditions.join(' AND ')
}

/** The values of a column of the source as text; if there are many, the least and the largest. */
async function valuesOf(
  session: Session,
  column: string,
): Promise<{ readonly texts: readonly string[]; readonly isComplete: boolean }> {
  const name = quoteName(column)
  const all = await session.rows(
    `SELECT DISTINCT ${name}::VARCHAR FROM ${SOURCE} WHERE ${name} IS NOT NULL LIMIT ${LISTED_MAX + 1}`,
  )
  if (all.length <= LISTED_MAX) return { texts: all.map(([text]) => String(text)), isComplete: true }
  const [bounds = []] = await session.rows(`SELECT min(${name})::VARCHAR, max(${name})::VARCHAR FROM ${SOURCE}`)
  return { texts: bounds.map(String), isComplete: false }
}

function literalOf(text: string, sourceType: string): string | undefined {
  if (sourceType === 'DATE') return /^\d{4}-\d{2}-\d{2}$/.test(text) ? `DATE '${text}'` : undefined
  if (sourceType !== 'VARCHAR') return text
  // A NUL byte ends the text of a statement.
  return text.includes('\0') ? undefined : quoteText(text)
}

/** Columns of the table and of the source that have to be equal where rows match. */
async function keysOf(
  session: Session,
  schema: Schema,
  { alias, sourceAlias, join }: MergeStatement,
  sourceColumns: readonly string[],
): Promise<(readonly [string, string])[]> {
  const from = `FROM ${SOURCE}_target AS ${alias} JOIN ${SOURCE} AS ${sourceAlias ?? SOURCE} ${join}`
  const [[text] = []] = await session.rows(`SELECT json_serialize_sql(${quoteText(`SELECT 1 ${from}`)})`)
  const node = joinIn(parseExactJson(String(text)))
  if (node === undefined) return []
  const nameIn = (names: readonly string[], name: string): string | undefined =>
    names.find(each => isSameName(each, name))
  const columns = schema.map(({ name }) => name)
  const using = Array.isArray(node['using_columns']) ? (node['using_columns'] as unknown[]).map(String) : []
  const pairs = using.map(name => [nameIn(columns, name), nameIn(sourceColumns, name)] as const)
  const [target, source] = ['left', 'right'].map(side => String((node[side] as Node | undefined)?.['alias']))
  const columnOf = (
    value: unknown,
    table: string,
    own: readonly string[],
    other: readonly string[],
  ): string | undefined => {
    const names = ((value ?? {}) as Node)['column_names']
    if (((value ?? {}) as Node)['type'] !== 'COLUMN_REF' || !Array.isArray(names)) return undefined
    const [first = '', second, ...rest] = names.map(String)
    if (second === undefined) return nameIn(other, first) === undefined ? nameIn(own, first) : undefined
    return rest.length === 0 && isSameName(first, table) ? nameIn(own, second) : undefined
  }
  for (const { left, right } of equalitiesIn(node['condition'])) {
    for (const [one, two] of [
      [left, right],
      [right, left],
    ])
      pairs.push([columnOf(one, target!, columns, sourceColumns), columnOf(two, source!, sourceColumns, columns)])
  }
  return pairs.flatMap(([column, sourceColumn]) =>
    column === undefined || sourceColumn === undefined ? [] : [[column, sourceColumn] as const],
  )
}

/** The join of a syntax tree that has one. */
function joinIn(value: unknown): Node | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const node = value as Node
  if (node['type'] === 'JOIN') return node
  for (const inner of Object.values(node)) {
    const found = joinIn(inner)
    if (found !== undefined) return found
  }
  return undefined
}

/** Equalities that must all be true for a condition to be. */
function equalitiesIn(value: unknown): { readonly left: unknown; readonly right: unknown }[] {
  const node = (value ?? {}) as Node
  if (node['type'] === 'COMPARE_EQUAL') return [{ left: node['left'], right: node['right'] }]
  const children = node['type'] === 'CONJUNCTION_AND' ? node['children'] : []
  return Array.isArray(children) ? children.flatMap(equalitiesIn) : []
}
