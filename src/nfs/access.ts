import type { Credential } from './rpc/message.ts'

/** The users who may use the server; root always may, since mount(8) runs as root. */
export type AllowedUids = 'any' | ReadonlySet<number>

export function isAllowed(allowed: AllowedUids, uid: number): boolean {
  return allowed === 'any' || uid === 0 || allowed.has(uid)
}

/** Whether a call may be made: it must say who makes it, whoever is allowed. */
export function mayCall(allowed: AllowedUids, credential: Credential): boolean {
  return credential.flavor === 'sys' && isAllowed(allowed, credential.uid)
}
