import type { Batch, Cell, DataType, Utf8Values, Vector } from './types.ts'

/** A byte-order mark at the start of a value is part of it. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const encoder = new TextEncoder()
/** Shorter values are copied without a call for each. */
const COPIED_BYTE_BY_BYTE = 32
/** Every number of so many digits fits 64 bits. */
export const LONG_DIGITS = 18

/** The value of one row. */
export function cellAt(vector: Vector, row: number): Cell {
  const { values, nulls, type } = vector
  if (nulls?.[row] === 1) return null
  if (isUtf8(values)) {
    const bytes = values.bytes.subarray(values.starts[row], values.ends[row])
    return type.kind === 'binary' ? new Uint8Array(bytes) : decoder.decode(bytes)
  }
  return values[row] ?? null
}

export function isNullAt(vector: Vector, row: number): boolean {
  if (vector.nulls !== undefined) return vector.nulls[row] === 1
  return Array.isArray(vector.values) && (vector.values[row] ?? null) === null
}

export function isUtf8(values: Vector['values']): values is Utf8Values {
  return 'starts' in values
}

/** A vector of a type from cells, in the form that the hot paths like best. */
export function vectorOf(type: DataType, cells: readonly Cell[]): Vector {
  const { length } = cells
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'date':
      return filled(type, cells, new Int32Array(length), cell => cell as number)
    case 'long':
    case 'timestamp':
    case 'timestamp_ntz':
      return filled(type, cells, new BigInt64Array(length), cell => cell as bigint)
    case 'decimal':
      if (type.precision > LONG_DIGITS) break
      return filled(type, cells, new BigInt64Array(length), cell => cell as bigint)
    case 'float':
    case 'double':
      return filled(type, cells, new Float64Array(length), cell => cell as number)
    case 'string':
    case 'variant':
    case 'binary':
      return utf8Vector(type, cells)
    default:
  }
  return { type, length, values: cells }
}

function filled<T extends Int32Array | BigInt64Array | Float64Array>(
  type: DataType,
  cells: readonly Cell[],
  values: T,
  convert: (cell: Exclude<Cell, null>) => T[number],
): Vector {
  let nulls: Uint8Array | undefined
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i] ?? null
    if (cell === null) {
      nulls ??= new Uint8Array(cells.length)
      nulls[i] = 1
    } else values[i] = convert(cell)
  }
  return { type, length: cells.length, values, nulls }
}

function utf8Vector(type: DataType, cells: readonly Cell[]): Vector {
  const starts = new Uint32Array(cells.length)
  const ends = new Uint32Array(cells.length)
  let nulls: Uint8Array | undefined
  const parts: Uint8Array[] = []
  let size = 0
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i] ?? null
    starts[i] = size
    if (cell === null) {
      nulls ??= new Uint8Array(cells.length)
      nulls[i] = 1
    } else {
      const bytes = cell instanceof Uint8Array ? cell : encoder.encode(cell as string)
      parts.push(bytes)
      size += bytes.length
    }
    ends[i] = size
  }
  return { type, length: cells.length, values: { bytes: Buffer.concat(parts, size), starts, ends }, nulls }
}

/** A column of NULLs. */
export function nullVector(type: DataType, length: number): Vector {
  return { type, length, values: new Array<null>(length).fill(null) }
}

/** A column with one value in every row. */
export function constantVector(type: DataType, length: number, cell: Cell): Vector {
  return cell === null ? nullVector(type, length) : vectorOf(type, new Array<Cell>(length).fill(cell))
}

/** Rows [start, end) of a vector; shares its memory. */
export function sliceVector(vector: Vector, start: number, end: number): Vector {
  const { type, values, nulls } = vector
  const length = end - start
  const part = nulls?.subarray(start, end)
  if (isUtf8(values)) {
    const { bytes, starts, ends } = values
    return {
      type,
      length,
      values: { bytes, starts: starts.subarray(start, end), ends: ends.subarray(start, end) },
      nulls: part,
    }
  }
  if (Array.isArray(values)) return { type, length, values: values.slice(start, end), nulls: part }
  return { type, length, values: (values as Int32Array).subarray(start, end), nulls: part }
}

/** Rows [start, end) of a batch; shares its memory. */
export function sliceBatch(batch: Batch, start: number, end: number): Batch {
  if (start === 0 && end === batch.rows) return batch
  return { rows: end - start, vectors: batch.vectors.map(vector => sliceVector(vector, start, end)) }
}

/** The rows of a batch whose numbers are listed, in that order. */
export function takeRows(batch: Batch, rows: ArrayLike<number>): Batch {
  return { rows: rows.length, vectors: batch.vectors.map(vector => takeValues(vector, rows)) }
}

function takeValues(vector: Vector, rows: ArrayLike<number>): Vector {
  const { type, values } = vector
  const { length } = rows
  if (Array.isArray(values))
    return vectorOf(
      type,
      Array.from(rows, row => cellAt(vector, row)),
    )
  const nulls = vector.nulls === undefined ? undefined : taken(vector.nulls, new Uint8Array(length), rows)
  if (values instanceof BigInt64Array) {
    const all = values
    const found = new BigInt64Array(length)
    for (let i = 0; i < length; i++) found[i] = all[rows[i]!]!
    return { type, length, values: found, nulls }
  }
  if (isUtf8(values)) return { type, length, values: takeUtf8(values, rows, nulls), nulls }
  const found = values instanceof Int32Array ? new Int32Array(length) : new Float64Array(length)
  return { type, length, values: taken(values as Int32Array, found, rows), nulls }
}

function taken<T extends Uint8Array | Int32Array | Float64Array>(
  values: Uint8Array | Int32Array | Float64Array,
  into: T,
  rows: ArrayLike<number>,
): T {
  for (let i = 0; i < into.length; i++) into[i] = values[rows[i]!]!
  return into
}

/** Bytes of their own: a few rows do not keep those of all others. */
function takeUtf8({ bytes, starts, ends }: Utf8Values, rows: ArrayLike<number>, nulls?: Uint8Array): Utf8Values {
  const { length } = rows
  const found = { starts: new Uint32Array(length), ends: new Uint32Array(length) }
  let size = 0
  for (let i = 0; i < length; i++) {
    found.starts[i] = size
    if (nulls?.[i] !== 1) size += ends[rows[i]!]! - starts[rows[i]!]!
    found.ends[i] = size
  }
  const own = new Uint8Array(size)
  for (let i = 0; i < length; i++) {
    const from = starts[rows[i]!]!
    const start = found.starts[i]!
    const count = found.ends[i]! - start
    // A call costs more than some bytes.
    if (count > COPIED_BYTE_BY_BYTE) own.set(bytes.subarray(from, from + count), start)
    else for (let at = 0; at < count; at++) own[start + at] = bytes[from + at]!
  }
  return { bytes: own, ...found }
}

/** Batches of the same columns as one. */
export function joinBatches(batches: readonly Batch[]): Batch {
  const [first] = batches
  if (first === undefined || batches.length === 1) return first ?? { rows: 0, vectors: [] }
  const vectors = first.vectors.map((_, i) => joinVectors(batches.map(batch => batch.vectors[i]!)))
  return { rows: batches.reduce((sum, { rows }) => sum + rows, 0), vectors }
}

function joinVectors(vectors: readonly Vector[]): Vector {
  const { type, values } = vectors[0]!
  const length = vectors.reduce((sum, vector) => sum + vector.length, 0)
  const isAlike = vectors.every(vector => Array.isArray(vector.values) === Array.isArray(values))
  if (!isAlike || Array.isArray(values))
    return vectorOf(
      type,
      vectors.flatMap(vector => Array.from({ length: vector.length }, (_, row) => cellAt(vector, row))),
    )
  let nulls: Uint8Array | undefined
  let at = 0
  const joined = isUtf8(values) ? undefined : new (values.constructor as Float64ArrayConstructor)(length)
  for (const vector of vectors) {
    if (vector.nulls !== undefined) {
      nulls ??= new Uint8Array(length)
      nulls.set(vector.nulls.subarray(0, vector.length), at)
    }
    joined?.set(vector.values as Float64Array, at)
    at += vector.length
  }
  return { type, length, values: joined ?? joinUtf8(vectors, length), nulls }
}

function joinUtf8(vectors: readonly Vector[], length: number): Utf8Values {
  const all = vectors.map(({ values }) => values as Utf8Values)
  const bytes = Buffer.concat(all.map(one => one.bytes))
  const starts = new Uint32Array(length)
  const ends = new Uint32Array(length)
  let at = 0
  let offset = 0
  for (const [n, one] of all.entries()) {
    for (let i = 0; i < vectors[n]!.length; i++) {
      starts[at] = one.starts[i]! + offset
      ends[at++] = one.ends[i]! + offset
    }
    offset += one.bytes.length
  }
  return { bytes, starts, ends }
}

/** A batch from rows of cells, in schema order. */
export function batchOf(types: readonly DataType[], rows: readonly (readonly Cell[])[]): Batch {
  return {
    rows: rows.length,
    vectors: types.map((type, i) =>
      vectorOf(
        type,
        rows.map(row => row[i] ?? null),
      ),
    ),
  }
}
