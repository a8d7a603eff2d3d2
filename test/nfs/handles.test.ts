import { describe, expect, test } from 'bun:test'
import { HANDLE_BYTES, Handles } from '../../src/nfs/nfs3/handles.ts'
import { PLAIN } from './fixture.ts'
import { seeded } from './random.ts'

const BOTH = [false, true]
const EXPORTS = BOTH.flatMap(frozen => BOTH.flatMap(readOnly => BOTH.map(others => ({ frozen, readOnly, others }))))
const secret = (fill: number) => new Uint8Array(32).fill(fill)

describe('file handles', () => {
  test('hold the node, and are the same after a restart', () => {
    for (const through of EXPORTS) {
      const node = { id: 2n ** 64n - 1n, ...through }
      const handle = new Handles(secret(1)).make(node)
      expect(handle).toHaveLength(HANDLE_BYTES)
      expect(new Handles(secret(1)).open(handle)).toEqual({ kind: 'node', node })
    }
  })

  test('are what they always were, for the files of a table that is mounted alone', () => {
    for (const [id, hex] of [
      [1n, '0101000053ebecc8da74a1f00000000000000001f7b7a7aa0dc0bb9d39c1bd6db63defad'],
      [1001n, '0101000053ebecc8da74a1f000000000000003e9d3970de7255f43ce960bfcc8419dbdee'],
      [(1n << 62n) | 5n, '0101000053ebecc8da74a1f04000000000000005fc4dbebeae1e6748a2d9a62dd60ec33e'],
    ] as const) {
      const handle = new Handles(secret(7)).make({ id, ...PLAIN, frozen: true })
      expect(Buffer.from(handle).toString('hex')).toBe(hex)
    }
  })

  test('hold the number of the file system that a file is in, among several under one root', () => {
    const handles = new Handles(secret(1))
    const nodes = [0n, 1n, 0xffffn].map(number => ({ id: (number << 64n) | 1001n, ...PLAIN }))
    expect(nodes.map(node => handles.open(handles.make(node)))).toEqual(nodes.map(node => ({ kind: 'node', node })))
    expect(() => handles.make({ id: 1n << 80n, ...PLAIN })).toThrow('80 bits')
  })

  test('of another database are foreign, not bad: its client has to look the file up again', () => {
    const handle = new Handles(secret(1)).make({ id: 1n, ...PLAIN })
    expect(new Handles(secret(2)).open(handle)).toEqual({ kind: 'foreign' })
  })

  test('with any bit changed are not taken', () => {
    const handles = new Handles(secret(1))
    const handle = handles.make({ id: 77n, ...PLAIN })
    for (let bit = 0; bit < handle.length * 8; bit++) {
      const forged = handle.slice()
      forged[bit >> 3] = (forged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(handles.open(forged).kind).not.toBe('node')
    }
  })

  test('of any other length, or random, are bad', () => {
    const handles = new Handles(secret(1))
    const random = seeded(4)
    for (let length = 0; length <= 64; length++) expect(handles.open(random.bytes(length)).kind).toBe('bad')
  })

  test('tell the trees of the exports apart by fsid', () => {
    const handles = new Handles(secret(1))
    expect(new Set(EXPORTS.map(through => handles.fsidOf(through))).size).toBe(EXPORTS.length)
  })

  test('need a secret worth the name', () => {
    expect(() => new Handles(new Uint8Array(8))).toThrow('at least 16 bytes')
  })
})
