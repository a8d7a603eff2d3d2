import { describe, expect, test } from 'bun:test'
import { dirpath, MOUNT_PROGRAM } from '../../src/nfs/mount3/wire.ts'
import * as wire from '../../src/nfs/nfs3/wire.ts'
import { receiveCall } from '../../src/nfs/rpc/message.ts'
import { type Codec, decode, encode } from '../../src/nfs/xdr/codec.ts'
import { nothing } from '../../src/nfs/xdr/primitives.ts'

const nfsArgs: Readonly<Record<number, Codec<unknown>>> = {
  0: nothing,
  1: wire.GETATTR3args,
  2: wire.SETATTR3args,
  3: wire.LOOKUP3args,
  4: wire.ACCESS3args,
  6: wire.READ3args,
  7: wire.WRITE3args,
  8: wire.CREATE3args,
  9: wire.MKDIR3args,
  10: wire.SYMLINK3args,
  11: wire.MKNOD3args,
  12: wire.REMOVE3args,
  13: wire.REMOVE3args,
  14: wire.RENAME3args,
  15: wire.LINK3args,
  17: wire.READDIRPLUS3args,
  18: wire.FSROOT3args,
  19: wire.FSROOT3args,
  20: wire.FSROOT3args,
  21: wire.COMMIT3args,
}
const mountArgs: Readonly<Record<number, Codec<unknown>>> = { 0: nothing, 1: dirpath, 3: dirpath }

/** The Linux client asks for it once at mount time. */
const NFSACL_PROGRAM = 100227

interface Packet {
  readonly name: string
  readonly program: number
  readonly procedure: number
  /** The record in hexadecimal. */
  readonly record: string
}

/** Recorded between the Linux 6.1 client and this server. */
const packets = (await Bun.file(new URL('golden/linux-6.1-calls.jsonl', import.meta.url)).text())
  .trimEnd()
  .split('\n')
  .map(line => JSON.parse(line) as Packet)

describe('calls of the Linux client', () => {
  test.each(packets.map(packet => [packet.name, packet] as const))(
    '%s is decoded whole, and encodes to the same bytes',
    (_, packet) => {
      const received = receiveCall(new Uint8Array(Buffer.from(packet.record, 'hex')))
      if (received.kind !== 'call') throw new Error(received.kind)
      const { call } = received
      expect(call).toMatchObject({ program: packet.program, procedure: packet.procedure, version: 3 })
      const codec = (packet.program === MOUNT_PROGRAM ? mountArgs : nfsArgs)[packet.procedure]
      if (packet.program === NFSACL_PROGRAM) return
      if (codec === undefined) throw new Error(`no codec for procedure ${packet.procedure}`)
      expect(encode(codec, decode(codec, call.args))).toEqual(call.args)
    },
  )
})
