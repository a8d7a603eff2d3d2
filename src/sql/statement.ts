import { isSymbol, isWord, nameOf, type Token, tokenize } from './tokens.ts'

/** A range of the statement's text. */
export interface Span {
  readonly start: number
  readonly end: number
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
  | { readonly kind: 'truncate'; readonly sql: string; readonly target: Span }
  | { readonly kind: 'insert'; readonly sql: string; readonly target: Span }
  | {
      readonly kind: 'delete'
      readonly sql: string
      /** `WITH ...` in front, or empty. */
      readonly prefix: string
      /** What the rest of the statement calls the table, in quotes as needed. */
      readonly alias: string
      readonly target: Span
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
      readonly target: Span
      readonly hasAlias: boolean
    }
  | {
      readonly kind: 'merge'
      readonly sql: string
      readonly prefix: string
      readonly alias: string
      readonly source: string
      /** From ON or USING on. */
      readonly join: string
      /** WHEN NOT MATCHED BY SOURCE is there: any row may change. */
      readonly touchesUnmatched: boolean
      readonly target: Span
      readonly hasAlias: boolean
    }

const MODIFIES = ['insert', 'update', 'delete', 'merge', 'truncate']

/**
 * Finds the clauses of one statement. It need not be valid: what cannot be taken apart comes back undefined, and is either
 * refused by the engine, with its own words, or is a form that we do not know.
 */
export function parseStatement(sql: string): Statement | undefined {
  const tokens = tokenize(sql)
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
    case 'delete':
      return parseDelete(cursor, prefix)
    case 'update':
      return parseUpdate(cursor, prefix)
    default:
      return parseMerge(cursor, prefix)
  }
}

/** True if a statement that changes rows asks for them back. */
export function hasReturning(sql: string): boolean {
  return tokenize(sql).some(token => token.depth === 0 && isWord(token, 'returning'))
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
  target(): Span | undefined {
    this.skipWord('only')
    const first = this.token
    if (first?.kind !== 'word' && first?.kind !== 'quoted') return undefined
    this.at++
    while (isSymbol(this.token, '.')) this.at += 2
    const span = { start: first.start, end: this.tokens[this.at - 1]?.end ?? first.end }
    if (isSymbol(this.token, '*')) this.at++
    return span
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
    while (this.at < this.tokens.length && !this.#isStop(stops)) this.at++
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

function aliasOf(cursor: Cursor, target: Span, alias: Token | undefined): string {
  return alias?.text ?? cursor.sql.slice(target.start, target.end)
}

function parseInsert(cursor: Cursor): Statement | undefined {
  if (cursor.skipWord('or')) cursor.at++
  if (!cursor.skipWord('into')) return undefined
  const target = cursor.target()
  return target && { kind: 'insert', sql: cursor.sql, target }
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
    hasAlias: alias !== undefined,
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
  const alias = cursor.alias('using')
  if (!cursor.skipWord('using')) return undefined
  const source = cursor.until('on', 'using')
  const join = cursor.until('when')
  if (source === undefined || join === undefined) return undefined
  const rest = cursor.tokens.slice(cursor.at)
  return {
    kind: 'merge',
    sql: cursor.sql,
    prefix,
    alias: aliasOf(cursor, target, alias),
    source,
    join,
    touchesUnmatched: rest.some((token, i) => isWord(token, 'by') && isWord(rest[i + 1], 'source')),
    target,
    hasAlias: alias !== undefined,
  }
}
