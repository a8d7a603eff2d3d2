import { expect, test } from 'bun:test'
import { type ClientEntry, type Handle, NfsClient } from '../nfs/client.ts'
import { serveNew } from './served.ts'

type Page = (cookie: bigint) => Promise<{ entries: ClientEntry[]; eof: boolean }>

async function all(page: Page): Promise<ClientEntry[]> {
  const entries: ClientEntry[] = []
  for (let eof = false; !eof; ) {
    const found = await page(entries.at(-1)?.cookie ?? 0n)
    entries.push(...found.entries)
    eof = found.eof
  }
  return entries
}

test('a listing begins with . and .., whatever the folder and however many entries it has', async () => {
  await using s = await serveNew('id:Int64,name:String', '1,Alice\n')
  const make = async (parent: Handle, name: string): Promise<Handle> => (await s.client.mkdir(parent, name)).handle
  const [empty, small, large] = [await make(s.root, 'empty'), await make(s.root, 'small'), await make(s.root, 'large')]
  const nested = await make(large, 'nested')
  await s.client.create(small, 'f')
  for (const folder of [large, s.data]) {
    await Promise.all(Array.from({ length: 2000 }, (_, i) => s.client.create(folder, `file ${i}`)))
  }
  await using other = await NfsClient.connect({ port: s.server.port })
  const plain = await other.mount('/')
  for (const [folder, parent, count] of [
    [s.root, s.root, 9],
    [s.data, s.root, 2004],
    [empty, s.root, 0],
    [small, s.root, 1],
    [large, s.root, 2001],
    [nested, large, 0],
    [plain, plain, 9],
    [await other.walk(plain, 'large/nested'), await other.walk(plain, 'large'), 0],
  ] as const) {
    const ids = [(await s.client.getattr(folder)).fileid, (await s.client.getattr(parent)).fileid]
    for (const bytes of [600, 65_536]) {
      const short = await all(cookie => s.client.readdir(folder, { cookie, count: bytes }))
      const long = await all(cookie => s.client.readdirplus(folder, { cookie, maxcount: bytes }))
      for (const entries of [short, long]) {
        expect(entries.slice(0, 2)).toMatchObject([
          { name: '.', fileid: ids[0] },
          { name: '..', fileid: ids[1] },
        ])
        expect(new Set(entries.map(({ name }) => name)).size).toBe(entries.length)
        expect(entries.length).toBe(count + 2)
      }
      expect(long.slice(0, 2)).toMatchObject([
        { handle: folder, attributes: { type: 'NF3DIR', fileid: ids[0] } },
        { handle: parent, attributes: { type: 'NF3DIR', fileid: ids[1] } },
      ])
    }
  }
}, 30_000)
