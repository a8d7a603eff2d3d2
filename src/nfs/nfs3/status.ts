import type { FsErrorCode } from '../../fs/filesystem.ts'

/** nfsstat3 of each error (RFC 1813, 2.6). */
export const nfsstat3 = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EACCES: 13,
  EEXIST: 17,
  EXDEV: 18,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  ENAMETOOLONG: 63,
  ENOTEMPTY: 66,
  EDQUOT: 69,
  ESTALE: 70,
  ENOTSYNC: 10002,
  ETOOSMALL: 10005,
  EJUKEBOX: 10008,
} as const satisfies Record<FsErrorCode, number>

export const NFS3_OK = 0
/** The handle was never one of ours; a FileSystem cannot raise this. */
export const NFS3ERR_BADHANDLE = 10001

const names = new Map<number, string>([
  [NFS3_OK, 'OK'],
  [NFS3ERR_BADHANDLE, 'EBADHANDLE'],
  ...Object.entries(nfsstat3).map(([name, status]): [number, string] => [status, name]),
])

/** The name of a status, for logs and messages: `OK`, `ENOENT`, ... */
export function statusName(status: number): string {
  return names.get(status) ?? `status ${status}`
}
