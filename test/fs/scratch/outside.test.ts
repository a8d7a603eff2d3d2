import { expect, test } from 'bun:test'
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Nodes } from '../../../src/fs/scratch/nodes.ts'
import { codeOf, DATA, Fixture, ROOT } from './fixture.ts'

test('ids and contents are the same after a restart, and after a kill', async () => {
  using fixture = new Fixture()
  const d = await fixture.folder(DATA, 'd')
  const id = await fixture.file(d, 'a', 'kept')
  fixture.restart()
  expect([(await fixture.scratch.lookup(d, 'a')).id, await fixture.text(id)]).toEqual([id, 'kept'])
  fixture.restart({ killed: true })
  expect([(await fixture.scratch.lookup(DATA, 'd')).id, await fixture.text(id)]).toEqual([d, 'kept'])
})

test('an id is never given out twice, whatever becomes of the process', async () => {
  using fixture = new Fixture()
  const seen = new Set<bigint>()
  let count = 0
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 600; i++, count++) seen.add(fixture.scratch.nextId())
    fixture.restart({ killed: round % 2 === 0 })
  }
  expect(seen.size).toBe(count)
  expect([...seen].every(id => id >= 1000n)).toBe(true)
})

test('an id is refused within a transaction, whose rollback would give it out again', () => {
  using fixture = new Fixture()
  const take = fixture.database.transaction(() => {
    for (let i = 0; i < 2000; i++) fixture.scratch.nextId()
  })
  expect(take).toThrow('transaction')
})

test('files and folders that come from outside are shown, and keep their ids from then on', async () => {
  using fixture = new Fixture()
  writeFileSync(fixture.path('a.txt'), 'outside')
  mkdirSync(fixture.path('data', 'deep', 'er'), { recursive: true })
  writeFileSync(fixture.path('data', 'deep', 'er', 'b'), 'b')
  const { id } = await fixture.scratch.lookup(ROOT, 'a.txt')
  expect(await fixture.text(id)).toBe('outside')
  expect(await fixture.names(DATA)).toEqual(['deep'])
  expect(fixture.scratch.createdMs(id)).toBe(fixture.nowMs)
  fixture.restart()
  expect((await fixture.scratch.lookup(ROOT, 'a.txt')).id).toBe(id)
})

test('a file that is replaced from outside is a new file, and its old id is stale', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a', 'old')
  writeFileSync(fixture.path('new'), 'new')
  renameSync(fixture.path('new'), fixture.path('a'))
  const now = await fixture.scratch.lookup(ROOT, 'a')
  expect(now.id).not.toBe(id)
  expect(await fixture.text(now.id)).toBe('new')
  expect(await codeOf(fixture.scratch.write(id, 0n, Buffer.from('x'), 'unstable'))).toBe('ESTALE')
  expect(readFileSync(fixture.path('a'), 'utf8')).toBe('new')
})

test('a file that is replaced from outside in the middle of a listing is listed once', async () => {
  using fixture = new Fixture()
  for (const name of ['a', 'b', 'c', 'd']) await fixture.file(ROOT, name)
  const { entries } = await fixture.scratch.readdir(ROOT, 0n, 2)
  writeFileSync(fixture.path('new'), 'new')
  renameSync(fixture.path('new'), fixture.path('c'))
  const rest = await fixture.scratch.readdir(ROOT, entries.at(-1)!.cookie, 10)
  expect(rest.entries.map(entry => entry.name)).toEqual(['d', 'c'])
})

test('a file that is removed from outside is gone, with everything below a folder', async () => {
  using fixture = new Fixture()
  const d = await fixture.folder(ROOT, 'd')
  const a = await fixture.file(d, 'a', 'x')
  rmSync(fixture.path('d'), { recursive: true })
  expect(await codeOf(fixture.scratch.getattr(a))).toBe('ESTALE')
  expect(await codeOf(fixture.scratch.lookup(ROOT, 'd'))).toBe('ENOENT')
  expect(await fixture.names(ROOT)).toEqual([])
  mkdirSync(fixture.path('d'))
  expect((await fixture.scratch.lookup(ROOT, 'd')).id).not.toBe(d)
})

test('symbolic links are not shown, not followed and not replaced', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const secret = join(fixture.base, 'secret')
  mkdirSync(secret)
  writeFileSync(join(secret, 'f'), 'secret')
  symlinkSync(join(secret, 'f'), fixture.path('link'))
  symlinkSync(secret, fixture.path('folder'))
  await fixture.file(ROOT, 'a', 'x')
  expect(await fixture.names(ROOT)).toEqual(['a'])
  expect(await codeOf(scratch.lookup(ROOT, 'link'))).toBe('ENOENT')
  expect(await codeOf(scratch.create(ROOT, 'link', { kind: 'unchecked', attributes: { size: 0n } }))).toBe('EEXIST')
  expect(await codeOf(scratch.rename(ROOT, 'a', ROOT, 'link'))).toBe('EEXIST')
  expect(await codeOf(scratch.remove(ROOT, 'link'))).toBe('ENOENT')
  expect(await codeOf(scratch.mkdir(ROOT, 'folder', {}))).toBe('EEXIST')
  expect(readFileSync(join(secret, 'f'), 'utf8')).toBe('secret')
})

test('a folder or file that turns into a link to elsewhere leads nowhere', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const secret = join(fixture.base, 'secret')
  mkdirSync(secret)
  writeFileSync(join(secret, 'a'), 'secret')
  const d = await fixture.folder(ROOT, 'd')
  const a = await fixture.file(d, 'a', 'mine')
  renameSync(fixture.path('d'), fixture.path('elsewhere'))
  symlinkSync(secret, fixture.path('d'))
  expect(await codeOf(scratch.write(a, 0n, Buffer.from('pwned!'), 'file_sync'))).toBe('ESTALE')
  expect(await codeOf(scratch.create(d, 'b', { kind: 'unchecked', attributes: {} }))).toBe('ESTALE')
  expect(await codeOf(scratch.lookup(d, 'a'))).toBe('ESTALE')
  expect(readFileSync(join(secret, 'a'), 'utf8')).toBe('secret')
})

test('names that are not UTF-8, pipes and sockets are not shown', async () => {
  using fixture = new Fixture()
  const odd = Buffer.concat([Buffer.from(`${fixture.path()}/`), Buffer.from([0x66, 0xff])])
  // macOS has no such names.
  if (process.platform === 'linux') writeFileSync(odd, 'x')
  Bun.spawnSync(['mkfifo', fixture.path('pipe')])
  await fixture.file(ROOT, 'a')
  expect(await fixture.names(ROOT)).toEqual(['a'])
  expect(await codeOf(fixture.scratch.lookup(ROOT, 'pipe'))).toBe('ENOENT')
})

test('a data folder that is taken away is made again', async () => {
  using fixture = new Fixture()
  rmSync(fixture.path('data'), { recursive: true })
  expect((await fixture.scratch.getattr(DATA)).type).toBe('directory')
  await fixture.file(DATA, 'a')
})

test('a rename that a crash cut off keeps the id, if the real file was moved, and is undone if not', async () => {
  using fixture = new Fixture()
  const moved = await fixture.file(ROOT, 'a', 'moved')
  const stayed = await fixture.file(ROOT, 'b', 'stayed')
  const replaced = await fixture.file(DATA, 'a2', 'replaced')
  const nodes = new Nodes(fixture.database)
  nodes.intend({ id: moved, parent: DATA, name: 'a2' })
  nodes.intend({ id: stayed, parent: DATA, name: 'b2' })
  nodes.close()
  renameSync(fixture.path('a'), fixture.path('data', 'a2'))
  fixture.restart({ killed: true })
  expect((await fixture.scratch.lookup(DATA, 'a2')).id).toBe(moved)
  expect((await fixture.scratch.lookup(ROOT, 'b')).id).toBe(stayed)
  expect(await codeOf(fixture.scratch.lookup(DATA, 'b2'))).toBe('ENOENT')
  expect(await codeOf(fixture.scratch.getattr(replaced))).toBe('ESTALE')
})

test('without the database, all files are there under new ids', async () => {
  using fixture = new Fixture()
  await fixture.file(ROOT, 'a', 'x')
  fixture.database.run('DELETE FROM scratch_nodes')
  const { id } = await fixture.scratch.lookup(ROOT, 'a')
  expect(await fixture.text(id)).toBe('x')
})

test('thousands of files from outside are listed quickly, page by page', async () => {
  using fixture = new Fixture()
  const names = Array.from({ length: 2500 }, (_, i) => `file-${i}`)
  for (const name of names) writeFileSync(fixture.path(name), '')
  const start = performance.now()
  expect((await fixture.names(ROOT, 100)).toSorted()).toEqual(names.toSorted())
  expect(performance.now() - start).toBeLessThan(3000)
})
