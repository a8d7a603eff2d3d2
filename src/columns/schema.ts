import { editDistance } from '../core/edit-distance.ts'
import { keepLargeIntegers } from '../core/raw-json.ts'
import { TextError } from './errors.ts'
import { sqlName } from './sql-names.ts'
import type { DataType, Field, PrimitiveKind, Schema } from './types.ts'

const PRIMITIVES: ReadonlySet<string> = new Set<PrimitiveKind>([
  'byte',
  'short',
  'integer',
  'long',
  'float',
  'double',
  'string',
  'boolean',
  'binary',
  'date',
  'timestamp',
  'timestamp_ntz',
  'variant',
  'void',
])

/** Names that people write for a type, in lower case, and Delta's name for it. */
const ALIASES: Readonly<Record<string, PrimitiveKind>> = {
  int8: 'byte',
  tinyint: 'byte',
  byte: 'byte',
  int16: 'short',
  smallint: 'short',
  short: 'short',
  int32: 'integer',
  int: 'integer',
  integer: 'integer',
  int64: 'long',
  bigint: 'long',
  long: 'long',
  float32: 'float',
  float: 'float',
  real: 'float',
  float64: 'double',
  double: 'double',
  string: 'string',
  utf8: 'string',
  varchar: 'string',
  text: 'string',
  boolean: 'boolean',
  bool: 'boolean',
  binary: 'binary',
  blob: 'binary',
  bytes: 'binary',
  date: 'date',
  date32: 'date',
  timestamp: 'timestamp',
  timestamptz: 'timestamp',
  timestamp_ntz: 'timestamp_ntz',
  timestampntz: 'timestamp_ntz',
  datetime: 'timestamp_ntz',
}

const SQL_NAMES: Readonly<Record<PrimitiveKind, string>> = {
  byte: 'TINYINT',
  short: 'SMALLINT',
  integer: 'INT',
  long: 'BIGINT',
  float: 'FLOAT',
  double: 'DOUBLE',
  string: 'STRING',
  boolean: 'BOOLEAN',
  binary: 'BINARY',
  date: 'DATE',
  timestamp: 'TIMESTAMP',
  timestamp_ntz: 'TIMESTAMP_NTZ',
  variant: 'VARIANT',
  void: 'VOID',
}

/** The deepest nesting of a type that a table may have: each level takes a step into whoever looks at it. */
const NESTING_MAX = 200

/** Delta's schema string as fields (PROTOCOL.md, "Schema Serialization Format"). TextError `bad_schema` for what we cannot read, by name. */
export function schemaFromJson(text: string): Schema {
  let json: unknown
  try {
    json = /\d{16}/.test(text) ? JSON.parse(text, keepLargeIntegers as never) : JSON.parse(text)
  } catch (cause) {
    throw new TextError('bad_schema', 'the schema is not JSON', { cause })
  }
  const type = typeFromJson(json, 'the schema')
  if (type.kind !== 'struct') throw new TextError('bad_schema', `the schema is a ${type.kind}, not a struct`)
  checkNames(type.fields)
  return type.fields
}

/** Two columns of one name could not be told apart. Names in different case are left to what makes columns: others' tables have them. */
function checkNames(fields: Schema): void {
  const seen = new Set<string>()
  for (const { name } of fields) {
    if (seen.has(name)) throw new TextError('bad_schema', `the schema has the column ${name} twice`)
    seen.add(name)
  }
}

function typeFromJson(json: unknown, where: string, depth = 0): DataType {
  if (depth > NESTING_MAX) throw new TextError('bad_schema', `${where}: it is nested more than ${NESTING_MAX} deep`)
  if (typeof json === 'string') return namedType(json, where)
  if (typeof json !== 'object' || json === null)
    throw new TextError('bad_schema', `${where}: ${JSON.stringify(json)} is not a type`)
  const node = json as Record<string, unknown>
  if (node['type'] === 'struct' && Array.isArray(node['fields'])) {
    return { kind: 'struct', fields: node['fields'].map(field => fieldFromJson(field, where, depth + 1)) }
  }
  if (node['type'] === 'array') {
    return {
      kind: 'array',
      element: typeFromJson(node['elementType'], where, depth + 1),
      containsNull: node['containsNull'] !== false,
    }
  }
  if (node['type'] === 'map') {
    return {
      kind: 'map',
      key: typeFromJson(node['keyType'], where, depth + 1),
      value: typeFromJson(node['valueType'], where, depth + 1),
      valueContainsNull: node['valueContainsNull'] !== false,
    }
  }
  throw new TextError(
    'bad_schema',
    `${where}: the type ${JSON.stringify(node['type'])} is not one that posixlake reads`,
  )
}

function fieldFromJson(json: unknown, where: string, depth: number): Field {
  const node = json as Record<string, unknown> | null
  if (typeof node !== 'object' || node === null || typeof node['name'] !== 'string') {
    throw new TextError('bad_schema', `${where}: a field has no name`)
  }
  const name = node['name']
  const metadata = node['metadata'] ?? {}
  if (typeof metadata !== 'object' || Array.isArray(metadata))
    throw new TextError('bad_schema', `column ${name}: its metadata is not an object`)
  return {
    name,
    type: typeFromJson(node['type'], `column ${name}`, depth),
    nullable: node['nullable'] !== false,
    metadata: metadata as Record<string, unknown>,
  }
}

function namedType(name: string, where: string): DataType {
  if (PRIMITIVES.has(name)) return { kind: name as PrimitiveKind }
  const decimal = /^decimal(?:\(\s*(\d+)\s*,\s*(-?\d+)\s*\))?$/.exec(name)
  if (decimal !== null) return decimalType(Number(decimal[1] ?? 10), Number(decimal[2] ?? 0), where)
  throw new TextError('bad_schema', `${where}: the type ${name} is not one that posixlake reads`)
}

function decimalType(precision: number, scale: number, where: string): DataType {
  if (precision < 1 || precision > 38 || scale < 0 || scale > precision) {
    throw new TextError(
      'bad_schema',
      `${where}: decimal(${precision},${scale}) is out of range; the precision is 1 to 38, the scale 0 to the precision`,
    )
  }
  return { kind: 'decimal', precision, scale }
}

/** A type as Delta's schema JSON has it: a name, or an object. */
export function typeToDelta(type: DataType): unknown {
  switch (type.kind) {
    case 'decimal':
      return `decimal(${type.precision},${type.scale})`
    case 'struct':
      return { type: 'struct', fields: type.fields.map(fieldToJson) }
    case 'array':
      return { type: 'array', elementType: typeToDelta(type.element), containsNull: type.containsNull }
    case 'map':
      return {
        type: 'map',
        keyType: typeToDelta(type.key),
        valueType: typeToDelta(type.value),
        valueContainsNull: type.valueContainsNull,
      }
    default:
      return type.kind
  }
}

/** A column as an action of the log has it (PROTOCOL.md, "Struct Field"). */
export function fieldToJson(field: Field): unknown {
  return { name: field.name, type: typeToDelta(field.type), nullable: field.nullable, metadata: field.metadata }
}

/** The `schemaString` of a metaData action. */
export function schemaToJson(schema: Schema): string {
  return JSON.stringify({ type: 'struct', fields: schema.map(fieldToJson) })
}

/** A type in Spark SQL. `member`: a field of a struct; its name and type if not given. */
export function sqlType(type: DataType, member = memberType): string {
  switch (type.kind) {
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`
    case 'struct':
      return `STRUCT<${type.fields.map(field => member(field)).join(', ')}>`
    case 'array':
      return `ARRAY<${sqlType(type.element, member)}>`
    case 'map':
      return `MAP<${sqlType(type.key, member)}, ${sqlType(type.value, member)}>`
    default:
      return SQL_NAMES[type.kind]
  }
}

function memberType({ name, type }: Field): string {
  return `${sqlName(name)}: ${sqlType(type)}`
}

/** True if values of a type are of a kind, or have values of it inside. */
export function hasInside(type: DataType, kind: PrimitiveKind): boolean {
  switch (type.kind) {
    case 'struct':
      return type.fields.some(field => hasInside(field.type, kind))
    case 'array':
      return hasInside(type.element, kind)
    case 'map':
      return hasInside(type.key, kind) || hasInside(type.value, kind)
    default:
      return type.kind === kind
  }
}

/** True for names of one column: Delta tells columns apart without their case. */
export function isSameName(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}

/** The name of a column in data files, statistics and partition values (PROTOCOL.md, "Column Mapping"). */
export function physicalName(field: Field): string {
  const mapped = field.metadata['delta.columnMapping.physicalName']
  return typeof mapped === 'string' ? mapped : field.name
}

/** The id of a column in files, where its table has ids (PROTOCOL.md, "Column Mapping"). */
export function fieldId({ metadata }: Field): number | undefined {
  const id = metadata['delta.columnMapping.id']
  return typeof id === 'number' ? id : undefined
}

/**
 * A short name for all that the text of a row follows from: the columns' names, types and order, and their names in the
 * files: a column that was dropped and added again is another one.
 */
export function schemaFingerprint(schema: Schema): string {
  const all = schema.map(field => {
    const physical = physicalName(field)
    return [field.name, typeToDelta(described(field.type)), ...(physical === field.name ? [] : [physical])]
  })
  return Bun.hash.wyhash(JSON.stringify(all)).toString(36)
}

/** A type whose fields have no metadata but a name in the files that is another one. */
function described(type: DataType): DataType {
  switch (type.kind) {
    case 'struct': {
      const fields = type.fields.map(field => {
        const physical = physicalName(field)
        const metadata = physical === field.name ? {} : { physical }
        return { ...field, type: described(field.type), metadata }
      })
      return { kind: 'struct', fields }
    }
    case 'array':
      return { ...type, element: described(type.element) }
    case 'map':
      return { ...type, key: described(type.key), value: described(type.value) }
    default:
      return type
  }
}

/** The same for rows whose text does not have the names of columns: that of other columns, only under other names, is alike. */
export function rowsFingerprint(schema: Schema): string {
  return schemaFingerprint(schema.map(field => ({ ...field, name: physicalName(field) })))
}

/**
 * Returns why names cannot stand side by side as columns, or as the fields of a struct; undefined if they can. Names
 * that differ in case only are one name to SQL and Spark, which cannot open a table that has both.
 */
export function nameFault(names: readonly string[]): string | undefined {
  const seen = new Map<string, string>()
  for (const [i, name] of names.entries()) {
    if (name === '') return `column ${i + 1} has no name`
    if (name.includes('\0')) return `the name of column ${i + 1} holds a byte 0: ${JSON.stringify(name)}`
    if (!name.isWellFormed()) return `the name of column ${i + 1} is not Unicode: ${JSON.stringify(name)}`
    const known = seen.get(name.toLowerCase())
    if (known === name) return `the column ${name} is named twice`
    if (known !== undefined) return `the column ${name} is named twice: ${known} and ${name} differ in case only`
    seen.set(name.toLowerCase(), name)
  }
  return undefined
}

/** Returns why columns are unfit for a new table, structs inside them included; undefined if they are fit. */
export function schemaFault(schema: Schema): string | undefined {
  const own = nameFault(schema.map(({ name }) => name))
  if (own !== undefined) return own
  for (const { name, type } of schema) {
    const inside = typeFault(type)
    if (inside !== undefined) return `inside column ${name}: ${inside}`
  }
  return undefined
}

function typeFault(type: DataType): string | undefined {
  switch (type.kind) {
    case 'struct':
      return type.fields.length === 0 ? 'a struct has no fields' : schemaFault(type.fields)
    case 'array':
      return typeFault(type.element)
    case 'map':
      return typeFault(type.key) ?? typeFault(type.value)
    default:
      return undefined
  }
}

/**
 * Reads the columns that `--schema` takes: `id:Int64, name:String NOT NULL, price:Decimal(10,2), tags:array<string>`.
 * TextError `bad_schema` names the column and the nearest type.
 */
export function parseDdl(text: string): Schema {
  const parser = new DdlParser(text)
  const schema = parser.fields(undefined)
  if (schema.length === 0) throw new TextError('bad_schema', 'the schema names no column')
  return schema
}

class DdlParser {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  fields(end: '>' | undefined): Field[] {
    const fields: Field[] = []
    for (;;) {
      if (this.#atEnd(end)) break
      const start = this.#at
      const name = this.#name()
      const fault = nameFault([...fields.map(field => field.name), name])
      if (fault !== undefined) throw this.#error(fault, start)
      this.#skip()
      if (this.#text[this.#at] === ':') this.#at++
      const type = this.#type(name)
      const nullable = !this.#notNull()
      fields.push({ name, type, nullable, metadata: this.#comment() })
      this.#skip()
      if (this.#text[this.#at] === ',') this.#at++
      else break
    }
    if (!this.#atEnd(end))
      throw this.#error(`${JSON.stringify(this.#text.slice(this.#at, this.#at + 20))} is not expected here`)
    return fields
  }

  #atEnd(end: string | undefined): boolean {
    this.#skip()
    return end === undefined ? this.#at >= this.#text.length : this.#text[this.#at] === end
  }

  #name(): string {
    this.#skip()
    const quoted = /^(?:`((?:[^`]|``)+)`|"((?:[^"]|"")+)")/.exec(this.#text.slice(this.#at))
    if (quoted !== null) {
      this.#at += quoted[0].length
      return quoted[1]?.replaceAll('``', '`') ?? quoted[2]!.replaceAll('""', '"')
    }
    const plain = /^[^\s:,<>()`"]+/.exec(this.#text.slice(this.#at))
    if (plain === null) throw this.#error('a column name is missing')
    this.#at += plain[0].length
    return plain[0]
  }

  #type(column: string): DataType {
    this.#skip()
    const word = /^[A-Za-z_][A-Za-z0-9_]*/.exec(this.#text.slice(this.#at))?.[0]
    if (word === undefined) throw this.#error(`column ${column} has no type`)
    this.#at += word.length
    const start = this.#at - word.length
    const name = word.toLowerCase()
    if (name === 'decimal' || name === 'numeric') return this.#decimal(column)
    if (name === 'array' || name === 'list') {
      this.#expect('<', column)
      const element = this.#type(column)
      this.#expect('>', column)
      return { kind: 'array', element, containsNull: true }
    }
    if (name === 'map') {
      this.#expect('<', column)
      const key = this.#type(column)
      this.#expect(',', column)
      const value = this.#type(column)
      this.#expect('>', column)
      return { kind: 'map', key, value, valueContainsNull: true }
    }
    if (name === 'struct') {
      this.#expect('<', column)
      const fields = this.fields('>')
      if (fields.length === 0) throw this.#error(`column ${column}: a struct has no fields`)
      this.#expect('>', column)
      return { kind: 'struct', fields }
    }
    const kind = ALIASES[name]
    if (kind === undefined) throw this.#error(`column ${column}: there is no type ${word}; ${typeHint(name)}`, start)
    if (name === 'varchar' && /^\s*\(\s*\d+\s*\)/.test(this.#text.slice(this.#at)))
      this.#at = this.#text.indexOf(')', this.#at) + 1
    return { kind }
  }

  #decimal(column: string): DataType {
    const args = /^\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)/.exec(this.#text.slice(this.#at))
    if (args === null) return { kind: 'decimal', precision: 10, scale: 0 }
    const at = `the schema cannot be read at character ${this.#at + 1}: column ${column}`
    this.#at += args[0].length
    return decimalType(Number(args[1]), Number(args[2] ?? 0), at)
  }

  #notNull(): boolean {
    const found = /^\s*not\s+null\b/i.exec(this.#text.slice(this.#at))
    if (found !== null) this.#at += found[0].length
    return found !== null
  }

  /** COMMENT 'text', as column metadata. */
  #comment(): Field['metadata'] {
    const found = /^\s*comment\s+'((?:[^'\\]|\\[\s\S]|'')*)'/i.exec(this.#text.slice(this.#at))
    if (found === null) return {}
    this.#at += found[0].length
    const marks: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', 0: '\0' }
    return {
      comment: found[1]!.replace(/''|\\([\s\S])/g, (_, mark?: string) =>
        mark === undefined ? "'" : (marks[mark] ?? mark),
      ),
    }
  }

  #expect(mark: string, column: string): void {
    this.#skip()
    if (this.#text[this.#at] !== mark)
      throw this.#error(`column ${column}: ${JSON.stringify(mark)} is missing in its type`)
    this.#at++
  }

  #skip(): void {
    while (/\s/.test(this.#text[this.#at] ?? '')) this.#at++
  }

  /** `at`: the offset of what is wrong; the place that was reached if not given. */
  #error(what: string, at = this.#at): TextError {
    return new TextError('bad_schema', `the schema cannot be read at character ${at + 1}: ${what}`)
  }
}

const SHOWN_TYPES = [
  ...['Int8', 'Int16', 'Int32', 'Int64', 'Float32', 'Float64', 'Decimal(p,s)', 'String', 'Boolean', 'Binary'],
  ...['Date', 'Timestamp', 'Timestamp_ntz', 'array<...>', 'map<...>', 'struct<...>'],
]
/** A name that differs in more of its letters was not meant. */
const MISSPELT_SHARE_MAX = 0.4

/** The type that was meant, or all of them if none is near. */
function typeHint(name: string): string {
  const word = (type: string): string => type.replace(/[(<].*/, '').toLowerCase()
  const [nearest = ''] = SHOWN_TYPES.toSorted((a, b) => editDistance(name, word(a)) - editDistance(name, word(b)))
  return editDistance(name, word(nearest)) <= Math.max(name.length, word(nearest).length) * MISSPELT_SHARE_MAX
    ? `did you mean ${nearest}?`
    : `the types are ${SHOWN_TYPES.join(', ')}`
}
