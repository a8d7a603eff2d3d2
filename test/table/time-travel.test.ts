import { describe, expect, test } from 'bun:test'
import { rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { query } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { fileTimes, versionAt } from '../../src/table/commit-times.ts'
import { commitPath } from '../../src/table/log/paths.ts'
import { asMissingFile } from '../../src/table/missing-files.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { append, commitLines, failure, foreignTable, readIds, SCHEMA } from './fixture.ts'

const MINUTE = 60_000
const START = Date.UTC(2026, 0, 1)

/** Versions 0, 1, ... whose files have these times; those from `ownFrom` on carry a time of their own. */
async function withTimes(
  store: ObjectStore,
  setNow: (ms: number) => void,
  times: readonly (number | { readonly file: number; readonly own: number })[],
  configuration: object = {},
): Promise<Table> {
  for (const [i, at] of times.entries()) {
    setNow(typeof at === 'number' ? at : at.file)
    // What a commit says of its time counts only where the table says so.
    const commitInfo = { timestamp: 1, ...(typeof at === 'number' ? {} : { inCommitTimestamp: at.own }) }
    if (i === 0) await foreignTable(store, { metaData: { configuration } })
    else await commitLines(store, BigInt(i), [{ commitInfo }])
  }
  return openTable(store)
}

async function versionsAt(table: Table, times: readonly number[]): Promise<(bigint | string)[]> {
  const found: (bigint | string)[] = []
  for (const at of times)
    found.push(
      await table.atTimestamp(at).then(
        ({ version }) => version,
        error => error.code,
      ),
    )
  return found
}

function clockedStore(): { readonly store: ObjectStore; readonly setNow: (ms: number) => void } {
  let nowMs = 0
  return {
    store: memoryStore('memory:', () => nowMs),
    setNow: ms => {
      nowMs = ms
    },
  }
}

describe('versions by the times of their files', () => {
  test('are found whatever the commits say of their times', async () => {
    const { store, setNow } = clockedStore()
    const table = await withTimes(store, setNow, [START, START + 20 * MINUTE, START + 40 * MINUTE])
    expect(
      await versionsAt(
        table,
        [-1, 0, 1, 19.9, 20, 39, 40, 1e6].map(minutes => START + minutes * MINUTE),
      ),
    ).toEqual(['no_such_version', 0n, 0n, 0n, 1n, 1n, 2n, 2n])
    expect((await table.history()).map(({ timestampMs }) => timestampMs - START)).toEqual(
      [40, 20, 0].map(m => m * MINUTE),
    )
    expect((await failure(() => table.atTimestamp(START - 1))).message).toBe(
      'memory:: no version is as old as 2025-12-31T23:59:59.999Z; the oldest in the log is version 0 of 2026-01-01T00:00:00.000Z',
    )
  })

  test('rise by a millisecond where clocks went back, or a copy gave all files one time', async () => {
    const files = [5, 5, 3, 9, 9, 8].map((modifiedMs, i) => ({ version: BigInt(i), modifiedMs }))
    expect(fileTimes(files)).toEqual([5, 6, 7, 9, 10, 11])
    const { store, setNow } = clockedStore()
    const table = await withTimes(store, setNow, [START + 5, START + 5, START + 3, START + 9])
    expect(
      await versionsAt(
        table,
        [4, 5, 6, 7, 8, 9].map(ms => START + ms),
      ),
    ).toEqual(['no_such_version', 0n, 1n, 2n, 2n, 3n])
    expect((await table.history()).map(({ timestampMs }) => timestampMs - START)).toEqual([9, 7, 6, 5])
  })

  test('are those of a disk, too', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: SCHEMA })
    for (let i = 0; i < 2; i++) await append(table, i, i + 1)
    for (let i = 0; i < 3; i++) {
      const at = (START + i * 20 * MINUTE) / 1000
      utimesSync(join(folder.path, commitPath(BigInt(i))), at, at)
    }
    const reopened = await openTable(localStore(folder.path))
    expect(
      await versionsAt(
        reopened,
        [0, 19, 20, 41].map(minutes => START + minutes * MINUTE),
      ),
    ).toEqual([0n, 0n, 1n, 2n])
    expect(reopened.snapshot.timestampMs).toBe(START + 40 * MINUTE)
  })
})

describe('versions that carry their own times', () => {
  const since = (version: number, timestampMs: number): object => ({
    'delta.enableInCommitTimestamps': 'true',
    'delta.inCommitTimestampEnablementVersion': String(version),
    'delta.inCommitTimestampEnablementTimestamp': String(timestampMs),
  })

  test('are found by them from the first version on, if nothing else is said', async () => {
    const { store, setNow } = clockedStore()
    const own = (ms: number): { file: number; own: number } => ({ file: START + 1e9, own: START + ms })
    const table = await withTimes(store, setNow, [START, own(10), own(20)], {
      'delta.enableInCommitTimestamps': 'true',
    })
    expect(
      await versionsAt(
        table,
        [10, 19, 20].map(ms => START + ms),
      ),
    ).toEqual([1n, 1n, 2n])
    expect((await failure(() => table.atTimestamp(START + 5))).message).toContain(
      'version 0 carries no inCommitTimestamp, though the table says that all do',
    )
  })

  test('are not mixed with those before, which have the times of their files', async () => {
    const { store, setNow } = clockedStore()
    // The files of versions 0 to 2 were written (or copied) at 0, 20 and 90; then commits carry 50 and 60, written at 91 and 92.
    const table = await withTimes(
      store,
      setNow,
      [START, START + 20, START + 90, { file: START + 91, own: START + 50 }, { file: START + 92, own: START + 60 }],
      since(3, START + 50),
    )
    expect(
      await versionsAt(
        table,
        [-1, 0, 20, 49, 50, 59, 60, 90].map(ms => START + ms),
      ),
    ).toEqual(['no_such_version', 0n, 1n, 1n, 3n, 3n, 4n, 4n])
    expect((await table.history()).map(({ timestampMs }) => timestampMs - START)).toEqual([60, 50, 90, 20, 0])
  })

  test('are a long history that is not read as a whole', async () => {
    const { store, setNow } = clockedStore()
    const times = Array.from({ length: 300 }, (_, i) => ({ file: START, own: START + 10 * i }))
    const table = await withTimes(store, setNow, [START, ...times], since(1, START))
    let reads = 0
    const read = table.store.read
    table.store.read = (...range) => {
      reads++
      return read(...range)
    }
    // Opening the version itself reads the log.
    await table.store.read(commitPath(0n))
    expect(await versionAt(table.store, table.snapshot.metadata, START + 1234)).toBe(124n)
    expect(reads).toBeLessThan(12)
  })

  test('are refused where the property is no number', async () => {
    const { store, setNow } = clockedStore()
    const table = await withTimes(store, setNow, [START], {
      ...since(0, START),
      'delta.inCommitTimestampEnablementVersion': 'x',
    })
    expect((await failure(() => table.atTimestamp(START))).message).toBe(
      'the table 5e7a3c1e-0000-4000-8000-000000000000: its property delta.inCommitTimestampEnablementVersion is x, and no number',
    )
  })
})

describe('a version that is gone', () => {
  test('is refused by its number and the log entry that was cleaned up', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const table = await createTable(store, { schema: SCHEMA })
    for (let i = 0; i < 4; i++) await append(table, i, i + 1)
    await table.checkpoint()
    for (let i = 4; i < 6; i++) await append(table, i, i + 1)
    await table.close()
    for (const version of [0n, 1n]) await store.delete(commitPath(version))
    const opened = await openTable(store)
    for (const [version, gone] of [
      [1n, 1n],
      [2n, 0n],
    ] as const) {
      const error = await failure(() => opened.at(version))
      expect(error.code).toBe('no_such_version')
      expect(error.message).toBe(
        `${folder.path}: version ${version} cannot be read any more: the log no longer reaches back that far, for ${commitPath(gone)} has been cleaned up; the oldest version that can be read is 4`,
      )
    }
    expect(await readIds(opened, await opened.at(5n))).toEqual([0, 1, 2, 3, 4])
  })

  test('is refused by its number and the file that was vacuumed, by SQL too', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const table = await createTable(store, { schema: SCHEMA })
    for (let i = 0; i < 2; i++) await append(table, i, i + 1)
    const old = await table.at(1n)
    const { path } = old.files[0]!
    rmSync(join(folder.path, path))
    const sentence = `${folder.path}: version 1 cannot be read: its file ${path} is gone; VACUUM, or whoever removed it, has ended this version`
    const said = await query(table, old, 'SELECT * FROM data')
      .then(({ batches }) => Array.fromAsync(batches()))
      .then(
        () => '',
        error => error.message,
      )
    expect(said).toBe(sentence)
    const cause = await readIds(table, old).catch(error => error)
    expect(await asMissingFile(store, old, cause)).toMatchObject({ code: 'missing_file', message: sentence })
    // What is wrong with something else stays what it is.
    const other = new Error('other')
    expect(await asMissingFile(store, await table.at(0n), other)).toBe(other)
  })
})
