import { describe, expect, test } from 'bun:test'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import { csvOf, execute } from '../../src/sql/engine.ts'
import { countedAs } from '../../src/sql/row-count.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

/** The engine does not open with it. */
const NOWHERE = '/nonexistent/posixlake/spill'

async function counted(table: Table, sql: string, spillFolder?: string): Promise<string> {
  const outcome = await execute(table, sql, spillFolder === undefined ? {} : { spillFolder })
  if (outcome.kind !== 'rows') throw new Error('there are no rows')
  return new TextDecoder().decode(Buffer.concat(await Array.fromAsync(csvOf(outcome.result))))
}

describe('The number of rows', () => {
  test('is told by the log, as the engine would tell it', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: parseDdl('id:Int64,name:String') })
    const spellings = [
      'SELECT count(*) FROM data',
      'select COUNT ( * )\n from "Data" ;',
      'SELECT count(*) AS N FROM DATA',
      'SELECT count(*) AS "a ""b"", c" FROM data',
    ]
    const steps = ['INSERT INTO data SELECT range, NULL FROM range(1000)', 'DELETE FROM data WHERE id % 7 = 3']
    for (const sql of ['', ...steps, 'INSERT INTO data VALUES (1, NULL)', 'DELETE FROM data']) {
      if (sql !== '') await execute(table, sql)
      for (const spelling of spellings) {
        // The engine is asked for what it takes for another question.
        const asked = await counted(table, `${spelling.replace(';', '')} LIMIT 2`)
        expect(await counted(table, spelling, NOWHERE)).toBe(asked)
      }
    }
  })

  test('is counted by the engine where the log does not tell it', async () => {
    using folder = temporaryFolder()
    const table = await createTable(localStore(folder.path), { schema: parseDdl('id:Int64') })
    await execute(table, 'INSERT INTO data SELECT range FROM range(10)')
    const log = join(folder.path, '_delta_log', `${'1'.padStart(20, '0')}.json`)
    const without = readFileSync(log, 'utf8').replaceAll(/"stats":"(?:[^"\\]|\\.)*",?/g, '')
    writeFileSync(log, without)
    const again = await openTable(localStore(folder.path))
    expect(await counted(again, 'SELECT count(*) FROM data')).toBe('count_star()\n10\n')
    await expect(counted(again, 'SELECT count(*) FROM data', NOWHERE)).rejects.toThrow()
  })

  test('is all that such a statement asks for', () => {
    for (const sql of [
      'SELECT count(id) FROM data',
      'SELECT count(*), 1 FROM data',
      'SELECT count(*) FROM data WHERE true',
      'SELECT count(*) FROM data d',
      'SELECT count(*) FROM main.data',
      'SELECT count(*) FROM data2',
      'SELECT count(*) FROM "data""',
      'SELECT count(*) AS 1a FROM data',
      'SELECT count(*) FROM data; SELECT 1',
      'EXPLAIN SELECT count(*) FROM data',
      'SELECT count(*) FILTER (id > 1) FROM data',
    ])
      expect(countedAs(sql)).toBeUndefined()
  })
})
