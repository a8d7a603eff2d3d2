import type { Database } from 'bun:sqlite'
import { type Clock, noMomentBefore } from '../../core/clock.ts'
import type { Owner } from '../attributes.ts'
import type {
  Attributes,
  Change,
  CreateHow,
  NewAttributes,
  ReadResult,
  Stability,
  TimeNs,
  WriteResult,
} from '../filesystem.ts'
import { checkName } from '../names.ts'
import type { Text } from '../text/text.ts'
import type { CreatedNode, NodePage } from '../tree/node.ts'
import { guarded, stale } from './errors.ts'
import { FileBytes } from './file-bytes.ts'
import { FolderChanges } from './folder-changes.ts'
import { Handover } from './handover.ts'
import { Ids } from './ids.ts'
import { Listings } from './listing.ts'
import { NameChanges } from './name-changes.ts'
import { Nodes } from './nodes.ts'
import { OpenFiles } from './open-files.ts'
import { type FixedFolder, RealTree } from './real-tree.ts'
import { Stats } from './stat.ts'
import { Syncs } from './syncs.ts'
import { Turns } from './turns.ts'

const OPEN_FILES_MAX = 64

export interface ScratchOptions {
  /** The real folder that stands for the mount's root. */
  readonly directory: string
  /** Those that are always there; the root comes first. */
  readonly folders: readonly FixedFolder[]
  /** True if a name in a folder is somebody else's: what is on disk there is not shown, and nothing is put there. */
  readonly reserved?: (folder: bigint, name: string) => boolean
  /** Shared with others; the tables here begin with `scratch_`. */
  readonly database: Database
  readonly clock: Clock
  readonly owner: Owner
  readonly log: (sentence: string) => void
}

/**
 * The users' own files in the mount: real files and folders, addressed by file id. Methods answer as those of
 * FileSystem do, and reject with FsError only; their effects begin in the order of the calls. The real tree is what
 * counts: it may be looked at and changed from outside, and the database only remembers which id a file has.
 */
export class Scratch {
  readonly #ids: Ids
  readonly #nodes: Nodes
  readonly #tree: RealTree
  readonly #stats: Stats
  readonly #listings: Listings
  readonly #files = new OpenFiles(OPEN_FILES_MAX)
  readonly #turns = new Turns()
  readonly #bytes: FileBytes
  readonly #names: NameChanges
  readonly #handover: Handover

  constructor({ directory, folders: fixed, reserved = () => false, database, clock, owner, log }: ScratchOptions) {
    const ids = new Ids(database)
    const nodes = new Nodes(database)
    // What was begun before the clock was set back was begun before what is begun now.
    const newestMs = nodes.newestMs()
    if (newestMs !== undefined) noMomentBefore(clock, newestMs)
    const tree = new RealTree({ directory, folders: fixed, reserved, nodes, ids, clock, log })
    const stats = new Stats(owner, tree, nodes)
    const syncs = new Syncs<bigint>()
    const folders = new FolderChanges(tree, stats, syncs)
    const parts = { tree, nodes, files: this.#files, stats, folders, syncs, turns: this.#turns, clock }
    this.#ids = ids
    this.#nodes = nodes
    this.#tree = tree
    this.#stats = stats
    this.#listings = new Listings(tree, nodes, clock, entry => stats.ofEntry(entry))
    this.#bytes = new FileBytes(parts)
    this.#names = new NameChanges({ ...parts, bytes: this.#bytes })
    this.#handover = new Handover({ ...parts, names: this.#names })
    for (const intent of nodes.intents()) this.#names.finishRename(intent)
    this.#handover.clean()
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

  /** Returns the folder and name where a file was last seen; undefined for an id that is none of these files'. */
  entryOf(id: bigint): { dirId: bigint; name: string } | undefined {
    const row = this.#nodes.get(id)
    return row === undefined ? undefined : { dirId: row.parent, name: row.name }
  }

  /** Returns the kind and the name of an id, as it was last seen. Throws ESTALE for one that is none of these files'. */
  kindOf(id: bigint): { kind: 'file' | 'directory'; parent: bigint; name: string } {
    const row = this.#nodes.get(id)
    if (row === undefined) throw stale(id)
    const { kind, parent, name } = row
    return { kind: kind === 'directory' ? kind : 'file', parent, name }
  }

  /** The moment (see `momentMs`) at which the entry was created, or first seen. */
  createdMs(id: bigint): number {
    const row = this.#nodes.get(id)
    if (row === undefined) throw stale(id)
    return row.createdMs
  }

  /** Returns the path on disk of the file now. */
  realPath(id: bigint): string {
    return this.#tree.real(id).path
  }

  // --- names and attributes ----------------------------------------------------------------------------------------

  getattr(id: bigint): Promise<Attributes> {
    return guarded('The attributes of a file cannot be read', () =>
      this.#turns.shared(id, async () => this.#stats.byId(id)),
    )
  }

  /** '.' and '..' are allowed here. */
  lookup(dirId: bigint, name: string): Promise<{ id: bigint; attributes: Attributes }> {
    return guarded('A name cannot be looked up', async () => {
      const folder = this.#tree.folder(dirId)
      if (name === '.' || name === '..') {
        const id = name === '.' ? dirId : this.#tree.parentId(dirId)
        return { id, attributes: this.#stats.byId(id) }
      }
      const fixed = this.#tree.fixedIn(dirId, name)
      if (fixed !== undefined) return { id: fixed, attributes: this.#stats.byId(fixed) }
      checkName(name)
      const entry = this.#tree.entry(folder, name)
      return { id: entry.row.id, attributes: this.#stats.ofEntry(entry) }
    })
  }

  /**
   * Entries behind `cookie`, in the order of their ids, at most `limit`, without '.' and '..', and without the folders
   * that are always there.
   */
  readdir(dirId: bigint, cookie: bigint, limit: number): Promise<NodePage> {
    return guarded('A folder cannot be listed', () => this.#listings.page(dirId, cookie, limit))
  }

  // --- bytes -------------------------------------------------------------------------------------------------------

  setattr(id: bigint, changes: NewAttributes, guardCtime?: TimeNs): Promise<Change> {
    return this.#bytes.setattr(id, changes, guardCtime)
  }

  read(id: bigint, offset: bigint, count: number): Promise<ReadResult> {
    return this.#bytes.read(id, offset, count)
  }

  write(id: bigint, offset: bigint, bytes: Uint8Array, stability: Stability): Promise<WriteResult> {
    return this.#bytes.write(id, offset, bytes, stability)
  }

  commit(id: bigint): Promise<Change> {
    return this.#bytes.commit(id)
  }

  // --- changes of names --------------------------------------------------------------------------------------------

  create(dirId: bigint, name: string, how: CreateHow): Promise<CreatedNode> {
    return this.#names.create(dirId, name, how)
  }

  mkdir(dirId: bigint, name: string, attributes: NewAttributes): Promise<CreatedNode> {
    return this.#names.mkdir(dirId, name, attributes)
  }

  remove(dirId: bigint, name: string): Promise<Change> {
    return this.#names.remove(dirId, name)
  }

  rmdir(dirId: bigint, name: string): Promise<Change> {
    return this.#names.rmdir(dirId, name)
  }

  rename(fromDir: bigint, fromName: string, toDir: bigint, toName: string): Promise<{ from: Change; to: Change }> {
    return this.#names.rename(fromDir, fromName, toDir, toName)
  }

  // --- what the views hand over, and take --------------------------------------------------------------------------

  /** See Handover. */
  adopt(dirId: bigint, name: string, text: Text): Promise<string> {
    return this.#handover.adopt(dirId, name, text)
  }

  /** See Handover. */
  placeReference(dirId: bigint, name: string, id: bigint, shown: { size: number; mtime: TimeNs }): Promise<void> {
    return this.#handover.placeReference(dirId, name, id, shown)
  }

  /** The caller goes on with the file's id: the entry and the real file go away, and the id is not given out again. */
  take(id: bigint): Promise<void> {
    return this.#names.take(id)
  }

  /** Closes all files. The database stays open. */
  close(): void {
    this.#files.close()
    this.#nodes.close()
  }
}
