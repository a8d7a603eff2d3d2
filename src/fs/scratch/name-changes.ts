import { lstatSync, renameSync, rmdirSync, unlinkSync } from 'node:fs'
import { type Change, type CreateHow, FsError, type NewAttributes } from '../filesystem.ts'
import { checkName, exists, noEntry } from '../names.ts'
import type { CreatedNode } from '../tree/node.ts'
import { attempt, guarded, isDirectory, notDirectory, notEmpty, stale, systemError } from './errors.ts'
import type { FileBytes } from './file-bytes.ts'
import type { FolderChanges } from './folder-changes.ts'
import type { Nodes, RenameIntent } from './nodes.ts'
import type { OpenFile, OpenFiles } from './open-files.ts'
import { type FolderEntry, INCOMING_NAME, mustBeFile, type Real, type RealTree } from './real-tree.ts'
import type { Stats } from './stat.ts'
import { createFolder, createReal, touch } from './system.ts'

/** Freeing the blocks of a larger file may take long enough to be worth another thread. */
const LARGE_BYTES = 64n << 20n

export interface NameChangesParts {
  readonly tree: RealTree
  readonly nodes: Nodes
  readonly files: OpenFiles
  readonly stats: Stats
  readonly folders: FolderChanges
  readonly bytes: FileBytes
}

/** Changes of the names of the users' files. */
export class NameChanges {
  readonly #tree: RealTree
  readonly #nodes: Nodes
  readonly #files: OpenFiles
  readonly #stats: Stats
  readonly #folders: FolderChanges
  readonly #bytes: FileBytes

  constructor({ tree, nodes, files, stats, folders, bytes }: NameChangesParts) {
    this.#tree = tree
    this.#nodes = nodes
    this.#files = files
    this.#stats = stats
    this.#folders = folders
    this.#bytes = bytes
  }

  create(dirId: bigint, name: string, how: CreateHow): Promise<CreatedNode> {
    return guarded('A file cannot be created', async () => {
      checkName(name)
      const folder = this.#tree.folder(dirId)
      if (this.#tree.isReserved(dirId, name)) throw exists(name)
      const found = this.#tree.find(folder, name)
      const replaced = found?.real === undefined && how.kind === 'unchecked' && how.attributes.size !== undefined
      if (found !== undefined && !replaced) return this.#createExisting(folder, name, found, how)
      if (found !== undefined) this.#nodes.forget(found.row.id)
      const real = this.#createFile(folder, name, how)
      return this.made(folder, real)
    })
  }

  async #createExisting(folder: Real, name: string, { row, real }: FolderEntry, how: CreateHow): Promise<CreatedNode> {
    if (how.kind === 'guarded') throw exists(name)
    if (how.kind === 'exclusive' && row.verifier !== how.verifier) throw exists(name)
    if (real?.stat.isDirectory() === true) throw isDirectory(name)
    if (how.kind === 'exclusive') await this.#folders.sync(folder.id)
    else if (how.attributes.size !== undefined) await this.#bytes.setattr(row.id, { size: how.attributes.size })
    const directory = this.#stats.byId(folder.id)
    return {
      node: { id: row.id },
      attributes: this.#stats.byId(row.id),
      directory: { before: directory, after: directory },
    }
  }

  #createFile(folder: Real, name: string, how: CreateHow): Real {
    // The verifier is known before the file is there: a create that is repeated after a crash finds it either way.
    const verifier = how.kind === 'exclusive' ? how.verifier : undefined
    const row = this.#tree.newRow(folder.id, name, undefined, verifier)
    if (verifier !== undefined) this.#nodes.put([row])
    const path = this.#tree.pathIn(folder, name)
    try {
      const { fd, stat } = createReal(path, how)
      this.#nodes.put([{ ...row, inode: stat.ino }])
      this.#files.adopt(row.id, fd, stat.ino)
      return { id: row.id, path, stat }
    } catch (error) {
      if (verifier !== undefined) this.#nodes.forget(row.id)
      throw systemError(`${name} cannot be created`, error)
    }
  }

  mkdir(dirId: bigint, name: string, attributes: NewAttributes): Promise<CreatedNode> {
    return guarded('A folder cannot be made', async () => {
      checkName(name)
      const folder = this.#tree.folder(dirId)
      if (this.#tree.isReserved(dirId, name) || this.#tree.find(folder, name) !== undefined) throw exists(name)
      const path = this.#tree.pathIn(folder, name)
      attempt(`${name} cannot be made`, () => createFolder(path, attributes))
      return this.made(folder, this.#tree.enterNew(folder, name))
    })
  }

  /** Makes durable what was made in a folder just now. */
  async made(folder: Real, real: Real): Promise<CreatedNode> {
    const directory = this.#folders.of(folder)
    await this.#folders.sync(folder.id)
    return { node: { id: real.id }, attributes: this.#stats.of(real.id, real.stat), directory }
  }

  remove(dirId: bigint, name: string): Promise<Change> {
    return guarded('A file cannot be removed', async () => {
      checkName(name)
      const folder = this.#tree.folder(dirId)
      if (this.#tree.fixedIn(dirId, name) !== undefined) throw isDirectory(name)
      return this.#removeEntry(folder, this.#tree.entry(folder, name))
    })
  }

  rmdir(dirId: bigint, name: string): Promise<Change> {
    return guarded('A folder cannot be removed', async () => {
      checkName(name)
      const folder = this.#tree.folder(dirId)
      if (this.#tree.isReserved(dirId, name)) throw notMovable(name)
      const { row, real } = this.#tree.entry(folder, name)
      if (real === undefined || !real.stat.isDirectory()) throw notDirectory(name)
      if (this.#nodes.hasReferences(row.id)) throw notEmpty(name)
      attempt(`${name} cannot be removed`, () => rmdirSync(real.path))
      this.#nodes.forget(row.id)
      const change = this.#folders.of(folder)
      await this.#folders.sync(dirId)
      return change
    })
  }

  /**
   * The caller goes on with the file's id: the entry and the real file go away, and the id is not given out again.
   */
  take(id: bigint): Promise<void> {
    return guarded('A file cannot be taken over', async () => {
      const row = this.#nodes.get(id)
      if (row === undefined) throw stale(id)
      const folder = this.#tree.folder(row.parent)
      const real = row.kind === 'reference' ? undefined : this.#tree.real(id)
      await this.#removeEntry(folder, { row, real })
    })
  }

  async #removeEntry(folder: Real, { row, real }: FolderEntry): Promise<Change> {
    if (real !== undefined) this.unlink(row.name, real)
    this.#nodes.forget(row.id)
    if (real === undefined) touch(folder)
    const change = this.#folders.of(folder)
    await (real === undefined ? this.#nodes.sync() : this.#folders.sync(folder.id))
    return change
  }

  unlink(name: string, real: Real): void {
    mustBeFile(name, real)
    this.#outlived(real, () => attempt(`${name} cannot be removed`, () => unlinkSync(real.path)))
  }

  /** Keeps a large file open while its name goes away, so that its blocks are freed by the close, in another thread. */
  #outlived(real: Real | undefined, run: () => void): void {
    const large = real?.stat.isFile() === true && real.stat.size >= LARGE_BYTES
    const held = large ? this.#tryOpen(real) : undefined
    try {
      run()
      if (real !== undefined) this.#files.drop(real.id)
    } finally {
      held?.release()
    }
  }

  #tryOpen(real: Real): OpenFile | undefined {
    try {
      return this.#files.use(real.id, real.path, real.stat.ino, false)
    } catch {
      // One may remove what one may not read.
      return undefined
    }
  }

  rename(fromDir: bigint, fromName: string, toDir: bigint, toName: string): Promise<{ from: Change; to: Change }> {
    return guarded('A file cannot be renamed', async () => {
      checkName(fromName)
      checkName(toName)
      const from = this.#tree.folder(fromDir)
      const to = this.#tree.folder(toDir)
      if (this.#tree.isReserved(fromDir, fromName)) throw notMovable(fromName)
      if (this.#tree.isReserved(toDir, toName)) throw exists(toName)
      const source = this.#tree.entry(from, fromName)
      const target = this.#tree.find(to, toName)
      if (isSame(source, target)) return { from: this.#folders.none(from), to: this.#folders.none(to) }
      this.#checkRename(source, target, to, toName)
      this.#rename(source, target, to, toName)
      if (source.real === undefined) touch(from, to)
      const changes = { from: this.#folders.of(from), to: this.#folders.of(to) }
      await Promise.all([this.#folders.sync(fromDir), fromDir === toDir ? undefined : this.#folders.sync(toDir)])
      if (source.real === undefined) await this.#nodes.sync()
      return changes
    })
  }

  #checkRename(source: FolderEntry, target: FolderEntry | undefined, to: Real, toName: string): void {
    const moved = source.real?.stat.isDirectory() === true
    if (moved && this.#tree.isWithin(to.id, source.row.id)) {
      throw new FsError('EINVAL', `${source.row.name} cannot be moved into itself`)
    }
    if (target === undefined) {
      const path = this.#tree.pathIn(to, toName)
      // A link or a device that is not shown: it is somebody's, and stays.
      if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) throw exists(toName)
      return
    }
    const replaced = target.real?.stat.isDirectory() === true
    if (moved && !replaced) throw notDirectory(toName)
    if (!moved && replaced) throw isDirectory(toName)
    if (replaced && this.#nodes.hasReferences(target.row.id)) throw notEmpty(toName)
  }

  #rename(source: FolderEntry, target: FolderEntry | undefined, to: Real, toName: string): void {
    const { id } = source.row
    this.#nodes.intend({ id, parent: to.id, name: toName })
    try {
      if (source.real !== undefined) {
        const { path } = source.real
        this.#outlived(target?.real, () =>
          attempt(`${source.row.name} cannot be renamed`, () => renameSync(path, this.#tree.pathIn(to, toName))),
        )
      } else if (target?.real !== undefined) {
        this.unlink(toName, target.real)
      }
    } catch (error) {
      this.#nodes.dropIntent(id)
      throw error
    }
    this.#nodes.move(id, to.id, toName)
  }

  /** After a crash in the middle of a rename: the file that is under the new name keeps its id. */
  finishRename({ id, parent, name }: RenameIntent): void {
    const row = this.#nodes.get(id)
    try {
      const folder = this.#tree.folder(parent)
      const stat = this.#tree.stat(this.#tree.pathIn(folder, name))
      if (row?.kind === 'reference') {
        if (stat?.isFile() === true) unlinkSync(this.#tree.pathIn(folder, name))
        this.#nodes.move(id, parent, name)
      } else if (row !== undefined && stat !== undefined && row.inode === stat.ino) {
        this.#nodes.move(id, parent, name)
      }
    } catch {
      // The folder is gone as well: then there is nothing that could keep an id.
    }
    this.#nodes.dropIntent(id)
  }
}

/** The same entry, or two names of one real file: rename(2) does nothing then. */
function isSame(source: FolderEntry, target: FolderEntry | undefined): boolean {
  if (target === undefined) return false
  if (target.row.id === source.row.id) return true
  return source.real !== undefined && target.real !== undefined && source.real.stat.ino === target.real.stat.ino
}

function notMovable(name: string): FsError {
  return name === INCOMING_NAME
    ? noEntry(name)
    : new FsError('EACCES', `${name} belongs to the mount and stays where it is`)
}
