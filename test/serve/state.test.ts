import { Database } from 'bun:sqlite'
import { describe, expect, test } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openState } from '../../src/serve/state.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

function opened(folder: string, said: string[] = []): ReturnType<typeof openState> {
  return openState({ besideTable: folder, location: folder, log: sentence => said.push(sentence) })
}

/** A database of many pages. */
function fill(path: string): void {
  using database = new Database(path)
  database.run('CREATE TABLE IF NOT EXISTS t (a TEXT PRIMARY KEY)')
  for (let i = 0; i < 400; i++) database.query('INSERT INTO t VALUES (?)').run(`${i} ${'x'.repeat(200)}`)
  database.run('PRAGMA wal_checkpoint(TRUNCATE)')
}

describe('the state of a server', () => {
  test('is kept from one server to the next, its secret too', () => {
    using folder = temporaryFolder()
    const first = opened(folder.path)
    first.database.run('CREATE TABLE t (a)')
    first.close()
    const said: string[] = []
    const second = opened(folder.path, said)
    expect(second.database.query('SELECT count(*) AS n FROM t').get()).toEqual({ n: 0 })
    expect(second.secret).toEqual(first.secret)
    expect(said).toEqual([])
    second.close()
  })

  test.each(['is no database', 'has a damaged page'])('that %s is put aside, in a sentence, and begun anew', fault => {
    using folder = temporaryFolder()
    opened(folder.path).close()
    const path = join(folder.path, 'state', 'state.sqlite')
    if (fault === 'is no database')
      writeFileSync(path, 'this is no database at all, and is longer than an empty one is')
    else {
      fill(path)
      const bytes = readFileSync(path)
      writeFileSync(path, bytes.fill(0x5a, 3 * 4096, 5 * 4096))
    }
    const said: string[] = []
    const state = opened(folder.path, said)
    state.database.run('CREATE TABLE t (a)')
    state.close()
    expect(said).toHaveLength(1)
    expect(said[0]).toContain('was damaged')
    expect(readdirSync(join(folder.path, 'state')).filter(name => name.includes('.broken-'))).toHaveLength(1)
  })

  test('that cannot be opened for another reason is left as it is, and no server starts', () => {
    using folder = temporaryFolder()
    mkdirSync(join(folder.path, 'state', 'state.sqlite'), { recursive: true })
    expect(() => opened(folder.path)).toThrow(/state\.sqlite cannot be opened/)
    expect(readdirSync(join(folder.path, 'state')).filter(name => name.includes('.broken-'))).toEqual([])
  })
})
