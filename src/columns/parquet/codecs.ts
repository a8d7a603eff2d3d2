import { lz4Decompress, lz4Legacy } from './lz4.ts'
import { snappyDecompress, snappyFirst } from './snappy.ts'
import { UnsupportedError } from './unsupported.ts'

/** No page that is read is larger, whatever its header announces. */
export const PAGE_BYTES_MAX = 1 << 30

/** The `size` bytes that a page has uncompressed. Throws Error if it has others, UnsupportedError for other codecs. */
export function decompress(bytes: Uint8Array, size: number, codec: string): Uint8Array {
  const out = decompressCodec(bytes, size, codec)
  if (out.length !== size) throw new Error(`a page has ${out.length} bytes where ${size} are announced`)
  return out
}

/**
 * At least the first `least` of the `size` bytes that a page has uncompressed, out of as much of it as there is; fewer where it has
 * no more. Throws as `decompress`.
 */
export function decompressFirst(bytes: Uint8Array, size: number, codec: string, least: number): Uint8Array {
  if (least < size && codec === 'SNAPPY') return snappyFirst(bytes, least)
  return codec === 'UNCOMPRESSED' ? bytes : decompress(bytes, size, codec)
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
      return zlib().gunzipSync(bytes, { maxOutputLength: size + 1 })
    case 'ZSTD':
      return Bun.zstdDecompressSync(bytes)
    case 'BROTLI':
      return zlib().brotliDecompressSync(bytes, { maxOutputLength: size + 1 })
    case 'LZ4_RAW':
      return lz4Decompress(bytes, size)
    case 'LZ4':
      return lz4Legacy(bytes, size)
    default:
      throw new UnsupportedError(`the compression ${codec} is not supported`)
  }
}

/** Loaded when a page needs it: it takes longer to load than a short command takes, and few files are compressed so. */
function zlib(): typeof import('node:zlib') {
  return process.getBuiltinModule('node:zlib')
}
