import type { Caller } from '../fs/filesystem.ts'
import type { Credential } from './rpc/message.ts'
import type { Call } from './rpc/program.ts'

/** The users who may use the server; root always may, since mount(8) runs as root. */
export type AllowedUids = 'any' | ReadonlySet<number>

export function isAllowed(allowed: AllowedUids, uid: number): boolean {
  return allowed === 'any' || uid === 0 || allowed.has(uid)
}

/** True if a call may be made: it must say who makes it, whoever is allowed. */
export function mayCall(allowed: AllowedUids, credential: Credential): boolean {
  return credential.flavor === 'sys' && isAllowed(allowed, credential.uid)
}

/** Returns the caller of a call, for the file system. */
export function callerOf({ connection, peer, credential, socket, underWay }: Call): Caller {
  return { connection, peer, uid: credential.flavor === 'sys' ? credential.uid : undefined, socket, call: underWay }
}
