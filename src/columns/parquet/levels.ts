import { readBitPacked, readHybrid } from './hybrid.ts'
import type { Reader } from './metadata.ts'
import { UnsupportedError } from './unsupported.ts'

/** A reader at the start of some bytes. */
export function readerOf(bytes: Uint8Array): Reader {
  return { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 }
}

/** Reads levels of version 1 and leaves the reader behind them. */
export function readLevelsV1(
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
export function readLevels(
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

/** The number of entries that are values, and no NULLs or gaps. */
export function countValues(definition: Uint8Array | undefined, max: number, entries: number): number {
  // Where no value is NULL the search for a lower level is native, and over at the first byte otherwise.
  if (definition === undefined || (max === 1 && definition.indexOf(0) < 0)) return entries
  let count = 0
  for (let i = 0; i < entries; i++) if (definition[i] === max) count++
  return count
}

/** The levels of all pages of a chunk, one page behind the other. */
export function joinLevels(parts: readonly (Uint8Array | undefined)[], entries: number): Uint8Array | undefined {
  if (parts.length === 0 || parts[0] === undefined) return undefined
  if (parts.length === 1) return parts[0]
  return Buffer.concat(parts as Uint8Array[], entries)
}
