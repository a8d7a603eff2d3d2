import { describe, expect, test } from 'bun:test'
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
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
      for (const path of ['', '.', '..', '../x', 'a/../../x', 'a/..', '/etc/passwd', 'a/./../..', 'a/', 'a\0b']) {
        const calls: readonly (() => Promise<unknown>)[] = [
          () => store.read(path),
          () => store.stat(path),
          () => store.write(path, bytes('x')),
          () => store.create(path),
          () => store.putIfAbsent(path, bytes('x')),
          () => store.delete(path),
        ]
        for (const call of calls) expect(await failure(call)).toMatchObject({ code: 'invalid_path' })
      }
      for (const prefix of ['..', '../x', '/', '/etc', 'a/../..', 'a\0b'])
        expect(await failure(() => store.list(prefix))).toMatchObject({ code: 'invalid_path' })
      expect(await store.list('')).toEqual([])
    })

    test('reads as much as there is of any range', async () => {
      using folder = temporaryFolder()
      const store = make(folder.path)
      await store.write('ten', bytes('0123456789'))
      await store.write('none', new Uint8Array(0))
      const read = async (path: string, start?: number, end?: number): Promise<string> =>
        Buffer.from(await store.read(path, start, end)).toString()
      expect(await read('ten', 4)).toBe('456789')
      expect(await read('ten', 0, 0)).toBe('')
      expect(await read('ten', 7, 3)).toBe('')
      expect(await read('ten', 10, 12)).toBe('')
      expect(await read('ten', 99)).toBe('')
      expect(await read('ten', 8, 2 ** 50)).toBe('89')
      expect(await read('none')).toBe('')
      expect(await read('none', 0, 10)).toBe('')
    })

    test('sorts and filters names by their bytes in UTF-8', async () => {
      using folder = temporaryFolder()
      const store = make(folder.path)
      // As UTF-16 the last two would change places.
      const sorted = ['a', 'b-c/x', 'b.c', 'b/x', 'bb', '\uff5e', '\u{1f600}']
      for (const path of [...sorted].reverse()) await store.write(path, bytes(path))
      expect((await store.list('')).map(({ path }) => path)).toEqual(sorted)
      for (const [i, path] of sorted.entries())
        expect((await store.list('', path)).map(info => info.path)).toEqual(sorted.slice(i + 1))
      expect((await store.list('b/')).map(({ path }) => path)).toEqual(['b/x'])
    })

    test('takes a copy of what it is given, and gives out copies', async () => {
      using folder = temporaryFolder()
      const store = make(folder.path)
      const given = bytes('abc')
      await store.write('x', given)
      given.fill(0)
      ;(await store.read('x')).fill(0)
      expect(Buffer.from(await store.read('x')).toString()).toBe('abc')
      expect(await store.putIfAbsent('x', bytes('other'))).toBe('exists')
      expect(Buffer.from(await store.read('x')).toString()).toBe('abc')
      await store.delete('x')
      expect(await store.putIfAbsent('x', bytes('other'))).toBe('written')
    })

    test('has no object where a folder is', async () => {
      using folder = temporaryFolder()
      const store = make(folder.path)
      await store.write('a/b', bytes('x'))
      expect(await failure(() => store.read('a'))).toMatchObject({ code: 'not_found' })
      expect(await store.stat('a')).toBeUndefined()
      expect(await failure(() => store.read('a/b/c'))).toMatchObject({ code: 'not_found' })
      expect(await store.stat('a/b/c')).toBeUndefined()
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

  test('lets exactly one of two processes put each name', async () => {
    using folder = temporaryFolder()
    const script = `
      const { localStore } = await import(${JSON.stringify(join(import.meta.dir, '../../src/storage/local.ts'))})
      const store = localStore(process.argv[1])
      const won = []
      for (let i = 0; i < 60; i++) {
        const text = new TextEncoder().encode(process.argv[2] + ' wrote ' + i)
        if ((await store.putIfAbsent('log/' + i, text)) === 'written') won.push(i)
      }
      console.log(JSON.stringify(won))`
    const writers = ['one', 'two'].map(name =>
      Bun.spawn([process.execPath, '-e', script, folder.path, name], { stdout: 'pipe', stderr: 'inherit' }),
    )
    const won = await Promise.all(writers.map(writer => new Response(writer.stdout).json() as Promise<number[]>))
    expect(won.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i))
    const store = localStore(folder.path)
    for (const [writer, name] of ['one', 'two'].entries())
      for (const i of won[writer]!)
        expect(Buffer.from(await store.read(`log/${i}`)).toString()).toBe(`${name} wrote ${i}`)
    expect((await store.list('')).length).toBe(60)
  })

  test('makes a folder again that somebody took away', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    await store.write('a/b/one', bytes('1'))
    rmSync(join(folder.path, 'a'), { recursive: true })
    await store.write('a/b/two', bytes('2'))
    rmSync(join(folder.path, 'a'), { recursive: true })
    expect(await store.putIfAbsent('a/b/three', bytes('3'))).toBe('written')
    expect((await store.list('')).map(({ path }) => path)).toEqual(['a/b/three'])
  })

  test('takes away folders that it made with the last object in them, and no others', async () => {
    using folder = temporaryFolder()
    const below = (): string[] => readdirSync(folder.path, { recursive: true }).map(String).sort()
    mkdirSync(join(folder.path, 'kept'))
    const store = localStore(join(folder.path, 'kept', 'new', 'table'))
    await store.write('a/b/one', Uint8Array.of(1))
    await store.write('a/two', Uint8Array.of(2))
    await store.delete('a/b/one')
    expect(below()).toEqual(['kept', 'kept/new', 'kept/new/table', 'kept/new/table/a', 'kept/new/table/a/two'])
    await store.delete('a/two')
    expect(below()).toEqual(['kept'])
    const begun = await store.create('p=1/begun')
    await begun.write(Uint8Array.of(1))
    await begun.abort()
    expect(below()).toEqual(['kept'])
    // Many who make and take away the same folder at once are not in each other's way.
    await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        await store.write(`x/y/${i}`, Uint8Array.of(i))
        await store.delete(`x/y/${i}`)
      }),
    )
    expect(below()).toEqual(['kept'])
    expect(await store.putIfAbsent('z/last', Uint8Array.of(1))).toBe('written')
    expect((await store.list('')).map(({ path }) => path)).toEqual(['z/last'])
  })

  test('lists files behind symbolic links, and passes over what is being written', async () => {
    using folder = temporaryFolder()
    const store = localStore(join(folder.path, 'store'))
    await store.write('log/1', bytes('1'))
    writeFileSync(join(folder.path, 'elsewhere'), '2')
    symlinkSync(join(folder.path, 'elsewhere'), join(folder.path, 'store/log/2'))
    symlinkSync(join(folder.path, 'nowhere'), join(folder.path, 'store/log/3'))
    const out = await store.create('log/4')
    await out.write(bytes('4'))
    expect((await store.list('log')).map(({ path }) => path)).toEqual(['log/1', 'log/2'])
    await out.abort()
    await out.abort()
    expect(readdirSync(join(folder.path, 'store/log')).sort()).toEqual(['1', '2', '3'])
  })

  test('sweeps away what a crash left long ago, and nothing younger', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    await store.write('log/1', bytes('1'))
    const leftover = (digit: string): string =>
      join(folder.path, `log/.posixlake-${digit.repeat(8)}-0000-4000-8000-${digit.repeat(12)}.tmp`)
    const longAgo = Date.now() / 1000 - 25 * 3600
    for (const digit of ['1', '2']) writeFileSync(leftover(digit), 'x')
    utimesSync(leftover('1'), longAgo, longAgo)
    expect((await store.list('log')).map(({ path }) => path)).toEqual(['log/1'])
    expect(existsSync(leftover('1'))).toBe(false)
    expect(existsSync(leftover('2'))).toBe(true)
  })

  test('tells a full disk, and keeps what was there', async () => {
    using folder = temporaryFolder()
    const script = `
      const { localStore } = await import(${JSON.stringify(join(import.meta.dir, '../../src/storage/local.ts'))})
      const store = localStore(process.argv[1] + '/store')
      await store.write('small', new TextEncoder().encode('kept'))
      const big = new Uint8Array(1 << 20)
      const outcomes = []
      const attempt = async run => outcomes.push(await run().then(() => 'done', error => error.code + ' ' + error.message))
      await attempt(() => store.write('small', big))
      await attempt(() => store.putIfAbsent('big', big))
      await attempt(async () => {
        const out = await store.create('piece')
        try {
          await out.write(big)
          await out.close()
        } finally {
          await out.abort()
        }
      })
      const objects = (await store.list('')).map(({ path, sizeBytes }) => path + ' ' + sizeBytes)
      console.log(JSON.stringify({ outcomes, objects, kept: new TextDecoder().decode(await store.read('small')) }))`
    const mount = `mount -t tmpfs -o size=256k tmpfs "$1" && exec "$2" -e "$3" "$1"`
    const run = Bun.spawnSync(['unshare', '-rm', 'sh', '-c', mount, 'sh', folder.path, process.execPath, script])
    if (run.exitCode !== 0 && !/^\{/.test(run.stdout.toString())) {
      console.warn(`no small disk could be mounted, so a full one is not tried: ${run.stderr.toString().trim()}`)
      return
    }
    const { outcomes, objects, kept } = JSON.parse(run.stdout.toString()) as {
      outcomes: string[]
      objects: string[]
      kept: string
    }
    expect(outcomes.map(outcome => outcome.split(' ')[0])).toEqual(['no_space', 'no_space', 'no_space'])
    expect(outcomes[0]).toContain(join(folder.path, 'store/small'))
    expect(outcomes[0]).toContain('no space is left on the disk')
    expect(objects).toEqual(['small 4'])
    expect(kept).toBe('kept')
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
