import { describe, expect, test } from 'bun:test'
import type { Fattr, Handle } from '../nfs/client.ts'
import { codeOf, type ServedTable, serveNew } from './served.ts'

const ROWS = '1,Alice\n2,Bob\n'
const NAMES = 'SELECT name FROM data ORDER BY id'

interface Opened extends ServedTable {
  readonly queries: Handle
  save(name: string, sql: string): Promise<Handle>
  /** What LOOKUP tells. */
  look(name: string): Promise<{ handle: Handle; attributes: Fattr }>
}

async function open(sql?: string): Promise<Opened> {
  const s = await serveNew('id:Int64,name:String', ROWS)
  const queries = await s.client.walk(s.root, 'queries')
  const save = async (name: string, text: string): Promise<Handle> => {
    const { handle } = await s.client.create(queries, name)
    await s.client.setattr(handle, { size: 0n })
    await s.client.write(handle, 0n, text)
    return handle
  }
  if (sql !== undefined) await save('q.sql', sql)
  return {
    ...s,
    queries,
    save,
    look: async name => {
      const { handle, attributes } = await s.client.lookup(queries, name)
      return { handle, attributes: attributes! }
    },
  }
}

const errors = async (s: ServedTable): Promise<string[]> => (await s.read('.errors')).trimEnd().split('\n')

describe('queries/', () => {
  test('shows the result of NAME.sql as NAME.csv, NAME.json and NAME.jsonl, of the table as it is', async () => {
    await using s = await open(NAMES)
    expect(await s.read('queries/q.csv')).toBe('name\nAlice\nBob\n')
    expect(JSON.parse(await s.read('queries/q.json'))).toEqual([{ name: 'Alice' }, { name: 'Bob' }])
    expect(await s.read('queries/q.jsonl')).toBe('{"name":"Alice"}\n{"name":"Bob"}\n')
    expect(await s.read('queries/q.sql')).toBe(NAMES)
    await s.elsewhere("INSERT INTO data VALUES (3, 'Carol')")
    expect(await s.read('queries/q.csv')).toBe('name\nAlice\nBob\nCarol\n')
    await s.client.write(await s.csv(), (await s.client.getattr(await s.csv())).size, '4,Dave\n')
    expect(await s.read('queries/q.jsonl')).toEndWith('{"name":"Carol"}\n{"name":"Dave"}\n')
    await s.save('q.sql', 'SELECT count(*) AS n FROM data')
    expect(await s.read('queries/q.csv')).toBe('n\n4\n')
    await s.client.rename(s.queries, 'q.sql', s.queries, 'r.sql')
    expect(await s.read('queries/r.csv')).toBe('n\n4\n')
    expect(await codeOf(s.look('q.csv'))).toBe('ENOENT')
    expect(await s.read('.errors')).toBe('')
  })

  test('has no result without its query, and none of folders, of names without a name, or in other folders', async () => {
    await using s = await open()
    for (const name of ['x.csv', '.csv', 'x.sql.csv', 'x']) expect(await codeOf(s.look(name))).toBe('ENOENT')
    await s.client.mkdir(s.queries, 'folder.sql')
    await s.save('.sql', NAMES)
    await s.save('x.SQL', NAMES)
    for (const name of ['folder.csv', '.csv', 'x.csv']) expect(await codeOf(s.look(name))).toBe('ENOENT')
    const { handle } = await s.client.mkdir(s.queries, 'below')
    await s.client.write((await s.client.create(handle, 'q.sql')).handle, 0n, NAMES)
    await s.client.write((await s.client.create(s.root, 'q.sql')).handle, 0n, NAMES)
    expect(await codeOf(s.client.lookup(handle, 'q.csv'))).toBe('ENOENT')
    expect(await codeOf(s.client.lookup(s.root, 'q.csv'))).toBe('ENOENT')
    await s.save('.hidden.sql', NAMES)
    await s.save('a.b ü.sql', NAMES)
    expect(await s.read('queries/.hidden.csv')).toBe('name\nAlice\nBob\n')
    expect(await s.read('queries/a.b ü.jsonl')).toContain('Bob')
  })

  test('lists results beside their queries, page by page, as long as these exist', async () => {
    await using s = await open()
    for (let i = 0; i < 30; i++) await s.save(`q${i}.sql`, NAMES)
    await s.client.create(s.queries, 'notes.txt')
    const names = async (): Promise<string[]> => (await s.client.list(s.queries)).map(({ name }) => name)
    const all = Array.from({ length: 30 }, (_, i) => ['sql', 'csv', 'json', 'jsonl'].map(ending => `q${i}.${ending}`))
    expect((await names()).sort()).toEqual([...all.flat(), 'notes.txt'].sort())
    for (const maxcount of [700, 4096]) {
      const seen: string[] = []
      for (let cookie = 0n, eof = false; !eof; ) {
        const page = await s.client.readdirplus(s.queries, { cookie, maxcount })
        seen.push(...page.entries.map(({ name }) => name))
        cookie = page.entries.at(-1)!.cookie
        eof = page.eof
      }
      expect(seen.sort()).toEqual([...all.flat(), 'notes.txt', '.', '..'].sort())
    }
    for (let i = 0; i < 29; i++) await s.client.remove(s.queries, `q${i}.sql`)
    expect((await names()).sort()).toEqual(['notes.txt', 'q29.csv', 'q29.json', 'q29.jsonl', 'q29.sql'])
    const [listed] = (await s.client.list(s.queries)).filter(({ name }) => name === 'q29.csv')
    expect(listed?.handle).toEqual((await s.look('q29.csv')).handle)
  })

  test('runs a query for who opens its result, not for who looks at it, and never tells of a size of 0', async () => {
    await using s = await open('SELECT nope FROM data')
    for (let round = 0; round < 3; round++) {
      for (const { attributes } of (await s.client.list(s.queries)).slice(0, 3))
        expect(attributes?.size).toBeGreaterThan(0n)
      expect((await s.look('q.csv')).attributes).toMatchObject({ size: 4096n, mode: 0o444 })
      await s.client.setattr((await s.look('q.csv')).handle, { mode: 0o600 })
    }
    expect(await s.read('.errors')).toBe('')
    const { handle } = await s.look('q.csv')
    for (const call of [s.client.access(handle, 1), s.client.getattr(handle), s.client.read(handle, 0n, 10)])
      expect(await codeOf(call)).toBe('EINVAL')
    expect((await errors(s)).join()).toContain('queries/q.csv: ')
    expect((await errors(s)).join()).toContain('nope')
    expect((await s.look('q.csv')).handle).toEqual(handle)
    await s.save('q.sql', NAMES)
    expect(await s.read('queries/q.csv')).toBe('name\nAlice\nBob\n')
    expect((await s.look('q.csv')).attributes.size).toBe(15n)
    await s.elsewhere("INSERT INTO data VALUES (3, 'Carol')")
    expect((await s.look('q.csv')).attributes.size).toBe(15n)
  })

  test('tells the size of a result from the moment it is opened', async () => {
    await using s = await open(NAMES)
    const { handle, attributes } = await s.look('q.csv')
    expect((await s.client.opened(handle))?.size).toBe(15n)
    expect(await s.client.access(handle, 0x3f)).toBe(0x01)
    expect((await s.client.getattr(handle)).mtime).not.toEqual(attributes.mtime)
    const { file_attributes, eof } = await s.client.read(handle, 0n, 4096)
    expect(file_attributes).toEqual(await s.client.getattr(handle))
    expect(eof).toBe(true)
    expect(await s.look('q.csv')).toMatchObject({ handle, attributes: { size: 15n } })
  })

  test('goes on showing a result to who opened it, while the name leads to the next', async () => {
    await using s = await open('SELECT * FROM range(100000) CROSS JOIN (SELECT max(id) AS last FROM data)')
    const { handle } = await s.look('q.csv')
    const { size } = await s.client.getattr(handle)
    const head = (await s.client.read(handle, 0n, 100_000)).data
    await s.elsewhere("INSERT INTO data VALUES (30, 'Carol')")
    const next = await s.look('q.csv')
    expect(next.handle).not.toEqual(handle)
    expect(next.attributes.fileid).not.toBe((await s.client.getattr(handle)).fileid)
    expect(await s.client.readText(next.handle)).toEndWith(',30\n')
    const tail = (await s.client.read(handle, 100_000n, 2_000_000)).data
    expect(BigInt(head.length + tail.length)).toBe(size)
    expect(new TextDecoder().decode(tail)).toEndWith(',2\n')
    await s.save('q.sql', NAMES)
    expect((await s.client.getattr(handle)).size).toBe(size)
    await s.client.remove(s.queries, 'q.sql')
    expect((await s.client.getattr(handle)).size).toBe(size)
  })

  test('tells clients that keep names to look again', async () => {
    await using s = await open(NAMES)
    const plain = await s.client.walk(await s.client.mount('/'), 'queries')
    const { handle } = await s.client.lookup(plain, 'q.csv')
    await s.client.getattr(handle)
    await s.elsewhere("INSERT INTO data VALUES (3, 'Carol')")
    expect(await codeOf(s.client.getattr(handle))).toBe('ESTALE')
    expect(await s.client.readText((await s.client.lookup(plain, 'q.csv')).handle)).toBe('name\nAlice\nBob\nCarol\n')
    const reading = (await s.client.lookup(plain, 'q.csv')).handle
    await s.elsewhere("INSERT INTO data VALUES (4, 'Dave')")
    expect(await codeOf(s.client.getattr(reading))).toBe('OK')
    expect(await s.client.readText(reading)).toBe('name\nAlice\nBob\nCarol\n')
  })

  test('runs a query once for all who open its result at the same time', async () => {
    await using s = await open('SELECT random() AS r')
    const answers = await Promise.all(Array.from({ length: 20 }, () => s.read('queries/q.csv')))
    expect(new Set(answers).size).toBe(1)
    expect(await s.read('queries/q.csv')).toBe(answers[0]!)
  })

  test('changes nothing: a statement that would is refused by a sentence', async () => {
    await using s = await open()
    for (const sql of [
      "INSERT INTO data VALUES (9, 'x')",
      'DELETE FROM data',
      "-- tidy\nUPDATE data SET name = 'x'",
      'WITH n AS (SELECT 1 AS id) DELETE FROM data WHERE id IN (SELECT id FROM n)',
      'MERGE INTO data USING data AS d ON data.id = d.id WHEN MATCHED THEN DELETE',
      'TRUNCATE data',
      "SELECT 1; INSERT INTO data VALUES (9, 'x')",
      "COPY data TO 'x.csv'",
      'DROP TABLE data',
      '',
    ]) {
      await s.save('q.sql', sql)
      expect({ sql, code: await codeOf(s.read('queries/q.csv')) }).toEqual({ sql, code: 'EINVAL' })
      expect((await errors(s)).at(-1)).toContain(' queries/q.csv: ')
    }
    expect((await errors(s))[0]).toContain('INSERT is refused here')
    expect(await s.commits()).toBe(0)
    await s.client.write(await s.save('q.sql', 'SELECT 1 -- '), 1n << 20n, 'x')
    expect(await codeOf(s.read('queries/q.csv'))).toBe('EFBIG')
  })

  test('keeps the names of results: nothing is written there, and a sentence says so', async () => {
    await using s = await open(NAMES)
    const { handle } = await s.look('q.csv')
    const { handle: other } = await s.client.create(s.root, 'other')
    const { client, queries, root } = s
    for (const call of [
      () => client.create(queries, 'q.csv'),
      () => client.create(queries, 'new.json', { kind: 'EXCLUSIVE', value: 1n }),
      () => client.mkdir(queries, 'new.jsonl'),
      () => client.remove(queries, 'q.csv'),
      () => client.rename(queries, 'q.csv', root, 'q.csv'),
      () => client.rename(queries, 'q.csv', queries, 'r.csv'),
      () => client.rename(root, 'other', queries, 'q.json'),
      () => client.rename(root, 'other', queries, 'none.csv'),
      () => client.write(handle, 0n, 'x'),
      () => client.setattr(handle, { size: 0n }),
    ]) {
      expect(await codeOf(call())).toBe('EACCES')
      expect((await errors(s)).at(-1)).toContain('the name is kept for the result of queries/')
      await client.setattr(await client.walk(root, '.errors'), { size: 0n })
    }
    expect(await client.access(handle, 0x3f)).toBe(0x01)
    expect(await client.readText(other)).toBe('')
    expect(await codeOf(client.remove(queries, 'none.csv'))).toBe('ENOENT')
    expect(await codeOf(client.rename(queries, 'none.csv', root, 'x'))).toBe('ENOENT')
    expect(await s.read('queries/q.csv')).toBe('name\nAlice\nBob\n')
  })

  test('is the user’s own folder: what was there before stays theirs, and it can be removed and made again', async () => {
    await using s = await open(NAMES)
    const folder = `${s.server.lake.location}/_posixlake/files/queries`
    await Bun.write(`${folder}/q.csv`, 'mine\n')
    expect(await s.read('queries/q.csv')).toBe('mine\n')
    expect((await s.client.list(s.queries)).map(({ name }) => name).sort()).toEqual([
      'q.csv',
      'q.json',
      'q.jsonl',
      'q.sql',
    ])
    await s.client.write((await s.look('q.csv')).handle, 0n, 'ours')
    await s.client.remove(s.queries, 'q.csv')
    expect(await s.read('queries/q.csv')).toBe('name\nAlice\nBob\n')
    await s.client.rename(s.root, 'queries', s.root, 'old')
    expect((await s.client.list(s.queries)).map(({ name }) => name)).toEqual(['q.sql'])
    expect(await codeOf(s.look('q.csv'))).toBe('ENOENT')
    const { handle } = await s.client.mkdir(s.root, 'queries')
    await s.client.rename(s.queries, 'q.sql', handle, 'again.sql')
    expect(await s.read('queries/again.csv')).toBe('name\nAlice\nBob\n')
    await s.client.remove(handle, 'again.sql')
    await s.client.rmdir(s.root, 'queries')
  })

  test('keeps so many results, and computes the others again', async () => {
    await using s = await open()
    for (let i = 0; i < 130; i++) await s.save(`q${i}.sql`, `SELECT ${i} AS n`)
    const handles: Handle[] = []
    for (let i = 0; i < 130; i++) {
      const { handle } = await s.look(`q${i}.csv`)
      expect(await s.client.readText(handle)).toBe(`n\n${i}\n`)
      handles.push(handle)
    }
    expect(await codeOf(s.client.getattr(handles[0]!))).toBe('ESTALE')
    expect(await s.client.readText(handles[129]!)).toBe('n\n129\n')
    for (let i = 0; i < 130; i += 43) expect(await s.read(`queries/q${i}.csv`)).toBe(`n\n${i}\n`)
  }, 60_000)
})
