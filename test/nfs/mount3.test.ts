import { describe, expect, test } from 'bun:test'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { Exports } from '../../src/nfs/exports.ts'
import { ACCESS3 } from '../../src/nfs/nfs3/wire.ts'
import { EXPORT_SECRET, FROZEN, PLAIN, serve } from './fixture.ts'

const isRoot = process.getuid?.() === 0

describe('MOUNT', () => {
  test('exports the plain tree under a few names, and the frozen tree under its secret', async () => {
    await using served = await serve({ exportName: 'people' })
    const client = await served.connect()
    const plain = await client.mount('/')
    for (const path of ['', '/people', 'people', '/people/']) expect(await client.mount(path)).toEqual(plain)
    expect(await client.mount(`/${EXPORT_SECRET}`)).not.toEqual(plain)
    for (const path of ['/other', `/${EXPORT_SECRET.slice(1)}`, `/${EXPORT_SECRET}/x`, '/posixlake', '/people/data']) {
      await expect(client.mount(path)).rejects.toMatchObject({ code: 'ENOENT' })
    }
  })

  test('leads to any folder below an export, with the handle that LOOKUP gives', async () => {
    await using served = await serve({ exportName: 'people' })
    const [client, plain] = await served.mounted()
    const frozen = await client.mount(`/${EXPORT_SECRET}`)
    const { handle: a } = await client.mkdir(plain, 'a b')
    const { handle: b } = await client.mkdir(a, 'grün')
    for (const path of ['/a b/grün', '/people/a b/grün', 'people//a b//grün//', '/a b/./../a b/grün/.', '/../a b/grün'])
      expect(await client.mount(path)).toEqual(b)
    expect(await client.mount(`/${EXPORT_SECRET}/a b`)).toEqual(await client.walk(frozen, 'a b'))
    expect(await client.mount(`/${EXPORT_SECRET}/a b`)).not.toEqual(a)
    await client.create(b, 'file')
    await client.mkdir(plain, 'people')
    expect(await client.mount('/people')).toEqual(plain)
    const failures = {
      'people/a': 'ENOENT',
      'a b/grün/none': 'ENOENT',
      'a b/none/grün': 'ENOENT',
      [`a b/${EXPORT_SECRET}`]: 'ENOENT',
      'a b/grün/file': 'ENOTDIR',
      'a b/grün/file/x': 'ENOTDIR',
      [`a b/${'x'.repeat(256)}`]: 'ENAMETOOLONG',
    }
    for (const [path, code] of Object.entries(failures)) {
      for (const at of ['', '/', '/people/', `/${EXPORT_SECRET}/`])
        await expect(client.mount(at + path)).rejects.toMatchObject({ code })
    }
    served.fs.failures.set('lookup', new Error('the disk is on fire'))
    await expect(client.mount('/a b')).rejects.toMatchObject({ status: 10006 })
    expect(served.logged.join()).toContain('the disk is on fire')
  })

  test('tells nobody the secret', async () => {
    await using served = await serve()
    const client = await served.connect()
    await client.mount(`/${EXPORT_SECRET}`)
    expect(await client.exports()).toEqual([
      { ex_dir: '/', ex_groups: [] },
      { ex_dir: '/posixlake', ex_groups: [] },
    ])
    expect(await client.dump()).toEqual([])
  })

  test('takes note of no unmounting, since it keeps no list', async () => {
    await using served = await serve()
    const client = await served.connect()
    await client.mountNull()
    const root = await client.mount('/')
    await client.unmount('/')
    await client.unmountAll()
    expect((await client.getattr(root)).type).toBe('NF3DIR')
    expect(await client.mount('/')).toEqual(root)
  })

  test('needs a secret that cannot be guessed', () => {
    expect(() => new Exports({ secret: new Uint8Array(15), uids: new Set(), plain: PLAIN })).toThrow(
      'at least 16 bytes',
    )
  })

  test('gives each export a path of its own, which is the same after a restart', () => {
    const paths = (fill: number): string[] => {
      const exports = new Exports({ secret: new Uint8Array(32).fill(fill), uids: new Set(), plain: PLAIN })
      const all = [PLAIN, FROZEN, { ...FROZEN, readOnly: true }, { ...FROZEN, others: true }]
      return all.map(through => exports.open(through))
    }
    expect(new Set([...paths(1), ...paths(2)]).size).toBe(8)
    expect(paths(1)).toEqual(paths(1))
  })

  test('has no names that everybody knows on an address that others reach', async () => {
    await using served = await serve({ host: '0.0.0.0' })
    const client = await served.connect()
    for (const path of ['', '/', '/posixlake'])
      await expect(client.mount(path)).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await client.exports()).toEqual([])
    for (const through of [PLAIN, FROZEN]) await client.mount(served.exports.pathOf(through))
  })
})

describe('an export', () => {
  const readOnly = { ...FROZEN, readOnly: true }

  test('that is read-only shows so in ACCESS and in every change; another one of the same tree does not', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle } = await client.create(root, 'f')
    await expect(client.mount(served.exports.pathOf(readOnly))).rejects.toMatchObject({ code: 'ENOENT' })
    const other = await client.mount(served.exports.open(readOnly))
    const found = await client.lookup(other, 'f')
    expect(found.handle).not.toEqual(handle)
    expect(await client.access(found.handle, 0x3f)).toBe(ACCESS3.READ)
    await expect(client.write(found.handle, 0n, 'x')).rejects.toMatchObject({ code: 'EROFS' })
    await expect(client.rename(root, 'f', other, 'g')).rejects.toMatchObject({ code: 'EROFS' })
    await expect(client.rename(other, 'f', root, 'g')).rejects.toMatchObject({ code: 'EROFS' })
    await client.write(handle, 0n, 'x')
    expect(await client.readText(found.handle)).toBe('x')
  })

  test('that is closed has stale handles, and opened again good ones', async () => {
    await using served = await serve()
    const client = await served.connect()
    const root = await client.mount(served.exports.open(readOnly))
    served.exports.close(readOnly)
    await expect(client.getattr(root)).rejects.toMatchObject({ code: 'ESTALE' })
    await expect(client.mount(served.exports.pathOf(readOnly))).rejects.toMatchObject({ code: 'ENOENT' })
    served.exports.open(readOnly)
    await client.getattr(root)
    served.exports.close(PLAIN)
    await client.mount('/')
  })

  test.skipIf(!isRoot)(
    'for other users lets them in there, and nowhere else (needs root, to speak for others)',
    async () => {
      await using served = await serve({ allowedUids: new Set([1000]) })
      const [, root] = await served.mounted({ uid: 1000 })
      const stranger = await served.connect({ uid: 4242 })
      const shared = await stranger.mount(served.exports.open({ ...FROZEN, others: true }))
      await stranger.create(shared, 'f')
      for (const call of [() => stranger.mount('/'), () => stranger.getattr(root), () => stranger.lookup(root, 'f')])
        await expect(call()).rejects.toMatchObject({ code: 'EACCES' })
    },
  )
})

describe('access', () => {
  test.skipIf(!isRoot)(
    'is refused to users who are not allowed, call by call (needs root, to speak for others)',
    async () => {
      await using served = await serve({ allowedUids: new Set([1000]) })
      const [, root] = await served.mounted({ uid: 0 })
      const [owner] = await served.mounted({ uid: 1000 })
      await owner.create(root, 'f')
      const stranger = await served.connect({ uid: 4242 })
      await expect(stranger.mount('/')).rejects.toMatchObject({ code: 'EACCES' })
      for (const call of [
        () => stranger.getattr(root),
        () => stranger.lookup(root, 'f'),
        () => stranger.access(root, 1),
        () => stranger.create(root, 'g'),
        () => stranger.rename(root, 'f', root, 'g'),
        () => stranger.readdirplus(root),
        () => stranger.link(root, root, 'x'),
        () => stranger.fsinfo(root),
      ]) {
        await expect(call()).rejects.toMatchObject({ code: 'EACCES' })
      }
      await stranger.null()
      expect((await owner.list(root)).map(({ name }) => name)).toEqual(['f'])
    },
  )

  test('is given to any user if all are allowed', async () => {
    await using served = await serve({ allowedUids: 'any' })
    const [client, root] = await served.mounted({ uid: 4242 })
    await client.create(root, 'f')
    expect((await client.list(root)).map(({ name }) => name)).toEqual(['f'])
  })

  test.skipIf(!isRoot)(
    'is refused to a program of another user, whoever it claims to be (needs root, to start one)',
    async () => {
      await using served = await serve({ allowedUids: new Set([1000]) })
      const script = `
      const socket = await Bun.connect({ hostname: '127.0.0.1', port: ${served.server.port}, socket: {
        data() {}, close() { process.exit(7) } } }).catch(() => process.exit(7)) // Cut off before it knew.
      socket.write(new Uint8Array([0x80, 0, 0, 40]))
      await Bun.sleep(5000)`
      const asUser = (uid: number) =>
        Bun.spawn([process.execPath, '-e', script], { uid, stdout: 'ignore', stderr: 'ignore', cwd: '/' })
      const stranger = asUser(4242)
      expect(await stranger.exited).toBe(7)
      expect(served.logged.join()).toContain('user 4242 may not use this server')
    },
  )

  const [ownAddress] = Object.values(networkInterfaces())
    .flatMap(list => list ?? [])
    .filter(({ internal, family }) => !internal && family === 'IPv4')

  test.skipIf(!isRoot || ownAddress === undefined)(
    'is refused to it over any address of this machine (needs root, and an address beside loopback)',
    async () => {
      await using served = await serve({ host: '0.0.0.0', allowedUids: new Set([1000]) })
      const { address = '' } = ownAddress ?? {}
      const script = `
      import { NfsClient } from ${JSON.stringify(join(import.meta.dir, 'client.ts'))}
      const said = await NfsClient.connect({ host: '${address}', port: ${served.server.port}, uid: 0 })
        .then(client => client.mount('/${EXPORT_SECRET}')).then(() => 'let in', () => 'refused')
      process.stdout.write(said)
      process.exit()`
      const asUser = async (uid: number): Promise<string> => {
        const child = Bun.spawn([process.execPath, '-e', script], { uid, stdout: 'pipe', stderr: 'ignore', cwd: '/' })
        return new Response(child.stdout).text()
      }
      expect(await Promise.all([4242, 1000, 0].map(asUser))).toEqual(['refused', 'let in', 'let in'])
      expect(served.logged.join()).toContain('user 4242 may not use this server')
    },
  )
})
