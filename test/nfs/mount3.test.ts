import { describe, expect, test } from 'bun:test'
import { EXPORT_SECRET, serve } from './fixture.ts'

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
    await client.unmount('/')
    await client.unmountAll()
    await client.mount('/')
  })

  test('needs a secret that cannot be guessed', async () => {
    await expect(serve({ exportSecret: '' })).rejects.toThrow('at least 16 characters')
  })
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
})
