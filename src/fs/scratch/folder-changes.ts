import { closeSync, constants, openSync } from 'node:fs'
import { errnoOf } from '../../core/errors.ts'
import { type Change, FsError } from '../filesystem.ts'
import { systemError } from './errors.ts'
import type { Real, RealTree } from './real-tree.ts'
import type { Stats } from './stat.ts'
import type { Syncs } from './syncs.ts'
import { stamp, syncFile } from './system.ts'

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants

/** The effects on folders of changes of their entries: their times move, and the names become durable. */
export class FolderChanges {
  readonly #tree: RealTree
  readonly #stats: Stats
  readonly #syncs: Syncs<bigint>

  constructor(tree: RealTree, stats: Stats, syncs: Syncs<bigint>) {
    this.#tree = tree
    this.#stats = stats
    this.#syncs = syncs
  }

  /** Moves the times of a folder after a change of its entries; `folder` is from before it. */
  of(folder: Real): Change {
    const after = stamp(folder.stat, folder.path)
    return { before: this.#stats.of(folder.id, folder.stat), after: this.#stats.of(folder.id, after) }
  }

  none({ id, stat }: Real): Change {
    const attributes = this.#stats.of(id, stat)
    return { before: attributes, after: attributes }
  }

  /** The names in a folder become durable. */
  sync(id: bigint): Promise<void> {
    return this.#syncs.run(id, async () => {
      const path = this.#folderPath(id)
      if (path === undefined) return
      let fd: number | undefined
      try {
        // Opening and closing take less time than handing them to another thread.
        fd = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        await syncFile(fd)
      } catch (error) {
        // Moved or removed meanwhile: whoever did that makes it durable. EINVAL: a file system that syncs no folders.
        if (!['ENOENT', 'ENOTDIR', 'EINVAL'].includes(errnoOf(error) ?? ''))
          throw systemError(`${path} cannot be made durable`, error)
      } finally {
        if (fd !== undefined) closeSync(fd)
      }
    })
  }

  #folderPath(id: bigint): string | undefined {
    try {
      return this.#tree.folder(id).path
    } catch (error) {
      if (error instanceof FsError && error.code === 'ESTALE') return undefined
      throw error
    }
  }
}
