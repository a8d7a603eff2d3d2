import { describe, expect, test } from 'bun:test'
import { parseDdl } from '../../src/columns/schema.ts'
import { batchOf } from '../../src/columns/vectors.ts'
import { execute } from '../../src/sql/engine.ts'
import { resultText } from '../../src/sql/format.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { createTable } from '../../src/table/operations/create.ts'
import type { LiveFile } from '../../src/table/snapshot.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { type CountingStore, countingStore } from '../helpers/counting.ts'
import { memoryStore } from '../helpers/memory-store.ts'

const SCHEMA = parseDdl('id:Int64,city:String,note:String')
const FILES = 4
const ROWS = 20_000
/** Text that does not become small. */
const noteOf = (id: number): string => Bun.hash(String(id)).toString(36).repeat(5)

interface Elsewhere {
  readonly table: Table
  readonly store: CountingStore
  /** Runs a statement; the result is its text, and how many bytes were read of each data file. */
  run(sql: string): Promise<{ text: string; bytes: number[] }>
}

/** A table whose files are not on this machine. */
async function elsewhere(rowsOfFile = ROWS, files = FILES): Promise<Elsewhere> {
  const store = countingStore(memoryStore())
  const table = await createTable(store, { schema: SCHEMA })
  for (let file = 0; file < files; file++) {
    const rows = Array.from({ length: rowsOfFile }, (_, i) => {
      const id = file * rowsOfFile + i
      return [BigInt(id), `city ${id % 7}`, noteOf(id)]
    })
    const batch = batchOf(
      SCHEMA.map(({ type }) => type),
      rows,
    )
    await commit(table, {
      base: table.snapshot,
      operation: 'WRITE',
      add: await writeDataFiles(table, [batch]),
      delete: [],
    })
  }
  const run = async (sql: string): Promise<{ text: string; bytes: number[] }> => {
    store.calls.length = 0
    const outcome = await execute(table, sql)
    const parts: Uint8Array[] = []
    if (outcome.kind === 'rows') for await (const part of resultText(outcome.result, 'csv')) parts.push(part)
    const bytes = table.snapshot.files.map(({ path }) =>
      store.calls
        .filter(call => call.startsWith(`read ${path} `))
        .map(call => call.split(' ').at(-1)!.split('-').map(Number))
        .reduce((sum, [start = 0, end = 0]) => sum + end - start, 0),
    )
    return { text: Buffer.concat(parts).toString(), bytes }
  }
  return { table, store, run }
}

describe('a query of a table that is elsewhere', () => {
  test('fetches the columns that it reads, and no others', async () => {
    const { table, run } = await elsewhere()
    const sizes = table.snapshot.files.map(({ sizeBytes }) => sizeBytes)
    const grouped = await run('SELECT city, count(*) AS n FROM data GROUP BY city ORDER BY n DESC, city LIMIT 2')
    expect(grouped.text).toBe('city,n\ncity 0,11429\ncity 1,11429\n')
    for (const [i, bytes] of grouped.bytes.entries()) expect(bytes).toBeLessThan(sizes[i]! / 3)
    const all = await run('SELECT count(note) AS n, max(id) AS m, count(DISTINCT city) AS c FROM data')
    expect(all.text).toBe(`n,m,c\n${FILES * ROWS},${FILES * ROWS - 1},7\n`)
    for (const [i, bytes] of all.bytes.entries()) expect(bytes).toBeGreaterThan(sizes[i]! / 2)
  })

  test('takes no constant for a column, nor the columns of changes for its own', async () => {
    const { table, run } = await elsewhere(100, 1)
    expect((await run(`SELECT id FROM data WHERE city = 'c3' OR city = 'c99 city' OR id = 7`)).text).toBe('id\n7\n')
    await run(`ALTER TABLE data SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')`)
    await run(`INSERT INTO data VALUES (1000, 'new', 'x')`)
    const { version } = table.snapshot
    const changed = `SELECT c.id, c.note, _change_type FROM table_changes('data', ${version}) c`
    expect((await run(changed)).text).toBe('id,note,_change_type\n1000,x,insert\n')
    expect((await run(`${changed} JOIN data USING (id) WHERE data.city = 'new'`)).text).toBe(
      'id,note,_change_type\n1000,x,insert\n',
    )
  })

  test('fetches nothing to count all rows, and footers alone to count them in other words', async () => {
    const { run } = await elsewhere()
    const none = Array.from({ length: FILES }, () => 0)
    const { bytes: footers } = await run('DESCRIBE data')
    for (const sql of ['SELECT count(*) AS n FROM data', 'SELECT count() AS n FROM data d'])
      expect(await run(sql), sql).toEqual({ text: `n\n${FILES * ROWS}\n`, bytes: none })
    await run('DELETE FROM data WHERE id < 3')
    expect(await run('SELECT count(*) AS n FROM data')).toEqual({ text: `n\n${FILES * ROWS - 3}\n`, bytes: none })
    for (const [sql, n] of [
      ['SELECT count(*) + 1 AS n FROM data', FILES * ROWS - 2],
      ['SELECT count(*) AS n FROM data WHERE 1 = 1', FILES * ROWS - 3],
      ['SELECT count(*) AS n FROM data HAVING true', FILES * ROWS - 3],
      ['SELECT count(*) AS n FROM data LIMIT 1', FILES * ROWS - 3],
      ['SELECT count(*) AS n FROM (SELECT * FROM data)', FILES * ROWS - 3],
      ['SELECT count(*) FILTER (id > 10) AS n FROM data', FILES * ROWS - 11],
      ['WITH data AS (SELECT 1) SELECT count(*) AS n FROM data', 1],
      ['SELECT count(*) AS n FROM data TABLESAMPLE 0%', 0],
    ] as const)
      expect((await run(sql)).text, sql).toBe(`n\n${n}\n`)
    expect((await run('SELECT count(*) AS n FROM (SELECT * FROM data)')).bytes).toEqual(footers)
  })

  test('fetches nothing but footers of files that cannot hold the row', async () => {
    const { run } = await elsewhere()
    const { bytes: none } = await run('DESCRIBE data')
    const id = 2 * ROWS + 17
    const { text, bytes } = await run(`SELECT note FROM data WHERE id = ${id}`)
    expect(text).toBe(`note\n${noteOf(id)}\n`)
    expect(bytes.map((count, file) => count > none[file]!)).toEqual([false, false, true, false])
    const between = await run(`SELECT count(note) AS n FROM data WHERE id >= ${ROWS - 1} AND id <= ${ROWS}`)
    expect(between.text).toBe('n\n2\n')
    expect(between.bytes.map((count, file) => count > none[file]!)).toEqual([true, true, false, false])
  })

  test('fetches of a file the row groups that can hold the row, for statements that change it, too', async () => {
    const { table, run } = await elsewhere(300_000, 1)
    const [file] = table.snapshot.files
    const { bytes: none } = await run('DESCRIBE data')
    const id = 290_017
    const one = await run(`SELECT note FROM data WHERE id = ${id}`)
    expect(one.text).toBe(`note\n${noteOf(id)}\n`)
    expect(one.bytes[0]! - none[0]!).toBeLessThan(file!.sizeBytes / 5)
    const updated = await run(`UPDATE data SET city = 'Oslo' WHERE id = ${id}`)
    expect(updated.bytes[0]! - none[0]!).toBeLessThan(file!.sizeBytes / 5)
    const deleted = await run(`DELETE FROM data WHERE id = ${id - 1}`)
    expect(deleted.bytes[0]! - none[0]!).toBeLessThan(file!.sizeBytes / 20)
    const around = await run(`SELECT city FROM data WHERE id BETWEEN ${id - 2} AND ${id + 1} ORDER BY id`)
    expect(around.text).toBe(`city\ncity ${(id - 2) % 7}\nOslo\ncity ${(id + 1) % 7}\n`)
    expect((await run('SELECT count(*) AS n FROM data')).text).toBe('n\n299999\n')
  })

  test('fetches for a MERGE the row groups that can hold the keys of its source', async () => {
    const { table, run } = await elsewhere(300_000, 1)
    const [file] = table.snapshot.files
    const { bytes: none } = await run('DESCRIBE data')
    const clauses =
      'WHEN MATCHED THEN UPDATE SET city = s.city WHEN NOT MATCHED THEN INSERT (id, city) VALUES (s.id, s.city)'
    const few = await run(
      `MERGE INTO data d USING (VALUES (5, 'Rome'), (299999, 'Oslo'), (400000, 'Bonn'), (NULL, 'none')) s (id, city)
       ON s.id = d.id AND d.city <> 'nowhere' ${clauses}`,
    )
    expect(few.bytes[0]! - none[0]!).toBeLessThan(file!.sizeBytes / 3)
    const many = await run(
      `MERGE INTO data USING (SELECT range AS id, 'many' AS city FROM range(290000, 290300)) s USING (id) ${clauses}`,
    )
    expect(many.bytes[0]! - none[0]!).toBeLessThan(file!.sizeBytes / 3)
    const changed = "SELECT id, city FROM data WHERE NOT starts_with(city, 'city') AND city <> 'many' ORDER BY id"
    expect((await run(changed)).text).toBe('id,city\n5,Rome\n299999,Oslo\n400000,Bonn\n,none\n')
    const counted = "SELECT count(*) AS n, count(DISTINCT id) AS ids, count(*) FILTER (city = 'many') AS many FROM data"
    expect((await run(counted)).text).toBe('n,ids,many\n300002,300001,300\n')
    // Who asks for rows without a match asks for all.
    const without = 'MERGE INTO data USING (VALUES (5)) s (id) ON s.id = data.id WHEN NOT MATCHED BY SOURCE THEN DELETE'
    await run(without)
    expect((await run('FROM data')).text).toBe(`id,city,note\n5,Rome,${noteOf(5)}\n`)
  })

  test('is planned before anything is fetched, and run once', async () => {
    const { store, run } = await elsewhere()
    const statements = [
      `SELECT max(id) AS m FROM data WHERE note = '${noteOf(5)}' AND city = 'city 5' AND id BETWEEN 0 AND 9`,
      `WITH x AS (SELECT * FROM data) SELECT max(x.id) AS m FROM x JOIN data y USING (id) WHERE y.note = '${noteOf(5)}'`,
      'SELECT city FROM data ORDER BY id DESC LIMIT 2',
      'SELECT length(note) AS l, count(*) AS n FROM data GROUP BY ALL ORDER BY ALL LIMIT 1',
      "UPDATE data SET city = upper(city) WHERE note LIKE '%7%' AND id < 100",
      'DELETE FROM data WHERE length(city) > 100',
      "MERGE INTO data USING (VALUES (7, 'Rome')) AS s (id, city) ON data.id = s.id WHEN MATCHED THEN UPDATE SET city = s.city",
    ]
    for (const sql of statements) {
      await run(sql)
      // Footers of small files are looked at for order hints, too.
      const reads = store.calls.filter(call => call.startsWith('read part-') && !call.includes(' 0-'))
      expect(
        reads.filter((call, i) => reads.indexOf(call) !== i),
        sql,
      ).toEqual([])
    }
  })

  test('is right where what it needs is guessed wrong: then all is fetched', async () => {
    const { table, run } = await elsewhere()
    const note = noteOf(5)
    // The plan does not name the column of every filter.
    for (const sql of [
      `SELECT max(id) AS m FROM data WHERE note = '${note}' AND city = 'city 5' AND id BETWEEN 0 AND 9`,
      `WITH x AS (SELECT * FROM data) SELECT max(x.id) AS m FROM x JOIN data y USING (id) WHERE y.note = '${note}'`,
      `SELECT max(id) AS m FROM data WHERE (SELECT count(*) FROM data d WHERE d.note = data.note) > 0 AND note = '${note}'`,
      `SELECT max(COLUMNS('^i')) AS m FROM data WHERE note = '${note}'`,
    ])
      expect((await run(sql)).text).toBe('m\n5\n')
    expect((await run('SUMMARIZE data')).text.split('\n').length).toBe(SCHEMA.length + 2)
    expect((await run('FROM data ORDER BY id DESC LIMIT 1')).text).toContain(noteOf(FILES * ROWS - 1))
    expect(table.snapshot.version).toBe(BigInt(FILES))
  })

  test('reads what statements changed, and they change it as they would a table that is here', async () => {
    const { run } = await elsewhere()
    await run(`UPDATE data SET city = 'Oslo' WHERE id % 1000 = 0`)
    await run(`DELETE FROM data WHERE id = 3000`)
    expect((await run(`SELECT count(*) AS n FROM data WHERE city = 'Oslo'`)).text).toBe('n\n79\n')
    expect((await run('SELECT count(*) AS n FROM data')).text).toBe(`n\n${FILES * ROWS - 1}\n`)
  })

  test('fetches anew what was damaged on its way, in pieces of any size, and fails if it stays so', async () => {
    const { table, store } = await elsewhere(240_000, 1)
    const [{ sizeBytes }] = table.snapshot.files as [LiveFile]
    const damagedRanges = new Set<string>()
    const damaged: ObjectStore['read'] = async (path, start = 0, end) => {
      const bytes = Uint8Array.from(await store.read(path, start, end))
      // The footer is read up to the end.
      if (!path.endsWith('.parquet') || end === sizeBytes) return bytes
      bytes[bytes.length >> 1]! ^= 1
      damagedRanges.add(`${start}-${end}`)
      return bytes
    }
    const damagingStore = (readAnew: NonNullable<ObjectStore['readAnew']>): ObjectStore => ({
      ...store,
      read: damaged,
      readAnew,
    })
    const sql = 'SELECT sum(id), min(city), max(note) FROM data'
    const textOf = async (from: ObjectStore): Promise<string> => {
      const outcome = await execute(await openTable(from), sql)
      const parts: Uint8Array[] = []
      if (outcome.kind === 'rows') for await (const part of resultText(outcome.result, 'csv')) parts.push(part)
      return Buffer.concat(parts).toString()
    }
    expect(await textOf(damagingStore((...range) => store.read(...range)))).toBe(await textOf(store))
    expect(damagedRanges.size).toBeGreaterThan(1)
    await expect(textOf(damagingStore(damaged))).rejects.toThrow(/the column \w+ is damaged/)
  })

  test('says of a file that is gone which it is', async () => {
    const { table, store, run } = await elsewhere()
    const { path } = table.snapshot.files[1]!
    await store.delete(path)
    await expect(run('SELECT max(id) FROM data')).rejects.toThrow(path)
  })
})
