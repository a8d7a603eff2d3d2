import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { s3Store } from '../../src/storage/s3/store.ts'
import { startMinio } from '../helpers/minio.ts'
import { startS3Proxy } from '../helpers/s3-proxy.ts'
import { type S3Server, startS3Server } from '../helpers/s3-server.ts'
import type { StoreServer } from '../helpers/store-server.ts'
import { credentialsFor } from '../helpers/sts.ts'

const BINARY = resolve(process.env['POSIXLAKE'] ?? 'dist/posixlake')
const PEOPLE = 'id,name,age,city\n1,Alice,30,Oslo\n2,Bob,25,Bergen\n3,Carl,41,Oslo\n'

let minio: StoreServer
let folder = ''

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'posixlake-s3-'))
  mkdirSync(join(folder, 'home'))
  writeFileSync(join(folder, 'people.csv'), PEOPLE)
  minio = await startMinio()
}, 600_000)
afterAll(async () => {
  await minio[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

interface Ended {
  readonly status: number
  readonly out: string
  readonly err: string
}

async function posixlake(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const child = Bun.spawn([BINARY, ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', HOME: join(folder, 'home'), ...minio.environment, ...environment },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  return { status: await child.exited, out, err }
}

/** What a command prints; it must succeed. */
async function done(...args: readonly string[]): Promise<string> {
  const { status, out, err } = await posixlake(args)
  if (status !== 0) throw new Error(`posixlake ${args.join(' ')}: exit status ${status}: ${err}`)
  return out
}

/** Tables that are being made on this machine, and whatever else is kept of tables here. */
function keptHere(): string[] {
  return [join('.cache', 'posixlake', 'imports'), join('.local', 'state', 'posixlake')].flatMap(name => {
    const path = join(folder, 'home', name)
    // What is known of stores is no part of a table.
    return existsSync(path) ? readdirSync(path).filter(entry => entry !== 'stores') : []
  })
}

async function keysBelow(prefix: string): Promise<string[]> {
  const { environment } = minio
  const store = s3Store({ location: `s3://posixlake-test/${prefix}`, bucket: 'posixlake-test', prefix, environment })
  return (await store.list('')).map(({ path }) => path)
}

describe('a table on S3', () => {
  test('is made of CSV, printed, queried and changed like a local one', async () => {
    const table = 's3://posixlake-test/people'
    expect(await done('create', table, '--from-csv', 'people.csv')).toStartWith(`${table}: 3 rows in 1 file\n`)
    expect(await done('cat', table)).toBe(PEOPLE)
    expect(await done('schema', table)).toContain('  name STRING,\n')
    const grouped = 'SELECT city, count(*) AS n FROM data GROUP BY city ORDER BY city'
    expect(await done('query', table, grouped, '--format', 'csv')).toBe('city,n\nBergen,1\nOslo,2\n')
    await done('query', table, "INSERT INTO data VALUES (5, 'Eve', 33, 'Oslo')")
    await done('query', table, "UPDATE data SET name = 'BOB' WHERE name = 'Bob'")
    await done('query', table, 'DELETE FROM data WHERE id = 1')
    expect(await done('cat', table)).toBe('id,name,age,city\n2,BOB,25,Bergen\n3,Carl,41,Oslo\n5,Eve,33,Oslo\n')
    expect(await done('cat', table, '--version', '0')).toBe(PEOPLE)
    const history = (await done('history', table, '--format', 'jsonl')).trimEnd().split('\n')
    expect(history.map(line => (JSON.parse(line) as { operation: string }).operation)).toEqual([
      'DELETE',
      'UPDATE',
      'WRITE',
      'CREATE TABLE AS SELECT',
    ])
  })

  test('is found by an endpoint and keys in flags as well, with a warning', async () => {
    const { AWS_ENDPOINT_URL = '', AWS_ACCESS_KEY_ID = '', AWS_SECRET_ACCESS_KEY = '' } = minio.environment
    const flags = [
      '--endpoint',
      AWS_ENDPOINT_URL,
      '--access-key',
      AWS_ACCESS_KEY_ID,
      '--secret-key',
      AWS_SECRET_ACCESS_KEY,
    ]
    const none = {
      AWS_ENDPOINT_URL: '',
      AWS_ACCESS_KEY_ID: '',
      AWS_SECRET_ACCESS_KEY: '',
      AWS_EC2_METADATA_DISABLED: 'true',
    }
    const created = await posixlake(['create', 's3://posixlake-test/flags', '--schema', 'id:Int64', ...flags], none)
    expect(created.status).toBe(0)
    expect(created.err).toContain('Keys on a command line can be seen')
  })

  test("is found by MinIO's own variables", async () => {
    const { AWS_ENDPOINT_URL = '', AWS_ACCESS_KEY_ID = '', AWS_SECRET_ACCESS_KEY = '' } = minio.environment
    const variables = {
      MINIO_ENDPOINT: AWS_ENDPOINT_URL,
      MINIO_ACCESS_KEY: AWS_ACCESS_KEY_ID,
      MINIO_SECRET_KEY: AWS_SECRET_ACCESS_KEY,
      AWS_ENDPOINT_URL: '',
      AWS_ACCESS_KEY_ID: '',
      AWS_SECRET_ACCESS_KEY: '',
    }
    expect(
      await posixlake(['create', 's3://posixlake-test/variables', '--schema', 'id:Int64'], variables),
    ).toMatchObject({
      status: 0,
      err: '',
    })
  })

  test('can be of many files and commits, through a checkpoint', async () => {
    const table = 's3://posixlake-test/many'
    await done('create', table, '--schema', 'id:Int64,name:String')
    for (let id = 0; id < 12; id++) await done('query', table, `INSERT INTO data VALUES (${id}, 'row ${id}')`)
    expect(await keysBelow('many/_delta_log')).toContain('00000000000000000010.checkpoint.parquet')
    expect(await done('query', table, 'SELECT count(*), sum(id) FROM data', '--format', 'csv')).toEndWith('\n12,66\n')
    expect((await done('cat', table)).split('\n').length).toBe(14)
  })

  test('has one row of each of many writers at once', async () => {
    const table = 's3://posixlake-test/writers'
    await done('create', table, '--schema', 'id:Int64')
    await Promise.all(Array.from({ length: 6 }, (_, id) => done('query', table, `INSERT INTO data VALUES (${id})`)))
    expect((await done('cat', table)).split('\n').slice(1, -1).map(Number).sort()).toEqual([0, 1, 2, 3, 4, 5])
    expect((await done('history', table, '--format', 'jsonl')).trimEnd().split('\n').length).toBe(7)
  })

  test('is not made twice, nor among other files', async () => {
    const table = 's3://posixlake-test/once'
    await done('create', table, '--schema', 'id:Int64')
    const again = await posixlake(['create', table, '--from-csv', 'people.csv'])
    expect(again).toMatchObject({ status: 1, out: '' })
    expect(again.err).toContain(`${table}: there is a table already`)
    expect(await keysBelow('once')).toEqual(['_delta_log/00000000000000000000.json'])
    const { environment } = minio
    const other = s3Store({ location: '', bucket: 'posixlake-test', prefix: 'other', environment })
    await other.write('report.txt', new TextEncoder().encode('text'))
    const among = await posixlake(['create', 's3://posixlake-test/other', '--schema', 'id:Int64'])
    expect(among.err).toContain('s3://posixlake-test/other: the folder holds other files (report.txt)')
  })

  test('can be checked for before', async () => {
    expect(await done('s3-test', 's3://posixlake-test/check')).toEndWith('s3://posixlake-test/check can hold tables.\n')
    expect(await keysBelow('check')).toEqual([])
  })
})

test('the policy in the README is enough to write a table, its first two statements to read one, and no more', async () => {
  const readme = readFileSync(join(import.meta.dir, '..', '..', 'README.md'), 'utf8')
  const json = /```json\n(\{\n {2}"Version"[\s\S]*?)```/.exec(readme)![1]!
  const whole = JSON.parse(json.replaceAll('BUCKET', 'posixlake-test').replaceAll('PREFIX', 'allowed/people'))
  const reading = await credentialsFor(minio, { ...whole, Statement: whole.Statement.slice(0, 2) })
  const writing = await credentialsFor(minio, whole)
  const table = 's3://posixlake-test/allowed/people'
  const run = async (keys: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<Ended> =>
    posixlake(args, { ...keys, XDG_STATE_HOME: join(folder, 'home', `state-${keys['AWS_ACCESS_KEY_ID']}`) })
  expect(await run(writing, 'create', table, '--from-csv', 'people.csv')).toMatchObject({ status: 0 })
  expect(await run(writing, 's3-test', `${table}/check`)).toMatchObject({ status: 0 })
  for (const statement of ["INSERT INTO data VALUES (5, 'Eve', 33, 'Oslo')", 'DELETE FROM data WHERE id = 1'])
    expect(await run(writing, 'query', table, statement)).toMatchObject({ status: 0 })
  expect(await run(writing, 'optimize', table)).toMatchObject({ status: 0 })
  expect(await run(writing, 'vacuum', table, '--retain', '0s', '--force')).toMatchObject({ status: 0 })
  expect((await run(reading, 'cat', table)).out).toBe(
    'id,name,age,city\n2,Bob,25,Bergen\n3,Carl,41,Oslo\n5,Eve,33,Oslo\n',
  )
  expect((await run(reading, 'query', table, 'SELECT max(id) FROM data', '--format', 'csv')).out).toEndWith('\n5\n')
  expect(await run(reading, 'history', table)).toMatchObject({ status: 0 })
  const refused = await run(reading, 'query', table, "INSERT INTO data VALUES (6, 'Fay', 20, 'Oslo')")
  expect(refused.status).toBe(1)
  expect(refused.err).toContain('may not do s3:PutObject there')
  const elsewhere = await run(writing, 'create', 's3://posixlake-test/elsewhere', '--schema', 'id:Int64')
  expect(elsewhere.status).toBe(1)
  expect(elsewhere.err).toContain('may not do s3:ListBucket there')
}, 120_000)

test('keys are had of the machine, or of the container, where nothing else names them', async () => {
  const table = 's3://posixlake-test/keys'
  await done('create', table, '--from-csv', 'people.csv')
  const { AWS_ACCESS_KEY_ID: AccessKeyId, AWS_SECRET_ACCESS_KEY: SecretAccessKey } = minio.environment
  const Expiration = new Date(Date.now() + 3_600_000).toISOString()
  const roles = '/latest/meta-data/iam/security-credentials/'
  await using server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: request => {
      const { pathname } = new URL(request.url)
      if (pathname === '/latest/api/token') return new Response('token')
      if (pathname === roles) return new Response('role')
      return Response.json({ Code: 'Success', AccessKeyId, SecretAccessKey, Token: '', Expiration })
    },
  })
  const none = { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' }
  for (const where of [
    { AWS_EC2_METADATA_SERVICE_ENDPOINT: server.url.origin },
    { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${server.url.origin}/container` },
  ])
    expect(await posixlake(['cat', table], { ...none, ...where })).toEqual({ status: 0, out: PEOPLE, err: '' })
}, 60_000)

describe('what cannot be is told in one line, with exit status 1, and leaves nothing behind:', () => {
  const cases: readonly (readonly [string, readonly string[], string, Readonly<Record<string, string>>?])[] = [
    [
      'no such bucket',
      ['create', 's3://no-such-bucket/t', '--from-csv', 'people.csv'],
      'there is no bucket no-such-bucket',
    ],
    ['no such bucket', ['cat', 's3://no-such-bucket/t'], 'there is no bucket no-such-bucket'],
    ['a prefix that is no table', ['cat', 's3://posixlake-test/nothing'], 'this is not a Delta table'],
    ['a prefix that is no table', ['query', 's3://posixlake-test/nothing', 'FROM data'], 'this is not a Delta table'],
    ['an address without a bucket', ['cat', 's3://'], 's3://: it names no bucket'],
    [
      'wrong keys',
      ['cat', 's3://posixlake-test/people'],
      'the secret key from the environment',
      { AWS_SECRET_ACCESS_KEY: 'wrong-secret' },
    ],
    [
      'unknown keys',
      ['cat', 's3://posixlake-test/people'],
      'does not know the access key from the environment',
      { AWS_ACCESS_KEY_ID: 'unknown-key' },
    ],
    [
      'an endpoint where nobody listens',
      ['create', 's3://posixlake-test/unreachable', '--schema', 'id:Int64', '--endpoint', 'http://127.0.0.1:1'],
      'the store at http://127.0.0.1:1 cannot be reached: nothing listens there',
    ],
    [
      'a file that is no CSV of a table',
      ['create', 's3://posixlake-test/unmade', '--from-csv', 'missing.csv'],
      'missing.csv',
    ],
  ]
  for (const [name, args, sentence, environment] of cases) {
    test(`${name} (${args[0]})`, async () => {
      const before = [await keysBelow(''), keptHere()]
      const { status, out, err } = await posixlake(args, environment)
      expect(err).toContain(sentence)
      expect({ status, out, lines: err.trimEnd().split('\n').length }).toEqual({ status: 1, out: '', lines: 1 })
      expect(err).not.toMatch(/wrong-secret|unknown-key|secret-of-a-test|minio-of-a-test/)
      expect([await keysBelow(''), keptHere()]).toEqual(before)
    })
  }

  test('a log of which a part is missing or cut off (cat, query, serve)', async () => {
    const { environment } = minio
    const log: Readonly<Record<string, Readonly<Record<string, string | undefined>>>> = {
      'cut-off': { '00000000000000000001.json': '{"commitInfo":{"timestamp":1,"operation":"WRI' },
      empty: { '00000000000000000001.json': '' },
      gap: { '00000000000000000002.json': '{"commitInfo":{"timestamp":1,"operation":"WRITE"}}\n' },
      headless: {
        '00000000000000000000.json': undefined,
        '00000000000000000001.json': '{"txn":{"appId":"a","version":1}}\n',
      },
    }
    for (const [name, files] of Object.entries(log)) {
      const table = `s3://posixlake-test/half-${name}`
      await done('create', table, '--schema', 'id:Int64')
      const store = s3Store({ location: table, bucket: 'posixlake-test', prefix: `half-${name}`, environment })
      for (const [file, text] of Object.entries(files))
        if (text === undefined) await store.delete(`_delta_log/${file}`)
        else await store.write(`_delta_log/${file}`, new TextEncoder().encode(text))
      const before = [await keysBelow(''), keptHere()]
      for (const args of [
        ['cat', table],
        ['query', table, 'FROM data'],
        ['query', table, 'INSERT INTO data VALUES (1)'],
        ['serve', table],
      ]) {
        const { status, out, err } = await posixlake(args)
        expect({ name, args, status, out, lines: err.trimEnd().split('\n').length }).toMatchObject({
          status: 1,
          out: '',
          lines: 1,
        })
        expect(err).toContain('_delta_log')
      }
      expect([await keysBelow(''), keptHere()]).toEqual(before)
    }
  }, 120_000)

  test('a store that does not let these keys write', async () => {
    await using server: S3Server = await startS3Server('posixlake-test')
    server.fault = ({ action }) => (action === 'PutObject' ? { status: 403, code: 'AccessDenied' } : undefined)
    const before = keptHere()
    const args = ['create', 's3://posixlake-test/t', '--from-csv', 'people.csv', '--endpoint', server.endpoint]
    const { status, err } = await posixlake(args)
    expect(status).toBe(1)
    expect(err).toContain('may not do s3:PutObject there')
    expect([server.buckets.get('posixlake-test')!.size, server.uploads, keptHere()]).toEqual([0, 0, before])
  })

  test('an endpoint that takes connections and never answers, after seconds', async () => {
    await using proxy = await startS3Proxy(minio.endpoint)
    proxy.fault = () => 'hang'
    const startMs = performance.now()
    const { status, err } = await posixlake(['cat', 's3://posixlake-test/people', '--endpoint', proxy.endpoint])
    expect(status).toBe(1)
    expect(err).toContain('cannot be reached: it did not answer in time')
    expect(performance.now() - startMs).toBeLessThan(20_000)
  }, 60_000)

  test('a proxy before a good store that does not say that a name is taken; what is there can be read', async () => {
    await using proxy = await startS3Proxy(minio.endpoint)
    proxy.lies = true
    const table = 's3://posixlake-test/behind-a-liar'
    await done('create', table, '--from-csv', 'people.csv')
    const before = [await keysBelow(''), keptHere()]
    const insert = ['query', table, "INSERT INTO data VALUES (9, 'Ida', 20, 'Oslo')", '--endpoint', proxy.endpoint]
    const { status, err } = await posixlake(insert)
    expect(status).toBe(1)
    expect(err).toContain('is not safe to write a table to')
    expect([await keysBelow(''), keptHere()]).toEqual(before)
    expect(await done('cat', table, '--endpoint', proxy.endpoint)).toBe(PEOPLE)
  })

  test('a store without conditional writes', async () => {
    await using server: S3Server = await startS3Server('posixlake-test')
    server.conditions = 'ignored'
    const args = ['create', 's3://posixlake-test/t', '--from-csv', 'people.csv', '--endpoint', server.endpoint]
    const { status, err } = await posixlake(args)
    expect(status).toBe(1)
    expect(err).toContain('is not safe to write a table to')
    expect(server.buckets.get('posixlake-test')!.size).toBe(0)
  })
})
