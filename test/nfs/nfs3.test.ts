import { expect, test } from 'bun:test'
import { serve } from './fixture.ts'

test('a file is created, written, read, renamed, listed and removed', async () => {
  await using served = await serve()
  const [client, root] = await served.mounted()
  const { handle } = await client.create(root, 'a.txt')
  const written = await client.write(handle, 0n, 'hello, world')
  expect(written).toMatchObject({ count: 12, committed: 'FILE_SYNC', verf: 1n })
  expect(written.file_wcc.before?.size).toBe(0n)
  expect(written.file_wcc.after?.size).toBe(12n)
  expect(await client.readText(handle)).toBe('hello, world')
  expect((await client.lookup(root, 'a.txt')).attributes).toMatchObject({ type: 'NF3REG', size: 12n })
  await client.rename(root, 'a.txt', root, 'b.txt')
  expect((await client.list(root)).map(({ name }) => name)).toEqual(['b.txt'])
  await client.remove(root, 'b.txt')
  expect(await client.list(root)).toEqual([])
  expect(client.lookup(root, 'b.txt')).rejects.toMatchObject({ code: 'ENOENT' })
})
