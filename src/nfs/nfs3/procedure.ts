import { messageOf } from '../../core/errors.ts'
import { type FileRef, type FileSystem, FsError, type Node } from '../../fs/filesystem.ts'
import { callerOf, mayCall } from '../access.ts'
import type { Exports } from '../exports.ts'
import { type Call, type Procedure, procedure } from '../rpc/program.ts'
import type { Codec } from '../xdr/codec.ts'
import type { Handles } from './handles.ts'
import { NFS3_OK, NFS3ERR_BADHANDLE, nfsstat3, statusName } from './status.ts'
import { type Nfsres3, nfsres3 } from './wire.ts'

/** The context that the procedures share. */
export interface Nfs3Context {
  readonly fs: FileSystem
  readonly handles: Handles
  readonly exports: Exports
  log(sentence: string): void
  /** Returns the file that a handle stands for. Throws NfsStatusError if it is not one of ours. */
  open(handle: Uint8Array): FileRef
  fsid(node: FileRef): bigint
}

/** The context of one call of a procedure. */
export interface Nfs3Call extends Nfs3Context {
  /** Returns the file that a handle stands for, as the caller reaches it. Throws NfsStatusError if it is not one of ours. */
  node(handle: Uint8Array): Node
}

/** A status that is decided before the file system is asked. */
class NfsStatusError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.name = 'NfsStatusError'
    this.status = status
  }
}

export interface Nfs3Procedure {
  readonly number: number
  bind(context: Nfs3Context): Procedure
}

interface Definition<Args, Ok, Fail> {
  readonly number: number
  readonly name: string
  readonly args: Codec<Args>
  readonly ok: Codec<Ok>
  /** The results of a failed call: their codec, and the value that says nothing. */
  readonly fail: { readonly codec: Codec<Fail>; readonly value: Fail }
  /** Set for calls that change something, which a retransmission must not do a second time. */
  readonly once?: boolean
  replyBytesMax?(args: Args): number
  /** Must reach the file system without awaiting first: calls on a file take effect in the order of their arrival. */
  handle(args: Args, call: Nfs3Call): Promise<Ok>
}

export function createContext(
  fs: FileSystem,
  handles: Handles,
  exports: Exports,
  log: (sentence: string) => void,
): Nfs3Context {
  return {
    fs,
    handles,
    exports,
    log,
    fsid: node => handles.fsidOf(node),
    open(handle) {
      const opened = handles.open(handle)
      if (opened.kind === 'node') {
        if (exports.isOpen(opened.node)) return opened.node
        throw new NfsStatusError(nfsstat3.ESTALE, 'The export that the file handle was reached through is closed.')
      }
      if (opened.kind === 'foreign') {
        throw new NfsStatusError(nfsstat3.ESTALE, 'The file handle belongs to another database.')
      }
      throw new NfsStatusError(NFS3ERR_BADHANDLE, 'The file handle was not made by this server.')
    },
  }
}

/** Declares one NFS procedure: everything but what it does is the same for all of them. */
export function nfs3Procedure<Args, Ok, Fail>(definition: Definition<Args, Ok, Fail>): Nfs3Procedure {
  const { number, name, args, ok, fail, once } = definition
  const refused = (status: number): Nfsres3<Ok, Fail> => ({ ok: false, status, value: fail.value })
  return {
    number,
    bind: context =>
      procedure<Args, Nfsres3<Ok, Fail>>({
        name,
        args,
        result: nfsres3(ok, fail.codec),
        anonymous: false,
        ...(once && { keepReply: worthKeeping }),
        ...(definition.replyBytesMax && { replyBytesMax: definition.replyBytesMax }),
        outcome: result => statusName(result.ok ? NFS3_OK : result.status),
        async handle(args, call: Call) {
          if (!mayCall(context.exports.allowedUids, call.credential)) return refused(nfsstat3.EACCES)
          try {
            return { ok: true, value: await definition.handle(args, forCall(context, call)) }
          } catch (error) {
            return refused(statusOf(error, name, context))
          }
        },
      }),
  }
}

function forCall(context: Nfs3Context, call: Call): Nfs3Call {
  const caller = callerOf(call)
  const node = (handle: Uint8Array): Node => {
    const opened = context.open(handle)
    if (context.exports.admits(opened, call.credential)) return { ...opened, caller }
    throw new NfsStatusError(nfsstat3.EACCES, 'The user may not use this export.')
  }
  return { ...context, node }
}

/** "Ask again later" must not be the answer to asking again. */
function worthKeeping(result: Nfsres3<unknown, unknown>): boolean {
  return result.ok || result.status !== nfsstat3.EJUKEBOX
}

function statusOf(error: unknown, name: string, { log }: Nfs3Context): number {
  if (error instanceof FsError) return nfsstat3[error.code]
  if (error instanceof NfsStatusError) return error.status
  log(`NFS ${name} failed, and the client was told EIO: ${messageOf(error)}`)
  return nfsstat3.EIO
}
