import { MODE } from '../../../src/fs/attributes.ts'
import { type Attributes, type Client, type FileSystem, FsError } from '../../../src/fs/filesystem.ts'
import { noEntry } from '../../../src/fs/names.ts'
import { MountedFileSystem } from '../../../src/fs/tree/mounts.ts'
import type { DirectoryNode, NodePage, Tree, TreeNode } from '../../../src/fs/tree/node.ts'
import { TreeFileSystem } from '../../../src/fs/tree/tree-filesystem.ts'

const TIME = 1_700_000_000_000_000_000n

/** A folder with the nodes that it is given, which cannot be changed. Their ids are the cookies. */
export class StaticFolder implements DirectoryNode {
  readonly kind = 'directory'
  readonly id: bigint
  readonly name: string
  readonly nodes: readonly TreeNode[]
  readonly #parentId: bigint

  constructor(id: bigint, parentId: bigint, name: string, nodes: readonly TreeNode[]) {
    this.id = id
    this.name = name
    this.nodes = nodes
    this.#parentId = parentId
  }

  async parent(): Promise<bigint> {
    return this.#parentId
  }

  async attributes(): Promise<Attributes> {
    const times = { atime: TIME, mtime: TIME, ctime: TIME }
    const sizes = { size: 4096n, used: 4096n }
    return { type: 'directory', mode: MODE.directory, links: 2, uid: 0, gid: 0, ...sizes, fileId: this.id, ...times }
  }

  async lookup(name: string): Promise<TreeNode> {
    const found = this.nodes.find(node => node.name === name)
    if (found === undefined) throw noEntry(name)
    return found
  }

  async list(after: bigint, limit: number, client: Client): Promise<NodePage> {
    const behind = this.nodes.filter(({ id }) => id > after)
    const entries = behind.slice(0, limit).map(async node => {
      return { name: node.name, id: node.id, cookie: node.id, attributes: await node.attributes(client) }
    })
    return { entries: await Promise.all(entries), endOfDirectory: behind.length <= limit }
  }
}

function treeOf(root: StaticFolder): Tree {
  const all = new Map([root, ...root.nodes].map(node => [node.id, node]))
  return {
    root,
    node: id => {
      const node = all.get(id)
      if (node === undefined) throw new FsError('ESTALE', `there is no file with the id ${id}`)
      return node
    },
  }
}

/** A file system under a name and a number that nothing else ever has. */
export interface Beside {
  readonly name: string
  readonly number: number
  readonly fileSystem: FileSystem
}

/** File systems in folders of one root. */
export function sideBySide(all: readonly Beside[]): MountedFileSystem {
  const folderOf = ({ number }: Beside): bigint => BigInt(1 + number)
  const points = all.map(each => new StaticFolder(folderOf(each), 1n, each.name, []))
  const root = new TreeFileSystem(treeOf(new StaticFolder(1n, 1n, 'the root', points)), {
    writeVerifier: 1n,
    space: () => ({
      totalBytes: 1n,
      freeBytes: 1n,
      availableBytes: 1n,
      totalFiles: 1n,
      freeFiles: 1n,
      availableFiles: 1n,
    }),
    alone: run => run(),
    onRefused: () => undefined,
    log: () => undefined,
  })
  return new MountedFileSystem(
    root,
    all.map(each => ({ number: each.number, folder: folderOf(each), fileSystem: each.fileSystem })),
  )
}
