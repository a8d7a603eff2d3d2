import type { ByteCache } from '../../cache/byte-cache.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import type { Askers } from '../askers.ts'
import type { Attributes, Client, TimeNs } from '../filesystem.ts'
import type { DirectoryNode } from '../tree/node.ts'
import type { RunSql } from './run-sql.ts'
import type { TableViewContext } from './table-view.ts'
import type { TableViews } from './table-views.ts'
import type { View, ViewEntry } from './view.ts'

/** The parts that views are made with: the table, and the tree that they are in. */
export interface ViewContext extends TableViewContext {
  readonly cache: ByteCache
  readonly runSql: RunSql
  readonly askers: Askers
  readonly tables: TableViews
  readonly root: DirectoryNode
  /** Nanoseconds since the epoch. */
  readonly now: () => TimeNs
  /** The table's newest version. */
  readonly refresh: () => Promise<Snapshot>
  /** The newest version that was seen. */
  readonly latest: () => Snapshot | undefined
  /** As `refresh`, when no save is under way any more. */
  readonly settledSnapshot: () => Promise<Snapshot>
  /** See TreeFileSystemOptions. */
  readonly alone: <T>(run: () => Promise<T>) => Promise<T>
  /** Called when the listing of the root has changed. */
  readonly onRoot: () => void
  /** Called when the listing of `data/` has changed. */
  readonly onData: () => void
  /** Somebody has read the sentences of `.errors` and taken them away. */
  readonly onErrorsRead: () => void
  readonly log: (sentence: string) => void
}

/** The folders that have views. */
export type ViewFolder = 'root' | 'data' | 'queries'

/** An entry of the list. */
export interface ViewDefinition extends ViewEntry {
  readonly folder: ViewFolder
  readonly node: (context: ViewContext, entry: ViewEntry) => View
}

/** The attributes of a listing's entry: none while a save is held, as what shows its outcome would have to wait for it. */
export async function listedAttributes(
  { tables }: ViewContext,
  node: { attributes(client: Client): Promise<Attributes> },
  client: Client,
): Promise<Attributes | undefined> {
  return tables.held().length > 0 ? undefined : node.attributes(client)
}
