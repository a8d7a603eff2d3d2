import { isSymbol, isWord, nameOf, type Token } from './tokens.ts'

/** The change of a table by ALTER TABLE. */
export type Alteration =
  /** `columns`: as `parseDdl` reads them. */
  | { readonly kind: 'addColumns'; readonly columns: string }
  | { readonly kind: 'nullability'; readonly column: string; readonly nullable: boolean }
  | { readonly kind: 'setProperties'; readonly properties: ReadonlyMap<string, string> }
  | { readonly kind: 'unsetProperties'; readonly names: readonly string[]; readonly ifExists: boolean }

/**
 * Reads what stands behind `ALTER TABLE name`: ADD COLUMN[S], ALTER [COLUMN] name SET | DROP NOT NULL, [UN]SET TBLPROPERTIES.
 * Undefined for anything else.
 */
export function parseAlteration(sql: string, tokens: readonly Token[]): Alteration | undefined {
  const [first, second] = tokens
  if (isWord(first, 'add') && isWord(second, 'column', 'columns')) return addedColumns(sql, tokens.slice(2))
  if (isWord(first, 'set') && isWord(second, 'tblproperties')) return setProperties(tokens.slice(2))
  if (isWord(first, 'unset') && isWord(second, 'tblproperties')) return unsetProperties(tokens.slice(2))
  if (isWord(first, 'alter', 'change')) return nullability(tokens.slice(isWord(second, 'column') ? 2 : 1))
  return undefined
}

function addedColumns(sql: string, tokens: readonly Token[]): Alteration | undefined {
  const inner = inBrackets(tokens) ?? tokens
  if (inner.length === 0) return undefined
  return { kind: 'addColumns', columns: sql.slice(inner[0]!.start, inner.at(-1)!.end) }
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
