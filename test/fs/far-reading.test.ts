import { afterAll, describe, expect, test } from 'bun:test'
import { MemoryCache } from '../../src/cache/memory.ts'
import { readFooter } from '../../src/columns/parquet/read.ts'
import { storeSource } from '../../src/columns/parquet/source.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { csv } from '../../src/columns/text/formats/index.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { openText, type TableText } from '../../src/fs/text/layout.ts'
import { Segments } from '../../src/fs/text/segments.ts'
import { cachedStore } from '../../src/storage/cached.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable } from '../../src/table/table.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { type CountingStore, countingStore } from '../helpers/counting.ts'
import { memoryStore } from '../helpers/memory-store.ts'

const SCHEMA = parseDdl('id:Int64,note:String')
const ROWS = 600_000
const noteOf = (id: number): string => `note ${(id * 7919) % 100_003}`

/** A store with a table of one file of several row groups, made once. */
const made = (async () => {
  const inside = memoryStore()
  const table = await createTable(inside, { schema: SCHEMA })
  const rows = Array.from({ length: ROWS }, (_, id) => [BigInt(id), noteOf(id)])
  const types = SCHEMA.map(({ type }) => type)
  const add = await writeDataFiles(table, [batchOf(types, rows)])
  await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
  return { inside, file: (await table.refresh()).files[0]! }
})()

const pool = new WorkerPool({ threads: 2 })
afterAll(() => pool.close())

interface Far {
  readonly behind: CountingStore
  readonly text: TableText
  /** The most reads that were under way at once. */
  most(): number
}

/** The table as it is read of a store on another machine, with a cache that is empty. */
async function far(): Promise<Far> {
  const { inside } = await made
  const behind = countingStore(inside)
  let running = 0
  let most = 0
  const slow: ObjectStore = {
    ...behind,
    read: async (...range) => {
      most = Math.max(most, ++running)
      // A store that is elsewhere answers later, so that reads can be under way together.
      await new Promise(resolve => setTimeout(resolve, 5))
      return behind.read(...range).finally(() => running--)
    },
  }
  const cache = new MemoryCache(256 << 20)
  const table = await openTable(cachedStore(slow, cache), { freshMs: 1000 })
  const segments = new Segments({ cache, pool, store: table.store })
  const text = await openText(table, await table.recent(), segments, csv)
  return { behind, text, most: () => most }
}

function bytesIn(calls: readonly string[]): number {
  const ranges = calls.map(call => call.split(' ').at(-1)!.split('-').map(Number))
  return ranges.reduce((sum, [start = 0, end = 0]) => sum + end - start, 0)
}

describe('a table that is elsewhere', () => {
  test('is opened by a listing and its commits, with nothing asked for twice', async () => {
    const { behind } = await far()
    expect(behind.calls).toEqual([
      'read _delta_log/_last_checkpoint',
      'list _delta_log',
      'read _delta_log/00000000000000000000.json',
      'read _delta_log/00000000000000000001.json',
    ])
  })

  test('with a checkpoint, is opened by a listing from there on, and the next version is asked for by name', async () => {
    const inside = memoryStore()
    const writer = await createTable(inside, { schema: SCHEMA })
    const types = SCHEMA.map(({ type }) => type)
    const append = async (id: bigint): Promise<void> => {
      const add = await writeDataFiles(writer, [batchOf(types, [[id, 'x']])])
      await commit(writer, { base: writer.snapshot, operation: 'WRITE', add, delete: [] })
    }
    for (let id = 0n; id < 12n; id++) await append(id)
    await writer.close()
    const behind = countingStore(inside)
    const table = await openTable(behind, { freshMs: 1000 })
    expect(table.snapshot.version).toBe(12n)
    const name = (version: number): string => `_delta_log/${String(version).padStart(20, '0')}`
    const asked = behind.calls.map(call => call.replace(/ \d+-\d+$/, ''))
    expect(asked.filter(call => call.startsWith('list'))).toEqual([`list _delta_log behind ${name(9)}.json`])
    expect(asked.filter(call => call.endsWith('.json'))).toEqual([
      `list _delta_log behind ${name(9)}.json`,
      `read ${name(11)}.json`,
      `read ${name(12)}.json`,
    ])
    behind.calls.length = 0
    await table.refresh()
    const looks = behind.calls.map(call => call.replace(/ \d+-\d+$/, '')).sort()
    expect(looks).toEqual([`read ${name(13)}.json`, `stat ${name(12)}.json`])
    await append(12n)
    behind.calls.length = 0
    expect((await table.refresh()).version).toBe(13n)
    expect(behind.calls.some(call => call.startsWith('list'))).toBe(false)
  })

  test('gives its first lines for the footer and the first row group, of a file of many', async () => {
    const { file, inside } = await made
    const footer = await readFooter(storeSource(inside, file.path, file.sizeBytes))
    expect(footer.rowGroups.length).toBeGreaterThan(4)
    const { behind, text } = await far()
    behind.calls.length = 0
    const head = new TextDecoder().decode(await text.read(0, 64))
    expect(head).toStartWith(`id,note\n0,${noteOf(0)}\n1,${noteOf(1)}\n`)
    expect(behind.calls.length).toBe(2)
    expect(behind.calls.every(call => call.startsWith(`read ${file.path} `))).toBe(true)
    expect(bytesIn(behind.calls)).toBeLessThan(file.sizeBytes / 4)
  })

  test('is read as a whole by requests side by side, for each byte once, and no more ahead than is kept at hand', async () => {
    const { file } = await made
    const { behind, text, most } = await far()
    behind.calls.length = 0
    const parts: Uint8Array[] = []
    for (let at = 0; at < text.size; at += 1 << 20)
      parts.push((await text.read(at, Math.min(text.size, at + (1 << 20)))).slice())
    const lines = Buffer.concat(parts).toString().split('\n')
    expect(lines.length).toBe(ROWS + 2)
    expect(lines[ROWS]).toBe(`${ROWS - 1},${noteOf(ROWS - 1)}`)
    expect(most()).toBeGreaterThan(2)
    expect(most()).toBeLessThanOrEqual(8)
    // The footer comes in whole blocks, of which the last row group is a part.
    expect(bytesIn(behind.calls)).toBeLessThan(file.sizeBytes + 3 * (256 << 10))
    // All of it again costs nothing.
    behind.calls.length = 0
    await text.read(0, text.size)
    expect(behind.calls).toEqual([])
  })
})
