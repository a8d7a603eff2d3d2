import { describe, expect, test } from 'bun:test'
import { Exports } from '../../src/nfs/exports.ts'
import { NFS_PROGRAM, NFS_V3, TRANSFER_BYTES_MAX } from '../../src/nfs/nfs3/wire.ts'
import { authFlavor, CALL, rejectStat } from '../../src/nfs/rpc/message.ts'
import { recordMark } from '../../src/nfs/rpc/record.ts'
import { ListenError, startNfsServer } from '../../src/nfs/server.ts'
import type { NfsClient } from './client.ts'
import { PLAIN, SECRET, serve } from './fixture.ts'
import { MemoryFileSystem } from './memory-filesystem.ts'

const NFSACL_PROGRAM = 100227
const MEBIBYTE = 1024 * 1024

/** Waits until a condition holds, by letting other work go on. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(1)
}

function record(words: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * words.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, recordMark(4 * words.length))
  words.forEach((word, i) => {
    view.setUint32(4 + 4 * i, word)
  })
  return bytes
}

describe('RPC', () => {
  test('refuses programs, versions and procedures that are not there, each in its way', async () => {
    await using served = await serve()
    const client = await served.connect()
    await expect(client.callRaw(NFSACL_PROGRAM, 3, 0, [])).rejects.toMatchObject({ reply: { accepted: 1 } })
    await expect(client.callRaw(NFS_PROGRAM, 4, 0, [])).rejects.toMatchObject({ reply: { accepted: 2 } })
    await expect(client.callRaw(NFS_PROGRAM, 3, 22, [])).rejects.toMatchObject({ reply: { accepted: 3 } })
    await expect(client.callRaw(NFS_PROGRAM, 3, 1, [new Uint8Array(3)])).rejects.toMatchObject({
      reply: { accepted: 4 },
    })
    await expect(client.callRaw(NFS_PROGRAM, 3, 0, [new Uint8Array(4)])).rejects.toMatchObject({
      reply: { accepted: 4 },
    })
    const mismatch = client.callRaw(NFS_PROGRAM, 3, 0, [], 3)
    await expect(mismatch).rejects.toMatchObject({ reply: { denied: rejectStat.RPC_MISMATCH, detail: 2 } })
    await client.null()
  })

  test('lets nobody without a name do more than NULL', async () => {
    await using served = await serve()
    const client = await served.connect({ uid: 'none' })
    await client.null()
    await client.mountNull()
    const tooWeak = { reply: { denied: rejectStat.AUTH_ERROR, detail: 5 } }
    await expect(client.mount('/')).rejects.toMatchObject(tooWeak)
    await expect(client.getattr(new Uint8Array(36))).rejects.toMatchObject(tooWeak)
  })

  test.each([
    ['an unknown flavour', [6, 0], 2],
    ['a short AUTH_SYS', [authFlavor.AUTH_SYS, 4, 0], 1],
    ['an AUTH_SYS body longer than 400 bytes', [authFlavor.AUTH_SYS, 404, ...new Array(101).fill(0)], 1],
    ['17 groups', [authFlavor.AUTH_SYS, 88, 0, 0, 0, 0, 17, ...new Array(17).fill(1)], 1],
  ])('refuses a credential of %s', async (_, credential, stat) => {
    await using served = await serve()
    const client = await served.connect()
    const reply = client.expectReply(99)
    client.sendRaw(record([99, CALL, 2, NFS_PROGRAM, NFS_V3, 0, ...credential, 0, 0]))
    await expect(reply).rejects.toMatchObject({ reply: { denied: rejectStat.AUTH_ERROR, detail: stat } })
  })

  test('answers calls in the order in which they are done, not in which they came', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { promise, resolve } = Promise.withResolvers<void>()
    served.fs.gate = promise
    const done: string[] = []
    const slow = client.getattr(root).then(() => done.push('getattr'))
    await until(() => served.fs.calls.includes('getattr'))
    served.fs.gate = undefined
    await client.fsstat(root).then(() => done.push('fsstat'))
    resolve()
    await slow
    expect(done).toEqual(['fsstat', 'getattr'])
  })

  test('takes no more calls of a client than it may have under way, and goes on when they are done', async () => {
    await using served = await serve({ limits: { callsMax: 4 } })
    const [client, root] = await served.mounted()
    const other = await served.connect()
    const { promise, resolve } = Promise.withResolvers<void>()
    served.fs.gate = promise
    const calls = Array.from({ length: 50 }, () => client.getattr(root))
    await until(() => served.fs.calls.length === 4)
    await other.null()
    expect(served.fs.calls).toHaveLength(4)
    expect(served.server.stats().callsInFlight).toBe(4)
    resolve()
    await Promise.all(calls)
    expect(served.fs.calls).toHaveLength(50)
  })

  test('holds no more for a client that does not read than its bound, and serves others meanwhile', async () => {
    const heldBytesMax = 4 * MEBIBYTE
    await using served = await serve({ limits: { heldBytesMax, totalHeldBytesMax: heldBytesMax } })
    const [client, root] = await served.mounted()
    const { handle } = await client.create(root, 'big')
    await client.write(handle, 0n, new Uint8Array(MEBIBYTE))
    client.pauseReading()
    const reads = Array.from({ length: 100 }, () => client.read(handle, 0n, MEBIBYTE))
    const calls = () => served.fs.calls.filter(name => name === 'read').length
    await until(() => served.server.stats().heldBytes >= heldBytesMax)
    const other = await served.connect()
    for (let i = 0; i < 20; i++) expect((await other.read(handle, 0n, MEBIBYTE)).count).toBe(MEBIBYTE)
    expect(served.server.stats().heldBytes).toBeLessThan(heldBytesMax + 2 * MEBIBYTE)
    expect(calls() - 20).toBeLessThan(60)
    client.resumeReading()
    for (const { count } of await Promise.all(reads)) expect(count).toBe(MEBIBYTE)
    expect(served.server.stats().heldBytes).toBe(0)
  })

  test('hands a file system its calls in the order in which they came', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle } = await client.create(root, 'f')
    const writes = Array.from({ length: 300 }, (_, i) => client.write(handle, 0n, String(i).padStart(3, '0')))
    await Promise.all(writes)
    expect(await client.readText(handle)).toBe('299')
  })
})

describe('a retransmitted call', () => {
  /** Sends the same call twice, as if the first answer had been lost, the second time from another connection. */
  async function twice<T>(
    clients: readonly [NfsClient, NfsClient],
    call: (client: NfsClient) => Promise<T>,
  ): Promise<T[]> {
    const results: T[] = []
    for (const client of clients) {
      client.nextXid = 4711
      results.push(await call(client))
    }
    return results
  }

  test('is not executed again, and gets the same answer', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const clients = [client, await served.connect()] as const
    const { handle } = await client.create(root, 'f')
    await client.mkdir(root, 'd')
    await twice(clients, c => c.write(handle, 0n, 'x'))
    await twice(clients, c => c.setattr(handle, { size: 5n }))
    await twice(clients, c => c.rename(root, 'f', root, 'g'))
    await twice(clients, c => c.remove(root, 'g'))
    await twice(clients, c => c.rmdir(root, 'd'))
    const [first, second] = await twice(clients, c => c.mkdir(root, 'e'))
    expect(second?.handle).toEqual(first?.handle ?? root)
    for (const method of ['write', 'setattr', 'rename', 'remove', 'rmdir']) {
      expect(served.fs.calls.filter(name => name === method)).toHaveLength(1)
    }
    expect(served.server.stats().repeatedCalls).toBe(6)
  })

  test('waits for the first one while that is under way', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const other = await served.connect()
    const { promise, resolve } = Promise.withResolvers<void>()
    served.fs.gate = promise
    client.nextXid = other.nextXid = 7
    const both = Promise.all([client.mkdir(root, 'd'), other.mkdir(root, 'd')])
    await until(() => served.server.stats().callsInFlight === 2)
    resolve()
    const [first, second] = await both
    expect(second.handle).toEqual(first.handle)
    expect(served.fs.calls.filter(name => name === 'mkdir')).toHaveLength(1)
  })

  test('finds its answer even if its first connection was lost before', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle } = await client.create(root, 'f')
    const { promise, resolve } = Promise.withResolvers<void>()
    served.fs.gate = promise
    client.nextXid = 7
    const lost = client.remove(root, 'f')
    await until(() => served.fs.calls.includes('remove'))
    client.close()
    await expect(lost).rejects.toThrow('closed')
    const again = await served.connect()
    again.nextXid = 7
    const answer = again.remove(root, 'f')
    resolve()
    await answer
    await expect(again.getattr(handle)).rejects.toMatchObject({ code: 'ESTALE' })
  })

  test('is another call if its arguments differ', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    for (const name of ['a', 'b']) {
      client.nextXid = 7
      await client.create(root, name)
    }
    expect(await client.list(root)).toHaveLength(2)
  })
})

describe('the server', () => {
  test('says so when its port is in use', async () => {
    await using served = await serve()
    const { port } = served.server
    const second = startNfsServer(new MemoryFileSystem(), {
      port,
      secret: new Uint8Array(32),
      exports: new Exports({ secret: SECRET, uids: new Set(), plain: PLAIN }),
      log: () => {},
    })
    await expect(second).rejects.toBeInstanceOf(ListenError)
    await expect(second).rejects.toMatchObject({ code: 'address_in_use' })
  })

  test('can be started again on its port at once, and its handles go on', async () => {
    const fs = new MemoryFileSystem()
    let port = 0
    let root = new Uint8Array(0)
    {
      await using served = await serve({}, fs)
      port = served.server.port
      root = (await served.mounted())[1].slice()
    }
    await using again = await serve({ port }, fs)
    const client = await again.connect()
    expect((await client.getattr(root)).type).toBe('NF3DIR')
  })

  test('finishes the calls under way when it is closed, and takes no others', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { promise, resolve } = Promise.withResolvers<void>()
    served.fs.gate = promise
    const underWay = client.mkdir(root, 'd')
    await until(() => served.fs.calls.includes('mkdir'))
    const closed = served.server.close(10_000)
    const late = client.mkdir(root, 'e')
    resolve()
    await underWay
    await closed
    await expect(late).rejects.toThrow('closed')
    await expect(served.connect()).rejects.toThrow()
  })

  test('does not wait longer than it is told to for calls that do not end', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { promise, resolve } = Promise.withResolvers<void>()
    served.fs.gate = promise
    const stuck = client.mkdir(root, 'd')
    await until(() => served.fs.calls.includes('mkdir'))
    await served.server.close(10)
    await expect(stuck).rejects.toThrow('closed')
    resolve()
  })

  test('reports calls to who asked for it', async () => {
    const events: string[] = []
    await using served = await serve({
      onCall: ({ program, procedure, outcome }) => events.push(`${program} ${procedure} ${outcome}`),
    })
    const [client, root] = await served.mounted()
    await client.getattr(root)
    await client.lookup(root, 'x').catch(() => {})
    expect(events).toEqual(['MOUNT MNT OK', 'NFS GETATTR OK', 'NFS LOOKUP ENOENT'])
  })

  test('answers a READ with as much as a transfer may have', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle } = await client.create(root, 'f')
    await client.setattr(handle, { size: 3n * BigInt(TRANSFER_BYTES_MAX) })
    expect((await client.read(handle, 0n, 0xffff_ffff)).count).toBe(TRANSFER_BYTES_MAX)
  })
})
