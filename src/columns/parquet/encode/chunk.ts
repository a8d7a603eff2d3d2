import type { ColumnChunk, ColumnMetaData, Encoding, ParquetType } from 'hyparquet'
import type { ByteWriter } from 'hyparquet-writer'
import { writePageHeader } from 'hyparquet-writer/src/datapage.js'
import type { Utf8Values } from '../../types.ts'
import { bitWidth, hybridBytesMax, hybridRun, writeHybrid } from './bit-packing.ts'
import { DELTA_NUMBER_MAX, deltaBytesMax, writeDelta } from './delta.ts'
import { type Indexed, indexBytes, indexWords } from './dictionary.ts'
import type { FlatColumn, FlatValues } from './flat.ts'
import { snappyBytesMax, snappyCompress } from './snappy.ts'
import { chunkStatistics } from './statistics.ts'

/** A data page of long values is ended behind the one that makes it so large. */
const PAGE_BYTES = 1 << 20
/** Bytes are compressed if the first ones become fewer than so large a part. */
const WORTH_COMPRESSING = 0.85
/** Numbers are written as differences if those have no more than so large a part of their bytes: reading them takes longer. */
const WORTH_DELTA = 0.75
/** Below this a dictionary is not tried. */
const SMALL_DELTA = 0.35
/** Below this a loop is quicker than a call of `set`. */
const LOOP_BYTES_MAX = 256
/** Beyond a million or so, an array that is kept for the next column would be kept for nothing. */
const SCRATCH_BYTES_MAX = 8 << 20

export interface ChunkOptions {
  readonly type: ParquetType
  readonly path: string[]
  /** The column may be NULL, so that its rows have levels. */
  readonly isOptional: boolean
  readonly isDecimal: boolean
  readonly statistics: boolean
}

/**
 * Writes the pages of a column of a row group, and gives its part of the footer (parquet.thrift, ColumnChunk). Values that
 * repeat get a dictionary, whole numbers that are near to one another their differences, all others stand as they are;
 * bytes are compressed by Snappy where that makes them fewer.
 */
export function writeChunk(out: ByteWriter, column: FlatColumn, options: ChunkOptions): ColumnChunk {
  return new ChunkWriter(out, column, options).write()
}

class ChunkWriter {
  readonly #out: ByteWriter
  readonly #column: FlatColumn
  readonly #options: ChunkOptions
  readonly #start: number
  #uncompressed = 0
  #pages = 0
  #isCompressed = false

  constructor(out: ByteWriter, column: FlatColumn, options: ChunkOptions) {
    this.#out = out
    this.#column = column
    this.#options = options
    this.#start = out.offset
  }

  write(): ColumnChunk {
    const { values } = this.#column
    const delta = deltaOf(values)
    const isSmall =
      delta !== undefined && values.kind !== 'bytes' && delta.length <= values.array.byteLength * SMALL_DELTA
    const dictionary = isSmall ? undefined : indexedValues(values)
    if (dictionary !== undefined) return this.#withDictionary(dictionary)
    if (delta !== undefined) return this.#whole('DELTA_BINARY_PACKED', delta, false)
    if (values.kind === 'bytes') return this.#byteArrays(values.array)
    return this.#whole('PLAIN', bytesOf(values), true)
  }

  #withDictionary({ indexes, firsts }: Indexed): ColumnChunk {
    const { values } = this.#column
    const plain = values.kind === 'bytes' ? plainByteArrays(values.array, firsts) : pickedBytes(values, firsts)
    this.#dictionaryPage(plain, firsts.length)
    const at = this.#out.offset
    const width = bitWidth(Math.max(0, firsts.length - 1))
    const bytes = scratch(1 + hybridBytesMax(indexes.length, width))
    bytes[0] = width
    const end = writeHybrid(indexes, width, bytes, 1)
    this.#dataPage('RLE_DICTIONARY', bytes.subarray(0, end), 0, this.#column.rows, false)
    return this.#chunk('RLE_DICTIONARY', at, this.#start)
  }

  /** All values in one page. */
  #whole(encoding: Encoding, bytes: Uint8Array, mayCompress: boolean): ColumnChunk {
    this.#dataPage(encoding, bytes, 0, this.#column.rows, mayCompress)
    return this.#chunk(encoding, this.#start)
  }

  #byteArrays(values: Utf8Values): ColumnChunk {
    const { rows, defined } = this.#column
    let row = 0
    let value = 0
    do {
      const first = row
      const firstValue = value
      for (let size = 0; row < rows && size < PAGE_BYTES; row++)
        if (defined === undefined || defined[row] === 1) {
          size += 4 + values.ends[value]! - values.starts[value]!
          value++
        }
      this.#dataPage('PLAIN', plainByteArrays(values, undefined, firstValue, value), first, row, true)
    } while (row < rows)
    return this.#chunk('PLAIN', this.#start)
  }

  #dictionaryPage(plain: Uint8Array, size: number): void {
    this.#isCompressed = true
    const packed = compressed(plain)
    const start = this.#out.offset
    writePageHeader(this.#out, {
      type: 'DICTIONARY_PAGE',
      uncompressed_page_size: plain.length,
      compressed_page_size: packed.length,
      crc: Bun.hash.crc32(packed) | 0,
      dictionary_page_header: { num_values: size, encoding: 'PLAIN' },
    })
    this.#uncompressed += this.#out.offset - start + plain.length
    this.#out.appendBytes(packed)
  }

  /** A page (version 2) of rows [first, end): the levels stand in front of the values and are never compressed. */
  #dataPage(encoding: Encoding, bytes: Uint8Array, first: number, end: number, mayCompress: boolean): void {
    const { levels, nulls } = this.#levels(first, end)
    const packed = mayCompress ? compressedIfWorth(bytes) : undefined
    this.#isCompressed ||= packed !== undefined
    const body = packed ?? bytes
    const start = this.#out.offset
    writePageHeader(this.#out, {
      type: 'DATA_PAGE_V2',
      uncompressed_page_size: levels.length + bytes.length,
      compressed_page_size: levels.length + body.length,
      crc: Bun.hash.crc32(body, Bun.hash.crc32(levels)) | 0,
      data_page_header_v2: {
        num_values: end - first,
        num_nulls: nulls,
        num_rows: end - first,
        encoding,
        definition_levels_byte_length: levels.length,
        repetition_levels_byte_length: 0,
        is_compressed: packed !== undefined,
      },
    })
    this.#uncompressed += this.#out.offset - start + levels.length + bytes.length
    this.#out.appendBytes(levels)
    this.#out.appendBytes(body)
    this.#pages++
  }

  #levels(first: number, end: number): { levels: Uint8Array; nulls: number } {
    if (!this.#options.isOptional) return { levels: new Uint8Array(0), nulls: 0 }
    const defined = this.#column.defined?.subarray(first, end)
    if (defined === undefined) return { levels: hybridRun(1, end - first), nulls: 0 }
    const levels = new Uint8Array(hybridBytesMax(defined.length, 1))
    const length = writeHybrid(defined, 1, levels, 0)
    let nulls = 0
    for (let i = 0; i < defined.length; i++) nulls += 1 - defined[i]!
    return { levels: levels.subarray(0, length), nulls }
  }

  #chunk(encoding: Encoding, dataOffset: number, dictionaryOffset?: number): ColumnChunk {
    const { type, path, statistics, isDecimal } = this.#options
    const { rows, values } = this.#column
    const count = values.kind === 'bytes' ? values.array.starts.length : values.array.length
    const hasDictionary = dictionaryOffset !== undefined
    const meta: ColumnMetaData = {
      type,
      encodings: hasDictionary ? ['PLAIN', encoding] : [encoding],
      path_in_schema: path,
      codec: this.#isCompressed ? 'SNAPPY' : 'UNCOMPRESSED',
      num_values: BigInt(rows),
      total_uncompressed_size: BigInt(this.#uncompressed),
      total_compressed_size: BigInt(this.#out.offset - this.#start),
      data_page_offset: BigInt(dataOffset),
      ...(hasDictionary ? { dictionary_page_offset: BigInt(dictionaryOffset) } : {}),
      ...(statistics
        ? {
            statistics: chunkStatistics(values, rows - count, isDecimal),
            encoding_stats: [
              ...(hasDictionary ? [{ page_type: 'DICTIONARY_PAGE', encoding: 'PLAIN', count: 1 } as const] : []),
              { page_type: 'DATA_PAGE_V2', encoding, count: this.#pages } as const,
            ],
          }
        : {}),
    }
    return { file_offset: BigInt(this.#start), meta_data: meta }
  }
}

// --- values as bytes -------------------------------------------------------------------------------------------------

let kept = new Uint8Array(0)
let keptForPages = new Uint8Array(0)

/** Room that is free again at the next call. */
function scratch(size: number): Uint8Array {
  if (size > SCRATCH_BYTES_MAX) return new Uint8Array(size)
  if (kept.length < size) kept = new Uint8Array(Math.max(size, 2 * kept.length))
  return kept.subarray(0, size)
}

/** Room of its own for the values of a page, which are compressed to `scratch`. */
function pageScratch(size: number): Uint8Array {
  if (size > SCRATCH_BYTES_MAX) return new Uint8Array(size)
  if (keptForPages.length < size) keptForPages = new Uint8Array(Math.max(size, 2 * keptForPages.length))
  return keptForPages.subarray(0, size)
}

function bytesOf({ array }: Exclude<FlatValues, { kind: 'bytes' }>): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}

function indexedValues(values: FlatValues): Indexed | undefined {
  if (values.kind === 'bytes') return indexBytes(values.array)
  const { buffer, byteOffset, byteLength, BYTES_PER_ELEMENT } = values.array
  return indexWords(new Int32Array(buffer, byteOffset, byteLength / 4), BYTES_PER_ELEMENT === 8 ? 2 : 1)
}

/** The numbers at some places, PLAIN. */
function pickedBytes(values: Exclude<FlatValues, { kind: 'bytes' }>, places: Uint32Array): Uint8Array {
  const array = values.array as Int32Array
  const picked = new (array.constructor as Int32ArrayConstructor)(places.length)
  for (let i = 0; i < places.length; i++) picked[i] = array[places[i]!]!
  return new Uint8Array(picked.buffer)
}

/** The differences of whole numbers, or undefined where they are not worth it. */
function deltaOf(values: FlatValues): Uint8Array | undefined {
  if (values.kind !== 'int32' && values.kind !== 'int64') return undefined
  const numbers = values.kind === 'int32' ? values.array : safeNumbers(values.array)
  if (numbers === undefined || numbers.length === 0) return undefined
  const out = new Uint8Array(deltaBytesMax(numbers.length))
  const length = writeDelta(numbers, out, 0)
  return length !== undefined && length < values.array.byteLength * WORTH_DELTA ? out.subarray(0, length) : undefined
}

function safeNumbers(array: BigInt64Array): Float64Array | undefined {
  const words = new Int32Array(array.buffer, array.byteOffset, 2 * array.length)
  const numbers = new Float64Array(array.length)
  for (let i = 0; i < numbers.length; i++) {
    const number = words[2 * i + 1]! * 0x1_0000_0000 + (words[2 * i]! >>> 0)
    if (number < -DELTA_NUMBER_MAX || number > DELTA_NUMBER_MAX) return undefined
    numbers[i] = number
  }
  return numbers
}

/** Byte arrays in PLAIN, each behind its length: those at `places`, or [start, end). They are there until the next call. */
function plainByteArrays(
  { bytes, starts, ends }: Utf8Values,
  places: Uint32Array | undefined,
  start = 0,
  end = places?.length ?? 0,
): Uint8Array {
  let size = 4 * (end - start)
  for (let i = start; i < end; i++) {
    const place = places === undefined ? i : places[i]!
    size += ends[place]! - starts[place]!
  }
  const out = pageScratch(size)
  const source = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const into = new DataView(out.buffer, out.byteOffset, out.byteLength)
  let to = 0
  for (let i = start; i < end; i++) {
    const place = places === undefined ? i : places[i]!
    const from = starts[place]!
    const length = ends[place]! - from
    into.setUint32(to, length, true)
    to += 4
    if (length > LOOP_BYTES_MAX) out.set(bytes.subarray(from, from + length), to)
    else if (from + length + 4 <= bytes.length && to + length + 4 <= size)
      // What is moved too far is written over by what comes next.
      for (let k = 0; k < length; k += 4) into.setInt32(to + k, source.getInt32(from + k))
    else for (let k = 0; k < length; k++) out[to + k] = bytes[from + k]!
    to += length
  }
  return out
}

function compressed(bytes: Uint8Array): Uint8Array {
  return compressedIfWorth(bytes, Number.POSITIVE_INFINITY)!
}

/** The bytes compressed, if the first of them become few enough. */
function compressedIfWorth(bytes: Uint8Array, worth = WORTH_COMPRESSING): Uint8Array | undefined {
  const out = scratch(snappyBytesMax(bytes.length))
  const end = snappyCompress(bytes, out, worth)
  return end === undefined ? undefined : out.subarray(0, end)
}
