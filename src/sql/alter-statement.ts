import type { ColumnPath } from '../table/column-path.ts'
import { type ConstraintAlteration, parseConstraint } from './constraint-statement.ts'
import { isSymbol, isWord, nameOf, type Token, unquoted } from './tokens.ts'

/** The change of a table by ALTER TABLE. */
export type Alteration =
  | ConstraintAlteration
  /** `columns`: as `parseDdl` reads them. */
  | { readonly kind: 'addColumns'; readonly columns: string }
  | { readonly kind: 'rename'; readonly path: ColumnPath; readonly name: string }
  | { readonly kind: 'drop'; readonly paths: readonly ColumnPath[]; readonly ifExists: boolean }
  /** `type`: as `parseDdl` reads it. */
  | { readonly kind: 'type'; readonly path: ColumnPath; readonly type: string }
  | { readonly kind: 'nullability'; readonly column: string; readonly nullable: boolean }
  | { readonly kind: 'setProperties'; readonly properties: ReadonlyMap<string, string> }
  | { readonly kind: 'unsetProperties'; readonly names: readonly string[]; readonly ifExists: boolean }

/**
 * Reads what stands behind `ALTER TABLE name`: ADD COLUMN[S], RENAME COLUMN a TO b, DROP COLUMN[S], ALTER [COLUMN] name
 * SET | DROP NOT NULL, ALTER [COLUMN] name TYPE, [UN]SET TBLPROPERTIES, ADD | DROP CONSTRAINT. Undefined for anything else.
 */
export function parseAlteration(sql: string, tokens: readonly Token[]): Alteration | undefined {
  const [first, second] = tokens
  if (isWord(second, 'constraint')) return parseConstraint(sql.slice(first!.start))
  if (isWord(first, 'add') && isWord(second, 'column', 'columns')) return addedColumns(sql, tokens.slice(2))
  if (isWord(first, 'set') && isWord(second, 'tblproperties')) return setProperties(tokens.slice(2))
  if (isWord(first, 'unset') && isWord(second, 'tblproperties')) return unsetProperties(tokens.slice(2))
  if (isWord(first, 'rename') && isWord(second, 'column')) return renaming(textOfAll(sql, tokens.slice(2)))
  if (isWord(first, 'drop') && isWord(second, 'column', 'columns')) return dropping(sql, tokens.slice(2))
  if (!isWord(first, 'alter', 'change')) return undefined
  const rest = tokens.slice(isWord(second, 'column') ? 2 : 1)
  return nullability(rest) ?? typeChange(textOfAll(sql, rest))
}

/** A name, plain or in the quotes of DuckDB or of Spark, and names with points between them. */
const NAME = String.raw`(?:"(?:[^"]|"")+"|\x60(?:[^\x60]|\x60\x60)+\x60|[\p{L}\p{N}_$]+)`
const PATH = String.raw`${NAME}(?:\s*\.\s*${NAME})*`
const RENAMING = new RegExp(String.raw`^(${PATH})\s+to\s+(${NAME})$`, 'isu')
const TYPE_CHANGE = new RegExp(String.raw`^(${PATH})\s+(?:set\s+data\s+)?type\s+(.+)$`, 'isu')
const PATHS = new RegExp(String.raw`^${PATH}(?:\s*,\s*${PATH})*$`, 'isu')

function renaming(text: string): Alteration | undefined {
  const [, path, name] = RENAMING.exec(text) ?? []
  return path === undefined ? undefined : { kind: 'rename', path: pathOf(path), name: pathOf(name!)[0]! }
}

function typeChange(text: string): Alteration | undefined {
  const [, path, type] = TYPE_CHANGE.exec(text) ?? []
  return path === undefined ? undefined : { kind: 'type', path: pathOf(path), type: type! }
}

function dropping(sql: string, tokens: readonly Token[]): Alteration | undefined {
  const ifExists = isWord(tokens[0], 'if') && isWord(tokens[1], 'exists')
  const listed = ifExists ? tokens.slice(2) : tokens
  const text = textOfAll(sql, inBrackets(listed) ?? listed)
  if (!PATHS.test(text)) return undefined
  const paths = [...text.matchAll(new RegExp(PATH, 'gisu'))].map(([path]) => pathOf(path))
  return { kind: 'drop', paths, ifExists }
}

function pathOf(text: string): string[] {
  return [...text.matchAll(new RegExp(NAME, 'gu'))].map(([name]) => unquoted(name))
}

function textOfAll(sql: string, tokens: readonly Token[]): string {
  return tokens.length === 0 ? '' : sql.slice(tokens[0]!.start, tokens.at(-1)!.end)
}

function addedColumns(sql: string, tokens: readonly Token[]): Alteration | undefined {
  const inner = inBrackets(tokens) ?? tokens
  if (inner.length === 0) return undefined
  return { kind: 'addColumns', columns: textOfAll(sql, inner) }
}

function nullability([name, verb, ...rest]: readonly Token[]): Alteration | undefined {
  const isName = name?.kind === 'word' || name?.kind === 'quoted'
  const isNotNull = rest.length === 2 && isWord(rest[0], 'not') && isWord(rest[1], 'null')
  if (!isName || !isWord(verb, 'set', 'drop') || !isNotNull) return undefined
  return { kind: 'nullability', column: nameOf(name), nullable: isWord(verb, 'drop') }
}

function setProperties(tokens: readonly Token[]): Alteration | undefined {
  const properties = new Map<string, string>()
  for (const item of items(inBrackets(tokens))) {
    const equals = item.findIndex(token => isSymbol(token, '='))
    const name = keyOf(item.slice(0, equals))
    const [value, ...more] = item.slice(equals + 1)
    if (equals < 0 || name === undefined || value === undefined || more.length > 0) return undefined
    properties.set(name, value.kind === 'literal' ? textOf(value) : value.text)
  }
  return properties.size === 0 ? undefined : { kind: 'setProperties', properties }
}

function unsetProperties(tokens: readonly Token[]): Alteration | undefined {
  const ifExists = isWord(tokens[0], 'if') && isWord(tokens[1], 'exists')
  const names: string[] = []
  for (const item of items(inBrackets(ifExists ? tokens.slice(2) : tokens))) {
    const name = keyOf(item)
    if (name === undefined) return undefined
    names.push(name)
  }
  return names.length === 0 ? undefined : { kind: 'unsetProperties', names, ifExists }
}

/** The tokens inside of brackets that stand around all of them. */
function inBrackets(tokens: readonly Token[]): readonly Token[] | undefined {
  const isWhole = isSymbol(tokens[0], '(') && isSymbol(tokens.at(-1), ')')
  return isWhole ? tokens.slice(1, -1) : undefined
}

function items(tokens: readonly Token[] = []): Token[][] {
  const found: Token[][] = [[]]
  for (const token of tokens) {
    if (isSymbol(token, ',')) found.push([])
    else found.at(-1)!.push(token)
  }
  return found.filter(item => item.length > 0)
}

/** The name of a property: a text, or words with points between them. */
function keyOf(tokens: readonly Token[]): string | undefined {
  if (tokens.length === 0) return undefined
  const [first] = tokens
  return tokens.length === 1 && first?.kind === 'literal' ? textOf(first) : tokens.map(nameOf).join('')
}

function textOf({ text }: Token): string {
  return text.startsWith("'") ? text.slice(1, -1).replaceAll("''", "'") : text
}
