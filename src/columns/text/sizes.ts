import type { Batch, DataType, Schema, Vector } from '../types.ts'
import { cellAt, isUtf8 } from '../vectors.ts'
import { decimalSize, longSize, wholeSize } from './integers.ts'
import { cellToJson } from './json.ts'

/** Extra bytes that a byte of a string takes in JSON. */
const ESCAPE_EXTRA = new Uint8Array(256)
for (let byte = 0; byte < 0x20; byte++) ESCAPE_EXTRA[byte] = 5
for (const byte of [0x08, 0x09, 0x0a, 0x0c, 0x0d, 0x22, 0x5c]) ESCAPE_EXTRA[byte] = 1

/** The size in bytes of the batch as JSON lines, without rendering them. */
export function jsonLinesSize(batch: Batch, schema: Schema): number {
  if (schema.length === 0) return batch.rows * 3
  // Braces, commas and the newline: one more than there are columns, and one.
  const keys = schema.reduce((sum, field) => sum + Buffer.byteLength(JSON.stringify(field.name)) + 1, 0)
  let size = batch.rows * (keys + schema.length + 2)
  for (const [i, field] of schema.entries()) size += valuesSize(batch.vectors[i]!, field.type)
  return size
}

function valuesSize(vector: Vector, type: DataType): number {
  const { kind } = type
  const { values, nulls, length } = vector
  let size = 0
  if (isUtf8(values) && kind === 'string') {
    const { bytes, starts, ends } = values
    for (let row = 0; row < length; row++) {
      if (nulls?.[row] === 1) {
        size += 4
        continue
      }
      const end = ends[row]!
      size += end - starts[row]! + 2
      for (let i = starts[row]!; i < end; i++) size += ESCAPE_EXTRA[bytes[i]!]!
    }
    return size
  }
  if (values instanceof Int32Array && kind !== 'date') {
    for (let row = 0; row < length; row++) size += nulls?.[row] === 1 ? 4 : wholeSize(values[row]!)
    return size
  }
  if (values instanceof BigInt64Array && kind === 'long') {
    const halves = new Int32Array(values.buffer, values.byteOffset, length * 2)
    for (let row = 0; row < length; row++)
      size += nulls?.[row] === 1 ? 4 : longSize(halves[2 * row]!, halves[2 * row + 1]!)
    return size
  }
  if (values instanceof BigInt64Array && type.kind === 'decimal') {
    const halves = new Int32Array(values.buffer, values.byteOffset, length * 2)
    for (let row = 0; row < length; row++)
      size += nulls?.[row] === 1 ? 4 : decimalSize(halves[2 * row]!, halves[2 * row + 1]!, type.scale)
    return size
  }
  for (let row = 0; row < length; row++) size += Buffer.byteLength(cellToJson(cellAt(vector, row), vector.type))
  return size
}
