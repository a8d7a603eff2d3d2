import { readFileSync } from 'node:fs'

/** Columns of /proc/net/tcp. */
const LOCAL = 1
const REMOTE = 2
const UID = 7
const INODE = 9

export interface PeerConnection {
  /** The peer's end. */
  readonly address: string
  readonly port: number
  /** Our end. */
  readonly localAddress: string
  readonly localPort: number
}

/** A socket of this machine, more exactly of our network namespace. */
export interface PeerSocket {
  readonly uid: number
  readonly inode: number
}

/**
 * The other end of a connection within this machine, and the user who owns it: the kernel's NFS client is root, whose
 * AUTH_SYS credentials (RFC 5531, appendix A) are right, but any user can write a program that claims to be somebody else.
 * `unknown` where the system has no such table; `gone` if no such socket is there: it is closed already, or of another machine.
 */
export function peerSocket(connection: PeerConnection): PeerSocket | 'unknown' | 'gone' {
  let readable = false
  for (const table of ['tcp', 'tcp6']) {
    let text: string
    try {
      text = readFileSync(`/proc/net/${table}`, 'latin1')
    } catch {
      continue
    }
    readable = true
    const socket = socketIn(text, connection)
    if (socket !== undefined) return socket
  }
  return readable ? 'gone' : 'unknown'
}

/** The peer's socket in the text of /proc/net/tcp or tcp6. */
export function socketIn(table: string, connection: PeerConnection): PeerSocket | undefined {
  // An IPv6 socket shows an IPv4 address in its last 32 bits, so the ends of the columns are compared.
  const own = `${hexAddress(connection.address)}:${hexPort(connection.port)}`
  const other = `${hexAddress(connection.localAddress)}:${hexPort(connection.localPort)}`
  for (const line of table.split('\n')) {
    if (!line.includes(own)) continue
    const fields = line.trim().split(/\s+/)
    // A socket without an inode belongs to no process any more, and its uid is shown as 0.
    if (fields[LOCAL]?.endsWith(own) && fields[REMOTE]?.endsWith(other) && fields[INODE] !== '0') {
      return { uid: Number(fields[UID]), inode: Number(fields[INODE]) }
    }
  }
  return undefined
}

/** An address as the kernel prints it: 32-bit words in the machine's order, which is little-endian wherever Bun runs. */
function hexAddress(address: string): string {
  const bytes = addressBytes(address.replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*$/, ''))
  const words: string[] = []
  for (let at = 0; at < bytes.length; at += 4)
    words.push(Buffer.from(bytes.slice(at, at + 4).reverse()).toString('hex'))
  return words.join('').toUpperCase()
}

/** The bytes of an IPv4 or IPv6 address (RFC 4291, section 2.2). */
function addressBytes(address: string): number[] {
  if (!address.includes(':')) return address.split('.').map(Number)
  const [head = [], tail = []] = address.split('::').map(half =>
    half
      .split(':')
      .filter(group => group !== '')
      .flatMap(group => {
        if (group.includes('.')) return addressBytes(group)
        const value = Number.parseInt(group, 16)
        return [value >> 8, value & 0xff]
      }),
  )
  return [...head, ...new Array<number>(16 - head.length - tail.length).fill(0), ...tail]
}

function hexPort(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, '0')
}
