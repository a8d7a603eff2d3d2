import { type Clock, systemClock } from '../core/clock.ts'
import type { FileRef, FileSystem } from '../fs/filesystem.ts'
import { admit, isLoopback } from './admission.ts'
import type { Exports } from './exports.ts'
import { mountProgram } from './mount3/program.ts'
import { Handles } from './nfs3/handles.ts'
import { createContext } from './nfs3/procedure.ts'
import { nfs3Program } from './nfs3/program.ts'
import { TRANSFER_BYTES_MAX } from './nfs3/wire.ts'
import { limitedLog } from './rpc/limited-log.ts'
import { type CallEvent, ListenError, type RpcLimits, RpcServer, type RpcStats } from './rpc/server.ts'

export { type CallEvent, ListenError, type RpcStats }

export interface NfsServerOptions {
  /** The address to listen on; 127.0.0.1 if not given. With a loopback address only this machine is let in. */
  readonly host?: string
  /** 0: any free port. */
  readonly port: number
  /** The key of the handles' MAC, at least 16 bytes; one per database, the same after a restart. */
  readonly secret: Uint8Array
  /** May be shared by several servers of one tree. Only on a loopback address the plain one has names that all know. */
  readonly exports: Exports
  readonly clock?: Clock
  readonly limits?: Partial<RpcLimits>
  /** Takes sentences for the log: what went wrong inside, connections refused or closed. */
  log(sentence: string): void
  onCall?(event: CallEvent): void
  /** A connection has ended. */
  onDisconnect?(): void
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

const defaultLimits: RpcLimits = {
  recordBytesMax: TRANSFER_BYTES_MAX + RECORD_SLACK_BYTES,
  callsMax: 256,
  heldBytesMax: 16 * 1024 * 1024,
  totalHeldBytesMax: 64 * 1024 * 1024,
  connectionsMax: 256,
  repeatWithinMs: 5_000,
  servedIdleMs: 10_000,
  sweepIntervalMs: 5_000,
  recordTimeoutMs: 60_000,
  stallTimeoutMs: 120_000,
  entriesMax: 4096,
  bytesMax: 8 * 1024 * 1024,
  ageMaxMs: 10 * 60_000,
}

/** Serves a file system over NFSv3 and MOUNT3 on one TCP port. Throws ListenError if it cannot listen there. */
export async function startNfsServer(fs: FileSystem, options: NfsServerOptions): Promise<NfsServer> {
  const { host = '127.0.0.1', port, secret, exports } = options
  const clock = options.clock ?? systemClock
  const log = limitedLog(sentence => options.log(sentence), clock)
  const handles = new Handles(secret)
  const fileHandle = (ref: FileRef): Uint8Array => handles.make(ref)
  const server = new RpcServer({
    host,
    port,
    programs: [
      mountProgram({ exports, plainNames: isLoopback(host), fs, fileHandle, log }),
      nfs3Program(createContext(fs, handles, exports, log)),
    ],
    limits: { ...defaultLimits, ...options.limits },
    clock,
    log,
    ...(options.onCall && { onCall: (event: CallEvent) => options.onCall?.(event) }),
    ...(options.onDisconnect && { onDisconnect: () => options.onDisconnect?.() }),
    admit: peer => admit(peer, isLoopback(host), exports.allowedUids),
  })
  return {
    host,
    port: server.port,
    close: graceMs => server.close(graceMs),
    stats: () => server.stats(),
  }
}
