import { chmodSync } from 'node:fs'
import {
  type Change,
  FsError,
  type NewAttributes,
  type ReadResult,
  type Stability,
  type TimeNs,
  type WriteResult,
} from '../filesystem.ts'
import { guarded } from './errors.ts'
import type { FolderChanges } from './folder-changes.ts'
import type { OpenFile, OpenFiles } from './open-files.ts'
import { mustBeFile, type RealTree } from './real-tree.ts'
import type { Stats } from './stat.ts'
import type { Syncs } from './syncs.ts'
import {
  fileOffset,
  look,
  modeOf,
  readFully,
  setGivenTimes,
  stamp,
  syncFile,
  truncateFile,
  writeFully,
} from './system.ts'
import type { Turns } from './turns.ts'

export interface FileBytesParts {
  readonly tree: RealTree
  readonly files: OpenFiles
  readonly stats: Stats
  readonly folders: FolderChanges
  readonly syncs: Syncs<bigint>
  readonly turns: Turns
}

/** The bytes of the users' files, and their attributes. */
export class FileBytes {
  readonly #tree: RealTree
  readonly #files: OpenFiles
  readonly #stats: Stats
  readonly #folders: FolderChanges
  readonly #syncs: Syncs<bigint>
  readonly #turns: Turns

  constructor({ tree, files, stats, folders, syncs, turns }: FileBytesParts) {
    this.#tree = tree
    this.#files = files
    this.#stats = stats
    this.#folders = folders
    this.#syncs = syncs
    this.#turns = turns
  }

  /** chown is accepted and changes nothing; chmod leaves the owner's right to read and write. */
  setattr(id: bigint, changes: NewAttributes, guardCtime?: TimeNs): Promise<Change> {
    return guarded('The attributes of a file cannot be changed', async () => {
      const { file, change } = await this.#turns.exclusive(id, () => this.#setattr(id, changes, guardCtime))
      try {
        if (file !== undefined) await this.#syncs.run(id, () => syncFile(file.fd))
        else if (change.after?.type === 'directory' && changesTree(changes)) await this.#folders.sync(id)
      } finally {
        file?.release()
      }
      return change
    })
  }

  async #setattr(
    id: bigint,
    changes: NewAttributes,
    guardCtime: TimeNs | undefined,
  ): Promise<{ file: OpenFile | undefined; change: Change }> {
    const before = this.#stats.byId(id)
    if (guardCtime !== undefined && before.ctime !== guardCtime) {
      throw new FsError('ENOTSYNC', 'the file changed since the client last looked at it')
    }
    if (!changesTree(changes)) return { file: undefined, change: { before, after: before } }
    const real = this.#tree.real(id)
    if (changes.size !== undefined) mustBeFile(real.path, real)
    if (changes.mode !== undefined) chmodSync(real.path, modeOf(before.type, changes.mode))
    const file = real.stat.isFile()
      ? this.#files.use(id, real.path, real.stat.ino, changes.size !== undefined)
      : undefined
    try {
      if (file !== undefined && changes.size !== undefined) {
        await truncateFile(file.fd, fileOffset(changes.size))
        stamp(real.stat, file.fd)
      }
      // By descriptor: while the file was cut, its name may have changed.
      const target = file?.fd ?? real.path
      setGivenTimes(target, changes)
      const after = this.#stats.of(id, look(target))
      return { file, change: { before, after } }
    } catch (error) {
      file?.release()
      throw error
    }
  }

  read(id: bigint, offset: bigint, count: number): Promise<ReadResult> {
    return guarded('A file cannot be read', () =>
      this.#turns.shared(id, async () => {
        const file = this.#open(id, false)
        try {
          const { size } = look(file.fd)
          const wanted = offset >= size ? 0 : Math.min(count, Number(size - offset))
          const bytes = await readFully(file.fd, wanted, Number(offset))
          const stat = look(file.fd)
          const eof = offset + BigInt(bytes.length) >= stat.size
          return { data: [bytes], eof, attributes: this.#stats.of(id, stat) }
        } finally {
          file.release()
        }
      }),
    )
  }

  write(id: bigint, offset: bigint, bytes: Uint8Array, stability: Stability): Promise<WriteResult> {
    return guarded('A file cannot be written', async () => {
      const end = fileOffset(offset + BigInt(bytes.length))
      const { file, change } = await this.#turns.exclusive(id, () => this.#write(id, end - bytes.length, bytes))
      try {
        if (stability === 'unstable') return { count: bytes.length, committed: stability, change }
        await this.#syncs.run(id, () => syncFile(file.fd))
        return { count: bytes.length, committed: 'file_sync', change }
      } finally {
        file.release()
      }
    })
  }

  async #write(id: bigint, offset: number, bytes: Uint8Array): Promise<{ file: OpenFile; change: Change }> {
    const real = this.#tree.real(id)
    mustBeFile(real.path, real)
    const file = this.#files.use(id, real.path, real.stat.ino, true)
    try {
      await writeFully(file.fd, bytes, offset)
      const after = bytes.length === 0 ? real.stat : stamp(real.stat, file.fd)
      return { file, change: { before: this.#stats.of(id, real.stat), after: this.#stats.of(id, after) } }
    } catch (error) {
      file.release()
      throw error
    }
  }

  /** All of the file becomes durable, whatever the range (RFC 1813, 3.3.21 allows it). */
  commit(id: bigint): Promise<Change> {
    return guarded('A file cannot be made durable', async () => {
      const file = await this.#turns.shared(id, async () => this.#open(id, false))
      try {
        const attributes = this.#stats.of(id, look(file.fd))
        await this.#syncs.run(id, () => syncFile(file.fd))
        return { before: attributes, after: attributes }
      } finally {
        file.release()
      }
    })
  }

  #open(id: bigint, forWriting: boolean): OpenFile {
    const real = this.#tree.real(id)
    mustBeFile(real.path, real)
    return this.#files.use(id, real.path, real.stat.ino, forWriting)
  }
}

function changesTree({ mode, size, atime, mtime }: NewAttributes): boolean {
  return mode !== undefined || size !== undefined || atime !== undefined || mtime !== undefined
}
