import type { Change, CreateHow, FsError, Node, ReadResult } from '../filesystem.ts'
import { noEntry, RefusedChange } from '../names.ts'
import { fewParts, type Text } from '../text/text.ts'
import type { CreatedNode, NodeEntry, TreeNode } from '../tree/node.ts'

/** The part of a view that stands in the list of views (views/index.ts). */
export interface ViewEntry {
  /** A star stands for any part of a name. */
  readonly name: string
  /** Its place in a listing. Of many names, where theirs begin: the views behind it have greater ones. */
  readonly cookie: bigint
  /** Hidden names are found by who knows them. */
  readonly listed: boolean
  readonly writable: boolean
}

/**
 * The names that the server itself puts into a folder, one or many of one kind, and the nodes they lead to. `folder` is
 * the folder as a client reaches it. What it has no method for is refused.
 */
export interface View {
  readonly kind: 'file' | 'directory'
  readonly cookie: bigint
  /** True if nothing of the user's can get this name. */
  reserves(name: string, folder: Node): boolean | Promise<boolean>
  /** True if what is on disk under this name is not shown, as the view has it. */
  hides(name: string): boolean
  /** Returns the node of a name; undefined: there is none of this view's. Rejects with ENOENT while the name is away. */
  lookup(name: string, folder: Node): Promise<TreeNode | undefined>
  /** Its entries behind a cookie, at most `limit`, in the order of their cookies. */
  list(after: bigint, limit: number, folder: Node): Promise<readonly NodeEntry[]>
  /** Returns the node of a handle, if it is one of this view's. */
  find(node: Node): TreeNode | undefined
  create?(how: CreateHow, folder: Node): Promise<CreatedNode>
  remove?(folder: Node): Promise<Change>
  /** RENAME of the view to another name. */
  renameAway?(to: Node, toName: string): Promise<void>
  /** RENAME of a user's file to the view's name. */
  renameOnto?(from: Node, fromName: string): Promise<void>
  /** Returns the error that a change of a name is refused with, if there is a reason of its own. */
  refusal?(name: string): FsError
}

/** A view with one name. */
export interface NamedView
  extends Pick<View, 'kind' | 'find' | 'create' | 'remove' | 'renameAway' | 'renameOnto' | 'refusal'> {
  /** Returns the node of the name; undefined: the name is away. */
  open(folder: Node): TreeNode | Promise<TreeNode | undefined>
  /** Its entry in a listing; undefined: none. Without this method it is that of what the name leads to. */
  entry?(folder: Node): Promise<Pick<NodeEntry, 'id' | 'attributes'> | undefined>
}

/** The view of an entry of the list that has one name. */
export function named({ name, cookie, listed }: ViewEntry, view: NamedView): View {
  const isName = (other: string): boolean => other === name
  const entry = async (folder: Node): Promise<Pick<NodeEntry, 'id' | 'attributes'> | undefined> => {
    if (view.entry !== undefined) return view.entry(folder)
    const node = await view.open(folder)
    return node && { id: node.id, attributes: await node.attributes(folder) }
  }
  return {
    ...view,
    cookie,
    reserves: isName,
    hides: isName,
    lookup: async (other, folder) => {
      if (!isName(other)) return undefined
      const node = await view.open(folder)
      if (node === undefined) throw noEntry(name)
      return node
    },
    list: async (after, _limit, folder) => {
      const found = listed && cookie > after ? await entry(folder) : undefined
      return found === undefined ? [] : [{ ...found, name, cookie }]
    },
  }
}

/** READs of so many bytes give them as they are kept; those of fewer are put together. */
const PARTED_BYTES_MIN = 64 << 10

/** The bytes that a READ of a text gives: fewer than asked for only before its end. */
export async function readText(text: Text, offset: bigint, count: number): Promise<Omit<ReadResult, 'attributes'>> {
  const start = offset < BigInt(text.size) ? Number(offset) : text.size
  const end = Math.min(start + count, text.size)
  const eof = end === text.size
  if (start === end) return { data: [], eof }
  if (end - start < PARTED_BYTES_MIN || text.parts === undefined) return { data: [await text.read(start, end)], eof }
  return { data: fewParts(await text.parts(start, end)), eof }
}

/** An offset or a size in a view, from the wire. Throws EFBIG. */
export function offsetIn(name: string, value: bigint): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value)
  throw new RefusedChange('EFBIG', `${name}: ${value} is beyond the largest file posixlake serves`)
}
