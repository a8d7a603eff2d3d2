import { laterTime, MODE, type Owner } from '../attributes.ts'
import type { NewAttributes, TimeNs } from '../filesystem.ts'
import { type Attributes, type Change, type Client, type CreateHow, FsError, type Node } from '../filesystem.ts'
import { exists, RefusedChange, viewStays } from '../names.ts'
import type { Scratch } from '../scratch/scratch.ts'
import type { View } from '../views/view.ts'
import { truncate } from './changes.ts'
import { OWN_COOKIES } from './ids.ts'
import type { CreatedNode, DirectoryNode, NodePage, Tree, TreeNode } from './node.ts'

export interface FolderOptions {
  readonly id: bigint
  readonly name: string
  /** The users' own files. */
  readonly own: Scratch
  /** The views that are laid over them, in the order of the cookies. */
  readonly views: readonly View[]
  readonly node: Tree['node']
}

/** A folder of a table's tree: the users' own files and folders, with views laid over them. */
export class Folder implements DirectoryNode {
  readonly kind = 'directory'
  readonly id: bigint
  readonly name: string
  readonly #own: Scratch
  readonly #views: readonly View[]
  readonly #node: Tree['node']

  constructor({ id, name, own, views, node }: FolderOptions) {
    this.id = id
    this.name = name
    this.#own = own
    this.#views = views
    this.#node = node
  }

  attributes(_client: Client): Promise<Attributes> {
    return this.#own.getattr(this.id)
  }

  async parent(): Promise<bigint> {
    return (await this.#own.lookup(this.id, '..')).id
  }

  async lookup(name: string, client: Client): Promise<TreeNode> {
    const folder = this.#reached(client)
    for (const view of this.#views) {
      const found = await view.lookup(name, folder)
      if (found !== undefined) return found
    }
    return this.#node((await this.#own.lookup(this.id, name)).id, client)
  }

  /** Views, the user's own files, and the views of many names. */
  async list(after: bigint, limit: number, client: Client): Promise<NodePage> {
    const folder = this.#reached(client)
    const first = this.#views.filter(({ cookie }) => cookie < OWN_COOKIES.first)
    const entries = (await Promise.all(first.map(view => view.list(after, limit, folder)))).flat()
    let endOfDirectory = true
    if (after < OWN_COOKIES.end) {
      const own = await this.#own.readdir(this.id, after, limit)
      entries.push(...own.entries)
      endOfDirectory = own.endOfDirectory
    }
    for (const view of this.#views.slice(first.length)) {
      if (!endOfDirectory || entries.length >= limit) break
      entries.push(...(await view.list(after, limit - entries.length, folder)))
    }
    return { entries: entries.slice(0, limit), endOfDirectory: endOfDirectory && entries.length < limit }
  }

  async create(name: string, how: CreateHow, client: Client): Promise<CreatedNode> {
    const folder = this.#reached(client)
    const view = await this.#reserving(name, folder)
    if (view === undefined) return this.#own.create(this.id, name, how)
    if (view.create !== undefined) return view.create(how, folder)
    if (view.refusal !== undefined) throw view.refusal(name)
    if (how.kind !== 'unchecked') throw exists(name)
    const node = await this.lookup(name, client)
    const { size } = how.attributes
    if (node.kind === 'directory') throw isFolder(name)
    if (size !== undefined) await truncate(node, size, await node.attributes(client), client)
    return { node, attributes: await node.attributes(client), directory: {} }
  }

  async mkdir(name: string, attributes: NewAttributes, client: Client): Promise<CreatedNode> {
    const view = await this.#reserving(name, this.#reached(client))
    if (view === undefined) return this.#own.mkdir(this.id, name, attributes)
    if (view.kind === 'directory') throw exists(name)
    if (view.refusal !== undefined) throw view.refusal(name)
    throw new RefusedChange('EEXIST', `${name}: it is a view of the table, and no folder can have its name`)
  }

  async remove(name: string, client: Client): Promise<Change> {
    const folder = this.#reached(client)
    const view = await this.#having(name, folder)
    if (view === undefined) return this.#own.remove(this.id, name)
    if (view.remove !== undefined) return view.remove(folder)
    throw view.kind === 'directory' ? isFolder(name) : stays(view, name)
  }

  async rmdir(name: string, client: Client): Promise<Change> {
    const view = await this.#having(name, this.#reached(client))
    if (view === undefined) return this.#own.rmdir(this.id, name)
    throw view.kind === 'directory' ? stays(view, name) : new FsError('ENOTDIR', `${name} is not a directory`)
  }

  async rename(
    name: string,
    to: DirectoryNode,
    toName: string,
    client: Client,
  ): Promise<{ readonly from: Change; readonly to: Change }> {
    if (!(to instanceof Folder) || to.#own !== this.#own) {
      throw new FsError('EXDEV', `${name} cannot be moved to ${to.name}, which is of another file system; copy it`)
    }
    const from = this.#reached(client)
    const onto = to.#reached(client)
    const moved = await this.#having(name, from)
    const replaced = await to.#reserving(toName, onto)
    if (moved !== undefined && moved === replaced && moved.renameAway !== undefined) return { from: {}, to: {} }
    if (moved !== undefined && (moved.renameAway === undefined || replaced?.renameOnto !== undefined))
      throw stays(moved, name)
    if (replaced !== undefined && replaced.renameOnto === undefined) throw stays(replaced, toName)
    if (moved === undefined && replaced === undefined) return this.#own.rename(this.id, name, to.id, toName)
    await (moved === undefined ? replaced?.renameOnto?.(from, name) : moved.renameAway?.(onto, toName))
    return { from: {}, to: {} }
  }

  #reached(client: Client): Node {
    return { ...client, id: this.id }
  }

  /** The view for which a name is kept. */
  async #reserving(name: string, folder: Node): Promise<View | undefined> {
    for (const view of this.#views) if (await view.reserves(name, folder)) return view
    return undefined
  }

  /** The view that a name is one of. */
  async #having(name: string, folder: Node): Promise<View | undefined> {
    const view = await this.#reserving(name, folder)
    return view === undefined || view.hides(name) || (await view.lookup(name, folder)) !== undefined ? view : undefined
  }
}

/** A folder that users have made. */
export class UsersFolder extends Folder {
  readonly #own: Scratch

  constructor(options: FolderOptions) {
    super(options)
    this.#own = options.own
  }

  setattr(changes: NewAttributes, guardCtime: TimeNs | undefined): Promise<Change> {
    return this.#own.setattr(this.id, changes, guardCtime)
  }
}

export interface FixedFolderOptions extends FolderOptions {
  readonly owner: Owner
  readonly now: () => TimeNs
  /** Looks for what may have changed in it. */
  readonly look?: () => Promise<unknown>
}

/** A folder that is always there. Its times are also those of its views' names. */
export class FixedFolder extends Folder {
  readonly #options: FixedFolderOptions
  #time: TimeNs

  constructor(options: FixedFolderOptions) {
    super(options)
    this.#options = options
    this.#time = options.now()
  }

  override async attributes(client: Client): Promise<Attributes> {
    await this.#options.look?.()
    const { uid, gid } = this.#options.owner
    const own = await super.attributes(client)
    // biome-ignore lint/complexity/useMathMinMax: Math.max takes no bigint.
    const mtime = own.mtime > this.#time ? own.mtime : this.#time
    return { ...own, mode: MODE.directory, uid, gid, mtime, ctime: mtime }
  }

  /** Moves its mtime forward: its entries have changed. */
  touch(): void {
    this.#time = laterTime(this.#options.now(), this.#time)
  }
}

function isFolder(name: string): FsError {
  return new FsError('EISDIR', `${name} is a directory`)
}

function stays(view: View, name: string): FsError {
  if (view.refusal !== undefined) return view.refusal(name)
  if (view.kind === 'file') return viewStays(name)
  const sentence = 'it is the folder of the views, and cannot be removed, renamed or replaced'
  return new RefusedChange('EACCES', `${name}: ${sentence}`)
}
