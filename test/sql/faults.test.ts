import { beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import { execute } from '../../src/sql/engine.ts'
import { noteWritten } from '../../src/sql/record.ts'
import type { WrittenFile } from '../../src/sql/written.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable } from '../../src/table/table.ts'
import type { When } from '../helpers/faults.ts'
import { SystemFaults } from '../helpers/system-faults.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const faults = new SystemFaults()
beforeAll(() => faults.install())

const STATEMENTS = [
  `UPDATE data SET name = 'x' WHERE id < 3`,
  `INSERT INTO data SELECT id + 10, name FROM data`,
  'DELETE FROM data WHERE id = 2',
  `MERGE INTO data USING (VALUES (1), (9)) s(id) ON data.id = s.id
    WHEN MATCHED THEN UPDATE SET name = 'm' WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)`,
  'TRUNCATE data',
]
/** The first one writes all that the others do. */
const TRIED = process.env['FAULTS'] === 'all' ? STATEMENTS : STATEMENTS.slice(0, 1)
/** With and without deletion vectors, files are written in other places. */
const TABLES: readonly Record<string, string>[] = [{}, { 'delta.enableDeletionVectors': 'false' }]

/** Runs a statement as its process does while the n-th call fails. What failed; undefined if nothing did. */
async function tryNth(
  sql: string,
  configuration: Record<string, string>,
  n: number,
  when: When,
): Promise<string | undefined> {
  using folder = temporaryFolder()
  const location = join(folder.path, 'table')
  const record = join(folder.path, 'record')
  writeFileSync(record, '')
  const written: WrittenFile[] = []
  const store = localStore(location, {
    onWrite: (temporary, path) => {
      noteWritten(record, { temporary, path })
      written.push({ temporary, path })
    },
  })
  const table = await createTable(store, { schema: parseDdl('id:Int64,name:String'), configuration })
  await execute(table, `INSERT INTO data VALUES (1, 'a'), (2, 'b'), (3, 'c')`)
  written.length = 0
  const before = readdirSync(location).sort()
  faults.arm({ n, when })
  const status = await execute(table, sql, { written }).then(
    () => 'done',
    (error: unknown) => (error as Error).message,
  )
  const { hasFailed, failed } = faults
  faults.heal()
  const at = { sql, failed, when, status }
  const { snapshot } = await openTable(localStore(location))
  expect({ ...at, version: snapshot.version }).toEqual({ ...at, version: status === 'done' ? 2n : 1n })
  for (const file of snapshot.files) {
    await store.stat(file.path)
    await table.deletedRows(file)
  }
  if (status !== 'done') {
    expect(at).toEqual({ ...at, status: expect.stringMatching(/no space is left|the disk reported|injected/) })
    // Where a file could not be removed it stays, and is of no version.
    const left = readdirSync(location).filter(name => !before.includes(name))
    expect({ ...at, left }).toEqual({ ...at, left: [] })
    expect(await execute(table, sql, { written: [] })).toMatchObject({ kind: 'changed', version: 2n })
  }
  return hasFailed ? failed : undefined
}

describe('a statement', () => {
  for (const when of ['before', 'after'] as const) {
    test(`tells what it did, and takes back what it did not, whichever call of the system fails, ${when} it took effect`, async () => {
      for (const configuration of TABLES) {
        for (const sql of TRIED) {
          const failed: string[] = []
          for (let n = 1; ; n++) {
            const name = await tryNth(sql, configuration, n, when)
            if (name === undefined) break
            failed.push(name)
          }
          expect(failed).toContain('linkSync')
        }
      }
    }, 120_000)
  }
})
