import { expect, test } from 'bun:test'
import { type ObjectStore, StorageError } from '../../src/storage/object-store.ts'
import { StagedFiles } from '../../src/table/commit/staged-files.ts'
import { memoryStore } from '../helpers/memory-store.ts'

const BYTES = new TextEncoder().encode('rows')

/** A store that is away, and tells what it was asked to delete. */
function away(mayHaveTakenEffect: boolean): { readonly store: ObjectStore; readonly deleted: string[] } {
  const deleted: string[] = []
  const fail = (): Promise<never> =>
    Promise.reject(new StorageError('unavailable', 'the store is away', { mayHaveTakenEffect }))
  const store: ObjectStore = {
    ...memoryStore(),
    write: fail,
    create: async () => ({ write: async () => undefined, close: fail, abort: async () => undefined }),
    delete: async path => void deleted.push(path),
  }
  return { store, deleted }
}

async function writeTwo(staged: StagedFiles): Promise<void> {
  await expect(staged.write('one', BYTES)).rejects.toThrow('the store is away')
  const out = await staged.create('two')
  await out.write(BYTES)
  await expect(out.close()).rejects.toThrow('the store is away')
  await staged.discardAll()
}

test('files that never reached a store that is away are not taken away: it is not waited for again', async () => {
  const { store, deleted } = away(false)
  await writeTwo(new StagedFiles(store))
  expect(deleted).toEqual([])
})

test('files that may have reached it are', async () => {
  const { store, deleted } = away(true)
  await writeTwo(new StagedFiles(store))
  expect(deleted).toEqual(['one', 'two'])
})
