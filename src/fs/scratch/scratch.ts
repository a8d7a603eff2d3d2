import type { Database } from 'bun:sqlite'
import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { type Clock, momentMs } from '../../core/clock.ts'
import { errnoOf } from '../../core/errors.ts'
import {
  type Attributes,
  type Change,
  type Created,
  type CreateHow,
  FsError,
  type Listing,
  type NewAttributes,
  type Stability,
  type TimeNs,
} from '../filesystem.ts'
import { checkName, DATA_ID, exists, noEntry, ROOT_ID } from '../names.ts'
import type { Text } from '../text/text.ts'
import { attempt, isDirectory, notDirectory, notEmpty, stale, systemError } from './errors.ts'
import { Ids } from './ids.ts'
import { Listings } from './listing.ts'
import { Nodes, type RenameIntent, UNEXPORTED } from './nodes.ts'
import { type OpenFile, OpenFiles } from './open-files.ts'
import { Syncs } from './syncs.ts'
import {
  copyText,
  createFolder,
  createReal,
  look,
  MODE,
  modeOf,
  readFully,
  setGivenTimes,
  sizeOf,
  stamp,
  syncFile,
  touch,
  truncateFile,
  writeFully,
} from './system.ts'
import { type Entry, INCOMING_NAME, mustBeFile, type Real, Tree } from './tree.ts'
import { Turns } from './turns.ts'

const OPEN_FILES_MAX = 64
/** Freeing the blocks of a larger file may take long enough to be worth another thread. */
const LARGE_BYTES = 64n << 20n
const PRIVATE = 0o700
const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants

export interface ScratchOptions {
  /** The real folder that stands for the mount's root; its subfolder `data` for the mount's data/. */
  readonly directory: string
  /** Shared with others; the tables here begin with `scratch_`. */
  readonly database: Database
  readonly clock: Clock
  readonly owner: { readonly uid: number; readonly gid: number }
  readonly log: (sentence: string) => void
}

/**
 * The users' own files in the mount: real files and folders, addressed by file id. Methods answer as those of
 * FileSystem do, and reject with FsError only; their effects begin in the order of the calls. The real tree is what
 * counts: it may be looked at and changed from outside, and the database only remembers which id a file has.
 */
export class Scratch {
  readonly #owner: ScratchOptions['owner']
  readonly #clock: Clock
  readonly #ids: Ids
  readonly #nodes: Nodes
  readonly #tree: Tree
  readonly #listings: Listings
  readonly #files = new OpenFiles(OPEN_FILES_MAX)
  readonly #turns = new Turns()
  readonly #syncs = new Syncs<bigint>()

  constructor({ directory, database, clock, owner, log }: ScratchOptions) {
    this.#owner = owner
    this.#clock = clock
    this.#ids = new Ids(database)
    this.#nodes = new Nodes(database)
    this.#tree = new Tree(directory, this.#nodes, this.#ids, clock, log)
    this.#listings = new Listings(this.#tree, this.#nodes, clock, entry => this.#attributes(entry))
    for (const intent of this.#nodes.intents()) this.#finishRename(intent)
    rmSync(join(this.#tree.directory, INCOMING_NAME), { recursive: true, force: true })
  }

  // --- ids ---------------------------------------------------------------------------------------------------------

  /** A file id that was never given out before; at least 1,000. Not to be called within a database transaction. */
  nextId(): bigint {
    return this.#ids.next()
  }

  /** The ids of all names of old versions of views. */
  references(): bigint[] {
    return this.#nodes.references()
  }

  /** Where a file was last seen; undefined for an id that is none of these files'. */
  entryOf(id: bigint): { dirId: bigint; name: string } | undefined {
    const row = this.#nodes.get(id)
    return row === undefined ? undefined : { dirId: row.parent, name: row.name }
  }

  /** The moment (see `momentMs`) at which the entry was created, or first seen. */
  createdMs(id: bigint): number {
    const row = this.#nodes.get(id)
    if (row === undefined) throw stale(id)
    return row.createdMs
  }

  /** Where the file is on disk now. */
  realPath(id: bigint): string {
    return this.#tree.real(id).path
  }

  // --- attributes --------------------------------------------------------------------------------------------------

  getattr(id: bigint): Promise<Attributes> {
    return guarded('The attributes of a file cannot be read', () =>
      this.#turns.shared(id, async () => this.#attributesById(id)),
    )
  }

  /** chown is accepted and changes nothing; chmod leaves the owner's right to read and write. */
  setattr(id: bigint, changes: NewAttributes, guardCtime?: TimeNs): Promise<Change> {
    return guarded('The attributes of a file cannot be changed', async () => {
      const { file, change } = await this.#turns.exclusive(id, () => this.#setattr(id, changes, guardCtime))
      try {
        if (file !== undefined) await this.#syncs.run(id, () => syncFile(file.fd))
        else if (change.after?.type === 'directory' && changesTree(changes)) await this.#syncFolder(id)
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
    const before = this.#attributesById(id)
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
        await truncateFile(file.fd, sizeOf(changes.size))
        stamp(real.stat, file.fd)
      }
      // By descriptor: while the file was cut, its name may have changed.
      const target = file?.fd ?? real.path
      setGivenTimes(target, changes)
      const after = this.#attributesOf(id, look(target))
      return { file, change: { before, after } }
    } catch (error) {
      file?.release()
      throw error
    }
  }

  #attributesById(id: bigint): Attributes {
    const row = id === ROOT_ID || id === DATA_ID ? undefined : this.#nodes.get(id)
    if (row?.kind === 'reference') return this.#attributes({ row, real: undefined })
    return this.#attributesOf(id, this.#tree.real(id).stat)
  }

  #attributes({ row, real }: Entry): Attributes {
    if (real !== undefined) return this.#attributesOf(real.id, real.stat)
    const { id, size, mtime } = row
    const times = { atime: mtime, mtime, ctime: mtime }
    return { type: 'file', mode: MODE.reference, links: 1, ...this.#owner, size, used: size, fileId: id, ...times }
  }

  #attributesOf(id: bigint, stat: BigIntStats): Attributes {
    return {
      type: stat.isDirectory() ? 'directory' : 'file',
      mode: Number(stat.mode & 0o777n),
      links: Number(stat.nlink),
      uid: this.#owner.uid,
      gid: this.#owner.gid,
      size: stat.size,
      used: stat.blocks * 512n,
      fileId: id,
      atime: stat.atimeNs,
      mtime: stat.mtimeNs,
      ctime: stat.ctimeNs,
    }
  }

  // --- names -------------------------------------------------------------------------------------------------------

  /** '.' and '..' are allowed here. */
  lookup(dirId: bigint, name: string): Promise<{ id: bigint; attributes: Attributes }> {
    return guarded('A name cannot be looked up', async () => {
      const folder = this.#tree.folder(dirId)
      if (name === '.' || name === '..') {
        const id = name === '.' ? dirId : this.#tree.parentId(dirId)
        return { id, attributes: this.#attributesById(id) }
      }
      if (dirId === ROOT_ID && name === 'data') return { id: DATA_ID, attributes: this.#attributesById(DATA_ID) }
      checkName(name)
      const entry = this.#tree.entry(folder, name)
      return { id: entry.row.id, attributes: this.#attributes(entry) }
    })
  }

  /**
   * Entries behind `cookie`, in the order of their ids, at most `limit`, without '.' and '..', and without `data` in
   * the root.
   */
  readdir(dirId: bigint, cookie: bigint, limit: number): Promise<Listing> {
    return guarded('A folder cannot be listed', () => this.#listings.page(dirId, cookie, limit))
  }

  // --- bytes -------------------------------------------------------------------------------------------------------

  read(
    id: bigint,
    offset: bigint,
    count: number,
  ): Promise<{ bytes: Uint8Array; eof: boolean; attributes: Attributes }> {
    return guarded('A file cannot be read', () =>
      this.#turns.shared(id, async () => {
        const file = this.#open(id, false)
        try {
          const { size } = look(file.fd)
          const wanted = offset >= size ? 0 : Math.min(count, Number(size - offset))
          const bytes = await readFully(file.fd, wanted, Number(offset))
          const stat = look(file.fd)
          const eof = offset + BigInt(bytes.length) >= stat.size
          return { bytes, eof, attributes: this.#attributesOf(id, stat) }
        } finally {
          file.release()
        }
      }),
    )
  }

  write(
    id: bigint,
    offset: bigint,
    bytes: Uint8Array,
    stability: Stability,
  ): Promise<{ count: number; committed: Stability; change: Change }> {
    return guarded('A file cannot be written', async () => {
      const end = sizeOf(offset + BigInt(bytes.length))
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
      return { file, change: { before: this.#attributesOf(id, real.stat), after: this.#attributesOf(id, after) } }
    } catch (error) {
      file.release()
      throw error
    }
  }

  /** All of the file becomes durable, whatever the range (RFC 1813, 3.3.21 allows it). */
  commit(id: bigint, _offset: bigint, _count: number): Promise<Change> {
    return guarded('A file cannot be made durable', async () => {
      const file = await this.#turns.shared(id, async () => this.#open(id, false))
      try {
        const attributes = this.#attributesOf(id, look(file.fd))
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

  // --- changes of names --------------------------------------------------------------------------------------------

  create(dirId: bigint, name: string, how: CreateHow): Promise<Created> {
    return guarded('A file cannot be created', async () => {
      checkName(name)
      const folder = this.#tree.folder(dirId)
      if (this.#tree.isReserved(dirId, name)) throw exists(name)
      const found = this.#tree.find(folder, name)
      const replaced = found?.real === undefined && how.kind === 'unchecked' && how.attributes.size !== undefined
      if (found !== undefined && !replaced) return this.#createExisting(folder, name, found, how)
      if (found !== undefined) this.#nodes.forget(found.row.id)
      const real = this.#createFile(folder, name, how)
      return this.#created(folder, real)
    })
  }

  async #createExisting(folder: Real, name: string, { row, real }: Entry, how: CreateHow): Promise<Created> {
    if (how.kind === 'guarded') throw exists(name)
    if (how.kind === 'exclusive' && row.verifier !== how.verifier) throw exists(name)
    if (real?.stat.isDirectory() === true) throw isDirectory(name)
    if (how.kind === 'exclusive') await this.#syncFolder(folder.id)
    else if (how.attributes.size !== undefined) await this.setattr(row.id, { size: how.attributes.size })
    const directory = this.#attributesById(folder.id)
    return {
      node: { id: row.id, ...UNEXPORTED },
      attributes: this.#attributesById(row.id),
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

  mkdir(dirId: bigint, name: string, attributes: NewAttributes): Promise<Created> {
    return guarded('A folder cannot be made', async () => {
      checkName(name)
      const folder = this.#tree.folder(dirId)
      if (this.#tree.isReserved(dirId, name) || this.#tree.find(folder, name) !== undefined) throw exists(name)
      const path = this.#tree.pathIn(folder, name)
      attempt(`${name} cannot be made`, () => createFolder(path, attributes))
      return this.#created(folder, this.#tree.enterNew(folder, name))
    })
  }

  async #created(folder: Real, real: Real): Promise<Created> {
    const directory = this.#folderChange(folder)
    await this.#syncFolder(folder.id)
    return { node: { id: real.id, ...UNEXPORTED }, attributes: this.#attributesOf(real.id, real.stat), directory }
  }

  remove(dirId: bigint, name: string): Promise<Change> {
    return guarded('A file cannot be removed', async () => {
      checkName(name)
      const folder = this.#tree.folder(dirId)
      if (dirId === ROOT_ID && name === 'data') throw isDirectory(name)
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
      const change = this.#folderChange(folder)
      await this.#syncFolder(dirId)
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

  async #removeEntry(folder: Real, { row, real }: Entry): Promise<Change> {
    if (real !== undefined) this.#unlink(row.name, real)
    this.#nodes.forget(row.id)
    if (real === undefined) touch(folder)
    const change = this.#folderChange(folder)
    await (real === undefined ? this.#nodes.sync() : this.#syncFolder(folder.id))
    return change
  }

  #unlink(name: string, real: Real): void {
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
      if (isSame(source, target)) return { from: this.#unchanged(from), to: this.#unchanged(to) }
      this.#checkRename(source, target, to, toName)
      this.#rename(source, target, to, toName)
      if (source.real === undefined) touch(from, to)
      const changes = { from: this.#folderChange(from), to: this.#folderChange(to) }
      await Promise.all([this.#syncFolder(fromDir), fromDir === toDir ? undefined : this.#syncFolder(toDir)])
      if (source.real === undefined) await this.#nodes.sync()
      return changes
    })
  }

  #checkRename(source: Entry, target: Entry | undefined, to: Real, toName: string): void {
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

  #rename(source: Entry, target: Entry | undefined, to: Real, toName: string): void {
    const { id } = source.row
    this.#nodes.intend({ id, parent: to.id, name: toName })
    try {
      if (source.real !== undefined) {
        const { path } = source.real
        this.#outlived(target?.real, () =>
          attempt(`${source.row.name} cannot be renamed`, () => renameSync(path, this.#tree.pathIn(to, toName))),
        )
      } else if (target?.real !== undefined) {
        this.#unlink(toName, target.real)
      }
    } catch (error) {
      this.#nodes.dropIntent(id)
      throw error
    }
    this.#nodes.move(id, to.id, toName)
  }

  /** After a crash in the middle of a rename: the file that is under the new name keeps its id. */
  #finishRename({ id, parent, name }: RenameIntent): void {
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

  // --- what the views hand over --------------------------------------------------------------------------------------

  /**
   * A new file with the content of a text, complete from the moment it has its name. If the name is taken, `-2`, `-3`,
   * ... is appended. Resolves with the name.
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
        renameSync(path, this.#tree.pathIn(folder, free))
        await this.#created(folder, this.#tree.enterNew(folder, free))
        return free
      } finally {
        rmSync(path, { force: true })
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
      if (found?.real !== undefined) this.#unlink(name, found.real)
      const row = { id, parent: dirId, name, kind: 'reference', inode: undefined, verifier: undefined } as const
      this.#nodes.put([{ ...row, createdMs: momentMs(this.#clock), size: BigInt(size), mtime }])
      touch(folder)
      this.#folderChange(folder)
      await Promise.all([this.#nodes.sync(), this.#syncFolder(dirId)])
    })
  }

  /** Closes all files. The database stays open. */
  close(): void {
    this.#files.close()
    this.#nodes.close()
  }

  // --- durability and times ----------------------------------------------------------------------------------------

  /** What a change of its entries did to a folder; `folder` is from before it. */
  #folderChange(folder: Real): Change {
    const after = stamp(folder.stat, folder.path)
    return { before: this.#attributesOf(folder.id, folder.stat), after: this.#attributesOf(folder.id, after) }
  }

  #unchanged({ id, stat }: Real): Change {
    const attributes = this.#attributesOf(id, stat)
    return { before: attributes, after: attributes }
  }

  /** The names in a folder become durable. */
  #syncFolder(id: bigint): Promise<void> {
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

/** Begins at once, and lets only FsErrors out. */
async function guarded<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw systemError(what, error)
  }
}

function changesTree({ mode, size, atime, mtime }: NewAttributes): boolean {
  return mode !== undefined || size !== undefined || atime !== undefined || mtime !== undefined
}

/** The same entry, or two names of one real file: rename(2) does nothing then. */
function isSame(source: Entry, target: Entry | undefined): boolean {
  if (target === undefined) return false
  if (target.row.id === source.row.id) return true
  return source.real !== undefined && target.real !== undefined && source.real.stat.ino === target.real.stat.ino
}

function notMovable(name: string): FsError {
  return name === INCOMING_NAME
    ? noEntry(name)
    : new FsError('EACCES', `${name} belongs to the mount and stays where it is`)
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory)
  } catch {
    // Another file is just being copied in.
  }
}
