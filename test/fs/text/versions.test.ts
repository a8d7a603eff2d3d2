import { afterAll, describe, expect, spyOn, test } from 'bun:test'
import type { ByteCache, CachedBytes } from '../../../src/cache/byte-cache.ts'
import { parseDdl } from '../../../src/columns/schema.ts'
import { textFormat } from '../../../src/columns/text/formats/index.ts'
import { batchOf } from '../../../src/columns/vectors.ts'
import { Ordered } from '../../../src/core/ordered.ts'
import { openText, type Section, type TableText } from '../../../src/fs/text/layout.ts'
import { Segments } from '../../../src/fs/text/segments.ts'
import type { ObjectStore } from '../../../src/storage/object-store.ts'
import type { DeletionVectorDescriptor } from '../../../src/table/log/actions/index.ts'
import { commitPath } from '../../../src/table/log/paths.ts'
import { createTable } from '../../../src/table/operations/create.ts'
import { optimize } from '../../../src/table/operations/optimize.ts'
import { zOrder } from '../../../src/table/operations/z-order.ts'
import { type NewFile, openTable, type Table } from '../../../src/table/table.ts'
import { writeVectors } from '../../../src/table/vectors/store.ts'
import { WorkerPool } from '../../../src/table/workers/pool.ts'
import { commit, writeDataFiles } from '../../helpers/changes.ts'
import { memoryStore } from '../../helpers/memory-store.ts'

const schema = parseDdl('id:Int64,text:String')
const types = schema.map(field => field.type)
const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

function mapCache(): ByteCache {
  const map = new Map<string, CachedBytes>()
  return {
    get: async key => map.get(key),
    put: async (key, value) => void map.set(key, value),
    stats: () => ({ entries: map.size, sizeBytes: 0, capacityBytes: 0, hits: 0, misses: 0 }),
    close: async () => undefined,
  }
}

type Random = (n: number) => number

function generator(seed: number): Random {
  let state = seed
  return n => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
}

/** Data files whose order hints name any of the others, those before and those behind them. */
async function dataFiles(table: Table, random: Random): Promise<NewFile[]> {
  const files: NewFile[] = []
  for (let i = 0; i < 12; i++) {
    const rows = 1 + random(6)
    const batch = batchOf(
      types,
      Array.from({ length: rows }, (_, row) => [BigInt(100 * i + row), 'x'.repeat(random(4))]),
    )
    const refs = [...new Set(Array.from({ length: random(4) }, () => `f${random(12)}`))].filter(ref => ref !== `f${i}`)
    const runs = Array.from({ length: 1 + random(4) }, () => ({
      count: 1 + random(2),
      ref: random(refs.length + 1) - 1,
      row: random(6),
    }))
    const order = i < 3 || random(4) === 0 ? {} : { order: { refs, runs } }
    const [file] = await writeDataFiles(table, [batch], order)
    await table.store.write(`f${i}`, await table.store.read(file!.path))
    files.push({ ...file!, path: `f${i}` })
  }
  return files
}

interface Live {
  readonly vector: DeletionVectorDescriptor | undefined
  readonly time: number
}

/** Files come, go, come back, move, and lose or get back rows, as other engines and RESTORE might have it. */
async function randomCommit(
  store: ObjectStore,
  version: bigint,
  files: readonly NewFile[],
  live: Map<string, Live>,
  random: Random,
): Promise<void> {
  const actions: object[] = []
  for (const { path, sizeBytes, rows, stats, tags } of files) {
    if (random(5) > 0) continue
    const known = live.get(path)
    if (known !== undefined) {
      const { vector } = known
      actions.push({ remove: { path, dataChange: true, ...(vector ? { deletionVector: vector } : {}) } })
      live.delete(path)
    }
    if (known !== undefined && random(4) === 0) continue
    const deleted = Uint32Array.from({ length: rows }, (_, row) => row).filter(() => random(3) === 0)
    const [vector] = deleted.length === 0 || random(3) === 0 ? [] : await writeVectors(store, [deleted])
    const time = known !== undefined && random(8) > 0 ? known.time : Number(path.slice(1)) + random(3)
    live.set(path, { vector, time })
    actions.push({
      add: {
        path,
        partitionValues: {},
        size: sizeBytes,
        modificationTime: time,
        dataChange: true,
        stats,
        tags: Object.fromEntries(tags ?? []),
        ...(vector ? { deletionVector: vector } : {}),
      },
    })
  }
  const lines = [{ commitInfo: {} }, ...actions].map(action => JSON.stringify(action)).join('\n')
  await store.write(commitPath(version), new TextEncoder().encode(lines))
}

function named({ start, end, file, files }: Section): unknown[] {
  return [start, end, file.key, [...files].map(({ key }) => key).sort()]
}

/** All that can be asked of a text, with some ranges. */
async function essence(text: TableText, random: Random): Promise<object> {
  const all = new TextDecoder().decode(await text.read(0, text.size))
  const ends = [...all].flatMap((char, at) => (char === '\n' ? [at + 1] : []))
  const from = random(ends.length)
  const to = from + random(ends.length - from)
  const rows = await text.rowsAt([{ start: ends[from]!, end: ends[to]! }])
  const sections = await text.sectionsOf([{ start: 0, end: text.size }])
  const filled = sections.filter(({ start, end }) => end > start)
  expect(filled.map(({ start }) => start)).toEqual(
    [text.headerBytes.length, ...filled.map(({ end }) => end)].slice(0, -1),
  )
  const some = await text.sectionsOf([{ start: ends[from]!, end: ends[to]! }])
  return {
    size: text.size,
    all,
    part: new TextDecoder().decode(await text.read(ends[from]! - 1, ends[to]!)),
    rows: rows.map(({ file, rows }) => [file.key, ...rows]),
    starts: await Promise.all(ends.slice(from + 1, to + 1).map(end => text.rowStart(end - 1))),
    anchors: await text.anchorsAt(ends.slice(from, to)),
    sections: sections.map(named),
    some: some.map(named),
  }
}

describe('the text of a version', () => {
  test('made from that of another version is the one made from nothing', async () => {
    const seeds = Number(process.env['SEEDS'] ?? 6)
    for (let seed = 1; seed <= seeds; seed++) {
      const random = generator(seed)
      const store = memoryStore()
      const table = await createTable(store, { schema })
      const files = await dataFiles(table, random)
      const segments = new Segments({ cache: mapCache(), pool, store })
      const live = new Map<string, Live>()
      const texts: TableText[] = [await openText(table, table.snapshot, segments, textFormat('csv'))]
      for (let version = 1n; version <= 25n; version++) {
        await randomCommit(store, version, files, live, random)
        const snapshot = random(3) === 0 ? (await openTable(store)).snapshot : await table.refresh()
        await table.refresh()
        const previous = random(4) === 0 ? texts[random(texts.length)]! : texts.at(-1)!
        const text = await openText(table, snapshot, segments, textFormat('csv'), previous)
        texts.push(text)
        if (random(3) === 0) continue // Nobody reads this version, or not yet.
        for (const read of random(4) === 0 ? [texts[random(texts.length)]!, text] : [text]) {
          const fresh = new Segments({ cache: mapCache(), pool, store })
          const scratch = await openText(table, read.snapshot, fresh, textFormat('csv'))
          const pick = random(1000)
          const said = `seed ${seed}, version ${read.snapshot.version} at ${version}`
          expect([said, await essence(read, generator(pick))]).toEqual([said, await essence(scratch, generator(pick))])
        }
      }
    }
  })

  test('is the same when its files have been put together, wherever their rows stood', async () => {
    const seeds = Number(process.env['SEEDS'] ?? 60)
    for (let seed = 1; seed <= seeds; seed++) {
      const random = generator(seed)
      const store = memoryStore()
      const table = await createTable(store, { schema })
      const files = await dataFiles(table, random)
      const live = new Map<string, Live>()
      for (let version = 1n; version <= 6n; version++) await randomCommit(store, version, files, live, random)
      await table.refresh()
      const shown = async (): Promise<string> => {
        const segments = new Segments({ cache: mapCache(), pool, store })
        const text = await openText(table, table.snapshot, segments, textFormat('csv'))
        return new TextDecoder().decode(await text.read(0, text.size))
      }
      const before = await shown()
      const sizes = table.snapshot.files.map(({ sizeBytes }) => sizeBytes)
      const targetBytes = random(2) === 0 ? undefined : 3 * Math.max(...sizes)
      await optimize(table, { targetBytes })
      expect([seed, await shown()]).toEqual([seed, before])
      if (targetBytes === undefined) expect(table.snapshot.files.length).toBeLessThanOrEqual(1)
      expect(
        table.snapshot.files.every(({ vector, orderRefs }) => vector === undefined && orderRefs.length === 0),
      ).toBe(true)
      expect(await optimize(table, { targetBytes })).toMatchObject({ commits: 0 })
    }
  })

  test('has the same lines when rows have been put in Z order, wherever they stood', async () => {
    for (let seed = 1; seed <= Number(process.env['SEEDS'] ?? 20); seed++) {
      const random = generator(seed)
      const store = memoryStore()
      const table = await createTable(store, { schema })
      const files = await dataFiles(table, random)
      const live = new Map<string, Live>()
      const shown = async (): Promise<string[]> => {
        const segments = new Segments({ cache: mapCache(), pool, store })
        const text = await openText(table, table.snapshot, segments, textFormat('csv'))
        return new TextDecoder()
          .decode(await text.read(0, text.size))
          .split('\n')
          .sort()
      }
      for (let version = 1n; version <= 6n; version++) await randomCommit(store, version, files, live, random)
      await table.refresh()
      const before = await shown()
      await zOrder(table, { columns: [schema[0]!.name], spill: memoryStore(), memoryBytes: 1 })
      expect([seed, await shown()]).toEqual([seed, before])
      expect(table.snapshot.files.length).toBeLessThanOrEqual(1)
      expect(table.snapshot.files.every(({ orderRefs }) => orderRefs.length === 0)).toBe(true)
    }
  })

  test('of which a place goes with the last rows that hung on it asks nothing of the other files', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema })
    const segments = new Segments({ cache: mapCache(), pool, store })
    const hang = async (id: number, on: string): Promise<string> => {
      const order = { refs: [on], runs: [{ count: 1, ref: 0, row: 0 }] }
      const add = await writeDataFiles(table, [batchOf(types, [[BigInt(id), 'hung']])], { order })
      await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
      return table.snapshot.files.at(-1)!.path
    }
    const remove = async (path: string): Promise<void> => {
      const deletion = { file: table.snapshot.live.get(path)!, rows: Uint32Array.of(0) }
      await commit(table, { base: table.snapshot, operation: 'DELETE', add: [], delete: [deletion] })
    }
    const add = await writeDataFiles(table, [batchOf(types, [[0n, 'first']])])
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    const first = add[0]!.path
    for (let id = 1; id <= 20; id++) await hang(id, first)
    const place = await hang(21, first)
    const last = await hang(22, place)
    await remove(place)
    const read = async (previous?: TableText): Promise<[TableText, string]> => {
      const text = await openText(table, table.snapshot, segments, textFormat('csv'), previous)
      return [text, new TextDecoder().decode(await text.read(0, text.size))]
    }
    const [before, withLast] = await read()
    expect(withLast).toContain('22,hung')
    const asked = spyOn(segments, 'orderHint')
    await remove(last)
    expect(table.snapshot.live.get(place)).toBeUndefined()
    const [, without] = await read(before)
    expect(without).toBe(withLast.replace('22,hung\n', ''))
    expect(asked).toHaveBeenCalledTimes(0)
  })

  test('of many small files is read without a turn for each of them, once they are at hand', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema })
    const FILES = 1000
    const add: NewFile[] = []
    const [file] = await writeDataFiles(table, [batchOf(types, [[1n, 'row']])])
    for (let i = 0; i < FILES; i++) {
      const path = `copy${i}.parquet`
      await store.write(path, await store.read(file!.path))
      add.push({ ...file!, path })
    }
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    const segments = new Segments({ cache: mapCache(), pool, store })
    const text = await openText(table, table.snapshot, segments, textFormat('csv'))
    const expected = `id,text\n${'1,row\n'.repeat(FILES)}`
    expect(new TextDecoder().decode(await text.read(0, text.size))).toBe(expected)
    const pieces = spyOn(segments, 'piece')
    let turns = 0
    let isOver = false
    const counting = (async () => {
      for (; !isOver; turns++) await undefined
    })()
    const bytes = await text.read(0, text.size)
    isOver = true
    await counting
    expect(new TextDecoder().decode(bytes)).toBe(expected)
    expect(pieces).toHaveBeenCalledTimes(0)
    expect(turns).toBeLessThan(FILES / 5)
    // What a row's file shares its place with is found without a look at the others.
    const { from } = Ordered.prototype
    let looks = 0
    const counted = spyOn(Ordered.prototype, 'from').mockImplementation(function* (this: Ordered<unknown>, position) {
      for (const item of from.call(this, position)) {
        looks++
        yield item
      }
    })
    try {
      const row = { start: 8 + 6 * 500, end: 8 + 6 * 501 }
      expect(await text.sectionsOf([row])).toMatchObject([row])
    } finally {
      counted.mockRestore()
    }
    expect(looks).toBeLessThan(10)
  })
})
