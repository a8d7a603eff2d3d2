import type { ColumnChunk } from 'hyparquet'
import type { ByteWriter } from 'hyparquet-writer'
import { readerOf } from '../levels.ts'
import { readPageHeader } from '../metadata.ts'

/** The headers of fields 1 to 3, which every page header begins with, and of field 4: 32-bit numbers, one after the other. */
const NUMBER_FIELD = 0x15

/**
 * Gives a checksum to each page of some chunks, which stand behind each other at the end of what was written, and puts right what is
 * said of their places. hyparquet-writer writes pages without.
 */
export function addChecksums(out: ByteWriter, chunks: readonly ColumnChunk[]): void {
  const [first] = chunks
  if (first === undefined) return
  const start = Number(first.file_offset)
  const pages = out.getBytes().slice(out.index - (out.offset - start))
  out.index -= pages.length
  out.offset = start
  let at = 0
  for (const chunk of chunks) {
    const meta = chunk.meta_data!
    const end = at + Number(meta.total_compressed_size)
    const before = { at, offset: out.offset }
    const places = new Map<bigint, bigint>()
    while (at < end) {
      places.set(BigInt(start + at), BigInt(out.offset))
      at = copyPage(out, pages, at)
    }
    const grown = BigInt(out.offset - before.offset - (at - before.at))
    chunk.file_offset = BigInt(before.offset)
    meta.total_compressed_size += grown
    meta.total_uncompressed_size += grown
    meta.data_page_offset = places.get(meta.data_page_offset)!
    if (meta.dictionary_page_offset !== undefined)
      meta.dictionary_page_offset = places.get(meta.dictionary_page_offset)!
  }
}

/** Copies a page with its checksum, and returns the place behind it. */
function copyPage(out: ByteWriter, pages: Uint8Array, at: number): number {
  const reader = readerOf(pages.subarray(at))
  const { compressedSize, crc } = readPageHeader(reader)
  const body = pages.subarray(at + reader.offset, at + reader.offset + compressedSize)
  let next = at
  for (let field = 1; field <= 3; field++) {
    if (pages[next] !== NUMBER_FIELD) throw new Error('a page header begins otherwise than page headers do')
    next++
    while (pages[next++]! > 0x7f);
  }
  // The next field tells by how much its number is above that of the one before it.
  if (crc !== undefined || pages[next]! >>> 4 < 2) throw new Error('a page has a checksum already')
  out.appendBytes(pages.subarray(at, next))
  out.appendUint8(NUMBER_FIELD)
  out.appendZigZag(Bun.hash.crc32(body) | 0)
  out.appendUint8(pages[next]! - 0x10)
  out.appendBytes(pages.subarray(next + 1, at + reader.offset))
  out.appendBytes(body)
  return at + reader.offset + compressedSize
}
