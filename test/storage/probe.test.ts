import { describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { checkSafe, probe } from '../../src/storage/s3/probe.ts'
import { type S3Store, s3Store } from '../../src/storage/s3/store.ts'
import { type S3Server, startS3Server } from '../helpers/s3-server.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { bytes, failure } from './contract.ts'

function storeAt({ endpoint }: S3Server, check = false): S3Store {
  return s3Store({
    location: 's3://bucket/t',
    bucket: 'bucket',
    prefix: 't',
    environment: { AWS_ACCESS_KEY_ID: 'k', AWS_SECRET_ACCESS_KEY: 's', AWS_ENDPOINT_URL: endpoint },
    ...(check ? { checkSafe } : {}),
  })
}

/** A state folder of the test's own. */
function ownState(): Disposable & { readonly path: string } {
  const folder = temporaryFolder()
  const before = process.env['XDG_STATE_HOME']
  process.env['XDG_STATE_HOME'] = folder.path
  const restore = (): void => {
    if (before === undefined) delete process.env['XDG_STATE_HOME']
    else process.env['XDG_STATE_HOME'] = before
    folder[Symbol.dispose]()
  }
  return { path: folder.path, [Symbol.dispose]: restore }
}

describe('the probe of conditional puts', () => {
  test('finds a store right whose races have one winner each, and leaves nothing there', async () => {
    await using server = await startS3Server('bucket')
    expect(await probe(storeAt(server))).toEqual({ isSafe: true })
    expect(server.buckets.get('bucket')!.size).toBe(0)
    const puts = server.requests.filter(({ action }) => action === 'PutObject')
    expect(puts.length).toBeGreaterThan(100)
  })

  test('finds out a store that does not know the condition', async () => {
    await using server = await startS3Server('bucket')
    server.conditions = 'ignored'
    const verdict = await probe(storeAt(server))
    expect(verdict).toMatchObject({ isSafe: false })
    expect('why' in verdict && verdict.why).toContain('although it was told not to')
    expect(server.buckets.get('bucket')!.size).toBe(0)
  })

  test('finds out a store that looks first and writes later', async () => {
    await using server = await startS3Server('bucket')
    server.conditions = 'racing'
    const verdict = await probe(storeAt(server))
    expect('why' in verdict && verdict.why).toMatch(/it told \d+ of 16 writers/)
  })

  test('finds out a store that looks when a request begins and writes when it ends', async () => {
    await using server = await startS3Server('bucket')
    server.conditions = 'early'
    const verdict = await probe(storeAt(server))
    expect('why' in verdict && verdict.why).toMatch(/it told \d+ of 16 writers, who came at the same time/)
  })
})

test('a store that cannot be tried is not taken for a right one', async () => {
  await using server = await startS3Server('bucket')
  // As a proxy would that wants to be asked first.
  server.fault = ({ headers }) => (headers['connection'] === 'close' ? { cut: 'before' } : undefined)
  const verdict = await probe(storeAt(server))
  expect('why' in verdict && verdict.why).toContain('it cannot be found out from here')
})

describe('a store that lets two win', () => {
  test('is refused before anything is written, by a sentence, and can be read', async () => {
    using _state = ownState()
    await using server = await startS3Server('bucket')
    server.conditions = 'ignored'
    const store = storeAt(server, true)
    for (const call of [
      () => store.putIfAbsent('_delta_log/0.json', bytes('x')),
      () => store.write('x', bytes('x')),
      () => store.create('x'),
    ]) {
      const error = await failure(call)
      expect(error).toMatchObject({ code: 'unsafe_store' })
      expect(error.message).toContain('s3://bucket/t: the store at http://127.0.0.1:')
      expect(error.message).toContain('is not safe to write a table to')
    }
    expect(server.buckets.get('bucket')!.size).toBe(0)
    expect(await store.list('')).toEqual([])
  })

  test('is asked once if it is right: what was found out is kept', async () => {
    using state = ownState()
    await using server = await startS3Server('bucket')
    await storeAt(server, true).write('x', bytes('x'))
    expect(existsSync(join(state.path, 'posixlake', 'stores'))).toBe(true)
    server.requests.length = 0
    const again = storeAt(server, true)
    await again.write('y', bytes('y'))
    await again.putIfAbsent('z', bytes('z'))
    expect(server.requests.map(({ action }) => action)).toEqual(['PutObject', 'PutObject'])
  })
})
