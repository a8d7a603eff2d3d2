import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import { serveTable, type TableServer } from '../../src/serve/table-server.ts'
import { execute } from '../../src/sql/engine.ts'
import { openStore, parseLocation } from '../../src/storage/location.ts'
import { createTable, openTable } from '../../src/table/table.ts'
import { type S3Server, startS3Server } from '../helpers/s3-server.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { type Handle, NfsClient } from '../nfs/client.ts'
import { codeOf, HELD } from './served.ts'

const VARIABLES = { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret' } as const
const ROWS = '1,Alice\n2,Bob\n3,Carol\n'
const BEFORE = `id,name\n${ROWS}`

const folder = temporaryFolder()
const before = { ...process.env }

beforeAll(() => {
  Object.assign(process.env, VARIABLES, { XDG_STATE_HOME: join(folder.path, 'state') })
})
afterAll(() => {
  for (const name of [...Object.keys(VARIABLES), 'XDG_STATE_HOME']) {
    if (before[name] === undefined) delete process.env[name]
    else process.env[name] = before[name]
  }
  folder[Symbol.dispose]()
})

interface Served extends AsyncDisposable {
  readonly store: S3Server
  readonly server: TableServer
  readonly location: string
  csv(): Promise<Handle>
  read(path?: string): Promise<string>
  append(rows: string): Promise<string>
}

/** A table on S3 that is served, and a client that sends the calls which a kernel would. */
async function serveOnS3(): Promise<Served> {
  const store = await startS3Server('bucket')
  const location = `s3://bucket/people?endpoint=${store.endpoint}`
  await createTable(openStore(parseLocation(location)), { schema: parseDdl('id:Int64,name:String') })
  const server = await serveTable({
    location,
    host: '127.0.0.1',
    port: 0,
    readOnly: false,
    allowOther: true,
    cacheDirectory: join(folder.path, `cache-${Bun.hash(location)}`),
    holdTimes: HELD,
    log: () => undefined,
  })
  const client = await NfsClient.connect({ port: server.port })
  const root = await client.mount(server.exportPath)
  const csv = (): Promise<Handle> => client.walk(root, 'data/data.csv')
  const append = async (rows: string): Promise<string> => {
    const handle = await csv()
    const { size } = await client.getattr(handle)
    return codeOf(client.write(handle, size, rows))
  }
  expect(await append(ROWS)).toBe('OK')
  return {
    store,
    server,
    location,
    csv,
    read: async (path = 'data/data.csv') => client.readText(await client.walk(root, path)),
    append,
    [Symbol.asyncDispose]: async () => {
      store.fault = undefined
      client.close()
      await server.stop()
      await store[Symbol.asyncDispose]()
    },
  }
}

/** What was asked of the store: `PutObject part`, `PutObject 00000000000000000003.json`. */
function asked({ requests }: S3Server): string[] {
  return requests.map(({ action, key }) => {
    const name = key.split('/').at(-1)!
    return `${action} ${name.startsWith('part-') ? 'part' : name}`
  })
}

describe('a table on S3 that is served', () => {
  test('shows what is appended, in one commit for each append', async () => {
    await using s = await serveOnS3()
    expect(await s.append('4,Dave\n')).toBe('OK')
    expect(await s.append('5,Eve\n')).toBe('OK')
    expect(await s.read()).toBe(`${BEFORE}4,Dave\n5,Eve\n`)
    expect((await s.server.lake.table.refresh()).version).toBe(3n)
  })

  test('costs an append two requests that write, the commit last, and no listing', async () => {
    await using s = await serveOnS3()
    await s.append('4,Dave\n')
    for (let i = 0; i < 3; i++) {
      await s.server.lake.table.refresh()
      s.store.requests.length = 0
      expect(await s.append(`${i},steady\n`)).toBe('OK')
      const version = s.server.lake.table.snapshot.version
      expect(asked(s.store)).toEqual(['PutObject part', `PutObject ${String(version).padStart(20, '0')}.json`])
    }
  })

  test('shows what others commit, with a request a second at most while it is read', async () => {
    await using s = await serveOnS3()
    expect(await s.read()).toBe(BEFORE)
    const other = await openTable(openStore(parseLocation(s.location)))
    await execute(other, "INSERT INTO data VALUES (9, 'Ida')")
    await Bun.sleep(1000)
    expect(await s.read()).toBe(`${BEFORE}9,Ida\n`)
    s.store.requests.length = 0
    for (let i = 0; i < 20; i++) await s.read()
    expect(asked(s.store).length).toBeLessThanOrEqual(2)
  })

  test('is read from the cache while the store is away; a save fails with a sentence, and all is well afterwards', async () => {
    await using s = await serveOnS3()
    expect(await s.read()).toBe(BEFORE)
    s.store.fault = () => ({ cut: 'before' })
    await Bun.sleep(1000)
    expect(await s.read()).toBe(BEFORE)
    expect(await s.append('4,Dave\n')).not.toBe('OK')
    expect(await s.read('.errors')).toContain('cannot be reached')
    expect(await s.read()).toBe(BEFORE)
    s.store.fault = undefined
    expect(await s.append('5,Eve\n')).toBe('OK')
    expect(await s.read()).toBe(`${BEFORE}5,Eve\n`)
  }, 120_000)
})
