import { byteBounds, longBounds, numberBounds } from '../../columns/bounds.ts'
import type { ChunkStatistics } from '../../columns/parquet/write.ts'
import { physicalName } from '../../columns/schema.ts'
import { formatDate, formatDecimal, formatDouble, formatTimestamp } from '../../columns/text/scalars.ts'
import type { Batch, Cell, DataType, Field, Schema, Utf8Values, Vector } from '../../columns/types.ts'
import { cellAt, isNullAt, isUtf8 } from '../../columns/vectors.ts'

/** Bounds of strings are cut to this many characters, as other Delta writers do. */
const STRING_PREFIX = 32

/** Which leaf columns get statistics: the first so many, or those that are named, a struct for all that is in it. */
export type IndexedColumns =
  | { readonly kind: 'first'; readonly count: number }
  | { readonly kind: 'named'; readonly paths: readonly (readonly string[])[] }

/** The columns that Delta writers index where the table does not say. */
export const INDEXED_BY_DEFAULT: IndexedColumns = { kind: 'first', count: 32 }

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

interface LeafStatistics extends IndexedLeaf {
  nulls: number
  min: Cell
  max: Cell
  /** NaN is above every number, so that no upper bound is true of it. */
  nan: boolean
}

/** Gathers a data file's statistics (PROTOCOL.md, "Per-file Statistics") batch by batch. */
export class StatisticsBuilder {
  readonly #schema: Schema
  readonly #leaves: LeafStatistics[] = []
  #rows = 0

  constructor(schema: Schema, indexed: IndexedColumns = INDEXED_BY_DEFAULT) {
    this.#schema = schema
    for (const leaf of indexedLeaves(schema, indexed))
      this.#leaves.push({ ...leaf, nulls: 0, min: null, max: null, nan: false })
  }

  /** Takes the rows of a row group, with the statistics of its column chunks where there are any. */
  add(batches: readonly Batch[], chunks: readonly (ChunkStatistics | undefined)[] = []): void {
    for (const { rows } of batches) this.#rows += rows
    for (const [i, field] of this.#schema.entries()) {
      const own = this.#leaves.filter(leaf => leaf.path[0] === physicalName(field))
      if (own.length === 0) continue
      const chunk = chunks[i]
      if (chunk !== undefined && isTold(field.type)) addChunk(own[0]!, chunk)
      else for (const { rows, vectors } of batches) addRows(own, field, vectors[i]!, rows)
    }
  }

  /** The `stats` text of an add action. */
  finish(): string {
    const min = emptyTree()
    const max = emptyTree()
    const nulls = emptyTree()
    for (const leaf of this.#leaves) {
      put(nulls, leaf.path, String(leaf.nulls))
      const bounds = boundsOf(leaf)
      if (bounds === undefined) continue
      if (bounds[0] !== undefined) put(min, leaf.path, bounds[0])
      if (bounds[1] !== undefined) put(max, leaf.path, bounds[1])
    }
    return `{"numRecords":${this.#rows},"minValues":${treeJson(min)},"maxValues":${treeJson(max)},"nullCount":${treeJson(nulls)},"tightBounds":true}`
  }
}

/** A column, or a field of structs, that gets statistics, by its names in the files. */
export interface IndexedLeaf {
  readonly path: readonly string[]
  readonly type: DataType
}

/** The columns in files that get statistics. */
export function indexedLeaves(schema: Schema, indexed: IndexedColumns): readonly IndexedLeaf[] {
  const leaves: IndexedLeaf[] = []
  const add = (field: Field, names: readonly string[], path: readonly string[]): void => {
    const named = [...names, field.name]
    const own = [...path, physicalName(field)]
    if (field.type.kind === 'struct') for (const child of field.type.fields) add(child, named, own)
    else if (isIndexed(indexed, named, leaves.length)) leaves.push({ path: own, type: field.type })
  }
  for (const field of schema) add(field, [], [])
  return leaves
}

function isIndexed(indexed: IndexedColumns, names: readonly string[], before: number): boolean {
  if (indexed.kind === 'first') return before < indexed.count
  return indexed.paths.some(path => path.every((name, i) => name === names[i]?.toLowerCase()))
}

/** True for types whose bounds in Parquet are those of Delta: a footer tells 0 from -0 otherwise. */
function isTold(type: DataType): boolean {
  return isOrdered(type) && type.kind !== 'float' && type.kind !== 'double'
}

function addChunk(leaf: LeafStatistics, { null_count, min_value, max_value }: ChunkStatistics): void {
  leaf.nulls += Number(null_count)
  for (const bound of [min_value, max_value])
    if (bound !== undefined) widen(leaf, bound instanceof Uint8Array ? decoder.decode(bound) : (bound as Cell))
}

function addRows(own: readonly LeafStatistics[], field: Field, vector: Vector, rows: number): void {
  const { type } = field
  if (type.kind !== 'struct') addVector(own[0]!, vector)
  else for (let row = 0; row < rows; row++) addStruct(own, type.fields, cellAt(vector, row), [physicalName(field)])
}

function addVector(leaf: LeafStatistics, vector: Vector): void {
  const { values, nulls } = vector
  if (!isOrdered(leaf.type)) {
    for (let row = 0; row < vector.length; row++) if (isNullAt(vector, row)) leaf.nulls++
    return
  }
  if (isUtf8(values)) {
    addUtf8(leaf, vector, values)
    return
  }
  if (Array.isArray(values)) {
    for (let row = 0; row < vector.length; row++) see(leaf, cellAt(vector, row))
    return
  }
  for (let row = 0; nulls !== undefined && row < vector.length; row++) leaf.nulls += nulls[row]!
  const found = values instanceof BigInt64Array ? longBounds(values, nulls) : numberBounds(values as Int32Array, nulls)
  if (values instanceof Float64Array)
    leaf.nan ||= values.some((value, row) => Number.isNaN(value) && nulls?.[row] !== 1)
  if (found === undefined) return
  widen(leaf, found.min)
  widen(leaf, found.max)
}

function addUtf8(leaf: LeafStatistics, vector: Vector, values: Utf8Values): void {
  const { nulls } = vector
  for (let row = 0; nulls !== undefined && row < vector.length; row++) leaf.nulls += nulls[row]!
  const found = byteBounds(values, nulls)
  if (found === undefined) return
  widen(leaf, cellAt(vector, found.min))
  widen(leaf, cellAt(vector, found.max))
}

function addStruct(
  leaves: readonly LeafStatistics[],
  fields: readonly Field[],
  cell: Cell,
  path: readonly string[],
): void {
  for (const [i, field] of fields.entries()) {
    const own = [...path, physicalName(field)]
    const value = cell === null ? null : ((cell as readonly Cell[])[i] ?? null)
    if (field.type.kind === 'struct') {
      addStruct(leaves, field.type.fields, value, own)
      continue
    }
    const leaf = leaves.find(
      candidate => candidate.path.length === own.length && candidate.path.every((name, k) => name === own[k]),
    )
    if (leaf === undefined) continue
    if (value === null || isOrdered(leaf.type)) see(leaf, value)
  }
}

function see(leaf: LeafStatistics, cell: Cell): void {
  if (cell === null) leaf.nulls++
  else if (Number.isNaN(cell)) leaf.nan = true
  else widen(leaf, cell)
}

function widen(leaf: LeafStatistics, cell: Cell): void {
  if (leaf.min === null || compareCells(cell, leaf.min) < 0) leaf.min = cell
  if (leaf.max === null || compareCells(cell, leaf.max) > 0) leaf.max = cell
}

/** Strings compare by their UTF-8 bytes, which is the order of their code points. */
function compareCells(a: Cell, b: Cell): number {
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b))
  return (a as number) < (b as number) ? -1 : (a as number) > (b as number) ? 1 : 0
}

/** True for types that have bounds in Delta statistics. */
export function isOrdered(type: DataType): boolean {
  return !['boolean', 'binary', 'array', 'map', 'struct'].includes(type.kind)
}

/**
 * The bounds as JSON. One is left out where JSON has no such number, and the upper one where no cut string is above the
 * value or a NaN is.
 */
function boundsOf({ type, min, max, nan }: LeafStatistics): [string | undefined, string | undefined] | undefined {
  if (min === null || max === null) return undefined
  switch (type.kind) {
    case 'string': {
      const upper = upperBound(max as string)
      return [JSON.stringify(prefix(min as string)), upper === undefined ? undefined : JSON.stringify(upper)]
    }
    case 'date':
      return [`"${formatDate(min as number)}"`, `"${formatDate(max as number)}"`]
    case 'timestamp':
    case 'timestamp_ntz': {
      const zone = type.kind === 'timestamp' ? 'Z' : ''
      // Milliseconds, rounded down as other writers do; readers know that a maximum may be short by one.
      return [`"${millis(min as bigint)}${zone}"`, `"${millis(max as bigint)}${zone}"`]
    }
    case 'decimal':
      return [formatDecimal(min as bigint, type.scale), formatDecimal(max as bigint, type.scale)]
    case 'float':
    case 'double':
      return [finite(min as number), nan ? undefined : finite(max as number)]
    default:
      return [String(min), String(max)]
  }
}

function finite(bound: number): string | undefined {
  return Number.isFinite(bound) ? formatDouble(bound) : undefined
}

function millis(micros: bigint): string {
  const down = micros - (((micros % 1000n) + 1000n) % 1000n)
  const text = formatTimestamp(down)
  return text.includes('.') ? text.slice(0, -3) : `${text}.000`
}

function prefix(text: string): string {
  const points = [...text.slice(0, 2 * STRING_PREFIX)]
  return points.slice(0, STRING_PREFIX).join('')
}

/** A string of at most STRING_PREFIX characters that is not below `text`. */
function upperBound(text: string): string | undefined {
  const cut = [...prefix(text)]
  if (cut.join('').length === text.length) return text
  for (let i = cut.length - 1; i >= 0; i--) {
    const point = cut[i]!.codePointAt(0)!
    if (point >= 0x10ffff) continue
    const next = point + 1 === 0xd800 ? 0xe000 : point + 1
    return `${cut.slice(0, i).join('')}${String.fromCodePoint(next)}`
  }
  return undefined
}

interface Tree {
  [name: string]: Tree | string
}

/** Without a prototype: a column may be called `constructor`. */
function emptyTree(): Tree {
  return Object.create(null) as Tree
}

function put(tree: Tree, path: readonly string[], value: string): void {
  let at = tree
  for (const name of path.slice(0, -1)) {
    at[name] ??= emptyTree()
    at = at[name] as Tree
  }
  at[path.at(-1)!] = value
}

function treeJson(tree: Tree): string {
  const parts = Object.entries(tree).map(
    ([name, value]) => `${JSON.stringify(name)}:${typeof value === 'string' ? value : treeJson(value)}`,
  )
  return `{${parts.join(',')}}`
}
