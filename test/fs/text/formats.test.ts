import { afterAll, expect, test } from 'bun:test'
import { MemoryCache } from '../../../src/cache/memory.ts'
import { parseDdl } from '../../../src/columns/schema.ts'
import { batchOf } from '../../../src/columns/vectors.ts'
import { planEdit } from '../../../src/fs/edits/plan.ts'
import { openText } from '../../../src/fs/text/layout.ts'
import { Segments } from '../../../src/fs/text/segments.ts'
import { bytesText } from '../../../src/fs/text/text.ts'
import { createTable } from '../../../src/table/operations/create.ts'
import { WorkerPool } from '../../../src/table/workers/pool.ts'
import { tabbed } from '../../columns/toy-format.ts'
import { decode, encode } from '../../columns/values.ts'
import { commit, writeDataFiles } from '../../helpers/changes.ts'
import { memoryStore } from '../../helpers/memory-store.ts'

const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

test('a table is shown and edited in a text form of which only its object is known', async () => {
  const schema = parseDdl('id:Int64,text:String')
  const table = await createTable(memoryStore(), { schema })
  const rows = [
    [1n, 'a'],
    [2n, 'b\tc'],
    [3n, null],
  ]
  const [file] = await writeDataFiles(table, [
    batchOf(
      schema.map(({ type }) => type),
      rows,
    ),
  ])
  await commit(table, { base: table.snapshot, operation: 'WRITE', add: [file!], delete: [] })
  const segments = new Segments({ cache: new MemoryCache(1 << 20), pool, store: table.store })
  const whole = '"id"\t"text"\n1\t"a"\n2\t"b\\tc"\n3\tnull\n'
  const all = await openText(table, table.snapshot, segments, tabbed)
  expect(all.size).toBe(whole.length)
  expect(decode(await all.read(0, all.size))).toBe(whole)

  await commit(table, {
    base: table.snapshot,
    operation: 'DELETE',
    add: [],
    delete: [{ file: table.snapshot.files[0]!, rows: Uint32Array.of(0) }],
  })
  const left = await openText(table, table.snapshot, segments, tabbed, all)
  const header = '"id"\t"text"\n'
  expect(decode(await left.read(0, left.size))).toBe(`${header}2\t"b\\tc"\n3\tnull\n`)

  const options = {
    spool: () => {
      throw new Error('the rows have their form already')
    },
    textWithSchema: async () => left,
  }
  const edited = await planEdit(left, bytesText(encode(`${header}2\t"changed"\n3\tnull\n4\t"new"\n`)), options)
  expect(edited).toMatchObject({
    kind: 'change',
    removed: [{ start: header.length, end: header.length + '2\t"b\\tc"\n'.length }],
    added: [{ rows: 1 }, { rows: 1 }],
  })
  await expect(planEdit(left, bytesText(encode(`${header}2\t"b\\tc"\n3\tnull\nx\t"new"\n`)), options)).rejects.toThrow(
    'line 4, column id',
  )
})
