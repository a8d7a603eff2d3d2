import { describe, expect, test } from 'bun:test'
import { cellAt } from '../../src/columns/vectors.ts'
import { query } from '../../src/sql/engine.ts'
import { takeVersions } from '../../src/sql/versions.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import type { Table } from '../../src/table/table.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { append, remove, SCHEMA } from '../table/fixture.ts'

async function rowsOf(table: Table, sql: string): Promise<unknown[][]> {
  const result = await query(table, await table.refresh(), sql)
  const rows: unknown[][] = []
  for await (const batch of result.batches())
    for (let row = 0; row < batch.rows; row++) rows.push(batch.vectors.map(vector => cellAt(vector, row)))
  return rows
}

describe('a query of older versions', () => {
  test('joins them with the newest, each by its number or its time', async () => {
    using folder = temporaryFolder()
    let nowMs = Date.UTC(2026, 0, 1)
    const clock = { nowMs: () => nowMs }
    const store = localStore(folder.path)
    const configuration = { 'delta.enableInCommitTimestamps': 'true', 'delta.enableDeletionVectors': 'true' }
    const table = await createTable(store, { schema: SCHEMA, clock, configuration })
    for (const change of [() => append(table, 0, 3), () => append(table, 3, 5), () => remove(table, 0, [1])]) {
      nowMs += 86_400_000
      await change()
    }
    const counted = 'SELECT count(*)::INT FROM data'
    expect(await rowsOf(table, `${counted} VERSION AS OF 1`)).toEqual([[3]])
    expect(await rowsOf(table, `${counted} version as of '2'`)).toEqual([[5]])
    expect(await rowsOf(table, `${counted} FOR SYSTEM_VERSION AS OF 0`)).toEqual([[0]])
    expect(await rowsOf(table, `${counted} TIMESTAMP AS OF '2026-01-02 12:00:00'`)).toEqual([[3]])
    expect(await rowsOf(table, `${counted} TIMESTAMP AS OF '2026-01-04'`)).toEqual([[4]])
    const gone = `SELECT old.id FROM data VERSION AS OF 2 AS old LEFT JOIN data AS new ON new.id = old.id WHERE new.id IS NULL`
    expect(await rowsOf(table, gone)).toEqual([[1n]])
    // Without an alias it is called data.
    expect(await rowsOf(table, 'SELECT max(data.id) FROM "data" /* then */ VERSION AS OF 1')).toEqual([[2n]])
    const both = `(${counted} VERSION AS OF 1) UNION ALL (${counted} VERSION AS OF 1) UNION ALL (${counted})`
    expect(await rowsOf(table, both)).toEqual([[3], [3], [4]])
    expect(await rowsOf(table, `SELECT id FROM data VERSION AS OF 2 WHERE id = 4`)).toEqual([[4n]])
  })

  test('is refused where there is no such version, or what follows is none', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: SCHEMA })
    await append(table, 0, 3)
    await expect(rowsOf(table, 'FROM data VERSION AS OF 7')).rejects.toThrow('there is no version 7; the newest is 1')
    await expect(rowsOf(table, "FROM data VERSION AS OF 'x'")).rejects.toThrow('as in VERSION AS OF 3')
    await expect(rowsOf(table, 'FROM data VERSION AS OF')).rejects.toThrow('as in VERSION AS OF 3')
    await expect(rowsOf(table, "FROM data TIMESTAMP AS OF 'soon'")).rejects.toThrow('as in TIMESTAMP AS OF')
    const past = await rowsOf(table, "FROM data TIMESTAMP AS OF '2001-01-01'").catch((error: unknown) => error)
    expect(String(past)).toContain('version')
  })

  test('reads nothing else of the machine', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: SCHEMA })
    await append(table, 0, 3)
    const path = '/etc/hostname'
    await expect(
      rowsOf(table, `SELECT (SELECT count(*) FROM read_text('${path}')) FROM data VERSION AS OF 1`),
    ).rejects.toThrow('and no files')
  })
})

test('texts and comments that look like a version are none', () => {
  for (const sql of [
    `SELECT 'data VERSION AS OF 3'`,
    'SELECT 1 -- data VERSION AS OF 3',
    'SELECT version as of_ FROM data',
    'SELECT * FROM datas VERSION AS OF 3',
  ])
    expect(takeVersions(sql)).toEqual({ sql, versions: [] })
})
