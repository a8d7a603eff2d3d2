import { decompress, decompressFirst } from './codecs.ts'
import { decodeValues, type EncodedValues } from './encodings.ts'
import { countValues, joinLevels, readerOf, readLevels, readLevelsV1 } from './levels.ts'
import { type ColumnChunk, type DataPageHeader, type PageHeader, readPageHeader, type SchemaNode } from './metadata.ts'
import { UnsupportedError } from './unsupported.ts'
import { decodePlain, joinValues, type PhysicalValues } from './values.ts'

/** One leaf column of a row group. Levels are absent where their maximum is 0. */
export interface LeafColumn {
  /** Entries: rows for a flat column, values and gaps for a nested one. */
  readonly entries: number
  readonly definition: Uint8Array | undefined
  readonly repetition: Uint8Array | undefined
  readonly values: PhysicalValues
}

interface Page extends EncodedValues {
  readonly entries: number
  readonly definition: Uint8Array | undefined
  readonly repetition: Uint8Array | undefined
}

/**
 * Decodes one column chunk. Throws Error with what is wrong in it, UnsupportedError for what is not read; the caller adds
 * the file and column. The definition levels of a flat column (`isFlat`) are left out where no value is NULL. With
 * `entriesMax` the pages that have so many first entries are decoded, and the bytes behind them need not be there.
 */
export function decodeChunk(
  bytes: Uint8Array,
  chunk: ColumnChunk,
  node: SchemaNode,
  isFlat = false,
  entriesMax = chunk.entries,
): LeafColumn {
  const reader = readerOf(bytes)
  const { codec } = chunk
  const expected = Math.min(chunk.entries, entriesMax)
  const pages: Page[] = []
  let dictionary: PhysicalValues | undefined
  let entries = 0
  while (entries < expected) {
    if (reader.offset >= bytes.length) throw new Error(`it holds ${entries} of ${expected} values`)
    const header = readPageHeader(reader)
    const body = bytes.subarray(reader.offset, reader.offset + header.compressedSize)
    const first = firstOf(header, expected - entries, chunk.entries - entries, isFlat)
    // A page that has a checksum is read as a whole.
    if (body.length !== header.compressedSize && (first === undefined || header.crc !== undefined))
      throw new Error('a page is cut off')
    if (header.crc !== undefined && header.crc !== Bun.hash.crc32(body))
      throw new Error('the checksum of a page is wrong: the file is damaged')
    reader.offset += header.compressedSize
    if (header.type === 'INDEX_PAGE') continue
    if (header.type === 'DICTIONARY_PAGE' && header.dictionary !== undefined) {
      const { values, encoding } = header.dictionary
      if (encoding !== 'PLAIN' && encoding !== 'PLAIN_DICTIONARY')
        throw new UnsupportedError(`a dictionary in the encoding ${encoding} is not supported`)
      dictionary = decodePlain(decompress(body, header.uncompressedSize, codec), node, values)
      continue
    }
    const page = first
      ? readFirst(first, header.uncompressedSize, body, codec, node)
      : readPage(header, body, codec, node, chunk.entries - entries)
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

/**
 * False if pages of a column chunk are not what their writer wrote, as far as their headers and checksums tell; with
 * `mustTell`, also if a page has no checksum.
 */
export function isIntact(bytes: Uint8Array, { entries: expected }: ColumnChunk, mustTell = false): boolean {
  try {
    const reader = readerOf(bytes)
    for (let entries = 0; entries < expected; ) {
      const { compressedSize, crc, data } = readPageHeader(reader)
      const body = bytes.subarray(reader.offset, reader.offset + compressedSize)
      if (body.length !== compressedSize) return false
      if (crc === undefined ? mustTell : crc !== Bun.hash.crc32(body)) return false
      reader.offset += compressedSize
      entries += data?.entries ?? 0
    }
    return true
  } catch {
    return false
  }
}

function readPage(header: PageHeader, body: Uint8Array, codec: string, node: SchemaNode, left: number): Page {
  const { type, data, uncompressedSize } = header
  if (data === undefined || type !== (data.version === 1 ? 'DATA_PAGE' : 'DATA_PAGE_V2'))
    throw new UnsupportedError(`a page of the type ${type} is not supported`)
  if (data.entries > left) throw new Error(`a page announces ${data.entries} values where ${left} are left`)
  return data.version === 1
    ? readPageV1(data, decompress(body, uncompressedSize, codec), node)
    : readPageV2(data, body, uncompressedSize, (bytes, size) => decompress(bytes, size, codec), node)
}

/** The first entries of a page. */
interface FirstEntries {
  readonly data: DataPageHeader
  /** The bytes that they are likely to have, uncompressed. */
  readonly bytes: number
}

/** Values that stand one behind the other, whatever is behind them. */
const CUT_ENCODINGS = ['PLAIN', 'PLAIN_DICTIONARY', 'RLE_DICTIONARY', 'DELTA_BINARY_PACKED']

/** Returns the part of a data page that is wanted; undefined for other pages, those of which all is wanted and those that cannot be cut. */
function firstOf(
  { data, uncompressedSize }: PageHeader,
  wanted: number,
  left: number,
  isFlat: boolean,
): FirstEntries | undefined {
  if (data === undefined || data.entries <= wanted || data.entries > left || !isFlat) return undefined
  if (!CUT_ENCODINGS.includes(data.encoding) || (data.version === 1 && data.definitionEncoding === 'BIT_PACKED'))
    return undefined
  // Twice as much as they have if all are alike, behind the levels.
  const bytes = Math.ceil((2 * uncompressedSize * wanted) / data.entries + data.entries / 4) + SPARE_BYTES
  return { data: { ...data, entries: wanted }, bytes }
}

const SPARE_BYTES = 4096

function readFirst(
  { data, bytes: least }: FirstEntries,
  size: number,
  body: Uint8Array,
  codec: string,
  node: SchemaNode,
): Page {
  const inflate = (bytes: Uint8Array, length: number): Uint8Array => decompressFirst(bytes, length, codec, least)
  const page =
    data.version === 1 ? readPageV1(data, inflate(body, size), node) : readPageV2(data, body, size, inflate, node)
  return { ...page, isFirst: true }
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
  inflate: (bytes: Uint8Array, size: number) => Uint8Array,
  node: SchemaNode,
): Page {
  const { entries, encoding, repetitionSize, definitionSize } = data
  const levelBytes = repetitionSize + definitionSize
  if (levelBytes > body.length) throw new Error('the levels of a page are cut off')
  const repetition = readLevels(body, 0, repetitionSize, node.maxRepetition, entries)
  const definition = readLevels(body, repetitionSize, levelBytes, node.maxDefinition, entries)
  const packed = body.subarray(levelBytes)
  const isCompressed = data.isCompressed && packed.length > 0
  const bytes = isCompressed ? inflate(packed, uncompressedSize - levelBytes) : packed
  const count = countValues(definition, node.maxDefinition, entries)
  return { entries, repetition, definition, count, encoding, bytes }
}
