import { openStore, parseLocation } from '../storage/location.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { note } from './output.ts'

export interface StoreOfOptions {
  readonly onWrite: (temporary: string, path: string) => void
  readonly cacheBytes?: number | undefined
}

/** The store of a table for SQL. What a cache takes is loaded for tables that are elsewhere only. */
export async function storeOf(
  table: string,
  { onWrite, cacheBytes }: StoreOfOptions,
): Promise<{ readonly store: ObjectStore; readonly close: () => Promise<void> }> {
  const location = parseLocation(table)
  if (location.kind === 'local') return { store: openStore(location, { onWrite }), close: async () => undefined }
  const { openCachedStore } = await import('../lake.ts')
  return openCachedStore(table, { log: note, onWrite, ...(cacheBytes === undefined ? {} : { cacheBytes }) })
}
