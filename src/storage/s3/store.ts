import { BoundedMap } from '../../core/bounded-map.ts'
import { onceDone } from '../../core/once.ts'
import { behind, sortByBytes } from '../../core/text-order.ts'
import type { LocalStoreOptions } from '../local.ts'
import {
  checkFolder,
  checkPath,
  type ObjectInfo,
  type ObjectStore,
  type ObjectWriter,
  StorageError,
  writeObject,
} from '../object-store.ts'
import { bytesOf } from './body.ts'
import { BrokenBody } from './errors.ts'
import { type Request, Requests, type RequestsOptions } from './requests.ts'
import { S3Writer } from './upload.ts'

/** So many objects have their ETags remembered. */
const PINS_MAX = 100_000
/** S3 takes so many keys in one request. */
const DELETED_MAX = 1000
const HTTP = { preconditionFailed: 412, rangeNotSatisfiable: 416, notFound: 404, partialContent: 206 } as const

export interface S3StoreOptions extends RequestsOptions, LocalStoreOptions {
  /** As people write it. */
  readonly location: string
  readonly bucket: string
  readonly prefix: string
  readonly partBytes?: number
  /** Rejects with StorageError `unsafe_store` if several may win a conditional put. Asked before the first write. */
  readonly checkSafe?: ((store: S3Store) => Promise<void>) | undefined
}

/** A prefix of a bucket as a store. Nothing is asked of it, and no part of the SDK is loaded, until something is needed. */
export function s3Store(options: S3StoreOptions): S3Store {
  return new S3Store(options)
}

/** The bytes of an answer, and which object they are of. */
interface Fetched {
  readonly bytes: Uint8Array
  readonly etag: string | undefined
}

export class S3Store implements ObjectStore {
  readonly location: string
  readonly bucket: string
  readonly prefix: string
  readonly requests: Requests
  readonly #options: S3StoreOptions
  /** Which object a path is, since a part of it was read first: its other parts must be of the same. */
  readonly #pins = new BoundedMap<string, string>(PINS_MAX)
  /** The sizes of objects that were read. */
  readonly #sizes = new BoundedMap<string, number>(PINS_MAX)
  #isBucketKnown = false
  readonly #checkSafe: () => Promise<void>

  constructor(options: S3StoreOptions) {
    this.location = options.location
    this.bucket = options.bucket
    this.prefix = options.prefix
    this.requests = new Requests(options)
    this.#options = options
    const { checkSafe } = options
    this.#checkSafe = checkSafe === undefined ? () => Promise.resolve() : onceDone(() => checkSafe(this))
  }

  localPath(): undefined {
    return undefined
  }

  async read(path: string, start = 0, end?: number): Promise<Uint8Array> {
    const key = this.keyOf(path)
    if (end !== undefined && end <= start) {
      if ((await this.stat(path)) === undefined) throw this.#missing(path)
      return new Uint8Array(0)
    }
    const pin = start === 0 && end === undefined ? undefined : this.#pins.get(path)
    const fetched = await this.#fetch(path, key, { start, end }, pin)
    if (fetched === 'changed') {
      throw new StorageError(
        'changed',
        `${this.#targetOf(path)}: the object was replaced by another one while it was being read; open the table again`,
      )
    }
    if (fetched === 'no such range') return new Uint8Array(0)
    if (fetched.etag !== undefined) this.#pins.set(path, fetched.etag)
    return fetched.bytes
  }

  #fetch(
    path: string,
    key: string,
    { start, end }: { readonly start: number; readonly end: number | undefined },
    pin: string | undefined,
  ): Promise<Fetched | 'changed' | 'no such range'> {
    // Stores have checksums of whole objects alone: what may be all of one is asked for without a range.
    const isWhole = start === 0 && (end === undefined || !((this.#sizes.get(path) ?? 0) > end))
    return this.#run<Fetched | 'changed' | 'no such range'>(path, 'GetObject', {
      outcomeOf: status => {
        if (status === HTTP.preconditionFailed) return 'changed'
        return status === HTTP.rangeNotSatisfiable ? 'no such range' : undefined
      },
      send: async ({ client, commands }, abortSignal, goesOn) => {
        const input = {
          Bucket: this.bucket,
          Key: key,
          ...(isWhole ? {} : { Range: `bytes=${start}-${end === undefined ? '' : end - 1}` }),
          ...(pin === undefined ? {} : { IfMatch: pin }),
        }
        const answer = await client.send(new commands.GetObjectCommand(input), { abortSignal })
        const { Body, ContentLength, ContentRange, ETag: etag, $metadata } = answer
        // A store, or a proxy, that knows no ranges sends all of it, too.
        const isAll = $metadata.httpStatusCode !== HTTP.partialContent
        const bytesMax = isAll ? end : undefined
        const bytes = await bytesOf(Body, { sizeBytes: ContentLength, bytesMax, signal: abortSignal, goesOn })
        if (pin !== undefined && etag !== undefined && etag !== pin) return 'changed'
        const sizeBytes = isAll ? ContentLength : checkRange(ContentRange, { start, end }, bytes.length)
        if (sizeBytes !== undefined) this.#sizes.set(path, sizeBytes)
        return { bytes: isAll ? bytes.subarray(start) : bytes, etag }
      },
    })
  }

  async stat(path: string): Promise<ObjectInfo | undefined> {
    const key = this.keyOf(path)
    const found = await this.#run<ObjectInfo | 'missing'>(path, 'HeadObject', {
      outcomeOf: status => (status === HTTP.notFound ? 'missing' : undefined),
      send: async ({ client, commands }, abortSignal) => {
        const input = { Bucket: this.bucket, Key: key }
        const { ContentLength, LastModified } = await client.send(new commands.HeadObjectCommand(input), {
          abortSignal,
        })
        return { path, sizeBytes: ContentLength ?? 0, modifiedMs: LastModified?.getTime() ?? 0 }
      },
    })
    if (found !== 'missing') return found
    // An answer to HEAD has no body: that the whole bucket is missing looks the same.
    await this.#checkBucket()
    return undefined
  }

  async #checkBucket(): Promise<void> {
    if (this.#isBucketKnown) return
    await this.requests.run<void>({
      action: 'ListObjectsV2',
      target: this.location,
      bucket: this.bucket,
      send: async ({ client, commands }, abortSignal) => {
        // Policies may allow to list the prefix alone.
        const input = { Bucket: this.bucket, Prefix: this.prefix === '' ? '' : `${this.prefix}/`, MaxKeys: 1 }
        await client.send(new commands.ListObjectsV2Command(input), { abortSignal })
      },
    })
    this.#isBucketKnown = true
  }

  async list(prefix: string, startAfter = ''): Promise<ObjectInfo[]> {
    const folder = checkFolder(this.location, prefix)
    const found: ObjectInfo[] = []
    let token: string | undefined
    do {
      const page = await this.#page(folder, startAfter, token)
      found.push(...page.objects)
      token = page.next
    } while (token !== undefined)
    const isWanted = behind(startAfter)
    return sortByBytes(
      found.filter(({ path }) => isWanted(path)),
      ({ path }) => path,
    )
  }

  #page(
    folder: string,
    startAfter: string,
    token: string | undefined,
  ): Promise<{ objects: ObjectInfo[]; next: string | undefined }> {
    const root = this.prefix === '' ? '' : `${this.prefix}/`
    return this.#run(folder, 'ListObjectsV2', {
      send: async ({ client, commands }, abortSignal) => {
        const input = {
          Bucket: this.bucket,
          Prefix: folder === '' ? root : `${root}${folder}/`,
          // XML cannot hold every key.
          EncodingType: 'url',
          ...(startAfter === '' ? {} : { StartAfter: `${root}${startAfter}` }),
          ...(token === undefined ? {} : { ContinuationToken: token }),
        } as const
        const answer = await client.send(new commands.ListObjectsV2Command(input), { abortSignal })
        const objects = (answer.Contents ?? []).flatMap(({ Key = '', Size = 0, LastModified }) => {
          const key = answer.EncodingType === 'url' ? decodeURIComponent(Key.replaceAll('+', ' ')) : Key
          const path = key.slice(root.length)
          // What other tools keep as folders, and what has no path here.
          if (!isPath(path)) return []
          return [{ path, sizeBytes: Size, modifiedMs: LastModified?.getTime() ?? 0 }]
        })
        const isCut = answer.IsTruncated === true
        if (isCut && answer.NextContinuationToken === undefined)
          throw new BrokenBody('a page of the listing has a next one, and does not say which')
        return { objects, next: isCut ? answer.NextContinuationToken : undefined }
      },
    })
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    await writeObject(await this.create(path), bytes)
  }

  async create(
    path: string,
    { partBytes = this.#options.partBytes }: { partBytes?: number } = {},
  ): Promise<ObjectWriter> {
    const key = this.keyOf(path)
    await this.#checkSafe()
    this.#options.onWrite?.(`${path}.uploading`, path)
    return new S3Writer({
      requests: this.requests,
      bucket: this.bucket,
      key,
      target: this.#targetOf(path),
      partBytes,
      put: async bytes => void (await this.put(path, bytes, false)),
      statSize: async () => (await this.stat(path))?.sizeBytes,
      done: () => this.#pins.delete(path),
    })
  }

  /** After a lost reply an object of one's own may be what 'exists'. */
  async putIfAbsent(path: string, bytes: Uint8Array): Promise<'written' | 'exists'> {
    this.keyOf(path)
    await this.#checkSafe()
    this.#options.onWrite?.(`${path}.uploading`, path)
    return this.put(path, bytes, true)
  }

  /** Puts an object in one request, if there is none or in place of one. The store is not checked before. */
  put(path: string, bytes: Uint8Array, ifAbsent: boolean): Promise<'written' | 'exists'> {
    const key = this.keyOf(path)
    return this.#run<'written' | 'exists'>(path, 'PutObject', {
      sizeBytes: bytes.length,
      outcomeOf: status => (ifAbsent && status === HTTP.preconditionFailed ? 'exists' : undefined),
      send: async ({ client, commands }, abortSignal) => {
        const input = { Bucket: this.bucket, Key: key, Body: bytes, ...(ifAbsent ? { IfNoneMatch: '*' } : {}) }
        const { ETag } = await client.send(new commands.PutObjectCommand(input), { abortSignal })
        if (ETag === undefined) this.#pins.delete(path)
        else this.#pins.set(path, ETag)
        return 'written'
      },
    })
  }

  async delete(path: string): Promise<void> {
    const key = this.keyOf(path)
    this.#pins.delete(path)
    await this.#run<void>(path, 'DeleteObject', {
      send: async ({ client, commands }, abortSignal) => {
        await client.send(new commands.DeleteObjectCommand({ Bucket: this.bucket, Key: key }), { abortSignal })
      },
    })
  }

  async deleteMany(paths: readonly string[]): Promise<void> {
    const keys = paths.map(path => this.keyOf(path))
    for (let from = 0; from < keys.length; from += DELETED_MAX) {
      const some = keys.slice(from, from + DELETED_MAX)
      const isDone = await this.#deleteSome(some)
      // Not every store can do it.
      if (!isDone) for (const path of paths.slice(from, from + DELETED_MAX)) await this.delete(path)
    }
    for (const path of paths) this.#pins.delete(path)
  }

  #deleteSome(keys: readonly string[]): Promise<boolean> {
    return this.#run('', 'DeleteObjects', {
      outcomeOf: (status, name) => (status === 501 || name === 'MalformedXML' ? false : undefined),
      send: async ({ client, commands }, abortSignal) => {
        const Objects = keys.map(Key => ({ Key }))
        const input = { Bucket: this.bucket, Delete: { Objects, Quiet: true } }
        const { Errors = [] } = await client.send(new commands.DeleteObjectsCommand(input), { abortSignal })
        const [first] = Errors
        if (first === undefined) return true
        const where = `s3://${this.bucket}/${first.Key}`
        throw new StorageError(
          first.Code === 'AccessDenied' ? 'access_denied' : 'io',
          `${where}: it cannot be deleted (${first.Code}: ${first.Message}), and ${Errors.length - 1} others neither`,
        )
      },
    })
  }

  /** The key of a path in the bucket. StorageError `invalid_path`. */
  keyOf(path: string): string {
    checkPath(this.location, path)
    return this.prefix === '' ? path : `${this.prefix}/${path}`
  }

  #targetOf(path: string): string {
    return path === '' ? this.location : `${this.location}/${path}`
  }

  #missing(path: string): StorageError {
    return new StorageError('not_found', `${this.#targetOf(path)}: there is no such object`)
  }

  #run<T>(path: string, action: string, request: Sent<T>): Promise<T> {
    return this.requests.run<T>({ ...request, action, target: this.#targetOf(path), bucket: this.bucket })
  }
}

type Sent<T> = Omit<Request<T>, 'action' | 'target' | 'bucket'>

function isPath(path: string): boolean {
  try {
    checkPath('', path)
    return true
  } catch {
    return false
  }
}

/** Rejects an answer that has another part of the object than was asked for. Returns the size of the object, if it is told. */
function checkRange(
  contentRange: string | undefined,
  { start, end }: { readonly start: number; readonly end: number | undefined },
  length: number,
): number | undefined {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(contentRange ?? '')
  if (match === null) throw new BrokenBody(`the answer does not say which part it is (${contentRange})`)
  const [first, last] = [Number(match[1]), Number(match[2])]
  const size = match[3] === '*' ? undefined : Number(match[3])
  const wantedLast = Math.min(end ?? Number.POSITIVE_INFINITY, size ?? end ?? last + 1) - 1
  if (first !== start || last !== wantedLast || length !== last - first + 1)
    throw new BrokenBody(`bytes ${start} to ${wantedLast} were asked for, and ${contentRange} came`)
  return size
}
