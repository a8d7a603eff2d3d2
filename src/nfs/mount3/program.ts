import { messageOf } from '../../core/errors.ts'
import { type FileRef, type FileSystem, FsError, type FsErrorCode } from '../../fs/filesystem.ts'
import { callerOf, mayCall } from '../access.ts'
import type { Exports } from '../exports.ts'
import { authFlavor } from '../rpc/message.ts'
import { type Call, type Procedure, type Program, procedure } from '../rpc/program.ts'
import { nothing } from '../xdr/primitives.ts'
import {
  dirpath,
  exports as exportsWire,
  MOUNT_PROGRAM,
  MOUNT_V3,
  type MountFailure,
  type Mountres3,
  mountlist,
  mountres3,
  mountstat3,
} from './wire.ts'

const { MNT3_OK, MNT3ERR_ACCES, MNT3ERR_SERVERFAULT } = mountstat3

/** mountstat3 of each error (RFC 1813, 5.1.5); SERVERFAULT where a look at a folder cannot raise it. */
const statuses = {
  EPERM: mountstat3.MNT3ERR_PERM,
  ENOENT: mountstat3.MNT3ERR_NOENT,
  // It was there, and went away while we looked.
  ESTALE: mountstat3.MNT3ERR_NOENT,
  EIO: mountstat3.MNT3ERR_IO,
  EACCES: MNT3ERR_ACCES,
  ENOTDIR: mountstat3.MNT3ERR_NOTDIR,
  EINVAL: mountstat3.MNT3ERR_INVAL,
  ENAMETOOLONG: mountstat3.MNT3ERR_NAMETOOLONG,
  EEXIST: MNT3ERR_SERVERFAULT,
  EXDEV: MNT3ERR_SERVERFAULT,
  EISDIR: MNT3ERR_SERVERFAULT,
  EFBIG: MNT3ERR_SERVERFAULT,
  ENOSPC: MNT3ERR_SERVERFAULT,
  EROFS: MNT3ERR_SERVERFAULT,
  ENOTEMPTY: MNT3ERR_SERVERFAULT,
  EDQUOT: MNT3ERR_SERVERFAULT,
  ETOOSMALL: MNT3ERR_SERVERFAULT,
  ENOTSYNC: MNT3ERR_SERVERFAULT,
  EJUKEBOX: MNT3ERR_SERVERFAULT,
  EMLINK: MNT3ERR_SERVERFAULT,
} as const satisfies Record<FsErrorCode, MountFailure>

export interface MountOptions {
  readonly exports: Exports
  /** True if the plain export is offered under the names that everybody knows. */
  readonly plainNames: boolean
  readonly fs: Pick<FileSystem, 'root' | 'lookup'>
  fileHandle(ref: FileRef): Uint8Array
  log(sentence: string): void
}

/** The MOUNT program (RFC 1813, appendix I). It keeps no list of clients: NFSv3 does not need one, and it would be wrong after a crash. */
export function mountProgram(options: MountOptions): Program {
  const procedures: readonly [number, Procedure][] = [
    [0, empty('NULL')],
    [1, mount(options)],
    [2, dump],
    [3, unmount],
    [4, empty('UMNTALL')],
    [5, listExports(options)],
  ]
  return { name: 'MOUNT', number: MOUNT_PROGRAM, version: MOUNT_V3, procedures: new Map(procedures) }
}

function empty(name: string): Procedure {
  return procedure({ name, args: nothing, result: nothing, anonymous: true, handle: async () => undefined })
}

/** MNT of an export, or of a folder anywhere below one (RFC 1813, 5.2.1). */
function mount(options: MountOptions): Procedure {
  const { exports, fileHandle, log } = options
  return procedure({
    name: 'MNT',
    args: dirpath,
    result: mountres3,
    anonymous: false,
    outcome: ({ status }) => (status === MNT3_OK ? 'OK' : `MNT3ERR ${status}`),
    async handle(path, call): Promise<Mountres3> {
      if (!mayCall(exports.allowedUids, call.credential)) return { status: MNT3ERR_ACCES }
      try {
        const folder = await folderAt(path, call, options)
        return { status: MNT3_OK, fhandle: fileHandle(folder), auth_flavors: [authFlavor.AUTH_SYS] }
      } catch (error) {
        if (error instanceof FsError) return { status: statuses[error.code] }
        log(`MNT failed, and the client was told SERVERFAULT: ${messageOf(error)}`)
        return { status: MNT3ERR_SERVERFAULT }
      }
    },
  })
}

/** The folder at the end of a path whose first name may be that of an export. Rejects with FsError. */
async function folderAt(path: string, call: Call, { exports, plainNames, fs }: MountOptions): Promise<FileRef> {
  const names = path.split('/').filter(name => name !== '')
  const named = names[0] === undefined ? undefined : exports.find(names[0], plainNames)
  const through = named ?? exports.find('', plainNames)
  if (through === undefined) throw new FsError('ENOENT', `${path} is no export`)
  if (!exports.admits(through, call.credential)) throw new FsError('EACCES', 'the user may not use this export')
  const caller = callerOf(call)
  let folder = fs.root(through)
  for (const name of named === undefined ? names : names.slice(1)) {
    const { node, attributes } = await fs.lookup({ ...folder, caller }, name)
    if (attributes.type !== 'directory') throw new FsError('ENOTDIR', `${path}: ${name} is not a directory`)
    folder = node
  }
  return folder
}

const dump = procedure({
  name: 'DUMP',
  args: nothing,
  result: mountlist,
  anonymous: true,
  handle: async () => [],
})

const unmount = procedure({
  name: 'UMNT',
  args: dirpath,
  result: nothing,
  anonymous: true,
  handle: async () => undefined,
})

function listExports({ exports, plainNames }: MountOptions): Procedure {
  return procedure({
    name: 'EXPORT',
    args: nothing,
    result: exportsWire,
    anonymous: true,
    handle: async () => (plainNames ? ['/', `/${exports.name}`] : []).map(ex_dir => ({ ex_dir, ex_groups: [] })),
  })
}
