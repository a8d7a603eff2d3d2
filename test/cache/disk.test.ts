import { Database } from 'bun:sqlite'
import { describe, expect, test } from 'bun:test'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { DiskCache } from '../../src/cache/disk.ts'
import { removeStrays } from '../../src/cache/disk-files.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const none = new Uint8Array(0)
const filled = (size: number, byte: number): Uint8Array => new Uint8Array(size).fill(byte)
const value = (size: number, byte = 1) => ({ bytes: filled(size, byte), meta: none })
const longAgo = new Date('2001-01-01')

function open(directory: string, capacityBytes = 64 << 20, said: string[] = []): DiskCache {
  return new DiskCache({ directory, capacityBytes, log: sentence => said.push(sentence) })
}

/** Paths of all files but the index. */
function blobs(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && !entry.name.startsWith('index.'))
    .map(entry => join(entry.parentPath, entry.name))
}

/** A program in another process that has `cache` open on the folder. */
function program(directory: string, capacityBytes: number, body: string): string {
  return `const { DiskCache } = await import(${JSON.stringify(join(import.meta.dir, '../../src/cache/disk.ts'))})
    const none = new Uint8Array(0)
    const cache = new DiskCache({
      directory: ${JSON.stringify(directory)}, capacityBytes: ${capacityBytes}, log: text => console.log('said: ' + text) })
    ${body}
    await cache.close()`
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(2)
}

describe('several caches on one folder', () => {
  test('see at once what the others put, and count together', async () => {
    using folder = temporaryFolder()
    const one = open(folder.path)
    const two = open(folder.path)
    await one.put('small', value(10))
    await two.put('large', value(2 << 20))
    expect((await two.get('small'))?.bytes.length).toBe(10)
    expect((await one.get('large'))?.bytes.length).toBe(2 << 20)
    expect(one.stats().entries).toBe(2)
    expect(two.stats().sizeBytes).toBe(10 + (2 << 20))
    await one.close()
    await two.close()
  })

  test('put the same keys at the same time: one of the values stays, whole, and no file is left over', async () => {
    using folder = temporaryFolder()
    const caches = [open(folder.path), open(folder.path), open(folder.path)]
    const puts = caches.flatMap((cache, c) =>
      Array.from({ length: 20 }, (_, i) => cache.put(`k${i % 5}`, value(20_000 + c, c))),
    )
    await Promise.all(puts)
    for (const cache of caches) {
      for (let i = 0; i < 5; i++) {
        const found = await cache.get(`k${i}`)
        const c = found!.bytes.length - 20_000
        expect(found!.bytes.every(byte => byte === c)).toBe(true)
      }
    }
    for (const cache of caches) await cache.close()
    expect(blobs(folder.path).length).toBe(5)
  })

  test('in several processes stay within the bound that they share, and read nothing but whole values', async () => {
    using folder = temporaryFolder()
    const body = `
      let wrong = 0, found = 0
      for (let i = 0; i < 150; i++) {
        // Every other key is one of a few: a walk in circles through more than the bound would never find any.
        const k = i % 2 === 0 ? (i / 2) % 4 : (i * 7 + SEED) % 60
        const size = 1000 + k * 1000
        const known = await cache.get('k' + k)
        if (known === undefined) await cache.put('k' + k, { bytes: new Uint8Array(size).fill(k), meta: none })
        else if (known.bytes.length !== size || !known.bytes.every(byte => byte === k)) wrong++
        else found++
      }
      console.log(JSON.stringify({ wrong, found: found > 0 }))`
    const processes = [1, 20, 40].map(seed =>
      Bun.spawn({
        cmd: [process.execPath, '-e', program(folder.path, 500_000, body.replace('SEED', String(seed)))],
        stdout: 'pipe',
      }),
    )
    for (const child of processes) {
      expect((await new Response(child.stdout).text()).trim()).toBe('{"wrong":0,"found":true}')
      expect(await child.exited).toBe(0)
    }
    const after = open(folder.path, 500_000)
    expect(after.stats().sizeBytes).toBeLessThanOrEqual(500_000)
    expect(after.stats().sizeBytes).toBeGreaterThan(100_000)
    await after.close()
  }, 20_000)

  test('read while another process holds the lock for writing; an index that is only busy is kept', async () => {
    using folder = temporaryFolder()
    const said: string[] = []
    const first = open(folder.path)
    await first.put('k', value(50_000))
    await first.close()
    using other = new Database(join(folder.path, 'index.sqlite'))
    other.run('BEGIN IMMEDIATE')
    const second = open(folder.path, 64 << 20, said)
    expect((await second.get('k'))?.bytes.length).toBe(50_000)
    // A put gives up in time, and takes its file with it.
    await second.put('another', value(50_000))
    expect(await second.get('another')).toBeUndefined()
    expect(blobs(folder.path).length).toBe(1)
    await second.close()
    other.run('ROLLBACK')
    expect(said.length).toBe(1)
    expect(said[0]).toContain('locked')
    const third = open(folder.path)
    expect(await third.get('k')).toBeDefined()
    await third.close()
  }, 15_000)
})

describe('making room', () => {
  test('leaves an evicted file readable to who has it mapped', async () => {
    using folder = temporaryFolder()
    const reader = open(folder.path, 8 << 20)
    await reader.put('mapped', value(3 << 20, 42))
    const held = await reader.get('mapped')
    const writer = open(folder.path, 8 << 20)
    for (let i = 0; i < 3; i++) await writer.put(`k${i}`, value(3 << 20, i))
    expect(await reader.get('mapped')).toBeUndefined()
    expect(Buffer.compare(held!.bytes, filled(3 << 20, 42))).toBe(0)
    await reader.close()
    await writer.close()
  })

  test('knows what was used in an earlier process', async () => {
    using folder = temporaryFolder()
    const first = open(folder.path, 1_000_000)
    for (let i = 0; i < 9; i++) await first.put(`k${i}`, value(100_000, i))
    const last = Date.now()
    await until(() => Date.now() > last)
    await first.get('k0')
    await first.close()
    const second = open(folder.path, 1_000_000)
    for (let i = 0; i < 3; i++) await second.put(`new ${i}`, value(100_000, i))
    expect(await second.get('k0')).toBeDefined()
    expect(await second.get('k1')).toBeUndefined()
    await second.close()
  })

  test('counts companion data, and values that lie in the index', async () => {
    using folder = temporaryFolder()
    const cache = open(folder.path, 100_000)
    for (let i = 0; i < 60; i++) await cache.put(`k${i}`, { bytes: filled(1000, i), meta: filled(4000, i) })
    expect(cache.stats().sizeBytes).toBeLessThanOrEqual(100_000)
    expect(cache.stats().entries).toBe(cache.stats().sizeBytes / 5000)
    expect(await cache.get('k59')).toBeDefined()
    await cache.close()
  })

  test('is also done for a capacity that became smaller, and not for a value that would not fit', async () => {
    using folder = temporaryFolder()
    const large = open(folder.path, 1_000_000)
    for (let i = 0; i < 9; i++) await large.put(`k${i}`, value(100_000, i))
    await large.put('too large', value(950_000))
    expect(large.stats().entries).toBe(9)
    await large.close()
    const small = open(folder.path, 300_000)
    await until(() => small.stats().sizeBytes <= 300_000)
    await small.close()
    expect(blobs(folder.path).length).toBe(2)
  })
})

describe('what dead processes leave behind', () => {
  const stray = (): string => `ab/${'ab'.repeat(20)}.${crypto.randomUUID()}`

  function place(directory: string, file: string, time?: Date): string {
    const path = join(directory, file)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, 'text')
    if (time !== undefined) utimesSync(path, time, time)
    return path
  }

  test('is removed in the background when it is old: temporary files, and files without a row', async () => {
    using folder = temporaryFolder()
    const first = open(folder.path)
    await first.put('k', value(50_000))
    await first.close()
    for (const path of blobs(folder.path)) utimesSync(path, longAgo, longAgo)
    const old = [place(folder.path, stray(), longAgo), place(folder.path, `${stray()}.tmp`, longAgo)]
    const second = open(folder.path)
    await until(() => !old.some(path => existsSync(path)))
    expect(await second.get('k')).toBeDefined()
    await second.close()
  })

  test('is kept while it is young, and so is what no cache has written', async () => {
    using folder = temporaryFolder()
    const kept = [
      place(folder.path, stray()),
      place(folder.path, `${stray()}.tmp`),
      place(folder.path, 'ab/thesis.txt', longAgo),
      place(folder.path, 'documents/thesis.txt', longAgo),
      place(folder.path, 'thesis.txt', longAgo),
    ]
    const old = place(folder.path, stray(), longAgo)
    await removeStrays(
      folder.path,
      () => false,
      () => false,
    )
    expect(existsSync(old)).toBe(false)
    expect(kept.filter(path => !existsSync(path))).toEqual([])
  })
})

describe('a damaged cache', () => {
  test('starts anew when the index breaks while it is open, and keeps again from then on', async () => {
    using folder = temporaryFolder()
    const said: string[] = []
    const first = open(folder.path)
    for (let i = 0; i < 300; i++) await first.put(`k${i}`, value(5000, i % 251))
    await first.close()
    const path = join(folder.path, 'index.sqlite')
    const bytes = readFileSync(path)
    // The head is left whole, so that the damage shows only when pages are read.
    writeFileSync(path, bytes.fill(0xa5, 4096 * 3))
    const cache = open(folder.path, 64 << 20, said)
    for (let i = 0; i < 300; i++) {
      const found = await cache.get(`k${i}`)
      if (found !== undefined) expect(found.bytes.every(byte => byte === i % 251)).toBe(true)
    }
    await cache.put('k', value(10))
    expect(await cache.get('k')).toBeDefined()
    expect(said.length).toBe(1)
    expect(said[0]).toContain('damaged')
    await cache.close()
  })

  test('starts anew on a database of someone else, a cut one, and one of another format', async () => {
    const cases: [string, (path: string) => void][] = [
      [
        'of someone else',
        path => {
          using database = new Database(path)
          database.run('PRAGMA user_version = 2')
          database.run('CREATE TABLE blobs (a)')
        },
      ],
      [
        'cut',
        path => {
          using database = new Database(path)
          database.run('CREATE TABLE t (a)')
          database.close()
          truncateSync(path, 5000)
        },
      ],
      [
        'of another format',
        path => {
          using database = new Database(path)
          database.run('CREATE TABLE blobs (name TEXT PRIMARY KEY, file TEXT)')
          database.run('PRAGMA user_version = 1')
        },
      ],
    ]
    for (const [name, make] of cases) {
      using folder = temporaryFolder()
      make(join(folder.path, 'index.sqlite'))
      const cache = open(folder.path)
      await cache.put('k', value(20_000))
      expect([name, (await cache.get('k'))?.bytes.length]).toEqual([name, 20_000])
      await cache.close()
    }
  })

  test('never reads or removes a file outside of its folder, whatever the index says', async () => {
    using folder = temporaryFolder()
    const directory = join(folder.path, 'cache')
    const outside = join(folder.path, 'outside')
    writeFileSync(outside, filled(20_000, 1))
    const first = open(directory)
    await first.put('k', value(20_000))
    await first.close()
    using database = new Database(join(directory, 'index.sqlite'))
    database.run("UPDATE blobs SET file = '../outside'")
    database.close()
    const second = open(directory)
    expect(await second.get('k')).toBeUndefined()
    await second.close()
    expect(existsSync(outside)).toBe(true)
  })

  test('drops a row whose companion data changed', async () => {
    using folder = temporaryFolder()
    const first = open(folder.path)
    await first.put('k', { bytes: filled(100, 1), meta: filled(4, 1) })
    await first.close()
    using database = new Database(join(folder.path, 'index.sqlite'))
    database.run("UPDATE blobs SET meta = x'00'")
    database.close()
    const second = open(folder.path)
    expect(await second.get('k')).toBeUndefined()
    await second.close()
  })

  test('gives a miss for a large file that was replaced by a link to nothing', async () => {
    using folder = temporaryFolder()
    const cache = open(folder.path)
    await cache.put('k', value(2 << 20))
    const [path] = blobs(folder.path)
    renameSync(path!, join(folder.path, 'moved'))
    symlinkSync(join(folder.path, 'nothing'), path!)
    expect(await cache.get('k')).toBeUndefined()
    expect(cache.stats().entries).toBe(0)
    await cache.close()
  })
})

describe('a full disk', () => {
  test('that cuts a write short leaves no file behind, and what fits is kept still', () => {
    using folder = temporaryFolder()
    const body = `
      for (let i = 0; i < 3; i++) await cache.put('large' + i, { bytes: new Uint8Array(8 << 20), meta: none })
      await cache.put('small', { bytes: new Uint8Array(10_000), meta: none })
      console.log(await cache.get('large0'), (await cache.get('small')).bytes.length)`
    // A bound on the size of files ends a write in its midst, as a full disk does.
    const child = Bun.spawnSync({
      cmd: [
        '/bin/sh',
        '-c',
        `trap '' XFSZ; ulimit -f 4096; exec "$0" -e "$1"`,
        process.execPath,
        program(folder.path, 1e9, body),
      ],
    })
    const lines = child.stdout.toString().trim().split('\n')
    expect(lines.length).toBe(2)
    expect(lines[0]).toStartWith('said: ')
    expect(lines[1]).toBe('undefined 10000')
    expect(blobs(folder.path).length).toBe(1)
  }, 15_000)
})

describe('closing', () => {
  test('waits for what is being written, and afterwards nothing fails', async () => {
    using folder = temporaryFolder()
    const said: string[] = []
    const cache = open(folder.path, 64 << 20, said)
    const put = cache.put('k', value(8 << 20))
    await cache.close()
    await put
    await cache.put('late', value(10))
    expect(await cache.get('k')).toBeUndefined()
    expect(cache.stats().entries).toBe(0)
    await cache.close()
    expect(said).toEqual([])
    const again = open(folder.path)
    expect((await again.get('k'))?.bytes.length).toBe(8 << 20)
    expect(await again.get('late')).toBeUndefined()
    await again.close()
  })

  test('reads go on while a large value is written', async () => {
    using folder = temporaryFolder()
    const cache = open(folder.path)
    await cache.put('small', value(100))
    let written = false
    const put = cache.put('large', value(32 << 20)).then(() => {
      written = true
    })
    let reads = 0
    // Each turn of the event loop in which the write is not over shows that it does not hold up the loop.
    for (await Bun.sleep(0); !written; await Bun.sleep(0)) {
      expect(await cache.get('small')).toBeDefined()
      reads++
    }
    expect(reads).toBeGreaterThanOrEqual(2)
    await put
    await cache.close()
  })
})
