import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, messageOf } from '../../core/errors.ts'
import { readWhole } from '../../core/whole-io.ts'
import type { TextSpool } from '../edits/plan.ts'
import { FsError } from '../filesystem.ts'
import { bytesText, joined, type Text } from '../text/text.ts'
import { type Disk, systemDisk, writeAll } from './disk.ts'

const BUFFER_BYTES = 1 << 20

/**
 * A text as large as a table. A small one stays in memory, a larger one is kept in a temporary file without a name: it
 * goes with the process, or when the spool is closed.
 */
export class FileSpool implements TextSpool {
  readonly #disk: Disk
  readonly #path: string
  #file: OpenedFile | undefined
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
    if (this.#file === undefined) return bytesText(joined(this.#pending))
    this.#flush()
    return this.#file
  }

  close(): void {
    this.#file?.close()
  }

  #flush(): void {
    try {
      this.#file ??= new OpenedFile(openUnlinked(this.#disk, this.#path), 0)
      for (const bytes of this.#pending) {
        writeAll(this.#disk, this.#file.fd, bytes, this.#size)
        this.#size += bytes.length
      }
      this.#file.size = this.#size
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

/** The bytes of an open file as a text, until it is closed. */
export class OpenedFile implements Text {
  readonly fd: number
  size: number
  #isClosed = false

  constructor(fd: number, size: number) {
    this.fd = fd
    this.size = size
  }

  read(start: number, end: number): Promise<Uint8Array> {
    return this.peek(start, end, new Uint8Array(end - start))
  }

  async peek(start: number, end: number, buffer: Uint8Array): Promise<Uint8Array> {
    // Its number may be another file's by now.
    if (this.#isClosed) throw new Error('a file that was closed is read')
    const bytes = buffer.subarray(0, end - start)
    const done = readWhole(this.fd, bytes, start)
    if (done < bytes.length)
      throw new FsError(
        'EIO',
        `a file that is being read became shorter: ${start + done} of ${this.size} bytes are left`,
      )
    return bytes
  }

  close(): void {
    if (!this.#isClosed) closeSync(this.fd)
    this.#isClosed = true
  }
}

/** Opens a file as a text of its present size. */
export function openFile(path: string, size: number): OpenedFile {
  try {
    return new OpenedFile(openSync(path, 'r'), size)
  } catch (error) {
    throw spoolError(path, error)
  }
}

function spoolError(path: string, error: unknown): FsError {
  const code = errnoOf(error)
  return new FsError(code === 'ENOSPC' ? 'ENOSPC' : 'EIO', `${path}: ${messageOf(error)}`, { cause: error })
}
