import { TextError } from '../errors.ts'
import { isSameName } from '../schema.ts'
import type { DataType, Field, Schema } from '../types.ts'
import type { TypeInference } from './formats/format.ts'
import { SchemaInference } from './infer.ts'
import { JsonNumber, jsonRows } from './json.ts'
import { keysInOrder } from './json-rows.ts'
import { formatScalar, parseScalar } from './scalars.ts'

/** Every number of so many digits is kept by a double. */
const DOUBLE_DIGITS = 15
/** Strings that are all of one of these types, and would be shown again as they were, make a column of it. */
const TEXT_TYPES: readonly DataType[] = [{ kind: 'date' }, { kind: 'timestamp' }]

const encoder = new TextEncoder()

/** Finds the types of keys that a table has no columns for, from rows of JSON lines that are fed piece by piece. */
export class JsonInference implements TypeInference {
  readonly #known: ReadonlySet<string>
  readonly #values = new Map<string, Values>()

  constructor(known: Schema) {
    this.#known = new Set(known.map(field => field.name))
  }

  /** Looks at complete rows. TextError if they are not JSON lines, or if a key has values that no type takes together. */
  feed(bytes: Uint8Array, { firstLine = 1 }: { readonly firstLine?: number } = {}): void {
    for (const { object, text, line } of jsonRows(bytes, firstLine)) {
      if (Object.keys(object).every(key => this.#known.has(key))) continue
      // An object gives keys that are numbers before the others.
      for (const key of keysInOrder(text)) {
        if (this.#known.has(key)) continue
        const values = this.#values.get(key) ?? new Values(key)
        this.#values.set(key, values)
        values.see(object[key], line)
      }
    }
    for (const values of this.#values.values()) values.settle()
  }

  /** The new columns in the order in which their keys came first. A key that only ever was null is a string. */
  result(): Field[] {
    return [...this.#values].map(([name, values]) => nullable(name, values.type()))
  }
}

type Kind = 'boolean' | 'number' | 'string' | 'array' | 'object'

const IN_WORDS: Readonly<Record<Kind, string>> = {
  boolean: 'true or false',
  number: 'a number',
  string: 'a string',
  array: 'an array',
  object: 'an object',
}

/** The values of one key, or of one place inside of its values. */
class Values {
  readonly #path: string
  #kind: Kind | undefined
  #firstLine = 0
  #numbers: string[] = []
  readonly #numberTypes = new SchemaInference(['number'])
  /** Every number so far is kept by a double. */
  #isShort = true
  /** The types that all strings so far were of. */
  #textTypes = TEXT_TYPES
  #element: Values | undefined
  readonly #fields = new Map<string, Values>()

  constructor(path: string) {
    this.#path = path
  }

  see(value: unknown, line: number): void {
    if (value === null || value === undefined) return
    const kind = kindOf(value)
    if (this.#kind === undefined) {
      this.#kind = kind
      this.#firstLine = line
    } else if (this.#kind !== kind) {
      const before = `${IN_WORDS[this.#kind]} in line ${this.#firstLine}`
      throw this.#refused(line, `${IN_WORDS[kind]}, where there is ${before}; a new column has values of one kind`)
    }
    if (value instanceof JsonNumber) this.#seeNumber(value.source)
    else if (typeof value === 'string') this.#textTypes = this.#textTypes.filter(type => isShownAs(value, type))
    else if (Array.isArray(value)) {
      this.#element ??= new Values(`${this.#path}.element`)
      for (const item of value) this.#element.see(item, line)
    } else if (typeof value === 'object') this.#seeObject(value as Record<string, unknown>, line)
  }

  #seeNumber(source: string): void {
    this.#numbers.push(source)
    this.#isShort &&= digitsOf(source) <= DOUBLE_DIGITS
  }

  #seeObject(object: Record<string, unknown>, line: number): void {
    for (const [key, value] of Object.entries(object)) {
      const values = this.#fields.get(key) ?? this.#newField(key, line)
      values.see(value, line)
    }
  }

  #newField(key: string, line: number): Values {
    if (key === '') throw this.#refused(line, 'an object with a key that is empty')
    const other = [...this.#fields.keys()].find(name => isSameName(name, key))
    if (other !== undefined) throw this.#refused(line, `an object with the keys ${other} and ${key}`)
    const values = new Values(`${this.#path}.${key}`)
    this.#fields.set(key, values)
    return values
  }

  /** Looks at the numbers of a piece together, and lets go of them. */
  settle(): void {
    if (this.#numbers.length > 0) this.#numberTypes.feed(encoder.encode(`${this.#numbers.join('\n')}\n`))
    this.#numbers = []
    this.#element?.settle()
    for (const values of this.#fields.values()) values.settle()
  }

  /** TextError `bad_value` if no type takes the values as they are. */
  type(): DataType {
    switch (this.#kind) {
      case undefined:
        return { kind: 'string' }
      case 'boolean':
        return { kind: 'boolean' }
      case 'string':
        return this.#textTypes[0] ?? { kind: 'string' }
      case 'array':
        return { kind: 'array', element: this.#element!.type(), containsNull: true }
      case 'number':
        return this.#numberType()
      case 'object': {
        const fields = [...this.#fields].map(([name, values]) => nullable(name, values.type()))
        if (fields.length === 0) throw this.#refused(this.#firstLine, 'an object that has no key in any line')
        return { kind: 'struct', fields }
      }
    }
  }

  /** As in CSV, but what is spelled as a number here is one. */
  #numberType(): DataType {
    const [field] = this.#numberTypes.result()
    if (field!.type.kind !== 'string') return field!.type
    if (this.#isShort) return { kind: 'double' }
    throw this.#refused(this.#firstLine, 'numbers of more digits than a column of them keeps; write them as strings')
  }

  #refused(line: number, what: string): TextError {
    const message = `line ${line}: the table has no column ${this.#path}, and none can be added for ${what}`
    return new TextError('bad_value', message, { line, column: this.#path })
  }
}

function kindOf(value: unknown): Kind {
  if (value instanceof JsonNumber) return 'number'
  if (typeof value === 'boolean' || typeof value === 'string') return typeof value as 'boolean' | 'string'
  return Array.isArray(value) ? 'array' : 'object'
}

/** True if a string is a value of a type, in the very form in which it is shown. */
function isShownAs(text: string, type: DataType): boolean {
  try {
    return formatScalar(parseScalar(text, type), type) === text
  } catch {
    return false
  }
}

/** Returns the number of digits that tell a number from others. */
function digitsOf(source: string): number {
  const digits = source.replace(/[eE].*$/, '').replace(/[-.]/g, '')
  return digits.replace(/^0+|0+$/g, '').length
}

function nullable(name: string, type: DataType): Field {
  return { name, type, nullable: true, metadata: {} }
}
