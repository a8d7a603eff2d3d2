import { Database } from 'bun:sqlite'
import { describe, expect, test } from 'bun:test'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import type { Lineage } from '../../src/fs/lineage.ts'
import { Lineages } from '../../src/fs/lineages.ts'
import { TableText } from '../../src/fs/text/layout.ts'
import { openStore } from '../../src/storage/location.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const DAY_MS = 24 * 3_600_000

/** The lineages of a new table's data.csv, with a clock that stands still; `opened` counts the texts that were made. */
async function newLineages() {
  const folder = temporaryFolder()
  const directory = join(folder.path, 'table')
  mkdirSync(directory)
  const table = await createTable(openStore({ kind: 'local', directory }), { schema: parseDdl('id:Int64') })
  const database = new Database(':memory:')
  const state = { nowMs: 1_700_000_000_000, id: 1000n, opened: 0, edited: new Set<Lineage>() }
  const clock = { nowMs: () => state.nowMs }
  const start = (): Lineages =>
    new Lineages({
      database,
      table,
      format: 'csv',
      clock,
      nextId: () => state.id++,
      openText: async snapshot => {
        state.opened++
        return Object.assign(Object.create(TableText.prototype), { snapshot, size: 3 })
      },
      referenced: () => [],
      isEdited: lineage => state.edited.has(lineage),
      leftMs: () => state.nowMs,
      times: { pinnedMs: 3000, togetherMs: 250 },
    })
  return { start, state, database, table, [Symbol.dispose]: () => folder[Symbol.dispose]() }
}

describe('the lineages of a view', () => {
  test('are in memory only where they are used, and their texts are made again', async () => {
    using made = await newLineages()
    const { state } = made
    const lineages = made.start()
    const text = await lineages.text(await lineages.current())
    const ids = Array.from({ length: 500 }, () => lineages.start(text).id)
    expect(lineages.inMemory).toBeLessThan(50)
    const old = lineages.get(ids[3]!)!
    expect(old.status).toBe('old')
    expect(old.text).toBeUndefined()
    const before = state.opened
    expect((await lineages.text(old)).snapshot.version).toBe(0n)
    expect(state.opened).toBe(before + 1)
    // Who still holds one has the same one as who asks for it.
    state.nowMs += 120_000
    lineages.sweep()
    expect(lineages.inMemory).toBe(1)
    expect(old.text).toBeUndefined()
    expect(lineages.get(old.id)).toBe(old)
    lineages.close()
  })

  test('stay in memory while they are edited, read or saved into', async () => {
    using made = await newLineages()
    const { state } = made
    const lineages = made.start()
    const edited = await lineages.current()
    state.edited.add(edited)
    const text = await lineages.text(edited)
    const written = lineages.start(text)
    await lineages.standIn(written, 1n)
    state.nowMs += 120_000
    const read = lineages.start(text)
    lineages.start(text)
    state.nowMs += 30_000
    lineages.get(read.id)
    state.nowMs += 40_000
    lineages.sweep()
    expect(edited.text).toBeDefined()
    expect(read.text).toBeDefined()
    expect(written.status).toBe('old')
    lineages.close()
  })

  test('are forgotten when no client has used them for days', async () => {
    using made = await newLineages()
    const { state, database } = made
    const lineages = made.start()
    const text = await lineages.text(await lineages.current())
    const ids = Array.from({ length: 300 }, () => lineages.start(text).id)
    state.nowMs += 5 * DAY_MS
    lineages.sweep()
    lineages.get(ids[10]!)
    lineages.sweep()
    state.nowMs += 5 * DAY_MS
    for (let i = 0; i < 300; i++) lineages.start(text)
    expect(lineages.get(ids[9]!)).toBeUndefined()
    expect(lineages.get(ids[10]!)?.status).toBe('old')
    const kept = database.query<{ n: number }, []>('SELECT count(*) AS n FROM lines').get()!.n
    expect(kept).toBeLessThan(350)
    lineages.close()
  })
})
