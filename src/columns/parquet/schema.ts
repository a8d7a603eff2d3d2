import { ParquetError } from '../errors.ts'
import type { DataType, Field, Schema } from '../types.ts'
import { describeForm, formOf } from './leaf.ts'
import { elementOf } from './match.ts'
import type { SchemaNode } from './metadata.ts'

const DECIMAL_DIGITS_MAX = 38

/** Hears of a column whose values mean more in the file than in the table. */
export type Note = (sentence: string) => void

/**
 * The columns of a Parquet file, or the fields of a group in it, as Delta types. ParquetError `unsupported` names a column that has none. `note` hears of
 * what the Delta type does not say.
 */
export function schemaOfFooter({ root }: { readonly root: SchemaNode }, name: string, note?: Note): Schema {
  return root.children.map(child => fieldOf(child, name, note))
}

function fieldOf(node: SchemaNode, file: string, note: Note | undefined): Field {
  const repeated = node.repetition === 'REPEATED'
  const type = typeOf(node, file, note)
  return {
    name: node.name,
    type: repeated ? { kind: 'array', element: type, containsNull: false } : type,
    nullable: node.repetition !== 'REQUIRED' && !repeated,
    metadata: {},
  }
}

function typeOf(node: SchemaNode, file: string, note: Note | undefined): DataType {
  const { physical, annotation, children } = node
  if (physical !== undefined) return leafType(node, file, note)
  if (annotation?.kind === 'LIST') return listType(node, file, note)
  if (annotation?.kind === 'MAP') return mapType(node, file, note)
  if (annotation?.kind === 'VARIANT') throw noType('a VARIANT', node, file, 'is not written')
  if (children.length === 0) throw noType('a group without fields', node, file)
  return { kind: 'struct', fields: children.map(child => fieldOf(child, file, note)) }
}

function listType(list: SchemaNode, file: string, note: Note | undefined): DataType {
  const [repeated] = list.children
  if (list.children.length !== 1 || repeated?.repetition !== 'REPEATED')
    throw noType('a list without one repeated field', list, file)
  const { node, isWrapped } = elementOf(list, repeated)
  const { type, nullable } = isWrapped ? fieldOf(node, file, note) : { type: typeOf(node, file, note), nullable: false }
  return { kind: 'array', element: type, containsNull: nullable }
}

/** A map without values is a list of its keys (LogicalTypes.md, "Maps"). */
function mapType(map: SchemaNode, file: string, note: Note | undefined): DataType {
  const [entries] = map.children
  const fields = entries?.children.map(child => fieldOf(child, file, note)) ?? []
  const [key, value] = fields
  if (map.children.length !== 1 || entries?.repetition !== 'REPEATED' || key === undefined || fields.length > 2)
    throw noType('a map without keys and values', map, file)
  return value === undefined
    ? { kind: 'array', element: key.type, containsNull: key.nullable }
    : { kind: 'map', key: key.type, value: value.type, valueContainsNull: value.nullable }
}

function leafType(node: SchemaNode, file: string, note: Note | undefined): DataType {
  const form = formOf(node)
  switch (form.kind) {
    case 'integer':
      return integerType(form.bits, form.isSigned)
    case 'decimal':
      return decimalType(form.precision, form.scale, node, file)
    case 'timestamp':
      return { kind: form.isUtc ? 'timestamp' : 'timestamp_ntz' }
    case 'float16':
      return { kind: 'float' }
    // A column that never had a value can have any; as text it takes all that may come.
    case 'time':
    case 'uuid':
    case 'null':
      return { kind: 'string' }
    case 'geometry':
      note?.(
        `${file}: column ${node.path.join('.')} is a ${form.name}; its well-known binary is kept as BINARY, its reference system is not`,
      )
      return { kind: 'binary' }
    case 'interval':
    case 'unknown':
      throw noType(`of the type ${describeForm(form)}`, node, file)
    default:
      return { kind: form.kind }
  }
}

function decimalType(precision: number, scale: number, node: SchemaNode, file: string): DataType {
  const column = `${file}: column ${node.path.join('.')}`
  if (precision > DECIMAL_DIGITS_MAX) {
    throw new ParquetError(
      'unsupported',
      `${column} is a decimal of ${precision} digits; Delta has ${DECIMAL_DIGITS_MAX} at most`,
    )
  }
  if (precision < 1 || scale < 0 || scale > precision)
    throw new ParquetError('corrupt', `${column} is a decimal of ${precision} digits, ${scale} behind the point`)
  return { kind: 'decimal', precision, scale }
}

/** The smallest type that holds all numbers of so many bits. */
function integerType(bits: number, isSigned: boolean): DataType {
  if (bits <= 8) return { kind: isSigned ? 'byte' : 'short' }
  if (bits <= 16) return { kind: isSigned ? 'short' : 'integer' }
  if (bits <= 32) return { kind: isSigned ? 'integer' : 'long' }
  return isSigned ? { kind: 'long' } : { kind: 'decimal', precision: 20, scale: 0 }
}

function noType(what: string, node: SchemaNode, file: string, why = 'Delta has no type for'): ParquetError {
  return new ParquetError(
    'unsupported',
    `${file}: column ${node.path.join('.')} is ${what}, which ${why}; convert it first`,
  )
}
