import { type BigIntStats, close, closeSync, constants, fstatSync, openSync } from 'node:fs'
import { errnoOf } from '../../core/errors.ts'
import { stale, systemError } from './errors.ts'

interface Descriptor {
  readonly fd: number
  readonly inode: bigint
  readonly writable: boolean
  users: number
  /** Closed by its last user: it was dropped while in use. */
  dropped: boolean
}

/** A descriptor in use: `release` gives it back. */
export interface OpenFile {
  readonly fd: number
  release(): void
}

const { O_RDWR, O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants

/**
 * Open descriptors by file id, so that a stream of reads or writes does not open the file each time. At most `limit`
 * idle ones are kept; the one that was used longest ago goes first.
 */
export class OpenFiles {
  readonly #entries = new Map<bigint, Descriptor>()
  readonly #limit: number

  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#entries.size
  }

  /** `inode`: of the file that is meant; any other file at the path is refused with ESTALE. */
  use(id: bigint, path: string, inode: bigint, forWriting: boolean): OpenFile {
    const known = this.#entries.get(id)
    if (known !== undefined && known.inode === inode && (known.writable || !forWriting)) return this.#take(id, known)
    const entry = open(id, path, inode, forWriting)
    this.drop(id)
    return this.#take(id, entry)
  }

  /** Takes over the descriptor of a file that was created just now. */
  adopt(id: bigint, fd: number, inode: bigint): void {
    this.drop(id)
    this.#take(id, { fd, inode, writable: true, users: 0, dropped: false }).release()
  }

  /** The file is gone, or its descriptor is not wanted any more. */
  drop(id: bigint): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    this.#entries.delete(id)
    entry.dropped = true
    if (entry.users === 0) closeQuietly(entry.fd)
  }

  /** Closes what is idle now, and the rest when it is given back. */
  close(): void {
    for (const id of [...this.#entries.keys()]) this.drop(id)
  }

  #take(id: bigint, entry: Descriptor): OpenFile {
    entry.users++
    this.#entries.delete(id)
    this.#entries.set(id, entry)
    this.#shrink()
    let released = false
    return {
      fd: entry.fd,
      release: () => {
        if (released) return
        released = true
        entry.users--
        if (entry.dropped && entry.users === 0) closeQuietly(entry.fd)
        else this.#shrink()
      },
    }
  }

  #shrink(): void {
    if (this.#entries.size <= this.#limit) return
    for (const [id, entry] of this.#entries) {
      if (entry.users > 0) continue
      this.drop(id)
      if (this.#entries.size <= this.#limit) return
    }
  }
}

function open(id: bigint, path: string, inode: bigint, forWriting: boolean): Descriptor {
  const { fd, writable } = openEither(path, forWriting)
  let found: BigIntStats | undefined
  try {
    found = fstatSync(fd, { bigint: true })
  } finally {
    if (found?.ino !== inode || !found.isFile()) closeSync(fd)
  }
  if (found.ino !== inode || !found.isFile()) throw stale(id)
  return { fd, inode, writable, users: 0, dropped: false }
}

/** Files that may only be read (another owner's, a program that runs) are opened for reading, if that is all that is asked. */
function openEither(path: string, forWriting: boolean): { fd: number; writable: boolean } {
  // O_NONBLOCK: if a pipe took the place of the file just now, opening it must not wait for its other end.
  const flags = O_NOFOLLOW | O_NONBLOCK
  try {
    return { fd: openSync(path, O_RDWR | flags), writable: true }
  } catch (error) {
    const code = errnoOf(error)
    const onlyReadable = code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || code === 'ETXTBSY'
    if (forWriting || !onlyReadable) throw systemError(`${path} cannot be opened`, error)
  }
  try {
    return { fd: openSync(path, O_RDONLY | flags), writable: false }
  } catch (error) {
    throw systemError(`${path} cannot be opened`, error)
  }
}

/** Without waiting: the last close of a large removed file frees its blocks, which takes time. */
function closeQuietly(fd: number): void {
  // What a file lost is told by fsync; a close has nothing to add that anybody could still hear.
  close(fd, () => undefined)
}
