import type { Cell, DataType, Utf8Values, Vector } from '../../types.ts'
import { isNullAt, isUtf8, vectorOf } from '../../vectors.ts'
import type { PhysicalValues } from '../values.ts'

/** The values of a column that are not NULL, in Parquet's physical types, one behind the other. */
export type FlatValues = Exclude<PhysicalValues, { readonly kind: 'boolean' }>

/** A column without levels of repetition. */
export interface FlatColumn {
  readonly rows: number
  readonly values: FlatValues
  /** Of each row, 1 if it has a value; undefined if all have. */
  readonly defined: Uint8Array | undefined
}

/** If the values of an array of bytes have more than so many times their own bytes around them, they are copied out. */
const SPARSE_FACTOR = 8
/** Below this a loop is quicker than a call of `set`. */
const LOOP_BYTES_MAX = 48

/** The column of a row group, or undefined if its type is one that hyparquet-writer encodes. */
export function flatColumn(vectors: readonly Vector[], type: DataType, rows: number): FlatColumn | undefined {
  const make = makerOf(type)
  if (make === undefined) return undefined
  let defined: Uint8Array | undefined
  let count = rows
  let at = 0
  for (const vector of vectors) {
    const mayHaveNulls = vector.nulls !== undefined || Array.isArray(vector.values)
    for (let row = 0; mayHaveNulls && row < vector.length; row++) {
      if (!isNullAt(vector, row)) continue
      defined ??= new Uint8Array(rows).fill(1)
      defined[at + row] = 0
      count--
    }
    at += vector.length
  }
  return { rows, defined, values: make(vectors, defined, count) }
}

type Maker = (vectors: readonly Vector[], defined: Uint8Array | undefined, count: number) => FlatValues

function makerOf(type: DataType): Maker | undefined {
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'date':
      return (vectors, defined, count) => ({ kind: 'int32', array: joined(vectors, defined, new Int32Array(count)) })
    case 'long':
    case 'timestamp':
    case 'timestamp_ntz':
      return (vectors, defined, count) => ({ kind: 'int64', array: joined(vectors, defined, new BigInt64Array(count)) })
    case 'float':
      return (vectors, defined, count) => ({ kind: 'float', array: joined(vectors, defined, new Float32Array(count)) })
    case 'double':
      return (vectors, defined, count) => ({ kind: 'double', array: joined(vectors, defined, new Float64Array(count)) })
    case 'decimal':
      return decimalMaker(type.precision)
    case 'string':
    case 'binary':
      return (vectors, defined, count) => ({ kind: 'bytes', array: joinedBytes(vectors, defined, count) })
    default:
      return undefined
  }
}

function decimalMaker(precision: number): Maker | undefined {
  if (precision <= 9)
    return (vectors, defined, count) => ({
      kind: 'int32',
      array: joined(vectors, defined, new Int32Array(count), Number),
    })
  if (precision <= 18)
    return (vectors, defined, count) => ({ kind: 'int64', array: joined(vectors, defined, new BigInt64Array(count)) })
  return undefined
}

type NumberArray = Int32Array | BigInt64Array | Float32Array | Float64Array

function joined<T extends NumberArray>(
  vectors: readonly Vector[],
  defined: Uint8Array | undefined,
  out: T,
  convert?: (cell: unknown) => number,
): T {
  const [only] = vectors
  // Those of one batch stand as they should already.
  if (only?.values.constructor === out.constructor && vectors.length === 1 && defined === undefined && !convert)
    return (only.values as T).subarray(0, only.length) as T
  let to = 0
  let at = 0
  for (const { values, length } of vectors) {
    const from = values as unknown as ArrayLike<never>
    if (defined === undefined && convert === undefined && !Array.isArray(values)) {
      out.set(from, to)
      to += length
    } else
      for (let row = 0; row < length; row++) {
        if (defined !== undefined && defined[at + row] === 0) continue
        out[to++] = convert === undefined ? from[row]! : (convert(from[row]) as never)
      }
    at += length
  }
  return out
}

function joinedBytes(vectors: readonly Vector[], defined: Uint8Array | undefined, count: number): Utf8Values {
  const [only] = vectors
  // Those of one batch stay where they are, unless they are far apart: they are looked at several times.
  if (only !== undefined && vectors.length === 1) return gathered(utf8Values(only, defined, count))
  const starts = new Uint32Array(count)
  const ends = new Uint32Array(count)
  const parts: Uint8Array[] = []
  let to = 0
  let at = 0
  let offset = 0
  for (const vector of vectors) {
    const { length } = vector
    const values = utf8Values(vector, defined?.subarray(at, at + length))
    starts.set(values.starts, to)
    ends.set(values.ends, to)
    const first = to
    to += values.starts.length
    at += length
    const part = bytesOf(values.bytes, starts.subarray(first, to), ends.subarray(first, to), offset)
    parts.push(part)
    offset += part.length
  }
  return { bytes: Buffer.concat(parts, offset), starts, ends }
}

function gathered(values: Utf8Values): Utf8Values {
  const { bytes } = values
  const { least, most, size } = extentOf(bytes, values.starts, values.ends)
  if (!isSparse(most - least, size)) return values
  const starts = values.starts.slice()
  const ends = values.ends.slice()
  return { bytes: copied(bytes, starts, ends, size, 0), starts, ends }
}

/** The values of a vector that are not NULL; `count` of them, if that is known. */
function utf8Values(vector: Vector, defined: Uint8Array | undefined, count = vector.length): Utf8Values {
  const { length } = vector
  const { bytes, ...all } = utf8Of(vector)
  if (defined === undefined)
    return { bytes, starts: all.starts.subarray(0, length), ends: all.ends.subarray(0, length) }
  const starts = new Uint32Array(count)
  const ends = new Uint32Array(count)
  let to = 0
  for (let row = 0; row < length; row++) {
    if (defined[row] === 0) continue
    starts[to] = all.starts[row]!
    ends[to++] = all.ends[row]!
  }
  return { bytes, starts: starts.subarray(0, to), ends: ends.subarray(0, to) }
}

/** Columns that are NULL throughout may be plain arrays. */
function utf8Of({ type, values }: Vector): Utf8Values {
  return isUtf8(values) ? values : (vectorOf(type, values as readonly Cell[]).values as Utf8Values)
}

/** The bytes that the values are of, with the values' places moved to where these bytes will be. */
function bytesOf(bytes: Uint8Array, starts: Uint32Array, ends: Uint32Array, offset: number): Uint8Array {
  const { least, most, size } = extentOf(bytes, starts, ends)
  if (starts.length === 0) return new Uint8Array(0)
  if (isSparse(most - least, size)) return copied(bytes, starts, ends, size, offset)
  for (let i = 0; i < starts.length; i++) {
    starts[i] = starts[i]! - least + offset
    ends[i] = ends[i]! - least + offset
  }
  return bytes.subarray(least, most)
}

/** The range in which all values are, and their own bytes. */
function extentOf(
  bytes: Uint8Array,
  starts: Uint32Array,
  ends: Uint32Array,
): { readonly least: number; readonly most: number; readonly size: number } {
  let least = bytes.length
  let most = 0
  let size = 0
  for (let i = 0; i < starts.length; i++) {
    if (starts[i]! < least) least = starts[i]!
    if (ends[i]! > most) most = ends[i]!
    size += ends[i]! - starts[i]!
  }
  return { least, most, size }
}

function isSparse(range: number, size: number): boolean {
  return range > size * SPARSE_FACTOR + (1 << 16)
}

function copied(bytes: Uint8Array, starts: Uint32Array, ends: Uint32Array, size: number, offset: number): Uint8Array {
  const out = new Uint8Array(size)
  let to = 0
  for (let i = 0; i < starts.length; i++) {
    const from = starts[i]!
    const length = ends[i]! - from
    if (length > LOOP_BYTES_MAX) out.set(bytes.subarray(from, from + length), to)
    else for (let k = 0; k < length; k++) out[to + k] = bytes[from + k]!
    starts[i] = to + offset
    to += length
    ends[i] = to + offset
  }
  return out
}
