import {
  type Attributes,
  type Change,
  FsError,
  type NewAttributes,
  type SetTime,
  type Stability,
  type TimeNs,
} from '../../fs/filesystem.ts'
import { utf8Text } from '../xdr/primitives.ts'
import {
  type Fattr3,
  FILE_BYTES_MAX,
  type Nfstime3,
  type Sattr3,
  type SetTimeWire,
  type StableHow,
  type WccAttr,
  type WccData,
} from './wire.ts'

/** The wire's types to the file system's, and back. */

const NS_PER_SECOND = 1_000_000_000n
const UINT32_MAX = 0xffff_ffff
const PERMISSION_BITS = 0o7777

const stabilities = {
  UNSTABLE: 'unstable',
  DATA_SYNC: 'data_sync',
  FILE_SYNC: 'file_sync',
} as const satisfies Record<StableHow, Stability>
const stableHows = {
  unstable: 'UNSTABLE',
  data_sync: 'DATA_SYNC',
  file_sync: 'FILE_SYNC',
} as const satisfies Record<Stability, StableHow>

/** nfstime3 counts from 1970 to 2106; times outside become the nearest that it has. */
function toNfstime3(time: TimeNs): Nfstime3 {
  if (time < 0n) return { seconds: 0, nseconds: 0 }
  const seconds = time / NS_PER_SECOND
  if (seconds > UINT32_MAX) return { seconds: UINT32_MAX, nseconds: 999_999_999 }
  return { seconds: Number(seconds), nseconds: Number(time % NS_PER_SECOND) }
}

export function fromNfstime3({ seconds, nseconds }: Nfstime3): TimeNs {
  const time = BigInt(nseconds)
  if (time >= NS_PER_SECOND) throw new FsError('EINVAL', `A time has ${nseconds} nanoseconds, more than a second.`)
  return BigInt(seconds) * NS_PER_SECOND + time
}

export function toFattr3(attributes: Attributes, fsid: bigint): Fattr3 {
  return {
    type: attributes.type === 'directory' ? 'NF3DIR' : 'NF3REG',
    mode: attributes.mode & PERMISSION_BITS,
    nlink: attributes.links,
    uid: attributes.uid,
    gid: attributes.gid,
    size: attributes.size,
    used: attributes.used,
    rdev: { specdata1: 0, specdata2: 0 },
    fsid,
    fileid: attributes.fileId,
    atime: toNfstime3(attributes.atime),
    mtime: toNfstime3(attributes.mtime),
    ctime: toNfstime3(attributes.ctime),
  }
}

export function toWccData(change: Change, fsid: bigint): WccData {
  return {
    before: change.before === undefined ? undefined : toWccAttr(change.before),
    after: change.after === undefined ? undefined : toFattr3(change.after, fsid),
  }
}

function toWccAttr({ size, mtime, ctime }: Attributes): WccAttr {
  return { size, mtime: toNfstime3(mtime), ctime: toNfstime3(ctime) }
}

export function fromSattr3(sattr: Sattr3): NewAttributes {
  if (sattr.size !== undefined && sattr.size > FILE_BYTES_MAX) {
    throw new FsError('EFBIG', `A file of ${sattr.size} bytes was asked for, more than there can be.`)
  }
  return {
    mode: sattr.mode === undefined ? undefined : sattr.mode & PERMISSION_BITS,
    uid: sattr.uid,
    gid: sattr.gid,
    size: sattr.size,
    atime: fromSetTime(sattr.atime),
    mtime: fromSetTime(sattr.mtime),
  }
}

function fromSetTime(setTime: SetTimeWire): SetTime | undefined {
  switch (setTime.kind) {
    case 'DONT_CHANGE':
      return undefined
    case 'SET_TO_SERVER_TIME':
      return { kind: 'server' }
    case 'SET_TO_CLIENT_TIME':
      return { kind: 'client', time: fromNfstime3(setTime.value) }
  }
}

export function fromStableHow(how: StableHow): Stability {
  return stabilities[how]
}

export function toStableHow(stability: Stability): StableHow {
  return stableHows[stability]
}

/** A name as text. What the name may hold is the file system's business; that it is UTF-8 is ours. */
export function fromFilename3(name: Uint8Array): string {
  const text = utf8Text(name)
  if (text === undefined) throw new FsError('EINVAL', 'A file name is not valid UTF-8.')
  return text
}

/** Attributes that may be withheld. */
export function fattrOf(attributes: Attributes | undefined, fsid: bigint): Fattr3 | undefined {
  return attributes === undefined ? undefined : toFattr3(attributes, fsid)
}
