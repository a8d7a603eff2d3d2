import { BoundedMap } from '../core/bounded-map.ts'
import { localStore } from '../storage/local.ts'
import { type ObjectStore, putAfter, readAnew, StorageError } from '../storage/object-store.ts'
import { isOutside } from './log/paths.ts'

/** Files outside that were found to be what they should be. */
const KNOWN_MAX = 100_000
const PARQUET_MAGICS: readonly string[] = ['PAR1', 'PARE']
const VECTOR_SUFFIX = '.bin'
const VECTOR_VERSION = 1

/**
 * The store of a local table, in which absolute paths can be read, too: those of files that the log of the table names and
 * that lie outside of it, as in a shallow clone. Nothing is ever written or removed there, for the store itself takes no
 * absolute paths. As the log may come from anybody, what is neither a Parquet file nor one of deletion vectors is not read.
 */
export function withOutsideFiles(store: ObjectStore): ObjectStore {
  return store.location.startsWith('/') ? new OutsideFiles(store) : store
}

class OutsideFiles implements ObjectStore {
  readonly location: string
  readonly #inside: ObjectStore
  readonly #outside = localStore('/')
  readonly #known = new BoundedMap<string, true>(KNOWN_MAX)

  constructor(inside: ObjectStore) {
    this.location = inside.location
    this.#inside = inside
  }

  async read(path: string, start?: number, end?: number): Promise<Uint8Array> {
    if (!isOutside(path)) return this.#inside.read(path, start, end)
    await this.#check(path)
    return this.#outside.read(path.slice(1), start, end)
  }

  async readOnce(path: string, start: number, end: number): Promise<Uint8Array> {
    if (isOutside(path) || this.#inside.readOnce === undefined) return this.read(path, start, end)
    return this.#inside.readOnce(path, start, end)
  }

  async readAnew(path: string, start: number, end: number): Promise<Uint8Array> {
    return isOutside(path) ? this.read(path, start, end) : readAnew(this.#inside, path, start, end)
  }

  async stat(path: string): ReturnType<ObjectStore['stat']> {
    if (!isOutside(path)) return this.#inside.stat(path)
    const info = await this.#outside.stat(path.slice(1))
    return info && { ...info, path }
  }

  localPath(path: string): string | undefined {
    return isOutside(path) ? path : this.#inside.localPath(path)
  }

  list(prefix: string, startAfter?: string): ReturnType<ObjectStore['list']> {
    return this.#inside.list(prefix, startAfter)
  }

  write(path: string, bytes: Uint8Array): Promise<void> {
    return this.#inside.write(path, bytes)
  }

  create(path: string): ReturnType<ObjectStore['create']> {
    return this.#inside.create(path)
  }

  putIfAbsent(path: string, bytes: Uint8Array): ReturnType<ObjectStore['putIfAbsent']> {
    return this.#inside.putIfAbsent(path, bytes)
  }

  putAfter(path: string, bytes: Uint8Array, after: Promise<unknown>): ReturnType<ObjectStore['putIfAbsent']> {
    return putAfter(this.#inside, path, bytes, after)
  }

  delete(path: string): Promise<void> {
    return this.#inside.delete(path)
  }

  deleteMany(paths: readonly string[]): ReturnType<ObjectStore['deleteMany']> {
    return this.#inside.deleteMany(paths)
  }

  async #check(path: string): Promise<void> {
    if (this.#known.has(path)) return
    // Who opens a pipe would wait for its writer.
    const info = await this.#outside.stat(path.slice(1))
    if (info === undefined) throw new StorageError('not_found', `${path}: there is no such file`)
    const first = await this.#outside.read(path.slice(1), 0, 4)
    const isVector = path.endsWith(VECTOR_SUFFIX) && first[0] === VECTOR_VERSION
    if (!isVector && !PARQUET_MAGICS.includes(new TextDecoder().decode(first)))
      throw new StorageError(
        'invalid_path',
        `${path}: the log of ${this.location} names this file, which is no data file of a table; it is not read`,
      )
    this.#known.set(path, true)
  }
}
