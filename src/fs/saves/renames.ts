import { closeSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { bytesOf } from '../../core/base64.ts'
import { errnoOf } from '../../core/errors.ts'
import type { Table } from '../../table/table.ts'
import type { Lineages } from '../lineages.ts'
import { type Disk, writeAll } from './disk.ts'
import { stagingError } from './journal.ts'

const ENDING = '.rename'

/** A file that takes a view's name, written down before its rows are committed. */
export interface RenameRecord {
  /** The `txnId` of its commit. */
  readonly editId: string
  /** The table's version before it. */
  readonly version: string
  /** False: the file shows what the table has already, and there is nothing to commit. */
  readonly changes: boolean
  /** The name that it is renamed from: `<directory id>/<name>`. */
  readonly origin: string
  readonly fileId: string
  /** The handle of the name then: the file's own id (`file`), an earlier lineage of the view (`line`), or a new one. */
  readonly becomes: 'file' | 'line' | 'new'
  /** Its client (`clientKey`). */
  readonly client?: string
  /** Rows at its end that are new, which that client may have behind an end of some lineages, too (see Brought). */
  readonly brought?: { readonly rows: string; readonly behind: readonly BroughtBehind[] } | undefined
}

/** The end of a lineage (its id) that a client's rows may stand behind, in bytes. */
export interface BroughtBehind {
  readonly line: string
  readonly end: number
}

/** A file that is to take the view's name. */
export type Renaming = Pick<RenameRecord, 'origin' | 'fileId' | 'becomes' | 'client'>

/** Notes the rows that a file has brought which is in the table. */
export function noteBrought({ brought, client }: RenameRecord, lineages: Lineages, landed: bigint): void {
  if (brought === undefined || client === undefined) return
  for (const { line, end } of brought.behind) {
    const lineage = lineages.get(BigInt(line))
    if (lineage !== undefined) lineages.noteBrought(lineage, client, end, bytesOf(brought.rows), landed)
  }
}

/**
 * Which files are being renamed onto a view, in the order in which they were, each in a file of its own: whatever is killed
 * or fails between the commit and the reply, the RENAME is brought to its end, and known when it comes once more.
 */
export class Renames {
  readonly #directory: string
  readonly #disk: Disk
  readonly #open = new Map<string, RenameRecord>()

  /** Takes up what an earlier process left in `directory`, which exists. */
  constructor(directory: string, disk: Disk) {
    this.#directory = directory
    this.#disk = disk
    for (const name of readdirSync(directory)) {
      if (!name.endsWith(ENDING)) continue
      const record = readRecord(join(directory, name))
      // What is cut off was never durable, and so its commit was not begun.
      if (record === undefined) disk.unlink(join(directory, name))
      else this.#open.set(record.editId, record)
    }
  }

  /** Those that are not at their end. */
  get open(): readonly RenameRecord[] {
    return [...this.#open.values()]
  }

  /** The version that has a file's rows; undefined if they are not in the table. Rejects if that cannot be known now. */
  async versionOf(table: Table, { editId, version, changes }: RenameRecord): Promise<bigint | undefined> {
    return changes ? table.findTransaction(editId, BigInt(version)) : BigInt(version)
  }

  /** Durable when it resolves; FsError if that is not possible, and then nothing is kept. */
  async begin(record: RenameRecord): Promise<void> {
    const path = this.#pathOf(record)
    try {
      const fd = this.#disk.open(path, 'wx+')
      try {
        writeAll(this.#disk, fd, new TextEncoder().encode(`${JSON.stringify(record)}\n`), 0)
        await this.#disk.sync(fd)
      } finally {
        closeSync(fd)
      }
      this.#disk.syncFolder(this.#directory)
    } catch (error) {
      this.#remove(path)
      throw stagingError(path, error)
    }
    this.#open.set(record.editId, record)
  }

  /** It is at its end, or was refused. A record that stays behind names a commit that is in, or one that never will be. */
  end(record: RenameRecord): void {
    this.#open.delete(record.editId)
    this.#remove(this.#pathOf(record))
  }

  #remove(path: string): void {
    try {
      this.#disk.unlink(path)
    } catch {
      // The next process finds it, and that there is nothing left to do.
    }
  }

  #pathOf({ editId }: RenameRecord): string {
    return join(this.#directory, `${editId}${ENDING}`)
  }
}

function readRecord(path: string): RenameRecord | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as RenameRecord
  } catch (error) {
    if (errnoOf(error) !== undefined) throw error
    return undefined
  }
}
