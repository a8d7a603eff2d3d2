import { describe, expect, test } from 'bun:test'
import { cellAt } from '../../src/columns/vectors.ts'
import { execute } from '../../src/sql/engine.ts'
import { Session } from '../../src/sql/session.ts'
import { localStore } from '../../src/storage/local.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { Random } from '../columns/values.ts'
import { countingStore } from '../helpers/counting.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { type Made, predicateOf, randomTable } from './random-tables.ts'

const SEED = Number(process.env['POSIXLAKE_FUZZ_SEED'] ?? 20_261_128)
const TABLES = Number(process.env['POSIXLAKE_FUZZ_TABLES'] ?? 4)
const PREDICATES = 12

/** The same store, as if its files were on another machine. */
function farAway(store: ObjectStore): ObjectStore {
  return { ...countingStore(store), localPath: () => undefined }
}

/** The rows of a query as text, sorted. A sentence if the engine refuses it. */
async function rowsOf(table: Table, sql: string): Promise<string[] | string> {
  try {
    const outcome = await execute(table, sql)
    if (outcome.kind !== 'rows') throw new Error('a query gave no rows')
    const rows: string[] = []
    for await (const batch of outcome.result.batches())
      for (let row = 0; row < batch.rows; row++)
        rows.push(Bun.inspect(batch.vectors.map(vector => cellAt(vector, row))))
    return rows.sort()
  } catch (error) {
    return String(error)
  }
}

function columnsOf(random: Random, { types }: Made): string {
  const names = [...types.keys()].filter(() => random.below(3) === 0).map(name => `d."${name}"`)
  return random.of(['*', 'count(*)', names.length === 0 ? 'count(*)' : names.join(', ')])
}

/** A table of files of small row groups, opened as one of this machine and as one of another. */
async function twice(random: Random, folder: string): Promise<{ made: Made; here: Table; there: Table }> {
  const store = localStore(folder)
  const made = await randomTable(random, store, { rowsMax: 12, groupRows: 1 + random.below(4) })
  return { made, here: await openTable(store), there: await openTable(farAway(store)) }
}

/** How many rows the engine could get at for a query. */
async function rowsAtHand(table: Table, wanted?: string): Promise<number> {
  const data = { table, snapshot: table.snapshot, ...(wanted === undefined ? {} : { wanted }) }
  const session = await Session.open(data, {})
  const rows = session.relation.parts.flatMap(({ runs }) => runs).reduce((sum, run) => sum + run.rows, 0)
  session.close()
  return rows
}

describe('of a table that is elsewhere', () => {
  test(`queries have the rows of a full scan: ${TABLES} random tables from seed ${SEED}`, async () => {
    const random = new Random(SEED)
    let read = 0
    let possible = 0
    for (let n = 0; n < TABLES; n++) {
      using folder = temporaryFolder()
      const { made, here, there } = await twice(random, folder.path)
      // All rows, which no filter has had a part in.
      const all = await Session.open({ table: here, snapshot: here.snapshot }, {})
      try {
        const total = await rowsAtHand(there)
        await all.run(`CREATE TEMP TABLE whole AS SELECT * FROM data`)
        for (let i = 0; i < PREDICATES; i++) {
          const where = `WHERE ${predicateOf(random, made, 2)}`
          const select = `SELECT ${columnsOf(random, made)} FROM data d ${where}`
          const said = `seed ${SEED}, table ${n}: ${select}`
          const found = await rowsOf(there, select)
          expect(found, said).toEqual(await rowsOf(here, select))
          const [[count] = []] = await all.rows(`SELECT count(*) FROM whole d ${where}`).catch(() => [['refused']])
          const counted = await rowsOf(there, `SELECT count(*) FROM data d ${where}`)
          if (count !== 'refused') expect(counted, said).toEqual([Bun.inspect([count])])
          read += await rowsAtHand(there, select)
          possible += total
        }
      } finally {
        all.close()
      }
    }
    // Something is ruled out, or nothing was tried.
    expect(read).toBeLessThan(possible * 0.8)
  }, 600_000)

  test(`UPDATE, DELETE and MERGE change the rows that they change of one that is here: from seed ${SEED}`, async () => {
    const random = new Random(SEED + 1)
    for (let n = 0; n < TABLES; n++) {
      const seed = random.below(1 << 30)
      using near = temporaryFolder()
      using far = temporaryFolder()
      const { made, here } = await twice(new Random(seed), near.path)
      const { there } = await twice(new Random(seed), far.path)
      for (let i = 0; i < 6; i++) {
        const where = `WHERE ${predicateOf(random, made, 1)}`
        const keys = `(SELECT DISTINCT d.i AS k FROM data d ${where} AND d.l % 3 <> 1)`
        const sql = random.of([
          `DELETE FROM data d ${where} AND d.i % 2 = 0`,
          `UPDATE data d SET s = 'new' ${where}`,
          `MERGE INTO data d USING ${keys} q ON d.i = q.k AND d.b WHEN MATCHED THEN UPDATE SET f = 1
           WHEN NOT MATCHED THEN INSERT (i, s) VALUES (q.k + 1, 'inserted')`,
          `MERGE INTO data d USING ${keys} q ON q.k = d.i WHEN MATCHED AND d.l > 15 THEN DELETE
           WHEN MATCHED THEN UPDATE SET s = 'merged'`,
        ])
        const run = async (table: Table): Promise<unknown> =>
          execute(table, sql).then(
            outcome => ({ ...outcome, version: undefined }),
            (error: unknown) => String(error),
          )
        expect(await run(there), sql).toEqual(await run(here))
        expect(await rowsOf(there, 'SELECT * FROM data'), sql).toEqual(await rowsOf(here, 'SELECT * FROM data'))
      }
    }
  }, 600_000)

  test('what was not fetched is refused by the engine, and never read as something', async () => {
    using folder = temporaryFolder()
    const { made, there } = await twice(new Random(SEED), folder.path)
    const session = await Session.open({ table: there, snapshot: there.snapshot }, {})
    try {
      const names = [...made.types.keys()].filter(name => !there.snapshot.partitionColumns.includes(name))
      const read = (name: string): Promise<unknown> =>
        // Past what fetches.
        session.connection.runAndReadAll(
          `SELECT max("${name}"), count("${name}") FROM data WHERE "${name}" IS NOT NULL`,
        )
      for (const name of names) await expect(read(name), name).rejects.toThrow('Only inlined data files are supported')
      await session.run(`SELECT max("${names[0]}") FROM data`)
      expect(await read(names[0]!)).toBeDefined()
      for (const name of names.slice(1)) await expect(read(name), name).rejects.toThrow('Only inlined data files')
    } finally {
      session.close()
    }
  })
})
