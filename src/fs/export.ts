import {
  type Access,
  type Attributes,
  type Change,
  type Created,
  type CreateHow,
  type Export,
  type FileRef,
  type FileSystem,
  FsError,
  type FsErrorCode,
  type Listing,
  type NewAttributes,
  type Node,
  type SpaceInfo,
  type Stability,
  type TimeNs,
} from './filesystem.ts'

/** The codes of failed calls that are told of: refusals and failing disks, not that a name is missing or taken. */
const TOLD: ReadonlySet<FsErrorCode> = new Set([
  'EIO',
  'EINVAL',
  'EACCES',
  'EPERM',
  'EROFS',
  'EFBIG',
  'ENOSPC',
  'EDQUOT',
])

/**
 * A tree as its exports show it (see Export): what is reached through a read-only one cannot be changed. `onFailure`
 * hears of what went wrong, beside the client.
 */
export class ExportedFileSystem implements FileSystem {
  readonly #fs: FileSystem
  readonly #onFailure: (call: string, error: FsError) => void

  constructor(fs: FileSystem, onFailure: (call: string, error: FsError) => void = () => undefined) {
    this.#fs = fs
    this.#onFailure = onFailure
  }

  get writeVerifier(): bigint {
    return this.#fs.writeVerifier
  }

  root(through: Export): FileRef {
    return this.#fs.root(through)
  }

  getattr(node: Node): Promise<Attributes> {
    return this.#watched('getattr', () => this.#fs.getattr(node))
  }

  setattr(node: Node, changes: NewAttributes, guardCtime?: TimeNs): Promise<Change> {
    return this.#changing('setattr', [node], () => this.#fs.setattr(node, changes, guardCtime))
  }

  lookup(directory: Node, name: string): Promise<{ node: FileRef; attributes: Attributes }> {
    return this.#watched('lookup', () => this.#fs.lookup(directory, name))
  }

  async access(node: Node): Promise<{ access: Access; attributes: Attributes }> {
    const { access, attributes } = await this.#watched('access', () => this.#fs.access(node))
    if (!this.#isRefused(node)) return { access, attributes }
    return { access: { ...access, modify: false, extend: false, delete: false }, attributes }
  }

  read(node: Node, offset: bigint, count: number): ReturnType<FileSystem['read']> {
    return this.#watched('read', () => this.#fs.read(node, offset, count))
  }

  write(node: Node, offset: bigint, bytes: Uint8Array, stability: Stability): ReturnType<FileSystem['write']> {
    return this.#changing('write', [node], () => this.#fs.write(node, offset, bytes, stability))
  }

  commit(node: Node, offset: bigint, count: number): Promise<Change> {
    return this.#changing('commit', [node], () => this.#fs.commit(node, offset, count))
  }

  create(directory: Node, name: string, how: CreateHow): Promise<Created> {
    return this.#changing('create', [directory], () => this.#fs.create(directory, name, how))
  }

  mkdir(directory: Node, name: string, attributes: NewAttributes): Promise<Created> {
    return this.#changing('mkdir', [directory], () => this.#fs.mkdir(directory, name, attributes))
  }

  remove(directory: Node, name: string): Promise<Change> {
    return this.#changing('remove', [directory], () => this.#fs.remove(directory, name))
  }

  rmdir(directory: Node, name: string): Promise<Change> {
    return this.#changing('rmdir', [directory], () => this.#fs.rmdir(directory, name))
  }

  rename(from: Node, fromName: string, to: Node, toName: string): ReturnType<FileSystem['rename']> {
    return this.#changing('rename', [from, to], () => this.#fs.rename(from, fromName, to, toName))
  }

  readdir(directory: Node, cookie: bigint, limit: number): Promise<Listing> {
    return this.#watched('readdir', () => this.#fs.readdir(directory, cookie, limit))
  }

  space(node: Node): Promise<SpaceInfo> {
    return this.#watched('space', () => this.#fs.space(node))
  }

  #changing<T>(call: string, nodes: readonly Node[], run: () => Promise<T>): Promise<T> {
    if (nodes.some(node => this.#isRefused(node)))
      return Promise.reject(new FsError('EROFS', 'the table is mounted read-only'))
    return this.#watched(call, run)
  }

  #isRefused(node: Node): boolean {
    return node.readOnly && this.#fs.isAlwaysWritable?.(node) !== true
  }

  /** Begins at once: calls on a file take effect in the order in which they are made. */
  #watched<T>(call: string, run: () => Promise<T>): Promise<T> {
    const result = run()
    result.catch(error => {
      if (error instanceof FsError && TOLD.has(error.code)) this.#onFailure(call, error)
    })
    return result
  }
}
