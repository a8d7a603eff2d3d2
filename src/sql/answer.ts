import { closeSync, fstatSync, openSync, rmSync } from 'node:fs'
import { readWhole } from '../core/whole-io.ts'
import { SqlError } from './errors.ts'

/** The text of a result. */
export interface SqlAnswer {
  /** In bytes. */
  readonly size: number
  /** Exactly the bytes [start, end), which lie within `size`. */
  read(start: number, end: number): Promise<Uint8Array>
  /** Gives back the disk space; nothing can be read any more. */
  close(): void
}

/** A small result in memory. */
export function bytesAnswer(bytes: Uint8Array): SqlAnswer {
  return { size: bytes.length, read: async (start, end) => bytes.subarray(start, end), close: () => undefined }
}

const forgotten = new FinalizationRegistry<number>(fd => closeSync(fd))

/** A result in a file that has no name any more: its space is free when it is closed, forgotten, or the process ends. */
export class FileAnswer implements SqlAnswer {
  readonly size: number
  #fd: number | undefined

  /** Takes over the file at `path`, and its name away. Throws the error of the system call. */
  constructor(path: string) {
    const fd = openSync(path, 'r')
    rmSync(path)
    this.#fd = fd
    this.size = fstatSync(fd).size
    forgotten.register(this, fd, this)
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    const fd = this.#fd
    if (fd === undefined) throw new SqlError('ended', 'this result is gone: another one has taken its place')
    const bytes = new Uint8Array(end - start)
    const count = readWhole(fd, bytes, start)
    if (count < bytes.length)
      throw new SqlError('failed', `a result became shorter: ${start + count} of ${this.size} bytes are left`)
    return bytes
  }

  close(): void {
    if (this.#fd === undefined) return
    forgotten.unregister(this)
    closeSync(this.#fd)
    this.#fd = undefined
  }
}
