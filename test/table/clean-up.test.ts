import { describe, expect, test } from 'bun:test'
import type { Clock } from '../../src/core/clock.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { cleanUpLog } from '../../src/table/log/clean-up.ts'
import { checkpointPath, commitPath } from '../../src/table/log/paths.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { append, failure, readIds, SCHEMA } from './fixture.ts'

const DAY = 86_400_000
const START = Date.UTC(2026, 0, 1, 12)

interface Aged {
  readonly table: Table
  readonly store: ObjectStore
  readonly clock: Clock & { atMs: number }
}

/** A table with a commit each day, whose versions are the days; checkpoints are written on those that are given. */
async function aged(days: number, checkpoints: readonly number[], configuration = {}): Promise<Aged> {
  const clock = { atMs: START, nowMs: () => clock.atMs }
  const store = memoryStore('memory:', clock.nowMs)
  const table = await createTable(store, {
    schema: SCHEMA,
    clock,
    configuration: { 'delta.checkpointInterval': '1000000', ...configuration },
  })
  for (let day = 1; day <= days; day++) {
    clock.atMs = START + day * DAY
    await append(table, day, day + 1)
    if (checkpoints.includes(day)) await table.checkpoint()
  }
  return { table, store, clock }
}

const logOf = async (store: ObjectStore): Promise<string[]> =>
  (await store.list('_delta_log')).map(({ path }) => path).filter(path => !path.endsWith('_last_checkpoint'))

describe('the log', () => {
  test('loses what is older than its retention, and what stands behind the newest old checkpoint stays', async () => {
    const { table, store } = await aged(45, [3, 8, 12, 20, 45])
    // On day 45 all before day 15 is over: the checkpoint of day 12 stays.
    const kept = Array.from({ length: 34 }, (_, i) => commitPath(BigInt(12 + i)))
    expect(await logOf(store)).toEqual([...kept, ...[12n, 20n, 45n].map(checkpointPath)].sort())
    expect(await readIds(table)).toHaveLength(45)
    const again = await openTable(store)
    expect(await readIds(again)).toEqual(await readIds(table))
    expect(await readIds(again, await again.at(13n))).toHaveLength(13)
    expect((await failure(() => again.at(11n))).code).toBe('no_such_version')
  })

  test('loses nothing before a checkpoint that is old itself is whole', async () => {
    const { store } = await aged(45, [30])
    expect(await logOf(store)).toHaveLength(46 + 1)
    // Part of a checkpoint is none.
    await store.write('_delta_log/00000000000000000010.checkpoint.0000000001.0000000002.parquet', Uint8Array.of(1))
    expect(await cleanUpLog(store, START + 80 * DAY, 60 * DAY)).toEqual([])
    // Nor is one that is cut off.
    await store.write(checkpointPath(11n), Uint8Array.of(1, 2, 3))
    expect(await cleanUpLog(store, START + 80 * DAY, 60 * DAY)).toEqual([])
  })

  test('is left alone where the table wants that, and kept for as long as it says', async () => {
    const off = await aged(45, [3, 45], { 'delta.enableExpiredLogCleanup': 'false' })
    expect(await logOf(off.store)).toHaveLength(46 + 2)
    const short = await aged(10, [2, 6, 10], { 'delta.logRetentionDuration': 'interval 3 days' })
    expect((await logOf(short.store))[0]).toBe(checkpointPath(6n))
  })

  test('is looked through once an hour, and a failure fails no checkpoint', async () => {
    const { store, clock } = await aged(3, [])
    let listed = 0
    const counting: ObjectStore = {
      ...store,
      list: prefix => {
        listed++
        return listed > 2 ? Promise.reject(new Error('no list')) : store.list(prefix)
      },
    }
    const table = await openTable(counting, { clock })
    const before = listed
    for (let i = 0; i < 3; i++) await table.checkpoint()
    expect(listed - before).toBe(1)
    clock.atMs += 3_600_000
    await table.checkpoint()
    expect(listed - before).toBe(2)
    expect((await store.list('_delta_log')).map(({ path }) => path)).toContain(checkpointPath(3n))
  })
})
