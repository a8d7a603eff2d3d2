import { type ObjectStore, readAnew } from '../../storage/object-store.ts'
import type { ReadableFile } from '../../storage/readable-file.ts'
import { ParquetError } from '../errors.ts'

/** Random access to the bytes of one file. */
export interface ByteSource {
  /** For messages. */
  readonly name: string
  readonly sizeBytes: number
  /** Exactly the bytes [start, end). Rejects with ParquetError if the file has fewer, or as the system or store fails. */
  read(start: number, end: number): Promise<Uint8Array>
  /** The same, past what is kept of it, for whoever finds that it is damaged; not there where nothing is kept. */
  readAnew?(start: number, end: number): Promise<Uint8Array>
  /** Reads give parts of bytes that somebody keeps: another thread cannot have them. */
  readonly isKept?: boolean
}

/** Any file. */
export function fileSource(file: ReadableFile): ByteSource {
  const { name, sizeBytes } = file
  return { name, sizeBytes, read: exactly(name, (start, end) => file.read(start, end)) }
}

/** An object of a store. `isOnce`: what is made of its bytes is kept, so that they need not be. */
export function storeSource(
  store: ObjectStore,
  path: string,
  sizeBytes: number,
  { isOnce = false }: { readonly isOnce?: boolean } = {},
): ByteSource {
  const read = (start: number, end: number): Promise<Uint8Array> =>
    (isOnce ? store.readOnce?.(path, start, end) : undefined) ?? store.read(path, start, end)
  // A file of a shallow clone has an absolute path.
  const name = path.startsWith('/') ? path : `${store.location}/${path}`
  const again = exactly(name, (start, end) => readAnew(store, path, start, end))
  return { ...fileSource({ name, sizeBytes, read }), ...(store.localPath(path) === undefined && { readAnew: again }) }
}

type Read = ByteSource['read']

function exactly(name: string, read: Read): Read {
  return async (start, end) => {
    const bytes = await read(start, end)
    if (bytes.length !== end - start) throw cutOff(name, start + bytes.length, end)
    return bytes
  }
}

function cutOff(name: string, end: number, wanted: number): ParquetError {
  return new ParquetError('corrupt', `${name}: the file ends at byte ${end}, before ${wanted}`)
}
