import { closeSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, messageOf } from '../../core/errors.ts'
import type { TextSpool } from '../edits/plan.ts'
import { FsError } from '../filesystem.ts'
import { bytesText, joined, type Text } from '../text/text.ts'
import { type Disk, systemDisk, writeAll } from './disk.ts'

const BUFFER_BYTES = 1 << 20

/**
 * A text as large as a table. A small one stays in memory, a larger one is kept in an unlinked temporary file: it goes with
 * the process, or when it is collected.
 */
export class FileSpool implements TextSpool {
  readonly #disk: Disk
  readonly #path: string
  #fd: number | undefined
  #pending: Uint8Array[] = []
  #pendingBytes = 0
  #size = 0

  private constructor(disk: Disk, path: string) {
    this.#disk = disk
    this.#path = path
  }

  static create(directory: string, disk: Disk = systemDisk): FileSpool {
    return new FileSpool(disk, join(directory, `${crypto.randomUUID()}.spool`))
  }

  append(bytes: Uint8Array): void {
    this.#pending.push(bytes)
    this.#pendingBytes += bytes.length
    if (this.#pendingBytes >= BUFFER_BYTES) this.#flush()
  }

  finish(): Text {
    if (this.#fd === undefined) return bytesText(joined(this.#pending))
    this.#flush()
    return new FileText(this.#fd, this.#size)
  }

  #flush(): void {
    try {
      this.#fd ??= openUnlinked(this.#disk, this.#path)
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

function openUnlinked(disk: Disk, path: string): number {
  const fd = disk.open(path, 'wx+')
  disk.unlink(path)
  return fd
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
