import { type BigIntStats, lstatSync, mkdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, momentMs } from '../../core/clock.ts'
import { FsError } from '../filesystem.ts'
import { noEntry } from '../names.ts'
import { attempt, isDirectory, notDirectory, stale } from './errors.ts'
import type { Ids } from './ids.ts'
import type { NodeKind, NodeRow, Nodes } from './nodes.ts'

/** Holds files that are being copied in; never shown. */
export const INCOMING_NAME = '.posixlake-incoming'

/** A real file or folder, as it is at this moment. */
export interface Real {
  readonly id: bigint
  readonly path: string
  readonly stat: BigIntStats
}

export interface FolderEntry {
  readonly row: NodeRow
  /** Undefined for a reference. */
  readonly real: Real | undefined
}

/** A folder that is always there, under an id of its own. */
export interface FixedFolder {
  readonly id: bigint
  /** The folder that it is in, and its name there; neither, for the one that stands for the mount's root. */
  readonly place: { readonly parent: bigint; readonly name: string } | undefined
}

export interface RealTreeOptions {
  /** The real folder of the root. */
  readonly directory: string
  /** The root comes first. */
  readonly folders: readonly FixedFolder[]
  /** True if a name in a folder is somebody else's: what is on disk there is not shown, and nothing is put there. */
  readonly reserved: (folder: bigint, name: string) => boolean
  readonly nodes: Nodes
  readonly ids: Ids
  readonly clock: Clock
  readonly log: (sentence: string) => void
}

/**
 * Leads from ids to real paths and from names to ids. The real tree wins: a path is trusted only after each of its
 * components was seen to be the very folder that its id stands for, so that a symbolic link or a moved folder never
 * leads elsewhere. Where the tree differs, the id is forgotten, and what stands there now gets a new one.
 */
export class RealTree {
  readonly directory: string
  readonly #options: RealTreeOptions
  readonly #nodes: Nodes
  readonly #fixed: ReadonlyMap<bigint, FixedFolder>
  readonly #device: bigint

  constructor(options: RealTreeOptions) {
    const { directory, folders, nodes } = options
    this.#options = options
    this.#nodes = nodes
    this.#fixed = new Map(folders.map(folder => [folder.id, folder]))
    mkdirSync(directory, { recursive: true, mode: 0o755 })
    this.directory = realpathSync(directory)
    this.#device = lstatSync(this.directory, { bigint: true }).dev
    for (const folder of folders) this.#fixedFolder(folder)
  }

  /** The real file or folder of an id. Raises ESTALE if it is not there any more. */
  real(id: bigint): Real {
    const fixed = this.#fixed.get(id)
    if (fixed !== undefined) return this.#fixedFolder(fixed)
    const row = this.#nodes.get(id)
    if (row === undefined) throw stale(id)
    if (row.kind === 'reference')
      throw new FsError('EACCES', `${row.name} is an old version of a view, not a file on disk`)
    const path = this.pathIn(this.#parentOf(row), row.name)
    const stat = this.stat(path)
    if (stat === undefined || !sameFile(row, stat)) {
      this.forget(id)
      throw stale(id)
    }
    return { id, path, stat }
  }

  /** The real folder of an id. */
  folder(id: bigint): Real {
    const row = this.#fixed.has(id) ? undefined : this.#nodes.get(id)
    if (row !== undefined && row.kind !== 'directory') throw notDirectory(row.name)
    return this.real(id)
  }

  /** Returns the entry of a name, with an id of its own; undefined if nothing that can be shown is there. */
  find(folder: Real, name: string): FolderEntry | undefined {
    if (this.isReserved(folder.id, name)) return undefined
    return this.resolve(folder, name, this.#nodes.find(folder.id, name))
  }

  /** As `find`, with what is remembered of the name. */
  resolve(folder: Real, name: string, row: NodeRow | undefined): FolderEntry | undefined {
    // A file that somebody puts under the name of a reference stays hidden on disk until the reference goes.
    if (row?.kind === 'reference') return { row, real: undefined }
    const path = this.pathIn(folder, name)
    const stat = this.stat(path)
    if (stat === undefined) {
      if (row !== undefined) this.forget(row.id)
      return undefined
    }
    if (row !== undefined && sameFile(row, stat)) return { row, real: { id: row.id, path, stat } }
    if (row !== undefined && row.inode === undefined && stat.isFile())
      return this.#enter({ ...row, inode: stat.ino }, path, stat)
    if (row !== undefined) this.forget(row.id)
    return this.#enter(this.newRow(folder.id, name, stat), path, stat)
  }

  /** As `find`, but raises ENOENT. */
  entry(folder: Real, name: string): FolderEntry {
    const found = this.find(folder, name)
    if (found === undefined) throw noEntry(name)
    return found
  }

  /** A row for something new, with a new id; not stored yet. `stat` undefined: a file that is about to be created. */
  newRow(parent: bigint, name: string, stat: BigIntStats | undefined, verifier?: bigint): NodeRow {
    return {
      id: this.#options.ids.next(),
      parent,
      name,
      kind: kindOf(stat),
      inode: stat?.ino,
      createdMs: momentMs(this.#options.clock),
      verifier,
      size: 0n,
      mtime: 0n,
    }
  }

  /** Remembers what was made at a name just now. */
  enterNew(folder: Real, name: string): Real {
    const path = this.pathIn(folder, name)
    const stat = attempt(`${name} cannot be created`, () => lstatSync(path, { bigint: true }))
    const row = this.newRow(folder.id, name, stat)
    this.#nodes.put([row])
    return { id: row.id, path, stat }
  }

  /** The state of a real file or folder; undefined where there is none that is shown: links, devices, other file systems. */
  stat(path: string): BigIntStats | undefined {
    const stat = attempt(`${path} cannot be looked at`, () => lstatSync(path, { bigint: true, throwIfNoEntry: false }))
    if (stat === undefined || stat.dev !== this.#device) return undefined
    return stat.isFile() || stat.isDirectory() ? stat : undefined
  }

  pathIn(folder: Real, name: string): string {
    return join(folder.path, name)
  }

  forget(id: bigint): void {
    const references = this.#nodes.forget(id)
    if (references > 0) {
      this.#options.log(
        `A folder was replaced from outside; ${references} name(s) of old versions of views in it are gone.`,
      )
    }
  }

  /** True if a name is not the users': it is a fixed folder's, or reserved for others. */
  isReserved(directory: bigint, name: string): boolean {
    const isRoot = this.#fixed.get(directory)?.place === undefined && this.isFixed(directory)
    if (isRoot && name === INCOMING_NAME) return true
    return this.fixedIn(directory, name) !== undefined || this.#options.reserved(directory, name)
  }

  isFixed(id: bigint): boolean {
    return this.#fixed.has(id)
  }

  /** The id of a fixed folder, by its name. */
  fixedIn(directory: bigint, name: string): bigint | undefined {
    for (const { id, place } of this.#fixed.values()) if (place?.parent === directory && place.name === name) return id
    return undefined
  }

  /** True if `id` is `directory` or one of the folders above it. */
  isWithin(directory: bigint, id: bigint): boolean {
    for (let at = directory; !this.#fixed.has(at); ) {
      if (at === id) return true
      const row = this.#nodes.get(at)
      if (row === undefined) throw stale(at)
      at = row.parent
    }
    return false
  }

  parentId(id: bigint): bigint {
    const fixed = this.#fixed.get(id)
    if (fixed !== undefined) return fixed.place?.parent ?? id
    const row = this.#nodes.get(id)
    if (row === undefined) throw stale(id)
    return row.parent
  }

  #parentOf(row: NodeRow): Real {
    try {
      return this.folder(row.parent)
    } catch (error) {
      if (error instanceof FsError && (error.code === 'ENOTDIR' || error.code === 'ENOENT')) throw stale(row.id)
      throw error
    }
  }

  #enter(row: NodeRow, path: string, stat: BigIntStats): FolderEntry {
    this.#nodes.put([row])
    return { row, real: { id: row.id, path, stat } }
  }

  /** Made again if somebody took it away: the mount cannot do without. */
  #fixedFolder({ id, place }: FixedFolder): Real {
    if (place === undefined) {
      const stat = attempt('The folder of the mount is not there', () => lstatSync(this.directory, { bigint: true }))
      return { id, path: this.directory, stat }
    }
    const path = join(this.real(place.parent).path, place.name)
    const what = `The folder ${path} cannot be made`
    let stat = attempt(what, () => lstatSync(path, { bigint: true, throwIfNoEntry: false }))
    if (stat === undefined) {
      attempt(what, () => mkdirSync(path, 0o755))
      stat = attempt(what, () => lstatSync(path, { bigint: true }))
    }
    if (!stat.isDirectory()) throw new FsError('EIO', `${path} must be a folder; move away what is there now.`)
    return { id, path, stat }
  }
}

export function kindOf(stat: BigIntStats | undefined): NodeKind {
  return stat?.isDirectory() === true ? 'directory' : 'file'
}

/** Raises EISDIR for a folder. */
export function mustBeFile(name: string, real: Real): void {
  if (real.stat.isDirectory()) throw isDirectory(name)
}

function sameFile(row: NodeRow, stat: BigIntStats): boolean {
  return row.inode === stat.ino && row.kind === kindOf(stat)
}
