import type { DataType, Field, Schema, Vector } from '../types.ts'
import { cellAt, isNullAt, isUtf8 } from '../vectors.ts'
import { parseCsv } from './csv-parse.ts'
import type { ParseOptions, TypeInference } from './formats/format.ts'
import { ANY, BOOLEAN, DATE, DECIMAL, DOUBLE, isShortNumber, LONG, literalOf, TIMESTAMP } from './literals.ts'

const MINUS = 0x2d
/** Decimals of up to so many digits are whole numbers of 64 bits in files. */
const SHORT_DECIMAL_DIGITS = 18
const LONG_DECIMAL_DIGITS = 38

/** The facts known of the values of one column. */
interface ColumnFacts {
  /** The types that keep every value so far, as bits of `literals.ts`. */
  types: number
  /** A value that is neither NULL nor empty was seen. */
  seen: boolean
  /** All of them are spelled as numbers. */
  numbers: boolean
  /** A number of digits was seen, not only NaN and the like. */
  digits: boolean
  marked: boolean
  exponent: boolean
  endsInZero: boolean
  scale: number | undefined
  precision: number
  /** The first number that no DOUBLE keeps. */
  tooLong: string | undefined
  /** The first time that has an offset from UTC. */
  offset: string | undefined
}

function unknown(): ColumnFacts {
  return {
    types: ANY,
    seen: false,
    numbers: true,
    digits: false,
    marked: false,
    exponent: false,
    endsInZero: false,
    scale: undefined,
    precision: 0,
    tooLong: undefined,
    offset: undefined,
  }
}

/**
 * Finds the types of CSV columns from their values, fed piece by piece. A column gets a type only if that keeps every
 * value: BIGINT and DOUBLE the very numbers, DECIMAL where all have the same number of digits behind the point, two or
 * more, and some end in 0 (money). NULL and `""` fit every type.
 */
export class SchemaInference implements TypeInference {
  readonly #fields: readonly Field[]
  readonly #facts: readonly ColumnFacts[]

  constructor(names: readonly string[]) {
    this.#fields = names.map(name => ({ name, type: { kind: 'string' }, nullable: true, metadata: {} }))
    this.#facts = names.map(unknown)
  }

  /** Looks at complete rows. TextError if they are not CSV of these columns. */
  feed(bytes: Uint8Array, options: ParseOptions = {}): void {
    const batch = parseCsv(bytes, this.#fields, options)
    for (const [column, vector] of batch.vectors.entries()) {
      const facts = this.#facts[column]!
      for (let row = 0; row < batch.rows && !isText(facts); row++) {
        if (isNullAt(vector, row) || saysNothingNew(facts, vector, row)) continue
        const text = cellAt(vector, row) as string
        if (text !== '') see(facts, text)
      }
    }
  }

  /** A column without a value is a string. */
  result(): Schema {
    return this.#fields.map((field, i) => ({ ...field, type: typeOf(this.#facts[i]!) }))
  }

  /** Sentences on what may surprise about the result. */
  notes(): string[] {
    return this.#fields.flatMap(({ name }, i) => {
      const { numbers, tooLong, offset, ...rest } = this.#facts[i]!
      const { kind } = typeOf({ numbers, tooLong, offset, ...rest })
      if (kind === 'string' && rest.seen && numbers && tooLong !== undefined)
        return [
          `column ${name} is STRING: a DOUBLE does not keep every digit of ${tooLong}; --schema can say otherwise`,
        ]
      if (kind === 'timestamp' && offset !== undefined)
        return [`column ${name}: times are kept in UTC, without the offset of ${offset}`]
      return []
    })
  }
}

/** Nothing that follows can make it anything else, or is of interest. */
function isText({ types, numbers }: ColumnFacts): boolean {
  return types === 0 && !numbers
}

/** True if a value is a short number in a column of such: most values are. */
function saysNothingNew({ types, digits, marked, exponent }: ColumnFacts, { values }: Vector, row: number): boolean {
  if (!isUtf8(values) || !digits || (types !== (LONG | DOUBLE) && types !== DOUBLE)) return false
  const { bytes, starts, ends } = values
  // The first point and the first sign are news.
  if (!marked && (exponent || bytes[starts[row]!] === MINUS)) return false
  return isShortNumber(bytes, starts[row]!, ends[row]!, types === DOUBLE && marked)
}

function see(facts: ColumnFacts, text: string): void {
  const literal = literalOf(text)
  const { scale, digits = 0, isNumber = false } = literal
  facts.seen = true
  facts.types &= literal.types
  facts.digits ||= isNumber
  facts.numbers &&= isNumber || literal.types === DOUBLE
  facts.marked ||= literal.isMarked === true
  facts.exponent ||= literal.hasExponent === true
  facts.endsInZero ||= literal.endsInZero === true
  facts.precision = Math.max(facts.precision, digits)
  facts.scale ??= scale
  if (facts.scale !== scale) facts.types &= ~DECIMAL
  if (isNumber && (literal.types & DOUBLE) === 0) facts.tooLong ??= text
  if (literal.hasOffset === true) facts.offset ??= text
}

function typeOf(facts: ColumnFacts): DataType {
  const { types, seen, digits, marked, exponent, scale = 0, precision } = facts
  if (!seen) return { kind: 'string' }
  if ((types & BOOLEAN) !== 0) return { kind: 'boolean' }
  if ((types & LONG) !== 0) return { kind: 'long' }
  if ((types & DECIMAL) !== 0 && facts.endsInZero && precision <= LONG_DECIMAL_DIGITS) {
    return {
      kind: 'decimal',
      precision: precision <= SHORT_DECIMAL_DIGITS ? SHORT_DECIMAL_DIGITS : LONG_DECIMAL_DIGITS,
      scale,
    }
  }
  // 12E3 among 34567 is the name of something.
  if ((types & DOUBLE) !== 0 && digits && (marked || !exponent)) return { kind: 'double' }
  if ((types & DATE) !== 0) return { kind: 'date' }
  if ((types & TIMESTAMP) !== 0) return { kind: 'timestamp' }
  return { kind: 'string' }
}
