import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { accessOf } from '../../src/storage/s3/access.ts'

interface Service {
  readonly image: string
  readonly command: string | readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly entrypoint?: readonly string[]
}

const ROOT = join(import.meta.dir, '../..')
const text = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8')
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
const compose = Bun.YAML.parse(text) as {
  readonly services: { readonly minio: Service; readonly bucket: Service }
  readonly volumes: object
}
const { minio, bucket } = compose.services

/** What `export NAME=VALUE ...` sets. */
function exported(from: string): Record<string, string> {
  const line = /export (MINIO_ENDPOINT=.*)/.exec(from)?.[1] ?? ''
  return Object.fromEntries(line.split(' ').map(pair => pair.split('=') as [string, string]))
}

test('docker-compose.yml starts a store with the address and the keys that README.md and its own head tell', () => {
  expect(exported(text)).toEqual(exported(readme))
  const access = accessOf(exported(readme))
  const { MINIO_ROOT_USER, MINIO_ROOT_PASSWORD } = minio.environment!
  expect(access.keys).toMatchObject({ accessKeyId: MINIO_ROOT_USER!, secretAccessKey: MINIO_ROOT_PASSWORD! })
  // MinIO refuses shorter ones.
  expect(MINIO_ROOT_USER!.length).toBeGreaterThanOrEqual(3)
  expect(MINIO_ROOT_PASSWORD!.length).toBeGreaterThanOrEqual(8)
  // MinIO listens at 9000 unless it is told otherwise; nobody else's machine is to reach it with keys that everybody knows.
  expect(minio.command).toBe("server /data --console-address ':9001'")
  expect(minio.ports).toEqual(['127.0.0.1:9000:9000', '127.0.0.1:9001:9001'])
  expect(access.endpoint?.url).toBe('http://127.0.0.1:9000')
  expect(text).toContain('API http://127.0.0.1:9000, console http://127.0.0.1:9001, bucket posixlake-test')
  expect(minio.volumes).toEqual(['minio:/data'])
  expect(Object.keys(compose.volumes)).toEqual(['minio'])
})

test('docker-compose.yml makes the bucket of the examples as soon as the store is ready', () => {
  const { MINIO_ROOT_USER, MINIO_ROOT_PASSWORD } = minio.environment!
  expect(minio.healthcheck?.test).toEqual(['CMD', 'mc', 'ready', 'local'])
  expect(bucket.depends_on).toEqual({ minio: { condition: 'service_healthy' } })
  expect(bucket.entrypoint).toEqual(['/bin/sh', '-ec'])
  const [script = ''] = bucket.command as string[]
  expect(script.trim().split('\n')).toEqual([
    `mc alias set store http://minio:9000 ${MINIO_ROOT_USER} ${MINIO_ROOT_PASSWORD}`,
    'mc mb --ignore-existing store/posixlake-test',
  ])
  const named = new Set(
    [...`${readme}${text}`.matchAll(/posixlake (?:s3-test|create|mount) s3:\/\/([^/\s]+)/g)].map(([, name]) => name),
  )
  expect([...named]).toEqual(['posixlake-test'])
})

test('docker-compose.yml names one image, by the day of its release', () => {
  expect(minio.image).toMatch(/^\$\{MINIO_IMAGE:-minio\/minio:RELEASE\.\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\}$/)
  expect(bucket.image).toBe(minio.image)
})
