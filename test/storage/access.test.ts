import { describe, expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { accessOf, isAws, sourceOf } from '../../src/storage/s3/access.ts'
import { connect } from '../../src/storage/s3/client.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const AWS = { AWS_ACCESS_KEY_ID: 'aws', AWS_SECRET_ACCESS_KEY: 'aws-secret' }
const MINIO = { MINIO_ACCESS_KEY: 'minio', MINIO_SECRET_KEY: 'minio-secret' }

describe('the access to a store', () => {
  test('is left to the chain of the SDK where the environment says nothing', () => {
    expect(accessOf({ AWS_REGION: ' ', MINIO_ENDPOINT: '' })).toEqual({
      endpoint: undefined,
      region: undefined,
      profile: undefined,
      keys: undefined,
    })
  })

  test('has its endpoint from the nearest variable', () => {
    const all = { AWS_ENDPOINT_URL_S3: 'http://a:1/', AWS_ENDPOINT_URL: 'http://b', MINIO_ENDPOINT: 'c:9000' }
    expect(accessOf(all).endpoint).toEqual({ url: 'http://a:1', source: 'AWS_ENDPOINT_URL_S3' })
    expect(accessOf({ ...all, AWS_ENDPOINT_URL_S3: undefined }).endpoint?.url).toBe('http://b')
    expect(accessOf({ MINIO_ENDPOINT: 'c:9000' }).endpoint?.url).toBe('http://c:9000')
    expect(accessOf({ ...all, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: 'true' }).endpoint?.url).toBe('http://c:9000')
  })

  test('has its region from the environment', () => {
    expect(accessOf({ AWS_DEFAULT_REGION: 'eu-west-1' }).region).toBe('eu-west-1')
    expect(accessOf({ AWS_DEFAULT_REGION: 'eu-west-1', AWS_REGION: 'eu-north-1' }).region).toBe('eu-north-1')
  })

  test("takes MinIO's keys for MinIO's endpoint, and never for AWS", () => {
    expect(accessOf({ ...AWS, ...MINIO, MINIO_ENDPOINT: 'c' }).keys?.accessKeyId).toBe('minio')
    expect(accessOf({ ...AWS, ...MINIO, AWS_ENDPOINT_URL: 'http://c' }).keys?.accessKeyId).toBe('aws')
    expect(accessOf({ ...MINIO, AWS_ENDPOINT_URL: 'http://c' }).keys?.accessKeyId).toBe('minio')
    expect(accessOf(MINIO).keys).toBeUndefined()
    expect(accessOf({ ...MINIO, AWS_ENDPOINT_URL: 'https://s3.eu-west-1.amazonaws.com' }).keys).toBeUndefined()
  })

  test('by a profile is not by keys of the environment, but for those of the flags', () => {
    expect(accessOf({ ...AWS, AWS_PROFILE: 'work' })).toMatchObject({ profile: 'work', keys: undefined })
    const flags = accessOf({ ...AWS, ...MINIO, MINIO_ENDPOINT: 'c', POSIXLAKE_KEYS_FROM_FLAGS: '1' })
    expect(flags.keys).toMatchObject({ accessKeyId: 'aws', source: 'the flags --access-key and --secret-key' })
  })

  test('takes the session token of keys in the environment', () => {
    expect(accessOf({ ...AWS, AWS_SESSION_TOKEN: 'token' }).keys).toMatchObject({ sessionToken: 'token' })
    expect(accessOf({ AWS_ACCESS_KEY_ID: 'alone' }).keys).toBeUndefined()
  })

  test('tells the endpoints of AWS from others', () => {
    for (const url of ['https://s3.amazonaws.com', 'https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com'])
      expect(isAws(url)).toBe(true)
    for (const url of ['http://127.0.0.1:9000', 'https://amazonaws.com.example.org', 'https://notamazonaws.com'])
      expect(isAws(url)).toBe(false)
  })

  test('says where credentials are from', () => {
    expect(sourceOf({ CREDENTIALS_CODE: 'e', CREDENTIALS_PROFILE: 'n' }, 'work')).toBe('the profile work')
    expect(sourceOf({ CREDENTIALS_PROFILE_SSO: 'r' }, undefined)).toBe('the SSO session of the default profile')
    expect(sourceOf({ CREDENTIALS_IMDS: '0' }, undefined)).toContain('IMDS')
    expect(sourceOf(undefined, undefined)).toBe("the SDK's chain of credentials")
  })
})

describe('a profile of the AWS CLI', () => {
  const variables = ['AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE'] as const

  async function withFiles<T>(config: string, credentials: string, run: () => Promise<T>): Promise<T> {
    using folder = temporaryFolder()
    const before = variables.map(name => process.env[name])
    mkdirSync(join(folder.path, 'aws'))
    for (const [i, text] of [config, credentials].entries()) {
      const path = join(folder.path, 'aws', String(i))
      writeFileSync(path, text)
      process.env[variables[i]!] = path
    }
    try {
      return await run()
    } finally {
      for (const [i, name] of variables.entries()) {
        if (before[i] === undefined) delete process.env[name]
        else process.env[name] = before[i]
      }
    }
  }

  test('gives endpoint, region and keys', async () => {
    const config = '[profile work]\nregion = eu-north-1\nendpoint_url = http://store:9000\n'
    await withFiles(config, '[work]\naws_access_key_id = w\naws_secret_access_key = ws\n', async () => {
      const connected = await connect(accessOf({ AWS_PROFILE: 'work' }))
      expect(connected).toMatchObject({ endpoint: 'http://store:9000', region: 'eu-north-1', isAws: false })
      expect(await connected.source()).toBe('the profile work')
      expect(connected.secrets()).toEqual(['ws', '', 'w'])
    })
  })

  test('may have an endpoint for S3 alone', async () => {
    const config = '[default]\nservices = own\n[services own]\ns3 =\n  endpoint_url = http://only-s3:1\n'
    await withFiles(config, '', async () => {
      expect(await connect(accessOf({}))).toMatchObject({ endpoint: 'http://only-s3:1', region: 'us-east-1' })
    })
  })

  test('may get its keys from a program, whose output may change', async () => {
    using folder = temporaryFolder()
    const output = join(folder.path, 'keys')
    const keys = (id: string): string => JSON.stringify({ Version: 1, AccessKeyId: id, SecretAccessKey: 's' })
    writeFileSync(output, keys('first'))
    await withFiles(`[default]\ncredential_process = cat ${output}\n`, '', async () => {
      const first = await connect(accessOf({}))
      expect(await first.source()).toBe('the credential_process of the default profile')
      expect(first.secrets()).toContain('first')
      writeFileSync(output, keys('second'))
      const second = await connect(accessOf({}))
      await second.source()
      expect(second.secrets()).toContain('second')
    })
  })

  test('is not asked about AWS itself where nothing says otherwise', async () => {
    await withFiles('', '', async () => {
      expect(await connect(accessOf({}))).toMatchObject({ endpoint: 'AWS S3 (us-east-1)', isAws: true })
    })
  })
})
