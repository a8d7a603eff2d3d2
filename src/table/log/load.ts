import type { ObjectStore } from '../../storage/object-store.ts'
import { StorageError } from '../../storage/object-store.ts'
import { TableError } from '../errors.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Action } from './actions/index.ts'
import { type Checkpointed, readCheckpoint } from './checkpoint.ts'
import { readActions } from './json.ts'
import { LoggedFiles } from './logged-files.ts'
import { commitPath, LOG_FOLDER } from './paths.ts'
import { SnapshotBuilder } from './replay.ts'
import { type Checkpoint, type Commit, type Listing, lastCheckpoint, listLog } from './segment.ts'

/** Commits that are read at the same time. */
const PARALLEL = 8

/**
 * Loads a version (the newest if none is named) from the nearest checkpoint and the commits behind it. TableError:
 * `not_a_table`, `no_such_version`, `corrupt_log`, `unsupported_feature`.
 */
export async function loadSnapshot(store: ObjectStore, version?: bigint): Promise<Snapshot> {
  return (await load(store, version)).snapshot
}

/** A version that was loaded. */
export interface Loaded {
  readonly snapshot: Snapshot
  /** False if the log has a checkpoint of it and no longer its commit. */
  readonly hasCommit: boolean
}

/** Loads the newest version, as `loadSnapshot` does. */
export function loadNewest(store: ObjectStore): Promise<Loaded> {
  return load(store, undefined)
}

async function load(store: ObjectStore, version: bigint | undefined): Promise<Loaded> {
  const hint = version === undefined ? await lastCheckpoint(store) : undefined
  if (hint !== undefined) {
    const listing = await listLog(store, hint)
    try {
      if (listing.checkpoints.some(checkpoint => checkpoint.version >= hint))
        return await loadFrom(store, listing, version)
    } catch (error) {
      // The checkpoint that the hint names is damaged: what stands before it in the log may do.
      if (!(error instanceof TableError) || error.code !== 'corrupt_log') throw error
    }
  }
  return loadFrom(store, await listLog(store, undefined), version)
}

async function loadFrom(
  store: ObjectStore,
  { commits, checkpoints }: Listing,
  version: bigint | undefined,
): Promise<Loaded> {
  const newest = [commits.at(-1)?.version, checkpoints.at(-1)?.version].reduce(
    (a, b) => (a === undefined || (b !== undefined && b > a) ? b : a),
    undefined,
  )
  if (newest === undefined) {
    throw new TableError(
      'not_a_table',
      `${store.location}: this is not a Delta table: there is no ${LOG_FOLDER} with commits in it; 'posixlake create' makes one`,
    )
  }
  const target = version ?? newest
  if (target > newest || target < 0n) throw noSuchVersion(store, target, `the newest is ${newest}`)
  const hasCommit = commits.some(commit => commit.version === target)
  const usable = checkpoints.filter(checkpoint => checkpoint.version <= target).reverse()
  let damaged: unknown
  for (const checkpoint of usable) {
    try {
      return { snapshot: await replay(store, checkpoint, commits, target), hasCommit }
    } catch (error) {
      // A damaged checkpoint is only a shortcut lost, as long as the commits before it are there.
      if (!(error instanceof TableError) || error.code !== 'corrupt_log') throw error
      damaged ??= error
    }
  }
  if (commits[0]?.version !== 0n && (damaged !== undefined || version === undefined)) throw damaged ?? gap(store, 0n)
  if (commits[0]?.version !== 0n) throw cleanedUp(store, target, commits, checkpoints)
  return { snapshot: await replay(store, undefined, commits, target), hasCommit }
}

async function replay(
  store: ObjectStore,
  checkpoint: Checkpoint | undefined,
  commits: readonly Commit[],
  target: bigint,
): Promise<Snapshot> {
  const builder = new SnapshotBuilder(store.location, undefined)
  let next = 0n
  if (checkpoint !== undefined) {
    const parts: Checkpointed[] = []
    for (const file of checkpoint.files) parts.push(await readCheckpoint(store, file.path, file.json))
    for (const { actions } of parts) builder.apply(actions, 0)
    builder.applyFiles(new LoggedFiles(parts.flatMap(({ files }) => files)))
    next = checkpoint.version + 1n
    // The checkpoint does not say when its version was committed.
    const own = commits.find(commit => commit.version === checkpoint.version)
    if (own !== undefined) builder.apply(await timesOf(store, own, builder), own.modifiedMs)
  }
  const first = next
  const wanted = commits.filter(({ version }) => version >= first && version <= target)
  for (const { version } of wanted) {
    if (version !== next) throw gap(store, next)
    next++
  }
  if (next !== target + 1n) throw gap(store, next)
  for await (const { commit, actions } of actionsOf(store, wanted)) builder.apply(actions, commit.modifiedMs)
  return builder.finish(target)
}

/** The actions of commits, in order; a few commits are read at the same time. */
async function* actionsOf(
  store: ObjectStore,
  commits: readonly Commit[],
): AsyncGenerator<{ readonly commit: Commit; readonly actions: Action[] }> {
  const reading: Promise<Action[]>[] = []
  let begun = 0
  for (const [i, commit] of commits.entries()) {
    for (; begun < Math.min(commits.length, i + PARALLEL); begun++) {
      const { path, sizeBytes } = commits[begun]!
      const actions = readActions(store, path, sizeBytes)
      // Whoever comes to it hears of it.
      actions.catch(() => undefined)
      reading.push(actions)
    }
    yield { commit, actions: await reading.shift()! }
  }
}

/** Of a commit that a checkpoint covers, what the checkpoint leaves out: its own time, which the next one must exceed. */
async function timesOf(store: ObjectStore, commit: Commit, builder: SnapshotBuilder): Promise<Action[]> {
  if (!builder.hasInCommitTimestamps) return []
  const actions = await readActions(store, commit.path)
  return actions.flatMap(({ commitInfo }) => (commitInfo ? [{ commitInfo }] : []))
}

/** A version that was there once. */
function cleanedUp(
  store: ObjectStore,
  version: bigint,
  commits: readonly Commit[],
  checkpoints: readonly Checkpoint[],
): TableError {
  const gone = commits.some(commit => commit.version === version) ? 0n : version
  const oldest = checkpoints.find(checkpoint => checkpoint.version > version)?.version
  return new TableError(
    'no_such_version',
    `${store.location}: version ${version} cannot be read any more: the log no longer reaches back that far, for ${commitPath(gone)} has been cleaned up${oldest === undefined ? '' : `; the oldest version that can be read is ${oldest}`}`,
  )
}

function gap(store: ObjectStore, version: bigint): TableError {
  return new TableError(
    'corrupt_log',
    `${store.location}/${commitPath(version)}: the log entry is missing, though later ones are there`,
  )
}

function noSuchVersion(store: ObjectStore, version: bigint, why: string): TableError {
  return new TableError('no_such_version', `${store.location}: there is no version ${version}; ${why}`)
}

/** The commit of one version, or undefined if it is not there. */
export async function readCommit(
  store: ObjectStore,
  version: bigint,
): Promise<{ actions: Action[]; modifiedMs: number } | undefined> {
  const path = commitPath(version)
  let actions: Action[]
  try {
    actions = await readActions(store, path)
  } catch (error) {
    if (error instanceof StorageError && error.code === 'not_found') return undefined
    throw error
  }
  return { actions, modifiedMs: Math.trunc((await store.stat(path))?.modifiedMs ?? 0) }
}
