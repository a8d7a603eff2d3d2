import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { probe } from '../../src/storage/s3/probe.ts'
import { type S3Store, s3Store } from '../../src/storage/s3/store.ts'
import type { StoreServer } from '../helpers/store-server.ts'
import { startVersitygw } from '../helpers/versitygw.ts'
import { storeContract } from '../storage/contract.ts'
import { History } from './history.ts'
import { onS3 } from './history-place.ts'

// Building this store takes minutes, so that no run of all tests does: bun test ./test/s3/versitygw.hand.ts
let server: StoreServer
let folder = ''

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'posixlake-versitygw-'))
  server = await startVersitygw()
}, 600_000)
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

let count = 0

function storeOf(): S3Store {
  const prefix = `prefix/${count++}`
  const { environment } = server
  return s3Store({ location: `s3://posixlake-test/${prefix}`, bucket: 'posixlake-test', prefix, environment })
}

storeContract('on versitygw', async () => ({ store: storeOf(), [Symbol.asyncDispose]: async () => undefined }))

test('a store on versitygw has one winner in every race', async () => {
  expect(await probe(storeOf())).toEqual({ isSafe: true })
})

test('servers that are killed and SQL statements, through a bad network to a table on versitygw, keep each row that they said is saved, once', async () => {
  const report = await History.run(onS3(server), folder, 1, { savesOfServer: 6, statementsOfWriter: 2 })
  console.log(JSON.stringify(report))
  expect(report.wrong).toEqual([])
  expect(report.acknowledged).toBeGreaterThan(0)
}, 240_000)
