import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { deltaBinaryUnpack } from 'hyparquet/src/delta.js'
import { byteStreamSplit } from 'hyparquet/src/encoding.js'
import { readVarInt, readZigZagBigInt } from 'hyparquet/src/thrift.js'
import type { ParquetType } from 'hyparquet/src/types.js'
import type { Utf8Values } from '../types.ts'
import { readBitPacked, readHybrid } from './hybrid.ts'
import { lz4Decompress, lz4Legacy } from './lz4.ts'
import {
  type ColumnChunk,
  type DataPageHeader,
  type PageHeader,
  type Reader,
  readPageHeader,
  type SchemaNode,
} from './metadata.ts'
import { snappyDecompress } from './snappy.ts'
import { UnsupportedError } from './unsupported.ts'

const PAGE_BYTES_MAX = 1 << 30

/** The values of a leaf column that are not NULL, in Parquet's physical types (BOOLEAN as 0 and 1, INT96 as 12 bytes). */
export type PhysicalValues =
  | { readonly kind: 'int32'; readonly array: Int32Array }
  | { readonly kind: 'int64'; readonly array: BigInt64Array }
  | { readonly kind: 'float'; readonly array: Float32Array }
  | { readonly kind: 'double'; readonly array: Float64Array }
  | { readonly kind: 'boolean'; readonly array: Uint8Array }
  | { readonly kind: 'bytes'; readonly array: Utf8Values }

/** One leaf column of a row group. Levels are absent where their maximum is 0. */
export interface LeafColumn {
  /** Entries: rows for a flat column, values and gaps for a nested one. */
  readonly entries: number
  readonly definition: Uint8Array | undefined
  readonly repetition: Uint8Array | undefined
  readonly values: PhysicalValues
}

interface Page {
  readonly entries: number
  readonly definition: Uint8Array | undefined
  readonly repetition: Uint8Array | undefined
  readonly count: number
  readonly encoding: string
  readonly bytes: Uint8Array
}

/**
 * Decodes one column chunk. Throws Error with what is wrong in it, UnsupportedError for what is not read; the caller adds
 * the file and column. The definition levels of a flat column (`isFlat`) are left out where no value is NULL.
 */
export function decodeChunk(bytes: Uint8Array, chunk: ColumnChunk, node: SchemaNode, isFlat = false): LeafColumn {
  const reader = readerOf(bytes)
  const { entries: expected, codec } = chunk
  const pages: Page[] = []
  let dictionary: PhysicalValues | undefined
  let entries = 0
  while (entries < expected) {
    if (reader.offset >= bytes.length) throw new Error(`it holds ${entries} of ${expected} values`)
    const header = readPageHeader(reader)
    const body = bytes.subarray(reader.offset, reader.offset + header.compressedSize)
    if (body.length !== header.compressedSize) throw new Error('a page is cut off')
    reader.offset += header.compressedSize
    if (header.type === 'INDEX_PAGE') continue
    if (header.type === 'DICTIONARY_PAGE' && header.dictionary !== undefined) {
      const { values, encoding } = header.dictionary
      if (encoding !== 'PLAIN' && encoding !== 'PLAIN_DICTIONARY')
        throw new UnsupportedError(`a dictionary in the encoding ${encoding} is not supported`)
      dictionary = decodePlain(decompress(body, header.uncompressedSize, codec), node, values)
      continue
    }
    const page = readPage(header, body, codec, node, expected - entries)
    pages.push(page)
    entries += page.entries
  }
  const withoutNulls = isFlat && pages.every(page => page.count === page.entries)
  return {
    entries,
    definition: withoutNulls
      ? undefined
      : joinLevels(
          pages.map(page => page.definition),
          entries,
        ),
    repetition: joinLevels(
      pages.map(page => page.repetition),
      entries,
    ),
    values: joinValues(
      pages.map(page => decodeValues(page, node, dictionary)),
      node,
    ),
  }
}

function readPage(header: PageHeader, body: Uint8Array, codec: string, node: SchemaNode, left: number): Page {
  const { type, data, uncompressedSize } = header
  if (data === undefined || type !== (data.version === 1 ? 'DATA_PAGE' : 'DATA_PAGE_V2'))
    throw new UnsupportedError(`a page of the type ${type} is not supported`)
  if (data.entries > left) throw new Error(`a page announces ${data.entries} values where ${left} are left`)
  return data.version === 1
    ? readPageV1(data, decompress(body, uncompressedSize, codec), node)
    : readPageV2(data, body, uncompressedSize, codec, node)
}

/** The levels are compressed with the values, each kind behind its size. */
function readPageV1(data: DataPageHeader, page: Uint8Array, node: SchemaNode): Page {
  const { entries, encoding } = data
  const reader = readerOf(page)
  const repetition = readLevelsV1(reader, page, node.maxRepetition, entries, data.repetitionEncoding)
  const definition = readLevelsV1(reader, page, node.maxDefinition, entries, data.definitionEncoding)
  const count = countValues(definition, node.maxDefinition, entries)
  return { entries, repetition, definition, count, encoding, bytes: page.subarray(reader.offset) }
}

/** The levels stand in front of the values, uncompressed; their sizes are in the header. */
function readPageV2(
  data: DataPageHeader,
  body: Uint8Array,
  uncompressedSize: number,
  codec: string,
  node: SchemaNode,
): Page {
  const { entries, encoding, repetitionSize, definitionSize } = data
  const levelBytes = repetitionSize + definitionSize
  if (levelBytes > body.length) throw new Error('the levels of a page are cut off')
  const repetition = readLevels(body, 0, repetitionSize, node.maxRepetition, entries)
  const definition = readLevels(body, repetitionSize, levelBytes, node.maxDefinition, entries)
  const packed = body.subarray(levelBytes)
  const isCompressed = data.isCompressed && packed.length > 0
  const bytes = isCompressed ? decompress(packed, uncompressedSize - levelBytes, codec) : packed
  const count = countValues(definition, node.maxDefinition, entries)
  return { entries, repetition, definition, count, encoding, bytes }
}

function readerOf(bytes: Uint8Array): Reader {
  return { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 }
}

/** Reads levels of version 1 and leaves the reader behind them. */
function readLevelsV1(
  reader: Reader,
  page: Uint8Array,
  max: number,
  entries: number,
  encoding: string,
): Uint8Array | undefined {
  if (max === 0) return undefined
  if (encoding === 'BIT_PACKED') {
    const levels = readBitPacked(page, reader.offset, bitsOf(max), entries)
    reader.offset += Math.ceil((entries * bitsOf(max)) / 8)
    return checkedLevels(levels, max)
  }
  if (encoding !== 'RLE') throw new UnsupportedError(`levels in the encoding ${encoding} are not supported`)
  if (reader.offset + 4 > page.length) throw new Error('the levels of a page are cut off')
  const start = reader.offset + 4
  reader.offset = start + reader.view.getUint32(start - 4, true)
  return readLevels(page, start, reader.offset, max, entries)
}

/** Levels in the hybrid of runs and bit-packed groups, in bytes [start, end). */
function readLevels(
  page: Uint8Array,
  start: number,
  end: number,
  max: number,
  entries: number,
): Uint8Array | undefined {
  if (max === 0) return undefined
  if (end > page.length) throw new Error('the levels of a page are cut off')
  const levels = new Uint8Array(entries)
  readHybrid(page, start, end, bitsOf(max), levels)
  return checkedLevels(levels, max)
}

/** The bits that numbers up to `max` take. */
function bitsOf(max: number): number {
  return 32 - Math.clz32(max)
}

function checkedLevels(levels: Uint8Array, max: number): Uint8Array {
  // As many bits as these numbers have hold no larger ones.
  if (((max + 1) & max) !== 0)
    for (let i = 0; i < levels.length; i++) if (levels[i]! > max) throw new Error(`a level is above ${max}`)
  return levels
}

function countValues(definition: Uint8Array | undefined, max: number, entries: number): number {
  // Where no value is NULL the search for a lower level is native, and over at the first byte otherwise.
  if (definition === undefined || (max === 1 && definition.indexOf(0) < 0)) return entries
  let count = 0
  for (let i = 0; i < entries; i++) if (definition[i] === max) count++
  return count
}

function decompress(bytes: Uint8Array, size: number, codec: string): Uint8Array {
  const out = decompressCodec(bytes, size, codec)
  if (out.length !== size) throw new Error(`a page has ${out.length} bytes where ${size} are announced`)
  return out
}

function decompressCodec(bytes: Uint8Array, size: number, codec: string): Uint8Array {
  if (size < 0) throw new Error(`a page announces ${size} bytes`)
  if (size > PAGE_BYTES_MAX) throw new UnsupportedError(`a page of ${size} bytes is not supported; 1 GiB is the most`)
  switch (codec) {
    case 'UNCOMPRESSED':
      return bytes
    case 'SNAPPY':
      return snappyDecompress(bytes, size)
    case 'GZIP':
      return gunzipSync(bytes, { maxOutputLength: size + 1 })
    case 'ZSTD':
      return Bun.zstdDecompressSync(bytes)
    case 'BROTLI':
      return brotliDecompressSync(bytes, { maxOutputLength: size + 1 })
    case 'LZ4_RAW':
      return lz4Decompress(bytes, size)
    case 'LZ4':
      return lz4Legacy(bytes, size)
    default:
      throw new UnsupportedError(`the compression ${codec} is not supported`)
  }
}

function decodeValues(page: Page, node: SchemaNode, dictionary: PhysicalValues | undefined): PhysicalValues {
  const { bytes, count, encoding } = page
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
        ? { kind: 'int32', array: unpackInt32(reader, count) }
        : { kind: 'int64', array: unpackInt64(reader, count) }
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
function unpackInt32(reader: Reader, count: number): Int32Array {
  const array = new Int32Array(count)
  if (count === 0) return array
  const first = Number(BigInt.asIntN(32, checkDeltaHeader(reader)))
  deltaBinaryUnpack(reader, count, array)
  const error = first - array[0]!
  if (error !== 0) for (let i = 0; i < count; i++) array[i] = array[i]! + error
  return array
}

function unpackInt64(reader: Reader, count: number): BigInt64Array {
  const array = new BigInt64Array(count)
  if (count === 0) return array
  checkDeltaHeader(reader)
  deltaBinaryUnpack(reader, count, array)
  return array
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
  const lengths = unpackInt32(reader, count)
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
  const shared = unpackInt32(reader, count)
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

function decodePlain(bytes: Uint8Array, node: SchemaNode, count: number): PhysicalValues {
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
  let at = 0
  for (let i = 0; i < count; i++) {
    const start = at + 4
    if (start > bytes.length) throw new Error('a page is shorter than its values')
    at = start + (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24))
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

function typed(values: ArrayLike<unknown>, node: SchemaNode): PhysicalValues {
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

function joinLevels(parts: readonly (Uint8Array | undefined)[], entries: number): Uint8Array | undefined {
  if (parts.length === 0 || parts[0] === undefined) return undefined
  if (parts.length === 1) return parts[0]
  return Buffer.concat(parts as Uint8Array[], entries)
}

function joinValues(parts: readonly PhysicalValues[], node: SchemaNode): PhysicalValues {
  const [first] = parts
  if (first === undefined) return decodePlain(new Uint8Array(0), node, 0)
  if (parts.length === 1) return first
  if (first.kind === 'bytes') return joinBytes(parts.map(part => part.array as Utf8Values))
  const arrays = parts.map(part => part.array as Int32Array)
  const array = new (arrays[0]!.constructor as Int32ArrayConstructor)(
    arrays.reduce((sum, part) => sum + part.length, 0),
  )
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
