import { describe, expect, test } from 'bun:test'
import { batchOf } from '../../src/columns/vectors.ts'
import type { NewFile } from '../../src/table/table.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { codeOf, type ServedTable, serveNew } from './served.ts'

const LONG = `${'x'.repeat(250)}.parquet`

/** Adds copies of one file under other names, in one commit: nobody reads them here. */
async function addFiles({ server }: ServedTable, paths: readonly string[]): Promise<void> {
  const { table } = server.lake
  const types = table.snapshot.schema.map(field => field.type)
  const [file] = await writeDataFiles(table, [batchOf(types, [[1n]])])
  const add = paths.map((path): NewFile => ({ ...file!, path }))
  await commit(table, { base: await table.refresh(), operation: 'WRITE', add, delete: [] })
}

async function removeFile({ server }: ServedTable, path: string): Promise<void> {
  const { table } = server.lake
  const removeFiles = (await table.refresh()).files.filter(file => file.path === path)
  expect(removeFiles.length).toBe(1)
  await commit(table, { base: table.snapshot, operation: 'DELETE', add: [], delete: [], removeFiles })
}

describe('the Parquet files in data/', () => {
  test('are listed each once, however many, with the views and the files of the user', async () => {
    await using served = await serveNew('id BIGINT', '')
    const { client, data } = served
    const paths = Array.from({ length: 1500 }, (_, i) => `part-${i}.parquet`)
    await addFiles(served, paths)
    await client.create(data, 'mine.txt')
    const expected = ['data.csv', 'data.json', 'data.jsonl', 'mine.txt', ...paths].sort()
    expect((await client.list(data)).map(({ name }) => name).sort()).toEqual(expected)
    const names: string[] = []
    for (let cookie = 0n, eof = false; !eof; ) {
      const page = await client.readdir(data, { cookie, count: 1024 })
      names.push(...page.entries.map(({ name }) => name))
      cookie = page.entries.at(-1)!.cookie
      eof = page.eof
    }
    expect(names.filter(name => name !== '.' && name !== '..').sort()).toEqual(expected)
  })

  test('go on being listed from where a listing was, while the table changes', async () => {
    await using served = await serveNew('id BIGINT', '')
    const { client, data } = served
    const paths = Array.from({ length: 300 }, (_, i) => `part-${i}.parquet`)
    await addFiles(served, paths)
    const first = await client.readdir(data, { count: 4096 })
    const listed = first.entries.map(({ name }) => name)
    const gone = paths.find(path => !listed.includes(path))!
    await removeFile(served, gone)
    await removeFile(served, listed.at(-1)!)
    for (let { cookie } = first.entries.at(-1)!, eof = false; !eof; ) {
      const page = await client.readdir(data, { cookie, count: 4096 })
      listed.push(...page.entries.map(({ name }) => name))
      cookie = page.entries.at(-1)?.cookie ?? cookie
      eof = page.eof
    }
    expect(listed.filter(name => name.startsWith('part-')).sort()).toEqual(paths.filter(path => path !== gone).sort())
  })

  test('are found by the names under which they are listed, whatever their paths', async () => {
    await using served = await serveNew('id BIGINT', '')
    const { client, data } = served
    const paths = ['a b.parquet', 'x=1/y%2Fz.parquet', 'without-suffix', `deep/${LONG}`, 'ä.parquet', 'a%b/c%25d']
    await addFiles(served, paths)
    const listed = (await client.list(data)).filter(({ name }) => name.endsWith('.parquet'))
    expect(listed.length).toBe(paths.length)
    expect(listed.map(({ name }) => name)).toContain('x=1%2Fy%252Fz.parquet')
    for (const { name, handle, fileid } of listed) {
      const found = await client.lookup(data, name)
      expect(found.handle).toEqual(handle!)
      expect(found.attributes!.fileid).toBe(fileid)
    }
    for (const name of ['without-suffix', 'a b.parquet.parquet', '1.parquet', 'b.parquet'])
      expect(await codeOf(client.lookup(data, name))).toBe('ENOENT')
  })

  test('that left the table are read on by who has their handle', async () => {
    await using served = await serveNew('id BIGINT', '1\n')
    const { client, data } = served
    const { name } = (await client.list(data)).find(entry => entry.name.endsWith('.parquet'))!
    const { handle } = await client.lookup(data, name)
    const before = await client.readAll(handle)
    await removeFile(served, name)
    expect(await codeOf(client.lookup(data, name))).toBe('ENOENT')
    expect(await client.readAll(handle)).toEqual(before)
    expect((await client.getattr(handle)).size).toBe(BigInt(before.length))
  })
})
