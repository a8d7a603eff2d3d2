import { fileURLToPath } from 'node:url'
import { type LocalStoreOptions, localStore } from './local.ts'
import { type ObjectStore, StorageError } from './object-store.ts'

export type Location =
  | { readonly kind: 'local'; readonly directory: string }
  | { readonly kind: 's3'; readonly bucket: string; readonly prefix: string }

/** Reads what a user writes for a table: a directory, a `file:` URL, or `s3://bucket/prefix`. StorageError `invalid_path`. */
export function parseLocation(text: string): Location {
  if (text === '') throw new StorageError('invalid_path', 'the location of the table is empty')
  if (text.startsWith('file:')) return { kind: 'local', directory: fileURLToPath(text) }
  const s3 = /^s3a?:\/\/([^/]+)\/*(.*?)\/*$/.exec(text)
  if (s3 !== null) return { kind: 's3', bucket: s3[1]!, prefix: s3[2]! }
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text)) {
    throw new StorageError('invalid_path', `${text}: a table is a directory or s3://bucket/prefix`)
  }
  return { kind: 'local', directory: text }
}

/** The store of a location. StorageError if this build cannot reach it. */
export function openStore(location: Location, options: LocalStoreOptions = {}): ObjectStore {
  if (location.kind === 'local') return localStore(location.directory, options)
  throw new StorageError(
    'invalid_path',
    `s3://${location.bucket}/${location.prefix}: tables on S3 are not supported yet; use a local directory`,
  )
}
