import { type Decoded, XdrError, XdrReader, XdrWriter } from '../xdr/codec.ts'
import { array, opaque, string, struct, uint32 } from '../xdr/primitives.ts'
import { RECORD_MARK_BYTES, recordMark } from './record.ts'

export const RPC_VERSION = 2
export const CALL = 0
export const REPLY = 1

/** RFC 5531, section 9. */
export const msgAccepted = 0
export const msgDenied = 1
export const acceptStat = {
  SUCCESS: 0,
  PROG_UNAVAIL: 1,
  PROG_MISMATCH: 2,
  PROC_UNAVAIL: 3,
  GARBAGE_ARGS: 4,
  SYSTEM_ERR: 5,
} as const
export const rejectStat = { RPC_MISMATCH: 0, AUTH_ERROR: 1 } as const
export const authStat = { AUTH_BADCRED: 1, AUTH_REJECTEDCRED: 2, AUTH_BADVERF: 3, AUTH_TOOWEAK: 5 } as const
export const authFlavor = { AUTH_NONE: 0, AUTH_SYS: 1, AUTH_SHORT: 2 } as const

const AUTH_BODY_BYTES_MAX = 400 // RFC 5531, 8.2
const MACHINE_NAME_BYTES_MAX = 255 // RFC 5531, appendix A
const GIDS_MAX = 16

export const opaque_auth = struct({ flavor: uint32, body: opaque(AUTH_BODY_BYTES_MAX) })
export type OpaqueAuth = Decoded<typeof opaque_auth>

/** RFC 5531, appendix A. */
export const authsys_parms = struct({
  stamp: uint32,
  machinename: string(MACHINE_NAME_BYTES_MAX),
  uid: uint32,
  gid: uint32,
  gids: array(uint32, GIDS_MAX),
})

export const call_body = struct({
  rpcvers: uint32,
  prog: uint32,
  vers: uint32,
  proc: uint32,
  cred: opaque_auth,
  verf: opaque_auth,
})

/** The credential of a call (RFC 5531, section 8.2), as the call states it. */
export type Credential =
  | { readonly flavor: 'none' }
  | { readonly flavor: 'sys'; readonly uid: number; readonly gid: number; readonly gids: readonly number[] }

export interface CallMessage {
  readonly xid: number
  readonly program: number
  readonly version: number
  readonly procedure: number
  readonly credential: Credential
  /** The procedure's arguments, still encoded; a view on the record. */
  readonly args: Uint8Array
}

/** The result of reading the head of a message: a call, or the reply that refuses it, or nothing that could be answered. */
export type Received =
  | { readonly kind: 'call'; readonly call: CallMessage }
  | { readonly kind: 'refused'; readonly reply: XdrWriter }
  | { readonly kind: 'nonsense' }

/** Reads the head of a call (RFC 5531, section 9). Never throws: what is wrong with the message becomes the answer. */
export function receiveCall(record: Uint8Array): Received {
  const reader = new XdrReader(record)
  if (reader.remaining < 8) return { kind: 'nonsense' }
  const xid = reader.uint32()
  if (reader.uint32() !== CALL) return { kind: 'nonsense' }
  try {
    return receiveBody(xid, reader)
  } catch (error) {
    if (error instanceof XdrError) return { kind: 'refused', reply: authError(xid, authStat.AUTH_BADCRED) }
    throw error
  }
}

function receiveBody(xid: number, reader: XdrReader): Received {
  const rest = reader.rest()
  if (rest.length >= 4 && new XdrReader(rest).uint32() !== RPC_VERSION) {
    return { kind: 'refused', reply: rpcMismatch(xid) }
  }
  const body = call_body.decode(reader)
  const credential = credentialOf(body.cred)
  if (typeof credential === 'number') return { kind: 'refused', reply: authError(xid, credential) }
  const { prog: program, vers: version, proc: procedure } = body
  return { kind: 'call', call: { xid, program, version, procedure, credential, args: reader.rest() } }
}

/** The credential, or the auth_stat that refuses it. */
function credentialOf(auth: OpaqueAuth): Credential | number {
  if (auth.flavor === authFlavor.AUTH_NONE) return { flavor: 'none' }
  if (auth.flavor !== authFlavor.AUTH_SYS) return authStat.AUTH_REJECTEDCRED
  const reader = new XdrReader(auth.body)
  const { uid, gid, gids } = authsys_parms.decode(reader)
  reader.end()
  return { flavor: 'sys', uid, gid, gids }
}

/** The start of a reply that says SUCCESS; the procedure's results follow. */
export function success(xid: number): XdrWriter {
  return accepted(xid, acceptStat.SUCCESS)
}

/** A reply whose call was understood, with `stat` as its outcome (accepted_reply). */
export function accepted(xid: number, stat: number): XdrWriter {
  const writer = replyHead(xid, msgAccepted)
  writer.uint32(authFlavor.AUTH_NONE)
  writer.uint32(0)
  writer.uint32(stat)
  return writer
}

/** PROG_MISMATCH: the program is here, but only in these versions. */
export function programMismatch(xid: number, low: number, high: number): XdrWriter {
  const writer = accepted(xid, acceptStat.PROG_MISMATCH)
  writer.uint32(low)
  writer.uint32(high)
  return writer
}

export function authError(xid: number, stat: number): XdrWriter {
  const writer = replyHead(xid, msgDenied)
  writer.uint32(rejectStat.AUTH_ERROR)
  writer.uint32(stat)
  return writer
}

function rpcMismatch(xid: number): XdrWriter {
  const writer = replyHead(xid, msgDenied)
  writer.uint32(rejectStat.RPC_MISMATCH)
  writer.uint32(RPC_VERSION)
  writer.uint32(RPC_VERSION)
  return writer
}

function replyHead(xid: number, stat: number): XdrWriter {
  const writer = new XdrWriter()
  writer.uint32(0) // The record mark, written by `sealed` when the length is known.
  writer.uint32(xid)
  writer.uint32(REPLY)
  writer.uint32(stat)
  return writer
}

/** The pieces of a finished message, its record mark filled in. */
export function sealed(writer: XdrWriter): Uint8Array[] {
  const length = writer.length - RECORD_MARK_BYTES
  const pieces = writer.finish()
  const head = pieces[0]
  if (head !== undefined) new DataView(head.buffer, head.byteOffset).setUint32(0, recordMark(length))
  return pieces
}
