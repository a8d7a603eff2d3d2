import { closeSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, messageOf } from '../../core/errors.ts'
import { FsError } from '../filesystem.ts'
import type { Text } from '../text/text.ts'
import { type Disk, systemDisk, writeAll } from './disk.ts'
import type { TextSpool } from './plan.ts'

const BUFFER_BYTES = 1 << 20

/** A text as large as a table, kept in an unlinked temporary file: it goes with the process, or when it is collected. */
export class FileSpool implements TextSpool {
  readonly #disk: Disk
  readonly #fd: number
  readonly #path: string
  #pending: Uint8Array[] = []
  #pendingBytes = 0
  #size = 0

  private constructor(disk: Disk, path: string, fd: number) {
    this.#disk = disk
    this.#path = path
    this.#fd = fd
  }

  static create(directory: string, disk: Disk = systemDisk): FileSpool {
    const path = join(directory, `${crypto.randomUUID()}.spool`)
    try {
      const fd = disk.open(path, 'wx+')
      disk.unlink(path)
      return new FileSpool(disk, path, fd)
    } catch (error) {
      throw spoolError(path, error)
    }
  }

  append(bytes: Uint8Array): void {
    this.#pending.push(bytes)
    this.#pendingBytes += bytes.length
    if (this.#pendingBytes >= BUFFER_BYTES) this.#flush()
  }

  finish(): Text {
    this.#flush()
    return new FileText(this.#fd, this.#size)
  }

  #flush(): void {
    try {
      for (const bytes of this.#pending) {
        writeAll(this.#disk, this.#fd, bytes, this.#size)
        this.#size += bytes.length
      }
    } catch (error) {
      throw spoolError(this.#path, error)
    }
    this.#pending = []
    this.#pendingBytes = 0
  }
}

const closer = new FinalizationRegistry<number>(fd => closeSync(fd))

/** The bytes of an open file as a text. The descriptor is closed when the text is collected. */
export class FileText implements Text {
  readonly size: number
  readonly #fd: number

  constructor(fd: number, size: number) {
    this.#fd = fd
    this.size = size
    closer.register(this, fd)
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(end - start)
    let done = 0
    while (done < bytes.length) {
      const n = readSync(this.#fd, bytes, done, bytes.length - done, start + done)
      if (n === 0)
        throw new FsError(
          'EIO',
          `a file that is being read became shorter: ${start + done} of ${this.size} bytes are left`,
        )
      done += n
    }
    return bytes
  }
}

/** Opens a file as a text of its present size. */
export function fileText(path: string, size: number): FileText {
  try {
    return new FileText(openSync(path, 'r'), size)
  } catch (error) {
    throw spoolError(path, error)
  }
}

function spoolError(path: string, error: unknown): FsError {
  const code = errnoOf(error)
  return new FsError(code === 'ENOSPC' ? 'ENOSPC' : 'EIO', `${path}: ${messageOf(error)}`, { cause: error })
}
