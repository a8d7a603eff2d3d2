import { type Clock, systemClock } from '../core/clock.ts'
import type { FileRef, FileSystem } from '../fs/filesystem.ts'
import { type AllowedUids, isAllowed } from './access.ts'
import { mountProgram } from './mount3/program.ts'
import { Handles } from './nfs3/handles.ts'
import { createContext } from './nfs3/procedure.ts'
import { nfs3Program } from './nfs3/program.ts'
import { TRANSFER_BYTES_MAX } from './nfs3/wire.ts'
import { limitedLog } from './rpc/limited-log.ts'
import { type PeerConnection, peerSocket } from './rpc/peer.ts'
import { type Admission, type CallEvent, ListenError, type RpcLimits, RpcServer, type RpcStats } from './rpc/server.ts'

export { type CallEvent, ListenError, type RpcStats }

export interface NfsServerOptions {
  /** The address to listen on; 127.0.0.1 if not given. With a loopback address only this machine is let in. */
  readonly host?: string
  /** 0: any free port. */
  readonly port: number
  /** The key of the handles' MAC, at least 16 bytes; one per database, the same after a restart. */
  readonly secret: Uint8Array
  /** The frozen tree is exported as "/<exportSecret>", which nobody is told of; at least 16 characters. */
  readonly exportSecret: string
  /** The plain tree is exported as "/" and as "/<exportName>". */
  readonly exportName?: string
  /** Root is always let in. */
  readonly allowedUids: AllowedUids
  readonly clock?: Clock
  readonly limits?: Partial<RpcLimits>
  /** Takes sentences for the log: what went wrong inside, connections refused or closed. */
  log(sentence: string): void
  onCall?(event: CallEvent): void
}

export interface NfsServer {
  readonly host: string
  readonly port: number
  /** Takes no more calls, waits at most `graceMs` for those under way, and closes all connections. */
  close(graceMs: number): Promise<void>
  stats(): RpcStats
}

/** A WRITE's arguments beside its data, and the call's head. */
const RECORD_SLACK_BYTES = 64 * 1024
const EXPORT_SECRET_LENGTH_MIN = 16

const defaultLimits: RpcLimits = {
  recordBytesMax: TRANSFER_BYTES_MAX + RECORD_SLACK_BYTES,
  callsMax: 256,
  heldBytesMax: 16 * 1024 * 1024,
  totalHeldBytesMax: 64 * 1024 * 1024,
  connectionsMax: 256,
  sweepIntervalMs: 5_000,
  recordTimeoutMs: 60_000,
  stallTimeoutMs: 120_000,
  entriesMax: 4096,
  bytesMax: 8 * 1024 * 1024,
  ageMaxMs: 10 * 60_000,
}

/** Serves a file system over NFSv3 and MOUNT3 on one TCP port. Throws ListenError if it cannot listen there. */
export async function startNfsServer(fs: FileSystem, options: NfsServerOptions): Promise<NfsServer> {
  const { host = '127.0.0.1', port, secret, exportSecret, exportName = 'posixlake', allowedUids } = options
  if (exportSecret.length < EXPORT_SECRET_LENGTH_MIN) {
    throw new RangeError(`An export secret has at least ${EXPORT_SECRET_LENGTH_MIN} characters.`)
  }
  const clock = options.clock ?? systemClock
  const log = limitedLog(sentence => options.log(sentence), clock)
  const handles = new Handles(secret)
  const fileHandle = (ref: FileRef): Uint8Array => handles.make(ref)
  const server = new RpcServer({
    host,
    port,
    programs: [
      mountProgram({ exportName, exportSecret, allowedUids, fs, fileHandle, log }),
      nfs3Program(createContext(fs, handles, allowedUids, log)),
    ],
    limits: { ...defaultLimits, ...options.limits },
    clock,
    log,
    ...(options.onCall && { onCall: (event: CallEvent) => options.onCall?.(event) }),
    admit: peer => admit(peer, isLoopback(host), allowedUids),
  })
  return {
    host,
    port: server.port,
    close: graceMs => server.close(graceMs),
    stats: () => server.stats(),
  }
}

function admit(peer: PeerConnection, loopbackOnly: boolean, allowedUids: AllowedUids): Admission {
  const loopback = isLoopback(peer.address)
  if (loopbackOnly && !loopback) return { admitted: false, reason: 'only this machine may connect.' }
  const owner = peerSocket(peer)
  const socket = typeof owner === 'string' ? undefined : owner.inode
  if (!loopback || allowedUids === 'any') return { admitted: true, uid: undefined, socket }
  if (owner === 'gone') return { admitted: false, reason: 'it was closed before it could be told whose it is.' }
  if (owner === 'unknown') return { admitted: true, uid: undefined, socket }
  const { uid } = owner
  if (!isAllowed(allowedUids, uid)) return { admitted: false, reason: `user ${uid} may not use this server.` }
  return { admitted: true, uid, socket }
}

function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || /^(::ffff:)?127\./.test(address)
}
