import { describe, expect, test } from 'bun:test'
import { s3Store } from '../../src/storage/s3/store.ts'
import { TableError } from '../../src/table/errors.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable } from '../../src/table/table.ts'
import { type S3Fault, type S3Server, startS3Server } from '../helpers/s3-server.ts'
import { seeded } from '../nfs/random.ts'
import { append, readIds, SCHEMA } from './fixture.ts'

/** Ways in which a store, or the network before it, fails; most come through, so that writers get on. */
const FAULTS: readonly S3Fault[] = [
  { status: 503, code: 'SlowDown' },
  { status: 500, code: 'InternalError' },
  { status: 409, code: 'ConditionalRequestConflict' },
  { cut: 'before' },
  { cut: 'after' },
  { cut: 'half' },
  { corrupt: true },
]
const SEEDS = Number(process.env['S3_FAULT_SEEDS'] ?? 5)
const WRITERS = 3
const APPENDS = 8

/** A store whose attempts are few, so that writers see failures, and do not wait between them. */
function storeOf({ endpoint }: S3Server): ReturnType<typeof s3Store> {
  return s3Store({
    location: 's3://bucket/t',
    bucket: 'bucket',
    prefix: 't',
    environment: { AWS_ACCESS_KEY_ID: 'k', AWS_SECRET_ACCESS_KEY: 's', AWS_ENDPOINT_URL: endpoint },
    policy: { attemptsMax: 3, totalMsMax: 10_000, firstDelayMs: 0, delayMsMax: 0 },
  })
}

describe('writers on a store that fails at any point', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    test(`lose no acknowledged row, and have none twice (seed ${seed})`, async () => {
      await using server = await startS3Server('bucket')
      await createTable(storeOf(server), { schema: SCHEMA })
      const { next: random } = seeded(seed)
      const share = 0.1 + 0.5 * random()
      server.fault = () => (random() < share ? FAULTS[Math.floor(random() * FAULTS.length)] : undefined)
      const acknowledged = new Set<number>()
      const refused = new Set<number>()
      let id = 0
      const write = async (): Promise<void> => {
        for (let i = 0; i < APPENDS; i++) {
          const own = id++
          try {
            await append(await openTable(storeOf(server)), own, own + 1)
            acknowledged.add(own)
          } catch (error) {
            // Nobody knows what became of it; anything else says that nothing did.
            if (!(error instanceof TableError && error.code === 'undecided')) refused.add(own)
          }
        }
      }
      await Promise.all(Array.from({ length: WRITERS }, write))
      server.fault = undefined
      const ids = await readIds(await openTable(storeOf(server)))
      expect(ids.length).toBe(new Set(ids).size)
      const there = new Set(ids)
      expect(acknowledged.size).toBeGreaterThan(0)
      expect([...acknowledged].filter(own => !there.has(own))).toEqual([])
      expect([...refused].filter(own => there.has(own))).toEqual([])
    }, 60_000)
  }
})
