import type {
  Attributes,
  Change,
  Client,
  CreateHow,
  FsError,
  NewAttributes,
  ReadResult,
  Stability,
  TimeNs,
  WriteResult,
} from '../filesystem.ts'

/** The part that files and folders share. Methods reject with FsError, or with the error of the room that failed. */
interface NodeBase {
  readonly id: bigint
  /** As sentences call it. */
  readonly name: string
  attributes(client: Client): Promise<Attributes>
  /** Attributes for LOOKUP, listings and SETATTR, where `attributes` would do work that only a reader is to wait for. */
  known?(): Attributes
  /** Without it, only the size of a file can be changed, by `truncate`; modes, owners and times are taken and stay as they are. */
  setattr?(changes: NewAttributes, guardCtime: TimeNs | undefined): Promise<Change>
}

/** A file. What it has no method for is refused. */
export interface FileNode extends NodeBase {
  readonly kind: 'file'
  readonly writable: boolean
  readonly executable?: boolean
  /** It may be written through a read-only export, too, as that changes nothing but what its writer is shown. */
  readonly isAlwaysWritable?: boolean
  /** `.errors` tells of changes of it that are refused, whatever the reason; of others, only of a RefusedChange. */
  readonly isReported?: boolean
  /** The error that a change of it is refused with, if it is read-only for a reason of its own. */
  refusal?(): FsError
  read(offset: bigint, count: number, client: Client): Promise<ReadResult>
  write?(offset: bigint, bytes: Uint8Array, stability: Stability, client: Client): Promise<WriteResult>
  /** SETATTR of the size. */
  truncate?(size: bigint, before: Attributes, client: Client): Promise<Change>
  commit?(client: Client): Promise<Change>
}

/** A folder. Names are checked before they come here, but for `lookup`; '.' and '..' do not. Changes come one after the other. */
export interface DirectoryNode extends NodeBase {
  readonly kind: 'directory'
  /** The id of the folder that it is in; its own, of the root. */
  parent(): Promise<bigint>
  /** Rejects with ENOENT if there is no such name. */
  lookup(name: string, client: Client): Promise<TreeNode>
  /** Entries behind a cookie, in the order of their cookies, without '.' and '..'; at most `limit`. */
  list(after: bigint, limit: number, client: Client): Promise<NodePage>
  create?(name: string, how: CreateHow, client: Client): Promise<CreatedNode>
  mkdir?(name: string, attributes: NewAttributes, client: Client): Promise<CreatedNode>
  remove?(name: string, client: Client): Promise<Change>
  rmdir?(name: string, client: Client): Promise<Change>
  /** EXDEV if the other folder is none that it can give a file to. */
  rename?(
    name: string,
    to: DirectoryNode,
    toName: string,
    client: Client,
  ): Promise<{ readonly from: Change; readonly to: Change }>
}

export type TreeNode = FileNode | DirectoryNode

export interface NodeEntry {
  readonly name: string
  readonly id: bigint
  readonly cookie: bigint
  /** See DirectoryEntry. */
  readonly attributes?: Attributes | undefined
}

export interface NodePage {
  readonly entries: readonly NodeEntry[]
  /** Nothing is behind them. */
  readonly endOfDirectory: boolean
}

/** The node that CREATE or MKDIR made or opened. */
export interface CreatedNode {
  readonly node: { readonly id: bigint }
  readonly attributes: Attributes
  readonly directory: Change
}

/** Nodes by their names, from the root, and by their ids. */
export interface Tree {
  readonly root: DirectoryNode
  /** Returns the node of a handle; throws ESTALE. It does not wait: calls on a file take effect in their order. */
  node(id: bigint, client: Client): TreeNode
}
