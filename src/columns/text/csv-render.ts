import type { Batch, Field, Schema, Utf8Values, Vector } from '../types.ts'
import { cellAt, isNullAt, isUtf8 } from '../vectors.ts'
import { cellToJson } from './json.ts'
import { type RenderedText, ROW_INDEX_STRIDE } from './rendered.ts'
import { formatScalar } from './scalars.ts'

const QUOTE = 0x22
const COMMA = 0x2c
const LF = 0x0a
const CR = 0x0d
const MINUS = 0x2d
const ZERO = 0x30

/** The longest text of a value that is not a string, with its separator: a timestamp beyond year 9999, a double. */
const FIXED_BYTES_MAX = 48
/** The first rows may be far longer than the others: beyond this the buffer grows as needed. */
const FIRST_BUFFER_BYTES_MAX = 64 << 20
const encoder = new TextEncoder()

/** Two digits at a time: the bytes of 00, 01, ..., 99. */
const PAIRS = new Uint8Array(200)
for (let i = 0; i < 100; i++) {
  PAIRS[2 * i] = ZERO + Math.floor(i / 10)
  PAIRS[2 * i + 1] = ZERO + (i % 10)
}

/** Bytes that make a field need quotes (RFC 4180, 2.6). */
const NEEDS_QUOTES = new Uint8Array(256)
for (const byte of [QUOTE, COMMA, LF, CR]) NEEDS_QUOTES[byte] = 1

/** Writes the text of row `row` at `at`, and gives the offset behind it. The buffer is large enough. */
type FieldWriter = (out: Uint8Array, at: number, row: number) => number

interface ColumnWriter {
  readonly write: FieldWriter
  /** An upper bound of the bytes of rows [start, end), separators included. */
  readonly bound: (start: number, end: number) => number
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

/** A batch as CSV rows (see the design, "Text forms"): no header, each row ends in a newline. */
export function renderCsv(batch: Batch, schema: Schema): RenderedText {
  const { rows } = batch
  const writers = schema.map((field, i) => columnWriter(field, batch.vectors[i]!))
  const index = new Uint32Array(Math.ceil(rows / ROW_INDEX_STRIDE))
  const firstBound = boundOf(writers, 0, Math.min(rows, ROW_INDEX_STRIDE))
  let out = new Uint8Array(Math.max(1024, firstBound, Math.min(firstBound * index.length, FIRST_BUFFER_BYTES_MAX)))
  let at = 0
  const count = writers.length
  for (let start = 0, k = 0; start < rows; start += ROW_INDEX_STRIDE, k++) {
    const end = Math.min(rows, start + ROW_INDEX_STRIDE)
    const bound = boundOf(writers, start, end)
    if (at + bound > out.length) out = grown(out, at, at + bound)
    index[k] = at
    for (let row = start; row < end; row++) {
      for (let c = 0; c < count; c++) {
        at = writers[c]!.write(out, at, row)
        out[at++] = COMMA
      }
      out[count === 0 ? at++ : at - 1] = LF
    }
  }
  return { bytes: out.subarray(0, at), rows, index }
}

function boundOf(writers: readonly ColumnWriter[], start: number, end: number): number {
  let bound = end - start
  for (const writer of writers) bound += writer.bound(start, end)
  return bound
}

function grown(out: Uint8Array, used: number, needed: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.max(needed, Math.ceil(out.length * 1.5)))
  larger.set(out.subarray(0, used))
  return larger
}

function columnWriter(field: Field, vector: Vector): ColumnWriter {
  const { values } = vector
  if (isUtf8(values) && field.type.kind === 'string') return utf8Writer(values, vector.nulls)
  const plain = typedWriter(field, vector)
  if (plain === undefined) return textWriter(field, vector)
  const { nulls } = vector
  const write: FieldWriter =
    nulls === undefined ? plain : (out, at, row) => (nulls[row] === 1 ? at : plain(out, at, row))
  return { write, bound: (start, end) => (end - start) * FIXED_BYTES_MAX }
}

/** Integers are written digit by digit; dates, times and floats through their text. Undefined for all else. */
function typedWriter(field: Field, { values }: Vector): FieldWriter | undefined {
  const { type } = field
  if (values instanceof Int32Array && type.kind !== 'date') return (out, at, row) => writeInteger(out, at, values[row]!)
  if (values instanceof BigInt64Array && type.kind === 'long') return longWriter(values)
  if (values instanceof Int32Array || values instanceof BigInt64Array || values instanceof Float64Array) {
    return (out, at, row) => writeAscii(out, at, formatScalar(values[row]!, type))
  }
  return undefined
}

function writeAscii(out: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i)
  return at + text.length
}

/** An integer of at most 32 bits, or a whole number below 2^53. */
function writeInteger(out: Uint8Array, at: number, value: number): number {
  let n = value
  if (n < 0) {
    out[at++] = MINUS
    n = -n
  }
  if (n < 1e9) return writeSmall(out, at, n)
  const high = Math.floor(n / 1e9)
  at = writeSmall(out, at, high)
  return writeNine(out, at, n - high * 1e9)
}

/** 0 <= n < 1e9. */
function writeSmall(out: Uint8Array, at: number, n: number): number {
  const digits =
    n < 10 ? 1 : n < 100 ? 2 : n < 1000 ? 3 : n < 1e4 ? 4 : n < 1e5 ? 5 : n < 1e6 ? 6 : n < 1e7 ? 7 : n < 1e8 ? 8 : 9
  let i = at + digits
  n |= 0
  while (n >= 100) {
    const q = (n / 100) | 0
    const pair = (n - q * 100) * 2
    n = q
    out[--i] = PAIRS[pair + 1]!
    out[--i] = PAIRS[pair]!
  }
  if (n >= 10) {
    out[--i] = PAIRS[2 * n + 1]!
    out[--i] = PAIRS[2 * n]!
  } else out[--i] = ZERO + n
  return at + digits
}

/** Exactly nine digits. */
function writeNine(out: Uint8Array, at: number, n: number): number {
  let rest = n | 0
  for (let i = at + 7; i > at; i -= 2) {
    const q = (rest / 100) | 0
    const pair = (rest - q * 100) * 2
    out[i] = PAIRS[pair]!
    out[i + 1] = PAIRS[pair + 1]!
    rest = q
  }
  out[at] = ZERO + rest
  return at + 9
}

/** 64-bit integers by their halves: a BigInt for every value would cost more than all the rest. */
function longWriter(values: BigInt64Array): FieldWriter {
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2)
  return (out, at, row) => {
    const high = halves[2 * row + 1]!
    if (high >= -2_097_152 && high < 2_097_152)
      return writeInteger(out, at, high * 4_294_967_296 + (halves[2 * row]! >>> 0))
    return writeAscii(out, at, String(values[row]!))
  }
}

function utf8Writer({ bytes, starts, ends }: Utf8Values, nulls: Uint8Array | undefined): ColumnWriter {
  return {
    write: (out, at, row) => {
      if (nulls !== undefined && nulls[row] === 1) return at
      const start = starts[row]!
      const end = ends[row]!
      if (start === end) return writeAscii(out, at, '""')
      let to = at
      for (let i = start; i < end; i++) {
        const byte = bytes[i]!
        if (NEEDS_QUOTES[byte] === 1) return writeQuoted(out, at, bytes, start, end)
        out[to++] = byte
      }
      return to
    },
    bound: (from, to) => {
      let bound = 0
      for (let row = from; row < to; row++) bound += ends[row]! - starts[row]!
      return bound * 2 + (to - from) * 3
    },
  }
}

function writeQuoted(out: Uint8Array, at: number, bytes: Uint8Array, start: number, end: number): number {
  out[at++] = QUOTE
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!
    out[at++] = byte
    if (byte === QUOTE) out[at++] = QUOTE
  }
  out[at++] = QUOTE
  return at
}

/** Every other value by way of a string: decimals, binaries, booleans, nested values, strings that are not in one buffer. */
function textWriter(field: Field, vector: Vector): ColumnWriter {
  const { type } = field
  const nested = type.kind === 'struct' || type.kind === 'array' || type.kind === 'map'
  // Rendered once for the bound and kept for the writing: rows are asked for in order, 64 at a time.
  let base = 0
  let texts: (Uint8Array | null)[] = []
  const load = (start: number, end: number): void => {
    base = start
    texts = []
    for (let row = start; row < end; row++) {
      const cell = isNullAt(vector, row) ? null : cellAt(vector, row)
      texts.push(cell === null ? null : encoder.encode(nested ? cellToJson(cell, type) : formatScalar(cell, type)))
    }
  }
  return {
    bound: (start, end) => {
      load(start, end)
      return texts.reduce((sum, text) => sum + 2 * (text?.length ?? 0) + 3, 0)
    },
    write: (out, at, row) => {
      const text = texts[row - base]
      if (text === null || text === undefined) return at
      if (text.length === 0) return writeAscii(out, at, '""')
      for (const byte of text) if (NEEDS_QUOTES[byte] === 1) return writeQuoted(out, at, text, 0, text.length)
      out.set(text, at)
      return at + text.length
    },
  }
}
