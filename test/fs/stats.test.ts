import { describe, expect, test } from 'bun:test'
import { commitPath } from '../../src/table/log/paths.ts'
import { serveNew } from './served.ts'

interface Stats {
  readonly total_rows: number
  readonly total_files: number
  readonly total_size_bytes: number
  readonly deleted_rows: number
  readonly version: number
  readonly last_commits: readonly { readonly version: number }[]
}

describe('.stats', () => {
  test('counts rows, files and bytes as they are after every kind of save', async () => {
    await using s = await serveNew('id BIGINT, name STRING', '1,a\n2,b\n3,c\n')
    const { table } = s.server.lake
    const check = async (rows: number): Promise<void> => {
      const stats = JSON.parse(await s.read('.stats')) as Stats
      const { files, version } = await table.refresh()
      expect(stats.total_rows).toBe(rows)
      expect(stats.total_files).toBe(files.length)
      expect(stats.total_size_bytes).toBe(files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0))
      expect(stats.deleted_rows).toBe(files.reduce((sum, { vector }) => sum + (vector?.cardinality ?? 0), 0))
      expect(stats.version).toBe(Number(version))
      expect(stats.last_commits.map(commit => commit.version)).toEqual(
        Array.from({ length: Math.min(10, Number(version) + 1) }, (_, i) => Number(version) - i),
      )
    }
    await check(3)
    for (let i = 4; i < 16; i++) {
      const csv = await s.csv()
      await s.client.write(csv, (await s.client.getattr(csv)).size, `${i},x\n`)
      await check(i)
    }
    await s.elsewhere('DELETE FROM data WHERE id < 3')
    await check(13)
    await s.elsewhere('DELETE FROM data')
    await check(0)
  })

  test('looks at no more of the log than it shows', async () => {
    await using s = await serveNew('id BIGINT', '1\n')
    const { table } = s.server.lake
    for (let i = 0; i < 12; i++) {
      const csv = await s.csv()
      await s.client.write(csv, (await s.client.getattr(csv)).size, `${i}\n`)
    }
    await table.close()
    await table.store.write(commitPath(1n), new TextEncoder().encode('nonsense'))
    expect((JSON.parse(await s.read('.stats')) as Stats).total_rows).toBe(13)
  })
})
