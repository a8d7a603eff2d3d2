import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startMinio } from '../helpers/minio.ts'
import type { StoreServer } from '../helpers/store-server.ts'
import { History } from './history.ts'
import { locally, onS3 } from './history-place.ts'

/** `SEEDS=1-300` runs others, and as many as one wants; `TABLES_ON=local` or `s3` those of one kind. */
const [from = 1, to = from] = (process.env['SEEDS'] ?? '1-2').split('-').map(Number)
const PLACES = (process.env['TABLES_ON'] ?? 's3,local').split(',')
const LIMIT_MS = 240_000

let minio: StoreServer | undefined
let folder = ''

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'posixlake-histories-'))
  if (PLACES.includes('s3')) minio = await startMinio()
}, 600_000)
afterAll(async () => {
  await minio?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

describe('servers that are killed and SQL statements that write to one table keep each row that they said is saved, once:', () => {
  for (const place of PLACES) {
    for (let seed = from; seed <= to; seed++) {
      test(
        place === 's3' ? `history ${seed}, on S3 through a bad network` : `history ${seed}, in a folder`,
        async () => {
          const report = await History.run(place === 's3' ? onS3(minio!) : locally, folder, seed)
          console.log(JSON.stringify(report))
          expect(report.wrong).toEqual([])
          expect(report.acknowledged).toBeGreaterThan(0)
        },
        LIMIT_MS,
      )
    }
  }
})
