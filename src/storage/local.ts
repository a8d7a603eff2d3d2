import { closeSync, constants, fdatasync, fsync, linkSync, openSync, renameSync, unlinkSync, write } from 'node:fs'
import { type FileHandle, open, readdir, readFile, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { BoundedMap } from '../core/bounded-map.ts'
import { errnoOf, messageOf } from '../core/errors.ts'
import { behind, compareByBytes, sortByBytes } from '../core/text-order.ts'
import { writeWhole } from '../core/whole-io.ts'
import { MadeFolders } from './made-folders.ts'
import {
  checkFolder,
  checkPath,
  type ObjectInfo,
  type ObjectStore,
  type ObjectWriter,
  StorageError,
  type StorageErrorCode,
  writeObject,
} from './object-store.ts'

/** Names of files that are still being written; a listing passes over them, and a crash may leave them. */
const TEMPORARY = /^\.posixlake-[0-9a-f-]{36}\.tmp$/
const FOLDER_ATTEMPTS_MAX = 50
const LEFTOVER_MS = 24 * 3600 * 1000
const FOLDERS_KEPT = 10_000
/** So few bytes are written without a change of threads, which takes longer, as do names that are made and taken away. */
const AT_ONCE_BYTES = 64 << 10
/** Files of a listing that are looked at together: each by itself would wait for its turn three times as long as it takes. */
const STATS_AT_ONCE = 64

/** The faults that a disk can have. */
type LocalErrorCode = keyof typeof ADVICE

const CODES: Readonly<Record<string, LocalErrorCode>> = {
  ENOENT: 'not_found',
  ENOTDIR: 'not_found',
  EISDIR: 'not_found',
  EACCES: 'access_denied',
  EPERM: 'access_denied',
  ENOSPC: 'no_space',
  EDQUOT: 'no_space',
  EROFS: 'read_only',
}

const ADVICE = {
  not_found: 'there is no such file',
  access_denied: 'access is denied; check the owner and the permissions',
  no_space: 'no space is left on the disk; free some and try again',
  read_only: 'the file system is read-only',
  invalid_path: 'this is no path inside the store',
  io: 'the disk reported an error',
} as const satisfies Partial<Record<StorageErrorCode, string>>

export interface LocalStoreOptions {
  /**
   * Called before a file is made, with the name that it has while it is written and the one that it gets: whoever outlives
   * a writer that is killed can take both away.
   */
  readonly onWrite?: (temporary: string, path: string) => void
}

/** A directory as a store. It is created by the first write, as folders in it are, and goes again if nothing stays in it. */
export function localStore(directory: string, options: LocalStoreOptions = {}): ObjectStore {
  return new LocalStore(resolve(directory), options)
}

class LocalStore implements ObjectStore {
  readonly location: string
  /** Folders that are known to exist, so that a write does not look each time. */
  readonly #folders = new BoundedMap<string, true>(FOLDERS_KEPT)
  readonly #made = new MadeFolders()
  readonly #onWrite: LocalStoreOptions['onWrite']

  constructor(location: string, { onWrite }: LocalStoreOptions) {
    this.location = location
    this.#onWrite = onWrite
  }

  localPath(path: string): string {
    return this.#full(path)
  }

  async read(path: string, start = 0, end?: number): Promise<Uint8Array> {
    const full = this.#full(path)
    let file: FileHandle | undefined
    try {
      // One call of the system's threads, and not four.
      if (start === 0 && end === undefined) return await readFile(full)
      file = await open(full, 'r')
      // What is asked for may come from a damaged file: no more is made room for than there is.
      const info = await file.stat()
      if (!info.isFile()) throw new StorageError('not_found', `${full}: ${ADVICE.not_found}`)
      const { size } = info
      return await readWhole(file, start, Math.max(start, Math.min(end ?? size, size)))
    } catch (error) {
      throw storageError(full, error)
    } finally {
      await file?.close()
    }
  }

  async stat(path: string): Promise<ObjectInfo | undefined> {
    const full = this.#full(path)
    try {
      const info = await stat(full)
      return info.isFile() ? { path, sizeBytes: info.size, modifiedMs: info.mtimeMs } : undefined
    } catch (error) {
      const failure = storageError(full, error)
      if (failure.code === 'not_found') return undefined
      throw failure
    }
  }

  async list(prefix: string, startAfter = ''): Promise<ObjectInfo[]> {
    const found: ObjectInfo[] = []
    await this.#walk(checkFolder(this.location, prefix), startAfter, found)
    return sortByBytes(found, ({ path }) => path)
  }

  async #walk(folder: string, startAfter: string, found: ObjectInfo[]): Promise<void> {
    const full = folder === '' ? this.location : this.#full(folder)
    let entries: Awaited<ReturnType<typeof readFolder>>
    try {
      entries = await readFolder(full)
    } catch (error) {
      const failure = storageError(full, error)
      if (failure.code === 'not_found') return
      throw failure
    }
    const files: string[] = []
    const isWanted = namesBehind(folder, startAfter)
    for (const entry of entries) {
      const { name } = entry
      const path = (): string => (folder === '' ? name : `${folder}/${name}`)
      if (entry.isDirectory()) await this.#walk(path(), startAfter, found)
      else if (name.startsWith('.') && TEMPORARY.test(name)) await this.#sweep(path())
      else if (isWanted(name) && (entry.isFile() || entry.isSymbolicLink())) files.push(path())
    }
    for (let i = 0; i < files.length; i += STATS_AT_ONCE) {
      const infos = await Promise.all(files.slice(i, i + STATS_AT_ONCE).map(path => this.stat(path)))
      for (const info of infos) if (info !== undefined) found.push(info)
    }
  }

  /** Takes away what a crash left long ago. */
  async #sweep(path: string): Promise<void> {
    const info = await this.stat(path)
    if (info !== undefined && Date.now() - info.modifiedMs > LEFTOVER_MS) await rm(this.#full(path), { force: true })
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    await writeObject(await this.create(path), bytes)
  }

  async create(path: string): Promise<ObjectWriter> {
    const full = this.#full(path)
    return new LocalWriter(full, await this.#temporary(full), () => this.#tidy(full))
  }

  putIfAbsent(path: string, bytes: Uint8Array): Promise<'written' | 'exists'> {
    return this.putAfter(path, bytes, Promise.resolve())
  }

  async putAfter(path: string, bytes: Uint8Array, after: Promise<unknown>): Promise<'written' | 'exists'> {
    const full = this.#full(path)
    const temporary = await this.#temporary(full)
    try {
      await writeAll(temporary.fd, bytes)
      const synced = inThread(fdatasync, temporary.fd)
      await Promise.allSettled([synced, after])
      await synced
      await after
      // link(2) fails if the name is taken, and never shows a file that is not whole.
      linkSync(temporary.path, full)
      await syncFolder(dirname(full))
      return 'written'
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') return 'exists'
      throw storageError(full, error)
    } finally {
      temporary.drop()
      await this.#tidy(full)
    }
  }

  async delete(path: string): Promise<void> {
    const full = this.#full(path)
    try {
      await unlink(full)
    } catch (error) {
      const failure = storageError(full, error)
      if (failure.code !== 'not_found') throw failure
    }
    await this.#tidy(full)
  }

  /** Folders that were made for an object that is not there are of no use. */
  async #tidy(full: string): Promise<void> {
    for (const gone of await this.#made.removeEmpty(dirname(full))) this.#folders.delete(gone)
  }

  async deleteMany(paths: readonly string[]): Promise<void> {
    for (const path of paths) await this.delete(path)
  }

  async #temporary(full: string): Promise<TemporaryFile> {
    const folder = dirname(full)
    const path = join(folder, `.posixlake-${crypto.randomUUID()}.tmp`)
    this.#onWrite?.(relative(this.location, path), relative(this.location, full))
    try {
      if (this.#folders.has(folder)) {
        const file = openNew(path)
        if (file !== undefined) return file
      }
      // The folder is new, or another process took it away with the last object in it; and it may do so once more.
      for (let attempt = 1; ; attempt++) {
        try {
          return await this.#inNewFolder(folder, path)
        } catch (error) {
          if (errnoOf(error) !== 'ENOENT' || attempt === FOLDER_ATTEMPTS_MAX) throw error
        }
      }
    } catch (error) {
      this.#folders.delete(folder)
      throw storageError(full, error)
    }
  }

  /** A new file in a folder that is made, too; ENOENT where somebody else takes away what is made. */
  #inNewFolder(folder: string, path: string): Promise<TemporaryFile> {
    return this.#made.make(folder, async topmost => {
      const file = new TemporaryFile(path)
      try {
        // Each folder on the way is an entry of the one above it.
        for (let made = folder; topmost !== undefined; made = dirname(made)) {
          await syncFolder(dirname(made))
          if (made === topmost || made === dirname(made)) break
        }
      } catch (error) {
        file.drop()
        throw error
      }
      this.#folders.set(folder, true)
      return file
    })
  }

  #full(path: string): string {
    return join(this.location, checkPath(this.location, path))
  }
}

/** A new file under a name that it has while it is written. Methods throw the system's Error. */
class TemporaryFile {
  readonly path: string
  readonly fd: number
  #isOpen = true

  constructor(path: string) {
    this.path = path
    this.fd = openSync(path, 'wx', 0o644)
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    closeSync(this.fd)
  }

  /** Takes the name away, if it is there. What cannot be removed is swept later: it must not hide how the write went. */
  drop(): void {
    try {
      this.close()
    } catch {}
    try {
      unlinkSync(this.path)
    } catch {}
  }
}

class LocalWriter implements ObjectWriter {
  readonly #full: string
  readonly #temporary: TemporaryFile
  readonly #dropped: () => Promise<void>
  #hasEnded = false

  /** `dropped`: the object will not be there. */
  constructor(full: string, temporary: TemporaryFile, dropped: () => Promise<void>) {
    this.#full = full
    this.#temporary = temporary
    this.#dropped = dropped
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      await writeAll(this.#temporary.fd, bytes)
    } catch (error) {
      throw storageError(this.#full, error)
    }
  }

  async close(): Promise<void> {
    try {
      await inThread(fdatasync, this.#temporary.fd)
      this.#temporary.close()
      renameSync(this.#temporary.path, this.#full)
      await syncFolder(dirname(this.#full))
    } catch (error) {
      throw storageError(this.#full, error)
    }
  }

  async end(): Promise<{ readonly durable: Promise<void> }> {
    try {
      renameSync(this.#temporary.path, this.#full)
    } catch (error) {
      throw storageError(this.#full, error)
    }
    this.#hasEnded = true
    return { durable: this.#synced() }
  }

  /** The bytes and the name go to the disk at the same time. */
  async #synced(): Promise<void> {
    const done = await Promise.allSettled([inThread(fdatasync, this.#temporary.fd), syncFolder(dirname(this.#full))])
    try {
      this.#temporary.close()
      for (const each of done) if (each.status === 'rejected') throw each.reason
    } catch (error) {
      throw storageError(this.#full, error)
    }
  }

  async abort(): Promise<void> {
    if (this.#hasEnded) return
    this.#temporary.drop()
    await this.#dropped()
  }
}

/** A new file, or undefined if its folder is not there. */
function openNew(path: string): TemporaryFile | undefined {
  try {
    return new TemporaryFile(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Tells of the names in a folder if their paths stand behind `startAfter`. */
function namesBehind(folder: string, startAfter: string): (name: string) => boolean {
  const before = folder === '' ? '' : `${folder}/`
  if (startAfter.startsWith(before)) return behind(startAfter.slice(before.length))
  const areBehind = compareByBytes(before, startAfter) > 0
  return () => areBehind
}

function readFolder(path: string) {
  return readdir(path, { withFileTypes: true })
}

/** The bytes [start, end) of an open file; fewer only where it ends before. */
export async function readWhole(file: FileHandle, start: number, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - start)
  let done = 0
  while (done < bytes.length) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done === bytes.length ? bytes : bytes.subarray(0, done)
}

async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  if (bytes.length <= AT_ONCE_BYTES) {
    writeWhole(fd, bytes)
    return
  }
  for (let done = 0; done < bytes.length; ) done += await writeSome(fd, bytes, done)
}

function writeSome(fd: number, bytes: Uint8Array, start: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, start, bytes.length - start, null, (error, count) => (error ? reject(error) : resolve(count)))
  })
}

/** Waits for the disk, in another thread. */
function inThread(sync: typeof fsync, fd: number): Promise<void> {
  return new Promise((resolve, reject) => sync(fd, error => (error ? reject(error) : resolve())))
}

/** Makes the names in a folder durable. */
async function syncFolder(path: string): Promise<void> {
  const folder = openSync(path, constants.O_RDONLY)
  try {
    await inThread(fsync, folder)
  } finally {
    closeSync(folder)
  }
}

/** A failed system call on a local path, as the store tells of it. */
export function storageError(path: string, error: unknown): StorageError {
  if (error instanceof StorageError) return error
  const code = CODES[errnoOf(error) ?? ''] ?? 'io'
  const detail = code === 'io' ? `: ${messageOf(error)}` : ''
  return new StorageError(code, `${path}: ${ADVICE[code]}${detail}`, { cause: error })
}
