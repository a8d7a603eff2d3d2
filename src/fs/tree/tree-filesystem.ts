import { LakeError, messageOf } from '../../core/errors.ts'
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
  type ReadResult,
  type SpaceInfo,
  type Stability,
  type TimeNs,
  type WriteResult,
} from '../filesystem.ts'
import { checkName, RefusedChange } from '../names.ts'
import { isDirectory, notWritable, truncate } from './changes.ts'
import { DOT_COOKIE, DOT_DOT_COOKIE } from './ids.ts'
import type { CreatedNode, DirectoryNode, NodeEntry, Tree, TreeNode } from './node.ts'

export interface TreeFileSystemOptions {
  /** See FileSystem. */
  readonly writeVerifier: bigint
  readonly space: () => SpaceInfo
  /** Runs changes of names one after the other: what one of them looks up must still hold when it acts. */
  readonly alone: <T>(run: () => Promise<T>) => Promise<T>
  /** Hears of refusals of which `.errors` is to tell; see FileNode. */
  readonly onRefused: (sentence: string) => void
  readonly log: (sentence: string) => void
}

/** RFC 1813, cookieverf3: cookies never go bad. */
const VERIFIER = 1n

/** A tree of nodes as a file system. What files and folders are, is theirs to say; here it is asked for, and told. */
export class TreeFileSystem implements FileSystem {
  readonly writeVerifier: bigint
  readonly #tree: Tree
  readonly #options: TreeFileSystemOptions

  constructor(tree: Tree, options: TreeFileSystemOptions) {
    this.#tree = tree
    this.#options = options
    this.writeVerifier = options.writeVerifier
  }

  root(through: Export): FileRef {
    return { id: this.#tree.root.id, ...exportOf(through) }
  }

  isAlwaysWritable(node: Node): boolean {
    try {
      const found = this.#node(node)
      return found.kind === 'file' && found.isAlwaysWritable === true
    } catch {
      // Whoever calls on it is told what is the matter.
      return false
    }
  }

  // --- attributes --------------------------------------------------------------------------------------------------

  async getattr(node: Node): Promise<Attributes> {
    return this.#guarded(() => this.#node(node).attributes(node))
  }

  async setattr(node: Node, changes: NewAttributes, guardCtime?: TimeNs): Promise<Change> {
    return this.#changing(node, async found => {
      if (found.setattr !== undefined) return found.setattr(changes, guardCtime)
      const before = await known(found, node)
      if (guardCtime !== undefined && before.ctime !== guardCtime) {
        throw new FsError('ENOTSYNC', 'the file changed since the client last looked at it')
      }
      if (changes.size === undefined) return { before, after: before }
      return truncate(found, changes.size, before, node)
    })
  }

  async access(node: Node): Promise<{ access: Access; attributes: Attributes }> {
    return this.#guarded(async () => {
      const found = this.#node(node)
      const attributes = await found.attributes(node)
      const isFolder = found.kind === 'directory'
      const writable = isFolder ? found.create !== undefined : found.writable
      const access = {
        read: true,
        lookup: isFolder,
        modify: writable,
        extend: writable,
        delete: writable && isFolder,
        execute: !isFolder && found.executable === true,
      }
      return { access, attributes }
    })
  }

  // --- names -------------------------------------------------------------------------------------------------------

  async lookup(directory: Node, name: string): Promise<{ node: FileRef; attributes: Attributes }> {
    return this.#guarded(async () => {
      const found = await this.#lookup(this.#directory(directory), name, directory)
      return { node: ref(found.id, directory), attributes: await known(found, directory) }
    })
  }

  async #lookup(folder: DirectoryNode, name: string, directory: Node): Promise<TreeNode> {
    if (name === '.') return folder
    if (name === '..') return this.#tree.node(await folder.parent(), directory)
    return folder.lookup(name, directory)
  }

  async readdir(directory: Node, cookie: bigint, limit: number): Promise<Listing> {
    return this.#guarded(async () => {
      const folder = this.#directory(directory)
      const dots = await this.#dots(folder, cookie, directory)
      // One more than asked for tells whether there is one; it comes again with the next call.
      const { entries: behind, endOfDirectory } = await folder.list(cookie, limit + 1 - dots.length, directory)
      const entries = [...dots, ...behind]
      return {
        entries: entries.slice(0, limit).map(entry => listed(entry, directory)),
        endOfDirectory: endOfDirectory && entries.length <= limit,
        verifier: VERIFIER,
      }
    })
  }

  /** The entries behind a cookie that every folder begins with. */
  async #dots(folder: DirectoryNode, cookie: bigint, directory: Node): Promise<NodeEntry[]> {
    const names = [['.', DOT_COOKIE] as const, ['..', DOT_DOT_COOKIE] as const].filter(([, at]) => at > cookie)
    return Promise.all(
      names.map(async ([name, at]) => {
        const node = await this.#lookup(folder, name, directory)
        return { name, id: node.id, cookie: at, attributes: await node.attributes(directory) }
      }),
    )
  }

  // --- bytes -------------------------------------------------------------------------------------------------------

  async read(node: Node, offset: bigint, count: number): Promise<ReadResult> {
    return this.#guarded(() => {
      const found = this.#node(node)
      if (found.kind === 'directory') throw isDirectory()
      return found.read(offset, count, node)
    })
  }

  async write(node: Node, offset: bigint, bytes: Uint8Array, stability: Stability): Promise<WriteResult> {
    return this.#changing(node, found => {
      if (found.kind === 'directory') throw isDirectory()
      if (found.write === undefined) throw notWritable(found)
      return found.write(offset, bytes, stability, node)
    })
  }

  async commit(node: Node, _offset: bigint, _count: number): Promise<Change> {
    return this.#changing(node, async found => {
      if (found.kind === 'directory') throw isDirectory()
      return (await found.commit?.(node)) ?? {}
    })
  }

  // --- changes of names ----------------------------------------------------------------------------------------------

  async create(directory: Node, name: string, how: CreateHow): Promise<Created> {
    return this.#changingNames([name], async () => {
      const folder = this.#directory(directory)
      if (folder.create === undefined) throw notChangeable(folder)
      return created(await folder.create(name, how, directory), directory)
    })
  }

  async mkdir(directory: Node, name: string, attributes: NewAttributes): Promise<Created> {
    return this.#changingNames([name], async () => {
      const folder = this.#directory(directory)
      if (folder.mkdir === undefined) throw notChangeable(folder)
      return created(await folder.mkdir(name, attributes, directory), directory)
    })
  }

  async remove(directory: Node, name: string): Promise<Change> {
    return this.#changingNames([name], async () => {
      const folder = this.#directory(directory)
      if (folder.remove === undefined) throw notChangeable(folder)
      return folder.remove(name, directory)
    })
  }

  async rmdir(directory: Node, name: string): Promise<Change> {
    return this.#changingNames([name], async () => {
      const folder = this.#directory(directory)
      if (folder.rmdir === undefined) throw notChangeable(folder)
      return folder.rmdir(name, directory)
    })
  }

  async rename(from: Node, fromName: string, to: Node, toName: string): Promise<{ from: Change; to: Change }> {
    return this.#changingNames([fromName, toName], async () => {
      const folder = this.#directory(from)
      const other = this.#directory(to)
      for (const each of [folder, other]) if (each.rename === undefined) throw notChangeable(each)
      return folder.rename!(fromName, other, toName, from)
    })
  }

  // --- the rest ------------------------------------------------------------------------------------------------------

  async space(): Promise<SpaceInfo> {
    return this.#guarded(async () => this.#options.space())
  }

  #node(node: Node): TreeNode {
    return this.#tree.node(node.id, node)
  }

  #directory(node: Node): DirectoryNode {
    const found = this.#node(node)
    if (found.kind === 'file') throw new FsError('ENOTDIR', `${found.name} is not a directory`)
    return found
  }

  /** A change of a node itself. */
  #changing<T>(node: Node, run: (found: TreeNode) => Promise<T>): Promise<T> {
    return this.#guarded(async () => {
      const found = this.#node(node)
      try {
        return await run(found)
      } catch (error) {
        if (error instanceof RefusedChange) this.#options.onRefused(error.message)
        else if (found.kind === 'file' && found.isReported === true && isRefusal(error))
          this.#options.onRefused(named(error, found.name))
        throw error
      }
    })
  }

  #changingNames<T>(names: readonly string[], run: () => Promise<T>): Promise<T> {
    return this.#guarded(() =>
      this.#options.alone(async () => {
        try {
          for (const name of names) checkName(name)
          return await run()
        } catch (error) {
          if (error instanceof RefusedChange) this.#options.onRefused(error.message)
          throw error
        }
      }),
    )
  }

  /** Only FsErrors leave the file system; what else goes wrong is told in the log, and is EIO to the client. */
  async #guarded<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (error) {
      if (error instanceof FsError) throw error
      const sentence = messageOf(error)
      this.#options.log(
        error instanceof LakeError ? sentence : `${sentence}\n${error instanceof Error ? error.stack : ''}`,
      )
      throw new FsError('EIO', sentence, { cause: error })
    }
  }
}

async function known(node: TreeNode, client: Node): Promise<Attributes> {
  return node.known?.() ?? node.attributes(client)
}

/** A file, through the export that its folder was reached through. */
function ref(id: bigint, through: Export): FileRef {
  return { id, ...exportOf(through) }
}

function listed({ id, ...entry }: NodeEntry, directory: Node): DirectoryEntry {
  return { ...entry, fileId: id, node: ref(id, directory) }
}

function created({ node, ...made }: CreatedNode, directory: Node): Created {
  return { ...made, node: ref(node.id, directory) }
}

/** True if an error is one of which the user who meant the change is to hear; a client that looks anew is none. */
function isRefusal(error: unknown): error is FsError {
  return error instanceof FsError && error.code !== 'ENOTSYNC'
}

/** A sentence that begins with the file's name, as that of a RefusedChange does. */
function named({ message }: FsError, name: string): string {
  return message.startsWith(`${name}: `) ? message : `${name}: ${message}`
}

function notChangeable({ name }: DirectoryNode): FsError {
  return new RefusedChange('EACCES', `${name}: nothing can be put into this folder or taken out of it`)
}
