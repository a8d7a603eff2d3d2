import { describe, expect, test } from 'bun:test'
import { bytesText, type Text } from '../../src/fs/text/text.ts'
import { QueryView, type QueryViewOptions } from '../../src/fs/views/query.ts'
import { type Handle, NfsClient } from '../nfs/client.ts'
import { codeOf, type ServedTable, serveNew } from './served.ts'

const FROZEN = { frozen: true, readOnly: false, others: false }
const ROWS = '1,Alice\n2,Bob\n'
const open = (): Promise<ServedTable> => serveNew('id:Int64,name:String', ROWS)

/** A program on a connection of its own. */
class Program implements AsyncDisposable {
  readonly #client: NfsClient
  readonly #root: Handle

  private constructor(client: NfsClient, root: Handle) {
    this.#client = client
    this.#root = root
  }

  static async start(s: ServedTable, uid: number, path = s.server.exportPath): Promise<Program> {
    const client = await NfsClient.connect({ port: s.server.port, uid })
    return new Program(client, await client.mount(path))
  }

  get client(): NfsClient {
    return this.#client
  }

  /** What open(2) finds. */
  query(): Promise<Handle> {
    return this.#client.walk(this.#root, '.query')
  }

  /** As `echo SQL > .query` does. */
  async ask(sql: string): Promise<void> {
    const handle = await this.query()
    await this.#client.setattr(handle, { size: 0n })
    await this.#client.write(handle, 0n, `${sql}\n`)
  }

  async answer(): Promise<string> {
    return this.#client.readText(await this.query())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close()
  }
}

describe('.query', () => {
  test('gives each user the own answer, over one connection or several', async () => {
    await using s = await open()
    await using alice = await Program.start(s, 1000)
    await using bob = await Program.start(s, 1001)
    await using root = await Program.start(s, 0)
    await alice.ask("SELECT 'Alice asks'")
    await bob.ask("SELECT 'Bob asks'")
    expect(await alice.answer()).toContain('Alice asks')
    expect(await bob.answer()).toContain('Bob asks')
    expect(await root.answer()).toBe('')
    const files = [await alice.query(), await bob.query(), await root.query()]
    expect(new Set(files.map(String)).size).toBe(3)
    const ids = await Promise.all(
      files.map(async (handle, i) => (await [alice, bob, root][i]!.client.getattr(handle)).fileid),
    )
    expect(new Set(ids).size).toBe(3)
  })

  test('keeps queries apart that are written at the same time', async () => {
    await using s = await open()
    const programs = await Promise.all(Array.from({ length: 12 }, (_, i) => Program.start(s, 1000 + (i % 4))))
    await Promise.all(programs.map((program, i) => program.ask(`SELECT ${i} AS n`)))
    const answers = await Promise.all(programs.map(program => program.answer()))
    expect(answers).toEqual(programs.map((_, i) => `n\n${i}\n`))
    for (const program of programs) await program[Symbol.asyncDispose]()
  })

  test('shows a new connection what its user was answered last', async () => {
    await using s = await open()
    await using first = await Program.start(s, 1000)
    await first.ask('SELECT 1 AS n')
    await using second = await Program.start(s, 1000)
    expect(await second.answer()).toBe('n\n1\n')
    await first.ask('SELECT 2 AS n')
    expect(await second.answer()).toBe('n\n2\n')
    const { mtime } = await second.client.getattr(await second.query())
    await second.ask('SELECT 3 AS n')
    expect((await second.client.getattr(await second.query())).mtime).not.toEqual(mtime)
    expect([await first.answer(), await second.answer()]).toEqual(['n\n2\n', 'n\n3\n'])
    await using third = await Program.start(s, 1000)
    expect(await third.answer()).toBe('n\n3\n')
  })

  test('takes connections that use one handle for those of one client', async () => {
    await using s = await open()
    await using first = await Program.start(s, 1000)
    await using second = await Program.start(s, 1000)
    await first.ask('SELECT 1 AS n')
    // As a client does that connects anew, or with `nconnect`.
    expect(await second.client.readText(await first.query())).toBe('n\n1\n')
    await second.ask('SELECT 2 AS n')
    expect(await first.answer()).toBe('n\n2\n')
    expect(await second.query()).toEqual(await first.query())
  })

  test('is unknown to other users where clients keep names, and goes on with an inherited file where they do not', async () => {
    await using s = await open()
    await using bob = await Program.start(s, 1001)
    for (const [path, code] of [
      ['/', 'ESTALE'],
      [s.server.exportPath, 'OK'],
    ] as const) {
      await using alice = await Program.start(s, 1000, path)
      await alice.ask('SELECT 1 AS n')
      const handle = await alice.query()
      expect(await codeOf(bob.client.getattr(handle))).toBe(code)
      expect(await codeOf(bob.client.read(handle, 0n, 100))).toBe(code)
      expect(await alice.answer()).toBe('n\n1\n')
    }
    await bob.ask('SELECT 2 AS n')
    expect(await bob.answer()).toBe('n\n2\n')
  })

  test('gives a failed query to its own client alone, and a new handle', async () => {
    await using s = await open()
    await using alice = await Program.start(s, 1000)
    await using bob = await Program.start(s, 1001)
    await bob.ask('SELECT 1 AS n')
    const before = await alice.query()
    expect(await codeOf(alice.ask('SELECT nope FROM data'))).toBe('EINVAL')
    expect(await alice.answer()).toContain('nope')
    expect(await alice.query()).not.toEqual(before)
    expect(await codeOf(alice.client.getattr(before))).toBe('ESTALE')
    expect(await bob.answer()).toBe('n\n1\n')
  })

  test('is listed as what its name leads to, and forgets on rm what its user was answered', async () => {
    await using s = await open()
    await s.client.write(await s.client.walk(s.root, '.query'), 0n, 'SELECT 1 AS n')
    const listed = (await s.client.list(s.root)).find(({ name }) => name === '.query')
    expect(listed?.handle).toEqual(await s.client.walk(s.root, '.query'))
    await s.client.remove(s.root, '.query')
    expect(await s.read('.query')).toBe('')
    await using other = await Program.start(s, 0)
    expect(await other.answer()).toBe('')
  })
})

/** The view by itself, with answers that come when the test wants them. */
function view(): { query: QueryView; asked: string[]; finish(sql: string, text: string): void } {
  const waiting = new Map<string, (text: Text) => void>()
  const asked: string[] = []
  let id = 1000n
  const run: QueryViewOptions['run'] = sql => {
    asked.push(sql)
    return new Promise(resolve => waiting.set(sql, resolve))
  }
  const owner = { uid: 0, gid: 0 }
  const query = new QueryView({ run, owner, now: () => 1n, nextId: () => id++, onRefused: () => undefined })
  return { query, asked, finish: (sql, text) => waiting.get(sql)!(bytesText(new TextEncoder().encode(text))) }
}

describe('an answer', () => {
  const caller = { connection: 1, uid: 0, socket: undefined }
  const text = async (query: QueryView, who = caller): Promise<string> =>
    Buffer.concat((await query.of(who).read(0n, 100)).data).toString()
  const ask = async (query: QueryView, sql: string, who = caller): Promise<unknown> => {
    const file = query.of(who)
    await file.truncate(0n, await file.attributes())
    return file.write(0n, new TextEncoder().encode(sql), 'file_sync', { ...FROZEN, caller: who })
  }

  test('of an older query that took longer does not take the place of a newer one', async () => {
    const { query, finish, asked } = view()
    const slow = ask(query, 'slow')
    while (asked.length < 1) await Bun.sleep(0)
    const quick = ask(query, 'quick')
    while (asked.length < 2) await Bun.sleep(0)
    finish('quick', 'new')
    await quick
    finish('slow', 'old')
    await slow
    expect(await text(query)).toBe('new')
    expect(await text(query, { ...caller, connection: 2 })).toBe('new')
  })

  test('moves the time each time, also where it comes from another connection', async () => {
    const { query, finish, asked } = view()
    const other = { ...caller, connection: 2 }
    const times: bigint[] = []
    const note = async (): Promise<unknown> => times.push((await query.of(other).attributes()).mtime)
    await note()
    for (const [sql, who] of [
      ['a', caller],
      ['b', caller],
      ['c', other],
      ['d', other],
    ] as const) {
      const answered = ask(query, sql, who)
      while (!asked.includes(sql)) await Bun.sleep(0)
      finish(sql, sql)
      await answered
      await note()
    }
    expect(times).toEqual([...new Set(times)].sort((a, b) => (a < b ? -1 : 1)))
  })

  test('is kept for so many clients, and for its user whatever the client', async () => {
    const { query, finish, asked } = view()
    const answered = ask(query, 'a')
    while (asked.length < 1) await Bun.sleep(0)
    finish('a', 'a')
    await answered
    const { id } = query.of(caller)
    for (let connection = 2; connection < 1000; connection++) {
      query.of({ ...caller, connection, uid: connection })
      if (connection === 500) expect(query.file({ id, ...FROZEN, caller })).toBeUndefined()
    }
    expect(await text(query)).toBe('a')
    expect(query.of(caller).id).not.toBe(id)
    expect(query.file({ id: query.of(caller).id, ...FROZEN, caller })).toBe(query.of(caller))
  })
})
