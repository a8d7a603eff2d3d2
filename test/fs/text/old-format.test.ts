import { Database } from 'bun:sqlite'
import { afterAll, describe, expect, test } from 'bun:test'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readFooter } from '../../../src/columns/parquet/read.ts'
import { parseDdl } from '../../../src/columns/schema.ts'
import { textFormat } from '../../../src/columns/text/formats/index.ts'
import { batchOf } from '../../../src/columns/vectors.ts'
import { openText } from '../../../src/fs/text/layout.ts'
import { Segments } from '../../../src/fs/text/segments.ts'
import { localStore } from '../../../src/storage/local.ts'
import { textSizes } from '../../../src/table/data-files/text-sizes.ts'
import { createTable } from '../../../src/table/operations/create.ts'
import { openTable, type Table } from '../../../src/table/table.ts'
import { WorkerPool } from '../../../src/table/workers/pool.ts'
import { commit, writeDataFiles } from '../../helpers/changes.ts'
import { localSource } from '../../helpers/local-source.ts'
import { temporaryFolder } from '../../helpers/temporary.ts'
import { serveNew } from '../served.ts'

const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

/**
 * A table as it was written when whole floats had no point: its records of the text's size, in the log and in the file's
 * footer, are those of the first text format.
 */
async function tableOfFirstFormat(folder: string): Promise<Table> {
  const schema = parseDdl('id:Int64,x:Float64')
  const table = await createTable(localStore(folder), { schema })
  const rows = [1, 2, 3].map(i => [BigInt(i), i / 2])
  const [file] = await writeDataFiles(table, [
    batchOf(
      schema.map(({ type }) => type),
      rows,
    ),
  ])
  const tags = new Map(file!.tags)
  const tag = JSON.parse(tags.get('posixlake.text')!) as { csv: number; jsonl: number }
  const old = { ...tag, v: 1, csv: tag.csv - 2, jsonl: tag.jsonl - 2 }
  tags.set('posixlake.text', JSON.stringify(old))
  await commit(table, { base: table.snapshot, operation: 'WRITE', add: [{ ...file!, tags }], delete: [] })
  const path = join(folder, file!.path)
  const text = readFileSync(path).toString('latin1')
  const sizes = `"csv":[${tag.csv}]`
  const changed = text
    .replace('{"v":2,"schema"', '{"v":1,"schema"')
    .replace(sizes, `"csv":[${tag.csv - 2}]`)
    .replace(`"jsonl":[${tag.jsonl}]`, `"jsonl":[${tag.jsonl - 2}]`)
  expect([changed.length, text.includes(sizes), changed.includes(sizes)]).toEqual([text.length, true, false])
  writeFileSync(path, Buffer.from(changed, 'latin1'))
  return openTable(localStore(folder))
}

describe('a table that was written when 3.0 was 3 in the text', () => {
  test('has the size and the rows of today’s text, whatever its files say', async () => {
    using folder = temporaryFolder()
    const table = await tableOfFirstFormat(folder.path)
    const file = table.snapshot.files[0]!
    expect(textSizes(await readFooter(localSource(join(folder.path, file.path), file.sizeBytes)))).toBeUndefined()
    const cache = {
      get: async () => undefined,
      put: async () => undefined,
      stats: () => ({ entries: 0, sizeBytes: 0, capacityBytes: 0, hits: 0, misses: 0 }),
      close: async () => undefined,
    }
    const segments = new Segments({ cache, pool, store: table.store })
    for (const [format, expected] of [
      ['csv', 'id,x\n1,0.5\n2,1.0\n3,1.5\n'],
      ['jsonl', '{"id":1,"x":0.5}\n{"id":2,"x":1.0}\n{"id":3,"x":1.5}\n'],
      ['json', '[{"id":1,"x":0.5}\n,{"id":2,"x":1.0}\n,{"id":3,"x":1.5}\n]\n'],
    ] as const) {
      const text = await openText(table, table.snapshot, segments, textFormat(format))
      expect([text.size, new TextDecoder().decode(await text.read(0, text.size))]).toEqual([expected.length, expected])
    }
  })
})

describe('a text that was copied when 3.0 was 3 in it', () => {
  test('is no commit when it is saved, and one of what differs if something does', async () => {
    await using s = await serveNew('id:Int64,x:Float64', '1,3\n2,1e16\n3,0.00001\n')
    expect(await s.read()).toBe('id,x\n1,3.0\n2,1e+16\n3,1e-05\n')
    await s.client.write(await s.csv(), 0n, 'id,x\n1,3\n2,10000000000000000\n3,0.00001\n')
    expect([await s.commits(), await s.read('.errors')]).toEqual([0, ''])
    const handle = await s.csv()
    await s.client.setattr(handle, { size: 0n })
    await s.client.write(handle, 0n, 'id,x\n1,3\n2,10000000000000000\n3,0.00001\n')
    expect(await s.commits()).toBe(0)
    const again = await s.csv()
    await s.client.setattr(again, { size: 0n })
    await s.client.write(again, 0n, 'id,x\n1,3\n2,4\n3,0.00001\n')
    expect([await s.commits(), await s.read()]).toEqual([1, 'id,x\n1,3.0\n2,4.0\n3,1e-05\n'])
    expect(s.server.lake.table.snapshot.files.map(({ rows }) => rows)).toEqual([3, 1])
  })

  test('has another time than before, so that clients do not go on showing what they remember', async () => {
    await using s = await serveNew('id:Int64,x:Float64', '1,3\n')
    const { mtime } = await s.client.getattr(await s.csv())
    {
      using database = new Database(join(s.server.stateDirectory, 'state.sqlite'))
      database.run('UPDATE lines SET text_format = NULL')
    }
    await using t = await s.killed()
    expect((await t.client.getattr(await t.csv())).mtime).not.toEqual(mtime)
  })
})
