import { type Codec, XdrError } from '../xdr/codec.ts'
import { array, list, opaque, string, struct, uint32 } from '../xdr/primitives.ts'

/** The MOUNT protocol, version 3, in the spelling of RFC 1813, appendix I (section 5). */

export const MOUNT_PROGRAM = 100005
export const MOUNT_V3 = 3

export const MNTPATHLEN = 1024
export const MNTNAMLEN = 255
const FHSIZE3 = 64
const LIST_COUNT_MAX = 1024

export const mountstat3 = {
  MNT3_OK: 0,
  MNT3ERR_PERM: 1,
  MNT3ERR_NOENT: 2,
  MNT3ERR_IO: 5,
  MNT3ERR_ACCES: 13,
  MNT3ERR_NOTDIR: 20,
  MNT3ERR_INVAL: 22,
  MNT3ERR_NAMETOOLONG: 63,
  MNT3ERR_SERVERFAULT: 10006,
} as const
const failures = Object.values(mountstat3).filter(status => status !== mountstat3.MNT3_OK)

export const dirpath = string(MNTPATHLEN)
export const fhandle3 = opaque(FHSIZE3)

const mountres3_ok = struct({ fhandle: fhandle3, auth_flavors: array(uint32, 16) })

export type MountFailure = Exclude<(typeof mountstat3)[keyof typeof mountstat3], typeof mountstat3.MNT3_OK>
export type Mountres3 =
  | {
      readonly status: typeof mountstat3.MNT3_OK
      readonly fhandle: Uint8Array
      readonly auth_flavors: readonly number[]
    }
  | { readonly status: MountFailure }

export const mountres3: Codec<Mountres3> = {
  decode: reader => {
    const status = reader.uint32()
    if (status === mountstat3.MNT3_OK) return { status, ...mountres3_ok.decode(reader) }
    const failure = failures.find(known => known === status)
    if (failure === undefined) throw new XdrError('bad_value', `${status} is not a mountstat3.`)
    return { status: failure }
  },
  encode: (writer, result) => {
    writer.uint32(result.status)
    if (result.status === mountstat3.MNT3_OK) mountres3_ok.encode(writer, result)
  },
}

export const mountlist = list(struct({ ml_hostname: string(MNTNAMLEN), ml_directory: dirpath }), LIST_COUNT_MAX)

export const exports = list(
  struct({ ex_dir: dirpath, ex_groups: list(struct({ gr_name: string(MNTNAMLEN) }), LIST_COUNT_MAX) }),
  LIST_COUNT_MAX,
)
