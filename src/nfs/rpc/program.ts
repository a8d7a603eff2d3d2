import { type Codec, decode, type XdrWriter } from '../xdr/codec.ts'
import type { Credential } from './message.ts'
import type { CallUnderWay } from './under-way.ts'

/** The facts of a call besides its arguments. */
export interface Call {
  readonly xid: number
  readonly credential: Credential
  /** The client's address. */
  readonly client: string
  /** The number of its connection, counted from the server's start. */
  readonly connection: number
  /** The address and the port of its other end. */
  readonly peer: string
  /** The inode number of the other end's socket, if that is one of this machine; see peer.ts. */
  readonly socket: number | undefined
  readonly underWay: CallUnderWay
}

export interface ProcedureDefinition<Args, Result> {
  readonly name: string
  readonly args: Codec<Args>
  readonly result: Codec<Result>
  /** True if AUTH_NONE is enough. */
  readonly anonymous: boolean
  /** Must not be executed twice: the reply is kept for a retransmission, if this says so of the result. */
  readonly keepReply?: (result: Result) => boolean
  /** An estimate of the reply's size in bytes, for the bound on memory held for a client. */
  replyBytesMax?(args: Args): number
  /** A short word for what became of the call, `OK` if it is granted. */
  outcome?(result: Result): string
  handle(args: Args, call: Call): Promise<Result>
}

/** A procedure whose types are closed over, so that procedures of all types can stand in one table. */
export interface Procedure {
  readonly name: string
  readonly anonymous: boolean
  readonly executeOnce: boolean
  /** Decodes the arguments; throws XdrError. */
  prepare(args: Uint8Array): PreparedCall
}

export interface PreparedCall {
  readonly args: unknown
  readonly replyBytesMax: number
  /** Starts at once: file system methods are called in the order in which the calls arrived. */
  run(call: Call): Promise<CallResult>
}

export interface CallResult {
  encode(writer: XdrWriter): void
  readonly keep: boolean
  readonly name: string
  /** Only who may use the server gets this. */
  readonly granted: boolean
}

/** One version of an RPC program; `procedures` by number. */
export interface Program {
  readonly name: string
  readonly number: number
  readonly version: number
  readonly procedures: ReadonlyMap<number, Procedure>
}

const SMALL_REPLY_BYTES = 1024
const OK = 'OK'

export function procedure<Args, Result>(definition: ProcedureDefinition<Args, Result>): Procedure {
  const { keepReply, name, anonymous } = definition
  return {
    name,
    anonymous,
    executeOnce: keepReply !== undefined,
    prepare(bytes) {
      const args = decode(definition.args, bytes)
      return {
        args,
        replyBytesMax: definition.replyBytesMax?.(args) ?? SMALL_REPLY_BYTES,
        async run(call) {
          const result = await definition.handle(args, call)
          const outcome = definition.outcome?.(result) ?? OK
          return {
            encode: writer => definition.result.encode(writer, result),
            keep: keepReply?.(result) ?? false,
            name: outcome,
            granted: !anonymous && outcome === OK,
          }
        },
      }
    },
  }
}
