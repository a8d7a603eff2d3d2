import type { SchemaTree } from 'hyparquet/src/types.js'
import { physicalName } from '../schema.ts'
import type { Cell, DataType, Field } from '../types.ts'
import { type CellReader, cellReader } from './convert.ts'
import type { LeafColumn } from './decode.ts'

/** Finds the Parquet child that holds a field: by name, or by id (PROTOCOL.md, "Column Mapping"). */
export type FindChild = (tree: SchemaTree, field: Field) => SchemaTree | undefined

export function findByName(tree: SchemaTree, field: Field): SchemaTree | undefined {
  const name = physicalName(field)
  return tree.children.find(child => child.element.name === name)
}

/** Finds by field_id, as column mapping mode `id` wants; a file without ids is read by name. */
export function findById(tree: SchemaTree, field: Field): SchemaTree | undefined {
  const id = field.metadata['delta.columnMapping.id']
  return tree.children.find(child => child.element.field_id === id) ?? findByName(tree, field)
}

/** The cursor over one leaf's levels and values. */
interface Cursor {
  readonly leaf: LeafColumn
  readonly maxDefinition: number
  read: CellReader | undefined
  entry: number
  value: number
}

/**
 * Assembles the rows of a nested column from its leaves by their repetition and definition levels. Lists are taken in
 * the three-level and the older two-level form, maps with any names inside.
 */
export class NestedReader {
  readonly #cursors: ReadonlyMap<SchemaTree, Cursor>
  readonly #find: FindChild
  /** The repetition level of the value that each node stands in. */
  readonly #depths = new Map<SchemaTree, number>()
  #row = 0
  #notUtf8: number | undefined

  constructor(
    root: SchemaTree,
    leaves: ReadonlyMap<SchemaTree, { leaf: LeafColumn; maxDefinition: number }>,
    find: FindChild,
  ) {
    this.#cursors = new Map(
      [...leaves].map(([tree, { leaf, maxDefinition }]) => [
        tree,
        { leaf, maxDefinition, read: undefined, entry: 0, value: 0 },
      ]),
    )
    this.#find = find
    this.#measure(root, 0)
  }

  #measure(tree: SchemaTree, depth: number): void {
    this.#depths.set(tree, depth)
    const inside = tree.element.repetition_type === 'REPEATED' ? depth + 1 : depth
    for (const child of tree.children) this.#measure(child, inside)
  }

  rows(tree: SchemaTree, type: DataType, count: number): Cell[] {
    const cells = Array.from({ length: count }, (_, row) => {
      this.#row = row
      return this.#value(tree, type, 0, 0)
    })
    for (const { leaf, entry } of this.#cursors.values())
      if (entry !== leaf.entries) throw new Error(`a nested column has values for other than its ${count} rows`)
    return cells
  }

  /** The first row with text inside that is not UTF-8, once the rows were read. */
  get notUtf8(): number | undefined {
    return this.#notUtf8
  }

  #value(tree: SchemaTree, type: DataType, definition: number, repetition: number): Cell {
    let level = definition
    if (tree.element.repetition_type === 'REPEATED' && type.kind === 'array') {
      // A list of the oldest form: the field itself repeats.
      return this.#repeat(tree, definition, repetition, (inner, deeper) =>
        this.#present(tree, type.element, inner, deeper),
      )
    }
    if (tree.element.repetition_type === 'OPTIONAL') {
      level++
      if (this.#definitionOf(tree) < level) {
        this.#skip(tree)
        return null
      }
    }
    return this.#present(tree, type, level, repetition)
  }

  /** A value that is there (a leaf may still be one that the table does not know). */
  #present(tree: SchemaTree, type: DataType, definition: number, repetition: number): Cell {
    switch (type.kind) {
      case 'struct':
        return this.#struct(tree, type.fields, definition, repetition)
      case 'array':
        return this.#list(tree, type.element, definition, repetition)
      case 'map':
        return this.#map(tree, type, definition, repetition)
      default:
        return this.#leaf(tree, type)
    }
  }

  #struct(tree: SchemaTree, fields: readonly Field[], definition: number, repetition: number): Cell {
    const cells = new Map<SchemaTree, Cell>()
    const known = new Map(fields.map(field => [this.#find(tree, field), field] as const))
    for (const child of tree.children) {
      const field = known.get(child)
      if (field === undefined) this.#skip(child)
      else cells.set(child, this.#value(child, field.type, definition, repetition))
    }
    return fields.map(field => {
      const child = this.#find(tree, field)
      return child === undefined ? null : (cells.get(child) ?? null)
    })
  }

  #list(tree: SchemaTree, element: DataType, definition: number, repetition: number): Cell {
    const [repeated] = tree.children
    if (repeated === undefined || repeated.element.repetition_type !== 'REPEATED')
      throw new Error('a list has no repeated field')
    return this.#repeat(repeated, definition, repetition, (inner, level) => {
      const wrapped = isWrapper(tree, repeated, element)
      return wrapped
        ? this.#value(repeated.children[0]!, element, inner, level)
        : this.#present(repeated, element, inner, level)
    })
  }

  #map(tree: SchemaTree, type: Extract<DataType, { kind: 'map' }>, definition: number, repetition: number): Cell {
    const [entries] = tree.children
    const [key, value] = entries?.children ?? []
    if (entries === undefined || key === undefined || value === undefined)
      throw new Error('a map has no keys and values')
    return this.#repeat(entries, definition, repetition, (inner, level) => {
      const k = this.#value(key, type.key, inner, level)
      return [k, this.#value(value, type.value, inner, level)] as const
    }) as Cell
  }

  #repeat<T>(
    repeated: SchemaTree,
    definition: number,
    repetition: number,
    read: (definition: number, repetition: number) => T,
  ): T[] {
    const items: T[] = []
    if (this.#definitionOf(repeated) <= definition) {
      this.#skip(repeated)
      return items
    }
    do items.push(read(definition + 1, repetition + 1))
    while (this.#repetitionOf(repeated) > repetition)
    return items
  }

  #leaf(tree: SchemaTree, type: DataType): Cell {
    const cursor = this.#cursors.get(tree)
    if (cursor === undefined) throw new Error(`a group stands where a ${type.kind} is expected`)
    cursor.read ??= cellReader(cursor.leaf.values, tree.element, type, () => {
      this.#notUtf8 ??= this.#row
    })
    const present =
      cursor.leaf.definition === undefined || cursor.leaf.definition[cursor.entry] === cursor.maxDefinition
    cursor.entry++
    return present ? cursor.read(cursor.value++) : null
  }

  /** Passes the entries of every leaf below that belong to the present value; what is not there has one in each. */
  #skip(tree: SchemaTree, repetition = this.#repetitionOfRecord(tree)): void {
    const cursor = this.#cursors.get(tree)
    if (cursor === undefined) {
      for (const child of tree.children) this.#skip(child, repetition)
      return
    }
    const { leaf } = cursor
    do {
      if (leaf.definition === undefined || leaf.definition[cursor.entry] === cursor.maxDefinition) cursor.value++
      cursor.entry++
    } while (cursor.entry < leaf.entries && (leaf.repetition?.[cursor.entry] ?? 0) > repetition)
  }

  /** How deep the lists around a field are: entries that repeat deeper belong to the same value. */
  #repetitionOfRecord(tree: SchemaTree): number {
    return this.#depths.get(tree) ?? 0
  }

  #definitionOf(tree: SchemaTree): number {
    const cursor = this.#firstLeaf(tree)
    if (cursor.entry >= cursor.leaf.entries) throw new Error('a nested column has fewer values than rows')
    return cursor.leaf.definition?.[cursor.entry] ?? 0
  }

  #repetitionOf(tree: SchemaTree): number {
    const cursor = this.#firstLeaf(tree)
    return cursor.entry < cursor.leaf.entries ? (cursor.leaf.repetition?.[cursor.entry] ?? 0) : 0
  }

  #firstLeaf(tree: SchemaTree): Cursor {
    let at = tree
    while (at.children.length > 0) at = at.children[0]!
    return this.#cursors.get(at)!
  }
}

/** Whether the repeated field of a list wraps its element (three levels) or is the element (two): the format's backward-compatibility rules. */
function isWrapper(list: SchemaTree, repeated: SchemaTree, element: DataType): boolean {
  if (repeated.children.length !== 1) return false
  const { name } = repeated.element
  if (name === 'array' || name === `${list.element.name}_tuple`) return false
  if (element.kind === 'struct' && element.fields.length === 1 && name !== 'list' && name !== 'bag') {
    return physicalName(element.fields[0]!) !== repeated.children[0]!.element.name
  }
  return true
}
