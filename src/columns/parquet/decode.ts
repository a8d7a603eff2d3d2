import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { parquetHeader } from 'hyparquet/src/column.js'
import { deltaBinaryUnpack } from 'hyparquet/src/delta.js'
import { byteStreamSplit } from 'hyparquet/src/encoding.js'
import { readVarInt, readZigZagBigInt } from 'hyparquet/src/thrift.js'
import type { ColumnMetaData, SchemaElement } from 'hyparquet/src/types.js'
import type { Utf8Values } from '../types.ts'
import { readHybrid } from './hybrid.ts'
import { snappyDecompress } from './snappy.ts'

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
 * Decodes one column chunk. Throws Error with what is wrong in it; the caller adds the file and column. The definition
 * levels of a flat column (`isFlat`) are left out where no value is NULL.
 */
export function decodeChunk(
  bytes: Uint8Array,
  meta: ColumnMetaData,
  element: SchemaElement,
  maxDefinition: number,
  maxRepetition: number,
  isFlat = false,
): LeafColumn {
  const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 }
  const pages: Page[] = []
  let dictionary: PhysicalValues | undefined
  let entries = 0
  const expected = Number(meta.num_values)
  while (entries < expected) {
    if (reader.offset >= bytes.length) throw new Error(`it holds ${entries} of ${expected} values`)
    const header = parquetHeader(reader)
    checkHeader(header)
    const body = bytes.subarray(reader.offset, reader.offset + header.compressed_page_size)
    if (body.length !== header.compressed_page_size) throw new Error('a page is cut off')
    reader.offset += header.compressed_page_size
    if (header.dictionary_page_header !== undefined && header.type === 'DICTIONARY_PAGE') {
      const page = decompress(body, header.uncompressed_page_size, meta.codec)
      dictionary = decodePlain(page, element, header.dictionary_page_header.num_values)
      continue
    }
    const page = readPage(header, body, meta, maxDefinition, maxRepetition, expected - entries)
    if (page === undefined) continue
    pages.push(page)
    entries += page.entries
  }
  if (entries !== expected) throw new Error(`it holds ${entries} values where ${expected} are announced`)
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
    values: joinValues(pages.map(page => decodeValues(page, element, dictionary))),
  }
}

type PageHeader = ReturnType<typeof parquetHeader>

/** What a damaged header lacks would be taken for NaN, which is neither too small nor too large. */
function checkHeader(header: PageHeader): void {
  const v2 = header.data_page_header_v2
  const sizes = [
    header.uncompressed_page_size,
    header.compressed_page_size,
    ...(header.data_page_header === undefined ? [] : [header.data_page_header.num_values]),
    ...(header.dictionary_page_header === undefined ? [] : [header.dictionary_page_header.num_values]),
    ...(v2 === undefined ? [] : [v2.num_values, v2.repetition_levels_byte_length, v2.definition_levels_byte_length]),
  ]
  if (!sizes.every(size => Number.isInteger(size) && size >= 0)) throw new Error('a page header is damaged')
}

function readPage(
  header: PageHeader,
  body: Uint8Array,
  meta: ColumnMetaData,
  maxDefinition: number,
  maxRepetition: number,
  left: number,
): Page | undefined {
  const announced = header.data_page_header?.num_values ?? header.data_page_header_v2?.num_values ?? 0
  if (announced > left) throw new Error(`a page announces ${announced} values where ${left} are left`)
  if (header.type === 'DATA_PAGE' && header.data_page_header !== undefined) {
    const { num_values: entries, encoding } = header.data_page_header
    const page = decompress(body, header.uncompressed_page_size, meta.codec)
    const reader = viewOf(page)
    const repetition = readLevels(reader, maxRepetition, entries, undefined)
    const definition = readLevels(reader, maxDefinition, entries, undefined)
    return {
      entries,
      repetition,
      definition,
      count: countValues(definition, maxDefinition, entries),
      encoding,
      bytes: page.subarray(reader.offset),
    }
  }
  if (header.type === 'DATA_PAGE_V2' && header.data_page_header_v2 !== undefined) {
    const v2 = header.data_page_header_v2
    const entries = v2.num_values
    const reader = viewOf(body)
    const levelBytes = v2.repetition_levels_byte_length + v2.definition_levels_byte_length
    if (levelBytes > body.length) throw new Error('the levels of a page are cut off')
    const repetition = readLevels(reader, maxRepetition, entries, v2.repetition_levels_byte_length)
    reader.offset = v2.repetition_levels_byte_length
    const definition = readLevels(reader, maxDefinition, entries, v2.definition_levels_byte_length)
    const packed = body.subarray(levelBytes)
    const compressed = v2.is_compressed !== false && packed.length > 0
    const bytes = compressed ? decompress(packed, header.uncompressed_page_size - levelBytes, meta.codec) : packed
    return {
      entries,
      repetition,
      definition,
      count: countValues(definition, maxDefinition, entries),
      encoding: v2.encoding,
      bytes,
    }
  }
  if (header.type === 'INDEX_PAGE') return undefined
  throw new Error(`a page has the unknown type ${header.type}`)
}

function viewOf(bytes: Uint8Array): { view: DataView; offset: number } {
  return { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 }
}

function readLevels(
  reader: { view: DataView; offset: number },
  max: number,
  entries: number,
  length: number | undefined,
): Uint8Array | undefined {
  if (max === 0) return undefined
  const { view } = reader
  if (length === undefined) reader.offset += 4
  const start = reader.offset
  const end = start + (length ?? view.getUint32(start - 4, true))
  if (end < start || end > view.byteLength) throw new Error('the levels of a page are cut off')
  const levels = new Uint8Array(entries)
  readHybrid(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), start, end, 32 - Math.clz32(max), levels)
  reader.offset = end
  // As many bits as these numbers have hold no larger ones.
  if (((max + 1) & max) !== 0)
    for (let i = 0; i < entries; i++) if (levels[i]! > max) throw new Error(`a level is above ${max}`)
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
  if (size < 0 || size > 1 << 30) throw new Error(`a page announces ${size} bytes`)
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
    default:
      throw new Error(`the compression ${codec} is not supported`)
  }
}

/** An LZ4 block without a frame (Parquet's LZ4_RAW). */
function lz4Decompress(input: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size)
  let at = 0
  let to = 0
  const length = (first: number): number => {
    let sum = first
    if (first !== 15) return sum
    for (let byte = 255; byte === 255; ) {
      if (at >= input.length) throw new Error('an LZ4 block is cut off')
      byte = input[at++]!
      sum += byte
    }
    return sum
  }
  while (at < input.length) {
    const token = input[at++]!
    const literals = length(token >>> 4)
    if (at + literals > input.length || to + literals > size) throw new Error('an LZ4 block is cut off')
    out.set(input.subarray(at, at + literals), to)
    at += literals
    to += literals
    if (at >= input.length) break
    const offset = input[at]! | (input[at + 1]! << 8)
    at += 2
    const match = length(token & 15) + 4
    if (offset === 0 || offset > to || to + match > size)
      throw new Error('an LZ4 block refers to bytes that are not there')
    for (let i = 0; i < match; i++) out[to + i] = out[to - offset + i]!
    to += match
  }
  return out.subarray(0, to)
}

function decodeValues(page: Page, element: SchemaElement, dictionary: PhysicalValues | undefined): PhysicalValues {
  const { bytes, count, encoding } = page
  const reader = viewOf(bytes)
  switch (encoding) {
    case 'PLAIN':
      return decodePlain(bytes, element, count)
    case 'PLAIN_DICTIONARY':
    case 'RLE_DICTIONARY':
      if (dictionary === undefined) throw new Error('a page refers to a dictionary that is missing')
      return fromDictionary(dictionary, readIndexes(bytes, count))
    case 'RLE': {
      return { kind: 'boolean', array: readLevels(reader, 1, count, undefined) ?? new Uint8Array(0) }
    }
    case 'DELTA_BINARY_PACKED': {
      if (element.type === 'INT32') {
        return { kind: 'int32', array: unpackInt32(reader, count) }
      }
      const array = new BigInt64Array(count)
      if (count > 0) {
        checkDeltaHeader(reader)
        deltaBinaryUnpack(reader, count, array)
      }
      return { kind: 'int64', array }
    }
    case 'DELTA_LENGTH_BYTE_ARRAY': {
      return deltaLengths(reader, bytes, count)
    }
    case 'DELTA_BYTE_ARRAY': {
      return deltaStrings(reader, bytes, count)
    }
    case 'BYTE_STREAM_SPLIT':
      return typed(byteStreamSplit(reader, count, element.type!, element.type_length), element)
    default:
      throw new Error(`the encoding ${encoding} is not supported`)
  }
}

/**
 * DELTA_BINARY_PACKED numbers of 32 bits. Writers give the first one of an unsigned column 33 bits, of which hyparquet
 * drops the highest: what that makes wrong is the same for every value, and is put right here.
 */
function unpackInt32(reader: { view: DataView; offset: number }, count: number): Int32Array {
  const array = new Int32Array(count)
  if (count === 0) return array
  const first = Number(BigInt.asIntN(32, checkDeltaHeader(reader)))
  deltaBinaryUnpack(reader, count, array)
  const error = first - array[0]!
  if (error !== 0) for (let i = 0; i < count; i++) array[i] = array[i]! + error
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
function deltaLengths(reader: { view: DataView; offset: number }, bytes: Uint8Array, count: number): PhysicalValues {
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
  return { kind: 'bytes', array: { bytes: values, starts, ends } }
}

/** DELTA_BYTE_ARRAY: how much each value shares with the one before, then the rest of each. */
function deltaStrings(reader: { view: DataView; offset: number }, bytes: Uint8Array, count: number): PhysicalValues {
  const shared = unpackInt32(reader, count)
  const rests = deltaLengths(reader, bytes, count).array as Utf8Values
  const values: Uint8Array[] = []
  let before: Uint8Array = new Uint8Array(0)
  for (let i = 0; i < count; i++) {
    const length = shared[i]!
    if (length < 0 || length > before.length) throw new Error('a value shares more than there is with the one before')
    const rest = bytes.subarray(rests.starts[i], rests.ends[i])
    before = length === 0 ? rest : Buffer.concat([before.subarray(0, length), rest])
    values.push(before)
  }
  return gathered(values)
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

function decodePlain(bytes: Uint8Array, element: SchemaElement, count: number): PhysicalValues {
  switch (element.type) {
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
      return fixedByteArrays(bytes, count, element.type_length ?? 0)
    default:
      throw new Error(`the physical type ${element.type} is not supported`)
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
  if (width <= 0 || bytes.length < count * width) throw new Error('a page is shorter than its values')
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

function typed(values: ArrayLike<unknown>, element: SchemaElement): PhysicalValues {
  switch (element.type) {
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

function joinValues(parts: readonly PhysicalValues[]): PhysicalValues {
  const [first] = parts
  if (first === undefined) return { kind: 'int32', array: new Int32Array(0) }
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
  if (size > 0xffff_ffff) throw new Error('a column chunk of more than 4 GB is not supported')
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
