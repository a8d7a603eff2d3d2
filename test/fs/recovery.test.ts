import { Database } from 'bun:sqlite'
import { describe, expect, test } from 'bun:test'
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SaveJournal } from '../../src/fs/saves/journal.ts'
import { Faults } from '../helpers/faults.ts'
import { codeOf, HELD, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const HEADER = 'id,name\n'
const ROWS = '1,Alice\n2,Bob\n3,Carol\n'
const ROWS_CHANGED = `${HEADER}1,Alicia\n2,Bob\n3,Carol\n`

/** Runs a save, and then makes the server's own records those from before it, as if it had died right behind the commit. */
async function diesBehindCommitOf(s: ServedTable, save: () => Promise<unknown>): Promise<void> {
  const { stateDirectory } = s.server
  const edits = join(stateDirectory, 'edits')
  const kept = `${stateDirectory}-before`
  using database = new Database(join(stateDirectory, 'state.sqlite'))
  const lines = database.query<{ id: string; version: string }, []>('SELECT id, version FROM lines').all()
  cpSync(edits, kept, { recursive: true })
  await save()
  cpSync(kept, edits, { recursive: true })
  rmSync(kept, { recursive: true })
  for (const { id, version } of lines) database.query('UPDATE lines SET version = ? WHERE id = ?').run(version, id)
}

describe('a server that was killed and started again', () => {
  test('takes a save that was in the table already, and comes once more, for the same', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    const text = `${HEADER}1,Alicia\n2,Bob\n3,Carol\n4,Dave\n`
    await s.client.write(csv, 0n, text.slice(0, 13))
    await diesBehindCommitOf(s, () => s.client.write(csv, 0n, text))
    await using t = await s.killed()
    expect(await t.commits()).toBe(1)
    await t.client.write(csv, 0n, text)
    expect(await t.read()).toBe(text)
    expect(await t.commits()).toBe(1)
    expect(t.server.held()).toEqual([])
    expect(await t.read('.errors')).toBe('')
  })

  test('commits a stable WRITE that it had only noted when it comes once more, and what follows', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    const { size } = await s.client.getattr(csv)
    const row = new TextEncoder().encode('4,Dave\n')
    using database = new Database(join(s.server.stateDirectory, 'state.sqlite'))
    const line = database
      .query<{ id: string; version: string }, []>(
        "SELECT id, version FROM lines WHERE format = 'csv' AND status = 'current'",
      )
      .get()!
    const journal = SaveJournal.create(join(s.server.stateDirectory, 'edits', 'csv'), {
      editId: crypto.randomUUID(),
      lineId: line.id,
      format: 'csv',
      version: line.version,
      baseSize: Number(size),
    })
    journal.write(Number(size), row, true)
    journal.close()
    await using t = await s.killed()
    expect(t.server.held()).toHaveLength(1)
    await t.client.write(csv, size, row)
    expect(t.server.held()).toEqual([])
    await t.client.write(csv, size + BigInt(row.length), '5,Eve\n')
    expect(await t.commits()).toBe(2)
    expect(await t.read()).toBe(`${HEADER}${ROWS}4,Dave\n5,Eve\n`)
  })

  test('the same for an append in another spelling', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    const end = (await s.client.getattr(csv)).size
    await s.client.write(csv, end, '04,Dave\n05,"Eve"\n')
    await using t = await s.killed()
    await t.client.write(csv, end, '04,Dave\n05,"Eve"\n')
    expect(await t.commits()).toBe(1)
    expect(await t.read()).toBe(`${HEADER}${ROWS}4,Dave\n5,Eve\n`)
  })

  test('sets aside a save that was made from the text in another format', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, `${HEADER}1,Alice`)
    const edits = join(s.server.stateDirectory, 'edits', 'csv')
    const [name] = readdirSync(edits)
    const text = readFileSync(join(edits, name!), 'latin1')
    writeFileSync(join(edits, name!), text.replace(/,"textFormat":\d+/, ''), 'latin1')
    await using t = await s.killed()
    expect([await t.commits(), await t.read()]).toEqual([0, `${HEADER}${ROWS}`])
    expect(await t.read('.errors')).toContain('was made from another text of version')
    expect((await t.names()).some(known => known.startsWith('data.csv.rejected-'))).toBe(true)
  })

  test('goes on with what was held, and with a save in the middle of its calls', async () => {
    for (const stability of ['FILE_SYNC', 'UNSTABLE'] as const) {
      await using s = await serveNew(DDL, ROWS)
      const csv = await s.csv()
      await s.client.setattr(csv, { size: 0n })
      await s.client.write(csv, 0n, `${HEADER}1,Alice\n`, stability)
      await using t = await s.killed()
      expect(await t.client.readText(csv)).toBe(`${HEADER}1,Alice\n`)
      await t.client.write(csv, BigInt(HEADER.length + 8), '2,Bob\n3,Carla\n', stability)
      await t.client.commit(csv)
      expect(await t.commits()).toBe(1)
      expect(await t.read()).toBe(`${HEADER}1,Alice\n2,Bob\n3,Carla\n`)
    }
  })

  test('ends what was answered soon after clients are back, and waits for a COMMIT that is due', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, `${HEADER}${ROWS}4,Dave`)
    await using t = await s.killed({ ...HELD, resumedMs: 1 })
    await t.client.getattr(csv)
    await t.server.settle()
    expect(await t.commits()).toBe(1)
    await t.client.setattr(csv, { size: 0n })
    await t.client.write(csv, 0n, `${HEADER}${ROWS}`, 'UNSTABLE')
    await using u = await t.killed({ ...HELD, resumedMs: 1 })
    await u.client.getattr(csv)
    await Bun.sleep(20)
    expect(u.server.held()).toHaveLength(1)
    await u.client.commit(csv)
    expect(await u.commits()).toBe(1)
  })

  test('keeps held saves though the database of handles is lost', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    await s.client.write(csv, (await s.client.getattr(csv)).size, '4,Dave')
    using database = new Database(join(s.server.stateDirectory, 'state.sqlite'))
    database.run('DELETE FROM lines')
    await using t = await s.killed({ ...HELD, answeredMs: 1, resumedMs: 1 })
    await t.server.settle()
    expect(await t.read()).toBe(`${HEADER}${ROWS}4,Dave\n`)
    expect(await t.commits()).toBe(1)
  })

  test('lets perl -pi go on, which renamed data.csv away in order to rename another file onto it', async () => {
    await using s = await serveNew(DDL, ROWS)
    const { handle } = await s.client.create(s.data, 'temp')
    await s.client.write(handle, 0n, `${HEADER}${ROWS}4,Dave\n`)
    await s.client.rename(s.data, 'data.csv', s.data, '.nfs0001')
    await using t = await s.killed()
    expect(await t.commits()).toBe(0)
    // Its reply was lost.
    await t.client.rename(t.data, 'data.csv', t.data, '.nfs0001')
    await using u = await t.killed()
    await u.client.rename(u.data, 'temp', u.data, 'data.csv')
    await u.client.remove(u.data, '.nfs0001')
    expect(await u.commits()).toBe(1)
    expect(await u.read()).toBe(`${HEADER}${ROWS}4,Dave\n`)
    expect(u.server.held()).toEqual([])
  })

  test('brings the name back, with the rows of a renamed and without those of a removed file, if nobody goes on', async () => {
    for (const [name, rows] of [
      ['copy.csv', ROWS],
      ['.nfs0002', ''],
    ] as const) {
      await using s = await serveNew(DDL, ROWS)
      await s.client.rename(s.data, 'data.csv', s.data, name)
      await using t = await s.killed({ ...HELD, resumedMs: 1 })
      await t.client.getattr(t.root)
      await t.server.settle()
      expect(await t.read()).toBe(HEADER + rows)
    }
  })

  test('goes on with mv from another file system between its rm and its CREATE', async () => {
    await using s = await serveNew(DDL, ROWS)
    await s.client.remove(s.data, 'data.csv')
    await using t = await s.killed()
    const { handle } = await t.client.create(t.data, 'data.csv', { kind: 'EXCLUSIVE', value: 7n })
    await t.client.write(handle, 0n, `${HEADER}1,Alice\n2,Bobby\n3,Carol\n`)
    expect(await t.commits()).toBe(1)
    expect(await t.read()).toBe(`${HEADER}1,Alice\n2,Bobby\n3,Carol\n`)
  })

  test('answers a RENAME onto data.csv, or data.jsonl, that was committed and not answered, and comes once more', async () => {
    const line = (row: string): string => {
      const [id, name] = row.split(',')
      return `{"id":${id},"name":"${name}"}\n`
    }
    const rows = ['1,Alicia', '2,Bob', '3,Carol']
    for (const [name, text] of [
      ['data.csv', `${HEADER}${rows.join('\n')}\n`],
      ['data.jsonl', rows.map(line).join('')],
    ] as const) {
      const faults = new Faults()
      await using s = await serveNew(DDL, ROWS, HELD, faults.seams)
      const { handle } = await s.client.create(s.data, 'sedX')
      await s.client.write(handle, 0n, text)
      // From the commit on nothing can be noted or read: as if the server died there.
      faults.arm({ part: 'store', n: 5, when: 'after', hidesLog: true })
      expect(await codeOf(s.client.rename(s.data, 'sedX', s.data, name))).toBe('EJUKEBOX')
      faults.heal()
      await using t = await s.killed()
      expect(await t.commits()).toBe(1)
      await t.client.rename(t.data, 'sedX', t.data, name)
      expect([await t.commits(), await t.read(`data/${name}`)]).toEqual([1, text])
      // Another file by the name is another RENAME.
      expect(await codeOf(t.client.rename(t.data, 'other', t.data, name))).toBe('ENOENT')
      const again = await t.client.create(t.data, 'sedX')
      await t.client.write(again.handle, 0n, text + (name === 'data.csv' ? '4,Dave\n' : line('4,Dave')))
      await t.client.rename(t.data, 'sedX', t.data, name)
      expect([await t.commits(), await t.read()]).toEqual([2, `${HEADER}${rows.join('\n')}\n4,Dave\n`])
    }
  })

  test('does the same for one whose commit was not made, as for any other', async () => {
    const faults = new Faults()
    await using s = await serveNew(DDL, ROWS, HELD, faults.seams)
    const { handle } = await s.client.create(s.data, 'sedX')
    await s.client.write(handle, 0n, ROWS_CHANGED)
    faults.arm({ part: 'store', n: 5, when: 'before', hidesLog: true })
    expect(await codeOf(s.client.rename(s.data, 'sedX', s.data, 'data.csv'))).toBe('EJUKEBOX')
    faults.heal()
    await using t = await s.killed()
    expect([await t.commits(), await t.read()]).toEqual([0, HEADER + ROWS])
    await t.client.rename(t.data, 'sedX', t.data, 'data.csv')
    expect([await t.commits(), await t.read()]).toEqual([1, ROWS_CHANGED])
  })

  test('refuses the COMMIT of a save that was set aside meanwhile', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, abandonedMs: 1 })
    const csv = await s.csv()
    await s.client.write(csv, (await s.client.getattr(csv)).size, '4,Dave\n', 'UNSTABLE')
    await s.server.settle()
    expect(await codeOf(s.client.commit(csv))).toBe('ESTALE')
  })
})
