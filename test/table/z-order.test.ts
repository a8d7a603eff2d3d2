import { describe, expect, test } from 'bun:test'
import { parseDdl } from '../../src/columns/schema.ts'
import type { Cell, DataType } from '../../src/columns/types.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { filesFor } from '../../src/table/file-pruning.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { optimize } from '../../src/table/operations/optimize.ts'
import { zOrder } from '../../src/table/operations/z-order.ts'
import type { Literal } from '../../src/table/row-filter.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { Curve } from '../../src/table/z-order/curve.ts'
import { Sorter } from '../../src/table/z-order/sorter.ts'
import { ALL_TYPES, cellOf, cellsOf, Random, randomBatch, spelled } from '../columns/values.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import {
  actionsAt,
  append,
  changedRows,
  commitLines,
  foreignTable,
  readIds,
  readRows,
  remove,
  SCHEMA,
} from './fixture.ts'

const POINTS = parseDdl('id:Int64,x:Int32,name:String,seen:Timestamp')
const types = POINTS.map(({ type }) => type)
const TARGET = 6_000

/** Rows whose columns have nothing to do with each other, in some files. */
async function scattered(files = 8, fileRows = 1000): Promise<Table> {
  const random = new Random(5)
  const table = await createTable(memoryStore(), { schema: POINTS })
  for (let file = 0; file < files; file++) {
    const rows = Array.from({ length: fileRows }, (_, i): Cell[] => [
      BigInt(file * fileRows + i),
      random.below(1e6),
      random.below(20) === 0 ? null : `customer ${random.below(1e6).toString(36)}`,
      BigInt(random.below(1e9)) * 1000n,
    ])
    const add = await writeDataFiles(table, [batchOf(types, rows)])
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
  }
  return table
}

const sorted = (rows: readonly Cell[][]): string[] => rows.map(row => JSON.stringify(row.map(spelled))).sort()

/** The files that a reader looks at for one value. */
function filesWith(table: Table, column: string, value: Literal): number {
  return filesFor(table.snapshot, { kind: 'compare', column: [column], operator: '=', value }).length
}

const run = (table: Table, columns: string[], options: object = {}) =>
  zOrder(table, { columns, spill: memoryStore(), targetBytes: TARGET, ...options })

describe('rows along a curve', () => {
  test('are in files that statistics leave out, by each of the columns, and are the same rows', async () => {
    const table = await scattered()
    const before = sorted(await readRows(table))
    const lookups = (): number[] => {
      const random = new Random(9)
      const counts = [0, 0, 0]
      for (let i = 0; i < 50; i++) {
        counts[0]! += filesWith(table, 'x', { kind: 'exact', unscaled: BigInt(random.below(1e6)), scale: 0 })
        counts[1]! += filesWith(table, 'name', { kind: 'text', text: `customer ${random.below(1e6).toString(36)}` })
        counts[2]! += filesWith(table, 'seen', { kind: 'timestamp', micros: BigInt(random.below(1e9)) * 1000n })
      }
      return counts.map(count => count / 50)
    }
    expect(Math.min(...lookups())).toBeGreaterThan(7)
    const done = await run(table, ['X', 'name'])
    const { files } = table.snapshot
    expect(done).toEqual({ commits: 1, removedFiles: 8, addedFiles: files.length })
    expect(files.length).toBeGreaterThan(12)
    // Of a square of files, a row or a column.
    const [x, name, seen] = lookups()
    expect(x).toBeLessThan(files.length / 2.5)
    expect(name).toBeLessThan(files.length / 2.5)
    expect(seen).toBeGreaterThan(files.length * 0.9)
    expect(sorted(await readRows(await openTable(table.store)))).toEqual(before)
    const [first, ...actions] = await actionsAt(table.store, table.snapshot.version)
    expect(first!.commitInfo).toMatchObject({
      operation: 'OPTIMIZE',
      operationParameters: { predicate: '[]', zOrderBy: '["x","name"]' },
      operationMetrics: { numRemovedFiles: '8', numAddedFiles: String(files.length) },
    })
    expect(actions.every(({ add, remove: gone }) => (add ?? gone)?.dataChange === false)).toBe(true)
    // Files are about as large as they are to be, and rows that come later stand behind.
    const sizes = files.map(({ sizeBytes }) => sizeBytes)
    expect(Math.max(...sizes)).toBeLessThan(2 * TARGET)
    const add = await writeDataFiles(table, [batchOf(types, [[-1n, 0, null, 0n]])])
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    expect((await readIds(table)).at(-1)).toBe(-1)
  })

  test('are the same wherever they waited, and nothing stays behind', async () => {
    const [one, other] = [await scattered(), await scattered()]
    await remove(one, 3, [1, 5, 999])
    await remove(other, 3, [1, 5, 999])
    const spill = memoryStore()
    await run(one, ['name', 'x', 'seen'])
    await run(other, ['name', 'x', 'seen'], { spill, memoryBytes: 20_000 })
    expect(await readRows(other)).toEqual(await readRows(one))
    expect(await spill.list('')).toEqual([])
    expect(await readIds(one)).not.toContain(3001)
    expect(one.snapshot.files.every(({ vector }) => vector === undefined)).toBe(true)
  })

  test('keep NULL, NaN and every value of every type', async () => {
    for (const { name, type } of ALL_TYPES) {
      if (['boolean', 'binary', 'array', 'map', 'struct'].includes(type.kind)) continue
      const table = await createTable(memoryStore(), { schema: ALL_TYPES })
      for (let i = 0; i < 3; i++) {
        const add = await writeDataFiles(table, [randomBatch(ALL_TYPES, 60, i)])
        await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
      }
      const before = sorted(await readRows(table))
      await run(table, [name], { memoryBytes: 10_000 })
      expect([name, sorted(await readRows(table))]).toEqual([name, before])
    }
  })

  test('are written anew in the partitions that a condition picks, each by itself', async () => {
    const schema = parseDdl('id:Int64,p:String')
    const table = await createTable(memoryStore(), { schema, partitionColumns: ['p'] })
    for (let i = 0; i < 3; i++) {
      const rows = ['a', 'b', null].map((p, n): Cell[] => [BigInt(10 * n - i), p])
      const add = await writeDataFiles(table, [
        batchOf(
          schema.map(({ type }) => type),
          rows,
        ),
      ])
      await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    }
    const before = sorted(await readRows(table))
    expect(await run(table, ['id'], { where: "p = 'a' OR p IS NULL" })).toEqual({
      commits: 1,
      removedFiles: 6,
      addedFiles: 2,
    })
    expect(table.snapshot.files).toHaveLength(5)
    expect(sorted(await readRows(table))).toEqual(before)
    const [first] = await actionsAt(table.store, table.snapshot.version)
    expect(first!.commitInfo?.operationParameters).toMatchObject({
      predicate: `["p = 'a' OR p IS NULL"]`,
      zOrderBy: '["id"]',
    })
    for (const [columns, why] of [
      [['p'], 'p is a partition column'],
      [['q'], 'the table has no column q; its columns are id, p'],
      [['id', 'ID'], 'the column id is named twice'],
      [[], 'it takes 1 to 8 columns, and 0 are given'],
    ] as const)
      await expect(run(table, [...columns])).rejects.toThrow(`rows cannot be put in Z order: ${why}`)
  })

  test('are refused by columns that no file could be left out by, and in clustered tables', async () => {
    const table = await createTable(memoryStore(), { schema: ALL_TYPES })
    for (const { name, type } of ALL_TYPES) {
      if (!['boolean', 'binary', 'array', 'map', 'struct'].includes(type.kind)) continue
      await expect(run(table, [name])).rejects.toThrow(`of the column ${name} (`)
    }
    expect(await run(table, ['i8'])).toEqual({ commits: 0, removedFiles: 0, addedFiles: 0 })
    const store = memoryStore()
    await foreignTable(store, {
      protocol: { minWriterVersion: 7, writerFeatures: ['clustering', 'domainMetadata'] },
      metaData: { configuration: { 'delta.dataSkippingStatsColumns': 'id' } },
    })
    const foreign = await openTable(store)
    await append(foreign, 0, 3)
    await expect(run(foreign, ['name'])).rejects.toThrow('the table keeps no statistics of the column name')
    await commitLines(store, 2n, [
      {
        domainMetadata: { domain: 'delta.clustering', configuration: '{"clusteringColumns":[["id"]]}', removed: false },
      },
    ])
    await expect(run(foreign, ['id'])).rejects.toThrow('the table is clustered (by id)')
  })

  test('are no change to a feed of changes, and keep what edits gave them', async () => {
    const store = memoryStore()
    await foreignTable(store, {
      protocol: { minWriterVersion: 4 },
      metaData: { configuration: { 'delta.enableChangeDataFeed': 'true' } },
    })
    const table = await openTable(store)
    for (let i = 0; i < 3; i++) await append(table, 3 * i, 3 * i + 3)
    const { version } = table.snapshot
    await zOrder(table, { columns: ['name'], spill: memoryStore() })
    expect(table.snapshot.files).toHaveLength(1)
    expect(await changedRows(table, version + 1n)).toEqual([])
    expect(await optimize(table)).toMatchObject({ commits: 0 })
  })

  test('begin anew where another writer changed a file meanwhile, and lose nothing', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA })
    for (let i = 0; i < 5; i++) await append(table, 2 * i, 2 * i + 2)
    const other = await openTable(store)
    let racing: Promise<unknown> | undefined
    const slow = {
      ...store,
      putIfAbsent: async (path: string, bytes: Uint8Array) => {
        racing ??= remove(other, 1, [0]).then(() => append(other, 20, 21))
        await racing
        return store.putIfAbsent(path, bytes)
      },
    }
    const done = await zOrder(await openTable(slow), { columns: ['id'], spill: memoryStore() })
    expect(done).toEqual({ commits: 1, removedFiles: 6, addedFiles: 1 })
    expect(await readIds(await openTable(store))).toEqual([0, 1, 3, 4, 5, 6, 7, 8, 9, 20])
  })

  test('end when they are told to, and leave no file behind', async () => {
    const table = await scattered(3)
    const spill = memoryStore()
    const before = await table.store.list('')
    const end = new AbortController()
    const progress = (done: number, total: number): void => {
      if (done > total / 2) end.abort(new Error('enough'))
    }
    await expect(run(table, ['x'], { signal: end.signal, progress, spill, memoryBytes: 1 })).rejects.toThrow('enough')
    expect(await table.store.list('')).toEqual(before)
    expect(await spill.list('')).toEqual([])
  })
})

test('a curve keeps the order of the values of one column, NULL first and NaN last', () => {
  for (const { type } of ALL_TYPES) {
    if (['boolean', 'binary', 'array', 'map', 'struct'].includes(type.kind)) continue
    const random = new Random(11)
    const cells = Array.from({ length: 300 }, () => cellOf(random, type))
    const batch = batchOf(
      [type],
      cells.map(cell => [cell]),
    )
    const places = Curve.through(batch).places(batch)
    const order = [...places.keys()].sort((a, b) => places[a]! - places[b]! || inOrder(cells[a]!, cells[b]!))
    const found = order.map(row => cells[row]!)
    expect(found.map(spelled)).toEqual(found.toSorted(inOrder).map(spelled))
  }
})

function inOrder(a: Cell, b: Cell): number {
  const rank = (cell: Cell): number => (cell === null ? 0 : Number.isNaN(cell) ? 2 : 1)
  if (rank(a) !== 1 || rank(b) !== 1) return rank(a) - rank(b)
  if (typeof a === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b as string))
  return a! < b! ? -1 : a! > b! ? 1 : 0
}

test('a sorter gives all rows in the order of their places, however many have the same', async () => {
  const random = new Random(13)
  const kinds: DataType[] = [{ kind: 'long' }, { kind: 'void' }, { kind: 'string' }]
  for (const memoryBytes of [1, 5000, 1 << 30]) {
    const spill = memoryStore()
    const rows: { place: number; n: number }[] = []
    {
      const sample = Float64Array.from({ length: 1000 }, () => (random.below(3) === 0 ? 500 : random.below(1000)))
      await using sorter = new Sorter({ types: kinds, sample, rows: 1 << 22, spill, memoryBytes })
      for (let i = 0; i < 20; i++) {
        const places = Float64Array.from({ length: 100 }, () => (random.below(3) === 0 ? 500 : random.below(1000)))
        const first = rows.length
        for (const [n, place] of places.entries()) rows.push({ place, n: first + n })
        await sorter.add(
          batchOf(
            kinds,
            [...places.keys()].map(n => [BigInt(first + n), null, `${first + n}`]),
          ),
          places,
        )
      }
      const found: Cell[][] = []
      for await (const batch of sorter.sorted(7)) {
        expect(batch.rows).toBeLessThanOrEqual(7)
        found.push(...cellsOf(batch))
      }
      const expected = rows.toSorted((a, b) => a.place - b.place || a.n - b.n)
      expect(found).toEqual(expected.map(({ n }) => [BigInt(n), null, String(n)]))
      expect((await spill.list('')).length > 0).toBe(memoryBytes < 1 << 30)
    }
    expect(await spill.list('')).toEqual([])
  }
})
