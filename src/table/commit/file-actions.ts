import type { ObjectStore } from '../../storage/object-store.ts'
import type { NewFile } from '../data-files/new-file.ts'
import type { LiveFile } from '../live-files.ts'
import type { Action, AddAction, DeletionVectorDescriptor, RemoveAction } from '../log/actions/index.ts'
import { keepNumbers } from '../log/json.ts'
import { encodePath, pathOf } from '../log/paths.ts'
import { LIVE_TAG } from '../tags.ts'
import { vectorPath } from '../vectors/store.ts'

/** The add action of a new file. `modificationTime`: of files that take no other's place. */
export function addAction(file: NewFile, modificationTime: number, dataChange = true): AddAction {
  return {
    path: encodePath(file.path),
    partitionValues: file.partitionValues,
    size: file.sizeBytes,
    modificationTime: file.modificationTime ?? modificationTime,
    dataChange,
    stats: file.stats,
    ...(file.tags === undefined ? {} : { tags: Object.fromEntries(file.tags) }),
  }
}

/** A file that has another vector from now on. */
export interface NewVector {
  readonly file: LiveFile
  readonly vector: DeletionVectorDescriptor
  /** All rows of the file, deleted ones too. */
  readonly physicalRows: number
  /** Tags of the file from now on, beside those it has. */
  readonly tags?: ReadonlyMap<string, string> | undefined
}

/** The add action of a file that has a new vector: its statistics are those of the whole file, and so no longer tight. */
export function addWithVector({ file, vector, physicalRows, tags }: NewVector, dataChange = true): AddAction {
  const { add } = file
  const all: Record<string, string> = { ...add.tags }
  delete all[LIVE_TAG]
  for (const [key, value] of tags ?? []) all[key] = value
  return {
    ...add,
    dataChange,
    deletionVector: vector,
    stats: wideBounds(add.stats, physicalRows),
    ...(Object.keys(all).length === 0 ? {} : { tags: all }),
  }
}

/**
 * Statistics with the number of a file's rows, which one with a vector must say (PROTOCOL.md, "Writer Requirement for
 * Deletion Vectors"), and with bounds that need not be tight.
 */
export function wideBounds(stats: string | null | undefined, numRecords: number): string {
  let known: object = {}
  try {
    known = JSON.parse(stats ?? '{}', keepNumbers as never) as object
  } catch {
    // Damaged statistics are worth nothing.
  }
  return JSON.stringify({ ...known, numRecords, tightBounds: false })
}

/** The remove action of a logical file: its path is spelled as in its add action. */
export function removeAction({ add }: LiveFile, nowMs: number, dataChange = true): RemoveAction {
  return {
    path: add.path,
    deletionTimestamp: nowMs,
    dataChange,
    extendedFileMetadata: true,
    partitionValues: add.partitionValues ?? {},
    size: add.size,
    ...(add.deletionVector ? { deletionVector: add.deletionVector } : {}),
    ...(add.tags ? { tags: add.tags } : {}),
    ...(add['baseRowId'] === undefined ? {} : { baseRowId: add['baseRowId'] }),
    ...(add['defaultRowCommitVersion'] === undefined
      ? {}
      : { defaultRowCommitVersion: add['defaultRowCommitVersion'] }),
  }
}

/** The files that actions put into the table, those of vectors included, as paths in the store. */
export function namedFiles(store: ObjectStore, actions: readonly Action[]): ReadonlySet<string> {
  const named = new Set<string>()
  for (const { add, cdc } of actions) {
    if (cdc) named.add(pathOf(store.location, cdc.path))
    if (!add) continue
    named.add(pathOf(store.location, add.path))
    if (add.deletionVector && add.deletionVector.storageType !== 'i') named.add(vectorPath(store, add.deletionVector))
  }
  return named
}
