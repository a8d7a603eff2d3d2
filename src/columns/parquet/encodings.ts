import { deltaBinaryUnpack } from 'hyparquet/src/delta.js'
import { byteStreamSplit } from 'hyparquet/src/encoding.js'
import { readVarInt, readZigZagBigInt } from 'hyparquet/src/thrift.js'
import type { ParquetType } from 'hyparquet/src/types.js'
import type { Utf8Values } from '../types.ts'
import { PAGE_BYTES_MAX } from './codecs.ts'
import { readDelta } from './delta.ts'
import { readHybrid } from './hybrid.ts'
import { readerOf, readLevelsV1 } from './levels.ts'
import type { Reader, SchemaNode } from './metadata.ts'
import { UnsupportedError } from './unsupported.ts'
import { decodePlain, type PhysicalValues, typed } from './values.ts'

/** The values of a data page that are not NULL, as they are written. */
export interface EncodedValues {
  readonly count: number
  readonly encoding: string
  readonly bytes: Uint8Array
  /** The page has more values. */
  readonly isFirst?: boolean
}

/** Decodes the values of a page. Throws Error with what is wrong in them, UnsupportedError for what is not read. */
export function decodeValues(
  { bytes, count, encoding, isFirst = false }: EncodedValues,
  node: SchemaNode,
  dictionary: PhysicalValues | undefined,
): PhysicalValues {
  // Where all is NULL there may be neither a dictionary nor a header of the encoding.
  if (count === 0) return decodePlain(bytes, node, 0)
  const reader = readerOf(bytes)
  switch (encoding) {
    case 'PLAIN':
      return decodePlain(bytes, node, count)
    case 'PLAIN_DICTIONARY':
    case 'RLE_DICTIONARY':
      if (dictionary === undefined) throw new Error('a page refers to a dictionary that is missing')
      return fromDictionary(dictionary, readIndexes(bytes, count))
    case 'RLE':
      checkType(node, encoding, ['BOOLEAN'])
      return { kind: 'boolean', array: readLevelsV1(reader, bytes, 1, count, 'RLE')! }
    case 'DELTA_BINARY_PACKED':
      checkType(node, encoding, ['INT32', 'INT64'])
      return node.physical === 'INT32'
        ? { kind: 'int32', array: unpackInt32(reader, bytes, count, isFirst) }
        : { kind: 'int64', array: unpackInt64(reader, bytes, count, isFirst) }
    case 'DELTA_LENGTH_BYTE_ARRAY':
      checkType(node, encoding, ['BYTE_ARRAY'])
      return { kind: 'bytes', array: deltaLengths(reader, bytes, count) }
    case 'DELTA_BYTE_ARRAY':
      checkType(node, encoding, ['BYTE_ARRAY', 'FIXED_LEN_BYTE_ARRAY'])
      return checkedWidth(deltaStrings(reader, bytes, count), node)
    case 'BYTE_STREAM_SPLIT':
      checkType(node, encoding, ['FLOAT', 'DOUBLE', 'INT32', 'INT64', 'FIXED_LEN_BYTE_ARRAY'])
      return typed(byteStreamSplit(reader, count, node.physical as ParquetType, node.typeLength), node)
    default:
      throw new UnsupportedError(`the encoding ${encoding} is not supported`)
  }
}

function checkType({ physical }: SchemaNode, encoding: string, types: readonly string[]): void {
  if (physical === undefined || !types.includes(physical))
    throw new UnsupportedError(`the encoding ${encoding} of ${physical} values is not supported`)
}

/** Values of a fixed length whose lengths are written all the same. */
function checkedWidth(array: Utf8Values, { physical, typeLength }: SchemaNode): PhysicalValues {
  if (physical === 'FIXED_LEN_BYTE_ARRAY')
    for (let i = 0; i < array.starts.length; i++)
      if (array.ends[i]! - array.starts[i]! !== typeLength)
        throw new Error(`a value has other than ${typeLength} bytes`)
  return { kind: 'bytes', array }
}

/**
 * DELTA_BINARY_PACKED numbers of 32 bits. Writers give the first one of an unsigned column 33 bits, of which hyparquet
 * drops the highest: what that makes wrong is the same for every value, and is put right here.
 */
function unpackInt32(reader: Reader, bytes: Uint8Array, count: number, isFirst = false): Int32Array {
  const array = new Int32Array(count)
  if (count === 0 || unpackFast(reader, bytes, array, isFirst)) return array
  const first = Number(BigInt.asIntN(32, checkDeltaHeader(reader)))
  deltaBinaryUnpack(reader, count, array)
  const error = first - array[0]!
  if (error !== 0) for (let i = 0; i < count; i++) array[i] = array[i]! + error
  return array
}

function unpackInt64(reader: Reader, bytes: Uint8Array, count: number, isFirst: boolean): BigInt64Array {
  const array = new BigInt64Array(count)
  if (count === 0 || unpackFast(reader, bytes, array, isFirst)) return array
  checkDeltaHeader(reader)
  deltaBinaryUnpack(reader, count, array)
  return array
}

/** False where the numbers wrap around, or are damaged; then nothing is read. */
function unpackFast(reader: Reader, bytes: Uint8Array, array: Int32Array | BigInt64Array, isFirst: boolean): boolean {
  const end = readDelta(bytes, reader.offset, array, isFirst)
  if (end === undefined) return false
  reader.offset = end
  return true
}

/** Gives the first value; blocks of no or negative size would be read for ever. */
function checkDeltaHeader({ view, offset }: { readonly view: DataView; readonly offset: number }): bigint {
  const header = { view, offset }
  const blockSize = readVarInt(header)
  const miniblocks = readVarInt(header)
  if (blockSize <= 0 || miniblocks <= 0 || blockSize % miniblocks !== 0)
    throw new Error(`a page has delta blocks of ${blockSize} values in ${miniblocks} parts`)
  readVarInt(header)
  return readZigZagBigInt(header)
}

/** DELTA_LENGTH_BYTE_ARRAY: the lengths, then the values without anything between them. */
function deltaLengths(reader: Reader, bytes: Uint8Array, count: number): Utf8Values {
  const lengths = unpackInt32(reader, bytes, count)
  // Without the lengths in front: what is searched in the bytes is then found in values only.
  const values = bytes.subarray(reader.offset)
  const starts = new Uint32Array(count)
  const ends = new Uint32Array(count)
  for (let i = 0, at = 0; i < count; i++) {
    const length = lengths[i]!
    starts[i] = at
    at += length
    if (length < 0 || at > values.length) throw new Error('a page is shorter than its values')
    ends[i] = at
  }
  return { bytes: values, starts, ends }
}

/** DELTA_BYTE_ARRAY: how much each value shares with the one before, then the rest of each as DELTA_LENGTH_BYTE_ARRAY. */
function deltaStrings(reader: Reader, bytes: Uint8Array, count: number): Utf8Values {
  const shared = unpackInt32(reader, bytes, count)
  const rests = deltaLengths(reader, bytes, count)
  const starts = new Uint32Array(count)
  const ends = new Uint32Array(count)
  let size = 0
  for (let i = 0, before = 0; i < count; i++) {
    const length = shared[i]!
    if (length < 0 || length > before) throw new Error('a value shares more than there is with the one before')
    before = length + rests.ends[i]! - rests.starts[i]!
    starts[i] = size
    size += before
    ends[i] = size
  }
  if (size > PAGE_BYTES_MAX) throw new UnsupportedError(`a page of ${size} bytes is not supported; 1 GiB is the most`)
  const out = new Uint8Array(size)
  for (let i = 0; i < count; i++) {
    const start = starts[i]!
    const length = shared[i]!
    if (length > 0) out.copyWithin(start, starts[i - 1]!, starts[i - 1]! + length)
    out.set(rests.bytes.subarray(rests.starts[i], rests.ends[i]), start + length)
  }
  return { bytes: out, starts, ends }
}

function readIndexes(bytes: Uint8Array, count: number): Uint32Array {
  const indexes = new Uint32Array(count)
  const width = bytes[0] ?? 0
  if (width > 32) throw new Error(`dictionary indexes of ${width} bits`)
  if (width > 0 && count > 0) {
    readHybrid(bytes, 1, bytes.length, width, indexes)
  }
  return indexes
}

function fromDictionary(dictionary: PhysicalValues, indexes: Uint32Array): PhysicalValues {
  const size = dictionary.kind === 'bytes' ? dictionary.array.starts.length : dictionary.array.length
  for (let i = 0; i < indexes.length; i++)
    if (indexes[i]! >= size) throw new Error('a page refers beyond its dictionary')
  if (dictionary.kind === 'bytes') {
    const { bytes, starts: from, ends: to } = dictionary.array
    const starts = new Uint32Array(indexes.length)
    const ends = new Uint32Array(indexes.length)
    for (let i = 0; i < indexes.length; i++) {
      starts[i] = from[indexes[i]!]!
      ends[i] = to[indexes[i]!]!
    }
    return { kind: 'bytes', array: { bytes, starts, ends } }
  }
  const source = dictionary.array as Int32Array
  const array = new (source.constructor as Int32ArrayConstructor)(indexes.length)
  for (let i = 0; i < indexes.length; i++) array[i] = source[indexes[i]!]!
  return { kind: dictionary.kind, array } as PhysicalValues
}
