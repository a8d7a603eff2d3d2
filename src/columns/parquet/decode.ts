import { decompress } from './codecs.ts'
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
