import { describe, expect, test } from 'bun:test'
import { type Handle, NfsClient } from '../nfs/client.ts'
import { codeOf, HELD, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const HEADER = 'id,name\n'
const ROWS = '1,Alice\n2,Bob\n'
const PLAIN = { readOnly: false, allowOther: false }
const END = BigInt(HEADER.length + ROWS.length)

/** Clients of a server that is killed and started again: each comes back from the port that it had. */
class Clients {
  s: ServedTable
  all: NfsClient[] = []

  private constructor(s: ServedTable) {
    this.s = s
  }

  static async of(count: number): Promise<Clients> {
    const clients = new Clients(await serveNew(DDL, ROWS, HELD))
    for (let i = 0; i < count; i++) clients.all.push(await NfsClient.fromOwnPort(clients.s.server.port))
    return clients
  }

  /** Opens data.csv, as one of the clients. */
  async csv(client: number): Promise<Handle> {
    return (await this.all[client]!.lookup(this.s.data, 'data.csv')).handle
  }

  async killed(): Promise<void> {
    const ports = this.all.map(({ localPort }) => localPort)
    for (const client of this.all) client.drop()
    this.s = await this.s.killed()
    const { port } = this.s.server
    this.all = await Promise.all(ports.map(localPort => NfsClient.connect({ port, localPort })))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.all) client.drop()
    await this.s[Symbol.asyncDispose]()
  }
}

describe('clients of a server that was killed and started again', () => {
  test('append behind the end that they were told before, whatever others appended since', async () => {
    await using c = await Clients.of(2)
    const [a, b] = await Promise.all([c.csv(0), c.csv(1)])
    await c.all[0]!.write(a, END, '3,Carol\n')
    await c.killed()
    // A whole page, as it has the one before in its cache.
    await c.all[1]!.write(b, 0n, `${HEADER}${ROWS}4,Dave\n`)
    expect(await c.s.read()).toBe(`${HEADER}${ROWS}3,Carol\n4,Dave\n`)
  })

  test('send WRITEs again that were committed, and these are known, whoever wrote last', async () => {
    await using c = await Clients.of(2)
    const [a, b] = await Promise.all([c.csv(0), c.csv(1)])
    const calls = [
      (): Promise<unknown> => c.all[0]!.write(a, END, '3,Carol\n'),
      (): Promise<unknown> => c.all[1]!.write(b, END, '4,Dave\n'),
    ]
    for (const call of calls) await call()
    await c.killed()
    for (const call of calls) await call()
    expect([await c.s.read(), await c.s.commits()]).toEqual([`${HEADER}${ROWS}3,Carol\n4,Dave\n`, 2])
    // Behind what each of them wrote.
    await c.all[0]!.write(a, 0n, `${HEADER}${ROWS}3,Carol\n5,Eve\n`)
    await c.all[1]!.write(b, 0n, `${HEADER}${ROWS}4,Dave\n6,Frank\n`)
    expect(await c.s.read()).toBe(`${HEADER}${ROWS}3,Carol\n4,Dave\n5,Eve\n6,Frank\n`)
  })

  test('have the same rows taken for two, where two clients append them', async () => {
    await using c = await Clients.of(2)
    const [a, b] = await Promise.all([c.csv(0), c.csv(1)])
    await c.all[0]!.write(a, END, '3,Carol\n')
    await c.killed()
    await c.all[1]!.write(b, END, '3,Carol\n')
    expect(await c.s.read()).toBe(`${HEADER}${ROWS}3,Carol\n3,Carol\n`)
  })

  test('go on with appends that were staged behind those of others and not committed', async () => {
    await using c = await Clients.of(2)
    const [a, b] = await Promise.all([c.csv(0), c.csv(1)])
    await c.all[0]!.write(a, END, '3,Carol\n')
    await c.all[1]!.write(b, END, '4,Dave\n', 'UNSTABLE')
    await c.killed()
    await c.all[1]!.write(b, END + 7n, '5,Eve\n', 'UNSTABLE')
    await c.all[1]!.commit(b)
    expect(await c.s.read()).toBe(`${HEADER}${ROWS}3,Carol\n4,Dave\n5,Eve\n`)
    await c.all[1]!.write(b, 0n, `${HEADER}${ROWS}4,Dave\n5,Eve\n6,Frank\n`)
    await c.all[0]!.write(a, 0n, `${HEADER}${ROWS}3,Carol\n7,Grace\n`)
    expect(await c.s.read()).toBe(`${HEADER}${ROWS}3,Carol\n4,Dave\n5,Eve\n6,Frank\n7,Grace\n`)
  })

  test('rewrite what they have in their caches from before: rows of others stay', async () => {
    await using c = await Clients.of(2)
    const [a, b] = await Promise.all([c.csv(0), c.csv(1)])
    await c.all[0]!.readText(a)
    await c.all[1]!.write(b, END, '3,Carol\n')
    await c.killed()
    const { handle } = await c.all[0]!.create(c.s.data, 'sedAbCdEf')
    await c.all[0]!.write(handle, 0n, `${HEADER}1,Alice\n2,Robert\n`)
    await c.all[0]!.rename(c.s.data, 'sedAbCdEf', c.s.data, 'data.csv')
    expect(await c.s.read()).toBe(`${HEADER}1,Alice\n2,Robert\n3,Carol\n`)
  })

  test('bring rows by a WRITE that a file has brought already which took the name before', async () => {
    await using c = await Clients.of(1)
    const csv = await c.csv(0)
    const client = (): NfsClient => c.all[0]!
    await client().readText(csv)
    const { handle } = await client().create(c.s.data, 'sedAbCdEf')
    await client().write(handle, 0n, `${HEADER}1,Alice\n2,Robert\n3,Carol\n`)
    const rename = (): Promise<unknown> => client().rename(c.s.data, 'sedAbCdEf', c.s.data, 'data.csv')
    await rename()
    await c.killed()
    await rename()
    await client().write(csv, END, '3,Carol\n')
    expect(await c.s.read()).toBe(`${HEADER}1,Alice\n2,Robert\n3,Carol\n`)
    await client().write(handle, 0n, `${HEADER}1,Alice\n2,Robert\n3,Carol\n4,Dave\n`)
    expect(await c.s.read()).toBe(`${HEADER}1,Alice\n2,Robert\n3,Carol\n4,Dave\n`)
  })

  test('are refused a file that was made of what is known no more, where rows came between its open and its making', async () => {
    await using c = await Clients.of(2)
    const plain = async (): Promise<Handle> => {
      await c.s.server.openExport(PLAIN)
      return c.all[0]!.walk(await c.all[0]!.mount(c.s.server.pathOf(PLAIN)), 'data')
    }
    const data = await plain()
    const read = async (): Promise<string> => c.all[0]!.readText((await c.all[0]!.lookup(data, 'data.csv')).handle)
    await read()
    await c.all[1]!.write(await c.csv(1), END, '3,Carol\n')
    // The file is younger than the version.
    for (const committedMs = Date.now(); Date.now() <= committedMs; ) await Bun.sleep(1)
    // It was opened before, and what is in the cache is read without a call.
    const { handle } = await c.all[0]!.create(data, 'sedAbCdEf')
    await read()
    await c.all[0]!.write(handle, 0n, `${HEADER}1,Alice\n2,Robert\n`)
    await c.killed()
    const again = await plain()
    expect(await codeOf(c.all[0]!.rename(again, 'sedAbCdEf', again, 'data.csv'))).toBe('EIO')
    expect(await c.s.read()).toBe(`${HEADER}${ROWS}3,Carol\n`)
  })

  test('go on with a save that another client, which opens the file meanwhile, is not shown', async () => {
    await using c = await Clients.of(1)
    const a = await c.csv(0)
    const write = (): Promise<unknown> => c.all[0]!.write(a, END, '3,Carol\n', 'UNSTABLE')
    await write()
    await c.killed()
    const b = await c.s.csv()
    expect(await c.s.client.readText(b)).toBe(HEADER + ROWS)
    const append = c.s.client.write(b, 0n, `${HEADER}${ROWS}4,Dave\n`).catch(() => undefined)
    await write()
    await c.all[0]!.commit(a)
    await append
    await c.s.client.write(b, 0n, `${HEADER}${ROWS}4,Dave\n`)
    expect(await c.s.read()).toBe(`${HEADER}${ROWS}3,Carol\n4,Dave\n`)
  })

  test('send WRITEs again that were committed while a save of another one goes on, and double no row', async () => {
    await using c = await Clients.of(3)
    const [a, b, d] = await Promise.all([c.csv(0), c.csv(1), c.csv(2)])
    await c.all[2]!.write(d, END, '3,Carol\n')
    const write = (): Promise<unknown> => c.all[0]!.write(a, 0n, `${HEADER}${ROWS}4,Dave\n`)
    await write()
    await c.all[1]!.write(b, END, '5,Eve\n', 'UNSTABLE')
    await c.killed()
    expect(await codeOf(write())).toBe('EJUKEBOX')
    await c.all[1]!.commit(b)
    await write()
    expect(await c.s.read()).toBe(`${HEADER}${ROWS}3,Carol\n4,Dave\n5,Eve\n`)
  })
})
