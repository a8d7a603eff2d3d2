import { expect, test } from 'bun:test'
import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs'
import { codeOf, DATA, Fixture, ROOT } from './fixture.ts'

test('a file that is written is a real file with these bytes, in the folder of the same name', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'notes.txt', 'hello\n')
  const sub = await fixture.folder(DATA, 'sub')
  await fixture.file(sub, '.hidden', 'deep')
  expect(readFileSync(fixture.path('notes.txt'), 'utf8')).toBe('hello\n')
  expect(readFileSync(fixture.path('data', 'sub', '.hidden'), 'utf8')).toBe('deep')
  expect(await fixture.text(id)).toBe('hello\n')
  expect((await fixture.scratch.lookup(ROOT, 'notes.txt')).id).toBe(id)
})

test('attributes come from the real file; owner and group are those of the mount', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a', 'x'.repeat(5000))
  const real = statSync(fixture.path('a'), { bigint: true })
  expect(await fixture.scratch.getattr(id)).toEqual({
    type: 'file',
    mode: 0o644,
    links: 1,
    uid: 501,
    gid: 20,
    size: 5000n,
    used: real.blocks * 512n,
    fileId: id,
    atime: real.atimeNs,
    mtime: real.mtimeNs,
    ctime: real.ctimeNs,
  })
  expect((await fixture.scratch.getattr(ROOT)).type).toBe('directory')
})

test('a read stops at the end of the file, and says so', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a', 'abcdef')
  const read = async (offset: bigint, count: number) => {
    const { data, eof } = await fixture.scratch.read(id, offset, count)
    return [Buffer.concat(data).toString(), eof]
  }
  expect(await read(0n, 3)).toEqual(['abc', false])
  expect(await read(3n, 3)).toEqual(['def', true])
  expect(await read(4n, 100)).toEqual(['ef', true])
  expect(await read(2n ** 60n, 100)).toEqual(['', true])
})

test('writes that are not waited for take effect in the order of the calls', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a')
  const { scratch } = fixture
  const calls: Promise<unknown>[] = []
  for (let i = 0; i < 50; i++) calls.push(scratch.write(id, 0n, Buffer.from(`${i}`.padStart(4, '0')), 'unstable'))
  calls.push(scratch.setattr(id, { size: 0n }), scratch.write(id, 2n, Buffer.from('z'), 'file_sync'))
  const { size } = await scratch.getattr(id)
  await Promise.all(calls)
  expect(size).toBe(3n)
  expect(await fixture.text(id)).toBe('\0\0z')
})

test('each change of a file moves its modification time, within one tick of the kernel as well', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a')
  const times: bigint[] = []
  for (let i = 0; i < 100; i++) {
    const { change } = await fixture.scratch.write(id, 0n, Buffer.from('x'), 'unstable')
    expect(change.before?.mtime).not.toBe(change.after?.mtime)
    times.push(change.after!.mtime)
  }
  expect(new Set(times).size).toBe(100)
  expect(times.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(times)
})

test('an unstable write is answered as unstable, and a commit makes it durable; other writes are durable at once', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a')
  expect((await fixture.scratch.write(id, 0n, Buffer.from('x'), 'unstable')).committed).toBe('unstable')
  const { before, after } = await fixture.scratch.commit(id)
  expect(before).toEqual(after)
  expect((await fixture.scratch.write(id, 0n, Buffer.from('x'), 'data_sync')).committed).toBe('file_sync')
})

test('times are set to the nanosecond, in the past and in the future, and a write moves a future one back to now', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a', 'x')
  for (const time of [1n, 1_234_567_890_123_456_789n, 4_102_444_800_000_000_001n]) {
    const client = { kind: 'client', time } as const
    const { after } = await fixture.scratch.setattr(id, { atime: client, mtime: client })
    expect([after?.atime, after?.mtime]).toEqual([time, time])
    expect(statSync(fixture.path('a'), { bigint: true }).mtimeNs).toBe(time)
  }
  const { change } = await fixture.scratch.write(id, 0n, Buffer.from('y'), 'unstable')
  expect(Math.abs(Number(change.after!.mtime / 1_000_000n) - Date.now())).toBeLessThan(60_000)
})

test('chmod changes the real file, leaves the server its own access, and never makes a setuid program', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'run.sh', '#!/bin/sh\n')
  expect((await fixture.scratch.setattr(id, { mode: 0o4755 })).after?.mode).toBe(0o755)
  expect(statSync(fixture.path('run.sh')).mode & 0o7777).toBe(0o755)
  expect((await fixture.scratch.setattr(id, { mode: 0 })).after?.mode).toBe(0o600)
  await fixture.scratch.setattr(id, { uid: 7, gid: 7 })
  expect((await fixture.scratch.getattr(id)).uid).toBe(501)
})

test('a change is refused if the file changed since the client looked at it', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a', 'x')
  const { ctime } = await fixture.scratch.getattr(id)
  expect(await codeOf(fixture.scratch.setattr(id, { size: 0n }, ctime - 1n))).toBe('ENOTSYNC')
  expect(await codeOf(fixture.scratch.setattr(id, { size: 0n }, ctime))).toBe('none')
})

test('a size beyond what a file can have is refused', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a', 'x')
  expect(await codeOf(fixture.scratch.setattr(id, { size: 2n ** 63n }))).toBe('EFBIG')
  expect(await codeOf(fixture.scratch.write(id, 2n ** 64n - 1n, Buffer.from('xx'), 'unstable'))).toBe('EFBIG')
  expect(await fixture.text(id)).toBe('x')
})

test('bytes of a folder cannot be read or written', async () => {
  using fixture = new Fixture()
  const id = await fixture.folder(ROOT, 'd')
  expect(await codeOf(fixture.scratch.read(id, 0n, 10))).toBe('EISDIR')
  expect(await codeOf(fixture.scratch.write(id, 0n, Buffer.from('x'), 'unstable'))).toBe('EISDIR')
  expect(await codeOf(fixture.scratch.setattr(id, { size: 0n }))).toBe('EISDIR')
})

test('a file that the server may only read can still be read', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a', 'x')
  fixture.restart()
  chmodSync(fixture.path('a'), 0o444)
  expect(await fixture.text(id)).toBe('x')
})

test('more files than descriptors are kept open can be written side by side', async () => {
  using fixture = new Fixture()
  const ids: bigint[] = []
  for (let i = 0; i < 150; i++) ids.push(await fixture.file(ROOT, `f${i}`))
  for (let round = 0; round < 3; round++) {
    const at = BigInt(round * 3)
    await Promise.all(ids.map((id, i) => fixture.scratch.write(id, at, Buffer.from(`${i},`.padStart(3)), 'unstable')))
  }
  expect(await fixture.text(ids[7]!)).toBe(' 7, 7, 7,')
  expect(existsSync(fixture.path('f149'))).toBe(true)
})
