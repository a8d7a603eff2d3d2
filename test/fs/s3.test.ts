import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { MemoryCache } from '../../src/cache/memory.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { systemDisk } from '../../src/fs/saves/disk.ts'
import { type Seams, serveTable, type TableServer } from '../../src/serve/table-server.ts'
import { execute } from '../../src/sql/engine.ts'
import { cachedStore } from '../../src/storage/cached.ts'
import { openStore, parseLocation } from '../../src/storage/location.ts'
import { s3Store } from '../../src/storage/s3/store.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable } from '../../src/table/table.ts'
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

/** A store that is given up sooner than people would like, for tests of one that is away. */
function impatient({ endpoint }: S3Server): Seams {
  const store = s3Store({
    location: 's3://bucket/people',
    bucket: 'bucket',
    prefix: 'people',
    environment: { ...VARIABLES, AWS_ENDPOINT_URL: endpoint },
    policy: { attemptsMax: 3, totalMsMax: 2000, firstDelayMs: 10, delayMsMax: 10 },
  })
  return { store: () => cachedStore(store, new MemoryCache(64 << 20)), disk: systemDisk, database: given => given }
}

/** A table on S3 that is served, and a client that sends the calls which a kernel would. `isImpatient`: see above. */
async function serveOnS3({ isImpatient = false } = {}): Promise<Served> {
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
    ...(isImpatient ? { seams: impatient(store) } : {}),
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
function askedOf({ requests }: S3Server): string[] {
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
    const asked: string[][] = []
    // On a machine that is busy a look for new versions may fall into an append: not into all of them.
    for (let i = 0; i < 10 && !asked.some(calls => calls.length === 2); i++) {
      await s.server.lake.table.refresh()
      s.store.requests.length = 0
      expect(await s.append(`${i},steady\n`)).toBe('OK')
      const calls = askedOf(s.store)
      const commit = `PutObject ${String(s.server.lake.table.snapshot.version).padStart(20, '0')}.json`
      expect(calls.filter(call => !/^(GetObject|HeadObject) \d{20}\.json$/.test(call))).toEqual([
        'PutObject part',
        commit,
      ])
      asked.push(calls)
    }
    expect(asked.at(-1)!.length).toBe(2)
  })

  test('shows what others commit, with one look a second at most while it is read', async () => {
    await using s = await serveOnS3()
    expect(await s.read()).toBe(BEFORE)
    const other = await openTable(openStore(parseLocation(s.location)))
    await execute(other, "INSERT INTO data VALUES (9, 'Ida')")
    while ((await s.read()) !== `${BEFORE}9,Ida\n`) await Bun.sleep(20)
    s.store.requests.length = 0
    const startMs = performance.now()
    for (let i = 0; i < 20; i++) await s.read()
    // A look is two requests: for the next commit, and whether the last one is still there.
    const looks = 1 + Math.ceil((performance.now() - startMs) / 1000)
    expect(askedOf(s.store).length).toBeLessThanOrEqual(2 * looks)
  })

  test('is asked nothing while nobody reads it, and has the news when somebody does', async () => {
    await using s = await serveOnS3()
    expect(await s.read()).toBe(BEFORE)
    const other = await openTable(openStore(parseLocation(s.location)))
    await execute(other, "INSERT INTO data VALUES (9, 'Ida')")
    s.store.requests.length = 0
    // Longer than a look counts.
    await Bun.sleep(1500)
    expect(askedOf(s.store)).toEqual([])
    expect(await s.read()).toBe(`${BEFORE}9,Ida\n`)
  })

  test('is read from the cache while the store is away; a save fails with a sentence, and all is well afterwards', async () => {
    await using s = await serveOnS3({ isImpatient: true })
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
  })

  test('has the row of a save once whose commit came through when the store went away, whatever its program hears', async () => {
    await using s = await serveOnS3({ isImpatient: true })
    expect(await s.read()).toBe(BEFORE)
    let isAway = false
    s.store.fault = ({ action, key }) => {
      if (isAway) return { cut: 'before' }
      if (action !== 'PutObject' || !key.endsWith('00000000000000000002.json')) return undefined
      isAway = true
      return { cut: 'after' }
    }
    const first = await s.append('4,Dave\n')
    s.store.fault = undefined
    // A program that was told that it failed may save it again; one that was told to wait asks again with the same call.
    expect(['EIO', 'EJUKEBOX', 'OK']).toContain(first)
    const seen = await s.read()
    expect(seen).toBe(`${BEFORE}4,Dave\n`)
    expect(await s.append('5,Eve\n')).toBe('OK')
    expect(await s.read()).toBe(`${BEFORE}4,Dave\n5,Eve\n`)
    expect((await s.server.lake.table.refresh()).version).toBe(3n)
  })
})
