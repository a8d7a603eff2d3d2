import { isAscii } from 'node:buffer'
import { decodeChunk, isIntact, type LeafColumn } from '../../columns/parquet/decode.ts'
import { formOf } from '../../columns/parquet/leaf.ts'
import { findChild } from '../../columns/parquet/match.ts'
import type { ColumnChunk, SchemaNode } from '../../columns/parquet/metadata.ts'
import type { FetchedRowGroup } from '../../columns/parquet/read.ts'
import type { PhysicalValues } from '../../columns/parquet/values.ts'
import type { DataType, Field, Utf8Values } from '../../columns/types.ts'
import { rawNumber } from '../../core/raw-json.ts'

/*
 * Checkpoints have a row for each file of the table. Their columns of files are structs of texts, numbers, flags and maps of texts;
 * this reads those of that form where they lie, row by row and member by member as they are asked for, in a part of the time
 * that nested columns of any form take. What is of another form is left to `readRowGroup`.
 */

type FetchedColumn = FetchedRowGroup['columns'][number]

/** The value of a row; undefined for NULL. */
export type At = (row: number) => unknown

/** Texts of rows where they lie. */
export interface TextColumn extends Utf8Values {
  /** The place of each row's value among them, -1 for NULL; undefined where each row has one. */
  readonly index: Int32Array | undefined
}

/** Whole numbers of rows where they lie. */
export interface LongColumn {
  readonly array: BigInt64Array
  /** As that of texts. */
  readonly index: Int32Array | undefined
}

/** A column of structs. */
export interface ObjectColumn {
  readonly has: (row: number) => boolean
  /** The object of a row; undefined for NULL. */
  readonly at: (row: number) => Readonly<Record<string, unknown>> | undefined
  /** The members that the file has. */
  readonly members: ReadonlyMap<string, At>
  /** Those of them that are texts. */
  readonly texts: ReadonlyMap<string, () => TextColumn>
  /** Those of them that are whole numbers of 64 bits. */
  readonly longs: ReadonlyMap<string, () => LongColumn>
}

/**
 * The column of a row group of so many rows, fetched for a field of a struct type: undefined where it holds nothing at all, 'other'
 * where it has another form than these. Throws `fault` where it is damaged, as the functions of the column do: what checksums show
 * to be intact is decoded when it is asked for first.
 */
export function objectColumn(
  { node, chunks, bytes }: FetchedColumn,
  { type }: Field,
  rows: number,
  fault: (cause: unknown) => Error,
): ObjectColumn | 'other' | undefined {
  const [first] = chunks
  if (node === undefined || first === undefined) return undefined
  const leaves = new Leaves(chunks, bytes, rows, fault)
  const { definition } = leaves.get(first.leaf)
  if (definition?.some(level => level >= node.maxDefinition) === false) return undefined
  if (type.kind !== 'struct' || node.repetition !== 'OPTIONAL') return 'other'
  return structColumn(node, type.fields, leaves) ?? 'other'
}

/** The leaves below a column. */
class Leaves {
  readonly indexes = new Indexes()
  readonly #left: Map<SchemaNode, { readonly bytes: Uint8Array; readonly chunk: ColumnChunk }>
  readonly #decoded = new Map<SchemaNode, LeafColumn>()
  readonly #rows: number
  readonly fault: (cause: unknown) => Error

  constructor(
    chunks: FetchedColumn['chunks'],
    bytes: readonly Uint8Array[],
    rows: number,
    fault: (cause: unknown) => Error,
  ) {
    this.#left = new Map(chunks.map(({ leaf, chunk }, i) => [leaf, { chunk, bytes: bytes[i]! }]))
    this.#rows = rows
    this.fault = fault
  }

  /** False if there is no such leaf. Throws where it is damaged. */
  look(leaf: SchemaNode): boolean {
    if (this.#decoded.has(leaf)) return true
    const found = this.#left.get(leaf)
    if (found === undefined) return false
    if (!isIntact(found.bytes, found.chunk, true)) this.get(leaf)
    return true
  }

  isDecoded(leaf: SchemaNode): boolean {
    return this.#decoded.has(leaf)
  }

  get(leaf: SchemaNode): LeafColumn {
    const known = this.#decoded.get(leaf)
    if (known !== undefined) return known
    const { bytes, chunk } = this.#left.get(leaf)!
    try {
      const decoded = decodeChunk(bytes, chunk, leaf)
      if (rowsOf(decoded) !== this.#rows) throw new Error(`a column has values for other than its ${this.#rows} rows`)
      this.#decoded.set(leaf, decoded)
      this.#left.delete(leaf)
      return decoded
    } catch (cause) {
      throw this.fault(cause)
    }
  }
}

function rowsOf({ entries, repetition }: LeafColumn): number {
  if (repetition === undefined) return entries
  let rows = 0
  for (const level of repetition) if (level === 0) rows++
  return rows
}

/** The place of an entry's value among those that are not NULL; -1 for NULL. */
class Indexes {
  /** Columns of a struct whose members are all there or all missing share theirs. */
  #last: { readonly count: number; readonly isThere: Uint8Array; readonly index: Int32Array } | undefined

  /** undefined: each entry has a value. `level`: the definition level of one that has. */
  of(definition: Uint8Array | undefined, level: number, count: number): Int32Array | undefined {
    if (definition === undefined || count === definition.length) return undefined
    const isThere = definition.map(found => (found >= level ? 1 : 0))
    const last = this.#last
    if (last?.count === count && Buffer.compare(last.isThere, isThere) === 0) return last.index
    let next = 0
    const index = Int32Array.from(isThere, found => (found === 1 ? next++ : -1))
    this.#last = { count, isThere, index }
    return index
  }
}

function structColumn(node: SchemaNode, fields: readonly Field[], leaves: Leaves): ObjectColumn | undefined {
  const members = new Map<string, At>()
  const texts = new Map<string, () => TextColumn>()
  const longs = new Map<string, () => LongColumn>()
  for (const field of fields) {
    const child = findChild(node, field)
    if (child === undefined) continue
    const at = reader(child, field.type, leaves)
    if (at === undefined) return undefined
    members.set(field.name, at)
    if (field.type.kind === 'string') texts.set(field.name, () => textColumn(child, leaves))
    if (field.type.kind === 'long') longs.set(field.name, () => longColumn(child, leaves))
  }
  const has = presence(node, leaves)
  if (has === undefined) return undefined
  const list = [...members]
  const at = (row: number): Record<string, unknown> | undefined => {
    if (!has(row)) return undefined
    const object: Record<string, unknown> = {}
    for (const [name, member] of list) {
      const value = member(row)
      if (value !== undefined) object[name] = value
    }
    return object
  }
  return { has, at, members, texts, longs }
}

function textColumn(node: SchemaNode, leaves: Leaves): TextColumn {
  const { values, definition } = leaves.get(node)
  const array = values.array as Utf8Values
  return { ...array, index: leaves.indexes.of(definition, node.maxDefinition, array.starts.length) }
}

function longColumn(node: SchemaNode, leaves: Leaves): LongColumn {
  const { values, definition } = leaves.get(node)
  const array = values.array as BigInt64Array
  return { array, index: leaves.indexes.of(definition, node.maxDefinition, array.length) }
}

/** Tells of each row whether a group is there: by a leaf of it that has one entry for each row. */
function presence(node: SchemaNode, leaves: Leaves): ((row: number) => boolean) | undefined {
  const leaf = firstFlat(node)
  if (leaf === undefined || !leaves.look(leaf)) return undefined
  const levels = onceMade(() => leaves.get(leaf).definition)
  const level = node.maxDefinition
  return row => (levels()?.[row] ?? level) >= level
}

function firstFlat(node: SchemaNode): SchemaNode | undefined {
  if (node.maxRepetition > 0) return undefined
  if (node.physical !== undefined) return node
  for (const child of node.children) {
    const found = firstFlat(child)
    if (found !== undefined) return found
  }
  return undefined
}

function reader(node: SchemaNode, type: DataType, leaves: Leaves): At | undefined {
  if (type.kind === 'map') return mapReader(node, type, leaves)
  if (type.kind === 'array') return listReader(node, type.element, leaves)
  if (node.maxRepetition > 0) return undefined
  if (type.kind === 'struct')
    return node.physical === undefined ? structColumn(node, type.fields, leaves)?.at : undefined
  if (!isReadable(node, type) || !leaves.look(node)) return undefined
  const made = onceMade(() => readerOf(leaves.get(node), node, type, leaves.indexes))
  return row => made()(row)
}

function readerOf({ values, definition }: LeafColumn, node: SchemaNode, type: DataType, indexes: Indexes): At {
  const value = valueReader(values, type)
  const count = countOf(values)
  if (count === 0) return () => undefined
  const index = indexes.of(definition, node.maxDefinition, count)
  if (index === undefined) return value
  return row => {
    const i = index[row]!
    return i < 0 ? undefined : value(i)
  }
}

function countOf({ kind, array }: PhysicalValues): number {
  return kind === 'bytes' ? array.starts.length : array.length
}

/** A map of texts, as an object. */
function mapReader(node: SchemaNode, type: Extract<DataType, { kind: 'map' }>, leaves: Leaves): At | undefined {
  const [entries] = node.children
  const [key, value, ...more] = entries?.children ?? []
  if (node.maxRepetition > 0 || entries?.repetition !== 'REPEATED' || more.length > 0) return undefined
  if (key?.physical === undefined || key.repetition !== 'REQUIRED') return undefined
  if (value?.physical === undefined || value.repetition === 'REPEATED') return undefined
  if (!isReadable(key, type.key) || !isReadable(value, type.value)) return undefined
  if (!leaves.look(key) || !leaves.look(value)) return undefined
  const made = onceMade(() => entriesReader({ node, entries, key, value }, type, leaves))
  if (leaves.isDecoded(key) || leaves.isDecoded(value)) made()
  return row => made()(row)
}

/** A list of three levels, of texts, numbers or flags, as an array. */
function listReader(node: SchemaNode, type: DataType, leaves: Leaves): At | undefined {
  const [list] = node.children
  const [element, ...more] = list?.children ?? []
  if (node.maxRepetition > 0 || list?.repetition !== 'REPEATED' || more.length > 0 || list.name !== 'list')
    return undefined
  if (element?.physical === undefined || element.repetition === 'REPEATED' || !isReadable(element, type))
    return undefined
  if (!leaves.look(element)) return undefined
  const made = onceMade(() => elementsReader({ node, list, element }, type, leaves))
  return row => made()(row)
}

function elementsReader(
  { node, list, element }: Readonly<Record<'node' | 'list' | 'element', SchemaNode>>,
  type: DataType,
  leaves: Leaves,
): At {
  const { values, definition, repetition, entries } = leaves.get(element)
  const valueAt = valueReader(values, type)
  const starts = startsOf(repetition, entries)
  const index = leaves.indexes.of(definition, element.maxDefinition, countOf(values))
  return row => {
    const start = starts?.[row] ?? row
    const level = definition?.[start] ?? element.maxDefinition
    if (level < list.maxDefinition) return level >= node.maxDefinition ? [] : undefined
    const end = starts?.[row + 1] ?? start + 1
    return Array.from({ length: end - start }, (_, i) => {
      const at = index?.[start + i] ?? start + i
      return at < 0 ? null : valueAt(at)
    })
  }
}

/** The nodes of a map. */
type MapNodes = Readonly<Record<'node' | 'entries' | 'key' | 'value', SchemaNode>>

function entriesReader(
  { node, entries, key, value }: MapNodes,
  type: Extract<DataType, { kind: 'map' }>,
  leaves: Leaves,
): At {
  const [keys, values] = [leaves.get(key), leaves.get(value)]
  if (keys.entries !== values.entries) throw leaves.fault(new Error('a map has not as many values as keys'))
  const [keyAt, valueAt] = [valueReader(keys.values, type.key), valueReader(values.values, type.value)]
  const { definition, repetition, entries: count } = keys
  const levelAt = (entry: number): number => definition?.[entry] ?? key.maxDefinition
  // Where a row has no entries there is one that says so.
  const starts = startsOf(repetition, count)
  const keyIndex = leaves.indexes.of(definition, key.maxDefinition, countOf(keys.values))
  const valueIndex = leaves.indexes.of(values.definition, value.maxDefinition, countOf(values.values))
  return row => {
    const start = starts?.[row] ?? row
    const level = levelAt(start)
    if (level < entries.maxDefinition) return level >= node.maxDefinition ? {} : undefined
    const object: Record<string, unknown> = {}
    const end = starts?.[row + 1] ?? start + 1
    for (let entry = start; entry < end; entry++) {
      const name = keyAt(keyIndex?.[entry] ?? entry) as string
      const at = valueIndex?.[entry] ?? entry
      const item = at < 0 ? null : valueAt(at)
      if (name === '__proto__') Object.defineProperty(object, name, { value: item, ...PLAIN })
      else object[name] = item
    }
    return object
  }
}

/** The entry with which each row begins, and their number behind; undefined if each row has one. */
function startsOf(repetition: Uint8Array | undefined, count: number): Int32Array | undefined {
  if (repetition?.some(level => level > 0) !== true) return undefined
  const starts = new Int32Array(count + 1)
  let rows = 0
  for (let entry = 0; entry < count; entry++) if (repetition[entry] === 0) starts[rows++] = entry
  starts[rows] = count
  return starts.slice(0, rows + 1)
}

function onceMade<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

/** A member like any other, also if it is called `__proto__`. */
const PLAIN = { writable: true, enumerable: true, configurable: true }

/** True if a leaf holds values of a type in the form that `valueReader` reads. */
function isReadable(node: SchemaNode, { kind }: DataType): boolean {
  const form = formOf(node)
  const { physical } = node
  if (kind === 'string') return form.kind === 'string' && physical?.endsWith('BYTE_ARRAY') === true
  if (kind === 'boolean') return physical === 'BOOLEAN'
  if (form.kind !== 'integer' || !form.isSigned) return false
  return kind === 'integer' ? physical === 'INT32' && form.bits === 32 : kind === 'long' && physical === 'INT64'
}

/** Reads value i of a leaf that is readable. */
function valueReader({ kind, array }: PhysicalValues, type: DataType): (i: number) => unknown {
  if (kind === 'bytes') return textReader(array)
  if (kind === 'int64') return longReader(array)
  return type.kind === 'boolean' ? i => array[i] === 1 : i => array[i]
}

/** Numbers as commits have them: those beyond a double's digits are kept as they are spelled. */
function longReader(array: BigInt64Array): (i: number) => unknown {
  const halves = new Int32Array(array.buffer, array.byteOffset, array.length * 2)
  return i => {
    const high = halves[2 * i + 1]!
    if (high < 0x1f_ffff && high > -0x1f_ffff) return high * 2 ** 32 + (halves[2 * i]! >>> 0)
    const number = Number(array[i])
    return Number.isSafeInteger(number) ? number : rawNumber(String(array[i]))
  }
}

function textReader({ bytes, starts, ends }: Utf8Values): (i: number) => string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const encoding = isAscii(buffer) ? 'latin1' : 'utf8'
  return i => buffer.toString(encoding, starts[i], ends[i])
}
