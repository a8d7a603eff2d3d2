import { describe, expect, test } from 'bun:test'
import type { NfsClient } from './client.ts'
import { serve } from './fixture.ts'
import { seeded } from './random.ts'

/** The calls recorded from a real client: a good start for messages that are nearly right. */
const packets = (await Bun.file(new URL('golden/linux-6.1-calls.jsonl', import.meta.url)).text())
  .trimEnd()
  .split('\n')
  .map(line => new Uint8Array(Buffer.from((JSON.parse(line) as { record: string }).record, 'hex')))

function framed(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + body.length)
  new DataView(bytes.buffer).setUint32(0, (0x8000_0000 | body.length) >>> 0)
  bytes.set(body, 4)
  return bytes
}

async function whileTimePasses(clock: { ms: number }, event: Promise<void>): Promise<void> {
  let happened = false
  void event.then(() => {
    happened = true
  })
  while (!happened) {
    clock.ms += 10
    await Bun.sleep(1)
  }
}

/** Bytes that are no call at all, or part of one, or one with some bytes changed. */
function nearlyRight(packet: Uint8Array, random: ReturnType<typeof seeded>): Uint8Array {
  const kind = random.below(4)
  if (kind === 0) return random.bytes(random.below(200))
  if (kind === 1) return framed(packet.subarray(0, random.below(packet.length)))
  if (kind === 2) return framed(random.bytes(random.below(200)))
  for (let i = 0; i < 1 + random.below(6); i++) packet[4 + random.below(packet.length - 4)] = random.below(256)
  return framed(packet)
}

describe('a hostile client', () => {
  test('that sends random bytes, or broken calls, harms nobody', async () => {
    await using served = await serve({ allowedUids: 'any', log: () => {} })
    const [good, root] = await served.mounted()
    const random = seeded(5)
    for (let round = 0; round < 800; round++) {
      const packet = (packets[random.below(packets.length)] ?? new Uint8Array(0)).slice()
      const client = await served.connect()
      client.sendRaw(nearlyRight(packet, random))
      client.close()
    }
    while (served.server.stats().connections > 1) await Bun.sleep(1)
    expect((await good.getattr(root)).type).toBe('NF3DIR')
    expect(served.server.stats()).toMatchObject({ callsInFlight: 0, heldBytes: 0 })
  })

  test('that announces a record beyond the limit is disconnected', async () => {
    await using served = await serve()
    const client = await served.connect()
    client.sendRaw(Uint8Array.of(0xff, 0xff, 0xff, 0xff))
    await client.untilClosed()
    expect(served.logged).toEqual(['The connection from 127.0.0.1 was closed: A record is longer than 1114112 bytes.'])
  })

  test('that sends empty fragments for ever is disconnected', async () => {
    await using served = await serve()
    const client = await served.connect()
    client.sendRaw(new Uint8Array(4000))
    await client.untilClosed()
    expect(served.logged).toEqual(['The connection from 127.0.0.1 was closed: A fragment in a record is empty.'])
  })

  test('that speaks another protocol is disconnected', async () => {
    await using served = await serve()
    const client = await served.connect()
    client.sendRaw(framed(new TextEncoder().encode('GET / HTTP/1.1')))
    await client.untilClosed()
    expect(served.logged[0]).toContain('not an RPC call')
  })

  test('that begins a record and never ends it, or never reads, is disconnected in time', async () => {
    const clock = { ms: 1000, nowMs: () => clock.ms }
    const timeouts = { recordTimeoutMs: 60, stallTimeoutMs: 120, sweepIntervalMs: 5 }
    await using served = await serve({ clock, limits: timeouts })
    const [good, root] = await served.mounted()
    const slow = await served.connect()
    slow.sendRaw(Uint8Array.of(0x80, 0, 0, 100, 1))
    await whileTimePasses(clock, slow.untilClosed())
    expect((await good.getattr(root)).type).toBe('NF3DIR')
    const { handle } = await good.create(root, 'f')
    await good.setattr(handle, { size: 1_000_000n })
    const deaf = await served.connect()
    deaf.pauseReading()
    const reads = Promise.all(Array.from({ length: 100 }, () => deaf.read(handle, 0n, 1_000_000)))
    // Not `rejects`, which holds up everything until the promise is settled.
    const outcome = reads.then(
      () => 'answered',
      () => 'disconnected',
    )
    while (served.server.stats().heldBytes < 8_000_000) await Bun.sleep(1)
    clock.ms += 121
    while (served.server.stats().connections > 1) await Bun.sleep(1)
    deaf.close()
    expect(await outcome).toBe('disconnected')
    expect(served.logged.join(' ')).toContain('began a record and did not finish it')
    expect(served.logged.join(' ')).toContain('does not read its replies')
    await good.null()
    expect(served.server.stats().heldBytes).toBe(0)
  })

  describe('that opens all the connections there are', () => {
    const limits = { connectionsMax: 8, servedIdleMs: 50 }
    /** Whether the server has closed a client's connection, by now or within the test's time. */
    const isOpen = (client: NfsClient): Promise<boolean> =>
      client.null().then(
        () => true,
        () => false,
      )

    test('and is silent does not lock out those who are served', async () => {
      await using served = await serve({ limits })
      const [good, root] = await served.mounted()
      for (let i = 0; i < 50; i++) await served.connect()
      const [late] = await served.mounted()
      await late.getattr(root)
      await good.getattr(root)
      expect(served.server.stats().connections).toBeLessThanOrEqual(8)
    })

    test('gains nothing by NULL, by calls that are refused, by bytes of a call or by replies that it does not read', async () => {
      const sayings: readonly ((client: NfsClient) => Promise<unknown>)[] = [
        client => client.null(),
        client => client.exports(),
        client => client.getattr(new Uint8Array(36)).catch(() => {}),
        client => client.mount('/nonsense').catch(() => {}),
        async client => client.sendRaw(Uint8Array.of(0x80, 0, 0, 100, 1)),
        async client => {
          client.pauseReading()
          for (let i = 0; i < 100; i++) void client.null().catch(() => {})
        },
      ]
      for (const say of sayings) {
        await using served = await serve({ limits })
        const [good, root] = await served.mounted()
        const hostile: NfsClient[] = []
        for (let i = 0; i < 10; i++) {
          const client = await served.connect()
          hostile.push(client)
          await say(client)
        }
        const [late] = await served.mounted()
        for (const client of [late, good]) expect((await client.getattr(root)).type).toBe('NF3DIR')
        expect(served.server.stats().connections).toBeLessThanOrEqual(limits.connectionsMax)
        for (const client of hostile) client.close()
      }
    })

    test('loses those first that never said anything, then the one idle for longest', async () => {
      const clock = { ms: 1000, nowMs: () => clock.ms }
      await using served = await serve({ clock, limits: { connectionsMax: 4, servedIdleMs: 50 } })
      const clients: NfsClient[] = []
      for (let i = 0; i < 3; i++) {
        clients.push((await served.mounted())[0])
        clock.ms += 10
      }
      const silent = await served.connect()
      clock.ms += 40
      const [late, root] = await served.mounted()
      await silent.untilClosed()
      // The first is the one idle for longest now; after a call it is the second.
      await clients[0]!.getattr(root)
      clock.ms += 20
      const [later] = await served.mounted()
      await clients[1]!.untilClosed()
      for (const client of [clients[0]!, clients[2]!, late, later]) expect(await isOpen(client)).toBe(true)
    })

    test('and uses them all keeps them: who comes then is refused, until one is idle', async () => {
      const clock = { ms: 1000, nowMs: () => clock.ms }
      await using served = await serve({ clock, limits: { connectionsMax: 4, servedIdleMs: 50 } })
      const clients: NfsClient[] = []
      for (let i = 0; i < 4; i++) clients.push((await served.mounted())[0])
      clock.ms += 49
      await (await served.connect()).untilClosed()
      expect(served.server.stats()).toMatchObject({ connections: 4, refusedConnections: 1 })
      clock.ms += 1
      await (await served.mounted())[0].null()
      await clients[0]!.untilClosed()
      for (const client of clients.slice(1)) expect(await isOpen(client)).toBe(true)
    })

    test('keeps one whose call is under way, however long that takes', async () => {
      const clock = { ms: 1000, nowMs: () => clock.ms }
      await using served = await serve({ clock, limits: { connectionsMax: 2, servedIdleMs: 50 } })
      const [busy, root] = await served.mounted()
      const [idle] = await served.mounted()
      const { promise, resolve } = Promise.withResolvers<void>()
      served.fs.gate = promise
      const slow = busy.getattr(root)
      while (!served.fs.calls.includes('getattr')) await Bun.sleep(1)
      clock.ms += 1000
      await served.mounted()
      await idle.untilClosed()
      resolve()
      expect((await slow).type).toBe('NF3DIR')
    })
  })

  test('cannot fill the log', async () => {
    const logged: string[] = []
    await using served = await serve({ log: sentence => logged.push(sentence) })
    for (let i = 0; i < 150; i++) {
      const client = await served.connect()
      client.sendRaw(framed(new Uint8Array(4)))
      await client.untilClosed()
    }
    expect(logged.length).toBe(100)
  })
})
