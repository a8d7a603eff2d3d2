import { fieldId, physicalName } from '../schema.ts'
import type { DataType, Field } from '../types.ts'
import type { SchemaNode } from './metadata.ts'
import { UnsupportedError } from './unsupported.ts'

/**
 * The child of a file's group that holds a field of the table; undefined if the file lacks it. The one rule for all who
 * read files: the views, copy-on-write, and (by `readsInPlace`) SQL. A field with an id is found by field_id, where the
 * file has ids (`schemaInFiles` leaves the ids out unless the table's mapping mode is `id`). Else by its name, which is the same in any case, as in Delta and SQL: who makes a table of a folder of files may spell a column
 * in a way of their own. The one that is spelled alike comes first. Throws UnsupportedError where two could be meant.
 */
export function findChild({ children }: SchemaNode, field: Field): SchemaNode | undefined {
  // Columns of no type are in no file, whatever is there under their name (PROTOCOL.md, "Void Type").
  if (field.type.kind === 'void') return undefined
  const id = fieldId(field)
  if (id !== undefined && children.some(child => child.fieldId !== undefined))
    return theOne(children, child => child.fieldId === id)
  const name = physicalName(field)
  const exact = theOne(children, child => child.name === name)
  if (exact !== undefined) return exact
  const folded = name.toLowerCase()
  return theOne(children, child => child.name.toLowerCase() === folded)
}

function theOne(children: readonly SchemaNode[], isMeant: (child: SchemaNode) => boolean): SchemaNode | undefined {
  const first = children.findIndex(isMeant)
  if (first < 0) return undefined
  const found = children[first]!
  for (let i = first + 1; i < children.length; i++) {
    const other = children[i]!
    if (!isMeant(other)) continue
    const names = `${found.path.join('.')} and ${other.path.join('.')}`
    throw new UnsupportedError(`the file has ${names}, and either could be meant; write it again with other names`)
  }
  return found
}

/** Names that only the repeated field of a three-level list has. */
const WRAPPER_NAMES = ['list', 'bag']

/**
 * Returns the elements of a list: the field inside the repeated one (three levels) or the repeated one itself (two), by
 * the format's rules (LogicalTypes.md, "Lists", backward compatibility). `element`: what the table has, for names that the
 * rules leave open.
 */
export function elementOf(
  list: SchemaNode,
  repeated: SchemaNode,
  element?: DataType,
): { readonly node: SchemaNode; readonly isWrapped: boolean } {
  const [inner] = repeated.children
  const isItself = { node: repeated, isWrapped: false }
  if (inner === undefined || repeated.children.length !== 1) return isItself
  // A map without values is read as the list of its keys.
  if (WRAPPER_NAMES.includes(repeated.name) || list.annotation?.kind === 'MAP') return { node: inner, isWrapped: true }
  if (repeated.name === 'array' || repeated.name === `${list.name}_tuple`) return isItself
  if (inner.repetition === 'REPEATED' || repeated.annotation !== undefined) return isItself
  const [field] = element?.kind === 'struct' ? element.fields : []
  const isTheField =
    element?.kind === 'struct' &&
    element.fields.length === 1 &&
    physicalName(field!).toLowerCase() === inner.name.toLowerCase() &&
    isNested(field!.type) === (inner.physical === undefined)
  return isTheField ? isItself : { node: inner, isWrapped: true }
}

function isNested({ kind }: DataType): boolean {
  return kind === 'struct' || kind === 'array' || kind === 'map'
}
