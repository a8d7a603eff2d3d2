import type { Codec, Decoded } from '../xdr/codec.ts'
import {
  bool,
  enumeration,
  list,
  nothing,
  opaque,
  opaqueParts,
  optional,
  struct,
  uint32,
  uint64,
  union,
} from '../xdr/primitives.ts'

/** NFS version 3, in the spelling of RFC 1813. The limits are ours where the RFC sets none. */

export const NFS_PROGRAM = 100003
export const NFS_V3 = 3

export const NFS3_FHSIZE = 64
/** The largest READ and WRITE (rtmax, wtmax). */
export const TRANSFER_BYTES_MAX = 1024 * 1024
/** The largest file (maxfilesize): offsets fit a signed 64-bit integer, as in POSIX. */
export const FILE_BYTES_MAX = 2n ** 63n - 1n
/** Names may be longer than any file system takes, so that it can say NAMETOOLONG. */
const NAME_BYTES_MAX = 4096
const PATH_BYTES_MAX = 4096
const ENTRIES_MAX = 1_000_000

/** Sizes of the encoded types, for READDIR's limits. */
export const FATTR3_BYTES = 84

export const ftype3 = enumeration({ NF3REG: 1, NF3DIR: 2, NF3BLK: 3, NF3CHR: 4, NF3LNK: 5, NF3SOCK: 6, NF3FIFO: 7 })
export const nfs_fh3 = opaque(NFS3_FHSIZE)
/** Bytes, not text: a name that is not UTF-8 gets an NFS status, not GARBAGE_ARGS. */
export const filename3 = opaque(NAME_BYTES_MAX)
export const nfspath3 = opaque(PATH_BYTES_MAX)
export const nfstime3 = struct({ seconds: uint32, nseconds: uint32 })
const specdata3 = struct({ specdata1: uint32, specdata2: uint32 })

export const fattr3 = struct({
  type: ftype3,
  mode: uint32,
  nlink: uint32,
  uid: uint32,
  gid: uint32,
  size: uint64,
  used: uint64,
  rdev: specdata3,
  fsid: uint64,
  fileid: uint64,
  atime: nfstime3,
  mtime: nfstime3,
  ctime: nfstime3,
})
export const post_op_attr = optional(fattr3)
const wcc_attr = struct({ size: uint64, mtime: nfstime3, ctime: nfstime3 })
export const wcc_data = struct({ before: optional(wcc_attr), after: post_op_attr })
const post_op_fh3 = optional(nfs_fh3)

const set_time = union(enumeration({ DONT_CHANGE: 0, SET_TO_SERVER_TIME: 1, SET_TO_CLIENT_TIME: 2 }), {
  DONT_CHANGE: nothing,
  SET_TO_SERVER_TIME: nothing,
  SET_TO_CLIENT_TIME: nfstime3,
})
export const sattr3 = struct({
  mode: optional(uint32),
  uid: optional(uint32),
  gid: optional(uint32),
  size: optional(uint64),
  atime: set_time,
  mtime: set_time,
})
export const diropargs3 = struct({ dir: nfs_fh3, name: filename3 })
export const stable_how = enumeration({ UNSTABLE: 0, DATA_SYNC: 1, FILE_SYNC: 2 })
const createverf3 = uint64
const cookieverf3 = uint64
const writeverf3 = uint64

export type Fattr3 = Decoded<typeof fattr3>
export type WccAttr = Decoded<typeof wcc_attr>
export type WccData = Decoded<typeof wcc_data>
export type Sattr3 = Decoded<typeof sattr3>
export type Nfstime3 = Decoded<typeof nfstime3>
export type StableHow = Decoded<typeof stable_how>
export type SetTimeWire = Decoded<typeof set_time>

/** The failure arms of the results. We know no attributes there, so all of them are absent. */
export const noWcc: WccData = { before: undefined, after: undefined }
export const failure = {
  none: { codec: nothing, value: undefined },
  attributes: { codec: post_op_attr, value: undefined },
  wcc: { codec: wcc_data, value: noWcc },
} as const

export const ACCESS3 = { READ: 0x01, LOOKUP: 0x02, MODIFY: 0x04, EXTEND: 0x08, DELETE: 0x10, EXECUTE: 0x20 } as const
export const FSF3 = { LINK: 0x01, SYMLINK: 0x02, HOMOGENEOUS: 0x08, CANSETTIME: 0x10 } as const

/** Arguments (section 3.3). */
export const GETATTR3args = struct({ object: nfs_fh3 })
export const SETATTR3args = struct({ object: nfs_fh3, new_attributes: sattr3, guard: optional(nfstime3) })
export const LOOKUP3args = struct({ what: diropargs3 })
export const ACCESS3args = struct({ object: nfs_fh3, access: uint32 })
export const READLINK3args = struct({ symlink: nfs_fh3 })
export const READ3args = struct({ file: nfs_fh3, offset: uint64, count: uint32 })
export const WRITE3args = struct({
  file: nfs_fh3,
  offset: uint64,
  count: uint32,
  stable: stable_how,
  data: opaque(TRANSFER_BYTES_MAX),
})
const createhow3 = union(enumeration({ UNCHECKED: 0, GUARDED: 1, EXCLUSIVE: 2 }), {
  UNCHECKED: sattr3,
  GUARDED: sattr3,
  EXCLUSIVE: createverf3,
})
export const CREATE3args = struct({ where: diropargs3, how: createhow3 })
export const MKDIR3args = struct({ where: diropargs3, attributes: sattr3 })
export const SYMLINK3args = struct({ where: diropargs3, attributes: sattr3, path: nfspath3 })
const devicedata3 = struct({ dev_attributes: sattr3, spec: specdata3 })
const mknoddata3 = union(ftype3, {
  NF3REG: nothing,
  NF3DIR: nothing,
  NF3BLK: devicedata3,
  NF3CHR: devicedata3,
  NF3LNK: nothing,
  NF3SOCK: sattr3,
  NF3FIFO: sattr3,
})
export const MKNOD3args = struct({ where: diropargs3, what: mknoddata3 })
export const REMOVE3args = struct({ object: diropargs3 })
export const RENAME3args = struct({ from: diropargs3, to: diropargs3 })
export const LINK3args = struct({ file: nfs_fh3, link: diropargs3 })
export const READDIR3args = struct({ dir: nfs_fh3, cookie: uint64, cookieverf: cookieverf3, count: uint32 })
export const READDIRPLUS3args = struct({
  dir: nfs_fh3,
  cookie: uint64,
  cookieverf: cookieverf3,
  dircount: uint32,
  maxcount: uint32,
})
export const FSROOT3args = struct({ fsroot: nfs_fh3 })
export const COMMIT3args = struct({ file: nfs_fh3, offset: uint64, count: uint32 })

/** Results where the call succeeded (section 3.3). */
export const GETATTR3resok = struct({ obj_attributes: fattr3 })
export const SETATTR3resok = struct({ obj_wcc: wcc_data })
export const LOOKUP3resok = struct({ object: nfs_fh3, obj_attributes: post_op_attr, dir_attributes: post_op_attr })
export const ACCESS3resok = struct({ obj_attributes: post_op_attr, access: uint32 })
export const READLINK3resok = struct({ symlink_attributes: post_op_attr, data: nfspath3 })
export const READ3resok = struct({
  file_attributes: post_op_attr,
  count: uint32,
  eof: bool,
  data: opaqueParts(TRANSFER_BYTES_MAX),
})
export const WRITE3resok = struct({ file_wcc: wcc_data, count: uint32, committed: stable_how, verf: writeverf3 })
/** CREATE, MKDIR, SYMLINK and MKNOD have the same results. */
export const CREATE3resok = struct({ obj: post_op_fh3, obj_attributes: post_op_attr, dir_wcc: wcc_data })
export const REMOVE3resok = struct({ dir_wcc: wcc_data })
export const RENAME3resok = struct({ fromdir_wcc: wcc_data, todir_wcc: wcc_data })
export const LINK3resok = struct({ file_attributes: post_op_attr, linkdir_wcc: wcc_data })
const entry3 = struct({ fileid: uint64, name: filename3, cookie: uint64 })
export const READDIR3resok = struct({
  dir_attributes: post_op_attr,
  cookieverf: cookieverf3,
  entries: list(entry3, ENTRIES_MAX),
  eof: bool,
})
const entryplus3 = struct({
  fileid: uint64,
  name: filename3,
  cookie: uint64,
  name_attributes: post_op_attr,
  name_handle: post_op_fh3,
})
export const READDIRPLUS3resok = struct({
  dir_attributes: post_op_attr,
  cookieverf: cookieverf3,
  entries: list(entryplus3, ENTRIES_MAX),
  eof: bool,
})
export const FSSTAT3resok = struct({
  obj_attributes: post_op_attr,
  tbytes: uint64,
  fbytes: uint64,
  abytes: uint64,
  tfiles: uint64,
  ffiles: uint64,
  afiles: uint64,
  invarsec: uint32,
})
export const FSINFO3resok = struct({
  obj_attributes: post_op_attr,
  rtmax: uint32,
  rtpref: uint32,
  rtmult: uint32,
  wtmax: uint32,
  wtpref: uint32,
  wtmult: uint32,
  dtpref: uint32,
  maxfilesize: uint64,
  time_delta: nfstime3,
  properties: uint32,
})
export const PATHCONF3resok = struct({
  obj_attributes: post_op_attr,
  linkmax: uint32,
  name_max: uint32,
  no_trunc: bool,
  chown_restricted: bool,
  case_insensitive: bool,
  case_preserving: bool,
})
export const COMMIT3resok = struct({ file_wcc: wcc_data, verf: writeverf3 })

/** The results of a procedure, or the status that says why there are none. */
export type Nfsres3<Ok, Fail> =
  | { readonly ok: true; readonly value: Ok }
  | { readonly ok: false; readonly status: number; readonly value: Fail }

/** The union over nfsstat3 that every procedure returns (RFC 1813, 2.6 and 3.3). */
export function nfsres3<Ok, Fail>(ok: Codec<Ok>, fail: Codec<Fail>): Codec<Nfsres3<Ok, Fail>> {
  return {
    decode: reader => {
      const status = reader.uint32()
      if (status === 0) return { ok: true, value: ok.decode(reader) }
      return { ok: false, status, value: fail.decode(reader) }
    },
    encode: (writer, result) => {
      writer.uint32(result.ok ? 0 : result.status)
      if (result.ok) ok.encode(writer, result.value)
      else fail.encode(writer, result.value)
    },
  }
}
