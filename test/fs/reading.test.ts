import { expect, test } from 'bun:test'
import type { Handle } from '../nfs/client.ts'
import { type ServedTable, serveNew } from './served.ts'

/** Every file of the mount by its path, however deep. */
async function filesBelow(s: ServedTable, folder: Handle, path = ''): Promise<[string, Handle][]> {
  const found: [string, Handle][] = []
  for (const { name } of await s.client.list(folder)) {
    const { handle, attributes } = await s.client.lookup(folder, name)
    if (attributes?.type === 'NF3DIR') found.push(...(await filesBelow(s, handle, `${path}${name}/`)))
    else found.push([path + name, handle])
  }
  return found
}

test('each READ of each file says what the file is at that moment', async () => {
  await using s = await serveNew('id:Int64,name:String', '1,Alice\n2,Bob\n')
  const { handle: notes } = await s.client.mkdir(s.root, 'notes')
  await s.client.write((await s.client.create(notes, 'a.txt')).handle, 0n, 'mine')
  await s.client.create(s.root, 'empty')
  await s.client.write(await s.client.walk(s.root, '.query'), 0n, 'SELECT name FROM data')
  const files = await filesBelow(s, s.root)
  const names = files.map(([path]) => (path.endsWith('.parquet') ? 'a Parquet file' : path))
  const views = ['data/data.csv', 'data/data.json', 'data/data.jsonl', 'a Parquet file', '.query', 'schema.sql']
  expect(names).toEqual(expect.arrayContaining([...views, '.stats', '.errors', 'notes/a.txt', 'empty']))
  for (const [path, handle] of files) {
    const { size, fileid } = await s.client.getattr(handle)
    for (const [offset, count] of [
      [0n, 4096],
      [1n, 1],
      [size, 4096],
      [size + 100n, 1],
      [0n, 0],
    ] as const) {
      const { file_attributes } = await s.client.read(handle, offset, count)
      expect({ path, offset, count, attributes: file_attributes }).toMatchObject({
        path,
        attributes: { type: 'NF3REG', size, fileid },
      })
    }
  }
})
