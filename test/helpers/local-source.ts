import { type ByteSource, fileSource } from '../../src/columns/parquet/source.ts'
import { localFile } from '../../src/storage/local-files.ts'

/** A file on a local disk, of which `sizeBytes` bytes are expected. */
export function localSource(path: string, sizeBytes: number): ByteSource {
  return fileSource(localFile(path, sizeBytes))
}
