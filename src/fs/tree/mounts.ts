import {
  type Access,
  type Attributes,
  type Change,
  type Created,
  type CreateHow,
  type DirectoryEntry,
  type Export,
  type FileRef,
  type FileSystem,
  FsError,
  type Listing,
  type NewAttributes,
  type Node,
  type ReadResult,
  type SpaceInfo,
  type Stability,
  type TimeNs,
  type WriteResult,
} from '../filesystem.ts'

/** A file system on a folder of another, which it covers (POSIX, mount point). */
export interface Mount {
  /**
   * Tells its files from all others, in their handles and ids: 1 to 65,535, never given to another file system, and the
   * same whenever it is mounted there. The other one, on whose folders the rest is mounted, has the number 0.
   */
  readonly number: number
  /** The id of the folder, in the other file system. */
  readonly folder: bigint
  readonly fileSystem: FileSystem
}

const OWN_BITS = 64n
const NUMBER_MAX = 0xffff

/** A file system that has a number: a mounted one, or the one below. */
type Numbered = Pick<Mount, 'number' | 'fileSystem'> & Partial<Pick<Mount, 'folder'>>

/**
 * Several file systems as one. Ids of files have the number of the file system above their own 64 bits, so that those of
 * one that is served alone are what they are. Where 64 bits are all there is, in attributes, they are told apart by a hash.
 */
export class MountedFileSystem implements FileSystem {
  readonly #below: Numbered
  readonly #byNumber: ReadonlyMap<number, Numbered>
  readonly #byFolder: ReadonlyMap<bigint, Numbered>

  constructor(below: FileSystem, mounts: readonly Mount[]) {
    this.#below = { number: 0, fileSystem: below }
    this.#byNumber = new Map([this.#below, ...mounts].map(mount => [mount.number, mount]))
    this.#byFolder = new Map(mounts.map(mount => [mount.folder, mount]))
    if (this.#byNumber.size !== mounts.length + 1) throw new RangeError('two file systems have the same number')
    for (const { number } of mounts) {
      if (!Number.isInteger(number) || number < 0 || number > NUMBER_MAX)
        throw new RangeError(`the number of a file system is one from 1 to ${NUMBER_MAX}, not ${number}`)
    }
  }

  get writeVerifier(): bigint {
    const all = [...this.#byNumber.values()].map(({ fileSystem }) => fileSystem.writeVerifier)
    return all.length === 1 ? all[0]! : all.reduce((verifier, one) => mixed(verifier ^ one), 0n)
  }

  root(through: Export): FileRef {
    return this.#shown(this.#below, this.#below.fileSystem.root(through))
  }

  isAlwaysWritable(node: Node): boolean {
    const mount = this.#byNumber.get(numberOf(node))
    return mount?.fileSystem.isAlwaysWritable?.(own(node)) === true
  }

  // --- attributes and bytes ----------------------------------------------------------------------------------------

  async getattr(node: Node): Promise<Attributes> {
    const mount = this.#mount(node)
    return attributesIn(mount, await mount.fileSystem.getattr(own(node)))
  }

  async setattr(node: Node, changes: NewAttributes, guardCtime?: TimeNs): Promise<Change> {
    const mount = this.#mount(node)
    return changeIn(mount, await mount.fileSystem.setattr(own(node), changes, guardCtime))
  }

  async access(node: Node): Promise<{ access: Access; attributes: Attributes }> {
    const mount = this.#mount(node)
    const { access, attributes } = await mount.fileSystem.access(own(node))
    return { access, attributes: attributesIn(mount, attributes) }
  }

  async read(node: Node, offset: bigint, count: number): Promise<ReadResult> {
    const mount = this.#mount(node)
    const read = await mount.fileSystem.read(own(node), offset, count)
    return { ...read, attributes: attributesIn(mount, read.attributes) }
  }

  async write(node: Node, offset: bigint, bytes: Uint8Array, stability: Stability): Promise<WriteResult> {
    const mount = this.#mount(node)
    const written = await mount.fileSystem.write(own(node), offset, bytes, stability)
    return { ...written, change: changeIn(mount, written.change) }
  }

  async commit(node: Node, offset: bigint, count: number): Promise<Change> {
    const mount = this.#mount(node)
    return changeIn(mount, await mount.fileSystem.commit(own(node), offset, count))
  }

  async space(node: Node): Promise<SpaceInfo> {
    return this.#mount(node).fileSystem.space(own(node))
  }

  // --- names -------------------------------------------------------------------------------------------------------

  async lookup(directory: Node, name: string): Promise<{ node: FileRef; attributes: Attributes }> {
    const mount = this.#mount(directory)
    if (name === '..' && this.#isRoot(mount, directory)) return this.#above(mount, directory)
    const { node, attributes } = await mount.fileSystem.lookup(own(directory), name)
    const covering = this.#covering(mount, node)
    if (covering !== undefined) return this.#rootOf(covering, directory)
    return { node: this.#shown(mount, node), attributes: attributesIn(mount, attributes) }
  }

  async readdir(directory: Node, cookie: bigint, limit: number): Promise<Listing> {
    const mount = this.#mount(directory)
    const listing = await mount.fileSystem.readdir(own(directory), cookie, limit)
    const entries = await Promise.all(listing.entries.map(entry => this.#entry(mount, directory, entry)))
    return { ...listing, entries }
  }

  async #entry(mount: Numbered, directory: Node, entry: DirectoryEntry): Promise<DirectoryEntry> {
    const covering = entry.name === '.' ? undefined : this.#covering(mount, entry.node)
    const leadsOut = entry.name === '..' && this.#isRoot(mount, directory)
    if (covering === undefined && !leadsOut) {
      const attributes = entry.attributes && attributesIn(mount, entry.attributes)
      return { ...entry, node: this.#shown(mount, entry.node), fileId: fileIdIn(mount, entry.fileId), attributes }
    }
    const found = await (covering === undefined ? this.#above(mount, directory) : this.#rootOf(covering, directory))
    return { ...entry, ...found, fileId: found.attributes.fileId }
  }

  async create(directory: Node, name: string, how: CreateHow): Promise<Created> {
    const mount = this.#mount(directory)
    return this.#created(mount, await mount.fileSystem.create(own(directory), name, how))
  }

  async mkdir(directory: Node, name: string, attributes: NewAttributes): Promise<Created> {
    const mount = this.#mount(directory)
    return this.#created(mount, await mount.fileSystem.mkdir(own(directory), name, attributes))
  }

  async remove(directory: Node, name: string): Promise<Change> {
    const mount = this.#mount(directory)
    return changeIn(mount, await mount.fileSystem.remove(own(directory), name))
  }

  async rmdir(directory: Node, name: string): Promise<Change> {
    await this.#checkUncovered(directory, name)
    const mount = this.#mount(directory)
    return changeIn(mount, await mount.fileSystem.rmdir(own(directory), name))
  }

  async rename(from: Node, fromName: string, to: Node, toName: string): Promise<{ from: Change; to: Change }> {
    const mount = this.#mount(from)
    if (this.#mount(to) !== mount)
      throw new FsError('EXDEV', `${fromName} cannot be moved to the folder of another table; copy it`)
    await this.#checkUncovered(from, fromName)
    await this.#checkUncovered(to, toName)
    const changes = await mount.fileSystem.rename(own(from), fromName, own(to), toName)
    return { from: changeIn(mount, changes.from), to: changeIn(mount, changes.to) }
  }

  // --- which file system -------------------------------------------------------------------------------------------

  #mount(node: FileRef): Numbered {
    const mount = this.#byNumber.get(numberOf(node))
    if (mount !== undefined) return mount
    throw new FsError('ESTALE', `the file system with the number ${numberOf(node)} is not mounted any more`)
  }

  #isRoot({ fileSystem, folder }: Numbered, node: Node): boolean {
    return folder !== undefined && fileSystem.root(node).id === own(node).id
  }

  /** The file system whose root is shown in place of a folder. */
  #covering(mount: Numbered, folder: FileRef): Numbered | undefined {
    return mount === this.#below ? this.#byFolder.get(folder.id) : undefined
  }

  /** Returns the folder that `..` of a mounted root leads to. */
  async #above({ folder }: Numbered, directory: Node): Promise<{ node: FileRef; attributes: Attributes }> {
    const { node, attributes } = await this.#below.fileSystem.lookup({ ...directory, id: folder! }, '..')
    return { node: this.#shown(this.#below, node), attributes }
  }

  async #rootOf(mount: Numbered, directory: Node): Promise<{ node: FileRef; attributes: Attributes }> {
    const root = mount.fileSystem.root(directory)
    const attributes = await mount.fileSystem.getattr({ ...directory, ...root })
    return { node: this.#shown(mount, root), attributes: attributesIn(mount, attributes) }
  }

  /** NFSv3 has no EBUSY. */
  async #checkUncovered(directory: Node, name: string): Promise<void> {
    if (numberOf(directory) !== 0 || this.#byFolder.size === 0) return
    const found = await this.#below.fileSystem.lookup(directory, name).catch(() => undefined)
    if (found !== undefined && this.#byFolder.has(found.node.id))
      throw new FsError('EACCES', `${name}: a table is mounted there, so it cannot be removed, renamed or replaced`)
  }

  #shown({ number }: Numbered, ref: FileRef): FileRef {
    return { ...ref, id: (BigInt(number) << OWN_BITS) | ref.id }
  }

  #created(mount: Numbered, { node, attributes, directory }: Created): Created {
    return {
      node: this.#shown(mount, node),
      attributes: attributesIn(mount, attributes),
      directory: changeIn(mount, directory),
    }
  }
}

function numberOf({ id }: FileRef): number {
  return Number(id >> OWN_BITS)
}

/** A file as its own file system knows it. */
function own(node: Node): Node {
  return { ...node, id: BigInt.asUintN(64, node.id) }
}

function attributesIn(mount: Numbered, attributes: Attributes): Attributes {
  return { ...attributes, fileId: fileIdIn(mount, attributes.fileId) }
}

function changeIn(mount: Numbered, { before, after }: Change): Change {
  return { before: before && attributesIn(mount, before), after: after && attributesIn(mount, after) }
}

/** Different ids of one file system stay different: each step can be undone. */
function fileIdIn({ number }: Numbered, fileId: bigint): bigint {
  return number === 0 ? fileId : mixed(fileId ^ mixed(BigInt(number)))
}

/** Multiplying by an odd number and shifting are one to one in 64 bits; the constants are those of MurmurHash3's end. */
function mixed(value: bigint): bigint {
  let bits = value
  for (const factor of [0xff51afd7ed558ccdn, 0xc4ceb9fe1a85ec53n]) {
    bits = BigInt.asUintN(64, (bits ^ (bits >> 33n)) * factor)
  }
  return bits ^ (bits >> 33n)
}
