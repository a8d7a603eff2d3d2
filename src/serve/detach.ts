import { MountError } from '../mount/errors.ts'
import { mountAt, unmount } from '../mount/linux.ts'
import { ask } from './control.ts'
import { ServeError } from './errors.ts'
import { mountsOf, readRecords, removeRecord, type ServerRecord, type TableMount } from './registry.ts'

/** How the path of an export looks, by which a mount is known as one of posixlake if no record tells of it. */
const EXPORT_SOURCE = /:\/[0-9a-f]{32}(?:\/|$)/

export interface Detached {
  /** No mount is left, but programs still use one that was cut off: the server goes on for them. */
  readonly isUsed: boolean
  /** The mounts of the table that are left. */
  readonly left: readonly TableMount[]
}

/**
 * Unmounts one mount point, or a table with all its mounts; the server ends with the last one. `path`: the mount point's or
 * the table's real path. `force`: cuts off programs that use it. Rejects with MountError or ServeError.
 */
export async function detach(path: string, location: string, force: boolean): Promise<Detached> {
  const record = readRecords().find(
    known => known.location === location || mountsOf(known.exports).some(({ mountPoint }) => mountPoint === path),
  )
  const entry = mountAt(path)
  if (entry !== undefined && record === undefined && (entry.type !== 'nfs' || !EXPORT_SOURCE.test(entry.source)))
    throw new MountError('not_mounted', `${path} is not a mount of posixlake`)
  if (entry === undefined && record === undefined)
    throw new MountError('not_mounted', `nothing is mounted at ${path}; \`posixlake status\` lists what is`)
  const isTable = entry === undefined
  const points = isTable && record !== undefined ? mountsOf(record.exports).map(({ mountPoint }) => mountPoint) : [path]
  const isAlive = record !== undefined && (await answers(record, force))
  // What programs wrote and closed goes to the server first; a server that is gone would be waited for without end.
  for (const point of points) await unmount(point, force || !isAlive)
  const left = record === undefined ? [] : mountsOf(record.exports)
  const isUsed = record !== undefined && (await leave(record, isAlive, isTable, left.length === 0))
  return { isUsed, left }
}

async function answers({ location }: ServerRecord, force: boolean): Promise<boolean> {
  try {
    return (await ask(location, 'status')) !== undefined
  } catch (error) {
    if (force && error instanceof ServeError && error.code === 'not_answering') return false
    throw error
  }
}

/** Whether the server goes on for programs that still use a mount. */
async function leave(
  { location }: ServerRecord,
  isAlive: boolean,
  isTable: boolean,
  isLast: boolean,
): Promise<boolean> {
  if (!isAlive) {
    if (isLast) removeRecord(location)
    return false
  }
  if (!isTable) return (await ask(location, 'leave'))?.isUsed ?? false
  await ask(location, 'stop')
  return false
}
