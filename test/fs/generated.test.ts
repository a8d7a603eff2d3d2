import { expect, test } from 'bun:test'
import { GeneratedView } from '../../src/fs/views/generated.ts'
import { NfsClient } from '../nfs/client.ts'
import { serveNew } from './served.ts'

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

test('a look at a view that began earlier and ends later does not bring old bytes back', async () => {
  const looks: ((text: string) => void)[] = []
  const view = new GeneratedView({
    name: '.stats',
    id: 15n,
    owner: { uid: 0, gid: 0 },
    now: () => 1n,
    produce: () => new Promise(resolve => looks.push(text => resolve(bytesOf(text)))),
  })
  const [first, second] = [view.attributes(), view.attributes()]
  looks[1]!('newer')
  const { mtime } = await second
  looks[0]!('old')
  expect(await first).toMatchObject({ size: 5n, mtime })
  const { data, attributes } = await view.read(0n, 100)
  expect(new TextDecoder().decode(Buffer.concat(data))).toBe('newer')
  expect(attributes.mtime).toBe(mtime)
  const third = view.attributes()
  looks[2]!('newest')
  expect((await third).mtime).toBeGreaterThan(mtime)
})

test('what a READ of a small view gives is what its attributes tell of, whoever else looks meanwhile', async () => {
  await using s = await serveNew('id:Int64,name:String', '1,Alice\n')
  const texts = new Map<string, string>()
  let changing = true
  const reader = async (): Promise<void> => {
    await using client = await NfsClient.connect({ port: s.server.port })
    const root = await client.mount('/')
    while (changing) {
      for (const name of ['.stats', 'schema.sql', '.errors']) {
        const { handle } = await client.lookup(root, name)
        await client.getattr(handle)
        const { data, eof, file_attributes } = await client.read(handle, 0n, 1 << 20)
        const { size, mtime } = file_attributes!
        const text = new TextDecoder().decode(data)
        expect({ name, eof, size: BigInt(data.length) }).toEqual({ name, eof: true, size })
        if (name === '.stats') JSON.parse(text)
        const key = `${name} ${mtime.seconds}.${mtime.nseconds}`
        expect(texts.get(key) ?? text).toBe(text)
        texts.set(key, text)
      }
    }
  }
  const readers = [reader(), reader(), reader()]
  for (let i = 2; i < 12; i++) {
    await s.client.write(await s.csv(), (await s.client.getattr(await s.csv())).size, `${i},row\n`)
    await s.client.write(await s.csv(), (await s.client.getattr(await s.csv())).size, 'bad\n').catch(() => undefined)
  }
  changing = false
  await Promise.all(readers)
  expect([...texts.keys()].filter(key => key.startsWith('.errors')).length).toBeGreaterThan(1)
  expect([...texts.keys()].filter(key => key.startsWith('.stats')).length).toBeGreaterThan(1)
})
