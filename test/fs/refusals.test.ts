import { describe, expect, test } from 'bun:test'
import { type Handle, noChange } from '../nfs/client.ts'
import { codeOf, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const HEADER = 'id,name\n'
const ROWS = '1,Alice\n2,Bob\n'

/** The sentences of `.errors`, without their times. */
async function told(s: ServedTable): Promise<string[]> {
  const lines = (await s.read('.errors')).split('\n').slice(0, -1)
  return lines.map(line => line.slice(line.indexOf(' ') + 1))
}

/** The code that a client gets, the view that the sentence begins with, and the call. */
type Change = readonly [string, string, () => Promise<unknown>]

async function parquetName(s: ServedTable): Promise<string> {
  return (await s.client.list(s.data)).find(({ name }) => name.endsWith('.parquet'))!.name
}

describe('a refused change of a view leaves its sentence in .errors', () => {
  test('of whatever kind the change is, and whatever the view', async () => {
    await using s = await serveNew(DDL, ROWS)
    const { client, data, root } = s
    const parquet = await parquetName(s)
    await client.create(data, 'temp')
    await client.mkdir(data, 'folder')
    const truncated = { kind: 'UNCHECKED', value: { ...noChange, size: 0n } } as const
    const ofFixed = (folder: Handle, view: string): Change[] => [
      ['EACCES', view, () => client.remove(folder, view)],
      ['EACCES', view, () => client.rename(folder, view, data, 'elsewhere')],
      ['EACCES', view, () => client.rename(data, 'temp', folder, view)],
      ['EEXIST', view, () => client.mkdir(folder, view)],
      ['EACCES', view, async () => client.write(await client.walk(folder, view), 0n, 'x')],
      ['EACCES', view, async () => client.setattr(await client.walk(folder, view), { size: 7n })],
    ]
    const ofReadOnly = (folder: Handle, view: string): Change[] => [
      ...ofFixed(folder, view),
      ['EACCES', view, async () => client.setattr(await client.walk(folder, view), { size: 0n })],
      ['EACCES', view, () => client.create(folder, view, truncated)],
    ]
    const ofEditable = (view: string): Change[] => [
      ['EEXIST', view, () => client.mkdir(data, view)],
      ['EISDIR', view, () => client.rename(data, 'folder', data, view)],
      ['EACCES', 'data.json', () => client.rename(data, view, data, 'data.json')],
      ['EFBIG', view, async () => client.setattr(await client.walk(data, view), { size: 1n << 60n })],
      ['EFBIG', view, async () => client.write(await client.walk(data, view), 1n << 60n, 'x')],
    ]
    const changes: readonly Change[] = [
      ...ofReadOnly(data, 'data.json'),
      ...ofReadOnly(data, parquet),
      ...ofReadOnly(root, 'schema.sql'),
      ...ofReadOnly(root, '.stats'),
      ...ofFixed(root, '.errors'),
      ...ofEditable('data.csv'),
      ...ofEditable('data.jsonl'),
      ['EACCES', 'data.csv', () => client.rename(data, 'data.csv', data, 'data.jsonl')],
      ['EACCES', 'data', () => client.rename(root, 'data', root, 'other')],
      ['EACCES', 'data', () => client.rename(data, 'temp', root, 'data')],
      ['EACCES', 'data', () => client.rmdir(root, 'data')],
      ['EINVAL', '.query', async () => client.write(await client.walk(root, '.query'), 0n, 'SELECT nope')],
    ]
    for (const [code, view, change] of changes) {
      await client.setattr(await client.walk(root, '.errors'), { size: 0n })
      expect([view, await codeOf(change())]).toEqual([view, code])
      const sentences = await told(s)
      expect(sentences).toHaveLength(1)
      expect(sentences[0]).toStartWith(`${view}: `)
    }
    expect(await s.read()).toBe(HEADER + ROWS)
    expect(await s.commits()).toBe(0)
  })

  test('but not one that a program made only to see, or one of the user files', async () => {
    await using s = await serveNew(DDL, ROWS)
    const { client, data, root } = s
    for (const [code, change] of [
      ['EEXIST', () => client.create(data, 'data.json', { kind: 'EXCLUSIVE', value: 1n })],
      ['EEXIST', () => client.create(data, 'data.csv', { kind: 'EXCLUSIVE', value: 1n })],
      ['EEXIST', () => client.create(data, 'data.jsonl', { kind: 'GUARDED', value: noChange })],
      ['EEXIST', () => client.mkdir(root, 'data')],
      ['ENOENT', () => client.remove(data, '4913')],
      ['ENOENT', () => client.rename(data, 'none', data, 'other')],
      ['ENOENT', () => client.rename(data, 'none', data, 'data.csv')],
      ['ENOENT', () => client.rmdir(data, 'none')],
    ] as const)
      expect(await codeOf(change())).toBe(code)
    expect(await told(s)).toEqual([])
  })

  test('and many of them leave room for what went wrong before', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    expect(await codeOf(s.client.write(csv, (await s.client.getattr(csv)).size, 'x,Bad\n'))).toBe('EINVAL')
    for (let i = 0; i < 30; i++) await codeOf(s.client.remove(s.data, 'data.json'))
    const sentences = await told(s)
    expect(sentences[0]).toStartWith('data.csv: line 4, column id')
    expect(sentences.at(-1)).toContain('are not told')
    expect(sentences).toHaveLength(22)
  })
})
