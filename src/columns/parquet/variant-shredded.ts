import { cellToJson } from '../text/json.ts'
import type { Cell, DataType, Field, StructType } from '../types.ts'
import type { SchemaNode } from './metadata.ts'
import { schemaOfFooter } from './schema.ts'
import { jsonOf, type VariantParts, variantParts } from './variant-value.ts'

const METADATA = 'metadata'
const VALUE = 'value'
const TYPED = 'typed_value'
const NULL: VariantParts = { kind: 'other', json: 'null' }

/** Returns the type as which a file stores a variant column: `metadata` and `value`, and parts of it in `typed_value`. */
export function variantGroup(group: SchemaNode): StructType {
  const fields = schemaOfFooter({ root: group }, 'the file')
  const metadata = fields.find(({ name }) => name === METADATA)
  const isPlain = [METADATA, VALUE].every(name => (typeNamed(fields, name)?.kind ?? 'binary') === 'binary')
  const typed = typeNamed(fields, TYPED)
  if (metadata === undefined || !isPlain || fields.some(({ name }) => ![METADATA, VALUE, TYPED].includes(name)))
    throw new Error(`the file has a group of ${fields.map(({ name }) => name).join(', ')} where the table has VARIANT`)
  if (typed !== undefined) checkTyped(typed)
  return { kind: 'struct', fields }
}

function typeNamed(fields: readonly Field[], name: string): DataType | undefined {
  return fields.find(field => field.name === name)?.type
}

/** Checks that parts are shredded all the way down: each item is a group of `value` and `typed_value`. */
function checkTyped(type: DataType): void {
  if (type.kind === 'map') throw new Error('a part of a variant is stored as a map')
  const items =
    type.kind === 'struct' ? type.fields.map(field => field.type) : type.kind === 'array' ? [type.element] : []
  for (const item of items) {
    const fields = item.kind === 'struct' ? item.fields : []
    if (fields.length === 0 || fields.some(({ name }) => name !== VALUE && name !== TYPED))
      throw new Error('a part of a variant is not stored as value and typed_value')
    if ((typeNamed(fields, VALUE)?.kind ?? 'binary') !== 'binary') throw new Error('a part of a variant is no binary')
    const typed = typeNamed(fields, TYPED)
    if (typed !== undefined) checkTyped(typed)
  }
}

/** A variant as JSON, of the cells of its group (VariantShredding.md, "Reconstructing a Shredded Variant"). Throws Error. */
export function shreddedJson(cell: Cell, type: StructType): string {
  const metadata = cellNamed(cell, type, METADATA)
  if (metadata === null) throw new Error('it has no metadata')
  return jsonOf(partsOf(cell, type, metadata as Uint8Array) ?? NULL)
}

function cellNamed(cell: Cell, { fields }: StructType, name: string): Cell {
  const i = fields.findIndex(field => field.name === name)
  return i < 0 ? null : ((cell as readonly Cell[])[i] ?? null)
}

/** Undefined for a value that is not there. */
function partsOf(cell: Cell, type: StructType, metadata: Uint8Array): VariantParts | undefined {
  const value = cellNamed(cell, type, VALUE) as Uint8Array | null
  const typed = cellNamed(cell, type, TYPED)
  const rest = value === null ? undefined : variantParts(metadata, value)
  if (typed === null) return rest
  const typedType = typeNamed(type.fields, TYPED)!
  if (typedType.kind === 'struct') return objectOf(typed, typedType, metadata, rest)
  if (rest !== undefined) throw new Error('a part of it has two values')
  if (typedType.kind !== 'array') return { kind: 'other', json: cellToJson(typed, typedType) }
  const element = typedType.element as StructType
  // An element that is not there has no place of its own: it is null.
  const items = (typed as readonly Cell[]).map(item => jsonOf(partsOf(present(item), element, metadata) ?? NULL))
  return { kind: 'other', json: `[${items.join(',')}]` }
}

/** The members that have columns, and those of `value` that have none. */
function objectOf(cell: Cell, type: StructType, metadata: Uint8Array, rest: VariantParts | undefined): VariantParts {
  if (rest !== undefined && rest.kind !== 'object') throw new Error('a part of it has two values')
  const members = new Map(rest?.members)
  for (const [i, field] of type.fields.entries()) {
    const item = (cell as readonly Cell[])[i] ?? null
    const parts = item === null ? undefined : partsOf(item, field.type as StructType, metadata)
    if (parts === undefined) continue
    if (members.has(field.name)) throw new Error(`an object has the key ${JSON.stringify(field.name)} twice`)
    members.set(field.name, jsonOf(parts))
  }
  return { kind: 'object', members }
}

function present(item: Cell): Cell {
  return item ?? []
}
