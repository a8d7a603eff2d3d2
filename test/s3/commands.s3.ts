import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { s3Store } from '../../src/storage/s3/store.ts'
import { type Minio, startMinio } from '../helpers/minio.ts'
import { type S3Server, startS3Server } from '../helpers/s3-server.ts'

const BINARY = resolve(process.env['POSIXLAKE'] ?? 'dist/posixlake')
const PEOPLE = 'id,name,age,city\n1,Alice,30,Oslo\n2,Bob,25,Bergen\n3,Carl,41,Oslo\n'

let minio: Minio
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

/** Tables that are being made on this machine. */
function imports(): string[] {
  const path = join(folder, 'home', '.cache', 'posixlake', 'imports')
  return existsSync(path) ? readdirSync(path) : []
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
      const before = await keysBelow('')
      const { status, out, err } = await posixlake(args, environment)
      expect(err).toContain(sentence)
      expect({ status, out, lines: err.trimEnd().split('\n').length }).toEqual({ status: 1, out: '', lines: 1 })
      expect(err).not.toMatch(/wrong-secret|unknown-key|secret-of-a-test|minio-of-a-test/)
      expect(await keysBelow('')).toEqual(before)
      expect(imports()).toEqual([])
    })
  }

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
