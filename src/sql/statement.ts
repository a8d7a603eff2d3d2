import { type Alteration, parseAlteration } from './alter-statement.ts'
import { isSymbol, isWord, nameOf, splitTokens, type Token, tokenize } from './tokens.ts'

/** A name of a table: a range of the statement's text. */
export interface Target {
  readonly start: number
  readonly end: number
  /** Undefined where it is made of several, such as `main.data`. */
  readonly name: string | undefined
}

/** One statement of a text. */
export interface Parsed {
  readonly sql: string
  /** Undefined for a statement that is not understood. */
  readonly statement: Statement | undefined
  /** Changed rows are asked for (RETURNING). */
  readonly returning: boolean
}

/** Rows whose place new ones take: those of a condition, or all. */
export interface Replaced {
  readonly condition: string | undefined
}

/** A new value: `column = expression`. */
export interface Assignment {
  readonly column: string
  /** Undefined for DEFAULT. */
  readonly expression: string | undefined
}

export type Statement =
  /** Everything that does not change the table; the engine says whether it is a query. */
  | { readonly kind: 'query'; readonly sql: string; readonly verb: string }
  | { readonly kind: 'truncate'; readonly sql: string; readonly target: Target }
  | {
      readonly kind: 'insert'
      /** With INTO, as the engine knows it, whatever it replaces. */
      readonly sql: string
      readonly target: Target
      /** OVERWRITE or REPLACE WHERE: the rows take the place of others. */
      readonly replaced?: Replaced
    }
  | {
      readonly kind: 'delete'
      readonly sql: string
      /** `WITH ...` in front, or empty. */
      readonly prefix: string
      /** The name of the table in the rest of the statement, in quotes as needed. */
      readonly alias: string
      readonly target: Target
      /** USING: further relations, or undefined. */
      readonly sources: string | undefined
      readonly condition: string | undefined
    }
  | {
      readonly kind: 'update'
      readonly sql: string
      readonly prefix: string
      readonly alias: string
      /** Undefined where they are written in a form that only the engine understands. */
      readonly assignments: readonly Assignment[] | undefined
      readonly sources: string | undefined
      readonly condition: string | undefined
      readonly target: Target
    }
  | { readonly kind: 'alter'; readonly sql: string; readonly target: Target; readonly alteration: Alteration }
  | MergeStatement

export interface MergeStatement {
  readonly kind: 'merge'
  readonly sql: string
  readonly prefix: string
  readonly alias: string
  readonly target: Target
  readonly source: string
  /** The name of the source in the rest of the statement; undefined if it has none. */
  readonly sourceAlias: string | undefined
  /** From ON or USING on. */
  readonly join: string
  readonly clauses: readonly MergeClause[]
}

/** Which rows a clause of MERGE is about: pairs that match, source rows without a match, rows of the table without one. */
export type MergeSide = 'matched' | 'notMatched' | 'notMatchedBySource'

export interface MergeClause {
  readonly side: MergeSide
  readonly condition: string | undefined
  readonly action: MergeAction
}

export type MergeAction =
  /** `assignments` undefined: every column of the source, by its name. */
  | { readonly kind: 'update'; readonly assignments: readonly Assignment[] | undefined }
  | { readonly kind: 'delete' }
  /** `values` undefined: every column of the source, by its name. `columns` undefined: those of the table, in order. */
  | {
      readonly kind: 'insert'
      readonly columns: readonly string[] | undefined
      /** Undefined for DEFAULT. */
      readonly values: readonly (string | undefined)[] | undefined
    }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'error'; readonly message: string | undefined }

const MODIFIES = ['insert', 'update', 'delete', 'merge', 'truncate', 'alter']

/**
 * Takes a text apart: its statements, and the clauses of each. They need not be valid: what is not understood is either
 * refused by the engine, with its own words, or is a form that we do not know.
 */
export function parseStatements(text: string): Parsed[] {
  return splitTokens(tokenize(text)).map(tokens => {
    const { start } = tokens[0]!
    const sql = text.slice(start, tokens.at(-1)!.end)
    const own =
      start === 0 ? tokens : tokens.map(token => ({ ...token, start: token.start - start, end: token.end - start }))
    return {
      sql,
      statement: parseTokens(sql, own),
      returning: own.some(token => token.depth === 0 && isWord(token, 'returning')),
    }
  })
}

function parseTokens(sql: string, tokens: readonly Token[]): Statement | undefined {
  const at = verbIndex(tokens)
  const verb = tokens[at]
  if (!isWord(verb, ...MODIFIES))
    return { kind: 'query', sql, verb: verb?.kind === 'word' ? verb.text.toLowerCase() : '' }
  const prefix = sql.slice(0, verb!.start)
  const cursor = new Cursor(sql, tokens, at + 1)
  switch (verb!.text.toLowerCase()) {
    case 'truncate':
      return parseTruncate(cursor)
    case 'insert':
      return parseInsert(cursor)
    case 'alter':
      return parseAlter(cursor)
    case 'delete':
      return parseDelete(cursor, prefix)
    case 'update':
      return parseUpdate(cursor, prefix)
    default:
      return parseMerge(cursor, prefix)
  }
}

const MAY_MODIFY = new RegExp(`\\b(?:${MODIFIES.join('|')})\\b`, 'i')

/** False for a statement that changes nothing for sure: quickly told, also of a megabyte of SQL. */
export function mayModify(sql: string): boolean {
  return MAY_MODIFY.test(sql)
}

/** The index of the word that says what the statement does, behind `WITH name AS (...), ...`. */
function verbIndex(tokens: readonly Token[]): number {
  if (!isWord(tokens[0], 'with')) return 0
  let at = isWord(tokens[1], 'recursive') ? 2 : 1
  for (;;) {
    at++
    // Column lists, USING KEY lists and [NOT] MATERIALIZED may stand before the query in brackets behind AS.
    while (at < tokens.length && !isWord(tokens[at], 'as')) at++
    while (at < tokens.length && !isSymbol(tokens[at], '(')) at++
    at = closing(tokens, at) + 1
    if (!isSymbol(tokens[at], ',')) return at
    at++
  }
}

/** The index of the bracket that closes the one at `open`. */
function closing(tokens: readonly Token[], open: number): number {
  const depth = tokens[open]?.depth
  for (let at = open + 1; at < tokens.length; at++) {
    if (tokens[at]!.depth === depth && isSymbol(tokens[at], ')')) return at
  }
  return tokens.length
}

class Cursor {
  readonly sql: string
  readonly tokens: readonly Token[]
  at: number

  constructor(sql: string, tokens: readonly Token[], at: number) {
    this.sql = sql
    this.tokens = tokens
    this.at = at
  }

  get token(): Token | undefined {
    return this.tokens[this.at]
  }

  /** Nothing is left over: what is not understood must not be passed over, as it may be the misspelt condition. */
  get atEnd(): boolean {
    return this.at >= this.tokens.length
  }

  skipWord(...words: readonly string[]): boolean {
    if (!isWord(this.token, ...words)) return false
    this.at++
    return true
  }

  /** `[ONLY] a.b.name [*]`. */
  target(): Target | undefined {
    this.skipWord('only')
    const first = this.token
    if (first?.kind !== 'word' && first?.kind !== 'quoted') return undefined
    this.at++
    while (isSymbol(this.token, '.')) this.at += 2
    const end = this.tokens[this.at - 1]?.end ?? first.end
    if (isSymbol(this.token, '*')) this.at++
    return { start: first.start, end, name: end === first.end ? nameOf(first) : undefined }
  }

  /** `[AS] alias`, unless one of `stops` follows. */
  alias(...stops: readonly string[]): Token | undefined {
    const explicit = this.skipWord('as')
    const { token } = this
    if (token === undefined || (!explicit && isWord(token, ...stops))) return undefined
    if (token.kind !== 'word' && token.kind !== 'quoted') return undefined
    this.at++
    return token
  }

  /** The text up to the next of `stops` outside brackets (or the end), which becomes the current token. Undefined if empty. */
  until(...stops: readonly string[]): string | undefined {
    const start = this.at
    let cases = 0
    for (; this.at < this.tokens.length; this.at++) {
      // CASE has a WHEN and a THEN of its own, up to its END.
      if (cases === 0 && this.#isStop(stops)) break
      if (isWord(this.token, 'case')) cases++
      else if (cases > 0 && isWord(this.token, 'end')) cases--
    }
    return this.#text(start, this.at)
  }

  #isStop(stops: readonly string[]): boolean {
    const { token } = this
    if (token?.depth !== 0 || !isWord(token, ...stops)) return false
    // IS [NOT] DISTINCT FROM is a comparison.
    return !(isWord(token, 'from') && isWord(this.tokens[this.at - 1], 'distinct'))
  }

  #text(from: number, to: number): string | undefined {
    if (to <= from) return undefined
    return this.sql.slice(this.tokens[from]!.start, this.tokens[to - 1]!.end)
  }
}

function aliasOf(cursor: Cursor, target: Target, alias: Token | undefined): string {
  return alias?.text ?? cursor.sql.slice(target.start, target.end)
}

function parseInsert(cursor: Cursor): Statement | undefined {
  if (cursor.skipWord('or')) cursor.at++
  const into = cursor.token
  const isOverwrite = cursor.skipWord('overwrite')
  if (!cursor.skipWord('into', ...(isOverwrite ? ['table'] : [])) && !isOverwrite) return undefined
  const target = cursor.target()
  if (target === undefined || into === undefined) return undefined
  if (isOverwrite) return insertInto(cursor, into, target, { condition: undefined })
  if (!isWord(cursor.token, 'replace') || !isWord(cursor.tokens[cursor.at + 1], 'where'))
    return { kind: 'insert', sql: cursor.sql, target }
  cursor.at += 2
  const condition = cursor.until('select', 'values', 'table', 'from', 'with')
  if (condition === undefined || cursor.atEnd) return undefined
  return insertInto(cursor, into, target, { condition })
}

/** The statement from `into` on as the engine knows it: INTO, the target, and what is left. */
function insertInto({ sql, token }: Cursor, into: Token, target: Target, replaced: Replaced): Statement {
  const front = `${sql.slice(0, into.start)}INTO `
  const name = sql.slice(target.start, target.end)
  const rest = token === undefined ? '' : sql.slice(token.start)
  const own = { ...target, start: front.length, end: front.length + name.length }
  return { kind: 'insert', sql: `${front}${name} ${rest}`, target: own, replaced }
}

function parseAlter(cursor: Cursor): Statement | undefined {
  if (!cursor.skipWord('table')) return undefined
  const target = cursor.target()
  const alteration = target && parseAlteration(cursor.sql, cursor.tokens.slice(cursor.at))
  return alteration && { kind: 'alter', sql: cursor.sql, target, alteration }
}

function parseTruncate(cursor: Cursor): Statement | undefined {
  cursor.skipWord('table')
  const target = cursor.target()
  return target && cursor.atEnd ? { kind: 'truncate', sql: cursor.sql, target } : undefined
}

function parseDelete(cursor: Cursor, prefix: string): Statement | undefined {
  if (!cursor.skipWord('from')) return undefined
  const target = cursor.target()
  if (target === undefined) return undefined
  const alias = aliasOf(cursor, target, cursor.alias('using', 'where', 'returning'))
  const sources = cursor.skipWord('using') ? cursor.until('where', 'returning') : undefined
  const condition = cursor.skipWord('where') ? cursor.until('returning') : undefined
  return cursor.atEnd ? { kind: 'delete', sql: cursor.sql, prefix, alias, target, sources, condition } : undefined
}

function parseUpdate(cursor: Cursor, prefix: string): Statement | undefined {
  const target = cursor.target()
  if (target === undefined) return undefined
  const alias = cursor.alias('set')
  if (!cursor.skipWord('set')) return undefined
  const start = cursor.at
  cursor.until('from', 'where', 'returning')
  const assignments = parseAssignments(cursor.sql, cursor.tokens.slice(start, cursor.at))
  const sources = cursor.skipWord('from') ? cursor.until('where', 'returning') : undefined
  const condition = cursor.skipWord('where') ? cursor.until('returning') : undefined
  if (!cursor.atEnd) return undefined
  return {
    kind: 'update',
    sql: cursor.sql,
    prefix,
    alias: aliasOf(cursor, target, alias),
    assignments,
    sources,
    condition,
    target,
  }
}

function parseAssignments(sql: string, tokens: readonly Token[]): Assignment[] | undefined {
  const assignments: Assignment[] = []
  for (const item of splitAt(tokens, ',')) {
    const [left, equals, ...right] = item
    if (left === undefined || (left.kind !== 'word' && left.kind !== 'quoted')) return undefined
    if (!isSymbol(equals, '=') || right.length === 0) return undefined
    const isDefault = right.length === 1 && isWord(right[0], 'default')
    const expression = isDefault ? undefined : sql.slice(right[0]!.start, right.at(-1)!.end)
    assignments.push({ column: nameOf(left), expression })
  }
  return assignments
}

/** Cuts tokens at a symbol outside brackets. */
function splitAt(tokens: readonly Token[], symbol: string): Token[][] {
  const depth = tokens[0]?.depth
  const items: Token[][] = [[]]
  for (const token of tokens) {
    if (token.depth === depth && isSymbol(token, symbol)) items.push([])
    else items.at(-1)!.push(token)
  }
  return items
}

function parseMerge(cursor: Cursor, prefix: string): Statement | undefined {
  if (!cursor.skipWord('into')) return undefined
  const target = cursor.target()
  if (target === undefined) return undefined
  const alias = aliasOf(cursor, target, cursor.alias('using'))
  if (!cursor.skipWord('using')) return undefined
  const start = cursor.at
  const source = cursor.until('on', 'using')
  const sourceAlias = nameOfRelation(cursor.tokens.slice(start, cursor.at))
  const join = cursor.until('when')
  if (source === undefined || join === undefined) return undefined
  const clauses: MergeClause[] = []
  while (!cursor.atEnd) {
    const clause = parseMergeClause(cursor)
    if (clause === undefined) return undefined
    clauses.push(clause)
  }
  return { kind: 'merge', sql: cursor.sql, prefix, alias, target, source, sourceAlias, join, clauses }
}

/** The name of a relation: its alias, which may be followed by names of columns, or its own last name. */
function nameOfRelation(tokens: readonly Token[]): string | undefined {
  let last = tokens.length - 1
  if (isSymbol(tokens[last], ')')) last = opening(tokens, last) - 1
  const token = tokens[last]
  return token?.kind === 'word' || token?.kind === 'quoted' ? token.text : undefined
}

/** The index of the bracket that the one at `close` closes. */
function opening(tokens: readonly Token[], close: number): number {
  const depth = tokens[close]?.depth
  for (let at = close - 1; at >= 0; at--) if (tokens[at]!.depth === depth && isSymbol(tokens[at], '(')) return at
  return 0
}

function parseMergeClause(cursor: Cursor): MergeClause | undefined {
  if (!cursor.skipWord('when')) return undefined
  const side = parseMergeSide(cursor)
  const condition = cursor.skipWord('and') ? cursor.until('then') : undefined
  if (side === undefined || !cursor.skipWord('then')) return undefined
  const action = parseMergeAction(cursor, side)
  return action && { side, condition, action }
}

function parseMergeSide(cursor: Cursor): MergeSide | undefined {
  const isNegative = cursor.skipWord('not')
  if (!cursor.skipWord('matched')) return undefined
  if (!isNegative) return 'matched'
  if (!cursor.skipWord('by') || cursor.skipWord('target')) return 'notMatched'
  return cursor.skipWord('source') ? 'notMatchedBySource' : undefined
}

/** An action must be all that stands before the next WHEN. */
function parseMergeAction(cursor: Cursor, side: MergeSide): MergeAction | undefined {
  if (cursor.skipWord('do')) return cursor.skipWord('nothing') ? { kind: 'nothing' } : undefined
  if (cursor.skipWord('error')) return { kind: 'error', message: cursor.until('when') }
  if (cursor.skipWord('delete')) return side === 'notMatched' ? undefined : { kind: 'delete' }
  if (cursor.skipWord('insert')) return side === 'notMatched' ? parseMergeInsert(cursor) : undefined
  if (!cursor.skipWord('update') || side === 'notMatched') return undefined
  const isSet = cursor.skipWord('set')
  if (isByName(cursor)) return side === 'matched' ? { kind: 'update', assignments: undefined } : undefined
  const start = cursor.at
  cursor.until('when')
  const assignments = isSet ? parseAssignments(cursor.sql, cursor.tokens.slice(start, cursor.at)) : undefined
  return assignments && { kind: 'update', assignments }
}

/** `[BY NAME] [*]` and nothing more. */
function isByName(cursor: Cursor): boolean {
  const { at } = cursor
  if (cursor.skipWord('by') && !cursor.skipWord('name')) return false
  if (isSymbol(cursor.token, '*')) cursor.at++
  if (cursor.atEnd || isWord(cursor.token, 'when')) return true
  cursor.at = at
  return false
}

function parseMergeInsert(cursor: Cursor): MergeAction | undefined {
  if (isByName(cursor)) return { kind: 'insert', columns: undefined, values: undefined }
  let columns: string[] | undefined
  if (isSymbol(cursor.token, '(')) {
    const names = parseList(cursor)
    if (names.some(name => name.length !== 1)) return undefined
    columns = names.map(([name]) => nameOf(name!))
  }
  if (!cursor.skipWord('values') || !isSymbol(cursor.token, '(')) return undefined
  const values = parseList(cursor).map(value =>
    value.length === 1 && isWord(value[0], 'default') ? undefined : textOf(cursor.sql, value),
  )
  return cursor.atEnd || isWord(cursor.token, 'when') ? { kind: 'insert', columns, values } : undefined
}

/** The items of a list in brackets. */
function parseList(cursor: Cursor): Token[][] {
  const start = cursor.at
  const close = closing(cursor.tokens, start)
  cursor.at = close + 1
  return splitAt(cursor.tokens.slice(start + 1, close), ',')
}

function textOf(sql: string, tokens: readonly Token[]): string {
  return tokens.length === 0 ? '' : sql.slice(tokens[0]!.start, tokens.at(-1)!.end)
}
