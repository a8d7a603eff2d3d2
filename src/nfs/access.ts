import type { Credential } from './rpc/message.ts'

/** The users who may use the server; root always may, since mount(8) runs as root. */
export type AllowedUids = 'any' | ReadonlySet<number>

export function isAllowed(allowed: AllowedUids, credential: Credential): boolean {
  if (credential.flavor === 'none') return false
  return allowed === 'any' || credential.uid === 0 || allowed.has(credential.uid)
}
