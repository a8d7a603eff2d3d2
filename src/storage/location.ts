import type { ByteCache } from '../cache/byte-cache.ts'
import { cachedStore } from './cached.ts'
import { type LocalStoreOptions, localStore } from './local.ts'
import { type ObjectStore, StorageError } from './object-store.ts'
import { accessOf, type Environment } from './s3/access.ts'
import { s3Store } from './s3/store.ts'

/** A bucket and the prefix of a table in it, without slashes at its ends; '' for the whole bucket. */
export interface S3Location {
  readonly kind: 's3'
  readonly bucket: string
  readonly prefix: string
  /** The endpoint of the bucket, if the location itself says so and not the environment. */
  readonly endpoint?: string
}

export type Location = { readonly kind: 'local'; readonly directory: string } | S3Location

/** The names of buckets, by AWS's rules and the older, laxer ones that other stores keep. */
const BUCKET = /^[a-z\d][\w.-]{1,253}[a-z\d]$/i

/** Reads what a user writes for a table: a directory, a `file:` URL, or `s3://bucket/prefix`. StorageError `invalid_path`. */
export function parseLocation(text: string): Location {
  if (text === '') throw new StorageError('invalid_path', 'the location of the table is empty')
  if (text.startsWith('file:')) return { kind: 'local', directory: Bun.fileURLToPath(text) }
  const s3 = /^s3a?:(\/*)(.*)$/is.exec(text)
  if (s3 !== null) return s3Location(text, s3[1]!, s3[2]!)
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text)) {
    throw new StorageError('invalid_path', `${text}: a table is a directory or s3://bucket/prefix`)
  }
  return { kind: 'local', directory: text }
}

function s3Location(text: string, slashes: string, rest: string): S3Location {
  const wrong = (why: string): StorageError =>
    new StorageError('invalid_path', `${text}: ${why}; a table on S3 is s3://bucket/prefix`)
  const [place = '', query] = rest.split('?', 2)
  const endpoint = query === undefined ? undefined : /^endpoint=(https?:\/\/[^/?#\s]+)$/i.exec(query)?.[1]
  const [bucket = '', ...folders] = place.replace(/\/+$/, '').split('/')
  if (slashes !== '//')
    throw wrong(`there ${slashes === '/' ? 'is one slash' : `are ${slashes.length} slashes`} behind s3:`)
  if (bucket === '') throw wrong('it names no bucket')
  if (!BUCKET.test(bucket)) throw wrong(`${JSON.stringify(bucket)} is no name of a bucket`)
  const odd = folders.find(folder => folder === '' || folder === '.' || folder === '..' || folder.includes('\0'))
  if (odd !== undefined) throw wrong(odd === '' ? 'the prefix has an empty part' : `the prefix has the part ${odd}`)
  if (query !== undefined && endpoint === undefined)
    throw wrong(`${JSON.stringify(query)} is not known; what may stand there is endpoint=http://HOST:PORT`)
  return { kind: 's3', bucket, prefix: folders.join('/'), ...(endpoint === undefined ? {} : { endpoint }) }
}

/** Returns a name that tells a table on S3 from all others: buckets of the same name may be at several endpoints. */
export function s3Name(location: S3Location, environment: Environment = process.env): string {
  const endpoint = location.endpoint ?? accessOf(environment).endpoint?.url
  return endpoint === undefined ? s3Text(location) : `${s3Text(location)}?endpoint=${endpoint}`
}

/** A location on S3 as people write it, the same for all ways to do so. */
export function s3Text({ bucket, prefix }: Omit<S3Location, 'kind'>): string {
  return prefix === '' ? `s3://${bucket}` : `s3://${bucket}/${prefix}`
}

export interface StoreOptions extends LocalStoreOptions {
  /** The cache of what is read of stores that are elsewhere. Asked for if it is needed. */
  readonly cache?: () => ByteCache
}

/** The store of a location. Nothing is asked of it yet. */
export function openStore(location: Location, { cache, onWrite }: StoreOptions = {}): ObjectStore {
  if (location.kind === 'local') return localStore(location.directory, onWrite === undefined ? {} : { onWrite })
  const { bucket, prefix, endpoint } = location
  const isInEnvironment = endpoint === undefined || accessOf(process.env).endpoint?.url === endpoint
  const store = s3Store({
    ...(isInEnvironment ? {} : { environment: { ...process.env, AWS_ENDPOINT_URL_S3: endpoint } }),
    ...(onWrite === undefined ? {} : { onWrite }),
    bucket,
    prefix,
    location: s3Text(location),
    checkSafe: async own => (await import('./s3/probe.ts')).checkSafe(own),
  })
  return cache === undefined ? store : cachedStore(store, cache())
}
