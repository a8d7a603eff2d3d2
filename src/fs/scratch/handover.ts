import { existsSync, lstatSync, mkdirSync, renameSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, momentMs } from '../../core/clock.ts'
import type { TimeNs } from '../filesystem.ts'
import { checkName, exists } from '../names.ts'
import type { Text } from '../text/text.ts'
import { guarded } from './errors.ts'
import type { FolderChanges } from './folder-changes.ts'
import type { NameChanges } from './name-changes.ts'
import type { Nodes } from './nodes.ts'
import { INCOMING_NAME, type Real, type RealTree } from './real-tree.ts'
import { copyText, touch } from './system.ts'

const PRIVATE = 0o700

export interface HandoverParts {
  readonly tree: RealTree
  readonly nodes: Nodes
  readonly folders: FolderChanges
  readonly names: NameChanges
  readonly clock: Clock
}

/** The files and references that the views put among the users' files. */
export class Handover {
  readonly #tree: RealTree
  readonly #nodes: Nodes
  readonly #folders: FolderChanges
  readonly #names: NameChanges
  readonly #clock: Clock

  constructor({ tree, nodes, folders, names, clock }: HandoverParts) {
    this.#tree = tree
    this.#nodes = nodes
    this.#folders = folders
    this.#names = names
    this.#clock = clock
  }

  /** Removes what was being copied in when an earlier process was killed. */
  clean(): void {
    rmSync(join(this.#tree.directory, INCOMING_NAME), { recursive: true, force: true })
  }

  /**
   * A new file with the content of a text, complete from the moment it has its name. If the name is taken, `-2`, `-3`,
   * ... is appended. Resolves with the name; where it rejects, there is none, as it will be tried again.
   */
  adopt(dirId: bigint, name: string, text: Text): Promise<string> {
    return guarded('A file cannot be put into the mount', async () => {
      checkName(name)
      this.#tree.folder(dirId)
      const incoming = join(this.#tree.directory, INCOMING_NAME)
      const path = join(incoming, crypto.randomUUID())
      mkdirSync(incoming, { recursive: true, mode: PRIVATE })
      try {
        await copyText(text, path)
        const folder = this.#tree.folder(dirId)
        const free = this.#freeName(folder, name)
        const target = this.#tree.pathIn(folder, free)
        try {
          renameSync(path, target)
          await this.#names.made(folder, this.#tree.enterNew(folder, free))
        } catch (error) {
          if (!existsSync(path)) remove(target)
          throw error
        }
        return free
      } finally {
        remove(path)
        removeIfEmpty(incoming)
      }
    })
  }

  #freeName(folder: Real, name: string): string {
    for (let number = 1; ; number++) {
      const candidate = number === 1 ? name : `${name}-${number}`
      checkName(candidate)
      if (this.#tree.isReserved(folder.id, candidate) || this.#tree.find(folder, candidate) !== undefined) continue
      const path = this.#tree.pathIn(folder, candidate)
      if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return candidate
    }
  }

  /**
   * A name for an old version of a view, whose id and content are the caller's. `size` in bytes, `mtime` in
   * nanoseconds since the epoch. It replaces a file of that name.
   */
  placeReference(
    dirId: bigint,
    name: string,
    id: bigint,
    { size, mtime }: { size: number; mtime: TimeNs },
  ): Promise<void> {
    return guarded('A name for an old version cannot be made', async () => {
      checkName(name)
      const folder = this.#tree.folder(dirId)
      if (this.#tree.isReserved(dirId, name)) throw exists(name)
      const found = this.#tree.find(folder, name)
      if (found?.real !== undefined) this.#names.unlink(name, found.real)
      const row = { id, parent: dirId, name, kind: 'reference', inode: undefined, verifier: undefined } as const
      this.#nodes.put([{ ...row, createdMs: momentMs(this.#clock), size: BigInt(size), mtime }])
      touch(folder)
      this.#folders.of(folder)
      await Promise.all([this.#nodes.sync(), this.#folders.sync(dirId)])
    })
  }
}

/** A file that cannot be removed harms nobody. */
function remove(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // Of what is left below INCOMING_NAME the next process cleans up.
  }
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory)
  } catch {
    // Another file is just being copied in.
  }
}
