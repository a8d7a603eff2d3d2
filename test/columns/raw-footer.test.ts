import { describe, expect, test } from 'bun:test'
import { RawFooter } from '../../src/columns/parquet/raw-footer.ts'
import { type Footer, parseFooter, readFooter, readMetadata, readRowGroup } from '../../src/columns/parquet/read.ts'
import type { ByteSource } from '../../src/columns/parquet/source.ts'
import { fieldsOf, itemsOf, THRIFT } from '../../src/columns/parquet/thrift-raw.ts'
import { ParquetFileWriter } from '../../src/columns/parquet/write.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { batchOf, cellAt } from '../../src/columns/vectors.ts'
import { memorySource } from '../helpers/memory-source.ts'

const SCHEMA = parseDdl('id:Int64,name:String,tags:array<string>')
const GROUPS = 20
const GROUP_ROWS = 3

async function file(): Promise<{ bytes: Uint8Array; metadata: Uint8Array; footer: Footer; dataEnd: number }> {
  const parts: Uint8Array[] = []
  const writer = new ParquetFileWriter({ write: part => void parts.push(part.slice()) }, SCHEMA, {
    rowGroupRows: GROUP_ROWS,
  })
  const rows = Array.from({ length: GROUPS * GROUP_ROWS }, (_, i) => [
    BigInt(i) - 3n,
    i % 7 === 0 ? null : `n${i}`,
    ['t'],
  ])
  await writer.write(
    batchOf(
      SCHEMA.map(({ type }) => type),
      rows,
    ),
  )
  await writer.finish()
  const bytes = new Uint8Array(Buffer.concat(parts))
  const source = memorySource('whole', bytes)
  const metadata = await readMetadata(source)
  return { bytes, metadata, footer: await readFooter(source), dataEnd: bytes.length - metadata.length - 8 }
}

async function ids(source: ByteSource): Promise<unknown[]> {
  const footer = await readFooter(source)
  const found: unknown[] = []
  for (let group = 0; group < footer.rowGroups.length; group++) {
    const { rows, vectors } = await readRowGroup(source, footer, group, SCHEMA.slice(0, 1))
    for (let row = 0; row < rows; row++) found.push(cellAt(vectors[0]!, row))
  }
  return found
}

describe('a footer of which a part is made', () => {
  test('names the row groups that are wanted, in their places, and all else that it had', async () => {
    const { bytes, metadata, footer, dataEnd } = await file()
    const end = new RawFooter(metadata).part([2, 3, 17], () => true)
    const part = memorySource('part', new Uint8Array(Buffer.concat([bytes.subarray(0, dataEnd), end])))
    expect(await ids(part)).toEqual([6, 7, 8, 9, 10, 11, 51, 52, 53].map(id => BigInt(id) - 3n))
    const made = await readFooter(part)
    expect(made.rows).toBe(9)
    expect(made.root).toEqual(footer.root)
    expect(made.createdBy).toBe(footer.createdBy)
    expect(made.keyValue).toEqual(footer.keyValue)
    expect(made.rowGroups[2]!.columns).toEqual(footer.rowGroups[17]!.columns)
  })

  test('says of columns that are not there that they are in another file', async () => {
    const { bytes, metadata, dataEnd } = await file()
    const end = new RawFooter(metadata).part([0], leaf => leaf === 1)
    const part = memorySource('part', new Uint8Array(Buffer.concat([bytes.subarray(0, dataEnd), end])))
    expect((await readFooter(part)).rowGroups[0]!.columns.map(({ otherFile }) => otherFile !== undefined)).toEqual([
      true,
      false,
      true,
    ])
    await expect(ids(part)).rejects.toThrow('its values are in another file')
  })

  test('has no list without items, of which readers would have to know the type', async () => {
    const { metadata } = await file()
    const lists = fieldsOf(metadata).filter(({ type }) => type === THRIFT.list)
    expect(lists.map(({ id }) => id)).toEqual([2, 4, 7])
    for (const { value } of lists) expect(itemsOf(value).length).toBeGreaterThan(0)
  })

  test('tells the bounds of a chunk', async () => {
    const { metadata } = await file()
    const raw = new RawFooter(metadata)
    const { entries, nulls, min, max } = raw.statistics(1, 0)!
    expect([entries, nulls]).toEqual([3, 0])
    expect([min, max].map(bound => Buffer.from(bound!).readBigInt64LE())).toEqual([0n, 2n])
    expect(raw.statistics(0, 1)?.nulls).toBe(1)
    expect(raw.statistics(GROUPS, 0)).toBeUndefined()
    expect(raw.statistics(0, 99)).toBeUndefined()
  })

  test('is refused if it is cut off, and makes nothing else of what is damaged', async () => {
    const { metadata } = await file()
    for (let length = 0; length < metadata.length; length++)
      expect(() => new RawFooter(metadata.subarray(0, length)), `${length} bytes`).toThrow()
    const all = Array.from({ length: GROUPS }, (_, i) => i)
    for (let at = 0; at < metadata.length; at += 3) {
      const damaged = Uint8Array.from(metadata)
      damaged[at] = damaged[at]! ^ 0x55
      const made = attempt(() => new RawFooter(damaged).part(all, () => true))
      const before = attempt(() => parseFooter({ name: 'damaged' }, damaged))
      // What can be read of both is the same.
      const after = made && attempt(() => parseFooter({ name: 'made' }, made.subarray(0, -8)))
      if (before !== undefined && after !== undefined && before.rowGroups.length === GROUPS)
        expect(after.rowGroups).toEqual(before.rowGroups)
    }
  })
})

function attempt<T>(run: () => T): T | undefined {
  try {
    return run()
  } catch {
    return undefined
  }
}
