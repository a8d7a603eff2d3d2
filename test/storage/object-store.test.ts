import { describe, expect, test } from 'bun:test'
import { chmodSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { localStore } from '../../src/storage/local.ts'
import { parseLocation } from '../../src/storage/location.ts'
import { memoryStore } from '../../src/storage/memory.ts'
import { type ObjectStore, StorageError } from '../../src/storage/object-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

async function failure(run: () => Promise<unknown>): Promise<StorageError> {
  try {
    await run()
  } catch (error) {
    if (error instanceof StorageError) return error
    throw error
  }
  throw new Error('it did not fail')
}

const kinds: readonly [string, (folder: string) => ObjectStore][] = [
  ['on disk', localStore],
  ['in memory', () => memoryStore()],
]

for (const [name, make] of kinds) {
  describe(`a store ${name}`, () => {
    test('gives back what was written, whole and in ranges', async () => {
      using folder = temporaryFolder()
      const store = make(folder.path)
      await store.write('a/b/c.txt', bytes('hello world'))
      expect(Buffer.from(await store.read('a/b/c.txt')).toString()).toBe('hello world')
      expect(Buffer.from(await store.read('a/b/c.txt', 6, 9)).toString()).toBe('wor')
      expect(Buffer.from(await store.read('a/b/c.txt', 6, 99)).toString()).toBe('world')
      expect(await store.stat('a/b/c.txt')).toMatchObject({ path: 'a/b/c.txt', sizeBytes: 11 })
      expect(await store.stat('a/b')).toBeUndefined()
      await store.write('a/b/c.txt', bytes('new'))
      expect((await store.stat('a/b/c.txt'))?.sizeBytes).toBe(3)
      await store.delete('a/b/c.txt')
      await store.delete('a/b/c.txt')
      expect(await failure(() => store.read('a/b/c.txt'))).toMatchObject({ code: 'not_found' })
    })

    test('lists what is below a folder, sorted bytewise, from a name on', async () => {
      using folder = temporaryFolder()
      const store = make(folder.path)
      for (const path of ['log/2', 'log/10', 'log/ü', 'log/sub/x', 'logs/no', 'log/A'])
        await store.write(path, bytes(path))
      expect((await store.list('log')).map(({ path }) => path)).toEqual([
        'log/10',
        'log/2',
        'log/A',
        'log/sub/x',
        'log/ü',
      ])
      expect((await store.list('log', 'log/2')).map(({ path }) => path)).toEqual(['log/A', 'log/sub/x', 'log/ü'])
      expect(await store.list('nowhere')).toEqual([])
    })

    test('lets exactly one of many put a name that is not there', async () => {
      using folder = temporaryFolder()
      const store = make(folder.path)
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, i) => store.putIfAbsent('log/1.json', bytes(`writer ${i}`))),
      )
      expect(outcomes.filter(outcome => outcome === 'written').length).toBe(1)
      const winner = outcomes.indexOf('written')
      expect(Buffer.from(await store.read('log/1.json')).toString()).toBe(`writer ${winner}`)
      expect((await store.list('')).map(({ path }) => path)).toEqual(['log/1.json'])
    })

    test('shows an object that is written piece by piece when it is closed, and never when it is aborted', async () => {
      using folder = temporaryFolder()
      const store = make(folder.path)
      const kept = await store.create('x/kept')
      const dropped = await store.create('x/dropped')
      for (const out of [kept, dropped]) {
        await out.write(bytes('one '))
        await out.write(bytes('two'))
      }
      expect(await store.stat('x/kept')).toBeUndefined()
      await kept.close()
      await dropped.abort()
      expect(Buffer.from(await store.read('x/kept')).toString()).toBe('one two')
      expect(await store.stat('x/dropped')).toBeUndefined()
      expect((await store.list('x')).length).toBe(1)
    })

    test('refuses paths that lead out of it', async () => {
      using folder = temporaryFolder()
      const store = make(folder.path)
      for (const path of ['../x', 'a/../../x', '/etc/passwd', 'a/./../..']) {
        expect(await failure(() => store.read(path))).toMatchObject({ code: 'invalid_path' })
        expect(await failure(() => store.write(path, bytes('x')))).toMatchObject({ code: 'invalid_path' })
      }
    })
  })
}

describe('a store on disk', () => {
  test('leaves nothing behind but the objects', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    await store.write('a', bytes('1'))
    await store.putIfAbsent('b', bytes('2'))
    await store.putIfAbsent('b', bytes('3'))
    const out = await store.create('c')
    await out.abort()
    expect(readdirSync(folder.path).sort()).toEqual(['a', 'b'])
  })

  test('names the place and the reason where it cannot write', async () => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, 'file'), '')
    const error = await failure(() => localStore(folder.path).write('file/below', bytes('x')))
    expect(error.message).toContain(join(folder.path, 'file'))
    if (process.getuid?.() === 0) return // Root may write everywhere.
    mkdirSync(join(folder.path, 'closed'))
    chmodSync(join(folder.path, 'closed'), 0o500)
    expect(await failure(() => localStore(folder.path).write('closed/x', bytes('x')))).toMatchObject({
      code: 'access_denied',
    })
  })

  test('has the real path of its folder', () => {
    using folder = temporaryFolder()
    mkdirSync(join(folder.path, 'real'))
    symlinkSync(join(folder.path, 'real'), join(folder.path, 'link'))
    expect(localStore(join(folder.path, 'real')).localPath('a b/c')).toBe(join(folder.path, 'real', 'a b', 'c'))
  })
})

describe('a location', () => {
  test('is a directory, a file URL or a bucket', () => {
    expect(parseLocation('./people')).toEqual({ kind: 'local', directory: './people' })
    expect(parseLocation('file:///data/people')).toEqual({ kind: 'local', directory: '/data/people' })
    expect(parseLocation('s3://bucket/some/prefix/')).toEqual({ kind: 's3', bucket: 'bucket', prefix: 'some/prefix' })
    expect(() => parseLocation('http://x/y')).toThrow('a table is a directory or s3://bucket/prefix')
    expect(() => parseLocation('')).toThrow('empty')
  })
})
