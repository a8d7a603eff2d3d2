import { withinMs } from '../core/limit.ts'
import { MountError } from '../mount/errors.ts'
import { mountAt, unmount } from '../mount/linux.ts'
import { ask, END_LIMIT_MS, type Left, question } from './control.ts'
import { ServeError } from './errors.ts'
import { mountsOf, readRecords, removeRecord, type ServerRecord, type TableMount } from './registry.ts'

/** The form of an export's path, by which a mount is known as one of posixlake if no record tells of it. */
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
  // Before the last mount goes, and the server perhaps with it: its end is the end of this connection.
  const life = isAlive ? question(record.location, 'watch') : undefined
  life?.answer.catch(() => undefined)
  try {
    // What programs wrote and closed goes to the server first; a server that is gone would be waited for without end.
    for (const point of points) await unmount(point, force || !isAlive)
    const left = record === undefined ? [] : mountsOf(record.exports)
    if (record === undefined) return { isUsed: false, left }
    if (life === undefined) {
      if (left.length === 0) removeRecord(record.location)
      return { isUsed: false, left }
    }
    const { ended, isUsed } = await leave(record, isTable)
    if (ended) await endOf(record, life.closed)
    return { isUsed, left }
  } finally {
    life?.close()
  }
}

async function answers({ location }: ServerRecord, force: boolean): Promise<boolean> {
  try {
    return (await ask(location, 'status')) !== undefined
  } catch (error) {
    if (force && error instanceof ServeError && error.code === 'not_answering') return false
    throw error
  }
}

/** Tells the server that mounts of it are gone. A server that cannot be asked any more is ending. */
async function leave({ location }: ServerRecord, isTable: boolean): Promise<Left> {
  if (!isTable) return (await ask(location, 'leave')) ?? { ended: true, isUsed: false }
  await ask(location, 'stop')
  return { ended: true, isUsed: false }
}

async function endOf({ location, pid }: ServerRecord, closed: Promise<void>): Promise<void> {
  const ended = await withinMs(
    END_LIMIT_MS,
    closed.then(() => true),
  )
  if (ended === undefined)
    throw new ServeError(
      'not_answering',
      `the server of ${location} (process ${pid}) has not ended for ${END_LIMIT_MS / 1000} s; its log tells why`,
    )
}
