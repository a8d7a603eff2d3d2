import type { Export } from '../../fs/filesystem.ts'
import type { Exports } from '../exports.ts'
import { authFlavor } from '../rpc/message.ts'
import { type Procedure, type Program, procedure } from '../rpc/program.ts'
import { nothing } from '../xdr/primitives.ts'
import {
  dirpath,
  exports as exportsWire,
  MOUNT_PROGRAM,
  MOUNT_V3,
  type Mountres3,
  mountlist,
  mountres3,
  mountstat3,
} from './wire.ts'

export interface MountOptions {
  readonly exports: Exports
  /** Whether the plain export is offered under the names that everybody knows. */
  readonly plainNames: boolean
  /** The file handle of the root, as an export shows it. */
  rootHandle(through: Export): Uint8Array
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

function mount({ exports, plainNames, rootHandle }: MountOptions): Procedure {
  return procedure({
    name: 'MNT',
    args: dirpath,
    result: mountres3,
    anonymous: false,
    outcome: ({ status }) => (status === mountstat3.MNT3_OK ? 'OK' : `MNT3ERR ${status}`),
    async handle(path, { credential }): Promise<Mountres3> {
      const through = exports.find(path.replace(/^\/+/, '').replace(/\/+$/, ''), plainNames)
      if (through === undefined) return { status: mountstat3.MNT3ERR_NOENT }
      if (!exports.admits(through, credential)) return { status: mountstat3.MNT3ERR_ACCES }
      return { status: mountstat3.MNT3_OK, fhandle: rootHandle(through), auth_flavors: [authFlavor.AUTH_SYS] }
    },
  })
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
