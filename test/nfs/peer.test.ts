import { describe, expect, test } from 'bun:test'
import { socketIn } from '../../src/nfs/rpc/peer.ts'

const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2EE1 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 5001 1 0 100 0 0 10 0
   1: 0100007F:2EE1 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 5002 1 0 20 4 30 10 -1
   2: 0100007F:C350 0100007F:2EE1 01 00000000:00000000 00:00000000 00000000  4242        0 5003 1 0 20 4 30 10 -1
   3: 0100007F:C351 0100007F:2EE1 05 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1
   4: 0500000A:C352 0100007F:2EE1 01 00000000:00000000 00:00000000 00000000     7        0 5004 1 0 20 4 30 10 -1
`
const tcp6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF00000100007F:C353 0000000000000000FFFF00000100007F:2EE1 01 00000000:00000000 00:00000000 00000000  33        0 6001 1 0 20 4 30 10 -1
   1: 00000000000000000000000001000000:C354 00000000000000000000000001000000:2EE1 01 00000000:00000000 00:00000000 00000000  34        0 6002 1 0 20 4 30 10 -1
   2: B80D0120000000000000000001000000:C355 B80D0120000000000000000001000000:2EE1 01 00000000:00000000 00:00000000 00000000  35        0 6003 1 0 20 4 30 10 -1
   3: 000080FE00000000FF005450B6AD1DFE:C356 000080FE00000000FF005450B6AD1DFE:2EE1 01 00000000:00000000 00:00000000 00000000  36        0 6004 1 0 20 4 30 10 -1
   4: 0000000000000000FFFF00000500000A:C357 0000000000000000FFFF00000500000A:2EE1 01 00000000:00000000 00:00000000 00000000  37        0 6005 1 0 20 4 30 10 -1
`
const own = { localAddress: '127.0.0.1', localPort: 0x2ee1 }

describe('the owner of a loopback connection', () => {
  test('is that of the socket at the other end', () => {
    expect(socketIn(tcp, { address: '127.0.0.1', port: 0xc350, ...own })).toEqual({ uid: 4242, inode: 5003 })
  })

  test('is unknown for a socket that its process has closed, though its uid reads 0', () => {
    expect(socketIn(tcp, { address: '127.0.0.1', port: 0xc351, ...own })).toBeUndefined()
  })

  test('is not taken from a connection of another address', () => {
    expect(socketIn(tcp, { address: '127.0.0.1', port: 0xc352, ...own })).toBeUndefined()
  })

  test('is found for IPv6 sockets, too', () => {
    expect(socketIn(tcp6, { address: '127.0.0.1', port: 0xc353, ...own })).toEqual({ uid: 33, inode: 6001 })
    expect(socketIn(tcp6, { address: '::1', port: 0xc354, localAddress: '::1', localPort: 0x2ee1 })).toEqual({
      uid: 34,
      inode: 6002,
    })
    const uidAt = (address: string, port: number): number | undefined =>
      socketIn(tcp6, { address, port, localAddress: address, localPort: 0x2ee1 })?.uid
    expect(uidAt('2001:db8::1', 0xc355)).toBe(35)
    expect(uidAt('2001:db8:0:0:0:0:0:1', 0xc355)).toBe(35)
    expect(uidAt('fe80::5054:ff:fe1d:adb6%eth0', 0xc356)).toBe(36)
    expect(uidAt('::ffff:10.0.0.5', 0xc357)).toBe(37)
    expect(uidAt('10.0.0.5', 0xc357)).toBe(37)
    expect(uidAt('2001:db8::2', 0xc355)).toBeUndefined()
  })
})
