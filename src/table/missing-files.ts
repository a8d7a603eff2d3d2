import { LakeError } from '../core/errors.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { TableError } from './errors.ts'
import type { Snapshot } from './snapshot.ts'

/** Files that are looked for at the same time. */
const PARALLEL = 64

/**
 * Returns the error that reading a version failed with, as TableError `missing_file` if one of its files is gone. Else
 * the error as it is. Nobody looks for the files before they are read: texts of files that are gone may still be at hand.
 */
export async function asMissingFile(store: ObjectStore, snapshot: Snapshot, error: unknown): Promise<unknown> {
  if (error instanceof TableError) return error
  const paths = snapshot.files.map(({ path }) => path)
  const path = await firstMissing(store, paths).catch(() => undefined)
  if (path === undefined) return error
  return new TableError(
    'missing_file',
    `${store.location}: version ${snapshot.version} cannot be read: its file ${path} is gone; VACUUM, or whoever removed it, has ended this version`,
    { cause: error instanceof LakeError ? error : undefined },
  )
}

/** The first of some files that is not there. */
export async function firstMissing(store: ObjectStore, paths: readonly string[]): Promise<string | undefined> {
  for (let start = 0; start < paths.length; start += PARALLEL) {
    const some = paths.slice(start, start + PARALLEL)
    const found = await Promise.all(some.map(path => store.stat(path)))
    const missing = found.indexOf(undefined)
    if (missing >= 0) return some[missing]
  }
  return undefined
}
