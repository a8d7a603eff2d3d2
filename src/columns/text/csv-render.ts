import type { Batch, DataType, Field, Schema, Utf8Values, Vector } from '../types.ts'
import { cellAt, isNullAt, isUtf8 } from '../vectors.ts'
import { ShortDouble, shortDoubleSize, writeShortDouble } from './doubles.ts'
import { decimalSize, longSize, wholeSize, writeDecimal, writeLong, writeWhole } from './integers.ts'
import { cellToJson } from './json.ts'
import { type RenderedText, ROW_INDEX_STRIDE } from './rendered.ts'
import { formatDouble, formatScalar } from './scalars.ts'

const QUOTE = 0x22
const COMMA = 0x2c
const LF = 0x0a
const CR = 0x0d

/** Offsets in a text are kept in 32 bits. */
const TEXT_BYTES_MAX = 0xffff_ffff
/** Below this a loop is quicker than a call of `set`. */
const LOOP_BYTES_MAX = 256
const FIELD_NEEDS_QUOTES = /[",\n\r]/
/** Rows that are written column by column before the next ones: their text stays in the processor's cache. */
const BLOCK_ROWS = 1024
const encoder = new TextEncoder()

/** A byte times this is four of them; and the upper bit of each. */
const EACH = 0x0101_0101
const UPPER_BITS = 0x8080_8080

/** Bytes that make a field need quotes (RFC 4180, 2.6). */
const QUOTED_BYTES = [QUOTE, COMMA, LF, CR]
const NEEDS_QUOTES = new Uint8Array(256)
for (const byte of QUOTED_BYTES) NEEDS_QUOTES[byte] = 1

/** The text of one column, found in two steps: first how long each field is, then the fields at their places. */
interface ColumnText {
  /** Adds the bytes of each row's field to `lengths`. */
  measure(lengths: Uint32Array): void
  /** Writes the fields of rows [from, to), each at its `at`, with `separator` behind it; moves `at` on. `view` is of `out`. */
  write(out: Uint8Array, view: DataView, at: Uint32Array, from: number, to: number, separator: number): void
}

/** The header line of a CSV text; empty for a table without columns. */
export function csvHeader(schema: Schema): Uint8Array {
  if (schema.length === 0) return new Uint8Array(0)
  return encoder.encode(`${schema.map(field => quoted(field.name)).join(',')}\n`)
}

function quoted(text: string): string {
  // A reader takes blanks around a name for none of it, unless they are quoted.
  return text !== text.trim() || text === '' || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** A batch as CSV rows (RFC 4180): no header, each row ends in a newline. */
export function renderCsv(batch: Batch, schema: Schema): RenderedText {
  const { rows } = batch
  const columns = columnsOf(batch, schema)
  const at = rowLengths(columns, rows)
  const index = new Uint32Array(Math.ceil(rows / ROW_INDEX_STRIDE))
  let size = 0
  for (let row = 0; row < rows; row++) {
    if (row % ROW_INDEX_STRIDE === 0) index[row / ROW_INDEX_STRIDE] = size
    const length = at[row]!
    at[row] = size
    size += length
  }
  if (size > TEXT_BYTES_MAX) throw new Error(`the text of ${rows} rows has ${size} bytes; at most 4 GB are supported`)
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  if (columns.length === 0) bytes.fill(LF)
  for (let from = 0; from < rows; from += BLOCK_ROWS) {
    const to = Math.min(rows, from + BLOCK_ROWS)
    for (const [i, column] of columns.entries())
      column.write(bytes, view, at, from, to, i === columns.length - 1 ? LF : COMMA)
  }
  return { bytes, rows, index }
}

/** The size in bytes of the values of a column, without what separates them. */
export function fieldsSize(field: Field, vector: Vector): number {
  const lengths = new Uint32Array(vector.length)
  columnText(field, vector).measure(lengths)
  let size = 0
  for (const length of lengths) size += length
  return size
}

function columnsOf(batch: Batch, schema: Schema): ColumnText[] {
  return schema.map((field, i) => columnText(field, batch.vectors[i]!))
}

/** With each field goes a comma or the newline; a row without columns is an empty line. */
function rowLengths(columns: readonly ColumnText[], rows: number): Uint32Array {
  const lengths = new Uint32Array(rows).fill(Math.max(1, columns.length))
  for (const column of columns) column.measure(lengths)
  return lengths
}

function columnText({ type }: Field, vector: Vector): ColumnText {
  const { values, nulls } = vector
  if (isUtf8(values) && type.kind === 'string') return new StringText(values, nulls)
  if (values instanceof Int32Array && type.kind !== 'date') return new IntegerText(values, nulls)
  if (values instanceof BigInt64Array && type.kind === 'long') return new LongText(values, nulls)
  if (values instanceof BigInt64Array && type.kind === 'decimal') return new ShortDecimalText(values, nulls, type.scale)
  if (values instanceof Float64Array && type.kind === 'double') return new DoubleText(values, nulls)
  return new OtherText(vector, type)
}

class IntegerText implements ColumnText {
  readonly #values: Int32Array
  readonly #nulls: Uint8Array | undefined
  readonly #sizes: Uint8Array

  constructor(values: Int32Array, nulls: Uint8Array | undefined) {
    this.#values = values
    this.#nulls = nulls
    this.#sizes = new Uint8Array(values.length)
  }

  measure(lengths: Uint32Array): void {
    const values = this.#values
    const nulls = this.#nulls
    const sizes = this.#sizes
    for (let row = 0; row < lengths.length; row++) {
      if (nulls !== undefined && nulls[row] === 1) continue
      const value = values[row]!
      const size = wholeSize(value)
      sizes[row] = size
      lengths[row]! += size
    }
  }

  write(out: Uint8Array, view: DataView, at: Uint32Array, from: number, to: number, separator: number): void {
    const values = this.#values
    const sizes = this.#sizes
    for (let row = from; row < to; row++) {
      const start = at[row]!
      const size = sizes[row]!
      const end = start + size
      // A NULL has no bytes.
      if (size > 0) writeWhole(view, start, end, values[row]!)
      out[end] = separator
      at[row] = end + 1
    }
  }
}

/** 64-bit integers by their halves. */
class LongText implements ColumnText {
  readonly #halves: Int32Array
  readonly #nulls: Uint8Array | undefined
  readonly #sizes: Uint8Array

  constructor(values: BigInt64Array, nulls: Uint8Array | undefined) {
    this.#halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2)
    this.#nulls = nulls
    this.#sizes = new Uint8Array(values.length)
  }

  measure(lengths: Uint32Array): void {
    const halves = this.#halves
    const nulls = this.#nulls
    const sizes = this.#sizes
    for (let row = 0; row < lengths.length; row++) {
      if (nulls !== undefined && nulls[row] === 1) continue
      const size = longSize(halves[2 * row]!, halves[2 * row + 1]!)
      sizes[row] = size
      lengths[row]! += size
    }
  }

  write(_out: Uint8Array, view: DataView, at: Uint32Array, from: number, to: number, separator: number): void {
    const halves = this.#halves
    const sizes = this.#sizes
    for (let row = from; row < to; row++) {
      const start = at[row]!
      const size = sizes[row]!
      const end = start + size
      if (size > 0) writeLong(view, start, end, halves[2 * row]!, halves[2 * row + 1]!)
      view.setUint8(end, separator)
      at[row] = end + 1
    }
  }
}

/** Decimals of up to 18 digits by their halves. */
class ShortDecimalText implements ColumnText {
  readonly #halves: Int32Array
  readonly #nulls: Uint8Array | undefined
  readonly #sizes: Uint8Array
  readonly #scale: number

  constructor(values: BigInt64Array, nulls: Uint8Array | undefined, scale: number) {
    this.#halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2)
    this.#nulls = nulls
    this.#sizes = new Uint8Array(values.length)
    this.#scale = scale
  }

  measure(lengths: Uint32Array): void {
    const halves = this.#halves
    const nulls = this.#nulls
    const sizes = this.#sizes
    for (let row = 0; row < lengths.length; row++) {
      if (nulls !== undefined && nulls[row] === 1) continue
      const size = decimalSize(halves[2 * row]!, halves[2 * row + 1]!, this.#scale)
      sizes[row] = size
      lengths[row]! += size
    }
  }

  write(_out: Uint8Array, view: DataView, at: Uint32Array, from: number, to: number, separator: number): void {
    const halves = this.#halves
    const sizes = this.#sizes
    for (let row = from; row < to; row++) {
      const start = at[row]!
      const size = sizes[row]!
      const end = start + size
      if (size > 0) writeDecimal(view, start, end, halves[2 * row]!, halves[2 * row + 1]!, this.#scale)
      view.setUint8(end, separator)
      at[row] = end + 1
    }
  }
}

class DoubleText implements ColumnText {
  readonly #values: Float64Array
  readonly #nulls: Uint8Array | undefined
  readonly #digits: Float64Array
  /** 0: the value is NULL, or its text is among the others. */
  readonly #scales: Uint8Array
  readonly #sizes: Uint8Array
  /** The texts that are not short, in their order; those of the rows to be written next begin at `#otherAt`. */
  readonly #others = new Texts()
  #otherAt = 0

  constructor(values: Float64Array, nulls: Uint8Array | undefined) {
    this.#values = values
    this.#nulls = nulls
    this.#digits = new Float64Array(values.length)
    this.#scales = new Uint8Array(values.length)
    this.#sizes = new Uint8Array(values.length)
  }

  measure(lengths: Uint32Array): void {
    const values = this.#values
    const nulls = this.#nulls
    const sizes = this.#sizes
    const short = new ShortDouble()
    for (let row = 0; row < lengths.length; row++) {
      if (nulls !== undefined && nulls[row] === 1) continue
      const value = values[row]!
      let size: number
      if (short.find(value)) {
        const { digits, scale } = short
        this.#digits[row] = digits
        this.#scales[row] = scale
        size = shortDoubleSize(value, digits, scale)
      } else size = this.#others.put(formatDouble(value))
      sizes[row] = size
      lengths[row]! += size
    }
  }

  write(out: Uint8Array, view: DataView, at: Uint32Array, from: number, to: number, separator: number): void {
    const values = this.#values
    const digits = this.#digits
    const scales = this.#scales
    const sizes = this.#sizes
    const { bytes } = this.#others
    for (let row = from; row < to; row++) {
      const start = at[row]!
      const end = start + sizes[row]!
      const scale = scales[row]!
      if (scale > 0) writeShortDouble(view, start, end, values[row]!, digits[row]!, scale)
      else for (let i = start; i < end; i++) out[i] = bytes[this.#otherAt++]!
      view.setUint8(end, separator)
      at[row] = end + 1
    }
  }
}

class StringText implements ColumnText {
  readonly #values: Utf8Values
  readonly #nulls: Uint8Array | undefined
  /** The quotes that each value needs, around it and in it. Absent: none needs any. */
  readonly #quotes: Uint32Array | undefined

  constructor(values: Utf8Values, nulls: Uint8Array | undefined) {
    this.#values = values
    this.#nulls = nulls
    this.#quotes = quotesOf(values)
  }

  measure(lengths: Uint32Array): void {
    const { starts, ends } = this.#values
    const nulls = this.#nulls
    const quotes = this.#quotes
    for (let row = 0; row < lengths.length; row++) {
      if (nulls !== undefined && nulls[row] === 1) continue
      const size = ends[row]! - starts[row]!
      lengths[row]! += size === 0 ? 2 : quotes === undefined ? size : size + quotes[row]!
    }
  }

  write(out: Uint8Array, view: DataView, at: Uint32Array, from: number, to: number, separator: number): void {
    const { bytes, starts, ends } = this.#values
    const nulls = this.#nulls
    const quotes = this.#quotes
    const source = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (let row = from; row < to; row++) {
      let next = at[row]!
      if (nulls === undefined || nulls[row] !== 1) {
        const start = starts[row]!
        const size = ends[row]! - start
        if (size === 0 || (quotes !== undefined && quotes[row]! > 0)) {
          next = writeQuoted(out, view, next, source, start, start + size)
        } else if (size <= LOOP_BYTES_MAX) {
          let i = 0
          for (; i + 4 <= size; i += 4) view.setInt32(next + i, source.getInt32(start + i))
          for (; i < size; i++) out[next + i] = bytes[start + i]!
          next += size
        } else {
          out.set(bytes.subarray(start, start + size), next)
          next += size
        }
      }
      out[next] = separator
      at[row] = next + 1
    }
  }
}

/** The quotes that each value needs, around it and in it; undefined if none needs any. */
function quotesOf({ bytes, starts, ends }: Utf8Values): Uint32Array | undefined {
  // Few texts have any, and the search in all bytes at once is native. It also sees bytes between the values.
  if (QUOTED_BYTES.every(byte => bytes.indexOf(byte) < 0)) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let quotes: Uint32Array | undefined
  for (let row = 0; row < starts.length; row++) {
    const end = ends[row]!
    const first = firstQuoted(view, starts[row]!, end)
    if (first === end) continue
    quotes ??= new Uint32Array(starts.length)
    quotes[row] = 2 + countQuotes(view, first, end)
  }
  return quotes
}

/** The first byte that makes a value need quotes, or its end; four bytes at a time as long as there are. */
function firstQuoted(view: DataView, start: number, end: number): number {
  let at = start
  while (at + 4 <= end) {
    const word = view.getInt32(at)
    const quotes = word ^ (QUOTE * EACH)
    const commas = word ^ (COMMA * EACH)
    const lfs = word ^ (LF * EACH)
    const crs = word ^ (CR * EACH)
    // A byte that is 0 has its upper bit set once 1 is taken from it, and did not before.
    const found =
      ((quotes - EACH) & ~quotes) | ((commas - EACH) & ~commas) | ((lfs - EACH) & ~lfs) | ((crs - EACH) & ~crs)
    if ((found & UPPER_BITS) !== 0) break
    at += 4
  }
  while (at < end && NEEDS_QUOTES[view.getUint8(at)] === 0) at++
  return at
}

function countQuotes(view: DataView, start: number, end: number): number {
  let count = 0
  let at = start
  while (at < end) {
    while (at + 4 <= end && !hasQuote(view.getInt32(at))) at += 4
    for (const stop = Math.min(end, at + 4); at < stop; at++) if (view.getUint8(at) === QUOTE) count++
  }
  return count
}

/** True if one of four bytes is a quote. */
function hasQuote(word: number): boolean {
  const quotes = word ^ (QUOTE * EACH)
  return ((quotes - EACH) & ~quotes & UPPER_BITS) !== 0
}

function writeQuoted(
  out: Uint8Array,
  view: DataView,
  start: number,
  source: DataView,
  from: number,
  end: number,
): number {
  let to = start
  out[to++] = QUOTE
  for (let at = from; at < end; ) {
    for (; at + 4 <= end; at += 4) {
      const word = source.getInt32(at)
      if (hasQuote(word)) break
      view.setInt32(to, word)
      to += 4
    }
    for (const stop = Math.min(end, at + 4); at < stop; at++) {
      const byte = source.getUint8(at)
      out[to++] = byte
      if (byte === QUOTE) out[to++] = QUOTE
    }
  }
  out[to++] = QUOTE
  return to
}

/** Every other value by way of a string: dates, times, floats, decimals, binaries, booleans, nested values. */
class OtherText implements ColumnText {
  readonly #vector: Vector
  readonly #type: DataType
  /** The fields, one behind the other; field i ends at ends[i]. */
  readonly #texts = new Texts()
  readonly #ends: Uint32Array

  constructor(vector: Vector, type: DataType) {
    this.#vector = vector
    this.#type = type
    this.#ends = new Uint32Array(vector.length)
  }

  measure(lengths: Uint32Array): void {
    const vector = this.#vector
    const texts = this.#texts
    for (let row = 0; row < lengths.length; row++) {
      if (!isNullAt(vector, row)) lengths[row]! += texts.put(this.#text(row))
      this.#ends[row] = texts.size
    }
  }

  #text(row: number): string {
    const type = this.#type
    const cell = cellAt(this.#vector, row)
    if (cell === null) return ''
    const isNested = type.kind === 'struct' || type.kind === 'array' || type.kind === 'map'
    return isNested ? cellToJson(cell, type) : formatScalar(cell, type)
  }

  write(out: Uint8Array, _view: DataView, at: Uint32Array, from: number, to: number, separator: number): void {
    const { bytes } = this.#texts
    const ends = this.#ends
    for (let row = from, start = from === 0 ? 0 : ends[from - 1]!; row < to; row++) {
      let next = at[row]!
      const end = ends[row]!
      for (let i = start; i < end; i++) out[next++] = bytes[i]!
      start = end
      out[next] = separator
      at[row] = next + 1
    }
  }
}

/** Fields that are made from strings, one behind the other, quoted where they need it. */
class Texts {
  bytes: Uint8Array = new Uint8Array(1024)
  size = 0

  /** Gives the field's size. */
  put(text: string): number {
    // A character takes at most three bytes; quotes double it at most.
    const needed = this.size + text.length * 6 + 2
    if (needed > TEXT_BYTES_MAX) throw new Error('the text of a column has more than 4 GB')
    if (needed > this.bytes.length) {
      const larger = new Uint8Array(Math.min(TEXT_BYTES_MAX, Math.max(needed, this.bytes.length * 2)))
      larger.set(this.bytes.subarray(0, this.size))
      this.bytes = larger
    }
    const written = this.#putPlain(text) || this.#putQuoted(text)
    this.size += written
    return written
  }

  /** 0 for a text that is empty, needs quotes or is not ASCII: it is left to others. */
  #putPlain(text: string): number {
    const { bytes, size } = this
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (code > 0x7f || NEEDS_QUOTES[code] === 1) return 0
      bytes[size + i] = code
    }
    return text.length
  }

  #putQuoted(text: string): number {
    const field = text !== '' && !FIELD_NEEDS_QUOTES.test(text) ? text : `"${text.replaceAll('"', '""')}"`
    return encoder.encodeInto(field, this.bytes.subarray(this.size)).written
  }
}
