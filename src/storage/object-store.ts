import { LakeError } from '../core/errors.ts'

/**
 * unavailable: the store did not answer, or asked to be left alone for a while; it may answer later. no_bucket: there is no
 * such store. changed: the object is not the one any more that was read before. unsafe_store: the store lets two writers
 * win, and so cannot be written to.
 */
export type StorageErrorCode =
  | 'not_found'
  | 'access_denied'
  | 'no_space'
  | 'read_only'
  | 'invalid_path'
  | 'io'
  | 'unavailable'
  | 'no_bucket'
  | 'changed'
  | 'unsafe_store'

/** A failed read or write of a store; the message names the object's full location. */
export class StorageError extends LakeError<StorageErrorCode> {
  /** The store may have done what it was asked to, or may do it yet: nobody heard of it. */
  readonly mayHaveTakenEffect: boolean

  constructor(
    code: StorageErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly mayHaveTakenEffect?: boolean } = {},
  ) {
    super(code, message, options)
    this.mayHaveTakenEffect = options.mayHaveTakenEffect ?? false
  }

  /** The same error, of a write that may have taken effect. */
  inDoubt(): StorageError {
    return new StorageError(this.code, this.message, { cause: this.cause, mayHaveTakenEffect: true })
  }
}

/** The facts of one object that a listing or a stat tells. */
export interface ObjectInfo {
  /** Relative to the store's root, `/`-separated, no leading slash, as on disk (not percent-encoded). */
  readonly path: string
  readonly sizeBytes: number
  readonly modifiedMs: number
}

/**
 * A tree of immutable objects: a local directory, a bucket prefix, or memory. Paths are relative to the root and
 * `/`-separated; `..` and absolute paths are refused with `invalid_path`. Everything rejects with StorageError.
 */
export interface ObjectStore {
  /** For messages: the absolute directory, or `s3://bucket/prefix`. */
  readonly location: string
  /**
   * The bytes of [start, end) (the whole object without a range). `not_found` if it is missing; shorter than asked only at
   * the end. Ranges of one object are never of two: `changed` if somebody replaced it meanwhile, where that can happen.
   */
  read(path: string, start?: number, end?: number): Promise<Uint8Array>
  /**
   * The same as `read`, for whoever keeps what it makes of the bytes: a store that keeps what is read does not keep these.
   * Not there: `read` is the same.
   */
  readOnce?(path: string, start: number, end: number): Promise<Uint8Array>
  /**
   * The same as `read`, past whatever is kept, which is replaced: for whoever finds that bytes were damaged on their way
   * here. Not there: nothing is kept, and `read` is the same.
   */
  readAnew?(path: string, start: number, end: number): Promise<Uint8Array>
  /** undefined if there is no such object. */
  stat(path: string): Promise<ObjectInfo | undefined>
  /** Every object below the folder `prefix` (recursive), whose path sorts after `startAfter`, sorted by path (bytewise); empty where the folder is missing. */
  list(prefix: string, startAfter?: string): Promise<ObjectInfo[]>
  /** Creates or replaces an object, whole and durable (file and directory entry synced) when it resolves; never seen half. */
  write(path: string, bytes: Uint8Array): Promise<void>
  /** A new object written piece by piece, for what does not fit in memory. Invisible until `close` resolves; then durable. */
  create(path: string): Promise<ObjectWriter>
  /** Creates the object if no object has that path: durable when it resolves with 'written'. Exactly one of several racing callers gets 'written'. */
  putIfAbsent(path: string, bytes: Uint8Array): Promise<'written' | 'exists'>
  /**
   * The same as `putIfAbsent` once `after` has resolved, for a store that can do a part of it meanwhile; rejects as `after`
   * does, and then there is no such object. Not there: see the function of this name.
   */
  putAfter?(path: string, bytes: Uint8Array, after: Promise<unknown>): Promise<'written' | 'exists'>
  /** Removes an object; no error if it is missing. */
  delete(path: string): Promise<void>
  /** Removes objects; no error for those that are missing. */
  deleteMany(paths: readonly string[]): Promise<void>
  /** The file behind an object for readers that can map it (DuckDB, workers); undefined where there is none. */
  localPath(path: string): string | undefined
}

/** Refuses what is no path of an object in the store at `location`: StorageError `invalid_path`. Returns the path. */
export function checkPath(location: string, path: string): string {
  const parts = path.split('/')
  if (
    parts[0] === '' ||
    parts.at(-1) === '' ||
    path.includes('\0') ||
    parts.some(part => part === '..' || part === '.')
  )
    throw new StorageError('invalid_path', `${location}: ${JSON.stringify(path)} is no path inside the store`)
  return path
}

/** The folder that a listing is of: '' for the whole store. StorageError `invalid_path`. */
export function checkFolder(location: string, prefix: string): string {
  return prefix === '' ? '' : checkPath(location, prefix.replace(/\/$/, ''))
}

export interface ObjectWriter {
  write(bytes: Uint8Array): Promise<void>
  close(): Promise<void>
  /**
   * The same as `close`, but resolves as soon as the object is visible; it is durable when `durable` resolves. For objects
   * that nobody looks for until then: a power cut may leave other bytes under their names. Not there: `close` does.
   */
  end?(): Promise<{ readonly durable: Promise<void> }>
  /** Drops what was written; nothing becomes visible. */
  abort(): Promise<void>
}

/** Reads bytes once more that were found to be damaged. */
export function readAnew(store: ObjectStore, path: string, start: number, end: number): Promise<Uint8Array> {
  return store.readAnew?.(path, start, end) ?? store.read(path, start, end)
}

/** Puts an object that must not be there before `after` has resolved; rejects as that does. */
export async function putAfter(
  store: ObjectStore,
  path: string,
  bytes: Uint8Array,
  after: Promise<unknown>,
): Promise<'written' | 'exists'> {
  if (store.putAfter !== undefined) return store.putAfter(path, bytes, after)
  await after
  return store.putIfAbsent(path, bytes)
}

/** Writes all of an object and ends it; where that fails, nothing becomes visible. */
export async function writeObject(writer: ObjectWriter, bytes: Uint8Array): Promise<void> {
  try {
    await writer.write(bytes)
    await writer.close()
  } catch (error) {
    await writer.abort()
    throw error
  }
}
