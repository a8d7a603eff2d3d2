import { takeAway } from '../core/take-away.ts'
import { namedFiles } from '../table/commit/file-actions.ts'
import type { Action } from '../table/log/actions/index.ts'
import { readCommit } from '../table/log/load.ts'
import { isOutside, LOG_FOLDER } from '../table/log/paths.ts'
import type { Table } from '../table/table.ts'

/** A file that a statement made, by paths inside the table: while it was being written, and then. */
export interface WrittenFile {
  readonly temporary: string
  readonly path: string
}

/** A commit that is in the log. */
export interface FoundCommit {
  readonly version: bigint
  readonly actions: readonly Action[]
}

/**
 * Looks in the log for the commit of a transaction, among the versions after `after`. Undefined: it was not committed.
 * Rejects with TableError or StorageError if the log cannot be read, and then nobody knows.
 */
export async function findCommit(table: Table, txnId: string, after: bigint): Promise<FoundCommit | undefined> {
  const { version: newest } = await table.refresh()
  for (let version = after + 1n; version <= newest; version++) {
    const commit = await readCommit(table.store, version)
    if (commit?.actions.some(({ commitInfo }) => commitInfo?.txnId === txnId))
      return { version, actions: commit.actions }
  }
  return undefined
}

/**
 * Takes away what a statement wrote that is over, but for the files that its commit names, and the log. What cannot be
 * removed stays behind and does no harm: no version names it.
 */
export async function takeBack(
  { store }: Table,
  files: readonly WrittenFile[],
  commit: FoundCommit | undefined,
): Promise<void> {
  const named = commit === undefined ? new Set<string>() : namedFiles(store, commit.actions)
  for (const { temporary, path } of files) {
    // The log is never ours to shorten: what has its final name there was put in place as a whole.
    const gone = path.startsWith(`${LOG_FOLDER}/`) || named.has(path) ? [temporary] : [temporary, path]
    for (const one of gone) await store.delete(one).catch(() => undefined)
  }
}

/**
 * The same without waiting for anything, for a process that has to end now. If the commit was begun, nobody knows any more
 * which files it needs, and only what has no name yet is taken away.
 */
export function takeBackNow(store: Table['store'], files: readonly WrittenFile[]): void {
  const isCommitting = files.some(({ path }) => path.startsWith(`${LOG_FOLDER}/`))
  for (const { temporary, path } of files) {
    for (const one of isCommitting ? [temporary] : [temporary, path]) {
      // Nothing outside of the table was made by anybody here.
      const local = isOutside(one) ? undefined : store.localPath(one)
      if (local !== undefined) takeAway(local)
    }
  }
}

/** Returns the counts of a changing statement, by the metrics of its commit; 0 for what they do not say. */
export function changesOf({ actions }: FoundCommit): { inserted: number; updated: number; deleted: number } {
  const metrics = actions.find(action => action.commitInfo)?.commitInfo?.operationMetrics ?? {}
  const count = (...names: readonly string[]): number => {
    const said = names.map(name => Number(metrics[name])).find(number => Number.isSafeInteger(number))
    return said ?? 0
  }
  return {
    inserted: count('numTargetRowsInserted', 'numOutputRows'),
    updated: count('numTargetRowsUpdated', 'numUpdatedRows'),
    deleted: count('numTargetRowsDeleted', 'numDeletedRows'),
  }
}
