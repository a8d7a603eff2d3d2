import { type Attributes, FsError, type TimeNs } from './filesystem.ts'

/** Permission bits of what is not the user's own: chmod succeeds on it and changes nothing. */
export const MODE = { file: 0o644, readOnly: 0o444, directory: 0o755 } as const

export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** The attributes of a view; `size` in bytes. */
export function viewAttributes(
  { uid, gid }: Owner,
  { id, size, mtime, mode }: { id: bigint; size: number; mtime: TimeNs; mode: number },
): Attributes {
  const bytes = BigInt(size)
  return {
    type: 'file',
    mode,
    links: 1,
    uid,
    gid,
    size: bytes,
    used: bytes,
    fileId: id,
    atime: mtime,
    mtime,
    ctime: mtime,
  }
}

/** A size or offset from the wire as a number; FsError EFBIG beyond what a number holds exactly. */
export function exactSize(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new FsError('EFBIG', `${value} is beyond the largest file posixlake serves`)
  return Number(value)
}

/** The time of a change: now, but always later than the one before. */
export function laterTime(now: TimeNs, than: TimeNs): TimeNs {
  return now > than ? now : than + 1n
}
