import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { SaveJournal } from '../../src/fs/saves/journal.ts'
import { type ObjectStore, StorageError } from '../../src/storage/object-store.ts'
import { HELD, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const HEADER = 'id,name\n'
const ROWS = '1,Alice\n2,Bob\n3,Carol\n'
/** Longer than a file lies finished that was made from what the table is now. */
const LONG_MS = 2100

/** A store that may be away, and slow. */
class Network {
  isAway = false
  /** Of the next call. */
  delayMs = 0

  readonly store = (inside: ObjectStore): ObjectStore => {
    const sent = async <T>(run: () => Promise<T>): Promise<T> => {
      const { delayMs } = this
      this.delayMs = 0
      await Bun.sleep(delayMs)
      if (this.isAway) throw new StorageError('unavailable', 'the store cannot be reached')
      return run()
    }
    return {
      ...inside,
      location: inside.location,
      localPath: path => inside.localPath(path),
      read: (...args) => sent(() => inside.read(...args)),
      stat: path => sent(() => inside.stat(path)),
      list: (...args) => sent(() => inside.list(...args)),
      write: (...args) => sent(() => inside.write(...args)),
      create: path => sent(() => inside.create(path)),
      putIfAbsent: (...args) => sent(() => inside.putIfAbsent(...args)),
      delete: path => sent(() => inside.delete(path)),
      deleteMany: paths => sent(() => inside.deleteMany(paths)),
    }
  }
}

describe('a rename onto data.csv', () => {
  test('keeps the rows that others appended since its program read, however long the store takes', async () => {
    const network = new Network()
    await using s = await serveNew(DDL, ROWS, HELD, { store: network.store })
    await s.read()
    const { handle } = await s.client.create(s.data, 'new.csv')
    await s.client.write(handle, 0n, HEADER + ROWS.replace('Bob', 'Bert'))
    await s.elsewhere("INSERT INTO data VALUES (4, 'Dave')")
    network.delayMs = LONG_MS
    await s.client.rename(s.data, 'new.csv', s.data, 'data.csv')
    expect(await s.read()).toBe(`${HEADER}1,Alice\n2,Bert\n3,Carol\n4,Dave\n`)
  }, 60_000)

  test('is refused in a sentence where the server died since its program read, and others appended', async () => {
    await using s = await serveNew(DDL, ROWS)
    await s.read()
    const { handle } = await s.client.create(s.data, 'new.csv')
    await s.client.write(handle, 0n, HEADER + ROWS.replace('Bob', 'Bert'))
    await s.elsewhere("INSERT INTO data VALUES (4, 'Dave')")
    await using t = await s.restarted({
      store: inside => {
        // It takes so long until it serves.
        Bun.sleepSync(LONG_MS)
        return inside
      },
    })
    await expect(t.client.rename(t.data, 'new.csv', t.data, 'data.csv')).rejects.toThrow('EIO')
    expect(await t.read()).toBe(`${HEADER}${ROWS}4,Dave\n`)
    expect(await t.read('.errors')).toContain('before the server was started anew')
  }, 60_000)
})

test('a server does not start while the store is away that says what became of a save, and so the save is there once', async () => {
  await using s = await serveNew(DDL, ROWS)
  const csv = await s.csv()
  const { size } = await s.client.getattr(csv)
  const row = new TextEncoder().encode('4,Dave\n')
  const journal = SaveJournal.create(join(s.server.stateDirectory, 'edits', 'csv'), {
    editId: crypto.randomUUID(),
    lineId: String((await s.client.getattr(csv)).fileid),
    format: 'csv',
    version: String(s.server.lake.table.snapshot.version),
    baseSize: Number(size),
  })
  journal.write(Number(size), row, true)
  journal.close()
  const network = new Network()
  let tries = 1
  let readsMax = tries
  const store = (inside: ObjectStore): ObjectStore => {
    const sent = network.store(inside)
    // The table can be opened, and then the store is gone.
    const read: ObjectStore['read'] = (...args) => {
      network.isAway = readsMax-- <= 0
      return sent.read(...args)
    }
    return { ...sent, read }
  }
  while (true) {
    const failure = await s.restarted({ store }).then(
      served => served,
      (error: Error) => error,
    )
    if (!(failure instanceof Error)) throw new Error('it has started')
    if (failure.message.includes('a save that was under way when the server stopped cannot be taken up')) break
    expect(failure.message).toContain('the store cannot be reached')
    readsMax = ++tries
  }
  await using t = await s.restarted()
  expect(t.server.held()).toHaveLength(1)
  await t.client.write(csv, size, row)
  expect(await t.read()).toBe(`${HEADER}${ROWS}4,Dave\n`)
  expect(await t.commits()).toBe(1)
}, 60_000)

test('what is saved while the store is away is refused and kept, and all goes on when it is back', async () => {
  const network = new Network()
  await using s = await serveNew(DDL, ROWS, HELD, { store: network.store })
  const csv = await s.csv()
  const { size } = await s.client.getattr(csv)
  await s.read()
  network.isAway = true
  await expect(s.client.write(csv, size, '4,Dave\n5,Eve\n')).rejects.toMatchObject({ code: 'EIO' })
  network.isAway = false
  const errors = await s.read('.errors')
  expect(errors).toContain('the store cannot be reached')
  const kept = (await s.names()).filter(name => name.startsWith('data.csv.rejected-'))
  expect(errors).toContain(`what was written is kept as data/${kept[0]}`)
  expect(await s.read(`data/${kept[0]}`)).toBe(`${HEADER}4,Dave\n5,Eve\n`)
  const again = await s.csv()
  await s.client.write(again, (await s.client.getattr(again)).size, '6,Fay\n')
  expect(await s.read()).toBe(`${HEADER}${ROWS}6,Fay\n`)
})
