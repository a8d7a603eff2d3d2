import { closeSync, fstatSync, openSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { TextFormatName } from '../../columns/text/formats/index.ts'
import { TEXT_FORMAT_VERSION } from '../../columns/text/rendered.ts'
import { errnoOf, messageOf } from '../../core/errors.ts'
import { readWhole } from '../../core/whole-io.ts'
import { type EndJson, endFromJson, endToJson } from '../end-records.ts'
import type { EndOfFile } from '../ends-of-file.ts'
import { FsError } from '../filesystem.ts'
import { type Disk, systemDisk, writeAll } from './disk.ts'

const JOURNAL = '.journal'
const REFUSED = '.refused'
const MAGIC = 'posixlake edit 1\n'
const RECORD_HEADER_BYTES = 17
const HEADER_BYTES_MAX = 64 * 1024
const WRITE = 0x57
const STABLE_WRITE = 0x53
const TRUNCATE = 0x54
const HELD = 0x48
const PLACE = 0x50

/** The kind of journal that a file's name tells: of a save that goes on, or of one that is only to be set aside. */
export function journalKind(name: string): 'save' | 'refused' | undefined {
  if (name.endsWith(JOURNAL)) return 'save'
  return name.endsWith(REFUSED) ? 'refused' : undefined
}

function refusedPath(path: string): string {
  return path.endsWith(JOURNAL) ? path.slice(0, -JOURNAL.length) + REFUSED : path
}

/** The first line of a journal: the text that its save changes. */
export interface JournalHeader {
  /** Also the commit's `txnId`: found in the table's history after a crash, it says that the save is in. */
  readonly editId: string
  /** The id of its lineage. */
  readonly lineId: string
  readonly format: TextFormatName
  /** The table version whose text the save changes. */
  readonly version: string
  /** The size in bytes of that text, as a check that it is rendered as it was. */
  readonly baseSize: number
  /** The TEXT_FORMAT_VERSION of that text, for the same reason; 1 if not given. */
  readonly textFormat?: number
}

/**
 * One change of the image: `staged` is the position in the journal file of the written bytes. Behind a WRITE that was not
 * `stable` its client has a COMMIT to send.
 */
export type JournalRecord =
  | {
      readonly kind: 'write'
      readonly stable: boolean
      readonly offset: number
      readonly length: number
      readonly staged: number
    }
  | { readonly kind: 'truncate'; readonly size: number }
  /** All that was written was answered, and may be the whole save. */
  | { readonly kind: 'held' }
  | PlaceRecord

/** The writer of what follows (`clientKey`): bytes that this client takes to be behind `end` stand in the image from `at` on. */
export interface PlaceRecord {
  readonly kind: 'place'
  readonly client: string
  readonly at: number
  readonly end: EndOfFile
}

/**
 * The staged bytes of one save in a file of its own: a header, then every WRITE and truncation in the order they came,
 * each with a checksum. It outlives kill -9 as soon as a call returns, and a power cut once `sync` has resolved.
 */
export class SaveJournal {
  readonly header: JournalHeader
  readonly #disk: Disk
  #path: string
  readonly #fd: number
  #end: number
  #synced: number
  #closed = false
  /** The client whose place was recorded last. */
  #client: string | undefined

  private constructor(disk: Disk, path: string, fd: number, header: JournalHeader, end: number) {
    this.#disk = disk
    this.#path = path
    this.#fd = fd
    this.header = header
    this.#end = end
    this.#synced = 0
  }

  /** Starts a journal `<editId>.journal` in `directory`, which exists. ENOSPC and its like are FsErrors. */
  static create(directory: string, of: Omit<JournalHeader, 'textFormat'>, disk: Disk = systemDisk): SaveJournal {
    const header = { ...of, textFormat: TEXT_FORMAT_VERSION }
    const path = join(directory, `${header.editId}${JOURNAL}`)
    const head = new TextEncoder().encode(`${MAGIC}${JSON.stringify(header)}\n`)
    let fd: number | undefined
    try {
      fd = disk.open(path, 'wx+')
      writeAll(disk, fd, head, 0)
      return new SaveJournal(disk, path, fd, header, head.length)
    } catch (error) {
      if (fd !== undefined) closeSync(fd)
      removeQuietly(disk, path)
      throw stagingError(path, error)
    }
  }

  /**
   * Takes up the journal of an earlier process. Records are read up to the first that is cut off or fails its checksum
   * (the end of what reached the disk); what follows was never acknowledged as stable and is cut off.
   */
  static open(path: string, disk: Disk = systemDisk): { journal: SaveJournal; records: JournalRecord[] } {
    const fd = openSync(path, 'r+')
    try {
      const size = fstatSync(fd).size
      const head = readAt(fd, 0, Math.min(size, HEADER_BYTES_MAX))
      const text = new TextDecoder().decode(head)
      const lineEnd = text.indexOf('\n', MAGIC.length)
      if (!text.startsWith(MAGIC) || lineEnd < 0) {
        throw new FsError('EIO', `${path}: this is not the journal of a save, or its first line is cut off`)
      }
      const header = JSON.parse(text.slice(MAGIC.length, lineEnd)) as JournalHeader
      const start = new TextEncoder().encode(text.slice(0, lineEnd + 1)).length
      const { records, end } = readRecords(fd, start, size)
      if (end < size) disk.truncate(fd, end)
      return { journal: new SaveJournal(disk, path, fd, header, end), records }
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  /** Records written bytes; the result is their position for `read`. */
  write(offset: number, bytes: Uint8Array, stable: boolean): number {
    this.#append(stable ? STABLE_WRITE : WRITE, offset, bytes)
    return this.#end - bytes.length
  }

  /** Records whose WRITEs follow, unless they are those of the one before. */
  place(client: string, at: number, end: EndOfFile): void {
    if (client === this.#client) return
    this.#append(PLACE, at, new TextEncoder().encode(JSON.stringify({ client, end: endToJson(end) })))
    this.#client = client
  }

  /** All places are others from now on. */
  truncate(size: number): void {
    this.#client = undefined
    this.#append(TRUNCATE, size, new Uint8Array(0))
  }

  /** Records that what is there was answered, and may be the whole save. */
  held(): void {
    this.#append(HELD, 0, new Uint8Array(0))
  }

  /** The staged bytes [position, position + length). */
  read(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    this.readInto(bytes, position)
    return bytes
  }

  /** Reads staged bytes from a position on. */
  readInto(bytes: Uint8Array, position: number): void {
    const count = readWhole(this.#fd, bytes, position)
    if (count !== bytes.length)
      throw new FsError('EIO', `${this.path}: staged bytes are missing behind ${position + count}`)
  }

  /** Everything recorded so far is on disk, the file's name too, when this resolves. */
  async sync(): Promise<void> {
    if (this.#synced === this.#end) return
    const end = this.#end
    try {
      await this.#disk.sync(this.#fd)
      if (this.#synced === 0) this.#disk.syncFolder(dirname(this.path))
    } catch (error) {
      throw stagingError(this.path, error)
    }
    this.#synced = Math.max(this.#synced, end)
  }

  get path(): string {
    return this.#path
  }

  /**
   * Ends the journal and removes it: its save is in the table, or was refused. FsError if not even its content can be
   * removed; then a later process would take it up, and it must be called again.
   */
  discard(): void {
    try {
      this.#disk.unlink(this.path)
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') this.#empty(error)
    }
    this.close()
  }

  /** A file of no bytes is no save. */
  #empty(why: unknown): void {
    try {
      this.#disk.truncate(this.#fd, 0)
    } catch {
      throw stagingError(this.path, why)
    }
  }

  /** From now on a later process sets it aside, and does not commit it: its program was told that it failed. */
  refuse(): void {
    const path = refusedPath(this.path)
    if (path === this.path) return
    this.#disk.rename(this.path, path)
    this.#path = path
  }

  /** Ends the journal and leaves it for a later process. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#fd)
  }

  #append(kind: number, offset: number, bytes: Uint8Array): void {
    const record = new Uint8Array(RECORD_HEADER_BYTES)
    const view = new DataView(record.buffer)
    view.setUint8(0, kind)
    view.setFloat64(1, offset)
    view.setUint32(9, bytes.length)
    view.setUint32(13, checksum(record.subarray(0, 13), bytes))
    try {
      writeAll(this.#disk, this.#fd, record, this.#end)
      writeAll(this.#disk, this.#fd, bytes, this.#end + RECORD_HEADER_BYTES)
    } catch (error) {
      // Half a record ends the journal where it is read, too: to take it away is only tidy.
      try {
        this.#disk.truncate(this.#fd, this.#end)
      } catch {}
      throw stagingError(this.path, error)
    }
    this.#end += RECORD_HEADER_BYTES + bytes.length
  }
}

function readRecords(fd: number, start: number, size: number): { records: JournalRecord[]; end: number } {
  const records: JournalRecord[] = []
  let end = start
  while (end + RECORD_HEADER_BYTES <= size) {
    const head = readAt(fd, end, RECORD_HEADER_BYTES)
    const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
    const length = view.getUint32(9)
    const staged = end + RECORD_HEADER_BYTES
    if (staged + length > size) break
    if (view.getUint32(13) !== checksum(head.subarray(0, 13), readAt(fd, staged, length))) break
    const offset = view.getFloat64(1)
    const kind = view.getUint8(0)
    if (kind === WRITE || kind === STABLE_WRITE)
      records.push({ kind: 'write', stable: kind === STABLE_WRITE, offset, length, staged })
    else if (kind === TRUNCATE) records.push({ kind: 'truncate', size: offset })
    else if (kind === HELD) records.push({ kind: 'held' })
    else if (kind === PLACE) records.push(placeOf(offset, readAt(fd, staged, length)))
    else break
    end = staged + length
  }
  return { records, end }
}

function placeOf(at: number, bytes: Uint8Array): PlaceRecord {
  const { client, end } = JSON.parse(new TextDecoder().decode(bytes)) as { client: string; end: EndJson }
  return { kind: 'place', client, at, end: endFromJson(end) }
}

function checksum(head: Uint8Array, bytes: Uint8Array): number {
  return Bun.hash.crc32(bytes, Bun.hash.crc32(head))
}

function readAt(fd: number, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  return bytes.subarray(0, readWhole(fd, bytes, position))
}

function removeQuietly(disk: Disk, path: string): void {
  try {
    disk.unlink(path)
  } catch {
    // One without records is no save.
  }
}

/** A failed write of what a save needs, as its program hears of it. */
export function stagingError(path: string, error: unknown): FsError {
  if (error instanceof FsError) return error
  const code = errnoOf(error)
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new FsError(code, `${path}: no space left to stage the written bytes; free some and save again`, {
      cause: error,
    })
  }
  return new FsError('EIO', `${path}: the written bytes could not be staged: ${messageOf(error)}`, { cause: error })
}
