import { afterAll, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MemoryCache } from '../../src/cache/memory.ts'
import { readFooter, readRowGroup } from '../../src/columns/parquet/read.ts'
import { storeSource } from '../../src/columns/parquet/source.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { textFormat } from '../../src/columns/text/formats/index.ts'
import { renderJsonLines } from '../../src/columns/text/json.ts'
import type { Batch, Vector } from '../../src/columns/types.ts'
import { vectorOf } from '../../src/columns/vectors.ts'
import { applyPlan } from '../../src/fs/edits/apply.ts'
import { planEdit } from '../../src/fs/edits/plan.ts'
import { FileSpool } from '../../src/fs/saves/spool.ts'
import { openText } from '../../src/fs/text/layout.ts'
import { Segments } from '../../src/fs/text/segments.ts'
import { bytesText } from '../../src/fs/text/text.ts'
import { csvOf, execute } from '../../src/sql/engine.ts'
import { HandedRows } from '../../src/sql/refused-files.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import type { Table } from '../../src/table/table.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { decode } from '../columns/values.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

const SCHEMA = parseDdl('id:Int64,s:String')
const BAD = Uint8Array.of(0x61, 0xff, 0xc3, 0x62)

/** Text as another writer may have it: any bytes. */
function texts(values: readonly Uint8Array[]): Vector {
  return { ...vectorOf({ kind: 'binary' }, values), type: { kind: 'string' } }
}

function rowsOf(from: number, to: number, bad: readonly number[]): Batch {
  const ids = Array.from({ length: to - from }, (_, i) => from + i)
  const values = ids.map(id => (bad.includes(id) ? BAD : Buffer.from(`text ${id}`)))
  return { rows: ids.length, vectors: [vectorOf({ kind: 'long' }, ids.map(BigInt)), texts(values)] }
}

async function tableWith(folder: string, ...batches: readonly Batch[]): Promise<Table> {
  return filled(await createTable(localStore(folder), { schema: SCHEMA }), folder, batches)
}

async function filled(table: Table, folder: string, batches: readonly Batch[]): Promise<Table> {
  for (const batch of batches) {
    const add = await writeDataFiles(table, [batch])
    // Another writer says nothing of the size of its text.
    const foreign = add.map(({ tags: _, ...file }) => file)
    for (const { path } of add) {
      const bytes = readFileSync(join(folder, path)).toString('latin1').replace('posixlake.text', 'another.writer')
      writeFileSync(join(folder, path), bytes, 'latin1')
    }
    await commit(table, { base: table.snapshot, operation: 'WRITE', add: foreign, delete: [] })
  }
  return table
}

async function sql(
  table: Table,
  statement: string,
  log: (sentence: string) => void = () => undefined,
): Promise<string> {
  const outcome = await execute(table, statement, { log })
  if (outcome.kind === 'changed') return `${outcome.inserted} ${outcome.updated} ${outcome.deleted}`
  return new TextDecoder().decode(Buffer.concat(await Array.fromAsync(csvOf(outcome.result))))
}

describe('text that is not UTF-8 in a file by another writer', () => {
  test('is the same in the views and in SQL, which say so once', async () => {
    using folder = temporaryFolder()
    const table = await tableWith(folder.path, rowsOf(0, 3, [1]), rowsOf(3, 5, []), rowsOf(5, 7, [6]))
    const said: string[] = []
    const segments = new Segments({
      cache: new MemoryCache(1 << 20),
      pool,
      store: table.store,
      report: s => said.push(s),
    })
    const view = async (format: 'csv' | 'jsonl'): Promise<string> => {
      const text = await openText(table, table.snapshot, segments, textFormat(format))
      return new TextDecoder().decode(await text.read(0, text.size))
    }
    const csv = 'id,s\n0,text 0\n1,a\ufffd\ufffdb\n2,text 2\n3,text 3\n4,text 4\n5,text 5\n6,a\ufffd\ufffdb\n'
    expect(await view('csv')).toBe(csv)
    expect((await view('jsonl')).split('\n')[1]).toBe('{"id":1,"s":"a\ufffd\ufffdb"}')
    const [first, , last] = table.snapshot.files.map(({ path }) => path)
    expect(said.sort()).toEqual(
      [
        `${first}: row 2, column s: the text is not UTF-8; what is not is shown as \ufffd`,
        `${last}: row 2, column s: the text is not UTF-8; what is not is shown as \ufffd`,
      ].sort(),
    )
    const heard: string[] = []
    expect(await sql(table, 'FROM data', sentence => heard.push(sentence))).toBe(csv)
    expect(heard.sort()).toEqual(
      [first, last].sort().map(path => `${path}: text in it is not UTF-8; what is not is read as \ufffd`),
    )
    expect(await sql(table, "SELECT id FROM data WHERE s LIKE '%\ufffd%' ORDER BY id DESC")).toBe('id\n6\n1\n')
    expect(await sql(table, 'SELECT max(s) m, count(DISTINCT s) n FROM data')).toBe('m,n\ntext 5,6\n')
  })

  test('is said again of text that comes from the cache', async () => {
    using folder = temporaryFolder()
    const table = await tableWith(folder.path, rowsOf(0, 300, [131]))
    const cache = new MemoryCache(1 << 20)
    for (let round = 0; round < 2; round++) {
      const said: string[] = []
      const segments = new Segments({ cache, pool, store: table.store, report: s => said.push(s) })
      const text = await openText(table, table.snapshot, segments, textFormat('csv'))
      expect(new TextDecoder().decode(await text.read(0, text.size))).toContain('\n131,a\ufffd\ufffdb\n132,')
      expect(said).toEqual([expect.stringContaining('row 132, column s')])
    }
  })

  test('does not keep rows from being changed, and stays as it is where it is not changed', async () => {
    using folder = temporaryFolder()
    const table = await tableWith(folder.path, rowsOf(0, 4, [1]))
    expect(await sql(table, "DELETE FROM data WHERE s = 'text 0'")).toBe('0 0 1')
    expect(await sql(table, "UPDATE data SET s = 'new' WHERE length(s) > 4 AND id = 2")).toBe('0 1 0')
    expect(await sql(table, 'INSERT INTO data SELECT 9, s FROM data WHERE id = 1')).toBe('1 0 0')
    expect(await sql(table, 'FROM data ORDER BY id')).toBe(
      'id,s\n1,a\ufffd\ufffdb\n2,new\n3,text 3\n9,a\ufffd\ufffdb\n',
    )
    const file = table.snapshot.files[0]!
    const source = storeSource(table.store, file.path, file.sizeBytes)
    const batch = await readRowGroup(source, await readFooter(source), 0, parseDdl('id:Int64,s:Binary'))
    expect(decode(renderJsonLines(batch, parseDdl('id:Int64,s:Binary')).bytes)).toContain(BAD.toBase64())
  })

  test('is not lost with a file that is written anew, as a table without deletion vectors has it', async () => {
    using folder = temporaryFolder()
    const configuration = { 'delta.enableDeletionVectors': 'false' }
    const empty = await createTable(localStore(folder.path), { schema: SCHEMA, configuration })
    const table = await filled(empty, folder.path, [rowsOf(0, 4, [1])])
    const { version } = table.snapshot
    const refusal = await sql(table, 'DELETE FROM data WHERE id = 2').catch((error: Error) => error.message)
    expect(refusal).toContain('column s: some text is not UTF-8 (it is shown with \ufffd), and would be lost')
    const segments = new Segments({ cache: new MemoryCache(1 << 20), pool, store: table.store })
    const save = async (image: string): Promise<unknown> => {
      const base = await openText(table, await table.refresh(), segments, textFormat('csv'))
      const plan = await planEdit(base, bytesText(new TextEncoder().encode(image)), {
        spool: () => FileSpool.create(folder.path),
        textWithSchema: snapshot => openText(table, snapshot, segments, textFormat('csv')),
      })
      if (plan.kind === 'unchanged') return 'unchanged'
      return applyPlan(plan, { table, segments, snapshot: base.snapshot, editId: crypto.randomUUID() })
    }
    const text = 'id,s\n0,text 0\n1,a\ufffd\ufffdb\n2,text 2\n3,text 3\n'
    expect(await save(text)).toBe('unchanged')
    await expect(save(text.replace('text 2', 'other'))).rejects.toThrow('row 2, column s: some text is not UTF-8')
    expect((await table.refresh()).version).toBe(version)
    await save(text.replace('a\ufffd\ufffdb', 'right').replace('text 2', 'other'))
    expect(await sql(table, 'FROM data ORDER BY id')).toBe('id,s\n0,text 0\n1,right\n2,other\n3,text 3\n')
    await filled(table, folder.path, [rowsOf(10, 12, [11])])
    expect(await sql(table, 'DELETE FROM data WHERE id = 11')).toBe('0 0 1')
  })

  test('deep in a long result does not make rows come twice, or in another order', async () => {
    using folder = temporaryFolder()
    const rows = 400_000
    const table = await tableWith(folder.path, rowsOf(0, rows, [rows - 2]))
    const lines = (await sql(table, 'FROM data')).trimEnd().split('\n')
    expect(lines.length).toBe(rows + 1)
    for (let i = 0; i < rows; i += 997) expect(lines[i + 1]).toBe(`${i},text ${i}`)
    expect(lines[rows - 1]).toBe(`${rows - 2},a\ufffd\ufffdb`)
    expect(readdirSync(folder.path).filter(name => name.endsWith('.parquet')).length).toBe(1)
  }, 30_000)
})

describe('a query that is run again', () => {
  const batch = (...ids: number[]): Batch => ({
    rows: ids.length,
    vectors: [vectorOf({ kind: 'long' }, ids.map(BigInt))],
  })
  const ids = (batches: Iterable<Batch>): number[] =>
    [...batches].flatMap(({ vectors }) => [...(vectors[0]!.values as BigInt64Array)].map(Number))

  test('goes on behind the rows that it gave before', () => {
    const handed = new HandedRows()
    expect([...ids(handed.next(batch(1, 2))), ...ids(handed.next(batch(3)))]).toEqual([1, 2, 3])
    handed.again()
    expect(ids(handed.next(batch(1)))).toEqual([])
    expect(ids(handed.next(batch(2, 3, 4)))).toEqual([4])
    handed.again()
    expect(ids(handed.next(batch(1, 2, 3, 4)))).toEqual([])
    expect(ids(handed.next(batch(5)))).toEqual([5])
    handed.finish()
  })

  test('fails if it gives other rows, or fewer', () => {
    const handed = new HandedRows()
    ids(handed.next(batch(1, 2, 3)))
    handed.again()
    expect(() => ids(handed.next(batch(1, 3, 2)))).toThrow('give it an ORDER BY')
    const fewer = new HandedRows()
    ids(fewer.next(batch(1, 2, 3)))
    fewer.again()
    ids(fewer.next(batch(1, 2)))
    expect(() => fewer.finish()).toThrow('give it an ORDER BY')
  })
})
