import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, link, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { BoundedMap } from '../core/bounded-map.ts'
import { errnoOf, messageOf } from '../core/errors.ts'
import { MadeFolders } from './made-folders.ts'
import {
  checkFolder,
  checkPath,
  comparePaths,
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

/** The faults that a disk can have. */
type LocalErrorCode = keyof typeof ADVICE

const CODES: Readonly<Record<string, LocalErrorCode>> = {
  ENOENT: 'not_found',
  ENOTDIR: 'not_found',
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
    return found.sort((a, b) => comparePaths(a.path, b.path))
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
    for (const entry of entries) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (entry.isDirectory()) await this.#walk(path, startAfter, found)
      else if (TEMPORARY.test(entry.name)) await this.#sweep(path)
      else if ((entry.isFile() || entry.isSymbolicLink()) && comparePaths(path, startAfter) > 0) {
        const info = await this.stat(path)
        if (info !== undefined) found.push(info)
      }
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
    const temporary = await this.#temporary(full)
    return new LocalWriter(full, temporary.path, temporary.file, () => this.#tidy(full))
  }

  async putIfAbsent(path: string, bytes: Uint8Array): Promise<'written' | 'exists'> {
    const full = this.#full(path)
    const temporary = await this.#temporary(full)
    try {
      await writeWhole(temporary.file, bytes)
      await temporary.file.datasync()
      await temporary.file.close()
      // link(2) fails if the name is taken, and never shows a file that is not whole.
      await link(temporary.path, full)
      await syncFolder(dirname(full))
      return 'written'
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') return 'exists'
      throw storageError(full, error)
    } finally {
      await dropTemporary(temporary.file, temporary.path)
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

  async #temporary(full: string): Promise<{ path: string; file: FileHandle }> {
    const folder = dirname(full)
    const path = join(folder, `.posixlake-${randomUUID()}.tmp`)
    this.#onWrite?.(relative(this.location, path), relative(this.location, full))
    try {
      if (this.#folders.has(folder)) {
        const file = await openNew(path)
        if (file !== undefined) return { path, file }
      }
      // The folder is new, or another process took it away with the last object in it; and it may do so once more.
      for (let attempt = 1; ; attempt++) {
        try {
          return { path, file: await this.#inNewFolder(folder, path) }
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
  #inNewFolder(folder: string, path: string): Promise<FileHandle> {
    return this.#made.make(folder, async topmost => {
      const file = await open(path, 'wx', 0o644)
      try {
        // Each folder on the way is an entry of the one above it.
        for (let made = folder; topmost !== undefined; made = dirname(made)) {
          await syncFolder(dirname(made))
          if (made === topmost || made === dirname(made)) break
        }
      } catch (error) {
        await dropTemporary(file, path)
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

class LocalWriter implements ObjectWriter {
  readonly #full: string
  readonly #temporary: string
  readonly #file: FileHandle
  readonly #dropped: () => Promise<void>

  /** `dropped`: the object will not be there. */
  constructor(full: string, temporary: string, file: FileHandle, dropped: () => Promise<void>) {
    this.#full = full
    this.#temporary = temporary
    this.#file = file
    this.#dropped = dropped
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      await writeWhole(this.#file, bytes)
    } catch (error) {
      throw storageError(this.#full, error)
    }
  }

  async close(): Promise<void> {
    try {
      await this.#file.datasync()
      await this.#file.close()
      await rename(this.#temporary, this.#full)
      await syncFolder(dirname(this.#full))
    } catch (error) {
      throw storageError(this.#full, error)
    }
  }

  async abort(): Promise<void> {
    await dropTemporary(this.#file, this.#temporary)
    await this.#dropped()
  }
}

/** Takes a temporary file away. What cannot be removed is swept later: it must not hide how the write went. */
async function dropTemporary(file: FileHandle, path: string): Promise<void> {
  await file.close().catch(() => undefined)
  await rm(path, { force: true }).catch(() => undefined)
}

/** A new file, or undefined if its folder is not there. */
async function openNew(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'wx', 0o644)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
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

async function writeWhole(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let done = 0
  while (done < bytes.length) done += (await file.write(bytes, done, bytes.length - done)).bytesWritten
}

/** Makes the names in a folder durable. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** A failed system call on a local path, as the store tells of it. */
export function storageError(path: string, error: unknown): StorageError {
  if (error instanceof StorageError) return error
  const code = CODES[errnoOf(error) ?? ''] ?? 'io'
  const detail = code === 'io' ? `: ${messageOf(error)}` : ''
  return new StorageError(code, `${path}: ${ADVICE[code]}${detail}`, { cause: error })
}
