import type { ObjectStore } from '../storage/object-store.ts'
import { TableError } from './errors.ts'
import type { Action } from './log/actions/index.ts'
import { readCommit } from './log/load.ts'
import { listVersions } from './log/segment.ts'
import { time } from './log/shapes.ts'
import type { TableMetadata } from './metadata.ts'
import { isTrue } from './properties.ts'

const ENABLED = 'delta.enableInCommitTimestamps'
const SINCE_VERSION = 'delta.inCommitTimestampEnablementVersion'
const SINCE_TIME = 'delta.inCommitTimestampEnablementTimestamp'

/** From when on the commits of a table carry their own times (PROTOCOL.md, "In-Commit Timestamps"). */
export interface InCommitTimes {
  readonly version: bigint
  readonly timestampMs: number
}

/** Undefined for a table whose commits have the times of their files. TableError `corrupt_log`. */
export function inCommitTimes({ configuration, id }: TableMetadata): InCommitTimes | undefined {
  if (!isTrue(configuration.get(ENABLED))) return undefined
  const number = (key: string, none: number): number => {
    const text = configuration.get(key)
    if (text === undefined) return none
    if (!/^-?\d{1,15}$/.test(text))
      throw new TableError('corrupt_log', `the table ${id}: its property ${key} is ${text.slice(0, 80)}, and no number`)
    return Number(text)
  }
  // What has been so from the first version on need not be told.
  return { version: BigInt(number(SINCE_VERSION, 0)), timestampMs: number(SINCE_TIME, Number.NEGATIVE_INFINITY) }
}

/** A version and the time at which its file was written. */
export interface CommitFile {
  readonly version: bigint
  readonly modifiedMs: number
}

/**
 * The times of commits by those of their files, which are given with the oldest first. Each is later than the one before, as
 * Spark has it: clocks go back, and who copies a log gives many files one time.
 */
export function fileTimes(commits: readonly CommitFile[]): number[] {
  let last = Number.NEGATIVE_INFINITY
  return commits.map(({ modifiedMs }) => {
    last = Math.max(Math.trunc(modifiedMs), last + 1)
    return last
  })
}

/** The time that a commit carries, if it is one; commitInfo is free text of whoever committed. */
export function ownTime(actions: readonly Action[]): number | undefined {
  const own = actions.find(action => action.commitInfo)?.commitInfo?.inCommitTimestamp
  return own !== undefined && time(own, '') === undefined ? own : undefined
}

/** The newest version that was committed at a time or before. TableError `no_such_version`, `corrupt_log`. */
export async function versionAt(store: ObjectStore, metadata: TableMetadata, timestampMs: number): Promise<bigint> {
  const commits = (await listVersions(store)).reverse()
  const own = inCommitTimes(metadata)
  const isOwn = own !== undefined && timestampMs >= own.timestampMs
  // The times of files may be later than those that commits carry: the two are never compared.
  const considered = own === undefined ? commits : commits.filter(({ version }) => version >= own.version === isOwn)
  const times = isOwn ? undefined : fileTimes(considered)
  const timeOf = async (i: number): Promise<number> => times?.[i] ?? (await inCommitTime(store, considered[i]!.version))
  // [0, low) is not later than the time, [high, ...) is.
  let low = 0
  let high = considered.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((await timeOf(middle)) <= timestampMs) low = middle + 1
    else high = middle
  }
  const found = considered[low - 1]
  if (found !== undefined) return found.version
  const asked = `no version is as old as ${new Date(timestampMs).toISOString()}`
  const oldest = considered[0]
  throw new TableError(
    'no_such_version',
    oldest === undefined
      ? `${store.location}: ${asked}; the versions of that time are no longer in the log`
      : `${store.location}: ${asked}; the oldest in the log is version ${oldest.version} of ${new Date(await timeOf(0)).toISOString()}`,
  )
}

/** The oldest version that was committed at a time or later. TableError `no_such_version`, `corrupt_log`. */
export async function versionSince(store: ObjectStore, metadata: TableMetadata, timestampMs: number): Promise<bigint> {
  const versions = await listVersions(store)
  const before = await versionAt(store, metadata, timestampMs - 1).catch((error: unknown) => {
    if (error instanceof TableError && error.code === 'no_such_version') return undefined
    throw error
  })
  const [newest] = versions
  if (before !== undefined && before === newest?.version)
    throw new TableError(
      'no_such_version',
      `${store.location}: no version is as young as ${new Date(timestampMs).toISOString()}; the newest is ${before}`,
    )
  return before === undefined ? (versions.at(-1)?.version ?? 0n) : before + 1n
}

async function inCommitTime(store: ObjectStore, version: bigint): Promise<number> {
  const found = ownTime((await readCommit(store, version))?.actions ?? [])
  if (found !== undefined) return found
  throw new TableError(
    'corrupt_log',
    `${store.location}: version ${version} carries no inCommitTimestamp, though the table says that all do; ask for a version by its number`,
  )
}
