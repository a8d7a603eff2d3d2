import { isAscii } from 'node:buffer'
import { decodeChunk, type LeafColumn } from '../../columns/parquet/decode.ts'
import { formOf } from '../../columns/parquet/leaf.ts'
import { findChild } from '../../columns/parquet/match.ts'
import type { SchemaNode } from '../../columns/parquet/metadata.ts'
import type { FetchedRowGroup } from '../../columns/parquet/read.ts'
import type { PhysicalValues } from '../../columns/parquet/values.ts'
import type { DataType, Field } from '../../columns/types.ts'
import { rawNumber } from '../../core/raw-json.ts'

/*
 * Checkpoints have a row for each file of the table. Their columns of files are structs of texts, numbers, flags and maps of texts;
 * this reads those of that form row by row into the objects that commits have, in a part of the time that nested columns of
 * any form take. What is of another form is left to `readRowGroup`.
 */

/** Texts that are longer are statistics and tags, and paths as a rule are not. */
const LOOKED_UP_BYTES_MAX = 128

type FetchedColumn = FetchedRowGroup['columns'][number]

/** The next row's value at each call; undefined for NULL. */
type Read = () => unknown

/** Gives the next row's object at each call, undefined for NULL. */
export type NextObject = () => Readonly<Record<string, unknown>> | undefined

/**
 * The column of a row group of so many rows, fetched for a field of a struct type; undefined where it has another form than
 * these. Throws Error where it is damaged, and so do its calls.
 */
export function objectsOf(
  { node, chunks, bytes }: FetchedColumn,
  { type }: Field,
  rows: number,
): NextObject | undefined {
  if (node === undefined || type.kind !== 'struct' || node.repetition !== 'OPTIONAL') return undefined
  const leaves = new Map<SchemaNode, LeafColumn>()
  const leafOf = (leaf: SchemaNode): LeafColumn | undefined => {
    const known = leaves.get(leaf)
    if (known !== undefined) return known
    const i = chunks.findIndex(place => place.leaf === leaf)
    if (i < 0) return undefined
    const decoded = decodeChunk(bytes[i]!, chunks[i]!.chunk, leaf)
    if (leaf.maxRepetition === 0 && decoded.entries !== rows) throw otherRows(rows)
    leaves.set(leaf, decoded)
    return decoded
  }
  return structReader(node, type.fields, leafOf) as NextObject | undefined
}

function otherRows(rows: number): Error {
  return new Error(`a column has values for other than its ${rows} rows`)
}

/** True if a column of a row group holds anything at all. */
export function hasObjects({ node, chunks, bytes }: FetchedColumn): boolean {
  const [first] = chunks
  if (node === undefined || first === undefined) return false
  const { definition } = decodeChunk(bytes[0]!, first.chunk, first.leaf)
  return definition === undefined || definition.some(level => level >= node.maxDefinition)
}

type LeafOf = (leaf: SchemaNode) => LeafColumn | undefined

function structReader(node: SchemaNode, fields: readonly Field[], leafOf: LeafOf): Read | undefined {
  const members: { readonly name: string; readonly read: Read }[] = []
  for (const field of fields) {
    const child = findChild(node, field)
    if (child === undefined) continue
    const read = reader(child, field.type, leafOf)
    if (read === undefined) return undefined
    members.push({ name: field.name, read })
  }
  const isThere = presence(node, leafOf)
  if (isThere === undefined) return undefined
  return () => {
    if (!isThere()) {
      for (const { read } of members) read()
      return undefined
    }
    const object: Record<string, unknown> = {}
    for (const { name, read } of members) {
      const value = read()
      if (value !== undefined) object[name] = value
    }
    return object
  }
}

/** Tells of each row whether a group is there: by a leaf of it that has one entry for each row. */
function presence(node: SchemaNode, leafOf: LeafOf): (() => boolean) | undefined {
  const leaf = firstFlat(node)
  const column = leaf && leafOf(leaf)
  if (column === undefined) return undefined
  const { definition } = column
  const level = node.maxDefinition
  let row = 0
  return () => (definition?.[row++] ?? level) >= level
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

function reader(node: SchemaNode, type: DataType, leafOf: LeafOf): Read | undefined {
  if (type.kind === 'map') return mapReader(node, type, leafOf)
  if (node.maxRepetition > 0) return undefined
  if (type.kind === 'struct') return node.physical === undefined ? structReader(node, type.fields, leafOf) : undefined
  const column = leafOf(node)
  const value = column && valueReader(column.values, node, type)
  if (value === undefined) return undefined
  const { definition } = column!
  const max = node.maxDefinition
  let row = 0
  let next = 0
  return () => ((definition?.[row++] ?? max) === max ? value(next++) : undefined)
}

/** A map of texts, as an object. */
function mapReader(node: SchemaNode, type: Extract<DataType, { kind: 'map' }>, leafOf: LeafOf): Read | undefined {
  const [entries] = node.children
  const [key, value, ...more] = entries?.children ?? []
  if (node.maxRepetition > 0 || entries?.repetition !== 'REPEATED' || more.length > 0) return undefined
  if (key?.physical === undefined || key.repetition !== 'REQUIRED') return undefined
  if (value?.physical === undefined || value.repetition === 'REPEATED') return undefined
  const [keys, values] = [leafOf(key), leafOf(value)]
  const keyAt = keys && valueReader(keys.values, key, type.key)
  const valueAt = values && valueReader(values.values, value, type.value)
  if (keyAt === undefined || valueAt === undefined || keys?.entries !== values?.entries) return undefined
  const { definition, repetition, entries: count } = keys!
  const valueDefinition = values!.definition
  let entry = 0
  let nextKey = 0
  let nextValue = 0
  return () => {
    if (entry >= count) throw new Error('a column of maps has fewer values than rows')
    const level = definition?.[entry] ?? key.maxDefinition
    if (level < entries.maxDefinition) {
      entry++
      // One that is not there, or has no entries.
      return level >= node.maxDefinition ? {} : undefined
    }
    const object: Record<string, unknown> = {}
    do {
      const name = keyAt(nextKey++) as string
      const isNull = (valueDefinition?.[entry] ?? value.maxDefinition) < value.maxDefinition
      const item = isNull ? null : valueAt(nextValue++)
      if (name === '__proto__') Object.defineProperty(object, name, { value: item, ...PLAIN })
      else object[name] = item
      entry++
    } while (entry < count && (repetition?.[entry] ?? 0) > 0)
    return object
  }
}

/** A member like any other, also if it is called `__proto__`. */
const PLAIN = { writable: true, enumerable: true, configurable: true }

/** Reads value i of a leaf. */
function valueReader(
  values: PhysicalValues,
  node: SchemaNode,
  { kind }: DataType,
): ((i: number) => unknown) | undefined {
  const form = formOf(node)
  if (kind === 'string') return form.kind === 'string' && values.kind === 'bytes' ? textReader(values.array) : undefined
  if (kind === 'boolean') return values.kind === 'boolean' ? i => values.array[i] === 1 : undefined
  if (form.kind !== 'integer' || !form.isSigned) return undefined
  if (kind === 'integer') return values.kind === 'int32' && form.bits === 32 ? i => values.array[i] : undefined
  return kind === 'long' && values.kind === 'int64' ? longReader(values.array) : undefined
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

function textReader({
  bytes,
  starts,
  ends,
}: Extract<PhysicalValues, { kind: 'bytes' }>['array']): (i: number) => string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const whole = isAscii(buffer) ? buffer.toString('latin1') : undefined
  return i => {
    const [start, end] = [starts[i]!, ends[i]!]
    // A long text is a part of one that holds all, and nothing is copied until it is looked at; paths are looked up at once.
    return whole !== undefined && end - start > LOOKED_UP_BYTES_MAX
      ? whole.slice(start, end)
      : buffer.toString(whole === undefined ? 'utf8' : 'latin1', start, end)
  }
}
