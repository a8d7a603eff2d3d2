import { describe, expect, test } from 'bun:test'
import { parseDdl } from '../../src/columns/schema.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { committed } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'

const SCHEMA = parseDdl('a:Int64,s:struct<b:int,c:struct<d:int,e:int>>,`x.y`:Int64,z:Int64')

/** The columns that have statistics in a file which a table with these properties gets. */
async function indexed(properties: Readonly<Record<string, string>>): Promise<unknown> {
  const configuration = Object.fromEntries(
    Object.entries(properties).map(([name, value]) => [`delta.dataSkipping${name}`, value]),
  )
  const table = await createTable(memoryStore(), { schema: SCHEMA, configuration })
  await using transaction = table.begin()
  await transaction.write([
    batchOf(
      SCHEMA.map(({ type }) => type),
      [[1n, [2, [3, 4]], 5n, 6n]],
    ),
  ])
  const { snapshot } = committed(await transaction.commit({ name: 'WRITE' }))
  const stats = JSON.parse(snapshot.files[0]!.add.stats!) as { minValues: unknown; numRecords: number }
  expect(stats.numRecords).toBe(1)
  return stats.minValues
}

const ALL = { a: 1, s: { b: 2, c: { d: 3, e: 4 } }, 'x.y': 5, z: 6 }

describe('the statistics of new files', () => {
  test('are of as many leaf columns as the table says', async () => {
    expect(await indexed({ NumIndexedCols: '0' })).toEqual({})
    expect(await indexed({ NumIndexedCols: '3' })).toEqual({ a: 1, s: { b: 2, c: { d: 3 } } })
    expect(await indexed({ NumIndexedCols: '-1' })).toEqual(ALL)
    for (const text of ['', 'many', '1.5', '-2']) expect(await indexed({ NumIndexedCols: text })).toEqual(ALL)
  })

  test('are of the columns that it names, in any case, and of all in a struct; that counts first', async () => {
    expect(await indexed({ StatsColumns: 'z, s.c' })).toEqual({ s: { c: { d: 3, e: 4 } }, z: 6 })
    expect(await indexed({ StatsColumns: '`x.y`,S.B', NumIndexedCols: '1' })).toEqual({ s: { b: 2 }, 'x.y': 5 })
    expect(await indexed({ StatsColumns: 'nothing' })).toEqual({})
    for (const text of ['', ' ', 'a,,b', '`open'])
      expect(await indexed({ StatsColumns: text, NumIndexedCols: '1' })).toEqual({ a: 1 })
  })

  test('are the same in a file that is written anew', async () => {
    const configuration = { 'delta.dataSkippingStatsColumns': 'z', 'delta.enableDeletionVectors': 'false' }
    const table = await createTable(memoryStore(), { schema: SCHEMA, configuration })
    const rows = [1n, 2n].map(i => [i, [2, [3, 4]], 5n, 10n + i])
    {
      await using transaction = table.begin()
      await transaction.write([
        batchOf(
          SCHEMA.map(({ type }) => type),
          rows,
        ),
      ])
      await transaction.commit({ name: 'WRITE' })
    }
    await using transaction = table.begin()
    transaction.deleteRows({ file: table.snapshot.files[0]!, rows: Uint32Array.of(0) })
    const { snapshot } = committed(await transaction.commit({ name: 'DELETE' }))
    expect(JSON.parse(snapshot.files[0]!.add.stats!)).toMatchObject({ numRecords: 1, minValues: { z: 12 } })
  })
})
