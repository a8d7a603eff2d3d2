import { afterAll, describe, expect, test } from 'bun:test'
import { MemoryCache } from '../../src/cache/memory.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { csv } from '../../src/columns/text/formats/index.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { systemClock } from '../../src/core/clock.ts'
import { EndsOfFile } from '../../src/fs/ends-of-file.ts'
import { newLineage } from '../../src/fs/lineage.ts'
import { baseOf } from '../../src/fs/seen.ts'
import { type Seen, seenWhole } from '../../src/fs/seen-texts.ts'
import { openText, type TableText } from '../../src/fs/text/layout.ts'
import { Segments } from '../../src/fs/text/segments.ts'
import { bytesText } from '../../src/fs/text/text.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'

const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

const SCHEMA = parseDdl('id:Int64,name:String')
const HEADER = 'id,name\n'
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const row = (id: number): string => `${id},n${id}\n`

/** The texts of a table to which each commit appended these rows. */
async function textsOf(...appended: readonly (readonly number[])[]): Promise<TableText[]> {
  const table = await createTable(memoryStore(), { schema: SCHEMA })
  const segments = new Segments({ cache: new MemoryCache(1 << 20), pool, store: table.store })
  const types = SCHEMA.map(({ type }) => type)
  const texts: TableText[] = []
  for (const ids of appended) {
    const rows = ids.map(id => [BigInt(id), `n${id}`])
    const add = await writeDataFiles(table, [batchOf(types, rows)])
    await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    texts.push(await openText(table, await table.refresh(), segments, csv, texts.at(-1)))
  }
  return texts
}

/** The file was begun when all of these texts were there. */
const LATER = Number.MAX_SAFE_INTEGER

const ends = new EndsOfFile({ pinnedMs: 0, clock: systemClock, onChange: () => undefined })
const lineage = newLineage(1n, 'csv', 'current', 1n, ends)
const image = (...ids: readonly number[]) => bytesText(bytes(HEADER + ids.map(row).join('')))

/** A text and rows of its own client behind it, which are in the table, too, behind those of others. */
function withOwn(front: TableText, text: TableText, ...own: readonly number[]): Seen {
  return { lineage, front, size: front.size, tail: bytes(own.map(row).join('')), text, isWhole: true }
}

describe('the text that a file was made from, where programs of one machine had several', () => {
  test('is one of those that came later, if it has rows that the first has not', async () => {
    const [one, two] = await textsOf([1, 2, 3], [4])
    const seen = { first: [seenWhole(lineage, one!)], later: [seenWhole(lineage, two!)] }
    expect((await baseOf('data.csv', seen, image(1, 3, 4), two!, LATER)).base.version).toBe(two!.version)
  })

  test('is in doubt if another one of those that came later lacks fewer of its rows', async () => {
    const [one, , three] = await textsOf([1, 2, 3], [4], [5])
    const all = seenWhole(lineage, three!)
    const own = withOwn(one!, three!, 5)
    const first = [seenWhole(lineage, one!)]
    // Its program had 1, 2, 3 and 5, and has never seen 4.
    const file = image(1, 3, 5)
    await expect(baseOf('data.csv', { first, later: [all, own] }, file, three!, LATER)).rejects.toThrow('do it again')
    const { base, unseen } = await baseOf('data.csv', { first, later: [own, all] }, file, three!, LATER)
    expect({ base: base.version, from: unseen?.from }).toEqual({ base: three!.version, from: one!.size })
  })

  test('is in doubt if one that was read anew lacks fewer rows than the one opened last', async () => {
    const [one, two] = await textsOf([1, 2, 3], [4])
    const seen = { first: [withOwn(one!, two!, 4)], later: [seenWhole(lineage, one!)] }
    const changed = bytesText(bytes(`${HEADER}1,new\n${[2, 3].map(row).join('')}`))
    await expect(baseOf('data.csv', seen, changed, two!, LATER)).rejects.toThrow('do it again')
  })

  test('is in doubt if rows would be taken away that came after it was begun', async () => {
    const [one, two] = await textsOf([1, 2, 3], [4])
    const [first, last] = two!.snapshot.files
    const seen = { first: [seenWhole(lineage, two!), seenWhole(lineage, two!)], later: [] }
    const of = (file: ReturnType<typeof image>, sinceMs: number) => baseOf('data.csv', seen, file, two!, sinceMs)
    // 4 came behind the first moment, 2 did not.
    await expect(of(image(1, 2, 3), first!.modificationTime)).rejects.toThrow('do it again')
    expect((await of(image(1, 2, 3), last!.modificationTime)).base.version).toBe(two!.version)
    expect((await of(image(1, 3, 4), first!.modificationTime)).base.version).toBe(two!.version)
    // The same for rows that its client has written itself.
    const own = { first: [withOwn(one!, two!, 4), withOwn(one!, two!, 4)], later: [] }
    const begunMs = two!.snapshot.timestampMs
    await expect(baseOf('data.csv', own, image(1, 2, 3), two!, begunMs - 1)).rejects.toThrow('do it again')
    expect((await baseOf('data.csv', own, image(1, 2, 3), two!, begunMs)).base.version).toBe(two!.version)
  })

  test('is in doubt if a row that is new to the one opened last is a row of another one in a new form', async () => {
    const [one, two] = await textsOf([1, 2, 3], [4])
    // Opened last is the one without 4.
    const seen = { first: [seenWhole(lineage, two!), seenWhole(lineage, one!)], later: [] }
    const changed = bytesText(bytes(`${HEADER}${[1, 2, 3].map(row).join('')}4,new\n`))
    await expect(baseOf('data.csv', seen, changed, two!, LATER)).rejects.toThrow('do it again')
    const added = bytesText(bytes(`${HEADER}${[1, 2, 3, 5].map(row).join('')}`))
    expect((await baseOf('data.csv', seen, added, two!, LATER)).unseen?.from).toBe(one!.size)
  })

  test('is in doubt if another row would be taken out of another one of them', async () => {
    const [one, two] = await textsOf([1, 2, 3], [4])
    const mine = withOwn(one!, two!, 5)
    const [other] = await textsOf([1, 5, 3, 6])
    const seen = { first: [seenWhole(lineage, one!)], later: [mine, seenWhole(lineage, other!)] }
    await expect(baseOf('data.csv', seen, image(1, 3, 5), two!, LATER)).rejects.toThrow('do it again')
  })
})
