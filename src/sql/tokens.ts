/** A piece of SQL between blanks and comments. `end` is the offset behind it. */
export interface Token {
  readonly kind: 'word' | 'quoted' | 'literal' | 'symbol'
  /** As written. */
  readonly text: string
  readonly start: number
  readonly end: number
  /** The number of brackets that are open around it; a bracket itself counts as outside. */
  readonly depth: number
}

const BLANK = /\s+/y
const LINE_COMMENT = /--[^\n]*/y
const WORD = /[\p{L}_][\p{L}\p{N}_$]*/uy
const NUMBER = /(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?/y
// Runs of what is nothing special are taken at once: a text may have a megabyte.
const QUOTED_NAME = /"[^"]*(?:""[^"]*)*"/y
const TEXT = /'[^']*(?:''[^']*)*'/y
const ESCAPED_TEXT = /[eE]'[^'\\]*(?:(?:\\[\s\S]|'')[^'\\]*)*'/y
const UNFINISHED = /[eE]?'|"/y
const DOLLAR_TAG = /\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$/uy

/**
 * Splits SQL as DuckDB's lexer does, as far as finding clauses needs it: texts, names in quotes, dollar quotes and
 * (nested) comments are never mistaken for anything else. An unfinished one reaches to the end; DuckDB refuses it.
 */
export function tokenize(sql: string): Token[] {
  const tokens: Token[] = []
  let depth = 0
  for (let at = 0; at < sql.length; ) {
    const skipped = matchAt(BLANK, sql, at) ?? matchAt(LINE_COMMENT, sql, at) ?? blockCommentEnd(sql, at)
    if (skipped !== undefined) {
      at = skipped
      continue
    }
    const [kind, end] = tokenAt(sql, at)
    const text = sql.slice(at, end)
    if (kind === 'symbol' && /^[)\]}]$/.test(text)) depth = Math.max(0, depth - 1)
    tokens.push({ kind, text, start: at, end, depth })
    if (kind === 'symbol' && /^[([{]$/.test(text)) depth++
    // Brackets that a statement leaves open are not those of the next one.
    if (kind === 'symbol' && text === ';') depth = 0
    at = end
  }
  return tokens
}

function tokenAt(sql: string, at: number): [Token['kind'], number] {
  const text = matchAt(ESCAPED_TEXT, sql, at) ?? matchAt(TEXT, sql, at) ?? dollarQuoteEnd(sql, at)
  if (text !== undefined) return ['literal', text]
  const name = matchAt(QUOTED_NAME, sql, at)
  if (name !== undefined) return ['quoted', name]
  if (matchAt(UNFINISHED, sql, at) !== undefined) return ['literal', sql.length]
  const word = matchAt(WORD, sql, at)
  if (word !== undefined) return ['word', word]
  const number = matchAt(NUMBER, sql, at)
  if (number !== undefined) return ['literal', number]
  return ['symbol', at + (sql.codePointAt(at)! > 0xffff ? 2 : 1)]
}

function matchAt(pattern: RegExp, sql: string, at: number): number | undefined {
  pattern.lastIndex = at
  return pattern.test(sql) ? pattern.lastIndex : undefined
}

function blockCommentEnd(sql: string, at: number): number | undefined {
  if (!sql.startsWith('/*', at)) return undefined
  let open = 1
  let end = at + 2
  while (end < sql.length && open > 0) {
    if (sql.startsWith('/*', end)) open++
    else if (sql.startsWith('*/', end)) open--
    else {
      end++
      continue
    }
    end += 2
  }
  return end
}

function dollarQuoteEnd(sql: string, at: number): number | undefined {
  const open = matchAt(DOLLAR_TAG, sql, at)
  if (open === undefined) return undefined
  const tag = sql.slice(at, open)
  const close = sql.indexOf(tag, open)
  return close < 0 ? sql.length : close + tag.length
}

/** The tokens of each statement of a text, without the semicolons between them and without empty ones. */
export function splitTokens(tokens: readonly Token[]): Token[][] {
  const statements: Token[][] = [[]]
  for (const token of tokens) {
    if (isSymbol(token, ';')) statements.push([])
    else statements.at(-1)!.push(token)
  }
  return statements.filter(statement => statement.length > 0)
}

export function isWord(token: Token | undefined, ...words: readonly string[]): boolean {
  return token?.kind === 'word' && words.includes(token.text.toLowerCase())
}

export function isSymbol(token: Token | undefined, symbol: string): boolean {
  return token?.kind === 'symbol' && token.text === symbol
}

/** The name that a token stands for. */
export function nameOf({ kind, text }: Token): string {
  return kind === 'quoted' ? unquoted(text) : text
}

/** A name without the quotes of DuckDB or of Spark that it may have. */
export function unquoted(name: string): string {
  const quote = name[0]
  return quote === '"' || quote === '`' ? name.slice(1, -1).replaceAll(quote + quote, quote) : name
}
