import { expect, test } from 'bun:test'
import { broughtIn, broughtRows } from '../../src/fs/brought.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const brought = broughtRows(10, bytes('2,b\n3,c\n4,d\n'), 1n, 0)
const NONE = bytes('')

test('rows that a file has brought are found in what is appended, behind rows that the file changed', () => {
  const from = { size: 10, tail: NONE }
  expect(broughtIn(brought, from, bytes('3,c\n'))).toBe(4)
  expect(broughtIn(brought, from, bytes('2,b\n3,c\n'))).toBe(8)
  // More than it had brought.
  expect(broughtIn(brought, from, bytes('4,d\n5,e\n'))).toBe(4)
  expect(broughtIn(brought, from, bytes('3,c\n5,e\n'))).toBe(0)
  expect(broughtIn(brought, from, bytes('5,e\n'))).toBe(0)
})

test('rows of which some have come before go on behind these', () => {
  expect(broughtIn(brought, { size: 14, tail: bytes('3,c\n') }, bytes('4,d\n5,e\n'))).toBe(4)
  expect(broughtIn(brought, { size: 14, tail: bytes('9,x\n') }, bytes('4,d\n'))).toBe(0)
  // It is not known what came before.
  expect(broughtIn(brought, { size: 14, tail: NONE }, bytes('4,d\n'))).toBe(0)
  expect(broughtIn(brought, { size: 6, tail: NONE }, bytes('3,c\n'))).toBe(0)
})
