import { openStore, parseLocation } from '../storage/location.ts'
import { openTable, type Table } from '../table/table.ts'
import { type StoreArgs, useStore } from './store-args.ts'
import { settle } from './table-of.ts'

/** Opens the table that a command names, as its store flags say, once no server of it holds a save any more. */
export async function openTableOf(args: StoreArgs & { readonly table: string }): Promise<Table> {
  useStore(args.table, args)
  await settle(args.table)
  return openTable(openStore(parseLocation(args.table)))
}
