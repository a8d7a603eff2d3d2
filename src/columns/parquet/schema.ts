import type { SchemaElement, SchemaTree } from 'hyparquet/src/types.js'
import { ParquetError } from '../errors.ts'
import type { DataType, Field, Schema } from '../types.ts'
import type { Footer } from './read.ts'

/** The columns of a Parquet file as Delta types. ParquetError `unsupported` names a column that has none. */
export function schemaOfFooter(footer: Footer, name: string): Schema {
  return footer.tree.children.map(child => fieldOf(child, name))
}

function fieldOf(tree: SchemaTree, file: string): Field {
  const { element } = tree
  const repeated = element.repetition_type === 'REPEATED'
  const type = typeOf(tree, file)
  return {
    name: element.name,
    type: repeated ? { kind: 'array', element: type, containsNull: false } : type,
    nullable: element.repetition_type !== 'REQUIRED' && !repeated,
    metadata: {},
  }
}

function typeOf(tree: SchemaTree, file: string): DataType {
  const { element, children } = tree
  if (children.length === 0) return leafType(element, tree.path.join('.'), file)
  const kind = element.logical_type?.type ?? element.converted_type
  const [only] = children
  if (kind === 'LIST' && only !== undefined) return listType(only, file)
  if ((kind === 'MAP' || kind === 'MAP_KEY_VALUE') && only?.children.length === 2) {
    const [key, value] = only.children.map(child => fieldOf(child, file))
    return { kind: 'map', key: key!.type, value: value!.type, valueContainsNull: value!.nullable }
  }
  return { kind: 'struct', fields: children.map(child => fieldOf(child, file)) }
}

/** Lists have a repeated group with the element inside; in old files the repeated node is the element itself. */
function listType(repeated: SchemaTree, file: string): DataType {
  const [inner] = repeated.children
  const isElement = repeated.children.length !== 1 || inner === undefined || repeated.element.name === 'array'
  const { type, nullable } = isElement ? { type: typeOf(repeated, file), nullable: false } : fieldOf(inner, file)
  return { kind: 'array', element: type, containsNull: nullable }
}

function leafType(element: SchemaElement, path: string, file: string): DataType {
  const logical = element.logical_type
  const converted = element.converted_type
  if (logical?.type === 'DECIMAL' || converted === 'DECIMAL') {
    const precision = (logical?.type === 'DECIMAL' ? logical.precision : element.precision) ?? 0
    const scale = (logical?.type === 'DECIMAL' ? logical.scale : element.scale) ?? 0
    if (precision > 38)
      throw new ParquetError(
        'unsupported',
        `${file}: column ${path} is a decimal of ${precision} digits; Delta has 38 at most`,
      )
    return { kind: 'decimal', precision, scale }
  }
  switch (element.type) {
    case 'BOOLEAN':
      return { kind: 'boolean' }
    case 'FLOAT':
      return { kind: 'float' }
    case 'DOUBLE':
      return { kind: 'double' }
    case 'INT96':
      return { kind: 'timestamp' }
    case 'INT32':
      return int32Type(element, path, file)
    case 'INT64':
      return int64Type(element, path, file)
    default:
      return logical?.type === 'STRING' ||
        logical?.type === 'ENUM' ||
        logical?.type === 'JSON' ||
        converted === 'UTF8' ||
        converted === 'ENUM' ||
        converted === 'JSON'
        ? { kind: 'string' }
        : { kind: 'binary' }
  }
}

function int32Type(
  { logical_type: logical, converted_type: converted }: SchemaElement,
  path: string,
  file: string,
): DataType {
  if (logical?.type === 'DATE' || converted === 'DATE') return { kind: 'date' }
  if (logical?.type === 'TIME' || converted?.startsWith('TIME_')) throw noType('a time of day', path, file)
  if (logical?.type === 'INTEGER') return integerType(logical.bitWidth, logical.isSigned)
  const match = /^(U?)INT_(\d+)$/.exec(converted ?? '')
  return match === null ? { kind: 'integer' } : integerType(Number(match[2]), match[1] === '')
}

function int64Type(
  { logical_type: logical, converted_type: converted }: SchemaElement,
  path: string,
  file: string,
): DataType {
  if (logical?.type === 'TIMESTAMP') return { kind: logical.isAdjustedToUTC ? 'timestamp' : 'timestamp_ntz' }
  if (converted?.startsWith('TIMESTAMP_')) return { kind: 'timestamp' }
  if (logical?.type === 'TIME' || converted?.startsWith('TIME_')) throw noType('a time of day', path, file)
  const unsigned = (logical?.type === 'INTEGER' && !logical.isSigned) || converted === 'UINT_64'
  if (unsigned) throw noType('an unsigned 64-bit number', path, file)
  return { kind: 'long' }
}

function integerType(bits: number, signed: boolean): DataType {
  if (bits <= 8) return { kind: signed ? 'byte' : 'short' }
  if (bits <= 16) return { kind: signed ? 'short' : 'integer' }
  return { kind: signed ? 'integer' : 'long' }
}

function noType(what: string, path: string, file: string): ParquetError {
  return new ParquetError(
    'unsupported',
    `${file}: column ${path} is ${what}, which Delta has no type for; convert it first`,
  )
}
