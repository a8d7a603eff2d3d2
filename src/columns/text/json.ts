import { TextError } from '../errors.ts'
import type { Batch, Cell, DataType, Field, Schema } from '../types.ts'
import { cellAt, vectorOf } from '../vectors.ts'
import type { ParseOptions } from './formats/format.ts'
import { jsonRowEnd } from './json-rows.ts'
import { type RenderedText, ROW_INDEX_STRIDE } from './rendered.ts'
import { emptyIsNull, formatScalar, parseScalar, ScalarError } from './scalars.ts'

const QUOTE = 0x22
const COLON = 0x3a
const BACKSLASH = 0x5c
const encoder = new TextEncoder()

/** A number as it is spelled in JSON, so that 64-bit integers and decimals stay exact. */
export class JsonNumber {
  readonly source: string

  constructor(source: string) {
    this.source = source
  }
}

/** A value as JSON. Numbers are exact; NaN and infinities are strings, as JSON has none; dates, times and binaries are strings. */
export function cellToJson(cell: Cell, type: DataType): string {
  if (cell === null) return 'null'
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
    case 'boolean':
      return String(cell)
    case 'decimal':
    case 'variant':
      return formatScalar(cell, type)
    case 'float':
    case 'double':
      return Number.isFinite(cell as number) ? formatScalar(cell, type) : `"${String(cell)}"`
    case 'struct':
      return `{${type.fields.map((field, i) => `${JSON.stringify(field.name)}:${cellToJson((cell as readonly Cell[])[i] ?? null, field.type)}`).join(',')}}`
    case 'array':
      return `[${(cell as readonly Cell[]).map(item => cellToJson(item, type.element)).join(',')}]`
    case 'map':
      return mapToJson(cell as ReadonlyArray<readonly [Cell, Cell]>, type)
    default:
      return JSON.stringify(formatScalar(cell, type))
  }
}

/** Maps by strings are objects; others, and those whose keys an object would merge or reorder, are arrays of pairs. */
function mapToJson(entries: ReadonlyArray<readonly [Cell, Cell]>, type: Extract<DataType, { kind: 'map' }>): string {
  const keys = new Set(entries.map(([key]) => key))
  const orderly = entries.every(([key]) => !/^(?:\d+|__proto__)$/.test(String(key)))
  if (type.key.kind === 'string' && keys.size === entries.length && orderly) {
    return `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${cellToJson(value, type.value)}`).join(',')}}`
  }
  return `[${entries.map(([key, value]) => `[${cellToJson(key, type.key)},${cellToJson(value, type.value)}]`).join(',')}]`
}

/** JSON with its numbers kept as they are spelled. Throws SyntaxError. */
export function parseExactJson(text: string): unknown {
  return JSON.parse(text, function (this: unknown, _key: string, value: unknown, context?: { source?: string }) {
    return typeof value === 'number' ? new JsonNumber(context?.source ?? String(value)) : value
  } as (key: string, value: unknown) => unknown)
}

/** The value that parsed JSON stands for. Throws ScalarError naming what was expected. */
export function cellFromJson(json: unknown, type: DataType): Cell {
  if (json === null || json === undefined || (json === '' && emptyIsNull(type) && type.kind !== 'variant')) return null
  switch (type.kind) {
    case 'struct': {
      if (typeof json !== 'object' || Array.isArray(json) || json instanceof JsonNumber)
        throw new ScalarError('a JSON object')
      const object = json as Record<string, unknown>
      for (const key of Object.keys(object)) {
        if (!type.fields.some(field => field.name === key))
          throw new ScalarError(`a JSON object without ${JSON.stringify(key)}`)
      }
      return type.fields.map(field =>
        notNull(cellFromJson(own(object, field.name), field.type), field.nullable, field.name),
      )
    }
    case 'array':
      if (!Array.isArray(json)) throw new ScalarError('a JSON array')
      return json.map(item => notNull(cellFromJson(item, type.element), type.containsNull, 'element'))
    case 'map':
      return mapFromJson(json, type)
    case 'boolean':
      if (typeof json !== 'boolean') throw new ScalarError('true or false')
      return json
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
    case 'decimal':
    case 'float':
    case 'double':
      if (json instanceof JsonNumber) return parseScalar(json.source, type)
      if (typeof json === 'string') return parseScalar(json, type)
      throw new ScalarError('a number')
    case 'variant':
      return exactJson(json)
    default:
      if (typeof json !== 'string') throw new ScalarError(`a JSON string of a ${type.kind}`)
      // Such as "\ud800": UTF-8 has no form for it.
      if (!json.isWellFormed()) throw new ScalarError('text without halves of surrogate pairs')
      return parseScalar(json, type)
  }
}

/** The text of JSON whose numbers were kept as they are spelled. */
function exactJson(json: unknown): string {
  if (json instanceof JsonNumber) return json.source
  if (Array.isArray(json)) return `[${json.map(exactJson).join(',')}]`
  if (typeof json !== 'object' || json === null) return JSON.stringify(json)
  return `{${Object.entries(json)
    .map(([key, value]) => `${JSON.stringify(key)}:${exactJson(value)}`)
    .join(',')}}`
}

/** The value of a key that the text has: every object inherits some, such as `constructor`. */
function own(object: Record<string, unknown>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined
}

function mapFromJson(json: unknown, type: Extract<DataType, { kind: 'map' }>): Cell {
  const value = (item: unknown): Cell => notNull(cellFromJson(item, type.value), type.valueContainsNull, 'value')
  const key = (item: unknown): Cell => notNull(cellFromJson(item, type.key), false, 'key')
  if (Array.isArray(json)) {
    return json.map(pair => {
      if (!Array.isArray(pair) || pair.length !== 2) throw new ScalarError('an array of [key, value] pairs')
      return [key(pair[0]), value(pair[1])] as const
    })
  }
  if (typeof json !== 'object' || json instanceof JsonNumber)
    throw new ScalarError('a JSON object or an array of [key, value] pairs')
  if (type.key.kind !== 'string') throw new ScalarError('an array of [key, value] pairs')
  return Object.entries(json as Record<string, unknown>).map(([k, v]) => [key(k), value(v)] as const)
}

function notNull(cell: Cell, nullable: boolean, name: string): Cell {
  if (cell === null && !nullable) throw new ScalarError(`a value for ${name}, which may not be null`)
  return cell
}

/** One JSON object a line. */
export function renderJsonLines(batch: Batch, schema: Schema): RenderedText {
  return renderObjects(batch, schema, '')
}

/** The rows of data.json: each is a comma, the object and a newline; the view puts the brackets. */
export function renderJsonArrayRows(batch: Batch, schema: Schema): RenderedText {
  return renderObjects(batch, schema, ',')
}

function renderObjects(batch: Batch, schema: Schema, prefix: string): RenderedText {
  const keys = schema.map((field, i) => `${i === 0 ? '{' : ','}${JSON.stringify(field.name)}:`)
  const index = new Uint32Array(Math.ceil(batch.rows / ROW_INDEX_STRIDE))
  const parts: Uint8Array[] = []
  let size = 0
  let text = ''
  for (let row = 0; row < batch.rows; row++) {
    if (row % ROW_INDEX_STRIDE === 0) {
      const bytes = encoder.encode(text)
      parts.push(bytes)
      size += bytes.length
      text = ''
      index[row / ROW_INDEX_STRIDE] = size
    }
    text += prefix
    for (let column = 0; column < schema.length; column++) {
      text += keys[column]! + cellToJson(cellAt(batch.vectors[column]!, row), schema[column]!.type)
    }
    text += schema.length === 0 ? '{}\n' : '}\n'
  }
  const bytes = encoder.encode(text)
  parts.push(bytes)
  return { bytes: Buffer.concat(parts, size + bytes.length), rows: batch.rows, index }
}

/**
 * Parses JSON lines: a missing key is NULL unless `missing` says otherwise, an unknown one an error
 * (`unknown_column`), and a byte-order mark in front of a row is no part of it. An object may span lines. TextError names line
 * and column; `unterminated` if the text ends within an object.
 */
export function parseJsonLines(bytes: Uint8Array, schema: Schema, options: ParseOptions = {}): Batch {
  const { firstLine = 1, seen } = options
  const columns: Cell[][] = schema.map(() => [])
  const known = new Set(schema.map(field => field.name))
  let rows = 0
  for (const { object, line } of jsonRows(bytes, firstLine)) {
    for (const key of Object.keys(object)) {
      seen?.add(key)
      if (!known.has(key)) throw unknownColumn(line, key)
    }
    for (const [c, field] of schema.entries()) columns[c]!.push(fieldFromJson(object, field, line, options))
    rows++
  }
  return { rows, vectors: schema.map((field, i) => vectorOf(field.type, columns[i]!)) }
}

function unknownColumn(line: number, key: string): TextError {
  return new TextError('unknown_column', `line ${line}: the table has no column ${JSON.stringify(key)}`, {
    line,
    column: key,
  })
}

export interface JsonRow {
  readonly object: Record<string, unknown>
  readonly text: string
  /** The line at which it begins. */
  readonly line: number
}

/**
 * The objects of JSON lines, their numbers as they are spelled. Lines of blanks are none; an object may span lines.
 * TextError `malformed_text` or `unterminated` names the line.
 */
export function* jsonRows(bytes: Uint8Array, firstLine: number): Generator<JsonRow> {
  const text = decodeText(bytes, firstLine)
  let line = firstLine
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf('\n', at)
    let end = newline < 0 ? text.length : newline + 1
    let row = text.slice(at, end)
    if (row.trim() !== '') {
      let value = parsed(row)
      if (value === undefined) {
        const found = jsonRowEnd(text, at)
        end = found.end
        row = text.slice(at, end)
        value = parsed(row) ?? refuseRow(line, found.isOpen)
      }
      yield { object: objectOf(value, row, line), text: row, line }
    }
    for (let next = text.indexOf('\n', at); next >= 0 && next < end; next = text.indexOf('\n', next + 1)) line++
    at = end
  }
}

/** The value of a row; undefined if it is not JSON. */
function parsed(row: string): unknown {
  try {
    return parseExactJson(row.startsWith('\ufeff') ? row.slice(1) : row)
  } catch {
    return undefined
  }
}

function refuseRow(line: number, isOpen: boolean): never {
  throw isOpen
    ? new TextError('unterminated', `line ${line}: the JSON object that begins here is not closed`, { line })
    : new TextError('malformed_text', `line ${line}: this is not JSON`, { line })
}

function objectOf(value: unknown, row: string, line: number): Record<string, unknown> {
  if (Array.isArray(value)) {
    const message = `line ${line}: a row is one JSON object, and this is an array; write its objects, each on a line`
    throw new TextError('malformed_text', message, { line })
  }
  if (typeof value !== 'object' || value === null || value instanceof JsonNumber) {
    throw new TextError('malformed_text', `line ${line}: a row is one JSON object`, { line })
  }
  // The last one would count, and the others be gone.
  const keys = keysOf(value)
  if (colonsIn(row) !== keys && keysWritten(row) !== keys)
    throw new TextError('malformed_text', `line ${line}: an object names one key twice`, { line })
  return value as Record<string, unknown>
}

function colonsIn(text: string): number {
  let colons = 0
  for (let at = text.indexOf(':'); at >= 0; at = text.indexOf(':', at + 1)) colons++
  return colons
}

/** Returns the number of keys in a text that is JSON. */
function keysWritten(json: string): number {
  let keys = 0
  let isString = false
  for (let at = 0; at < json.length; at++) {
    const char = json.charCodeAt(at)
    if (char === QUOTE) isString = !isString
    else if (isString && char === BACKSLASH) at++
    else if (!isString && char === COLON) keys++
  }
  return keys
}

/** Returns the number of keys of a value, those of values inside it included. */
function keysOf(json: unknown): number {
  if (typeof json !== 'object' || json === null || json instanceof JsonNumber) return 0
  if (Array.isArray(json)) return json.reduce<number>((sum, item) => sum + keysOf(item), 0)
  let keys = 0
  for (const value of Object.values(json)) keys += 1 + keysOf(value)
  return keys
}

function fieldFromJson(
  object: Record<string, unknown>,
  field: Field,
  line: number,
  { missing = () => null }: ParseOptions,
): Cell {
  try {
    const cell = Object.hasOwn(object, field.name) ? cellFromJson(object[field.name], field.type) : missing(field)
    return notNull(cell, field.nullable, field.name)
  } catch (error) {
    if (error instanceof TextError)
      throw new TextError(error.code, `line ${line}: ${error.message}`, { line, column: field.name })
    if (!(error instanceof ScalarError)) throw error
    const found = shown(own(object, field.name), field.type)
    throw new TextError('bad_value', `line ${line}, column ${field.name}: ${error.message} is expected${found}`, {
      line,
      column: field.name,
    })
  }
}

const SHOWN_LENGTH_MAX = 40

/** Returns the words for a value in place of a scalar: `, not 30.5`. Inside other values the fault may be anywhere. */
function shown(json: unknown, { kind }: DataType): string {
  if (json === undefined || kind === 'struct' || kind === 'array' || kind === 'map') return ''
  if (json !== null && typeof json === 'object' && !(json instanceof JsonNumber))
    return `, not ${Array.isArray(json) ? 'an array' : 'an object'}`
  const text = json instanceof JsonNumber ? json.source : JSON.stringify(json)
  return `, not ${text.length <= SHOWN_LENGTH_MAX ? text : `${text.slice(0, SHOWN_LENGTH_MAX)}...`}`
}

/** UTF-8 as a string. TextError with the line of the first bytes that are none. */
export function decodeText(bytes: Uint8Array, firstLine: number): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    const line = firstLine + lineOfBadUtf8(bytes)
    throw new TextError('malformed_text', `line ${line}: the text is not UTF-8`, { line })
  }
}

function lineOfBadUtf8(bytes: Uint8Array): number {
  const strict = new TextDecoder('utf-8', { fatal: true })
  for (let start = 0, line = 0; start < bytes.length; line++) {
    const newline = bytes.indexOf(0x0a, start)
    const end = newline < 0 ? bytes.length : newline
    try {
      strict.decode(bytes.subarray(start, end))
    } catch {
      return line
    }
    start = end + 1
  }
  return 0
}
