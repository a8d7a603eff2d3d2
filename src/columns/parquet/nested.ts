import { messageOf } from '../../core/errors.ts'
import { sqlType } from '../schema.ts'
import type { Cell, DataType, Field, StructType } from '../types.ts'
import { type CellReader, cellReader } from './convert.ts'
import type { LeafColumn } from './decode.ts'
import { elementOf, findChild } from './match.ts'
import type { SchemaNode } from './metadata.ts'
import { shreddedJson, variantGroup } from './variant-shredded.ts'

/** The cursor over one leaf's levels and values. */
interface Cursor {
  readonly leaf: LeafColumn
  readonly maxDefinition: number
  read: CellReader | undefined
  entry: number
  value: number
}

/** The plan by which the fields of a struct are found among a group's children. */
interface StructPlan {
  /** By child; undefined for one that the table does not know. */
  readonly fields: readonly { readonly child: SchemaNode; readonly field: Field | undefined }[]
  /** By field, the number of its child; -1 for one that the file lacks. */
  readonly places: readonly number[]
}

/**
 * Assembles the rows of a nested column from its leaves by their repetition and definition levels. Lists are taken in
 * the three-level and the older two-level form, maps with any names inside.
 */
export class NestedReader {
  readonly #cursors: ReadonlyMap<SchemaNode, Cursor>
  readonly #plans = new Map<SchemaNode, StructPlan>()
  readonly #variants = new Map<SchemaNode, StructType>()
  readonly #elements = new Map<SchemaNode, ReturnType<typeof elementOf>>()
  #row = 0
  #cut: number | undefined
  #notUtf8: number | undefined

  constructor(leaves: ReadonlyMap<SchemaNode, LeafColumn>) {
    this.#cursors = new Map(
      [...leaves].map(([node, leaf]) => [
        node,
        { leaf, maxDefinition: node.maxDefinition, read: undefined, entry: 0, value: 0 },
      ]),
    )
  }

  rows(node: SchemaNode, type: DataType, count: number): Cell[] {
    const cells = Array.from({ length: count }, (_, row) => {
      this.#row = row
      return this.#value(node, type, 0, 0)
    })
    for (const { leaf, entry } of this.#cursors.values())
      if (entry !== leaf.entries) throw new Error(`a nested column has values for other than its ${count} rows`)
    return cells
  }

  /** The first row with a value inside that was cut (`Vector.cut`), once the rows were read. */
  get cut(): number | undefined {
    return this.#cut
  }

  /** The first row with text inside that is not UTF-8, once the rows were read. */
  get notUtf8(): number | undefined {
    return this.#notUtf8
  }

  #value(node: SchemaNode, type: DataType, definition: number, repetition: number): Cell {
    let level = definition
    if (node.repetition === 'REPEATED') {
      if (type.kind !== 'array') throw mismatch('a repeated field', type)
      // A list of the oldest form: the field itself repeats.
      return this.#repeat(node, definition, repetition, (inner, deeper) =>
        this.#present(node, type.element, inner, deeper),
      )
    }
    if (node.repetition === 'OPTIONAL') {
      level++
      if (this.#definitionOf(node) < level) {
        this.#skip(node)
        return null
      }
    }
    return this.#present(node, type, level, repetition)
  }

  /** A value that is there (a leaf may still be one that the table does not know). */
  #present(node: SchemaNode, type: DataType, definition: number, repetition: number): Cell {
    switch (type.kind) {
      case 'struct':
        return this.#struct(node, type, definition, repetition)
      case 'array':
        return this.#list(node, type, definition, repetition)
      case 'map':
        return this.#map(node, type, definition, repetition)
      case 'variant':
        return this.#variant(node, type, definition, repetition)
      default:
        return this.#leaf(node, type)
    }
  }

  #struct(node: SchemaNode, type: Extract<DataType, { kind: 'struct' }>, definition: number, repetition: number): Cell {
    if (node.physical !== undefined) throw mismatch('a column without fields', type)
    let plan = this.#plans.get(node)
    if (plan === undefined) {
      plan = structPlan(node, type.fields)
      this.#plans.set(node, plan)
    }
    const cells = plan.fields.map(({ child, field }) => {
      if (field !== undefined) return this.#value(child, field.type, definition, repetition)
      this.#skip(child)
      return null
    })
    return plan.places.map(place => cells[place] ?? null)
  }

  #list(node: SchemaNode, type: Extract<DataType, { kind: 'array' }>, definition: number, repetition: number): Cell {
    const [repeated] = node.children
    if (node.children.length !== 1 || repeated?.repetition !== 'REPEATED')
      throw mismatch('a column without one repeated field', type)
    let element = this.#elements.get(node)
    if (element === undefined) {
      element = elementOf(node, repeated, type.element)
      this.#elements.set(node, element)
    }
    const { node: inside, isWrapped } = element
    return this.#repeat(repeated, definition, repetition, (inner, level) =>
      isWrapped ? this.#value(inside, type.element, inner, level) : this.#present(repeated, type.element, inner, level),
    )
  }

  #map(node: SchemaNode, type: Extract<DataType, { kind: 'map' }>, definition: number, repetition: number): Cell {
    const [entries] = node.children
    const [key, value, ...more] = entries?.children ?? []
    if (entries?.repetition !== 'REPEATED' || key === undefined || value === undefined || more.length > 0)
      throw mismatch('a column without keys and values', type)
    return this.#repeat(entries, definition, repetition, (inner, level) => {
      const k = this.#value(key, type.key, inner, level)
      return [k, this.#value(value, type.value, inner, level)] as const
    }) as Cell
  }

  #variant(node: SchemaNode, type: DataType, definition: number, repetition: number): Cell {
    if (node.physical !== undefined) throw mismatch('a column without fields', type)
    const group = this.#variants.get(node) ?? variantGroup(node)
    this.#variants.set(node, group)
    const cell = this.#struct(node, group, definition, repetition)
    try {
      return shreddedJson(cell, group)
    } catch (cause) {
      throw new Error(`the variant of row ${this.#row} is damaged: ${messageOf(cause)}`, { cause })
    }
  }

  #repeat<T>(
    repeated: SchemaNode,
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

  #leaf(node: SchemaNode, type: DataType): Cell {
    const cursor = this.#cursors.get(node)
    if (cursor === undefined) throw mismatch('a group', type)
    cursor.read ??= cellReader(cursor.leaf.values, node, type, {
      onCut: () => {
        this.#cut ??= this.#row
      },
      onNotUtf8: () => {
        this.#notUtf8 ??= this.#row
      },
    })
    const present =
      cursor.leaf.definition === undefined || cursor.leaf.definition[cursor.entry] === cursor.maxDefinition
    cursor.entry++
    return present ? cursor.read(cursor.value++) : null
  }

  /**
   * Passes the entries of every leaf below that belong to the present value; what is not there has one in each. Entries
   * that repeat deeper than the lists around the field (`repetition`) belong to the same value.
   */
  #skip(node: SchemaNode, repetition = node.maxRepetition - (node.repetition === 'REPEATED' ? 1 : 0)): void {
    const cursor = this.#cursors.get(node)
    if (cursor === undefined) {
      for (const child of node.children) this.#skip(child, repetition)
      return
    }
    const { leaf } = cursor
    do {
      if (leaf.definition === undefined || leaf.definition[cursor.entry] === cursor.maxDefinition) cursor.value++
      cursor.entry++
    } while (cursor.entry < leaf.entries && (leaf.repetition?.[cursor.entry] ?? 0) > repetition)
  }

  #definitionOf(node: SchemaNode): number {
    const cursor = this.#firstLeaf(node)
    if (cursor.entry >= cursor.leaf.entries) throw new Error('a nested column has fewer values than rows')
    return cursor.leaf.definition?.[cursor.entry] ?? 0
  }

  #repetitionOf(node: SchemaNode): number {
    const cursor = this.#firstLeaf(node)
    return cursor.entry < cursor.leaf.entries ? (cursor.leaf.repetition?.[cursor.entry] ?? 0) : 0
  }

  #firstLeaf(node: SchemaNode): Cursor {
    let at = node
    while (at.children.length > 0) at = at.children[0]!
    const cursor = this.#cursors.get(at)
    if (cursor === undefined) throw new Error(`the group ${at.path.join('.')} has no fields`)
    return cursor
  }
}

function structPlan(node: SchemaNode, fields: readonly Field[]): StructPlan {
  const found = fields.map(field => findChild(node, field))
  return {
    fields: node.children.map(child => ({ child, field: fields[found.indexOf(child)] })),
    places: found.map(child => (child === undefined ? -1 : node.children.indexOf(child))),
  }
}

function mismatch(what: string, type: DataType): Error {
  return new Error(`the file has ${what} where the table has ${sqlType(type)}`)
}
