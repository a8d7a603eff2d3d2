import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'bun:test'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DeleteBucketCommand, DeleteObjectsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { startMinio } from '../helpers/minio.ts'
import { type S3Proxy, startS3Proxy } from '../helpers/s3-proxy.ts'
import type { StoreServer } from '../helpers/store-server.ts'
import { BINARY, TableServer } from './table-server.ts'

const HEADER = 'id,name\n'
const LONG_MS = 120_000

let minio: StoreServer
let folder = ''
let proxy: S3Proxy
let server: TableServer | undefined
let count = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'posixlake-away-'))
  minio = await startMinio()
}, 600_000)
afterAll(async () => {
  await minio[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(async () => {
  proxy = await startS3Proxy(minio.endpoint)
})
afterEach(async () => {
  await server?.kill()
  server = undefined
  await proxy[Symbol.asyncDispose]()
})

/** The environment of a machine of its own. */
function machine(name: string): Record<string, string> {
  const home = join(folder, `${name}-${count}`)
  mkdirSync(home, { recursive: true })
  return {
    PATH: process.env['PATH'] ?? '',
    ...minio.environment,
    AWS_ENDPOINT_URL: proxy.endpoint,
    HOME: home,
    XDG_CACHE_HOME: join(folder, 'cache'),
  }
}

async function posixlake(
  env: Record<string, string>,
  ...args: readonly string[]
): Promise<{ status: number; out: string; err: string }> {
  const child = Bun.spawn([BINARY, ...args], { cwd: '/', env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  return { status: await child.exited, out, err }
}

/** A table of so many rows, which is served. */
async function served(rows: number, env = machine('server'), bucket = 'posixlake-test') {
  const table = `s3://${bucket}/away-${count++}`
  const csv = join(folder, 'rows.csv')
  const text = HEADER + Array.from({ length: rows }, (_, i) => `${i},row ${i}\n`).join('')
  writeFileSync(csv, text)
  expect(await posixlake(machine('maker'), 'create', table, '--from-csv', csv)).toMatchObject({ status: 0 })
  server = new TableServer(env, table)
  await server.start()
  return { table, text, server, env }
}

test(
  'a store that is away: what was read is read, what is saved is refused and kept, and all goes on when it is back',
  async () => {
    const { table, text, server, env } = await served(100)
    expect(await server.read()).toBe(text)
    await server.append('500,before\n')
    await proxy.refuse()
    const shown = `${text}500,before\n`
    expect(await server.read()).toBe(shown)
    await expect(server.append('600,during\n')).rejects.toMatchObject({ code: 'EIO' })
    expect(await server.read()).toBe(shown)
    const kept = (await server.names()).find(name => name.startsWith('data.csv.rejected-'))!
    expect(await server.read(kept)).toBe(`${HEADER}600,during\n`)
    const errors = await server.errors()
    expect(errors).toContain('cannot be reached: nothing listens there')
    expect(errors).toContain(`what was written is kept as data/${kept}`)
    const asked = await posixlake(env, 'query', table, 'SELECT count(*) FROM data')
    expect(asked).toMatchObject({ status: 1, out: '' })
    expect(asked.err).toContain('cannot be reached')
    await proxy.accept()
    await server.append('700,after\n')
    await server.edit(before => before.replace('8,row 8\n', '8,edited\n'))
    expect(await server.read()).toBe(`${shown.replace('8,row 8\n', '8,edited\n')}700,after\n`)
    expect((await posixlake(env, 'cat', table)).out).toBe(await server.read())
    expect(await server.end()).toBe(0)
  },
  LONG_MS,
)

test(
  'credentials of a process are asked for again before they expire; those that are refused are told of, and others are taken',
  async () => {
    const script = join(folder, 'credentials.sh')
    const [answer, calls] = [join(folder, 'credentials.json'), join(folder, 'calls')]
    writeFileSync(
      script,
      `#!/bin/sh\necho call >> ${calls}\nexec sed "s/EXPIRATION/$(date -u -d '+2 seconds' +%FT%TZ)/" ${answer}\n`,
    )
    chmodSync(script, 0o755)
    const give = (secret: string): void => {
      const AccessKeyId = minio.environment['AWS_ACCESS_KEY_ID']
      writeFileSync(
        answer,
        JSON.stringify({ Version: 1, AccessKeyId, SecretAccessKey: secret, Expiration: 'EXPIRATION' }),
      )
    }
    const right = minio.environment['AWS_SECRET_ACCESS_KEY']!
    give(right)
    const env = { ...machine('server'), AWS_PROFILE: 'expiring', AWS_CONFIG_FILE: join(folder, 'config') }
    writeFileSync(env.AWS_CONFIG_FILE, `[profile expiring]\ncredential_process = ${script}\nregion = us-east-1\n`)
    const { server } = await served(3, { ...env, AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' })
    await server.append('10,a\n')
    const before = readFileSync(calls, 'utf8').length
    await Bun.sleep(2500)
    await server.append('11,b\n')
    expect(readFileSync(calls, 'utf8').length).toBeGreaterThan(before)
    give('no-secret-of-this-store')
    await Bun.sleep(2500)
    await expect(server.append('12,c\n')).rejects.toMatchObject({ code: 'EACCES' })
    expect(await server.errors()).toContain('the credential_process of the profile expiring')
    expect(await server.errors()).not.toContain('no-secret-of-this-store')
    rmSync(answer)
    await Bun.sleep(2500)
    await expect(server.append('13,d\n')).rejects.toThrow()
    give(right)
    await server.append('14,e\n')
    expect(await server.read()).toBe(`${HEADER}0,row 0\n1,row 1\n2,row 2\n10,a\n11,b\n14,e\n`)
  },
  LONG_MS,
)

test(
  'a bucket that is deleted is told of, and what was read is there still',
  async () => {
    await minio.makeBucket('to-be-deleted')
    const { text, server, table, env } = await served(3, machine('server'), 'to-be-deleted')
    expect(await server.read()).toBe(text)
    const { AWS_ACCESS_KEY_ID: accessKeyId = '', AWS_SECRET_ACCESS_KEY: secretAccessKey = '' } = minio.environment
    const client = new S3Client({
      endpoint: minio.endpoint,
      forcePathStyle: true,
      region: 'us-east-1',
      credentials: { accessKeyId, secretAccessKey },
    })
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: 'to-be-deleted' }))
    const Objects = Contents.map(({ Key }) => ({ Key }))
    await client.send(new DeleteObjectsCommand({ Bucket: 'to-be-deleted', Delete: { Objects } }))
    await client.send(new DeleteBucketCommand({ Bucket: 'to-be-deleted' }))
    client.destroy()
    await Bun.sleep(1500)
    await expect(server.append('9,lost\n')).rejects.toMatchObject({ code: 'EIO' })
    expect(await server.errors()).toContain('there is no bucket to-be-deleted')
    const kept = (await server.names()).find(name => name.startsWith('data.csv.rejected-'))!
    expect(await server.read(kept)).toBe(`${HEADER}9,lost\n`)
    expect((await posixlake(env, 'cat', table)).err).toContain('there is no bucket to-be-deleted')
  },
  LONG_MS,
)

test(
  'files that others vacuum away are no loss to whoever reads the table as it is, and told of to whoever reads it as it was',
  async () => {
    const { text, server, table } = await served(2000)
    const other = machine('other')
    for (const id of [5000, 5001])
      expect(await posixlake(other, 'query', table, `INSERT INTO data VALUES (${id}, 'x')`)).toMatchObject({
        status: 0,
      })
    // Not read yet: nothing of it is in the cache.
    expect(await posixlake(other, 'query', table, 'DELETE FROM data WHERE id < 1000')).toMatchObject({ status: 0 })
    expect(await posixlake(other, 'optimize', table)).toMatchObject({ status: 0 })
    const vacuumed = await posixlake(other, 'vacuum', table, '--retain', '0s', '--force')
    expect(vacuumed.err).toContain('3 files (')
    const left = `${HEADER}${text.slice(text.indexOf('1000,'))}5000,x\n5001,x\n`
    expect(await server.read()).toBe(left)
    await server.append('6000,y\n')
    expect(await server.read()).toBe(`${left}6000,y\n`)
    // Its cache is empty.
    const third = { ...machine('third'), XDG_CACHE_HOME: join(folder, 'cache-of-third') }
    for (const asked of [
      ['cat', table, '--version', '2'],
      ['query', table, 'SELECT sum(id) FROM data VERSION AS OF 2'],
    ]) {
      const old = await posixlake(third, ...asked)
      expect(old).toMatchObject({ status: 1, out: '' })
      expect(old.err).toMatch(/^posixlake: s3:\/\/.*\n$/)
    }
  },
  LONG_MS,
)

test(
  'data that is damaged on its way is not taken for what it should be, nor kept',
  async () => {
    const table = `s3://posixlake-test/away-${count++}`
    const statement = "INSERT INTO data SELECT range, 'row ' || hash(range), hash(range) / 7.0 FROM range(60000)"
    const maker = machine('maker')
    expect(await posixlake(maker, 'create', table, '--schema', 'id:Int64,name:String,value:Float64')).toMatchObject({
      status: 0,
    })
    expect(await posixlake(maker, 'query', table, statement)).toMatchObject({ status: 0 })
    const question = ['query', table, 'SELECT sum(hash(id, name, value)) AS h FROM data', '--format', 'csv']
    const [right, text] = [(await posixlake(maker, ...question)).out, (await posixlake(maker, 'cat', table)).out]
    for (let round = 0; round < 4; round++) {
      const other = { ...machine(`other${round}`), XDG_CACHE_HOME: join(folder, `cache-of-other${round}`) }
      // Of each answer that is a part of a file, every second one.
      let parts = round
      proxy.fault = ({ headers }) => (headers['range'] !== undefined && parts++ % 2 === 0 ? 'reply flipped' : undefined)
      const answers = [await posixlake(other, ...question), await posixlake(other, 'cat', table)]
      expect(parts).toBeGreaterThan(round)
      proxy.fault = undefined
      // Where a footer was damaged, which has no checksum, there may be an error; never other values.
      for (const [i, { status, out }] of answers.entries())
        if (status === 0) expect(out === [right, text][i]).toBe(true)
      expect((await posixlake(other, ...question)).out).toBe(right)
      expect((await posixlake(other, 'cat', table)).out === text).toBe(true)
    }
  },
  LONG_MS,
)
