import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { Export, FileRef } from '../../fs/filesystem.ts'

const VERSION = 1
const FLAGS = { frozen: 1, readOnly: 2, others: 4 } as const
const FLAGS_MAX = 7
/** Of a file id; see FileRef. */
const ID_BITS = 80n
const BODY_BYTES = 20
const MAC_BYTES = 16
export const HANDLE_BYTES = BODY_BYTES + MAC_BYTES
const SECRET_BYTES_MIN = 16

/** The meaning of a handle from the wire. `foreign`: made by another database's server, hence stale here. */
export type OpenedHandle =
  | { readonly kind: 'node'; readonly node: FileRef }
  | { readonly kind: 'foreign' }
  | { readonly kind: 'bad' }

/**
 * File handles that hold all there is to know, so that they survive a restart, and a MAC, so that nobody can make one up:
 * version (1 byte), flags (1), the 16 bits of the file id above its 64th (2), fsid (8), the file id's 64 bits (8), and 16
 * bytes of HMAC-SHA256 over these.
 */
export class Handles {
  readonly #secret: Uint8Array
  /** Differs between databases, and is the same whenever one is served. */
  readonly fsid: bigint

  constructor(secret: Uint8Array) {
    if (secret.length < SECRET_BYTES_MIN) throw new RangeError(`A secret has at least ${SECRET_BYTES_MIN} bytes.`)
    this.#secret = secret
    // The lowest bit is left to tell the frozen trees from the plain ones.
    this.fsid = createHash('sha256').update('posixlake fsid').update(secret).digest().readBigUInt64BE() & ~1n
  }

  /** The fsid that attributes carry: clients keep the trees of the exports apart by it. */
  fsidOf(through: Export): bigint {
    return this.fsid ^ BigInt(flagsOf(through))
  }

  make(node: FileRef): Uint8Array {
    if (node.id >> ID_BITS !== 0n) throw new RangeError(`${node.id} has more than ${ID_BITS} bits`)
    const handle = new Uint8Array(HANDLE_BYTES)
    const view = new DataView(handle.buffer)
    handle[0] = VERSION
    handle[1] = flagsOf(node)
    view.setUint16(2, Number(node.id >> 64n))
    view.setBigUint64(4, this.fsid)
    view.setBigUint64(12, BigInt.asUintN(64, node.id))
    handle.set(this.#mac(handle.subarray(0, BODY_BYTES)), BODY_BYTES)
    return handle
  }

  open(handle: Uint8Array): OpenedHandle {
    const flags = handle[1] ?? 0
    if (handle.length !== HANDLE_BYTES || handle[0] !== VERSION || flags > FLAGS_MAX) return { kind: 'bad' }
    const view = new DataView(handle.buffer, handle.byteOffset, handle.byteLength)
    if (view.getBigUint64(4) !== this.fsid) return { kind: 'foreign' }
    const mac = this.#mac(handle.subarray(0, BODY_BYTES))
    if (!timingSafeEqual(mac, handle.subarray(BODY_BYTES))) return { kind: 'bad' }
    const id = (BigInt(view.getUint16(2)) << 64n) | view.getBigUint64(12)
    return { kind: 'node', node: { id, ...exportOfFlags(flags) } }
  }

  #mac(body: Uint8Array): Uint8Array {
    return createHmac('sha256', this.#secret).update(body).digest().subarray(0, MAC_BYTES)
  }
}

function flagsOf({ frozen, readOnly, others }: Export): number {
  return (frozen ? FLAGS.frozen : 0) | (readOnly ? FLAGS.readOnly : 0) | (others ? FLAGS.others : 0)
}

function exportOfFlags(flags: number): Export {
  return {
    frozen: (flags & FLAGS.frozen) !== 0,
    readOnly: (flags & FLAGS.readOnly) !== 0,
    others: (flags & FLAGS.others) !== 0,
  }
}
