import { totalLength } from '../../core/search.ts'
import type { Utf8Values } from '../types.ts'
import type { SchemaNode } from './metadata.ts'
import { UnsupportedError } from './unsupported.ts'

/** The values of a leaf column that are not NULL, in Parquet's physical types (BOOLEAN as 0 and 1, INT96 as 12 bytes). */
export type PhysicalValues =
  | { readonly kind: 'int32'; readonly array: Int32Array }
  | { readonly kind: 'int64'; readonly array: BigInt64Array }
  | { readonly kind: 'float'; readonly array: Float32Array }
  | { readonly kind: 'double'; readonly array: Float64Array }
  | { readonly kind: 'boolean'; readonly array: Uint8Array }
  | { readonly kind: 'bytes'; readonly array: Utf8Values }

/** Values in the encoding PLAIN. Throws Error if there are fewer than `count`. */
export function decodePlain(bytes: Uint8Array, node: SchemaNode, count: number): PhysicalValues {
  switch (node.physical) {
    case 'INT32':
      return { kind: 'int32', array: new Int32Array(aligned(bytes, count * 4)) }
    case 'INT64':
      return { kind: 'int64', array: new BigInt64Array(aligned(bytes, count * 8)) }
    case 'FLOAT':
      return { kind: 'float', array: new Float32Array(aligned(bytes, count * 4)) }
    case 'DOUBLE':
      return { kind: 'double', array: new Float64Array(aligned(bytes, count * 8)) }
    case 'BOOLEAN': {
      if (bytes.length * 8 < count) throw new Error('a page is shorter than its values')
      const array = new Uint8Array(count)
      for (let i = 0; i < count; i++) array[i] = (bytes[i >> 3]! >> (i & 7)) & 1
      return { kind: 'boolean', array }
    }
    case 'BYTE_ARRAY':
      return plainByteArrays(bytes, count)
    case 'INT96':
      return fixedByteArrays(bytes, count, 12)
    case 'FIXED_LEN_BYTE_ARRAY':
      return fixedByteArrays(bytes, count, node.typeLength)
    default:
      throw new UnsupportedError(`the physical type ${node.physical} is not supported`)
  }
}

function aligned(bytes: Uint8Array, length: number): ArrayBuffer {
  if (bytes.length < length) throw new Error('a page is shorter than its values')
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + length) as ArrayBuffer
}

function plainByteArrays(bytes: Uint8Array, count: number): PhysicalValues {
  if (bytes.length < count * 4) throw new Error('a page is shorter than its values')
  const starts = new Uint32Array(count)
  const ends = new Uint32Array(count)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  for (let i = 0; i < count; i++) {
    const start = at + 4
    if (start > bytes.length) throw new Error('a page is shorter than its values')
    at = start + view.getInt32(at, true)
    if (at < start || at > bytes.length) throw new Error('a value is longer than its page')
    starts[i] = start
    ends[i] = at
  }
  return { kind: 'bytes', array: { bytes, starts, ends } }
}

function fixedByteArrays(bytes: Uint8Array, count: number, width: number): PhysicalValues {
  if (width < 0 || bytes.length < count * width) throw new Error('a page is shorter than its values')
  const starts = Uint32Array.from({ length: count }, (_, i) => i * width)
  const ends = Uint32Array.from({ length: count }, (_, i) => (i + 1) * width)
  return { kind: 'bytes', array: { bytes, starts, ends } }
}

function gathered(parts: readonly Uint8Array[]): PhysicalValues {
  const starts = new Uint32Array(parts.length)
  const ends = new Uint32Array(parts.length)
  let size = 0
  for (const [i, part] of parts.entries()) {
    starts[i] = size
    size += part.length
    ends[i] = size
  }
  return { kind: 'bytes', array: { bytes: Buffer.concat(parts, size), starts, ends } }
}

/** Values that a library has decoded, in the array of their physical type. */
export function typed(values: ArrayLike<unknown>, node: SchemaNode): PhysicalValues {
  switch (node.physical) {
    case 'INT32':
      return { kind: 'int32', array: Int32Array.from(values as ArrayLike<number>) }
    case 'INT64':
      return { kind: 'int64', array: BigInt64Array.from(values as ArrayLike<bigint>) }
    case 'FLOAT':
      return { kind: 'float', array: Float32Array.from(values as ArrayLike<number>) }
    case 'DOUBLE':
      return { kind: 'double', array: Float64Array.from(values as ArrayLike<number>) }
    default:
      return gathered(Array.from(values as ArrayLike<Uint8Array>))
  }
}

/** The values of all pages of a chunk, one page behind the other. */
export function joinValues(parts: readonly PhysicalValues[], node: SchemaNode): PhysicalValues {
  const [first] = parts
  if (first === undefined) return decodePlain(new Uint8Array(0), node, 0)
  if (parts.length === 1) return first
  if (first.kind === 'bytes') return joinBytes(parts.map(part => part.array as Utf8Values))
  const arrays = parts.map(part => part.array as Int32Array)
  const array = new (arrays[0]!.constructor as Int32ArrayConstructor)(totalLength(arrays))
  let at = 0
  for (const part of arrays) {
    array.set(part, at)
    at += part.length
  }
  return { kind: first.kind, array } as PhysicalValues
}

/** Pages that share one dictionary share its bytes: each buffer is taken once. */
function joinBytes(parts: readonly Utf8Values[]): PhysicalValues {
  const offsets = new Map<Uint8Array, number>()
  let size = 0
  for (const { bytes } of parts) {
    if (offsets.has(bytes)) continue
    offsets.set(bytes, size)
    size += bytes.length
  }
  if (size > 0xffff_ffff) throw new UnsupportedError('a column chunk of more than 4 GB is not supported')
  const count = parts.reduce((sum, part) => sum + part.starts.length, 0)
  const starts = new Uint32Array(count)
  const ends = new Uint32Array(count)
  let at = 0
  for (const part of parts) {
    const offset = offsets.get(part.bytes)!
    for (let i = 0; i < part.starts.length; i++, at++) {
      starts[at] = part.starts[i]! + offset
      ends[at] = part.ends[i]! + offset
    }
  }
  const bytes = offsets.size === 1 ? parts[0]!.bytes : Buffer.concat([...offsets.keys()], size)
  return { kind: 'bytes', array: { bytes, starts, ends } }
}
