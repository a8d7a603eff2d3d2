import { formOf } from '../columns/parquet/leaf.ts'
import { elementOf, findChild } from '../columns/parquet/match.ts'
import type { ColumnChunk, SchemaNode } from '../columns/parquet/metadata.ts'
import { type Footer, leavesOf } from '../columns/parquet/read.ts'
import { UnsupportedError } from '../columns/parquet/unsupported.ts'
import { physicalName } from '../columns/schema.ts'
import type { DataType, Field, Schema } from '../columns/types.ts'
import { isWidened } from '../table/type-widening.ts'

const CODECS = ['UNCOMPRESSED', 'SNAPPY', 'GZIP', 'BROTLI', 'ZSTD', 'LZ4_RAW']
const ENCODINGS = [
  ...['PLAIN', 'RLE', 'BIT_PACKED', 'PLAIN_DICTIONARY', 'RLE_DICTIONARY'],
  ...['DELTA_BINARY_PACKED', 'DELTA_LENGTH_BYTE_ARRAY', 'DELTA_BYTE_ARRAY'],
]
/** Names of the repeated field of a list that all readers take for the outer of two levels. */
const LIST_LEVELS = ['list', 'bag']
const BITS: Readonly<Record<string, number>> = { byte: 8, short: 16, integer: 32, long: 64 }
/** Digits of the largest number of so many bits. */
const DIGITS: Readonly<Record<number, number>> = { 8: 3, 16: 5, 32: 10, 64: 20 }
/** A 64-bit float holds all whole numbers of so many bits. */
const EXACT_BITS = 32

/**
 * True if the engine reads these columns of a file as our own reader does. It gets to read the forms that are known to mean
 * the same to both; where there is a doubt, it gets the file as our reader sees it. So a file never has two meanings.
 * `schema`: the columns that are looked for in the file.
 */
export function readsInPlace(footer: Footer, schema: Schema): boolean {
  const { root, rowGroups, keyValue } = footer
  // What is in a file the engine has to understand, even if nobody asks for it; it turns columns that `geo` names into others.
  if (keyValue.has('geo') || !root.children.every(isStandard)) return false
  try {
    const found = sameChildren(root, schema, true)
    if (found === undefined) return false
    const nodes = found.filter(node => node !== undefined)
    const isAlike = found.every((node, i) => node === undefined || isSame(node, schema[i]!.type, isWidened(schema[i]!)))
    return isAlike && rowGroups.every(({ columns }) => nodes.flatMap(leavesOf).every(leaf => isRead(leaf, columns)))
  } catch (error) {
    // Our reader says better what cannot be read.
    if (error instanceof UnsupportedError) return false
    throw error
  }
}

function isStandard(node: SchemaNode): boolean {
  const { annotation, children, convertedType } = node
  if (node.physical !== undefined) return annotation?.kind !== 'UNKNOWN' && convertedType !== 'BSON'
  if (annotation === undefined)
    return node.repetition !== 'REPEATED' && children.length > 0 && children.every(isStandard)
  const [repeated] = children
  if (convertedType !== annotation.kind || children.length !== 1 || repeated?.repetition !== 'REPEATED') return false
  const inside = repeated.children
  const isList = annotation.kind === 'LIST' && inside.length === 1 && LIST_LEVELS.includes(repeated.name)
  const isMap = annotation.kind === 'MAP' && inside.length === 2 && inside[0]!.repetition === 'REQUIRED'
  return (isList || isMap) && inside.every(child => child.repetition !== 'REPEATED' && isStandard(child))
}

/**
 * Returns the children of a group that the engine and our reader find for its fields; undefined if they would not find
 * the same. The engine looks for ids at the top only, knows only the cases of ASCII letters, and no way out where two names are alike.
 */
function sameChildren(
  group: SchemaNode,
  fields: readonly Field[],
  isTop: boolean,
): (SchemaNode | undefined)[] | undefined {
  if (new Set(group.children.map(({ name }) => name.toLowerCase())).size < group.children.length) return undefined
  const hasIds = group.children.some(({ fieldId }) => fieldId !== undefined)
  const found = fields.map(field => findChild(group, field))
  const isSure = fields.every((field, i) => {
    if (isTop && field.metadata['delta.columnMapping.id'] !== undefined) return hasIds
    const name = asciiFolded(physicalName(field))
    return group.children.find(child => asciiFolded(child.name) === name) === found[i]
  })
  return isSure ? found : undefined
}

function asciiFolded(name: string): string {
  return name.replaceAll(/[A-Z]/g, letter => letter.toLowerCase())
}

/**
 * `mayBeNarrow`: values of the file may have to become others. The engine compares with the file's own values what a statement
 * looks for (0.75 as the integer 1), unless the column is known to be a widened one (`relation.ts`).
 */
function isSame(node: SchemaNode, type: DataType, mayBeNarrow: boolean): boolean {
  if (node.repetition === 'REPEATED') return false
  switch (type.kind) {
    case 'struct': {
      if (node.physical !== undefined || node.annotation !== undefined) return false
      const found = sameChildren(node, type.fields, false)
      // A struct that has nothing of what it should have is an error to the engine.
      if (found === undefined || found.every(child => child === undefined)) return false
      return found.every((child, i) => child === undefined || isSame(child, type.fields[i]!.type, mayBeNarrow))
    }
    case 'array': {
      const [repeated] = node.children
      if (node.annotation?.kind !== 'LIST' || repeated === undefined) return false
      return isSame(elementOf(node, repeated, type.element).node, type.element, mayBeNarrow)
    }
    case 'map': {
      const [key, value] = node.children[0]?.children ?? []
      return (
        node.annotation?.kind === 'MAP' &&
        isSame(key!, type.key, mayBeNarrow) &&
        isSame(value!, type.value, mayBeNarrow)
      )
    }
    default:
      return node.physical !== undefined && isSameLeaf(node, type, mayBeNarrow)
  }
}

/** The engine goes by the converted type where there is one, and knows not all of the logical ones. */
function isSameLeaf(node: SchemaNode, type: DataType, mayBeNarrow: boolean): boolean {
  const { physical, convertedType } = node
  const form = formOf(node)
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
      return form.kind === 'integer' && isKnown(node) && form.bits + (form.isSigned ? 0 : 1) <= BITS[type.kind]!
    case 'double':
      if (form.kind === 'integer') return mayBeNarrow && isKnown(node) && form.bits <= EXACT_BITS
      return form.kind === 'double' || (mayBeNarrow && form.kind === 'float')
    case 'float':
    case 'boolean':
      return form.kind === type.kind
    case 'date':
      return form.kind === 'date' && convertedType === 'DATE'
    case 'timestamp':
    case 'timestamp_ntz':
      return form.kind === 'timestamp' && form.unit !== 'NANOS'
    case 'decimal': {
      if (!mayBeNarrow && (form.kind === 'integer' ? 0 : form.kind === 'decimal' && form.scale) !== type.scale)
        return false
      if (form.kind === 'integer') return isKnown(node) && DIGITS[form.bits]! <= type.precision - type.scale
      if (form.kind !== 'decimal' || convertedType !== 'DECIMAL') return false
      return form.scale <= type.scale && form.precision - form.scale <= type.precision - type.scale
    }
    case 'string':
      return physical === 'BYTE_ARRAY' && (convertedType === 'UTF8' || convertedType === 'ENUM')
    case 'binary':
      return form.kind === 'binary' && node.annotation === undefined
    default:
      return false
  }
}

/** True if the bits and the sign of a whole number are those of the converted type or of the physical one. */
function isKnown({ annotation, convertedType }: SchemaNode): boolean {
  if (annotation?.kind !== 'INTEGER') return annotation === undefined
  return convertedType === `${annotation.isSigned ? '' : 'U'}INT_${annotation.bits}`
}

function isRead(leaf: SchemaNode, columns: readonly ColumnChunk[]): boolean {
  const chunk = columns[leaf.leafIndex]
  if (chunk === undefined || chunk.isEncrypted || chunk.otherFile !== undefined) return false
  const { codec, encodings, entries } = chunk
  if (!CODECS.includes(codec) && entries > 0) return false
  // Writers name BIT_PACKED for levels that there are none of; where there are any, RLE has to be named, too.
  const hasLevels = leaf.maxDefinition > 0 || leaf.maxRepetition > 0
  if (hasLevels && encodings.includes('BIT_PACKED') && !encodings.includes('RLE')) return false
  const isSplit = leaf.physical === 'FLOAT' || leaf.physical === 'DOUBLE'
  return encodings.every(encoding => ENCODINGS.includes(encoding) || (encoding === 'BYTE_STREAM_SPLIT' && isSplit))
}
