import { describe, expect, test } from 'bun:test'
import { systemClock } from '../../src/core/clock.ts'
import { COMPACTION, Compactor } from '../../src/fs/compactor.ts'
import { COMPACT_LIMITS, compact } from '../../src/table/operations/compact.ts'
import { optimize } from '../../src/table/operations/optimize.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { type Fattr, type Handle, NfsClient } from '../nfs/client.ts'
import { commitLines, foreignTable } from '../table/fixture.ts'
import { codeOf, HELD, type ServedOthers, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const HEADER = 'id,name\n'
const row = (id: number): string => `${id},n${id}\n`
const rows = (from: number, to: number): string => Array.from({ length: to - from }, (_, i) => row(from + i)).join('')
const TEXT = HEADER + rows(0, 10)

const ROW_TRACKING = "ALTER TABLE data SET TBLPROPERTIES ('delta.enableRowTracking' = 'true')"

/** Kinds of tables, by how rows are taken away. */
const TABLES: readonly (readonly [string, ServedOthers, alter?: string])[] = [
  ['vectors on demand', { configuration: { 'posixlake.deletionVectors': 'when-needed' } }],
  ['deletion vectors', { configuration: { 'delta.enableDeletionVectors': 'true' } }],
  ['files that are written anew', {}],
  [
    'a change data feed',
    { configuration: { 'delta.enableDeletionVectors': 'true', 'delta.enableChangeDataFeed': 'true' } },
  ],
  ['row tracking', { configuration: { 'delta.enableDeletionVectors': 'true' } }, ROW_TRACKING],
  ['row tracking, without deletion vectors', {}, ROW_TRACKING],
]

async function append(s: ServedTable, csv: Handle, id: number): Promise<void> {
  const { size } = await s.client.getattr(csv)
  await s.client.write(csv, size, row(id))
}

/** A table of ten rows in ten files. */
async function served(others: ServedOthers = {}, alter?: string): Promise<ServedTable> {
  const s = await serveNew(DDL, '', HELD, undefined, others)
  if (alter !== undefined) await s.elsewhere(alter)
  for (let id = 0; id < 10; id++) await append(s, await s.csv(), id)
  expect(await files(s)).toBe(10)
  return s
}

async function files({ server }: ServedTable): Promise<number> {
  return (await server.lake.table.refresh()).live.size
}

async function stat({ client }: ServedTable, csv: Handle): Promise<Pick<Fattr, 'fileid' | 'size' | 'mtime' | 'ctime'>> {
  const { fileid, size, mtime, ctime } = await client.getattr(csv)
  return { fileid, size, mtime, ctime }
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise(resolve => setTimeout(resolve, 5))
}

/** By another process, and by the server's own: in which nobody looks at the log to hear of it. */
const WAYS: readonly (readonly [string, (s: ServedTable) => Promise<boolean>])[] = [
  ['another process', s => s.compacted()],
  ['its server', async s => (await optimize(s.server.lake.table)).commits > 0],
]

describe('files that are put together', () => {
  for (const [who, compacted] of WAYS) {
    test(`by ${who} are not noticed by those who read, follow and append`, async () => {
      await using s = await served()
      const csv = await s.csv()
      const before = await stat(s, csv)
      expect(await s.client.readText(csv)).toBe(TEXT)
      expect(await compacted(s)).toBe(true)
      expect(await files(s)).toBe(1)
      expect(await stat(s, csv)).toEqual(before)
      // An open gets the same handle.
      expect(await s.csv()).toEqual(csv)
      expect(await stat(s, csv)).toEqual(before)
      expect(await s.client.readText(csv)).toBe(TEXT)
      // Who appends behind the end that it knows, and who follows.
      await s.client.write(csv, before.size, row(10))
      expect(await s.client.readText(csv)).toBe(TEXT + row(10))
      expect(await s.csv()).toEqual(csv)
      expect(await s.read('data/data.jsonl')).toContain('{"id":10,"name":"n10"}\n')
      expect(await s.read('.errors')).toBe('')
    })

    test(`by ${who} are not noticed by another client that appends behind what it was shown`, async () => {
      await using s = await served()
      const client = await NfsClient.connect({ port: s.server.port })
      const csv = await client.walk(await client.mount(s.server.exportPath), 'data/data.csv')
      const end = BigInt(TEXT.length)
      expect(await compacted(s)).toBe(true)
      await append(s, await s.csv(), 10)
      expect(await compacted(s)).toBe(true)
      // What it writes with its last page is all the text that it knows.
      await client.write(csv, 0n, TEXT + row(11))
      await client.write(csv, end + BigInt(row(11).length), row(12))
      expect(await s.read()).toBe(TEXT + rows(10, 13))
      client.close()
    })
  }

  for (const [kind, others, alter] of TABLES) {
    test(`are no conflict for a save that was begun before (${kind})`, async () => {
      await using s = await served(others, alter)
      const csv = await s.csv()
      const edited = TEXT.replace('3,n3', '3,three')
        .replace(row(7), '')
        .replace(row(8), `${row(8)}88,new\n`)
      await s.client.setattr(csv, { size: 0n })
      await s.client.write(csv, 0n, edited.slice(0, 20), 'UNSTABLE')
      expect(await s.compacted()).toBe(true)
      await s.client.write(csv, 20n, edited.slice(20), 'UNSTABLE')
      await s.client.commit(csv)
      expect(await s.read()).toBe(edited)
      expect(await s.read('.errors')).toBe('')
    })

    test(`are none for what others changed, and what is made of it (${kind})`, async () => {
      await using s = await served(others, alter)
      const csv = await s.csv()
      expect(await s.client.readText(csv)).toBe(TEXT)
      // A byte in the middle, by a program that had opened the file before.
      expect(await s.compacted()).toBe(true)
      await s.client.write(csv, BigInt(TEXT.indexOf('n4')), 'N')
      const once = TEXT.replace('n4', 'N4')
      expect(await s.read()).toBe(once)
      // A file that takes the name, as `sed -i` makes it.
      const { handle } = await s.client.create(s.data, 'temp')
      await s.client.write(handle, 0n, once.replace('n5', 'five'))
      await append(s, await s.csv(), 10)
      expect(await s.compacted()).toBe(true)
      await s.client.rename(s.data, 'temp', s.data, 'data.csv')
      expect(await s.read()).toBe(once.replace('n5', 'five') + row(10))
      expect(await s.read('.errors')).toBe('')
    })
  }

  test('are none for a save of rows next to those that others changed before', async () => {
    await using s = await served({ configuration: { 'delta.enableDeletionVectors': 'true' } })
    const csv = await s.csv()
    expect(await s.client.readText(csv)).toBe(TEXT)
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, TEXT.replace('n4', 'four').replace(row(5), `${row(5)}55,new\n`), 'UNSTABLE')
    await s.elsewhere("UPDATE data SET name = 'eight' WHERE id = 8")
    await s.elsewhere('DELETE FROM data WHERE id = 2')
    expect(await s.compacted()).toBe(true)
    await s.elsewhere("INSERT INTO data VALUES (10, 'n10')")
    expect(await s.compacted()).toBe(true)
    await s.client.commit(csv)
    const text = await s.read()
    expect(text.split('\n').sort()).toEqual(
      `${TEXT.replace('n4', 'four').replace('n8', 'eight').replace(row(2), '')}${row(10)}55,new\n`.split('\n').sort(),
    )
    expect(text).toContain('4,four\n5,n5\n55,new\n6,n6\n')
    expect(await s.read('.errors')).toBe('')
  })

  test('are a conflict for a save that changes a row which others changed before, and it is told', async () => {
    await using s = await served({ configuration: { 'delta.enableDeletionVectors': 'true' } })
    const csv = await s.csv()
    expect(await s.client.readText(csv)).toBe(TEXT)
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, TEXT.replace('n4', 'four'), 'UNSTABLE')
    await s.elsewhere("UPDATE data SET name = 'vier' WHERE id = 4")
    expect(await s.compacted()).toBe(true)
    expect(await codeOf(s.client.commit(csv))).not.toBe('OK')
    expect(await s.read()).toContain('4,vier\n')
    expect(await s.read('.errors')).toContain('by another writer')
  })

  test('are not noticed by who reads the files themselves: an old one is read on', async () => {
    await using s = await served()
    const [name] = (await s.client.list(s.data)).map(entry => entry.name).filter(name => name.endsWith('.parquet'))
    const file = await s.client.walk(s.data, name!)
    const bytes = await s.client.readAll(file)
    expect(await s.compacted()).toBe(true)
    expect(await s.client.readAll(file)).toEqual(bytes)
    expect((await s.client.list(s.data)).filter(entry => entry.name.endsWith('.parquet'))).toHaveLength(1)
  })

  for (const who of ['it', 'another process'])
    test(`go on under their handles after a restart, whether ${who} has seen it`, async () => {
      const s = await served()
      const csv = await s.csv()
      const before = await stat(s, csv)
      expect(await s.compacted()).toBe(true)
      if (who === 'it') expect(await stat(s, csv)).toEqual(before)
      await using after = await s.restarted()
      expect(await stat(after, csv)).toEqual(before)
      expect(await after.csv()).toEqual(csv)
      expect(await after.client.readText(csv)).toBe(TEXT)
      await after.client.write(csv, before.size, row(10))
      expect(await after.read()).toBe(TEXT + row(10))
    })
})

describe('a server with many small files', () => {
  const compaction = { ...COMPACTION, limits: { ...COMPACT_LIMITS, filesMin: 8 }, quietMs: 20 }

  test('puts them together at a quiet moment, and says so', async () => {
    const log: string[] = []
    await using s = await served({ compaction, log: sentence => log.push(sentence) })
    await until(async () => (await files(s)) < 3)
    expect(await s.read()).toBe(TEXT)
    const stats = JSON.parse(await s.read('.stats')) as { last_commits: { operation: string }[] }
    expect(stats.last_commits[0]?.operation).toBe('OPTIMIZE')
    await until(() => /became/.test(s.server.compaction() ?? ''))
    expect(log.some(sentence => /small files became 1$/.test(sentence))).toBe(true)
    const [last] = await s.server.lake.table.history(1)
    expect(last?.parameters).toMatchObject({ auto: 'true' })
  })

  test('waits for writers, and gives up what it has begun when one comes', async () => {
    await using s = await served()
    const { table } = s.server.lake
    const paths = async (): Promise<string[]> =>
      (await table.store.list('')).map(({ path }) => path).filter(path => !path.startsWith('_'))
    const before = await paths()
    let looks = 0
    let isQuiet = (): boolean => false
    const compactor = new Compactor({
      table,
      clock: systemClock,
      options: { ...compaction, quietMs: 1 },
      mayWrite: () => true,
      isQuiet: () => {
        looks++
        return isQuiet()
      },
      goOn: async () => undefined,
      log: () => undefined,
    })
    compactor.noteChange()
    await until(() => looks > 5)
    expect(await paths()).toEqual(before)
    // Writers are there whenever it has begun.
    let begun = 0
    isQuiet = () => looks % 2 === 0 && ++begun > 0
    await until(() => begun > 5)
    isQuiet = () => false
    await until(async () => (await paths()).length === before.length)
    expect(await files(s)).toBe(10)
    isQuiet = () => true
    await until(async () => (await files(s)) === 1)
    await compactor.stop()
    expect(compactor.status).toBe('10 small files became 1, in 1 commit')
  })

  test('goes on with a table that never has a quiet moment', async () => {
    await using s = await served()
    const compactor = new Compactor({
      table: s.server.lake.table,
      clock: systemClock,
      options: { ...compaction, quietMs: 1, overdueFiles: 10, overdueMs: 50 },
      mayWrite: () => true,
      isQuiet: () => false,
      goOn: async () => undefined,
      log: () => undefined,
    })
    compactor.noteChange()
    await until(async () => (await files(s)) === 1)
    await compactor.stop()
  })

  test('leaves them where nobody may write, and not in a table that only takes rows', async () => {
    await using s = await served()
    const { table } = s.server.lake
    const log: string[] = []
    const parts = { table, clock: systemClock, isQuiet: () => true, goOn: async () => undefined }
    const options = { ...compaction, quietMs: 1 }
    let asked = 0
    const mayWrite = (): boolean => ++asked < 0
    const reader = new Compactor({ ...parts, options, mayWrite, log: sentence => log.push(sentence) })
    reader.noteChange()
    await until(() => asked > 0)
    await reader.stop()
    expect(log).toEqual([])
    await s.elsewhere("ALTER TABLE data SET TBLPROPERTIES ('delta.appendOnly' = 'true')")
    await table.refresh()
    const writer = new Compactor({ ...parts, options, mayWrite: () => true, log: sentence => log.push(sentence) })
    writer.noteChange()
    // No row goes.
    await until(async () => (await files(s)) === 1)
    await writer.stop()
  })

  test('leaves those of a table that it cannot write, and says why', async () => {
    const store = memoryStore()
    const unknown = { minReaderVersion: 1, minWriterVersion: 7, writerFeatures: ['tomorrow'] }
    await foreignTable(store, { protocol: unknown })
    const add = (i: number) => ({ path: `${i}`, partitionValues: {}, size: 1, modificationTime: i, dataChange: true })
    await commitLines(
      store,
      1n,
      Array.from({ length: 10 }, (_, i) => ({ add: add(i) })),
    )
    const log: string[] = []
    const compactor = new Compactor({
      table: await openTable(store),
      clock: systemClock,
      options: { ...compaction, quietMs: 1 },
      mayWrite: () => true,
      isQuiet: () => true,
      goOn: async () => undefined,
      log: sentence => log.push(sentence),
    })
    compactor.noteChange()
    await until(() => log.length > 0)
    expect(log[0]).toMatch(/^small files are not put together: .*tomorrow/)
    expect(compactor.status).toMatch(/^small files stay: .*tomorrow/)
    await compactor.stop()
  })

  test('leaves few, and leaves them to a table that says so', async () => {
    const table = async (s: ServedTable): Promise<Table> => {
      await s.server.lake.table.refresh()
      return s.server.lake.table
    }
    await using few = await served()
    expect(await compact(await table(few))).toEqual({ kind: 'few' })
    await using asked = await served({ configuration: { 'delta.autoOptimize.autoCompact': 'false' } })
    expect(await compact(await table(asked), {}, { ...COMPACT_LIMITS, filesMin: 2 })).toEqual({ kind: 'few' })
  })

  test('writes a row again a few times only, however many come', async () => {
    await using s = await serveNew(DDL, '')
    const limits = { ...COMPACT_LIMITS, filesMin: 4 }
    let written = 0
    const count = 120
    for (let id = 0; id < count; id++) {
      await append(s, await s.csv(), id)
      const { table } = s.server.lake
      if ((await compact(table, {}, limits)).kind !== 'committed') continue
      const [last] = await table.history(1)
      written += Number(last?.metrics['numRemovedFiles'])
    }
    expect(await s.read()).toBe(HEADER + rows(0, count))
    expect(await files(s)).toBeLessThan(20)
    expect(written).toBeLessThan(count * 4)
  })

  test('of which another process was quicker leaves no file behind', async () => {
    await using s = await served()
    const { table } = s.server.lake
    const pause = async (): Promise<void> => void (await s.compacted())
    const before = (await table.store.list('')).map(({ path }) => path)
    expect(await compact(table, { pause }, { ...COMPACT_LIMITS, filesMin: 2 })).toEqual({ kind: 'overtaken' })
    const made = (await table.store.list('')).map(({ path }) => path).filter(path => !before.includes(path))
    expect(made.filter(path => path.endsWith('.parquet') && !path.includes('/'))).toHaveLength(1)
  })
})
