import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { type S3Server, startS3Server } from '../helpers/s3-server.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

interface Ended {
  readonly status: number
  readonly out: string
  readonly err: string
}

/** Runs `posixlake s3-test` as a process of its own: the stand-in goes on meanwhile. */
async function s3Test({ endpoint }: S3Server, ...args: readonly string[]): Promise<Ended> {
  using folder = temporaryFolder()
  const child = Bun.spawn([process.execPath, join(import.meta.dir, '../../src/main.ts'), 's3-test', ...args], {
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: folder.path,
      AWS_ENDPOINT_URL: endpoint,
      AWS_ACCESS_KEY_ID: 'key-in-environment',
      AWS_SECRET_ACCESS_KEY: 'secret-in-environment',
    },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  return { status: await child.exited, out, err }
}

describe('s3-test', () => {
  test('goes through all that a table needs, and leaves nothing behind', async () => {
    await using server = await startS3Server('bucket')
    const { status, out } = await s3Test(server, 's3://bucket/check')
    expect(out).toEndWith('s3://bucket/check can hold tables.\n')
    expect(out.match(/^ok {6}/gm)?.length).toBe(8)
    expect(out).toContain(`${server.endpoint}, region us-east-1, credentials from the environment`)
    expect(status).toBe(0)
    expect(server.buckets.get('bucket')!.size).toBe(0)
    expect(server.uploads).toBe(0)
  })

  test('says of a missing bucket what to do, and that nothing else was tried', async () => {
    await using server = await startS3Server('bucket')
    const { status, out } = await s3Test(server, 's3://bukcet/check')
    expect(out).toContain('FAILED  list objects: s3://bukcet/check')
    expect(out).toContain('there is no bucket bukcet')
    expect(out.match(/^- {7}/gm)?.length).toBe(7)
    expect(status).toBe(1)
  })

  test('says which permission is missing, and goes on with what needs it not', async () => {
    await using server = await startS3Server('bucket')
    server.fault = ({ action }) => (action.startsWith('Delete') ? { status: 403, code: 'AccessDenied' } : undefined)
    const { status, out } = await s3Test(server, 's3://bucket/check')
    expect(out).toMatch(/FAILED {2}delete objects: .*s3:DeleteObject/)
    expect(out.match(/^ok {6}/gm)?.length).toBe(7)
    expect(status).toBe(1)
  })

  test('says that a store is not safe to write to', async () => {
    await using server = await startS3Server('bucket')
    server.conditions = 'ignored'
    const { status, out } = await s3Test(server, 's3://bucket/check')
    expect(out).toMatch(/FAILED {2}one winner among many writers: .* is not safe to write a table to/)
    expect(status).toBe(1)
  })

  test('takes keys from flags, with a warning, and shows none', async () => {
    await using server = await startS3Server('bucket')
    const flags = ['--access-key', 'key-of-flags', '--secret-key', 'secret-of-flags']
    const { out, err } = await s3Test(server, 's3://bucket/check', ...flags)
    expect(server.requests[0]?.headers['authorization']).toContain('Credential=key-of-flags/')
    expect(err).toContain('Keys on a command line can be seen by other users')
    expect(out).toContain('credentials from the flags --access-key and --secret-key')
    expect(out + err).not.toMatch(/key-of-flags|secret-of-flags/)
  })

  test('refuses what is no place on S3, and flags that do not fit', async () => {
    await using server = await startS3Server('bucket')
    for (const [args, sentence] of [
      [['./here'], 's3-test takes s3://bucket/prefix, not ./here'],
      [['s3://bucket', '--access-key', 'x'], '--access-key and --secret-key go together'],
      [['s3://bucket', '--endpoint', 'localhost'], '--endpoint takes a URL such as http://127.0.0.1:9000'],
    ] as const) {
      const { status, err } = await s3Test(server, ...args)
      expect(err).toContain(sentence)
      expect(status).toBe(2)
    }
    expect(server.requests).toEqual([])
  })
})
