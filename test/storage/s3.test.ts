import { describe, expect, test } from 'bun:test'
import { type S3Store, type S3StoreOptions, s3Store } from '../../src/storage/s3/store.ts'
import { type S3Fault, type S3Request, type S3Server, startS3Server } from '../helpers/s3-server.ts'
import { bytes, failure, storeContract } from './contract.ts'

const KEYS = { AWS_ACCESS_KEY_ID: 'test-key', AWS_SECRET_ACCESS_KEY: 'test-secret' }

/** Nothing is waited for, and all the same the time is over in the end. */
let skippedMs = 0
const seams = {
  nowMs: () => performance.now() + skippedMs,
  sleep: async (ms: number) => {
    skippedMs += ms
  },
  random: Math.random,
}

function storeOf({ endpoint }: { readonly endpoint: string }, options: Partial<S3StoreOptions> = {}): S3Store {
  return s3Store({
    location: 's3://bucket/some/prefix',
    bucket: 'bucket',
    prefix: 'some/prefix',
    environment: { ...KEYS, AWS_ENDPOINT_URL: endpoint },
    seams,
    ...options,
  })
}

for (const [name, pageSize, partBytes] of [
  ['on S3', 1000, undefined],
  ['on S3 whose listings have many pages, and objects many parts', 2, 64_000],
] as const) {
  storeContract(name, async () => {
    const server = await startS3Server('bucket')
    server.pageSize = pageSize
    const store = storeOf(server, partBytes === undefined ? {} : { partBytes })
    return { store, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  })
}

/** Lets the first requests of an action fail, one with each fault. */
function faultFirst(server: S3Server, action: string, ...faults: readonly S3Fault[]): void {
  const left = [...faults]
  server.fault = (request: S3Request) => (request.action === action ? left.shift() : undefined)
}

function actions({ requests }: S3Server): string[] {
  return requests.map(({ action }) => action)
}

const text = (given: Uint8Array): string => Buffer.from(given).toString()

describe('a read from S3', () => {
  for (const [what, fault] of [
    ['is told to slow down', { status: 503, code: 'SlowDown' }],
    ['finds the store in trouble', { status: 500, code: 'InternalError' }],
    ['has its connection reset', { cut: 'before' }],
    ['gets what is no answer', { garbled: true }],
    ['gets half of a body', { cut: 'half' }],
    ['gets a body whose checksum is wrong', { corrupt: true }],
  ] as const) {
    test(`that ${what} is done again`, async () => {
      await using server = await startS3Server('bucket')
      const store = storeOf(server)
      await store.write('x', bytes('a text that is long enough to be cut'))
      faultFirst(server, 'GetObject', fault, fault)
      expect(text(await store.read('x'))).toBe('a text that is long enough to be cut')
      expect(actions(server).filter(action => action === 'GetObject').length).toBe(3)
    })
  }

  test('of the first bytes of what may be no longer has its checksum checked, and no more of it is read if it is', async () => {
    await using server = await startS3Server('bucket')
    const [store, reader] = [storeOf(server), storeOf(server)]
    await store.write('x', bytes('a text that is damaged on its way'))
    faultFirst(server, 'GetObject', { corrupt: true })
    expect(text(await reader.read('x', 0, 1000))).toBe('a text that is damaged on its way')
    const large = new Uint8Array(1 << 20).fill(7)
    await store.write('large', large)
    expect(await reader.read('large', 0, 10)).toEqual(large.subarray(0, 10))
    expect(await reader.read('large', 0, 20)).toEqual(large.subarray(0, 20))
    expect(server.requests.at(-1)!.headers['range']).toBe('bytes=0-19')
  })

  test('that hangs is done again', async () => {
    await using server = await startS3Server('bucket')
    const store = storeOf(server, { silenceMs: 100 })
    await store.write('x', bytes('text'))
    faultFirst(server, 'GetObject', { hang: true })
    expect(text(await store.read('x'))).toBe('text')
  })

  test('waits as long as the store says', async () => {
    await using server = await startS3Server('bucket')
    const sleeps: number[] = []
    const noted = { ...seams, sleep: async (ms: number) => void sleeps.push(ms) }
    const store = storeOf(server, { seams: noted })
    await store.write('x', bytes('text'))
    faultFirst(server, 'GetObject', { status: 503, code: 'SlowDown', headers: { 'retry-after': '7' } })
    expect(text(await store.read('x'))).toBe('text')
    expect(sleeps).toEqual([7000])
  })

  test('of parts of an object is never of two', async () => {
    await using server = await startS3Server('bucket')
    const [reader, writer] = [storeOf(server), storeOf(server)]
    await writer.write('x', bytes('aaaa'))
    expect(text(await reader.read('x', 0, 2))).toBe('aa')
    await writer.write('x', bytes('bbbb'))
    const error = await failure(() => reader.read('x', 2, 4))
    expect(error).toMatchObject({ code: 'changed' })
    expect(error.message).toContain('s3://bucket/some/prefix/x: the object was replaced')
    // Whoever reads all of it gets all of one.
    expect(text(await reader.read('x'))).toBe('bbbb')
    expect(text(await reader.read('x', 2, 4))).toBe('bb')
  })

  test('of a part that a store without ranges answers with all of it gets that part', async () => {
    await using server = await startS3Server('bucket')
    const store = storeOf(server)
    await store.write('x', bytes('0123456789'))
    server.ignoresRanges = true
    expect(text(await store.read('x', 3, 6))).toBe('345')
  })
})

describe('a write to S3', () => {
  for (const code of ['BadDigest', 'XAmzContentSHA256Mismatch', 'XAmzContentChecksumMismatch', 'IncompleteBody']) {
    test(`that comes there damaged (${code}) is done again`, async () => {
      await using server = await startS3Server('bucket')
      const store = storeOf(server)
      faultFirst(server, 'PutObject', { status: 400, code })
      expect(await store.putIfAbsent('x', bytes('text'))).toBe('written')
    })
  }

  test('that wins, and whose reply is lost, says that the name is taken: its writer reads it back', async () => {
    await using server = await startS3Server('bucket')
    const store = storeOf(server)
    faultFirst(server, 'PutObject', { cut: 'after' })
    expect(await store.putIfAbsent('log/1', bytes('mine'))).toBe('exists')
    expect(text(await store.read('log/1'))).toBe('mine')
  })

  test('that never gets a reply may have taken effect, and says so', async () => {
    await using server = await startS3Server('bucket')
    const store = storeOf(server)
    server.fault = ({ action }) => (action === 'PutObject' ? { cut: 'after' } : undefined)
    server.conditions = 'ignored'
    const error = await failure(() => store.putIfAbsent('log/1', bytes('mine')))
    expect(error).toMatchObject({ code: 'unavailable', mayHaveTakenEffect: true })
  })

  test('that a store in doubt refuses in the end may have taken effect before', async () => {
    await using server = await startS3Server('bucket')
    const store = storeOf(server)
    faultFirst(server, 'PutObject', { cut: 'after' }, { status: 403, code: 'AccessDenied' })
    expect(await failure(() => store.putIfAbsent('log/1', bytes('mine')))).toMatchObject({
      code: 'access_denied',
      mayHaveTakenEffect: true,
    })
  })

  test('that is refused has not taken effect', async () => {
    await using server = await startS3Server('bucket')
    const store = storeOf(server)
    faultFirst(server, 'PutObject', { status: 403, code: 'AccessDenied' })
    expect(await failure(() => store.putIfAbsent('log/1', bytes('mine')))).toMatchObject({ mayHaveTakenEffect: false })
  })

  test('that meets another one (409) is done again', async () => {
    await using server = await startS3Server('bucket')
    const store = storeOf(server)
    faultFirst(server, 'PutObject', { status: 409, code: 'ConditionalRequestConflict' })
    expect(await store.putIfAbsent('log/1', bytes('mine'))).toBe('written')
  })

  test('in parts has failing parts sent again, and all of them in order', async () => {
    await using server = await startS3Server('bucket')
    const store = storeOf(server, { partBytes: 1000 })
    let n = 0
    server.fault = ({ action }) =>
      action === 'UploadPart' && n++ % 3 === 0 ? { status: 503, code: 'SlowDown' } : undefined
    const whole = new Uint8Array(20_500).map((_, i) => i % 251)
    const out = await store.create('x')
    for (let at = 0; at < whole.length; at += 700) await out.write(whole.subarray(at, at + 700))
    await out.close()
    expect(Buffer.compare(await store.read('x'), whole)).toBe(0)
    expect(server.uploads).toBe(0)
  })

  test('in parts is there if the reply to its last request is lost', async () => {
    await using server = await startS3Server('bucket')
    const store = storeOf(server, { partBytes: 1000 })
    faultFirst(server, 'CompleteMultipartUpload', { cut: 'after' })
    await store.write('x', new Uint8Array(5000))
    expect((await store.stat('x'))?.sizeBytes).toBe(5000)
  })

  test('in parts that fails leaves neither an object nor an upload', async () => {
    await using server = await startS3Server('bucket')
    const store = storeOf(server, { partBytes: 1000 })
    server.fault = ({ action, query }) =>
      action === 'UploadPart' && query.get('partNumber') === '3' ? { status: 403, code: 'AccessDenied' } : undefined
    expect(await failure(() => store.write('x', new Uint8Array(9000)))).toMatchObject({ code: 'access_denied' })
    expect(server.uploads).toBe(0)
    expect(await store.stat('x')).toBeUndefined()
  })

  test('of one object needs one request', async () => {
    await using server = await startS3Server('bucket')
    const store = storeOf(server)
    await store.write('x', bytes('text'))
    expect(await store.putIfAbsent('log/1', bytes('text'))).toBe('written')
    expect(actions(server)).toEqual(['PutObject', 'PutObject'])
  })
})

describe('a failed request says what was answered, and what to do:', () => {
  const cases: readonly (readonly [name: string, fault: S3Fault, code: string, ...words: readonly string[]])[] = [
    ['no such bucket', { status: 404, code: 'NoSuchBucket' }, 'no_bucket', 'there is no bucket bucket at http://'],
    [
      'access denied',
      { status: 403, code: 'AccessDenied', message: 'Access Denied.' },
      'access_denied',
      'the credentials from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) may not do s3:GetObject there',
      'answered 403 AccessDenied: Access Denied)',
    ],
    [
      'an unknown key',
      { status: 403, code: 'InvalidAccessKeyId' },
      'access_denied',
      'does not know the access key from',
    ],
    ['a wrong secret', { status: 403, code: 'SignatureDoesNotMatch' }, 'access_denied', 'the secret key from'],
    ['an expired token', { status: 400, code: 'ExpiredToken' }, 'access_denied', 'have expired', 'aws sso login'],
    [
      'a wrong clock',
      { status: 403, code: 'RequestTimeTooSkewed' },
      'access_denied',
      'the clocks of this machine',
      'NTP',
    ],
    [
      'a wrong region',
      { status: 400, code: 'AuthorizationHeaderMalformed', message: "the region 'a' is wrong; expecting 'eu-north-1'" },
      'access_denied',
      'is in the region eu-north-1, and was asked for in us-east-1; give --region eu-north-1',
    ],
    [
      'a bucket elsewhere',
      { status: 301, code: 'PermanentRedirect', headers: { 'x-amz-bucket-region': 'eu-west-1' } },
      'access_denied',
      'give --region eu-west-1',
    ],
    ['a full store', { status: 507, code: 'XMinioStorageFull' }, 'no_space', 'the store has no room'],
    ['an answer that nobody knows', { status: 418, code: 'Teapot', message: 'short' }, 'io', '418 Teapot: short'],
    ['what is no store', { status: 404, code: 'Whatever' }, 'io', 'seems to be no S3 store (404 Whatever: injected)'],
    ['a busy store', { status: 503, code: 'SlowDown' }, 'unavailable', 'is busy', 'try again later'],
  ]
  for (const [name, fault, code, ...words] of cases) {
    test(name, async () => {
      await using server = await startS3Server('bucket')
      server.fault = () => fault
      const error = await failure(() => storeOf(server).read('x'))
      expect(error.code as string).toBe(code)
      for (const word of ['s3://bucket/some/prefix/x: ', ...words]) expect(error.message).toContain(word)
    })
  }

  test('keys are never shown', async () => {
    await using server = await startS3Server('bucket')
    server.fault = () => ({ status: 403, code: 'AccessDenied', message: 'test-key and test-secret are not welcome' })
    const { message } = await failure(() => storeOf(server).read('x'))
    expect(message).toContain('*** and *** are not welcome')
  })

  test('an endpoint where nobody listens is given up after seconds', async () => {
    const store = storeOf({ endpoint: 'http://127.0.0.1:1' })
    const error = await failure(() => store.list(''))
    expect(error).toMatchObject({ code: 'unavailable' })
    expect(error.message).toContain('the store at http://127.0.0.1:1 cannot be reached: nothing listens there')
  })

  test('an endpoint that never answers is given up after few attempts', async () => {
    await using server = await startS3Server('bucket')
    server.fault = () => ({ hang: true })
    const error = await failure(() => storeOf(server, { silenceMs: 30 }).list(''))
    expect(error.message).toContain('cannot be reached: it did not answer in time')
    expect(server.requests.length).toBe(3)
  })

  test('a bucket that is missing is no empty one', async () => {
    await using server = await startS3Server('other')
    const store = storeOf(server)
    for (const call of [() => store.stat('x'), () => store.list(''), () => store.write('x', bytes('x'))])
      expect(await failure(call)).toMatchObject({ code: 'no_bucket' })
  })

  test('without credentials it says where they may come from', async () => {
    await using server = await startS3Server('bucket')
    const environment = { AWS_ENDPOINT_URL: server.endpoint }
    const run = Bun.spawnSync(
      [
        process.execPath,
        '-e',
        `const { s3Store } = await import(${JSON.stringify(`${import.meta.dir}/../../src/storage/s3/store.ts`)})
         await s3Store({ location: 's3://bucket', bucket: 'bucket', prefix: '' }).list('').catch(e => console.log(e.code, e.message))`,
      ],
      {
        env: {
          ...environment,
          HOME: '/nonexistent',
          AWS_EC2_METADATA_DISABLED: 'true',
          PATH: process.env['PATH'] ?? '',
        },
      },
    )
    expect(run.stdout.toString()).toContain('access_denied s3://bucket: there are no credentials for http://')
    expect(run.stdout.toString()).toContain('--profile')
  })
})

test('credentials that have expired are looked for anew, once', async () => {
  await using server = await startS3Server('bucket')
  const store = storeOf(server)
  await store.write('x', bytes('text'))
  faultFirst(server, 'GetObject', { status: 400, code: 'ExpiredToken' })
  expect(text(await store.read('x'))).toBe('text')
  server.fault = () => ({ status: 400, code: 'ExpiredToken' })
  server.requests.length = 0
  expect(await failure(() => store.read('x'))).toMatchObject({ code: 'access_denied' })
  expect(server.requests.length).toBe(2)
})
