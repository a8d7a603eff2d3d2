import { describe, expect, test } from 'bun:test'
import { readerOf } from '../../src/columns/parquet/levels.ts'
import { readPageHeader } from '../../src/columns/parquet/metadata.ts'
import { chunkPlaces, readFooter } from '../../src/columns/parquet/read.ts'
import { storeSource } from '../../src/columns/parquet/source.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { checkpointPath, LAST_CHECKPOINT } from '../../src/table/log/paths.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { append, failure, remove, SCHEMA } from './fixture.ts'

/** The varint of a checksum in a page header. */
function zigZag(checksum: number): number[] {
  const bytes: number[] = []
  let left = ((checksum << 1) ^ ((checksum | 0) >> 31)) >>> 0
  for (; left > 0x7f; left >>>= 7) bytes.push((left & 0x7f) | 0x80)
  return [...bytes, left]
}

/** Makes the statistics of a checkpoint unreadable, behind a checksum that is right. */
async function spoilStatistics(store: ObjectStore, path: string): Promise<void> {
  const bytes = (await store.read(path)).slice()
  const source = storeSource(store, path, bytes.length)
  const footer = await readFooter(source)
  const add = footer.root.children.find(({ name }) => name === 'add')!
  const stats = add.children.find(({ name }) => name === 'stats')!
  const [place] = chunkPlaces(source, footer, 0, [stats])
  const reader = readerOf(bytes.subarray(place!.start, place!.end))
  const { compressedSize, crc } = readPageHeader(reader)
  const body = bytes.subarray(place!.start + reader.offset, place!.start + reader.offset + compressedSize)
  const at = Buffer.from(bytes.buffer).indexOf(Uint8Array.from(zigZag(crc!)), place!.start)
  for (let value = 0; ; value++) {
    body.fill(value, body.length - 4)
    body[body.length - 4] = 0xff
    const checksum = zigZag(Bun.hash.crc32(body))
    if (checksum.length !== zigZag(crc!).length) continue
    bytes.set(checksum, at)
    break
  }
  await store.write(path, bytes)
}

describe('the files of a checkpoint', () => {
  test('are counted with those that came and went since, before anybody looks at one', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA })
    for (let i = 0; i < 5; i++) await append(table, 10 * i, 10 * i + 10)
    await remove(table, 1, [0, 1])
    await remove(table, 2, [3])
    await table.checkpoint()
    await remove(table, 1, [2])
    await remove(table, 3, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    await append(table, 50, 57)
    await table.close()
    const { live, files } = table.snapshot
    const { snapshot } = await openTable(store)
    expect(snapshot.live.size).toBe(live.size)
    expect(snapshot.live.rows).toBe(50n - 2n - 1n - 1n - 10n + 7n)
    expect(snapshot.live.rows).toBe(live.rows)
    expect(snapshot.files.map(({ key }) => key)).toEqual(files.map(({ key }) => key))
  })

  test('whose statistics are damaged, as no checksum tells, are told of by whoever asks for them', async () => {
    const store = memoryStore()
    const table = await createTable(store, { schema: SCHEMA })
    for (let i = 0; i < 5; i++) await append(table, 10 * i, 10 * i + 10)
    await table.checkpoint()
    await table.close()
    const path = checkpointPath(table.snapshot.version)
    expect(await store.stat(LAST_CHECKPOINT)).toBeDefined()
    await spoilStatistics(store, path)
    const { snapshot } = await openTable(store)
    expect(snapshot.live.size).toBe(5)
    for (const ask of [() => snapshot.live.rows, () => snapshot.files[2]!.stats, () => snapshot.files[2]!.add]) {
      const { code, message } = await failure(async () => ask())
      expect([code, message]).toEqual([
        'corrupt_log',
        expect.stringContaining(`${path}: the checkpoint cannot be read`),
      ])
    }
  })
})
