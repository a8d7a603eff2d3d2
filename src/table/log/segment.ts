import type { ObjectStore } from '../../storage/object-store.ts'
import { commitPath, LAST_CHECKPOINT, LOG_FOLDER, type LogFile, parseLogFile } from './paths.ts'

/** A commit in the log. */
export type Commit = Extract<LogFile, { kind: 'commit' }> & { readonly modifiedMs: number; readonly sizeBytes: number }

/** A checkpoint of which all parts are there. */
export type Checkpoint = {
  readonly version: bigint
  readonly files: readonly Extract<LogFile, { kind: 'checkpoint' }>[]
}

/** The files of a log, or of its end. */
export interface Listing {
  readonly commits: readonly Commit[]
  readonly checkpoints: readonly Checkpoint[]
}

/** The commits and checkpoints of a log, in order; with `from`, those of that version and later ones. */
export async function listLog(store: ObjectStore, from: bigint | undefined): Promise<Listing> {
  const startAfter = from === undefined || from === 0n ? undefined : commitPath(from - 1n)
  const commits: Commit[] = []
  const parts = new Map<string, Extract<LogFile, { kind: 'checkpoint' }>[]>()
  for (const { path, modifiedMs, sizeBytes } of await store.list(LOG_FOLDER, startAfter)) {
    const file = parseLogFile(path)
    if (file?.kind === 'commit') commits.push({ ...file, modifiedMs: Math.trunc(modifiedMs), sizeBytes })
    if (file?.kind !== 'checkpoint') continue
    const key = file.parts > 1 ? `${file.version}/${file.parts}` : path
    parts.set(key, [...(parts.get(key) ?? []), file])
  }
  const checkpoints = [...parts.values()]
    .filter(files => files.length === files[0]!.parts)
    .map(files => ({ version: files[0]!.version, files }))
    .sort((a, b) => (a.version < b.version ? -1 : a.version > b.version ? 1 : 0))
  return { commits, checkpoints }
}

/** The version that `_last_checkpoint` names, or undefined; it is only a hint, and may be stale, cut off or empty. */
export async function lastCheckpoint(store: ObjectStore): Promise<bigint | undefined> {
  try {
    const json = JSON.parse(new TextDecoder().decode(await store.read(LAST_CHECKPOINT))) as { version?: unknown }
    return Number.isSafeInteger(json.version) ? BigInt(json.version as number) : undefined
  } catch {
    return undefined
  }
}

/** True if there is a table at all: told by the names in its log. */
export async function hasLog(store: ObjectStore): Promise<boolean> {
  // Most logs have their first commit, and a long one takes long to be listed.
  if ((await store.stat(commitPath(0n))) !== undefined) return true
  for (const { path } of await store.list(`${LOG_FOLDER}/`)) if (parseLogFile(path) !== undefined) return true
  return false
}

/** The versions whose commits are still in the log, newest first. */
export async function listVersions(store: ObjectStore): Promise<{ version: bigint; modifiedMs: number }[]> {
  const { commits } = await listLog(store, undefined)
  return commits.map(({ version, modifiedMs }) => ({ version, modifiedMs })).reverse()
}
