import { networkInterfaces } from 'node:os'
import { type AllowedUids, isAllowed } from './access.ts'
import { type PeerConnection, peerSocket } from './rpc/peer.ts'
import type { Admission } from './rpc/server.ts'

/** The user whom file systems take for nobody they know. */
const NOBODY = 65_534

/**
 * Admits a connection, or refuses it with the reason. One of this machine, over whichever of its addresses, is its user's,
 * whatever its calls claim: NFSv3 knows no passwords, and any user can write a program that says it is root. Another
 * machine's AUTH_SYS credentials (RFC 5531, appendix A) are taken as they are.
 */
export function admit(peer: PeerConnection, loopbackOnly: boolean, allowedUids: AllowedUids): Admission {
  const loopback = isLoopback(peer.address)
  if (loopbackOnly && !loopback) return { admitted: false, reason: 'only this machine may connect.' }
  const socket = peerSocket(peer)
  if (typeof socket === 'object') {
    const { uid, inode } = socket
    if (!isAllowed(allowedUids, uid)) return { admitted: false, reason: `user ${uid} may not use this server.` }
    return { admitted: true, uid, socket: inode }
  }
  if (socket === 'gone' && (loopback || isOwnAddress(peer.address))) {
    // What it sent before it was closed is no known user's.
    if (allowedUids === 'any') return { admitted: true, uid: NOBODY, socket: undefined }
    return { admitted: false, reason: 'it was closed before it could be told whose it is.' }
  }
  return { admitted: true, uid: undefined, socket: undefined }
}

export function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || /^(::ffff:)?127\./.test(address)
}

/** True if an address is one of this machine's. */
function isOwnAddress(address: string): boolean {
  const bare = address.replace(/^::ffff:/, '').replace(/%.*$/, '')
  return Object.values(networkInterfaces()).some(list => list?.some(known => known.address === bare) === true)
}
