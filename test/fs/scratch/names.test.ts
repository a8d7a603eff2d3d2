import { expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { codeOf, DATA, Fixture, ROOT } from './fixture.ts'

test('lookup knows the folder itself and the one above, and data in the root', async () => {
  using fixture = new Fixture()
  const a = await fixture.folder(ROOT, 'a')
  const b = await fixture.folder(a, 'b')
  const look = async (id: bigint, name: string) => (await fixture.scratch.lookup(id, name)).id
  expect([await look(b, '.'), await look(b, '..'), await look(a, '..')]).toEqual([b, a, ROOT])
  expect([await look(ROOT, 'data'), await look(DATA, '..'), await look(ROOT, '..')]).toEqual([DATA, ROOT, ROOT])
  expect(await codeOf(fixture.scratch.lookup(a, 'none'))).toBe('ENOENT')
})

test('lookup in what is no folder is refused', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a')
  expect(await codeOf(fixture.scratch.lookup(id, 'b'))).toBe('ENOTDIR')
  expect(await codeOf(fixture.scratch.lookup(987654321n, 'b'))).toBe('ESTALE')
})

test('names of any UTF-8 up to 255 bytes are kept, longer and impossible ones refused', async () => {
  using fixture = new Fixture()
  const names = [
    `${'ü'.repeat(127)}x`,
    'a'.repeat(255),
    '.',
    ' ',
    '-rf',
    '…\n"',
    '.nfs0001',
    "'; DROP TABLE",
    '\uFEFFbom',
    '日本',
  ]
  for (const name of names.filter(name => name !== '.')) {
    const id = await fixture.file(DATA, name, name)
    expect((await fixture.scratch.lookup(DATA, name)).id).toBe(id)
    expect(readFileSync(fixture.path('data', name), 'utf8')).toBe(name)
  }
  expect((await fixture.names(DATA)).toSorted()).toEqual(names.filter(name => name !== '.').toSorted())
  const create = (name: string) => codeOf(fixture.scratch.create(DATA, name, { kind: 'unchecked', attributes: {} }))
  expect(await create('a'.repeat(256))).toBe('ENAMETOOLONG')
  for (const name of ['', '.', '..', 'a/b', '../x', 'nul\0', '\ud800']) expect(await create(name)).toBe('EINVAL')
})

test('a path too long for the system is refused, not cut', async () => {
  using fixture = new Fixture()
  let directory = ROOT
  let code = 'none'
  for (let depth = 0; depth < 30 && code === 'none'; depth++) {
    code = await codeOf(
      fixture.scratch.mkdir(directory, 'd'.repeat(250), {}).then(({ node }) => {
        directory = node.id
      }),
    )
  }
  expect(code).toBe('ENAMETOOLONG')
})

test('create: guarded refuses what exists, unchecked opens it, and cuts it only if a size is given', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const id = await fixture.file(ROOT, 'a', 'hello')
  expect(await codeOf(scratch.create(ROOT, 'a', { kind: 'guarded', attributes: {} }))).toBe('EEXIST')
  const again = await scratch.create(ROOT, 'a', { kind: 'unchecked', attributes: { mode: 0o600 } })
  expect([again.node.id, again.attributes.size]).toEqual([id, 5n])
  const cut = await scratch.create(ROOT, 'a', { kind: 'unchecked', attributes: { size: 0n } })
  expect([cut.node.id, cut.attributes.size]).toEqual([id, 0n])
  await fixture.folder(ROOT, 'd')
  expect(await codeOf(scratch.create(ROOT, 'd', { kind: 'unchecked', attributes: {} }))).toBe('EISDIR')
})

test('an exclusive create succeeds again with its own verifier, also after a restart, and with no other', async () => {
  using fixture = new Fixture()
  const verifier = 2n ** 64n - 1n
  const first = await fixture.scratch.create(ROOT, 'a', { kind: 'exclusive', verifier })
  const second = await fixture.scratch.create(ROOT, 'a', { kind: 'exclusive', verifier })
  fixture.restart({ killed: true })
  const third = await fixture.scratch.create(ROOT, 'a', { kind: 'exclusive', verifier })
  expect([second.node.id, third.node.id]).toEqual([first.node.id, first.node.id])
  expect(await codeOf(fixture.scratch.create(ROOT, 'a', { kind: 'exclusive', verifier: 1n }))).toBe('EEXIST')
  await fixture.file(ROOT, 'b')
  expect(await codeOf(fixture.scratch.create(ROOT, 'b', { kind: 'exclusive', verifier }))).toBe('EEXIST')
})

test('a file that is created gets the mode and size that were asked for, whatever the umask', async () => {
  using fixture = new Fixture()
  const umask = process.umask(0o077)
  try {
    const { attributes } = await fixture.scratch.create(ROOT, 'a', {
      kind: 'guarded',
      attributes: { mode: 0o666, size: 10n, mtime: { kind: 'client', time: 5n } },
    })
    expect([attributes.mode, attributes.size, attributes.mtime]).toEqual([0o666, 10n, 5n])
    expect((await fixture.scratch.mkdir(ROOT, 'd', { mode: 0o777 })).attributes.mode).toBe(0o777)
  } finally {
    process.umask(umask)
  }
})

test('data belongs to the mount: it is not made, removed, renamed or replaced', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  await fixture.file(ROOT, 'a')
  expect(await codeOf(scratch.mkdir(ROOT, 'data', {}))).toBe('EEXIST')
  expect(await codeOf(scratch.create(ROOT, 'data', { kind: 'unchecked', attributes: {} }))).toBe('EEXIST')
  expect(await codeOf(scratch.remove(ROOT, 'data'))).toBe('EISDIR')
  expect(await codeOf(scratch.rmdir(ROOT, 'data'))).toBe('EACCES')
  expect(await codeOf(scratch.rename(ROOT, 'data', ROOT, 'b'))).toBe('EACCES')
  expect(await codeOf(scratch.rename(ROOT, 'a', ROOT, 'data'))).toBe('EEXIST')
  const inner = await fixture.folder(DATA, 'data')
  expect((await scratch.lookup(DATA, 'data')).id).toBe(inner)
})

test('the id of a removed file is stale, and a new file of that name gets another', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const id = await fixture.file(ROOT, 'a', 'x')
  await scratch.remove(ROOT, 'a')
  expect(await codeOf(scratch.getattr(id))).toBe('ESTALE')
  expect(await codeOf(scratch.read(id, 0n, 1))).toBe('ESTALE')
  expect(await codeOf(scratch.write(id, 0n, Buffer.from('x'), 'unstable'))).toBe('ESTALE')
  expect(await codeOf(scratch.remove(ROOT, 'a'))).toBe('ENOENT')
  expect(await fixture.file(ROOT, 'a')).toBeGreaterThan(id)
  expect(existsSync(fixture.path('a'))).toBe(true)
})

test('remove takes files and rmdir takes empty folders, neither the other', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const d = await fixture.folder(ROOT, 'd')
  await fixture.file(d, 'a')
  expect(await codeOf(scratch.remove(ROOT, 'd'))).toBe('EISDIR')
  expect(await codeOf(scratch.rmdir(ROOT, 'd'))).toBe('ENOTEMPTY')
  expect(await codeOf(scratch.rmdir(d, 'a'))).toBe('ENOTDIR')
  await scratch.remove(d, 'a')
  expect(await codeOf(scratch.rmdir(ROOT, 'd'))).toBe('none')
  expect(await codeOf(scratch.getattr(d))).toBe('ESTALE')
  expect(readdirSync(fixture.path())).toEqual(['data'])
})

test('a file keeps its id when it is renamed, and so does everything below a folder', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const a = await fixture.folder(ROOT, 'a')
  const b = await fixture.folder(a, 'b')
  const file = await fixture.file(b, 'f', 'deep')
  await scratch.rename(b, 'f', b, 'g')
  await scratch.rename(ROOT, 'a', DATA, 'moved')
  expect(await fixture.text(file)).toBe('deep')
  expect(scratch.realPath(file)).toBe(fixture.path('data', 'moved', 'b', 'g'))
  expect(scratch.entryOf(file)).toEqual({ dirId: b, name: 'g' })
  expect((await scratch.lookup(DATA, 'moved')).id).toBe(a)
})

test('rename puts a file over a file and a folder over an empty folder; what was there is stale', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const a = await fixture.file(ROOT, 'a', 'new')
  const b = await fixture.file(ROOT, 'b', 'old')
  await scratch.rename(ROOT, 'a', ROOT, 'b')
  expect([await fixture.text(a), (await scratch.lookup(ROOT, 'b')).id, await codeOf(scratch.getattr(b))]).toEqual([
    'new',
    a,
    'ESTALE',
  ])
  const d = await fixture.folder(ROOT, 'd')
  const e = await fixture.folder(ROOT, 'e')
  await fixture.file(d, 'x')
  expect(await codeOf(scratch.rename(ROOT, 'e', ROOT, 'd'))).toBe('ENOTEMPTY')
  expect(await codeOf(scratch.rename(ROOT, 'b', ROOT, 'd'))).toBe('EISDIR')
  expect(await codeOf(scratch.rename(ROOT, 'd', ROOT, 'b'))).toBe('ENOTDIR')
  await scratch.rename(ROOT, 'd', ROOT, 'e')
  expect([(await scratch.lookup(ROOT, 'e')).id, await codeOf(scratch.getattr(e))]).toEqual([d, 'ESTALE'])
})

test('rename refuses to put a folder into itself or its own subfolder', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const a = await fixture.folder(ROOT, 'a')
  const b = await fixture.folder(a, 'b')
  expect(await codeOf(scratch.rename(ROOT, 'a', b, 'c'))).toBe('EINVAL')
  expect(await codeOf(scratch.rename(ROOT, 'a', a, 'c'))).toBe('EINVAL')
  expect(await codeOf(scratch.rename(ROOT, 'none', b, 'c'))).toBe('ENOENT')
  expect((await scratch.lookup(a, 'b')).id).toBe(b)
})

test('rename onto itself changes nothing', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a', 'x')
  const { from } = await fixture.scratch.rename(ROOT, 'a', ROOT, 'a')
  expect(from.before?.mtime).toBe(from.after!.mtime)
  expect(await fixture.text(id)).toBe('x')
})

test('each change of names moves the time of the folder, as the reply says', async () => {
  using fixture = new Fixture()
  const { scratch } = fixture
  const changes = [
    (await scratch.create(ROOT, 'a', { kind: 'unchecked', attributes: {} })).directory,
    (await scratch.mkdir(ROOT, 'd', {})).directory,
    (await scratch.rename(ROOT, 'a', ROOT, 'b')).from,
    await scratch.remove(ROOT, 'b'),
    await scratch.rmdir(ROOT, 'd'),
  ]
  for (const { before, after } of changes) expect(after!.mtime).toBeGreaterThan(before!.mtime)
  expect((await scratch.getattr(ROOT)).mtime).toBe(changes.at(-1)!.after!.mtime)
})

test('a listing has each name once, in the order of the cookies, whatever the size of its pages', async () => {
  using fixture = new Fixture()
  const names = Array.from({ length: 40 }, (_, i) => `f${i}`)
  for (const name of names) await fixture.file(ROOT, name)
  for (const limit of [1, 7, 40, 1000]) expect(await fixture.names(ROOT, limit)).toEqual(names)
  const { entries } = await fixture.scratch.readdir(ROOT, 0n, 3)
  for (const { id, cookie, attributes } of entries) {
    expect([cookie, attributes?.fileId]).toEqual([id, id])
    expect(cookie).toBeGreaterThanOrEqual(1000n)
  }
})

test('rm -r lists while it deletes, and misses nothing', async () => {
  using fixture = new Fixture()
  for (let i = 0; i < 60; i++) await fixture.file(ROOT, `f${i}`)
  for (let cookie = 0n, end = false; !end; ) {
    const { entries, endOfDirectory } = await fixture.scratch.readdir(ROOT, cookie, 7)
    for (const { name } of entries) await fixture.scratch.remove(ROOT, name)
    cookie = entries.at(-1)?.cookie ?? cookie
    end = endOfDirectory
  }
  expect(readdirSync(fixture.path())).toEqual(['data'])
})

test('a file that comes while a listing goes on stands at its end', async () => {
  using fixture = new Fixture()
  for (const name of ['a', 'b', 'c', 'd']) await fixture.file(ROOT, name)
  const first = await fixture.scratch.readdir(ROOT, 0n, 2)
  await fixture.file(ROOT, 'late')
  await fixture.scratch.remove(ROOT, 'c')
  const second = await fixture.scratch.readdir(ROOT, first.entries.at(-1)!.cookie, 10)
  expect(second.entries.map(entry => entry.name)).toEqual(['d', 'late'])
  expect(second.endOfDirectory).toBe(true)
})

test('a new listing never goes on with an earlier one', async () => {
  using fixture = new Fixture()
  for (const name of ['a', 'b', 'c']) await fixture.file(ROOT, name)
  await fixture.scratch.readdir(ROOT, 0n, 1)
  await fixture.file(ROOT, 'late')
  const listing = await fixture.scratch.readdir(ROOT, 16n, 10)
  expect(listing.entries.map(entry => entry.name)).toEqual(['a', 'b', 'c', 'late'])
})

test('what the system cannot do is refused with its own code', async () => {
  using fixture = new Fixture()
  expect(statSync(fixture.path()).isDirectory()).toBe(true)
  expect(await codeOf(fixture.scratch.readdir(424242n, 0n, 10))).toBe('ESTALE')
  const file = await fixture.file(ROOT, 'a')
  expect(await codeOf(fixture.scratch.readdir(file, 0n, 10))).toBe('ENOTDIR')
  expect(await codeOf(fixture.scratch.mkdir(file, 'b', {}))).toBe('ENOTDIR')
  expect(await codeOf(fixture.scratch.mkdir(ROOT, 'a', {}))).toBe('EEXIST')
})
