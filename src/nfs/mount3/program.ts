import { createHash, timingSafeEqual } from 'node:crypto'
import { type AllowedUids, mayCall } from '../access.ts'
import { authFlavor } from '../rpc/message.ts'
import { type Procedure, type Program, procedure } from '../rpc/program.ts'
import { nothing } from '../xdr/primitives.ts'
import { dirpath, exports, MOUNT_PROGRAM, MOUNT_V3, type Mountres3, mountlist, mountres3, mountstat3 } from './wire.ts'

export interface MountOptions {
  /** The name under which the file system is exported to everybody, besides "/". */
  readonly exportName: string
  /** The path "/<exportSecret>" leads to the frozen tree. */
  readonly exportSecret: string
  readonly allowedUids: AllowedUids
  /** The file handle of the root, or of the frozen root. */
  rootHandle(frozen: boolean): Uint8Array
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

function mount({ exportName, exportSecret, allowedUids, rootHandle }: MountOptions): Procedure {
  return procedure({
    name: 'MNT',
    args: dirpath,
    result: mountres3,
    anonymous: false,
    outcome: ({ status }) => (status === mountstat3.MNT3_OK ? 'OK' : `MNT3ERR ${status}`),
    async handle(path, { credential }): Promise<Mountres3> {
      if (!mayCall(allowedUids, credential)) return { status: mountstat3.MNT3ERR_ACCES }
      const name = path.replace(/^\/+/, '').replace(/\/+$/, '')
      const frozen = sameText(name, exportSecret)
      if (!frozen && name !== '' && name !== exportName) return { status: mountstat3.MNT3ERR_NOENT }
      return { status: mountstat3.MNT3_OK, fhandle: rootHandle(frozen), auth_flavors: [authFlavor.AUTH_SYS] }
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

function listExports({ exportName }: MountOptions): Procedure {
  return procedure({
    name: 'EXPORT',
    args: nothing,
    result: exports,
    anonymous: true,
    handle: async () => [
      { ex_dir: '/', ex_groups: [] },
      { ex_dir: `/${exportName}`, ex_groups: [] },
    ],
  })
}

/** Compares without telling by the time taken how much of a guess was right. */
function sameText(left: string, right: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(left), digest(right))
}
