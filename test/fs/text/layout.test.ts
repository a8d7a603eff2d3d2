import { afterAll, describe, expect, test } from 'bun:test'
import type { ByteCache, CachedBytes } from '../../../src/cache/byte-cache.ts'
import { parseDdl } from '../../../src/columns/schema.ts'
import { renderCsv } from '../../../src/columns/text/csv.ts'
import { textFormat } from '../../../src/columns/text/formats/index.ts'
import { renderJsonLines } from '../../../src/columns/text/json.ts'
import type { Batch } from '../../../src/columns/types.ts'
import { batchOf } from '../../../src/columns/vectors.ts'
import { firstBytes, openText, type TableText } from '../../../src/fs/text/layout.ts'
import { Segments } from '../../../src/fs/text/segments.ts'
import { localStore } from '../../../src/storage/local.ts'
import { DataFileWriter } from '../../../src/table/data-files/data-file-writer.ts'
import { newFile } from '../../../src/table/data-files/new-file.ts'
import { createTable } from '../../../src/table/operations/create.ts'
import type { OrderHint } from '../../../src/table/order-hint.ts'
import { openTable, type Table } from '../../../src/table/table.ts'
import { WorkerPool } from '../../../src/table/workers/pool.ts'
import { commit, writeDataFiles } from '../../helpers/changes.ts'
import { temporaryFolder } from '../../helpers/temporary.ts'

const schema = parseDdl('id:Int64,text:String')
const pool = new WorkerPool({ threads: 2 })
afterAll(() => pool.close())

function mapCache(): ByteCache {
  const map = new Map<string, CachedBytes>()
  return {
    get: async key => map.get(key),
    put: async (key, value) => void map.set(key, { bytes: value.bytes.slice(), meta: value.meta.slice() }),
    stats: () => ({ entries: map.size, sizeBytes: 0, capacityBytes: 0, hits: 0, misses: 0 }),
    close: async () => undefined,
  }
}

function segmentsOf(table: Table, cache = mapCache()): Segments {
  return new Segments({ cache, pool, store: table.store })
}

type Row = readonly [number, string | null]

function batch(rows: readonly Row[]): Batch {
  return batchOf(
    schema.map(field => field.type),
    rows.map(([id, text]) => [BigInt(id), text]),
  )
}

function csv(rows: readonly Row[]): string {
  return `id,text\n${new TextDecoder().decode(renderCsv(batch(rows), schema).bytes)}`
}

async function whole(text: TableText): Promise<string> {
  return new TextDecoder().decode(await text.read(0, text.size))
}

async function csvOf(table: Table, previous?: TableText): Promise<TableText> {
  return openText(table, await table.refresh(), segmentsOf(table), textFormat('csv'), previous)
}

async function append(table: Table, rows: readonly Row[], order?: OrderHint): Promise<string> {
  const add = await writeDataFiles(table, [batch(rows)], order === undefined ? {} : { order })
  await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
  return add[0]!.path
}

async function remove(table: Table, path: string, rows: readonly number[]): Promise<void> {
  const file = table.snapshot.files.find(candidate => candidate.path === path)!
  await commit(table, {
    base: table.snapshot,
    operation: 'DELETE',
    add: [],
    delete: [{ file, rows: Uint32Array.from(rows) }],
  })
}

describe('the text of a table', () => {
  test('is the header alone for a table without rows, and an empty array in JSON', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema })
    expect(await whole(await csvOf(table))).toBe('id,text\n')
    expect(await whole(await openText(table, table.snapshot, segmentsOf(table), textFormat('json')))).toBe('[]\n')
    expect(await whole(await openText(table, table.snapshot, segmentsOf(table), textFormat('jsonl')))).toBe('')
  })

  test('is the live rows of each file in the order of the commits', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema })
    const first = await append(table, [
      [1, 'a'],
      [2, 'b\nc'],
      [3, null],
    ])
    await append(table, [[4, '']])
    expect(await whole(await csvOf(table))).toBe('id,text\n1,a\n2,"b\nc"\n3,\n4,""\n')
    await remove(table, first, [1])
    expect(await whole(await csvOf(table))).toBe('id,text\n1,a\n3,\n4,""\n')
    await remove(table, first, [0, 2])
    expect(await whole(await csvOf(table))).toBe('id,text\n4,""\n')
  })

  test('is valid JSON in the two JSON forms', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema })
    const path = await append(table, [
      [1, 'a"b'],
      [2, null],
      [3, 'c'],
    ])
    await remove(table, path, [0])
    const json = await openText(table, table.snapshot, segmentsOf(table), textFormat('json'))
    expect(JSON.parse(await whole(json))).toEqual([
      { id: 2, text: null },
      { id: 3, text: 'c' },
    ])
    const bytewise: number[] = []
    for (let at = 0; at < json.size; at++) bytewise.push((await json.read(at, at + 1))[0]!)
    expect(new TextDecoder().decode(Uint8Array.from(bytewise))).toBe(await whole(json))
    const lines = await openText(table, table.snapshot, segmentsOf(table), textFormat('jsonl'))
    expect(await whole(lines)).toBe('{"id":2,"text":null}\n{"id":3,"text":"c"}\n')
  })

  test('knows its size without opening files that we wrote', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema })
    await append(
      table,
      Array.from({ length: 1000 }, (_, i): Row => [i, `row ${i}`]),
    )
    const blind = new Segments({ cache: mapCache(), pool, store: { ...table.store, localPath: () => '/nowhere' } })
    expect((await openText(table, table.snapshot, blind, textFormat('csv'))).size).toBe(
      (await whole(await csvOf(table))).length,
    )
    const jsonSize = (await openText(table, table.snapshot, blind, textFormat('json'))).size
    expect(jsonSize).toBe(
      (await whole(await openText(table, table.snapshot, segmentsOf(table), textFormat('json')))).length,
    )
  })

  test('begins with bytes that come before all of a row group is rendered, unless rows are deleted or stand elsewhere', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema })
    const path = await append(
      table,
      Array.from({ length: 16_000 }, (_, i): Row => [i, i % 5 === 0 ? null : `row ${i}, ${'long '.repeat(20)}`]),
    )
    for (const name of ['csv', 'jsonl', 'json'] as const) {
      const format = textFormat(name)
      const text = await whole(await openText(table, table.snapshot, segmentsOf(table), format))
      const first = await firstBytes(table.snapshot, segmentsOf(table), format, 10_000)
      if (name === 'json') {
        expect(first).toBeUndefined()
        continue
      }
      expect(first!.length).toBeWithin(5000, 50_000)
      expect(text.startsWith(new TextDecoder().decode(first))).toBe(true)
    }
    await remove(table, path, [3])
    expect(await firstBytes(table.snapshot, segmentsOf(table), textFormat('csv'), 10_000)).toBeUndefined()
  })

  test('shows hinted rows at their place, the later ones first, also when the row in front of them is deleted', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema })
    const base = await append(table, [
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ])
    const edit = await append(
      table,
      [
        [20, 'after 1'],
        [0, 'first'],
        [9, 'last'],
      ],
      {
        refs: [base],
        runs: [
          { count: 1, ref: 0, row: 0 },
          { count: 1, ref: -1, row: 0 },
        ],
      },
    )
    expect(await whole(await csvOf(table))).toBe(
      csv([
        [0, 'first'],
        [1, 'a'],
        [20, 'after 1'],
        [2, 'b'],
        [3, 'c'],
        [9, 'last'],
      ]),
    )
    await append(
      table,
      [
        [21, 'before it'],
        [22, 'behind it'],
      ],
      {
        refs: [base, edit],
        runs: [
          { count: 1, ref: 0, row: 0 },
          { count: 1, ref: 1, row: 0 },
        ],
      },
    )
    const expected: Row[] = [
      [0, 'first'],
      [1, 'a'],
      [21, 'before it'],
      [20, 'after 1'],
      [22, 'behind it'],
      [2, 'b'],
      [3, 'c'],
      [9, 'last'],
    ]
    expect(await whole(await csvOf(table))).toBe(csv(expected))
    await remove(table, base, [0])
    await remove(table, edit, [0])
    expect(await whole(await csvOf(table))).toBe(csv(expected.filter(([id]) => id !== 1 && id !== 20)))
  })

  test('falls back to file order where a hint names a file that is gone, a later one, or a row that is not there', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema })
    const base = await append(table, [
      [1, 'a'],
      [2, 'b'],
    ])
    await append(
      table,
      [
        [3, 'x'],
        [4, 'y'],
        [5, 'z'],
      ],
      {
        refs: ['gone.parquet', base],
        runs: [
          { count: 1, ref: 0, row: 0 },
          { count: 1, ref: 1, row: 77 },
          { count: 9, ref: 1, row: 0 },
        ],
      },
    )
    expect(await whole(await csvOf(table))).toBe(
      csv([
        [1, 'a'],
        [5, 'z'],
        [2, 'b'],
        [3, 'x'],
        [4, 'y'],
      ]),
    )
  })

  test('a corrupt size record is an error for the first reader, and is measured afterwards', async () => {
    using folder = temporaryFolder()
    const store = localStore(folder.path)
    const table = await createTable(store, { schema })
    const out = await store.create('lie.parquet')
    const writer = new DataFileWriter(out, schema)
    await writer.write(
      batch([
        [1, 'a'],
        [2, 'b'],
      ]),
    )
    const written = await writer.finish()
    await out.close()
    const lie = newFile('lie.parquet', { ...written, csvBytes: written.csvBytes + 7 }, schema)
    await commit(table, { base: table.snapshot, operation: 'WRITE', add: [lie], delete: [] })
    const segments = segmentsOf(table)
    const text = await openText(table, table.snapshot, segments, textFormat('csv'))
    await expect(text.read(0, text.size)).rejects.toThrow('the records of the text')
    expect(await whole(await openText(table, table.snapshot, segments, textFormat('csv')))).toBe('id,text\n1,a\n2,b\n')
  })

  test('agrees with a model after random appends, edits and deletions, at every byte range', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema })
    let seed = 7
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      return Math.floor((seed / 2 ** 32) * n)
    }
    // The model: the rows in view order, each with its file and row number; deleted ones stay as places.
    let model: { row: Row; path: string; at: number; dead: boolean }[] = []
    let next = 0
    let text: TableText | undefined
    const cache = mapCache()
    const segments = segmentsOf(table, cache)
    for (let round = 0; round < 60; round++) {
      const rows = Array.from(
        { length: 1 + random(200) },
        (): Row => [next++, random(5) === 0 ? null : 'x,\n"'.repeat(random(4))],
      )
      const kind = random(3)
      if (kind === 0 || model.length === 0) {
        const path = await append(table, rows)
        model.push(...rows.map((row, at) => ({ row, path, at, dead: false })))
      } else if (kind === 1) {
        // As an edit does: rows behind places, in the order of the places.
        const cuts = [...new Set(Array.from({ length: 1 + random(3) }, () => random(model.length + 1)))].sort(
          (a, b) => a - b,
        )
        const refs = [...new Set(cuts.filter(cut => cut > 0).map(cut => model[cut - 1]!.path))]
        const share = Math.ceil(rows.length / cuts.length)
        const runs = cuts.map(cut => ({
          count: share,
          ref: cut === 0 ? -1 : refs.indexOf(model[cut - 1]!.path),
          row: cut === 0 ? 0 : model[cut - 1]!.at,
        }))
        const path = await append(table, rows, { refs, runs })
        for (let i = cuts.length - 1; i >= 0; i--) {
          const part = rows.slice(i * share, (i + 1) * share)
          model.splice(cuts[i]!, 0, ...part.map((row, k) => ({ row, path, at: i * share + k, dead: false })))
        }
      } else {
        const { path } = model[random(model.length)]!
        const doomed = model.filter(entry => entry.path === path && !entry.dead && random(3) === 0)
        if (doomed.length === 0) continue
        await remove(
          table,
          path,
          doomed.map(({ at }) => at).sort((a, b) => a - b),
        )
        for (const entry of doomed) entry.dead = true
        const live = new Set(table.snapshot.files.map(file => file.path))
        model = model.filter(entry => live.has(entry.path))
      }
      text = await openText(table, table.snapshot, segments, textFormat('csv'), text)
      const expected = csv(model.filter(({ dead }) => !dead).map(({ row }) => row))
      expect(await whole(text)).toBe(expected)
      expect(text.size).toBe(expected.length)
      const start = random(text.size)
      const end = start + random(text.size - start + 1)
      expect(new TextDecoder().decode(await text.read(start, end))).toBe(expected.slice(start, end))
      // Offsets lead back to rows.
      const live = model.filter(({ dead }) => !dead)
      if (live.length === 0) continue
      const pick = random(live.length)
      const from = csv(live.slice(0, pick).map(({ row }) => row)).length
      const to = csv(live.slice(0, pick + 1).map(({ row }) => row)).length
      expect(await text.rowStart(to - 1)).toBe(from)
      expect(await text.anchorsAt([to])).toEqual([{ path: live[pick]!.path, row: live[pick]!.at }])
      const [found] = await text.rowsAt([{ start: from, end: to }])
      expect({ path: found!.file.path, rows: [...found!.rows] }).toEqual({
        path: live[pick]!.path,
        rows: [live[pick]!.at],
      })
      const all = await text.rowsAt([{ start: 8, end: text.size }])
      expect(all.reduce((sum, { rows }) => sum + rows.length, 0)).toBe(live.length)
      if (round % 10 === 0) {
        const cold = await openTable(table.store)
        expect(await whole(await openText(cold, cold.snapshot, segmentsOf(cold), textFormat('csv')))).toBe(expected)
      }
    }
  })

  test('has the columns that were added later, in files from before', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema })
    await append(table, [
      [1, 'a'],
      [2, 'b'],
    ])
    const wider = parseDdl('id:Int64,text:String,more:Int32')
    const snapshot = { ...table.snapshot, schema: wider }
    const text = await openText(table, snapshot, segmentsOf(table), textFormat('csv'))
    expect(await whole(text)).toBe('id,text,more\n1,a,\n2,b,\n')
    const lines = await openText(table, snapshot, segmentsOf(table), textFormat('jsonl'))
    expect((await whole(lines)).split('\n')[0]).toBe('{"id":1,"text":"a","more":null}')
    expect(new TextDecoder().decode(renderJsonLines(batch([[1, 'a']]), schema).bytes)).toBe('{"id":1,"text":"a"}\n')
  })
})
