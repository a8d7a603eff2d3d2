import type { ByteSource } from '../../src/columns/parquet/source.ts'

/** A file in memory. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return { name, sizeBytes: bytes.length, read: async (start, end) => bytes.subarray(start, end) }
}
