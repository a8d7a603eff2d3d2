import { LakeError } from '../core/errors.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { TableError } from './errors.ts'
import type { LiveFile } from './live-files.ts'
import type { Snapshot } from './snapshot.ts'

/** Files that are looked for at the same time. */
const PARALLEL = 64

/**
 * Returns the error that reading a version failed with, as TableError `missing_file` if one of its files is gone. Else
 * the error as it is. Nobody looks for the files before they are read: texts of files that are gone may still be at hand.
 */
export async function asMissingFile(store: ObjectStore, snapshot: Snapshot, error: unknown): Promise<unknown> {
  if (error instanceof TableError) return error
  const file = await missingFile(store, snapshot).catch(() => undefined)
  if (file === undefined) return error
  return new TableError(
    'missing_file',
    `${store.location}: version ${snapshot.version} cannot be read: its file ${file.path} is gone; VACUUM, or whoever removed it, has ended this version`,
    { cause: error instanceof LakeError ? error : undefined },
  )
}

/** The first file of a version that is not there. */
async function missingFile(store: ObjectStore, { files }: Snapshot): Promise<LiveFile | undefined> {
  for (let start = 0; start < files.length; start += PARALLEL) {
    const some = files.slice(start, start + PARALLEL)
    const found = await Promise.all(some.map(({ path }) => store.stat(path)))
    const missing = found.indexOf(undefined)
    if (missing >= 0) return some[missing]
  }
  return undefined
}
