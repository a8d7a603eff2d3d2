import { LakeError } from '../core/errors.ts'

/** The POSIX errors a FileSystem may raise; nfs3/status.ts maps each onto an nfsstat3 (RFC 1813, 2.6). */
export type FsErrorCode =
  | 'EPERM'
  | 'ENOENT'
  | 'EIO'
  | 'EACCES'
  | 'EEXIST'
  | 'EXDEV'
  | 'ENOTDIR'
  | 'EISDIR'
  | 'EINVAL'
  | 'EFBIG'
  | 'ENOSPC'
  | 'EROFS'
  | 'ENAMETOOLONG'
  | 'ENOTEMPTY'
  | 'EDQUOT'
  | 'ESTALE'
  | 'ETOOSMALL'
  | 'ENOTSYNC'
  | 'EJUKEBOX'
  | 'EMLINK'

export class FsError extends LakeError<FsErrorCode> {}

/** The facts in which the exports of one tree differ. All that is reached through an export belongs to it. */
export interface Export {
  /** Set for the mounts of this machine: an old version of a view goes on being shown to who opened it. */
  readonly frozen: boolean
  /** Every change is refused with EROFS, and `access` shows it. */
  readonly readOnly: boolean
  /** Other users than root and the one who serves are let in, too. */
  readonly others: boolean
}

/** The properties of Export, alone. */
export function exportOf({ frozen, readOnly, others }: Export): Export {
  return { frozen, readOnly, others }
}

/**
 * The file that a handle stands for. `id` has up to 80 bits (see tree/ids.ts): it never changes meaning while a handle may
 * hold it, and survives restarts.
 */
export interface FileRef extends Export {
  readonly id: bigint
}

/** The maker of a call (RFC 5531, section 8.2), as far as the server knows. */
export interface Caller {
  /** The number of the connection that it came over, counted from the server's start. */
  readonly connection: number
  /** The address and the port of its other end: a client that connects anew, also to a later server, mostly does so from there. */
  readonly peer?: string
  /** Of its AUTH_SYS credential. */
  readonly uid: number | undefined
  /** The inode number of the other end's socket, if that is one of this machine: /proc tells who holds it. */
  readonly socket: number | undefined
  /** The call itself. */
  readonly call?: CallerCall
}

/** A call, as long as it is being executed. */
export interface CallerCall {
  /** Tells the call from all others, and is the same when it is repeated; undefined for calls that may be executed twice. */
  readonly name: string | undefined
  /** Aborted when nobody waits for the reply any more: the connection broke, and the client did not repeat the call. */
  readonly signal: AbortSignal
}

/** The maker of a call, and the export that it came through. */
export interface Client extends Export {
  readonly caller: Caller
}

/** A file or folder, as one client reaches it. */
export interface Node extends FileRef, Client {}

/** Nanoseconds since the epoch. */
export type TimeNs = bigint

export interface Attributes {
  readonly type: 'file' | 'directory'
  /** Permission bits only, e.g. 0o644. */
  readonly mode: number
  readonly links: number
  readonly uid: number
  readonly gid: number
  readonly size: bigint
  /** Bytes on disk, as `du` counts them. */
  readonly used: bigint
  /** Of 64 bits; different for all files that one root shows. */
  readonly fileId: bigint
  readonly atime: TimeNs
  readonly mtime: TimeNs
  readonly ctime: TimeNs
}

/**
 * The attributes of an object before and after a change (RFC 1813, wcc_data). Either may be withheld on purpose: where the
 * file is not what its client has written, the client has to ask for them.
 */
export interface Change {
  readonly before?: Attributes | undefined
  readonly after?: Attributes | undefined
}

export type SetTime = { readonly kind: 'server' } | { readonly kind: 'client'; readonly time: TimeNs }

export interface NewAttributes {
  readonly mode?: number | undefined
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  readonly size?: bigint | undefined
  readonly atime?: SetTime | undefined
  readonly mtime?: SetTime | undefined
}

/** RFC 1813, createhow3. An exclusive create repeated with the same verifier succeeds and names the same file. */
export type CreateHow =
  | { readonly kind: 'unchecked' | 'guarded'; readonly attributes: NewAttributes }
  | { readonly kind: 'exclusive'; readonly verifier: bigint }

export interface Created {
  readonly node: FileRef
  readonly attributes: Attributes
  readonly directory: Change
}

export interface DirectoryEntry {
  readonly name: string
  readonly fileId: bigint
  /** The cookie that the next READDIR continues from; stays valid while entries come and go. */
  readonly cookie: bigint
  readonly node: FileRef
  /** Absent where it is not known yet (a view that is still being measured): the client then asks GETATTR, which waits. */
  readonly attributes?: Attributes | undefined
}

export interface Listing {
  readonly entries: readonly DirectoryEntry[]
  readonly endOfDirectory: boolean
  /** RFC 1813, cookieverf3; always the same, as cookies never go bad. */
  readonly verifier: bigint
}

export interface ReadResult {
  /** The bytes in parts, as they are kept: to put many together takes longer than to send them. Not to be written to. */
  readonly data: readonly Uint8Array[]
  readonly eof: boolean
  /**
   * Of the file that the bytes are from. The Linux client keeps the length of the head of a mount's first READ reply, and
   * fails every later one whose head is longer: so none may do without.
   */
  readonly attributes: Attributes
}

export type Stability = 'unstable' | 'data_sync' | 'file_sync'

export interface WriteResult {
  readonly count: number
  readonly committed: Stability
  readonly change: Change
}

export interface Access {
  readonly read: boolean
  /** Directories: search. Files: execute. */
  readonly lookup: boolean
  readonly modify: boolean
  readonly extend: boolean
  readonly delete: boolean
  readonly execute: boolean
}

export interface SpaceInfo {
  readonly totalBytes: bigint
  readonly freeBytes: bigint
  readonly availableBytes: bigint
  readonly totalFiles: bigint
  readonly freeFiles: bigint
  readonly availableFiles: bigint
}

/**
 * The files that the NFS server serves, POSIX-like and by node, with no wire types. Every method rejects with FsError only.
 * Names are checked here (no '/', NUL, '.', '..', at most 255 UTF-8 bytes). All changes are durable when the promise
 * resolves, except `write` with 'unstable'.
 */
export interface FileSystem {
  /** The root directory, reached through an export. */
  root(through: Export): FileRef
  /** True if a node may be written through a read-only export, too, as that changes nothing but what its writer is shown. */
  isAlwaysWritable?(node: Node): boolean
  /** Changes only if something answered 'unstable' was lost since (RFC 1813, writeverf3). */
  readonly writeVerifier: bigint

  getattr(node: Node): Promise<Attributes>
  /** `guardCtime`: fail with ENOTSYNC if the ctime differs (RFC 1813, sattrguard3). */
  setattr(node: Node, changes: NewAttributes, guardCtime?: TimeNs): Promise<Change>
  /** '.' and '..' are allowed here. */
  lookup(directory: Node, name: string): Promise<{ node: FileRef; attributes: Attributes }>
  /** The attributes are those of `getattr`: a client that opens a file asks for its rights, not always for its size. */
  access(node: Node): Promise<{ access: Access; attributes: Attributes }>
  /** At most `count` bytes; fewer only before the end of the file. `eof` if they reach it. */
  read(node: Node, offset: bigint, count: number): Promise<ReadResult>
  /** `bytes` may be kept by the file system; the caller does not reuse them. */
  write(node: Node, offset: bigint, bytes: Uint8Array, stability: Stability): Promise<WriteResult>
  commit(node: Node, offset: bigint, count: number): Promise<Change>
  create(directory: Node, name: string, how: CreateHow): Promise<Created>
  mkdir(directory: Node, name: string, attributes: NewAttributes): Promise<Created>
  remove(directory: Node, name: string): Promise<Change>
  rmdir(directory: Node, name: string): Promise<Change>
  rename(
    fromDirectory: Node,
    fromName: string,
    toDirectory: Node,
    toName: string,
  ): Promise<{ from: Change; to: Change }>
  /** Entries after `cookie` (0n: from the start), '.' and '..' included, at most `limit`; always at least one unless at the end. */
  readdir(directory: Node, cookie: bigint, limit: number): Promise<Listing>
  /** Of the file system that a node is in. */
  space(node: Node): Promise<SpaceInfo>
}
