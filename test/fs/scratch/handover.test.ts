import { expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Nodes } from '../../../src/fs/scratch/nodes.ts'
import { codeOf, DATA, Fixture, ROOT } from './fixture.ts'

const shown = { size: 123, mtime: 1_700_000_000_000_000_001n }

function textOf(content: string): { size: number; read(start: number, end: number): Promise<Uint8Array> } {
  const bytes = Buffer.from(content)
  return { size: bytes.length, read: async (start, end) => bytes.subarray(start, end) }
}

test('a reference is listed, looked up, renamed and removed as a file, and has no real file', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const id = scratch.nextId()
  const before = (await scratch.getattr(DATA)).mtime
  await scratch.placeReference(DATA, 'data.csv~', id, shown)
  expect((await scratch.getattr(DATA)).mtime).toBeGreaterThan(before)
  const { attributes } = await scratch.lookup(DATA, 'data.csv~')
  expect([attributes.fileId, attributes.size, attributes.mtime]).toEqual([id, 123n, shown.mtime])
  expect(await fixture.names(DATA)).toEqual(['data.csv~'])
  expect([scratch.references(), scratch.entryOf(id)]).toEqual([[id], { dirId: DATA, name: 'data.csv~' }])
  expect(readdirSync(fixture.path('data'))).toEqual([])
  const { to } = await scratch.rename(DATA, 'data.csv~', ROOT, 'old.csv')
  expect(to.after!.mtime).toBeGreaterThan(to.before!.mtime)
  fixture.restart({ killed: true })
  expect((await fixture.scratch.lookup(ROOT, 'old.csv')).id).toBe(id)
  await fixture.scratch.remove(ROOT, 'old.csv')
  expect([fixture.scratch.references(), fixture.scratch.entryOf(id)]).toEqual([[], undefined])
  expect(await codeOf(fixture.scratch.getattr(id))).toBe('ESTALE')
})

test('a reference takes the place of a file, and a file that of a reference', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const file = await fixture.file(ROOT, 'a', 'x')
  const first = scratch.nextId()
  await scratch.placeReference(ROOT, 'a', first, shown)
  expect([(await scratch.lookup(ROOT, 'a')).id, existsSync(fixture.path('a'))]).toEqual([first, false])
  expect(await codeOf(scratch.getattr(file))).toBe('ESTALE')
  await fixture.file(ROOT, 'b', 'y')
  await scratch.rename(ROOT, 'a', ROOT, 'b')
  expect([(await scratch.lookup(ROOT, 'b')).id, existsSync(fixture.path('b'))]).toEqual([first, false])
  const other = await fixture.file(ROOT, 'c', 'z')
  await scratch.rename(ROOT, 'c', ROOT, 'b')
  expect([(await scratch.lookup(ROOT, 'b')).id, scratch.references()]).toEqual([other, []])
  expect(await codeOf(scratch.placeReference(ROOT, 'data', first, shown))).toBe('EEXIST')
})

test('a folder with a reference in it is not empty', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const d = await fixture.folder(ROOT, 'd')
  await fixture.folder(ROOT, 'e')
  await scratch.placeReference(d, 'old', scratch.nextId(), shown)
  expect(await codeOf(scratch.rmdir(ROOT, 'd'))).toBe('ENOTEMPTY')
  expect(await codeOf(scratch.rename(ROOT, 'e', ROOT, 'd'))).toBe('ENOTEMPTY')
  await scratch.remove(d, 'old')
  expect(await codeOf(scratch.rmdir(ROOT, 'd'))).toBe('none')
})

test('creating over a reference opens it, and makes a new file if it is to be cut', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const id = scratch.nextId()
  await scratch.placeReference(ROOT, 'a', id, shown)
  expect((await scratch.create(ROOT, 'a', { kind: 'unchecked', attributes: {} })).node.id).toBe(id)
  expect(await codeOf(scratch.create(ROOT, 'a', { kind: 'guarded', attributes: {} }))).toBe('EEXIST')
  const { node } = await scratch.create(ROOT, 'a', { kind: 'unchecked', attributes: { size: 0n } })
  expect(node.id).not.toBe(id)
  expect([await fixture.text(node.id), scratch.references()]).toEqual(['', []])
})

test('the move of a reference that a crash cut off is finished', async () => {
  using fixture = new Fixture()
  const id = fixture.scratch.nextId()
  await fixture.scratch.placeReference(ROOT, 'a', id, shown)
  await fixture.file(DATA, 'b', 'replaced')
  const nodes = new Nodes(fixture.database)
  nodes.intend({ id, parent: DATA, name: 'b' })
  nodes.close()
  fixture.restart({ killed: true })
  expect([(await fixture.scratch.lookup(DATA, 'b')).id, existsSync(fixture.path('data', 'b'))]).toEqual([id, false])
  expect(await codeOf(fixture.scratch.lookup(ROOT, 'a'))).toBe('ENOENT')
})

test('an id that is taken over has no entry and no file any more, and is not given out again', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const id = await fixture.file(ROOT, 'sedXXXX', 'new table')
  const reference = scratch.nextId()
  await scratch.placeReference(ROOT, 'old', reference, shown)
  await scratch.take(id)
  await scratch.take(reference)
  expect([scratch.entryOf(id), scratch.references()]).toEqual([undefined, []])
  expect(await fixture.names(ROOT)).toEqual([])
  expect(readdirSync(fixture.path())).toEqual(['data'])
  expect(await codeOf(scratch.take(id))).toBe('ESTALE')
  expect(fixture.scratch.nextId()).toBeGreaterThan(reference)
})

test('a text that is adopted is a file with that content, under a name that was free', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const large = 'row\n'.repeat(700_000)
  expect([await scratch.adopt(DATA, 'r', textOf(large)), await scratch.adopt(DATA, 'r', textOf('2'))]).toEqual([
    'r',
    'r-2',
  ])
  await scratch.placeReference(DATA, 's', scratch.nextId(), shown)
  await scratch.adopt(DATA, 's', textOf('s'))
  expect(await fixture.names(DATA)).toEqual(['r', 'r-2', 's', 's-2'])
  expect(readFileSync(fixture.path('data', 'r'), 'utf8')).toBe(large)
  expect(readFileSync(fixture.path('data', 's-2'), 'utf8')).toBe('s')
  const both = await Promise.all(['1', '2', '3'].map(content => scratch.adopt(DATA, 't', textOf(content))))
  expect(both.toSorted()).toEqual(['t', 't-2', 't-3'])
  expect(readdirSync(fixture.path())).toEqual(['data'])
})

test('a text that cannot be read leaves nothing behind', async () => {
  using fixture = new Fixture()
  const broken = { size: 10, read: async (): Promise<Uint8Array> => Promise.reject(new Error('the disk is broken')) }
  expect(await codeOf(fixture.scratch.adopt(DATA, 'r', broken))).toBe('EIO')
  expect([await fixture.names(DATA), await fixture.names(ROOT)]).toEqual([[], []])
  expect(readdirSync(fixture.path())).toEqual(['data'])
})

test('what a crash left of a text that was being copied is never shown, and is cleaned up', async () => {
  using fixture = new Fixture()
  const adopted = fixture.scratch.adopt(DATA, 'r', textOf('content'))
  expect(await fixture.names(ROOT)).toEqual([])
  await adopted
  const incoming = fixture.path('.posixlake-incoming')
  Bun.spawnSync(['mkdir', incoming])
  writeFileSync(`${incoming}/half`, 'hal')
  expect(await codeOf(fixture.scratch.lookup(ROOT, '.posixlake-incoming'))).toBe('ENOENT')
  fixture.restart({ killed: true })
  expect(existsSync(incoming)).toBe(false)
})
