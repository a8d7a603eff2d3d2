import { Database } from 'bun:sqlite'
import { describe, expect, test } from 'bun:test'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import { momentMs } from '../../src/core/clock.ts'
import { type Line, Lines } from '../../src/fs/lines.ts'
import { TableText } from '../../src/fs/text/layout.ts'
import { openStore } from '../../src/storage/location.ts'
import { createTable } from '../../src/table/table.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const DAY_MS = 24 * 3_600_000

/** The lines of a new table's data.csv, with a clock that stands still; `opened` counts the texts that were made. */
async function newLines() {
  const folder = temporaryFolder()
  const directory = join(folder.path, 'table')
  mkdirSync(directory)
  const table = await createTable(openStore({ kind: 'local', directory }), { schema: parseDdl('id:Int64') })
  const database = new Database(':memory:')
  const state = { nowMs: 1_700_000_000_000, id: 1000n, opened: 0, edited: new Set<Line>() }
  const clock = { nowMs: () => state.nowMs }
  const start = (): Lines =>
    new Lines({
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
      isEdited: line => state.edited.has(line),
      leftMs: () => state.nowMs,
    })
  return { start, state, clock, database, table, [Symbol.dispose]: () => folder[Symbol.dispose]() }
}

describe('the lines of a view', () => {
  test('tell what a program has read since it began, also within one millisecond', async () => {
    using made = await newLines()
    const { clock } = made
    const client = { connection: 1, uid: 0, socket: undefined }
    const lines = made.start()
    const line = await lines.current()
    const text = await lines.text(line)
    const seen = [{ text, unseen: { ranges: [{ start: 3, end: 3 }], unsureFrom: 3 } }]
    lines.noteRead(line, client, text, 0, 3)
    expect(await lines.seenSince(momentMs(clock), client)).toEqual(seen)
    // What it was told of since, it would have to read anew.
    line.ends.tell(client, 4, 1n)
    const begun = momentMs(clock)
    expect(await lines.seenSince(begun, client)).toEqual([])
    lines.noteRead(line, client, text, 0, 3)
    expect(await lines.seenSince(begun, client)).toEqual(seen)
    lines.close()
  })

  test('are in memory only where they are used, and their texts are made again', async () => {
    using made = await newLines()
    const { state } = made
    const lines = made.start()
    const text = await lines.text(await lines.current())
    const ids = Array.from({ length: 500 }, () => lines.start(text).id)
    expect(lines.inMemory).toBeLessThan(50)
    const old = lines.get(ids[3]!)!
    expect(old.status).toBe('old')
    expect(old.text).toBeUndefined()
    const before = state.opened
    expect((await lines.text(old)).snapshot.version).toBe(0n)
    expect(state.opened).toBe(before + 1)
    // Who still holds one has the same one as who asks for it.
    state.nowMs += 120_000
    lines.sweep()
    expect(lines.inMemory).toBe(1)
    expect(old.text).toBeUndefined()
    expect(lines.get(old.id)).toBe(old)
    lines.close()
  })

  test('stay in memory while they are edited, read or saved into', async () => {
    using made = await newLines()
    const { state } = made
    const lines = made.start()
    const edited = await lines.current()
    state.edited.add(edited)
    const text = await lines.text(edited)
    const written = lines.start(text)
    await lines.standIn(written, 1n)
    state.nowMs += 120_000
    const read = lines.start(text)
    lines.start(text)
    state.nowMs += 30_000
    lines.get(read.id)
    state.nowMs += 40_000
    lines.sweep()
    expect(edited.text).toBeDefined()
    expect(read.text).toBeDefined()
    expect(written.status).toBe('old')
    lines.close()
  })

  test('are forgotten when no client has used them for days', async () => {
    using made = await newLines()
    const { state, database } = made
    const lines = made.start()
    const text = await lines.text(await lines.current())
    const ids = Array.from({ length: 300 }, () => lines.start(text).id)
    state.nowMs += 5 * DAY_MS
    lines.sweep()
    lines.get(ids[10]!)
    lines.sweep()
    state.nowMs += 5 * DAY_MS
    for (let i = 0; i < 300; i++) lines.start(text)
    expect(lines.get(ids[9]!)).toBeUndefined()
    expect(lines.get(ids[10]!)?.status).toBe('old')
    const kept = database.query<{ n: number }, []>('SELECT count(*) AS n FROM lines').get()!.n
    expect(kept).toBeLessThan(350)
    lines.close()
  })
})
