import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FsError } from '../../../src/fs/filesystem.ts'
import { systemError } from '../../../src/fs/scratch/errors.ts'
import { OpenFiles } from '../../../src/fs/scratch/open-files.ts'
import { Syncs } from '../../../src/fs/scratch/syncs.ts'
import { Turns } from '../../../src/fs/scratch/turns.ts'

test('what the system refuses is told with its own code, and anything else is EIO', () => {
  const told = (code: string): string => systemError('x', Object.assign(new Error(code), { code })).code
  for (const code of [
    'ENOSPC',
    'EDQUOT',
    'EFBIG',
    'ENAMETOOLONG',
    'ENOTEMPTY',
    'EEXIST',
    'EISDIR',
    'ENOTDIR',
    'EROFS',
  ]) {
    expect(told(code)).toBe(code)
  }
  expect([told('EWHATEVER'), told('SQLITE_FULL'), told('EMFILE')]).toEqual(['EIO', 'ENOSPC', 'EJUKEBOX'])
  const own = new FsError('ESTALE', 'gone')
  expect(systemError('x', own)).toBe(own)
})

test('an fsync that was asked for while one is under way comes after it, once for all who asked', async () => {
  const syncs = new Syncs<string>()
  const runs: PromiseWithResolvers<void>[] = []
  const sync = (): Promise<void> => {
    const run = Promise.withResolvers<void>()
    runs.push(run)
    return run.promise
  }
  const first = syncs.run('f', sync)
  const rest = [syncs.run('f', sync), syncs.run('f', sync)]
  expect(runs.length).toBe(1)
  runs[0]!.resolve()
  await first
  expect(runs.length).toBe(2)
  const late = syncs.run('f', sync)
  runs[1]!.resolve()
  await Promise.all(rest)
  expect(runs.length).toBe(3)
  runs[2]!.resolve()
  await late
})

test('a failed fsync is told to all who wait, and the next one starts anew', async () => {
  const syncs = new Syncs<string>()
  const failing = Promise.withResolvers<void>()
  const both = [syncs.run('f', () => failing.promise), syncs.run('f', async () => undefined)]
  failing.reject(new Error('lost'))
  expect((await Promise.allSettled(both)).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  await syncs.run('f', async () => undefined)
})

test('shared turns go side by side, exclusive ones alone, in the order of the calls', async () => {
  const turns = new Turns()
  const told: string[] = []
  const gate = Promise.withResolvers<void>()
  const work = (name: string, until?: Promise<void>) => async (): Promise<void> => {
    told.push(`${name} begins`)
    await until
    told.push(`${name} ends`)
  }
  const all = [
    turns.shared(1n, work('a', gate.promise)),
    turns.shared(1n, work('b', gate.promise)),
    turns.exclusive(1n, work('c')),
    turns.shared(1n, work('d')),
    turns.exclusive(2n, work('other')),
  ]
  expect(told).toEqual(['a begins', 'b begins', 'other begins'])
  gate.resolve()
  await Promise.all(all)
  expect(told.filter(line => !line.startsWith('other')).slice(2)).toEqual([
    'a ends',
    'b ends',
    'c begins',
    'c ends',
    'd begins',
    'd ends',
  ])
})

test('a turn that fails does not stop those behind it', async () => {
  const turns = new Turns()
  const failed = turns.exclusive(1n, async () => Promise.reject(new Error('no')))
  const next = turns.exclusive(1n, async () => 'done')
  expect([(await Promise.allSettled([failed]))[0]!.status, await next]).toEqual(['rejected', 'done'])
})

test('no more idle descriptors than the limit are kept, those in use stay, and another file is refused', () => {
  const directory = mkdtempSync(join(tmpdir(), 'posixlake-open-'))
  try {
    const files = new OpenFiles(2)
    const use = (id: number) => {
      const path = join(directory, String(id))
      writeFileSync(path, String(id))
      return files.use(BigInt(id), path, statSync(path, { bigint: true }).ino, true)
    }
    const used = [1, 2, 3, 4].map(use)
    expect(files.size).toBe(4)
    for (const file of used) file.release()
    expect(files.size).toBe(2)
    const path = join(directory, '4')
    const { ino } = statSync(path, { bigint: true })
    unlinkSync(path)
    writeFileSync(path, 'another')
    expect(() => files.use(5n, path, ino + 1_000_000n, true)).toThrow('replaced')
    files.close()
    expect(files.size).toBe(0)
  } finally {
    rmSync(directory, { recursive: true })
  }
})
