import { openStore, parseLocation } from '../storage/location.ts'
import { openTable, type Table } from '../table/table.ts'
import { type StoreArgs, useStore } from './store-args.ts'
import { settle, tellServer } from './table-of.ts'

/** Opens the table that a command names, as its store flags say, once no server of it holds a save any more. */
export async function openTableOf(args: StoreArgs & { readonly table: string }): Promise<Table> {
  useStore(args.table, args)
  await settle(args.table)
  return openTable(openStore(parseLocation(args.table)))
}

/** Runs a command that may commit on the table that it names, and lets the table's server know of the commit. */
export async function changeTable<T>(
  args: StoreArgs & { readonly table: string },
  run: (table: Table) => Promise<T>,
): Promise<T> {
  const table = await openTableOf(args)
  const { version } = table.snapshot
  try {
    return await run(table)
  } finally {
    await table.close()
    if (table.snapshot.version !== version) await tellServer(args.table)
  }
}
