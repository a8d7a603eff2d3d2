import { afterAll, beforeAll, expect, test } from 'bun:test'
import { probe } from '../../src/storage/s3/probe.ts'
import { type S3Store, s3Store } from '../../src/storage/s3/store.ts'
import { startMinio } from '../helpers/minio.ts'
import type { StoreServer } from '../helpers/store-server.ts'
import { bytes, failure, storeContract } from '../storage/contract.ts'

const PART_BYTES = 5 << 20

let minio: StoreServer

beforeAll(async () => {
  minio = await startMinio()
}, 600_000)
afterAll(() => minio[Symbol.asyncDispose]())

let count = 0

function storeOf(prefix = `prefix/${count++}`): S3Store {
  const { environment } = minio
  const location = `s3://posixlake-test/${prefix}`
  return s3Store({ location, bucket: 'posixlake-test', prefix, environment, partBytes: PART_BYTES })
}

storeContract('on MinIO', async () => ({ store: storeOf(), [Symbol.asyncDispose]: async () => undefined }))

test('a store on MinIO has one winner in every race', async () => {
  const store = storeOf()
  expect(await probe(store)).toEqual({ isSafe: true })
  expect(await store.list('')).toEqual([])
})

test('a store on MinIO keeps an object of many parts, and nothing of one that was given up', async () => {
  const store = storeOf()
  const whole = new Uint8Array(3 * PART_BYTES + 12_345).map((_, i) => (i * 31 + (i >> 12)) & 255)
  const [kept, dropped] = [await store.create('kept'), await store.create('dropped')]
  for (let at = 0; at < whole.length; at += 1 << 20) {
    await kept.write(whole.subarray(at, at + (1 << 20)))
    await dropped.write(whole.subarray(at, at + (1 << 20)))
  }
  await kept.close()
  await dropped.abort()
  expect(Buffer.compare(await store.read('kept'), whole)).toBe(0)
  const [from, to] = [PART_BYTES - 3, PART_BYTES + 3]
  expect(Buffer.compare(await store.read('kept', from, to), whole.subarray(from, to))).toBe(0)
  expect((await store.list('')).map(({ path }) => path)).toEqual(['kept'])
})

test('a store on MinIO lists more objects than one page holds', async () => {
  const store = storeOf()
  const names = Array.from({ length: 1203 }, (_, i) => `log/${String(i).padStart(20, '0')}.json`)
  const left = [...names]
  const putSome = async (): Promise<void> => {
    for (let name = left.pop(); name !== undefined; name = left.pop()) await store.write(name, bytes('x'))
  }
  await Promise.all(Array.from({ length: 16 }, putSome))
  expect((await store.list('log')).map(({ path }) => path)).toEqual(names)
  expect((await store.list('log', names[1100])).map(({ path }) => path)).toEqual(names.slice(1101))
  await store.deleteMany(names)
  expect(await store.list('')).toEqual([])
})

test('a part of an object on MinIO that was replaced meanwhile is an error', async () => {
  const [reader, writer] = [storeOf('pinned'), storeOf('pinned')]
  await writer.write('x', bytes('aaaa'))
  await reader.read('x', 0, 2)
  await writer.write('x', bytes('bbbb'))
  expect(await failure(() => reader.read('x', 2, 4))).toMatchObject({ code: 'changed' })
})

test('a store that went away and came back is used again', async () => {
  const store = storeOf()
  await store.write('x', bytes('text'))
  await minio.stop()
  expect(await failure(() => storeOf().read('x'))).toMatchObject({ code: 'unavailable' })
  const reading = store.read('x')
  await minio.start()
  expect(Buffer.from(await reading).toString()).toBe('text')
})
