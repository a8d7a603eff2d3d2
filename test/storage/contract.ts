import { describe, expect, test } from 'bun:test'
import { type ObjectStore, putAfter, StorageError } from '../../src/storage/object-store.ts'

/** A store of a test's own, empty; it goes with the test. */
export interface OpenedStore extends AsyncDisposable {
  readonly store: ObjectStore
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

/** The StorageError that something rejects with. */
export async function failure(run: () => Promise<unknown>): Promise<StorageError> {
  try {
    await run()
  } catch (error) {
    if (error instanceof StorageError) return error
    throw error
  }
  throw new Error('it did not fail')
}

/** What every store does: see ObjectStore. */
export function storeContract(name: string, open: () => Promise<OpenedStore>): void {
  describe(`a store ${name}`, () => {
    test('gives back what was written, whole and in ranges', async () => {
      await using opened = await open()
      const { store } = opened
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
      await using opened = await open()
      const { store } = opened
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
      await using opened = await open()
      const { store } = opened
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, i) => store.putIfAbsent('log/1.json', bytes(`writer ${i}`))),
      )
      expect(outcomes.filter(outcome => outcome === 'written').length).toBe(1)
      const winner = outcomes.indexOf('written')
      expect(Buffer.from(await store.read('log/1.json')).toString()).toBe(`writer ${winner}`)
      expect((await store.list('')).map(({ path }) => path)).toEqual(['log/1.json'])
    })

    test('puts nothing before what it is to come after, and nothing where that fails', async () => {
      await using opened = await open()
      const { store } = opened
      const first = Promise.withResolvers<void>()
      const put = putAfter(store, 'log/1.json', bytes('one'), first.promise)
      await Bun.sleep(20)
      expect(await store.stat('log/1.json')).toBeUndefined()
      first.resolve()
      expect(await put).toBe('written')
      expect(await putAfter(store, 'log/1.json', bytes('two'), Promise.resolve())).toBe('exists')
      const broken = Promise.reject(new StorageError('io', 'the disk reported an error'))
      expect(await failure(() => putAfter(store, 'log/2.json', bytes('two'), broken))).toMatchObject({ code: 'io' })
      expect((await store.list('')).map(({ path }) => path)).toEqual(['log/1.json'])
    })

    test('shows an object that is written piece by piece and ended at once, and says when it is durable', async () => {
      await using opened = await open()
      const { store } = opened
      const out = await store.create('x/ended')
      await out.write(bytes('whole'))
      const ended = await (out.end?.() ?? out.close())
      expect(Buffer.from(await store.read('x/ended')).toString()).toBe('whole')
      await ended?.durable
      // It is too late for that.
      if (ended !== undefined) await out.abort()
      expect((await store.list('')).map(({ path }) => path)).toEqual(['x/ended'])
    })

    test('shows an object that is written piece by piece when it is closed, and never when it is aborted', async () => {
      await using opened = await open()
      const { store } = opened
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
      await using opened = await open()
      const { store } = opened
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
      await using opened = await open()
      const { store } = opened
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
      await using opened = await open()
      const { store } = opened
      // As UTF-16 the last two would change places.
      const sorted = ['a', 'b-c/x', 'b.c', 'b/x', 'bb', '\uff5e', '\u{1f600}']
      for (const path of [...sorted].reverse()) await store.write(path, bytes(path))
      expect((await store.list('')).map(({ path }) => path)).toEqual(sorted)
      for (const [i, path] of sorted.entries())
        expect((await store.list('', path)).map(info => info.path)).toEqual(sorted.slice(i + 1))
      expect((await store.list('b/')).map(({ path }) => path)).toEqual(['b/x'])
    })

    test('takes a copy of what it is given, and gives out copies', async () => {
      await using opened = await open()
      const { store } = opened
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

    test('removes many objects at once, and minds none that are missing', async () => {
      await using opened = await open()
      const { store } = opened
      const paths = ['a/1', 'a/ü + 2', 'a/3&<', 'b/4']
      for (const path of paths) await store.write(path, bytes(path))
      await store.deleteMany([...paths.slice(0, 3), 'a/missing'])
      expect((await store.list('')).map(({ path }) => path)).toEqual(['b/4'])
      await store.deleteMany([])
      expect(await failure(() => store.deleteMany(['../x']))).toMatchObject({ code: 'invalid_path' })
    })

    test('keeps the pieces of a large object in order', async () => {
      await using opened = await open()
      const { store } = opened
      const whole = new Uint8Array(300_000).map((_, i) => (i * 7 + (i >> 8)) & 255)
      const out = await store.create('large')
      const piece = new Uint8Array(30_000)
      for (let at = 0; at < whole.length; at += piece.length) {
        // The same buffer each time: what is written is what was in it then.
        piece.set(whole.subarray(at, at + piece.length))
        await out.write(piece)
      }
      await out.close()
      expect(Buffer.compare(await store.read('large'), whole)).toBe(0)
      expect(Buffer.compare(await store.read('large', 65_000, 140_001), whole.subarray(65_000, 140_001))).toBe(0)
    })

    test('has no object where a folder is', async () => {
      await using opened = await open()
      const { store } = opened
      await store.write('a/b', bytes('x'))
      expect(await failure(() => store.read('a'))).toMatchObject({ code: 'not_found' })
      expect(await store.stat('a')).toBeUndefined()
      expect(await failure(() => store.read('a/b/c'))).toMatchObject({ code: 'not_found' })
      expect(await store.stat('a/b/c')).toBeUndefined()
    })
  })
}
