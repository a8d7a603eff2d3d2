import type { DuckDBType } from '@duckdb/node-api'
import { physicalName } from '../columns/schema.ts'
import type { DataType, Field, PrimitiveKind, Schema } from '../columns/types.ts'
import type { DuckDb } from './native.ts'

const DUCK_NAMES: Readonly<Record<PrimitiveKind, string>> = {
  byte: 'TINYINT',
  short: 'SMALLINT',
  integer: 'INTEGER',
  long: 'BIGINT',
  float: 'FLOAT',
  double: 'DOUBLE',
  string: 'VARCHAR',
  boolean: 'BOOLEAN',
  binary: 'BLOB',
  date: 'DATE',
  timestamp: 'TIMESTAMP WITH TIME ZONE',
  timestamp_ntz: 'TIMESTAMP',
  variant: 'JSON',
  // The engine makes whole numbers of a type for NULLs only.
  void: 'VARCHAR',
}

export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

/** A Delta type as DuckDB writes it; `naming` says which name the fields of structs have. */
export function duckTypeOf(type: DataType, naming: (field: Field) => string = field => field.name): string {
  switch (type.kind) {
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`
    case 'struct': {
      const fields = type.fields.map(field => `${quoteName(naming(field))} ${duckTypeOf(field.type, naming)}`)
      return `STRUCT(${fields.join(', ')})`
    }
    case 'array':
      return `${duckTypeOf(type.element, naming)}[]`
    case 'map':
      return `MAP(${duckTypeOf(type.key, naming)}, ${duckTypeOf(type.value, naming)})`
    default:
      return DUCK_NAMES[type.kind]
  }
}

/** The type that a column has in the copies of files that are made for the engine: variants are their JSON. */
export function storedType(type: DataType): DataType {
  switch (type.kind) {
    case 'struct':
      return { ...type, fields: type.fields.map(field => ({ ...field, type: storedType(field.type) })) }
    case 'array':
      return { ...type, element: storedType(type.element) }
    case 'map':
      return { ...type, key: storedType(type.key), value: storedType(type.value) }
    case 'variant':
    case 'void':
      return { kind: 'string' }
    default:
      return type
  }
}

/**
 * `source`, a value whose struct fields have their physical names (PROTOCOL.md, "Column Mapping"), with the logical ones.
 * A cast would pair the fields by name, so the struct is built anew wherever a name differs.
 */
export function withLogicalNames(source: string, type: DataType, depth = 0): string {
  if (!isRenamed(type)) return source
  const item = `x${depth}`
  switch (type.kind) {
    case 'struct': {
      const fields = type.fields.map(field => {
        const value = withLogicalNames(
          `struct_extract(${source}, ${quoteText(physicalName(field))})`,
          field.type,
          depth,
        )
        return `${quoteName(field.name)} := ${value}`
      })
      return `CASE WHEN ${source} IS NULL THEN NULL ELSE struct_pack(${fields.join(', ')}) END`
    }
    case 'array':
      return `list_transform(${source}, lambda ${item}: ${withLogicalNames(item, type.element, depth + 1)})`
    case 'map': {
      const keys = `list_transform(map_keys(${source}), lambda ${item}: ${withLogicalNames(item, type.key, depth + 1)})`
      const values = `list_transform(map_values(${source}), lambda ${item}: ${withLogicalNames(item, type.value, depth + 1)})`
      return `CASE WHEN ${source} IS NULL THEN NULL ELSE map(${keys}, ${values}) END`
    }
    default:
      return source
  }
}

function isRenamed(type: DataType): boolean {
  switch (type.kind) {
    case 'struct':
      return type.fields.some(field => physicalName(field) !== field.name || isRenamed(field.type))
    case 'array':
      return isRenamed(type.element)
    case 'map':
      return isRenamed(type.key) || isRenamed(type.value)
    default:
      return false
  }
}

/** The schema of a result: DuckDB's types by the Delta type that holds all their values, else as text; names made unique. */
export function resultSchema(duck: DuckDb, names: readonly string[], types: readonly DuckDBType[]): Schema {
  return uniqueNames(names).map((name, i) => ({
    name,
    type: deltaTypeOf(duck, types[i]!),
    nullable: true,
    metadata: {},
  }))
}

/** A second `a` becomes `a_1`. Names that differ only in case count as the same, as everywhere in Delta and SQL. */
function uniqueNames(names: readonly string[]): string[] {
  const taken = new Set(names.map(name => name.toLowerCase()))
  const used = new Set<string>()
  return names.map(name => {
    let unique = name
    for (let n = 1; used.has(unique.toLowerCase()) || (n > 1 && taken.has(unique.toLowerCase())); n++)
      unique = `${name}_${n}`
    used.add(unique.toLowerCase())
    return unique
  })
}

function deltaTypeOf(duck: DuckDb, type: DuckDBType): DataType {
  const { DuckDBTypeId: id } = duck
  if (type.typeId === id.DECIMAL) return { kind: 'decimal', precision: type.width, scale: type.scale }
  if (type.typeId === id.LIST || type.typeId === id.ARRAY) {
    return { kind: 'array', element: deltaTypeOf(duck, type.valueType), containsNull: true }
  }
  if (type.typeId === id.MAP) {
    const key = deltaTypeOf(duck, type.keyType)
    return { kind: 'map', key, value: deltaTypeOf(duck, type.valueType), valueContainsNull: true }
  }
  if (type.typeId === id.STRUCT) {
    const named = type.entryNames.map((name, i) => (name === '' ? `_${i + 1}` : name))
    return { kind: 'struct', fields: resultSchema(duck, named, type.entryTypes) }
  }
  return scalarTypeOf(duck, type)
}

function scalarTypeOf({ DuckDBTypeId: id }: DuckDb, type: DuckDBType): DataType {
  switch (type.typeId) {
    case id.BOOLEAN:
      return { kind: 'boolean' }
    case id.TINYINT:
      return { kind: 'byte' }
    case id.SMALLINT:
    case id.UTINYINT:
      return { kind: 'short' }
    case id.INTEGER:
    case id.USMALLINT:
      return { kind: 'integer' }
    case id.BIGINT:
    case id.UINTEGER:
      return { kind: 'long' }
    case id.UBIGINT:
      return { kind: 'decimal', precision: 20, scale: 0 }
    // sum() of integers. Beyond 38 digits a value is refused when it is read.
    case id.HUGEINT:
    case id.UHUGEINT:
      return { kind: 'decimal', precision: 38, scale: 0 }
    case id.FLOAT:
      return { kind: 'float' }
    case id.DOUBLE:
      return { kind: 'double' }
    case id.BLOB:
      return { kind: 'binary' }
    case id.DATE:
      return { kind: 'date' }
    case id.TIMESTAMP:
    case id.TIMESTAMP_S:
    case id.TIMESTAMP_MS:
      return { kind: 'timestamp_ntz' }
    case id.TIMESTAMP_TZ:
      return { kind: 'timestamp' }
    // VARCHAR, and what Delta has no type for: TIME, INTERVAL, UUID, ENUM, BIT, TIMESTAMP_NS, UNION, NULL, ...
    default:
      return { kind: 'string' }
  }
}
