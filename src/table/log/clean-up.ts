import { readFooter } from '../../columns/parquet/read.ts'
import { storeSource } from '../../columns/parquet/source.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { readSidecars } from './checkpoint.ts'
import { SIDECAR_FOLDER } from './paths.ts'
import { type Checkpoint, listLog } from './segment.ts'

const DAY_MS = 24 * 3600 * 1000

/**
 * Deletes the commits and checkpoints that no version of the retention needs (PROTOCOL.md, "Metadata Cleanup"): of the
 * complete checkpoints that are older, the newest one stays with all that is behind it, so that every version from there on
 * can still be read. The time is cut to whole days, as other writers cut it. Returns the paths that went. StorageError.
 */
export async function cleanUpLog(store: ObjectStore, nowMs: number, retentionMs: number): Promise<readonly string[]> {
  const beforeMs = Math.floor((nowMs - retentionMs) / DAY_MS) * DAY_MS
  const { commits, checkpoints } = await listLog(store, undefined)
  const times = new Map(commits.map(({ version, modifiedMs }) => [version, modifiedMs]))
  // A checkpoint whose commit is gone already is older than all that are there.
  const isOld = ({ version }: Checkpoint): boolean => (times.get(version) ?? 0) < beforeMs
  const kept = checkpoints.findLast(isOld)
  if (kept === undefined || !(await isWhole(store, kept))) return []
  // From the oldest on: whatever stops it, the log has no gap behind its first commit.
  const over = [
    ...commits.filter(({ modifiedMs }) => modifiedMs < beforeMs),
    ...checkpoints.flatMap(({ files }) => files),
  ]
    .filter(({ version }) => version < kept.version)
    .sort((a, b) => Number(a.version - b.version))
    .map(({ path }) => path)
  await store.deleteMany(over)
  return [...over, ...(await cleanUpSidecars(store, nowMs))]
}

/** Deletes sidecars that no checkpoint names. A young one may be that of a checkpoint which is being written. */
async function cleanUpSidecars(store: ObjectStore, nowMs: number): Promise<string[]> {
  const old = (await store.list(`${SIDECAR_FOLDER}/`)).filter(({ modifiedMs }) => modifiedMs < nowMs - DAY_MS)
  if (old.length === 0) return []
  const named = new Set<string>()
  const { checkpoints } = await listLog(store, undefined)
  for (const { path, json } of checkpoints.flatMap(({ files }) => files))
    for (const sidecar of await readSidecars(store, path, json)) named.add(sidecar)
  const over = old.map(({ path }) => path).filter(path => !named.has(path))
  await store.deleteMany(over)
  return over
}

/** True if the files of a checkpoint can be read as far as their ends tell. */
async function isWhole(store: ObjectStore, { files }: Checkpoint): Promise<boolean> {
  for (const { path, json } of files) {
    const info = await store.stat(path)
    if (info === undefined || info.sizeBytes === 0) return false
    try {
      if (!json) await readFooter(storeSource(store, path, info.sizeBytes))
      for (const sidecar of await readSidecars(store, path, json))
        if ((await store.stat(sidecar)) === undefined) return false
    } catch {
      return false
    }
  }
  return true
}
