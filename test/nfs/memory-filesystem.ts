import {
  type Access,
  type Attributes,
  type Change,
  type Created,
  type CreateHow,
  type DirectoryEntry,
  type Export,
  exportOf,
  type FileRef,
  type FileSystem,
  FsError,
  type Listing,
  type NewAttributes,
  type Node,
  type SetTime,
  type SpaceInfo,
  type Stability,
  type TimeNs,
} from '../../src/fs/filesystem.ts'

interface Inode {
  readonly id: bigint
  readonly type: 'file' | 'directory'
  mode: number
  uid: number
  gid: number
  atime: TimeNs
  mtime: TimeNs
  ctime: TimeNs
  bytes: Uint8Array
  size: number
  verifier: bigint | undefined
  /** Of a directory; in the order of the entries' cookies. */
  readonly entries: Map<string, { inode: Inode; cookie: bigint }>
  parent: Inode | undefined
  links: number
}

const ROOT_ID = 1n
const DOT_COOKIE = 1n
const DOT_DOT_COOKIE = 2n
const FILE_BYTES_MAX = 1024n * 1024n * 1024n
const NAME_BYTES_MAX = 255
const CAPACITY_BYTES = 64n * 1024n * 1024n * 1024n

/** A FileSystem in memory with POSIX behaviour, for testing the server and the client by themselves. */
export class MemoryFileSystem implements FileSystem {
  writeVerifier = 1n
  /** Leaves the attributes out of every answer to a change that may do without. */
  withholdAttributes = false
  /** Fails every call of the method named, with this error. */
  readonly failures = new Map<keyof FileSystem, Error>()
  /** Awaited by every method before its answer, to hold calls under way. */
  gate: Promise<void> | undefined
  readonly calls: string[] = []
  readonly #inodes = new Map<bigint, Inode>()
  readonly #root: Inode
  #nextId = ROOT_ID
  #nextCookie = DOT_DOT_COOKIE + 1n
  #lastTime = 0n

  constructor() {
    this.#root = this.#newInode('directory', 0o755)
    this.#root.parent = this.#root
    this.#root.links = 2
  }

  root(through: Export): FileRef {
    return { id: ROOT_ID, ...exportOf(through) }
  }

  async getattr(node: Node): Promise<Attributes> {
    const attributes = attributesOf(this.#inode(node))
    await this.#enter('getattr')
    return attributes
  }

  async setattr(node: Node, changes: NewAttributes, guardCtime?: TimeNs): Promise<Change> {
    await this.#enter('setattr')
    const inode = this.#inode(node)
    if (guardCtime !== undefined && guardCtime !== inode.ctime) throw new FsError('ENOTSYNC', 'The ctime differs.')
    const before = attributesOf(inode)
    if (changes.size !== undefined) this.#resize(file(inode), changes.size)
    this.#apply(inode, changes)
    inode.ctime = this.#now()
    return this.#change(before, inode)
  }

  async lookup(directory: Node, name: string): Promise<{ node: FileRef; attributes: Attributes }> {
    await this.#enter('lookup')
    const parent = this.#directory(directory)
    if (Buffer.byteLength(name) > NAME_BYTES_MAX) throw new FsError('ENAMETOOLONG', 'The name is too long.')
    const inode = name === '.' ? parent : name === '..' ? parent.parent : parent.entries.get(name)?.inode
    if (inode === undefined) throw new FsError('ENOENT', `There is no ${name}.`)
    return { node: { ...exportOf(directory), id: inode.id }, attributes: attributesOf(inode) }
  }

  async access(node: Node): Promise<{ access: Access; attributes: Attributes }> {
    await this.#enter('access')
    const attributes = attributesOf(this.#inode(node))
    const directory = attributes.type === 'directory'
    const access = {
      read: true,
      lookup: directory,
      modify: true,
      extend: true,
      delete: true,
      execute: !directory && (attributes.mode & 0o111) !== 0,
    }
    return { access, attributes }
  }

  async read(node: Node, offset: bigint, count: number) {
    await this.#enter('read')
    const inode = file(this.#inode(node))
    const start = offset > inode.size ? inode.size : Number(offset)
    const end = Math.min(inode.size, start + count)
    return { data: [inode.bytes.subarray(start, end)], eof: end === inode.size, attributes: attributesOf(inode) }
  }

  async write(node: Node, offset: bigint, bytes: Uint8Array, stability: Stability) {
    await this.#enter('write')
    const inode = file(this.#inode(node))
    const before = attributesOf(inode)
    const end = offset + BigInt(bytes.length)
    if (end > inode.size) this.#resize(inode, end)
    inode.bytes.set(bytes, Number(offset))
    inode.mtime = inode.ctime = this.#now()
    return { count: bytes.length, committed: stability, change: this.#change(before, inode) }
  }

  async commit(node: Node): Promise<Change> {
    await this.#enter('commit')
    const attributes = attributesOf(file(this.#inode(node)))
    return { before: attributes, after: attributes }
  }

  async create(directory: Node, name: string, how: CreateHow): Promise<Created> {
    await this.#enter('create')
    const parent = this.#directory(directory)
    checkName(name)
    const existing = parent.entries.get(name)?.inode
    if (existing !== undefined) return this.#createExisting(directory, parent, existing, how)
    const attributes = how.kind === 'exclusive' ? {} : how.attributes
    const inode = this.#newInode('file', attributes.mode ?? 0o644)
    this.#apply(inode, attributes)
    if (attributes.size !== undefined) this.#resize(inode, attributes.size)
    if (how.kind === 'exclusive') inode.verifier = how.verifier
    return this.#enterName(directory, parent, name, inode)
  }

  async mkdir(directory: Node, name: string, attributes: NewAttributes): Promise<Created> {
    await this.#enter('mkdir')
    const parent = this.#directory(directory)
    checkName(name)
    if (parent.entries.has(name)) throw new FsError('EEXIST', `${name} exists.`)
    const inode = this.#newInode('directory', attributes.mode ?? 0o755)
    inode.links = 2
    inode.parent = parent
    this.#apply(inode, attributes)
    parent.links++
    return this.#enterName(directory, parent, name, inode)
  }

  async remove(directory: Node, name: string): Promise<Change> {
    await this.#enter('remove')
    const parent = this.#directory(directory)
    checkName(name)
    const inode = parent.entries.get(name)?.inode
    if (inode === undefined) throw new FsError('ENOENT', `There is no ${name}.`)
    if (inode.type === 'directory') throw new FsError('EISDIR', `${name} is a directory.`)
    const before = attributesOf(parent)
    parent.entries.delete(name)
    this.#unlink(inode)
    return this.#touched(parent, before)
  }

  async rmdir(directory: Node, name: string): Promise<Change> {
    await this.#enter('rmdir')
    const parent = this.#directory(directory)
    checkName(name)
    const inode = parent.entries.get(name)?.inode
    if (inode === undefined) throw new FsError('ENOENT', `There is no ${name}.`)
    if (inode.type !== 'directory') throw new FsError('ENOTDIR', `${name} is not a directory.`)
    if (inode.entries.size > 0) throw new FsError('ENOTEMPTY', `${name} is not empty.`)
    const before = attributesOf(parent)
    parent.entries.delete(name)
    parent.links--
    this.#unlink(inode)
    return this.#touched(parent, before)
  }

  async rename(fromDirectory: Node, fromName: string, toDirectory: Node, toName: string) {
    await this.#enter('rename')
    const from = this.#directory(fromDirectory)
    const to = this.#directory(toDirectory)
    checkName(fromName)
    checkName(toName)
    const inode = from.entries.get(fromName)?.inode
    if (inode === undefined) throw new FsError('ENOENT', `There is no ${fromName}.`)
    const target = to.entries.get(toName)?.inode
    const fromBefore = attributesOf(from)
    const toBefore = attributesOf(to)
    if (target !== inode) {
      checkReplace(inode, target, to)
      from.entries.delete(fromName)
      if (target !== undefined) this.#unlink(target)
      if (target?.type === 'directory') to.links--
      to.entries.delete(toName)
      to.entries.set(toName, { inode, cookie: this.#nextCookie++ })
      if (inode.type === 'directory') {
        from.links--
        to.links++
        inode.parent = to
      }
      inode.ctime = this.#now()
    }
    return { from: this.#touched(from, fromBefore), to: this.#touched(to, toBefore) }
  }

  async readdir(directory: Node, cookie: bigint, limit: number): Promise<Listing> {
    await this.#enter('readdir')
    const parent = this.#directory(directory)
    const entries: DirectoryEntry[] = []
    const offer = (name: string, inode: Inode, at: bigint): boolean => {
      if (at <= cookie) return true
      if (entries.length === limit) return false
      const node = { ...exportOf(directory), id: inode.id }
      entries.push({ name, fileId: inode.id, cookie: at, node, attributes: attributesOf(inode) })
      return true
    }
    const all: [string, Inode, bigint][] = [
      ['.', parent, DOT_COOKIE],
      ['..', parent.parent ?? parent, DOT_DOT_COOKIE],
      ...[...parent.entries].map(([name, { inode, cookie }]): [string, Inode, bigint] => [name, inode, cookie]),
    ]
    return { entries, endOfDirectory: all.every(entry => offer(...entry)), verifier: 0n }
  }

  async space(): Promise<SpaceInfo> {
    await this.#enter('space')
    const files = 1_000_000n
    return {
      totalBytes: CAPACITY_BYTES,
      freeBytes: CAPACITY_BYTES,
      availableBytes: CAPACITY_BYTES,
      totalFiles: files,
      freeFiles: files - BigInt(this.#inodes.size),
      availableFiles: files - BigInt(this.#inodes.size),
    }
  }

  async #enter(method: keyof FileSystem): Promise<void> {
    this.calls.push(method)
    const failure = this.failures.get(method)
    if (failure !== undefined) throw failure
    if (this.gate !== undefined) await this.gate
  }

  #createExisting(directory: Node, parent: Inode, existing: Inode, how: CreateHow): Created {
    const repeated = how.kind === 'exclusive' && existing.verifier === how.verifier
    if (how.kind === 'guarded' || (how.kind === 'exclusive' && !repeated)) throw new FsError('EEXIST', 'It exists.')
    if (existing.type === 'directory') throw new FsError('EISDIR', 'It is a directory.')
    if (how.kind === 'unchecked' && how.attributes.size !== undefined) this.#resize(existing, how.attributes.size)
    const same = attributesOf(parent)
    return {
      node: { ...exportOf(directory), id: existing.id },
      attributes: attributesOf(existing),
      directory: { before: same, after: same },
    }
  }

  #enterName(directory: Node, parent: Inode, name: string, inode: Inode): Created {
    const before = attributesOf(parent)
    parent.entries.set(name, { inode, cookie: this.#nextCookie++ })
    return {
      node: { ...exportOf(directory), id: inode.id },
      attributes: attributesOf(inode),
      directory: this.#touched(parent, before),
    }
  }

  #touched(parent: Inode, before: Attributes): Change {
    parent.mtime = parent.ctime = this.#now()
    return this.#change(before, parent)
  }

  #change(before: Attributes, inode: Inode): Change {
    return this.withholdAttributes ? {} : { before, after: attributesOf(inode) }
  }

  #unlink(inode: Inode): void {
    inode.links = 0
    this.#inodes.delete(inode.id)
  }

  #newInode(type: 'file' | 'directory', mode: number): Inode {
    const now = this.#now()
    const inode: Inode = {
      id: this.#nextId++,
      type,
      mode,
      uid: 0,
      gid: 0,
      atime: now,
      mtime: now,
      ctime: now,
      bytes: new Uint8Array(0),
      size: 0,
      verifier: undefined,
      entries: new Map(),
      parent: undefined,
      links: 1,
    }
    this.#inodes.set(inode.id, inode)
    return inode
  }

  #apply(inode: Inode, { mode, uid, gid, size, atime, mtime }: NewAttributes): void {
    if (mode !== undefined) inode.mode = mode
    if (uid !== undefined) inode.uid = uid
    if (gid !== undefined) inode.gid = gid
    if (atime !== undefined) inode.atime = this.#timeOf(atime)
    if (mtime !== undefined) inode.mtime = this.#timeOf(mtime)
    else if (size !== undefined) inode.mtime = this.#now()
  }

  #timeOf(time: SetTime): TimeNs {
    return time.kind === 'server' ? this.#now() : time.time
  }

  #resize(inode: Inode, size: bigint): void {
    if (size > FILE_BYTES_MAX) throw new FsError('EFBIG', 'The file would be too large.')
    const length = Number(size)
    if (length > inode.bytes.length) {
      const grown = new Uint8Array(Math.max(length, 2 * inode.bytes.length))
      grown.set(inode.bytes.subarray(0, inode.size))
      inode.bytes = grown
    } else if (length < inode.size) {
      inode.bytes.fill(0, length, inode.size)
    }
    inode.size = length
  }

  #inode(node: Node): Inode {
    const inode = this.#inodes.get(node.id)
    if (inode === undefined) throw new FsError('ESTALE', `File ${node.id} does not exist any more.`)
    return inode
  }

  #directory(node: Node): Inode {
    const inode = this.#inode(node)
    if (inode.type !== 'directory') throw new FsError('ENOTDIR', 'It is not a directory.')
    return inode
  }

  /** Never the same twice: a client tells versions of a file by their times. */
  #now(): TimeNs {
    const now = BigInt(Date.now()) * 1_000_000n
    this.#lastTime = now > this.#lastTime ? now : this.#lastTime + 1n
    return this.#lastTime
  }
}

function attributesOf(inode: Inode): Attributes {
  return {
    type: inode.type,
    mode: inode.mode,
    links: inode.links,
    uid: inode.uid,
    gid: inode.gid,
    size: BigInt(inode.type === 'directory' ? 4096 : inode.size),
    used: BigInt(inode.type === 'directory' ? 4096 : inode.size),
    fileId: inode.id,
    atime: inode.atime,
    mtime: inode.mtime,
    ctime: inode.ctime,
  }
}

function file(inode: Inode): Inode {
  if (inode.type === 'directory') throw new FsError('EISDIR', 'It is a directory.')
  return inode
}

function checkReplace(inode: Inode, target: Inode | undefined, to: Inode): void {
  if (target !== undefined) {
    if (target.type === 'directory' && inode.type !== 'directory') throw new FsError('EISDIR', 'It is a directory.')
    if (target.type !== 'directory' && inode.type === 'directory') throw new FsError('ENOTDIR', 'It is a file.')
    if (target.entries.size > 0) throw new FsError('ENOTEMPTY', 'The directory is not empty.')
  }
  for (let at = to; at.parent !== undefined && at.parent !== at; at = at.parent) {
    if (at === inode) throw new FsError('EINVAL', 'A directory cannot be moved into itself.')
  }
}

function checkName(name: string): void {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) {
    throw new FsError('EINVAL', `${JSON.stringify(name)} is not a name.`)
  }
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) throw new FsError('ENAMETOOLONG', 'The name is too long.')
}
