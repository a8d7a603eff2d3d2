import { describe, expect, test } from 'bun:test'
import { MemoryCache } from '../../src/cache/memory.ts'
import { ParquetError } from '../../src/columns/errors.ts'
import {
  decodeRowGroup,
  fetchRowGroup,
  readFooter,
  readMetadata,
  readRowGroup,
} from '../../src/columns/parquet/read.ts'
import { type ByteSource, storeSource } from '../../src/columns/parquet/source.ts'
import { ParquetFileWriter } from '../../src/columns/parquet/write.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { batchOf, cellAt } from '../../src/columns/vectors.ts'
import { cachedStore } from '../../src/storage/cached.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { memorySource } from '../helpers/memory-source.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { seeded } from '../nfs/random.ts'

const SCHEMA = parseDdl(
  'id:Int64,name:String,city:String,score:Float64,place:struct<street:string,number:int>,tags:map<string,string>',
)
const NAME = 'part-00000-c8fe5ad1-c6b8-4dc6-8e7b-4a19f9a17a84.snappy.parquet'
const ROWS = 400

type Rows = readonly (readonly unknown[])[]

async function file(groups = 1): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  const options = { rowGroupRows: Math.ceil(ROWS / groups) }
  const writer = new ParquetFileWriter({ write: part => void parts.push(part.slice()) }, SCHEMA, options)
  const { below, next } = seeded(7)
  const rows = Array.from({ length: ROWS }, (_, i) => [
    BigInt(i * i),
    i % 7 === 0 ? null : `name ${below(1e9)}`,
    ['Oslo', 'Bergen', 'Vard\u00f8'][i % 3]!,
    next(),
    i % 5 === 0 ? null : [`street ${below(50)}`, below(1000)],
    Array.from({ length: i % 3 }, (_, tag) => [`tag ${tag}`, `value ${below(1e6)}`] as const),
  ])
  await writer.write(
    batchOf(
      SCHEMA.map(({ type }) => type),
      rows,
    ),
  )
  await writer.finish()
  return new Uint8Array(Buffer.concat(parts))
}

async function read(source: ByteSource, isFetched = false): Promise<Rows> {
  const footer = await readFooter(source)
  const rows: unknown[][] = []
  for (let group = 0; group < footer.rowGroups.length; group++) {
    const batch = isFetched
      ? decodeRowGroup(await fetchRowGroup(source, footer, group, SCHEMA), SCHEMA)
      : await readRowGroup(source, footer, group, SCHEMA)
    for (let row = 0; row < batch.rows; row++) rows.push(batch.vectors.map(vector => cellAt(vector, row)))
  }
  return rows
}

/** A store that gives a byte back otherwise the first times that it is read. */
function damaging(inside: ObjectStore, at: number, times: number): ObjectStore {
  let left = times
  return {
    ...inside,
    read: async (path, start = 0, end) => {
      const bytes = (await inside.read(path, start, end)).slice()
      const place = at - start
      if (place >= 0 && place < bytes.length && left-- > 0) bytes[place] = bytes[place]! ^ 0x10
      return bytes
    },
  }
}

describe('a data file of ours', () => {
  test('that is damaged in a page is not read as other values', async () => {
    const bytes = await file()
    const whole = await read(memorySource('whole', bytes))
    const dataEnd = bytes.length - (await readMetadata(memorySource('whole', bytes))).length - 8
    const { below } = seeded(3)
    let told = 0
    for (let at = 4; at < dataEnd; at += 7) {
      const damaged = bytes.slice()
      damaged[at] = damaged[at]! ^ (1 << below(8))
      const outcome = await read(memorySource('damaged', damaged)).catch((error: Error) => error)
      if (outcome instanceof Error) {
        expect(outcome).toBeInstanceOf(ParquetError)
        told++
      } else expect(outcome).toEqual(whole)
    }
    expect(told).toBeGreaterThan((dataEnd / 7) * 0.95)
  })

  for (const isFetched of [false, true]) {
    test(`that is damaged on its way is read again, and is right from then on${isFetched ? ' (for other threads)' : ''}`, async () => {
      const bytes = await file(4)
      const whole = await read(memorySource('whole', bytes))
      const inside = memoryStore()
      await inside.write(NAME, bytes)
      for (let at = 10; at < bytes.length; at += 997) {
        const cache = new MemoryCache(64 << 20)
        const store = cachedStore(damaging(inside, at, 1), cache)
        const outcome = await read(storeSource(store, NAME, bytes.length), isFetched).catch((error: Error) => error)
        const second = await read(storeSource(cachedStore(inside, cache), NAME, bytes.length), isFetched)
        // What footers say has no checksum: it can be refused.
        if (!(outcome instanceof Error)) expect(outcome).toEqual(whole)
        expect(second).toEqual(whole)
      }
    })
  }
})
