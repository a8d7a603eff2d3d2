import { unsupported } from './errors.ts'
import { type Token, tokenize } from './lexer.ts'

/** An expression as it is written. Names of functions and operators are in lower case. */
export type Expression =
  | { readonly kind: 'null' }
  | { readonly kind: 'boolean'; readonly value: boolean }
  /** A number with its sign and its suffix. */
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'text'; readonly text: string; readonly isDouble: boolean }
  /** DATE '...', TIMESTAMP '...', TIMESTAMP_NTZ '...'. */
  | { readonly kind: 'typed'; readonly type: string; readonly text: string }
  | { readonly kind: 'column'; readonly path: readonly string[] }
  /** An operator is a function, too. */
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expression[] }
  | { readonly kind: 'cast'; readonly value: Expression; readonly type: string }
  | {
      readonly kind: 'case'
      readonly whens: readonly (readonly [Expression, Expression])[]
      readonly otherwise: Expression
    }

/** Reads an expression of Spark's SQL. ExpressionError for what is none, or not one of those that are known. */
export function parseExpression(sql: string): Expression {
  const parser = new Parser(tokenize(sql))
  return parser.whole()
}

const TYPED = ['date', 'timestamp', 'timestamp_ntz', 'timestamp_ltz']
/** Functions that may be written without brackets. */
const BARE = ['current_date', 'current_timestamp']
/** Words that begin what is not known here. */
const REFUSED = ['interval', 'exists', 'select', 'x', 'map', 'struct', 'array']
const COMPARISONS = ['=', '==', '<>', '!=', '<', '<=', '>', '>=', '<=>']
/** Operators with two operands, the weakest first. */
const BINARY: readonly (readonly string[])[] = [['|'], ['^'], ['&'], ['+', '-', '||'], ['*', '/', '%', 'div']]
const NESTING_MAX = 200

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0
  #depth = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  whole(): Expression {
    const found = this.#expression()
    if (this.#at < this.#tokens.length) throw this.#unexpected()
    return found
  }

  #expression(): Expression {
    if (++this.#depth > NESTING_MAX) throw unsupported(`it is nested more than ${NESTING_MAX} deep`)
    let left = this.#and()
    while (this.#word('or')) left = call('or', left, this.#and())
    this.#depth--
    return left
  }

  #and(): Expression {
    let left = this.#not()
    while (this.#word('and')) left = call('and', left, this.#not())
    return left
  }

  #not(): Expression {
    let negations = 0
    while (this.#word('not') || this.#symbol('!')) negations++
    let found = this.#predicate()
    for (; negations > 0; negations--) found = call('not', found)
    return found
  }

  #predicate(): Expression {
    const left = this.#comparison()
    if (this.#word('is')) return this.#is(left)
    const start = this.#at
    const isNot = this.#word('not')
    const found = this.#between(left) ?? this.#in(left) ?? this.#like(left)
    if (found === undefined) {
      this.#at = start
      return left
    }
    return isNot ? call('not', found) : found
  }

  #is(left: Expression): Expression {
    const isNot = this.#word('not')
    const negated = (found: Expression): Expression => (isNot ? call('not', found) : found)
    if (this.#word('null')) return negated(call('isnull', left))
    for (const value of [true, false])
      if (this.#word(String(value))) return negated(call('<=>', left, { kind: 'boolean', value }))
    if (this.#word('distinct')) {
      if (!this.#word('from')) throw this.#unexpected()
      const same = call('<=>', left, this.#comparison())
      return isNot ? same : call('not', same)
    }
    throw this.#unexpected()
  }

  #between(left: Expression): Expression | undefined {
    if (!this.#word('between')) return undefined
    const least = this.#comparison()
    if (!this.#word('and')) throw this.#unexpected()
    return call('and', call('>=', left, least), call('<=', left, this.#comparison()))
  }

  #in(left: Expression): Expression | undefined {
    if (!this.#word('in')) return undefined
    this.#expect('(')
    return call('in', left, ...this.#list())
  }

  #like(left: Expression): Expression | undefined {
    if (this.#word('like')) {
      const pattern = this.#comparison()
      if (this.#isWord('escape')) throw unsupported('LIKE with ESCAPE is not worked out')
      return call('like', left, pattern)
    }
    if (this.#word('rlike') || this.#word('regexp')) return call('rlike', left, this.#comparison())
    return undefined
  }

  #comparison(): Expression {
    let left = this.#binary(0)
    for (;;) {
      const operator = COMPARISONS.find(text => this.#symbol(text))
      if (operator === undefined) return left
      left = call(operator, left, this.#binary(0))
    }
  }

  #binary(level: number): Expression {
    const operators = BINARY[level]
    if (operators === undefined) return this.#unary()
    let left = this.#binary(level + 1)
    for (;;) {
      const operator = operators.find(text => (text === 'div' ? this.#word(text) : this.#symbol(text)))
      if (operator === undefined) return left
      left = call(operator, left, this.#binary(level + 1))
    }
  }

  #unary(): Expression {
    if (this.#symbol('-')) {
      const next = this.#tokens[this.#at]
      if (next?.kind === 'number') {
        this.#at++
        return this.#suffixed({ kind: 'number', text: `-${next.text}` })
      }
      return call('negative', this.#unary())
    }
    if (this.#symbol('+')) return call('positive', this.#unary())
    if (this.#symbol('~')) return call('~', this.#unary())
    return this.#suffixed(this.#primary())
  }

  /** `value::TYPE`. */
  #suffixed(value: Expression): Expression {
    let found = value
    while (this.#symbol('::')) found = { kind: 'cast', value: found, type: this.#type() }
    return found
  }

  #primary(): Expression {
    const token = this.#tokens[this.#at]
    if (token === undefined) throw unsupported('it ends too early')
    if (this.#symbol('(')) {
      const inner = this.#expression()
      this.#expect(')')
      return inner
    }
    if (token.kind === 'symbol') throw this.#unexpected()
    this.#at++
    if (token.kind === 'number') return { kind: 'number', text: token.text }
    if (token.kind === 'text') return { kind: 'text', text: token.text, isDouble: token.isDouble }
    return token.kind === 'word' ? this.#named(token.text) : this.#column(token.text)
  }

  #named(word: string): Expression {
    const lower = word.toLowerCase()
    const next = this.#tokens[this.#at]
    const isCall = next?.kind === 'symbol' && next.text === '('
    if (next?.kind === 'text' && TYPED.includes(lower)) {
      this.#at++
      return { kind: 'typed', type: lower, text: next.text }
    }
    if (next?.kind === 'text' || (REFUSED.includes(lower) && (isCall || lower === 'interval')))
      throw unsupported(`${word.toUpperCase()} is not worked out`)
    if (isCall) return this.#call(lower)
    if (lower === 'null') return { kind: 'null' }
    if (lower === 'true' || lower === 'false') return { kind: 'boolean', value: lower === 'true' }
    if (lower === 'case') return this.#case()
    return BARE.includes(lower) ? call(lower) : this.#column(word)
  }

  #column(first: string): Expression {
    const path = [first]
    while (this.#symbol('.')) {
      const next = this.#tokens[this.#at++]
      if (next?.kind !== 'word' && next?.kind !== 'name') throw unsupported('a name is missing behind a point')
      path.push(next.text)
    }
    return { kind: 'column', path }
  }

  #call(name: string): Expression {
    this.#expect('(')
    if (name === 'cast' || name === 'try_cast') {
      const value = this.#expression()
      if (name === 'try_cast' || !this.#word('as')) throw unsupported(`${name.toUpperCase()} is not worked out so`)
      const type = this.#type()
      this.#expect(')')
      return { kind: 'cast', value, type }
    }
    if (name === 'extract') {
      const field = this.#tokens[this.#at++]
      if (field?.kind !== 'word' || !this.#word('from')) throw this.#unexpected()
      const value = this.#expression()
      this.#expect(')')
      return call(`extract ${field.text.toLowerCase()}`, value)
    }
    if (this.#symbol(')')) return call(name)
    const first = this.#expression()
    if (this.#word('from')) return this.#substring(name, first)
    if (this.#symbol(',')) return call(name, first, ...this.#list())
    this.#expect(')')
    return call(name, first)
  }

  /** SUBSTRING(text FROM start FOR length). */
  #substring(name: string, text: Expression): Expression {
    if (name !== 'substring' && name !== 'substr') throw this.#unexpected()
    const args = [text, this.#expression()]
    if (this.#word('for')) args.push(this.#expression())
    this.#expect(')')
    return call(name, ...args)
  }

  #case(): Expression {
    const operand = this.#isWord('when') ? undefined : this.#expression()
    const whens: [Expression, Expression][] = []
    while (this.#word('when')) {
      const condition = this.#expression()
      if (!this.#word('then')) throw this.#unexpected()
      whens.push([operand === undefined ? condition : call('=', operand, condition), this.#expression()])
    }
    const otherwise: Expression = this.#word('else') ? this.#expression() : { kind: 'null' }
    if (whens.length === 0 || !this.#word('end')) throw this.#unexpected()
    return { kind: 'case', whens, otherwise }
  }

  /** Expressions up to the bracket that closes their list. */
  #list(): Expression[] {
    const found = [this.#expression()]
    while (this.#symbol(',')) found.push(this.#expression())
    this.#expect(')')
    return found
  }

  /** The name of a type, with numbers in brackets where it has them. */
  #type(): string {
    const token = this.#tokens[this.#at++]
    if (token?.kind !== 'word') throw unsupported('the type of a cast is missing')
    const parts = [token.text.toLowerCase()]
    if (!this.#symbol('(')) return parts[0]!
    for (let next = this.#tokens[this.#at++]; !isSymbol(next, ')'); next = this.#tokens[this.#at++]) {
      if (next?.kind !== 'number' && !isSymbol(next, ',')) throw unsupported('the type of a cast is not understood')
      parts.push((next as { text: string }).text)
    }
    return `${parts[0]}(${parts.slice(1).join('')})`
  }

  #isWord(word: string): boolean {
    const token = this.#tokens[this.#at]
    return token?.kind === 'word' && token.text.toLowerCase() === word
  }

  #word(word: string): boolean {
    const found = this.#isWord(word)
    if (found) this.#at++
    return found
  }

  #symbol(symbol: string): boolean {
    const found = isSymbol(this.#tokens[this.#at], symbol)
    if (found) this.#at++
    return found
  }

  #expect(symbol: string): void {
    if (!this.#symbol(symbol)) throw this.#unexpected()
  }

  #unexpected(): Error {
    const token = this.#tokens[this.#at]
    return unsupported(
      token === undefined ? 'it ends too early' : `${JSON.stringify(token.text)} is not understood there`,
    )
  }
}

function call(name: string, ...args: readonly Expression[]): Expression {
  return { kind: 'call', name, args }
}

function isSymbol(token: Token | undefined, symbol: string): boolean {
  return token?.kind === 'symbol' && token.text === symbol
}
