import { describe, expect, test } from 'bun:test'
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { localStore } from '../../src/storage/local.ts'
import { parseLocation } from '../../src/storage/location.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { bytes, failure, storeContract } from './contract.ts'

storeContract('on disk', async () => {
  const folder = temporaryFolder()
  return { store: localStore(folder.path), [Symbol.asyncDispose]: async () => folder[Symbol.dispose]() }
})

storeContract('in memory', async () => ({ store: memoryStore(), [Symbol.asyncDispose]: async () => undefined }))

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
    for (let round = 0; round < 20; round++) {
      await Promise.all(
        Array.from({ length: 50 }, async (_, i) => {
          await store.write(`x/y/${i}`, Uint8Array.of(i))
          await store.delete(`x/y/${i}`)
        }),
      )
      expect(below()).toEqual(['kept'])
    }
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
    expect(parseLocation('s3a://bucket')).toEqual({ kind: 's3', bucket: 'bucket', prefix: '' })
    expect(() => parseLocation('http://x/y')).toThrow('a table is a directory or s3://bucket/prefix')
    expect(() => parseLocation('')).toThrow('empty')
  })

  test('on S3 that is not one is refused, with what is wrong with it', () => {
    for (const [given, why] of [
      ['s3://', 'it names no bucket'],
      ['s3:///people', 'there are 3 slashes behind s3:'],
      ['s3:/bucket/people', 'there is one slash behind s3:'],
      ['s3:bucket', 'there are 0 slashes behind s3:'],
      ['s3://a b/people', '"a b" is no name of a bucket'],
      ['s3://host:9000/bucket', '"host:9000" is no name of a bucket'],
      ['s3://bucket/a//b', 'the prefix has an empty part'],
      ['s3://bucket/a/../b', 'the prefix has the part ..'],
    ] as const) {
      expect(() => parseLocation(given)).toThrow(`${given}: ${why}; a table on S3 is s3://bucket/prefix`)
    }
  })
})
