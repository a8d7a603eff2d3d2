import type { ObjectInfo, ObjectStore } from '../../storage/object-store.ts'
import type { Operation } from '../commit/change.ts'
import { CHANGE_DATA_FOLDER } from '../commit/change-feed.ts'
import { committed } from '../commit/transaction.ts'
import { TableError } from '../errors.ts'
import type { AddAction, RemoveAction } from '../log/actions/index.ts'
import { readCommit } from '../log/load.ts'
import { pathOf } from '../log/paths.ts'
import { listVersions } from '../log/segment.ts'
import { DELETED_FILES_KEPT_MS, deletedFileRetentionMs, intervalText } from '../properties.ts'
import { checkVacuum } from '../protocol.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Table } from '../table.ts'
import { vectorFile } from '../vectors/store.ts'

/** Files are deleted in groups of so many, and after each it is told how far it is. */
const GROUP_FILES = 1000

export interface VacuumOptions {
  /** Files that no version of this time needs, in milliseconds; delta.deletedFileRetentionDuration if not given. */
  readonly retainMs?: number | undefined
  /** A shorter time than the table asks for is taken. */
  readonly force?: boolean | undefined
  /** Nothing is deleted, and nothing committed. */
  readonly dryRun?: boolean | undefined
  readonly nowMs: number
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((doneFiles: number, allFiles: number) => void) | undefined
}

/** Files that a vacuum found, in the order of their paths; they are gone unless it was a dry run. */
export interface Vacuumed {
  readonly files: readonly ObjectInfo[]
  readonly sizeBytes: number
  readonly retainMs: number
}

/**
 * Deletes the files that neither the newest version nor any of the last `retainMs` needs: data files, vectors and change
 * data that were removed, or that a writer left behind. Files that are younger stay, as a writer may be about to commit them;
 * so do names that begin with `_` or `.`, and files outside of the table. Versions that needed the files can no longer be
 * read. Two commits tell of it, as Spark's do (VACUUM START, VACUUM END). TableError `constraint` for a time that is too
 * short, `unsupported_feature`; StorageError.
 */
export async function vacuum(table: Table, options: VacuumOptions): Promise<Vacuumed> {
  const snapshot = await table.refresh()
  const { location } = table.store
  const defaultMs = deletedFileRetentionMs(snapshot.metadata.configuration)
  const retainMs = options.retainMs ?? defaultMs
  checkVacuum(snapshot.protocol, location)
  if (retainMs < defaultMs && options.force !== true)
    throw new TableError(
      'constraint',
      `${location}: files are to be kept for ${intervalText(defaultMs)} (delta.deletedFileRetentionDuration) for those who read older versions or are about to commit; ${intervalText(retainMs)} is shorter, and taken with --force`,
    )
  const files = await unneeded(table.store, snapshot, options.nowMs - retainMs)
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0)
  const result = { files, sizeBytes, retainMs }
  if (options.dryRun === true) return result
  const begun = vacuumStarted(result, { defaultMs, isGiven: options.retainMs !== undefined, isForced: options.force })
  committed(await table.begin(snapshot).commit(begun))
  let done = 0
  try {
    for (; done < files.length; done += GROUP_FILES) {
      options.signal?.throwIfAborted()
      options.progress?.(done, files.length)
      await table.store.deleteMany(files.slice(done, done + GROUP_FILES).map(({ path }) => path))
    }
  } catch (error) {
    await table.begin(await table.refresh()).commit(vacuumEnded(Math.min(done, files.length), 'FAILED'))
    throw error
  }
  committed(await table.begin(await table.refresh()).commit(vacuumEnded(files.length, 'COMPLETED')))
  return result
}

/** The files of the store that no version since `sinceMs` has, and that are older. */
async function unneeded(store: ObjectStore, snapshot: Snapshot, sinceMs: number): Promise<ObjectInfo[]> {
  const needed = new Set<string>()
  const need = (action: AddAction | RemoveAction): void => {
    needed.add(pathOf(store.location, action.path))
    const vector = action.deletionVector ? vectorFile(store, action.deletionVector) : undefined
    if (vector !== undefined) needed.add(vector)
  }
  for (const { add } of snapshot.live) need(add)
  // A removal without a time is as old as can be.
  for (const remove of snapshot.state.tombstones.values()) if ((remove.deletionTimestamp ?? 0) >= sinceMs) need(remove)
  for (const remove of await removedSince(store, sinceMs)) need(remove)
  const isOurs = ({ path, modifiedMs }: ObjectInfo): boolean =>
    modifiedMs < sinceMs && !needed.has(path) && !isHidden(path, snapshot.partitionColumns)
  return (await store.list('')).filter(isOurs)
}

/** Removals in the log's commits: checkpoints forget them after the time that the table asks for, which may be shorter. */
async function removedSince(store: ObjectStore, sinceMs: number): Promise<RemoveAction[]> {
  const removed: RemoveAction[] = []
  for (const { version, modifiedMs } of await listVersions(store)) {
    if (modifiedMs < sinceMs) break
    for (const { remove } of (await readCommit(store, version))?.actions ?? []) if (remove) removed.push(remove)
  }
  return removed
}

/** True for what is no file of the table: names that begin with `_` or `.`, but for change data and partitions so called. */
function isHidden(path: string, partitionColumns: readonly string[]): boolean {
  const parts = path.split('/')
  if (parts[0] === CHANGE_DATA_FOLDER) parts.shift()
  return parts.some(
    part => /^[._]/.test(part) && !partitionColumns.some(column => part.startsWith(`${encodeURIComponent(column)}=`)),
  )
}

interface Retention {
  readonly defaultMs: number
  readonly isGiven: boolean
  readonly isForced: boolean | undefined
}

function vacuumStarted({ files, sizeBytes, retainMs }: Vacuumed, retention: Retention): Operation {
  const { defaultMs = DELETED_FILES_KEPT_MS, isGiven, isForced = false } = retention
  return {
    name: 'VACUUM START',
    parameters: {
      retentionCheckEnabled: String(!isForced),
      defaultRetentionMillis: String(defaultMs),
      ...(isGiven ? { specifiedRetentionMillis: String(retainMs) } : {}),
    },
    metrics: { numFilesToDelete: String(files.length), sizeOfDataToDelete: String(sizeBytes) },
    isRecorded: true,
  }
}

function vacuumEnded(deleted: number, status: 'COMPLETED' | 'FAILED'): Operation {
  return {
    name: 'VACUUM END',
    parameters: { status },
    metrics: { numDeletedFiles: String(deleted) },
    isRecorded: true,
  }
}
