import type { BigIntStats } from 'node:fs'
import type { Owner } from '../attributes.ts'
import type { Attributes } from '../filesystem.ts'
import type { Nodes } from './nodes.ts'
import type { FolderEntry, RealTree } from './real-tree.ts'
import { MODE } from './system.ts'

/** The attributes of the users' files and folders, as GETATTR tells them. */
export class Stats {
  readonly #owner: Owner
  readonly #tree: RealTree
  readonly #nodes: Nodes

  constructor(owner: Owner, tree: RealTree, nodes: Nodes) {
    this.#owner = owner
    this.#tree = tree
    this.#nodes = nodes
  }

  byId(id: bigint): Attributes {
    const row = this.#tree.isFixed(id) ? undefined : this.#nodes.get(id)
    if (row?.kind === 'reference') return this.ofEntry({ row, real: undefined })
    return this.of(id, this.#tree.real(id).stat)
  }

  ofEntry({ row, real }: FolderEntry): Attributes {
    if (real !== undefined) return this.of(real.id, real.stat)
    const { id, size, mtime } = row
    const times = { atime: mtime, mtime, ctime: mtime }
    return { type: 'file', mode: MODE.reference, links: 1, ...this.#owner, size, used: size, fileId: id, ...times }
  }

  of(id: bigint, stat: BigIntStats): Attributes {
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
}
