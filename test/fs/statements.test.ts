import { describe, expect, test } from 'bun:test'
import { type Caller, type FsError, FsError as Refusal } from '../../src/fs/filesystem.ts'
import { bytesText, type Text } from '../../src/fs/text/text.ts'
import { QueryView } from '../../src/fs/views/query.ts'
import { SqlError } from '../../src/sql/errors.ts'
import { NfsClient } from '../nfs/client.ts'
import { sqlProcesses, until } from '../sql/processes.ts'
import { codeOf, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const INSERT = `INSERT INTO data VALUES (3, 'Carol')\n`

describe('a statement in .query', () => {
  test('that comes once more after the server was killed is answered, and not run again', async () => {
    await using s = await serveNew(DDL, '1,Alice\n2,Bob\n')
    const query = await s.client.walk(s.root, '.query')
    await s.client.setattr(query, { size: 0n })
    const xid = s.client.nextXid
    await s.client.write(query, 0n, INSERT)
    expect(await s.commits()).toBe(1)
    await using after = await s.killed()
    // What that handle had been answered is not known any more, and is not made up.
    expect(await codeOf(after.client.getattr(query))).toBe('ESTALE')
    expect(await codeOf(after.client.read(query, 0n, 100))).toBe('ESTALE')
    // The client's kernel sends its unanswered call again, under its number.
    after.client.nextXid = xid
    await after.client.write(query, 0n, INSERT)
    expect(await after.client.readText(query)).toBe('inserted,updated,deleted\n1,0,0\n')
    expect(await after.commits()).toBe(1)
    expect(await after.read()).toBe('id,name\n1,Alice\n2,Bob\n3,Carol\n')
    // The same by a new call is meant as it is.
    await after.client.write(await after.client.walk(after.root, '.query'), 0n, INSERT)
    expect(await after.commits()).toBe(2)
  }, 20_000)

  test('behind a large answer costs its own size', async () => {
    await using s = await serveNew(DDL, '1,Alice\n')
    const query = await s.client.walk(s.root, '.query')
    await s.client.write(query, 0n, `SELECT range AS n, repeat('x', 1000) AS t FROM range(30000)\n`)
    const { size } = await s.client.getattr(query)
    expect(size).toBeGreaterThan(30_000_000n)
    await s.client.write(query, size, 'SELECT count(*) AS n FROM data\n')
    expect(await s.client.readText(query)).toBe('n\n1\n')
    // The client may write the rest of the page before once more.
    await s.client.write(query, 2n, '1\nSELECT 2 AS n\n')
    expect(await s.client.readText(query)).toBe('n\n2\n')
  }, 20_000)

  test('gives the engine’s sentence to who reads, and a status that says whose it is to mend', async () => {
    await using s = await serveNew(DDL, '1,Alice\n')
    const ask = async (sql: string): Promise<string> => {
      const query = await s.client.walk(s.root, '.query')
      await s.client.setattr(query, { size: 0n })
      return codeOf(s.client.write(query, 0n, sql))
    }
    expect(await ask('SELECT nope FROM data')).toBe('EINVAL')
    expect(await ask('COPY data TO x')).toBe('EINVAL')
    expect(await ask('SELECT * FROM nope')).toBe('EINVAL')
    expect(await s.read('.query')).toContain('there is no table nope')
  }, 20_000)
})

describe('a result in queries/', () => {
  test('is given up when the last of those who wait for it is gone', async () => {
    await using s = await serveNew(DDL, '1,Alice\n')
    const queries = await s.client.walk(s.root, 'queries')
    const { handle } = await s.client.create(queries, 'slow.sql')
    await s.client.write(handle, 0n, 'SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b')
    const { location } = s.server.lake
    const readers = [await NfsClient.connect({ port: s.server.port }), await NfsClient.connect({ port: s.server.port })]
    const results = readers.map(async client => {
      const root = await client.mount(s.server.exportPath)
      return codeOf(client.read(await client.walk(root, 'queries/slow.csv'), 0n, 100))
    })
    await until(() => sqlProcesses(location).length === 1)
    for (const reader of readers) reader.close()
    await Promise.all(results)
    await until(() => sqlProcesses(location).length === 0)
    expect(await s.read('.errors')).toBe('')
    // The next who opens it has it computed.
    await s.client.setattr(handle, { size: 0n })
    await s.client.write(handle, 0n, 'SELECT 1 AS n')
    expect(await s.read('queries/slow.csv')).toBe('n\n1\n')
  }, 30_000)
})

/** The view by itself, over statements that go as a test says. */
function view(run: (sql: string) => Promise<Text>) {
  let id = 1000n
  const owner = { uid: 0, gid: 0 }
  const query = new QueryView({ run, owner, now: () => 1n, nextId: () => id++, onRefused: () => undefined })
  const caller: Caller = { connection: 1, uid: 0, socket: undefined }
  const client = { frozen: true, readOnly: false, others: false, caller }
  const write = (sql: string) => query.of(caller).write(0n, new TextEncoder().encode(sql), 'file_sync', client)
  const read = async () => Buffer.concat((await query.of(caller).read(0n, 1000)).data).toString()
  return { query, caller, client, write, read }
}

describe('a statement of which nobody knows whether it is in the table', () => {
  test('is asked for again by the client, over what it wrote, and by the same handle', async () => {
    const asked: string[] = []
    let known = false
    const { query, caller, write, read } = view(async sql => {
      asked.push(sql)
      if (!known) throw new SqlError('undecided', 'the log cannot be read')
      return bytesText(new TextEncoder().encode('done\n'))
    })
    const file = query.of(caller)
    const { id } = file
    await file.truncate(0n, await file.attributes())
    expect(await write('INSERT 1').catch((error: FsError) => error.code)).toBe('EJUKEBOX')
    expect(file.id).toBe(id)
    known = true
    await write('INSERT 1')
    expect(asked).toEqual(['INSERT 1', 'INSERT 1'])
    expect(await read()).toBe('done\n')
  })

  test('is no other failure: these give the name a new handle', async () => {
    for (const [error, code] of [
      [new SqlError('invalid_sql', 'x'), 'EINVAL'],
      [new SqlError('unsupported', 'x'), 'EINVAL'],
      [new SqlError('limit', 'x'), 'EIO'],
      [new SqlError('failed', 'x'), 'EIO'],
      [new SqlError('ended', 'x'), 'EIO'],
      [new Error('x'), 'EIO'],
      [new Refusal('ENOSPC', 'x'), 'ENOSPC'],
    ] as const) {
      const { query, caller, write, read } = view(async () => {
        throw error
      })
      const { id } = query.of(caller)
      expect(await write('x').catch((refusal: FsError) => refusal.code)).toBe(code)
      expect(query.of(caller).id).not.toBe(id)
      expect(await read()).toBe('x\n')
    }
  })
})

describe('several WRITEs of one statement', () => {
  test('take effect in their order, whatever each has to wait for', async () => {
    const asked: string[] = []
    let answer: Text = bytesText(new TextEncoder().encode('n\n1\n'))
    const { query, caller, client, write } = view(async sql => {
      asked.push(sql)
      return answer
    })
    // An answer that is slow to be read.
    const { size, read } = answer
    answer = { size, read: async (start, end) => Bun.sleep(5).then(() => read(start, end)) }
    await write('SELECT 1')
    const file = query.of(caller)
    const text = new TextEncoder().encode('1\nSELECT 2 + 3')
    const parts = [0, 3, 7, 11].map(
      at => [at, text.subarray(at, at === 0 ? 3 : at === 3 ? 7 : at === 7 ? 11 : undefined)] as const,
    )
    await Promise.all(parts.map(([at, bytes]) => file.write(BigInt(2 + at), bytes, 'unstable', client)))
    await file.commit(client)
    expect(asked).toEqual(['SELECT 1', 'SELECT 2 + 3'])
  })
})
