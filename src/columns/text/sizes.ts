import type { Batch, Field, Schema, Utf8Values, Vector } from '../types.ts'
import { cellAt, isUtf8 } from '../vectors.ts'
import { fieldsSize } from './csv-render.ts'
import { ShortDouble, shortDoubleSize } from './doubles.ts'
import { decimalSize, longSize, wholeSize } from './integers.ts'
import { cellToJson } from './json.ts'
import { formatDouble } from './scalars.ts'

/** The sizes of rows in the texts that data files record, in bytes. */
export interface RowsSizes {
  csv: number
  jsonl: number
}

const QUOTE = 0x22
const NULL_BYTES = 4

/** For each byte of a string: the extra ones that it takes in JSON, and the marks below. */
const MARKS = new Uint8Array(256)
const EXTRA = 0x07
const NEEDS_QUOTES = 0x10
const IS_QUOTE = 0x20
for (let byte = 0; byte < 0x20; byte++) MARKS[byte] = 5
for (const byte of [0x08, 0x09, 0x0a, 0x0c, 0x0d, QUOTE, 0x5c]) MARKS[byte] = 1
for (const byte of [0x0a, 0x0d, 0x2c, QUOTE]) MARKS[byte]! |= NEEDS_QUOTES
MARKS[QUOTE]! |= IS_QUOTE

/** The sizes of the batch as CSV rows and as JSON lines, without rendering them. */
export function rowsSizes({ rows, vectors }: Batch, schema: Schema): RowsSizes {
  if (schema.length === 0) return { csv: rows, jsonl: rows * 3 }
  // Braces, commas and the newline: one more than there are columns, and one.
  const keys = schema.reduce((sum, field) => sum + Buffer.byteLength(JSON.stringify(field.name)) + 1, 0)
  const sizes = { csv: rows * schema.length, jsonl: rows * (keys + schema.length + 2) }
  for (const [i, field] of schema.entries()) {
    const own = valuesSizes(vectors[i]!, field)
    sizes.csv += own.csv
    sizes.jsonl += own.jsonl
  }
  return sizes
}

/** The size in bytes of the batch as CSV rows, without rendering them. */
export function csvSize(batch: Batch, schema: Schema): number {
  return rowsSizes(batch, schema).csv
}

/** The size in bytes of the batch as JSON lines, without rendering them. */
export function jsonLinesSize(batch: Batch, schema: Schema): number {
  return rowsSizes(batch, schema).jsonl
}

/** A loop of its own for each type: one for several would be compiled again for each that it meets. */
function valuesSizes(vector: Vector, field: Field): RowsSizes {
  const { values, nulls } = vector
  const { type } = field
  if (isUtf8(values) && type.kind === 'string') return stringSizes(values, nulls)
  if (values instanceof Int32Array && type.kind !== 'date') return withNulls(wholeSizes(values, nulls), vector)
  if (values instanceof BigInt64Array && type.kind === 'long') return withNulls(longSizes(values, nulls), vector)
  if (values instanceof BigInt64Array && type.kind === 'decimal')
    return withNulls(decimalSizes(values, nulls, type.scale), vector)
  if (values instanceof Float64Array && type.kind === 'double') return doubleSizes(values, vector)
  return otherSizes(vector, field)
}

/** NULL is nothing in CSV. */
function withNulls(size: number, { nulls, length }: Vector): RowsSizes {
  let count = 0
  for (let row = 0; nulls !== undefined && row < length; row++) count += nulls[row]!
  return { csv: size, jsonl: size + count * NULL_BYTES }
}

function stringSizes({ bytes, starts, ends }: Utf8Values, nulls: Uint8Array | undefined): RowsSizes {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let csv = 0
  let jsonl = 0
  for (let row = 0; row < starts.length; row++) {
    if (nulls !== undefined && nulls[row] === 1) {
      jsonl += NULL_BYTES
      continue
    }
    const start = starts[row]!
    const end = ends[row]!
    let all = start === end ? NEEDS_QUOTES : 0
    let quotes = 0
    for (let i = start; i < end; i++) {
      while (i + 4 <= end && !mayBeMarked(view.getInt32(i))) i += 4
      if (i === end) break
      const marks = MARKS[bytes[i]!]!
      if (marks === 0) continue
      all |= marks
      jsonl += marks & EXTRA
      if ((marks & IS_QUOTE) !== 0) quotes++
    }
    jsonl += end - start + 2
    csv += end - start + quotes + ((all & NEEDS_QUOTES) === 0 ? 0 : 2)
  }
  return { csv, jsonl }
}

/** False for four bytes none of which has marks: each is at least a blank, and no quote, comma or backslash. */
function mayBeMarked(word: number): boolean {
  const quotes = word ^ 0x2222_2222
  const commas = word ^ 0x2c2c_2c2c
  const backslashes = word ^ 0x5c5c_5c5c
  // What is 0, or here below 0x20, has its upper bit set once 1, or 0x20, is taken from it.
  const marks =
    ((word - 0x2020_2020) & ~word) |
    ((quotes - 0x0101_0101) & ~quotes) |
    ((commas - 0x0101_0101) & ~commas) |
    ((backslashes - 0x0101_0101) & ~backslashes)
  return (marks & 0x8080_8080) !== 0
}

function wholeSizes(values: Int32Array, nulls: Uint8Array | undefined): number {
  let size = 0
  for (let row = 0; row < values.length; row++)
    if (nulls === undefined || nulls[row] !== 1) size += wholeSize(values[row]!)
  return size
}

function longSizes(values: BigInt64Array, nulls: Uint8Array | undefined): number {
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2)
  let size = 0
  for (let row = 0; row < values.length; row++)
    if (nulls === undefined || nulls[row] !== 1) size += longSize(halves[2 * row]!, halves[2 * row + 1]!)
  return size
}

function decimalSizes(values: BigInt64Array, nulls: Uint8Array | undefined, scale: number): number {
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2)
  let size = 0
  for (let row = 0; row < values.length; row++)
    if (nulls === undefined || nulls[row] !== 1) size += decimalSize(halves[2 * row]!, halves[2 * row + 1]!, scale)
  return size
}

function doubleSizes(values: Float64Array, { nulls, type }: Vector): RowsSizes {
  const short = new ShortDouble()
  const sizes = { csv: 0, jsonl: 0 }
  for (let row = 0; row < values.length; row++) {
    const value = values[row]!
    if (nulls !== undefined && nulls[row] === 1) sizes.jsonl += NULL_BYTES
    else if (short.find(value)) {
      const size = shortDoubleSize(value, short.digits, short.scale)
      sizes.csv += size
      sizes.jsonl += size
    } else {
      sizes.csv += formatDouble(value).length
      sizes.jsonl += cellToJson(value, type).length
    }
  }
  return sizes
}

function otherSizes(vector: Vector, field: Field): RowsSizes {
  let jsonl = 0
  for (let row = 0; row < vector.length; row++) jsonl += Buffer.byteLength(cellToJson(cellAt(vector, row), field.type))
  return { csv: fieldsSize(field, vector), jsonl }
}
