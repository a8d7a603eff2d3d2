import { describe, expect, test } from 'bun:test'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import type { MountEntry } from '../../src/mount/linux.ts'
import type { Asker, Joined } from '../../src/serve/control.ts'
import { exportRecords, Mounts } from '../../src/serve/mounts.ts'
import { mountsOf, type ServerRecord } from '../../src/serve/registry.ts'
import { serveTable, type TableServer } from '../../src/serve/table-server.ts'
import { openStore } from '../../src/storage/location.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { NfsClient } from '../nfs/client.ts'

const WRITABLE = { readOnly: false, allowOther: false }

interface Fixture extends AsyncDisposable {
  readonly server: TableServer
  readonly mounts: Mounts
  readonly log: string[]
  /** What the system lists, to be changed. */
  readonly listed: MountEntry[]
  unused(): number
  /** A mount as `posixlake mount` makes it. */
  mount(mountPoint: string, rights?: Partial<typeof WRITABLE>, more?: { port?: number; host?: string }): Promise<Joined>
  unmount(mountPoint: string): void
}

function asker(): Asker & { leave(): void; ended: boolean } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const made = {
    gone: promise,
    ended: false,
    end: (): void => {
      made.ended = true
    },
    leave: resolve,
  }
  return made
}

async function fixture({ untilUnmounted = true, readOnly = false } = {}): Promise<Fixture> {
  const folder = temporaryFolder()
  const location = join(folder.path, 'table')
  mkdirSync(location)
  await createTable(openStore({ kind: 'local', directory: location }), { schema: parseDdl('id BIGINT') })
  const log: string[] = []
  const listed: MountEntry[] = []
  let unused = 0
  let mounts: Mounts | undefined
  const server = await serveTable({
    location,
    host: '127.0.0.1',
    port: 0,
    readOnly,
    allowOther: false,
    cacheDirectory: join(folder.path, 'cache'),
    log: sentence => log.push(sentence),
    onDisconnect: () => mounts?.look(),
  })
  const made = new Mounts({
    server,
    exports: exportRecords(server),
    untilUnmounted,
    log: sentence => log.push(sentence),
    onUnused: () => unused++,
    onChange: () => undefined,
    list: () => listed,
  })
  mounts = made
  return {
    server,
    mounts: made,
    log,
    listed,
    unused: () => unused,
    mount: async (mountPoint, rights = {}, more = {}) => {
      const who = asker()
      const joined = await made.join({ mountPoint, ...WRITABLE, ...rights, ...more }, who)
      if (joined.kind === 'mount') {
        const { host, port, exportPath } = joined
        listed.push({ mountPoint, type: 'nfs', source: `${host}:${exportPath}`, port })
      }
      made.made(mountPoint)
      who.leave()
      await who.gone
      return joined
    },
    unmount: mountPoint => {
      listed.splice(
        listed.findIndex(entry => entry.mountPoint === mountPoint),
        1,
      )
    },
    [Symbol.asyncDispose]: async () => {
      listed.length = 0
      await made.end()
      await server.stop()
      folder[Symbol.dispose]()
    },
  }
}

describe('the mounts of a server', () => {
  test('are told from those of others by the path of their export', async () => {
    await using f = await fixture()
    const [first, second] = exportRecords(f.server)
    const entry = (mountPoint: string, source: string, type = 'nfs'): MountEntry => ({
      mountPoint,
      source,
      type,
      port: 1,
    })
    const entries = [
      entry('/a', `127.0.0.1:${first!.path}`),
      entry('/b', `[::1]:${second!.path}/data`),
      entry('/c', `127.0.0.1:${first!.path}x`),
      entry('/d', '127.0.0.1:/'),
      entry('/e', `127.0.0.1:${first!.path}`, 'nfs4'),
    ]
    expect(mountsOf(exportRecords(f.server), entries)).toEqual([
      { mountPoint: '/a', host: '127.0.0.1', port: 1, readOnly: first!.readOnly, allowOther: first!.allowOther },
      { mountPoint: '/b', host: '::1', port: 1, readOnly: second!.readOnly, allowOther: second!.allowOther },
    ])
  })

  test('end it with the last of them, and with the last client', async () => {
    await using f = await fixture()
    f.mounts.look()
    expect(f.unused()).toBe(0) // It waits for its first mount.
    await f.mount('/a')
    await f.mount('/b')
    f.unmount('/a')
    f.mounts.look()
    expect(f.unused()).toBe(0)
    const client = await NfsClient.connect({ port: f.server.port })
    await client.mount(f.server.exportPath)
    f.unmount('/b')
    f.mounts.look()
    expect(f.unused()).toBe(0)
    client.close()
    while (f.unused() === 0) await Bun.sleep(1)
    expect(f.log).toContain('/a is unmounted')
  })

  test('do not end one that is to stay', async () => {
    await using f = await fixture({ untilUnmounted: false })
    await f.mount('/a')
    f.unmount('/a')
    f.mounts.look()
    await f.mounts.withoutClients()
    expect(f.unused()).toBe(0)
  })

  test('are made one at a time at one place, and keep the server meanwhile', async () => {
    await using f = await fixture()
    const who = asker()
    const request = { mountPoint: '/a', ...WRITABLE }
    expect(await f.mounts.join(request, who)).toMatchObject({ kind: 'mount', exportPath: f.server.exportPath })
    await expect(f.mounts.join(request, asker())).rejects.toMatchObject({ code: 'busy' })
    f.mounts.look()
    expect(f.unused()).toBe(0)
    // It came to nothing: nobody else wants the server.
    who.leave()
    await who.gone
    expect(f.unused()).toBe(1)
  })

  test('that exist are found by who wants to make them', async () => {
    await using f = await fixture()
    await f.mount('/a', { readOnly: true })
    expect(await f.mount('/a')).toMatchObject({ kind: 'mounted', mountPoint: '/a', readOnly: true })
  })

  test('that end at once are noticed by who made them', async () => {
    await using f = await fixture()
    const who = asker()
    await f.mounts.join({ mountPoint: '/a', ...WRITABLE }, who)
    f.mounts.made('/a')
    expect(who.ended).toBe(true)
  })

  test('give rights that end with them', async () => {
    await using f = await fixture()
    const client = await NfsClient.connect({ port: f.server.port })
    const shared = { readOnly: true, allowOther: true }
    await expect(client.mount(f.server.pathOf(shared))).rejects.toMatchObject({ code: 'ENOENT' })
    await f.mount('/a', shared)
    await f.mount('/b', shared)
    const root = await client.mount(f.server.pathOf(shared))
    f.unmount('/a')
    f.mounts.look()
    await client.getattr(root)
    f.unmount('/b')
    f.mounts.look()
    await expect(client.getattr(root)).rejects.toMatchObject({ code: 'ESTALE' })
    client.close()
  })

  test('may have endpoints of their own, which end with them', async () => {
    await using f = await fixture()
    const [first] = f.server.endpoints.all
    expect(await f.mount('/a', {}, { host: '127.0.0.1' })).toMatchObject({ port: first!.port })
    const other = await f.mount('/b', {}, { port: 0 })
    const [, second] = f.server.endpoints.all
    expect(other).toMatchObject({ kind: 'mount', port: second!.port })
    expect(second!.port).not.toBe(first!.port)
    f.unmount('/b')
    f.mounts.look()
    expect(f.server.endpoints.all).toHaveLength(1)
    const taken = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => undefined } })
    const refused = f.mounts.join({ mountPoint: '/c', ...WRITABLE, port: taken.port }, asker())
    await expect(refused).rejects.toMatchObject({ code: 'address_in_use' })
    taken.stop()
  })

  test('of a server that died are taken over: rights, endpoints, and whose they are', async () => {
    await using f = await fixture({ readOnly: true })
    const free = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => undefined } })
    const { port } = free
    free.stop()
    const path = f.server.pathOf(WRITABLE)
    f.listed.push({ mountPoint: '/a', type: 'nfs', source: `127.0.0.1:${path}`, port })
    f.listed.push({ mountPoint: '/b', type: 'nfs', source: `127.0.0.1:${path}`, port })
    await f.mounts.inherit({ mountPoints: ['/a'], endpoints: [] } as unknown as ServerRecord)
    expect(f.mounts.ours).toEqual(['/a'])
    expect(f.server.endpoints.all.map(endpoint => endpoint.port)).toContain(port)
    const client = await NfsClient.connect({ port })
    const root = await client.mount(path)
    await client.create(root, 'f')
    client.close()
  })
})
