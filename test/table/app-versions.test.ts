import { expect, test } from 'bun:test'
import { openTable } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { actionsAt, append, foreignTable, readIds, rows } from './fixture.ts'

test('a change of an application is made by one of two writers, and leaves nothing of the other behind', async () => {
  const store = memoryStore()
  await foreignTable(store)
  const table = await openTable(store)
  await append(table, 0, 1)
  const other = await openTable(store)
  const app = { appId: 'nightly', version: 7 }
  const make = async (by: typeof table) => {
    await using transaction = by.begin(by.snapshot, { app })
    await transaction.write([rows(5, 6)])
    return await transaction.commit({ name: 'WRITE' })
  }
  expect((await make(table)).kind).toBe('committed')
  expect((await actionsAt(store, 2n)).find(action => action.txn)?.txn).toMatchObject(app)
  const files = (await store.list('')).length
  expect((await make(other)).kind).toBe('conflict')
  expect((await store.list('')).length).toBe(files)
  await table.checkpoint()
  const again = await openTable(store)
  expect((await make(again)).kind).toBe('conflict')
  expect(await readIds(again)).toEqual([0, 5])
})
