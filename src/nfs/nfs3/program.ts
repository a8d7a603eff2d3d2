import { type Procedure, type Program, procedure } from '../rpc/program.ts'
import { nothing } from '../xdr/primitives.ts'
import type { Nfs3Context, Nfs3Procedure } from './procedure.ts'
import { access } from './procedures/access.ts'
import { commit } from './procedures/commit.ts'
import { create } from './procedures/create.ts'
import { fsinfo } from './procedures/fsinfo.ts'
import { fsstat } from './procedures/fsstat.ts'
import { getattr } from './procedures/getattr.ts'
import { lookup } from './procedures/lookup.ts'
import { mkdir } from './procedures/mkdir.ts'
import { pathconf } from './procedures/pathconf.ts'
import { read } from './procedures/read.ts'
import { readdir } from './procedures/readdir.ts'
import { readdirplus } from './procedures/readdirplus.ts'
import { readlink } from './procedures/readlink.ts'
import { remove } from './procedures/remove.ts'
import { rename } from './procedures/rename.ts'
import { rmdir } from './procedures/rmdir.ts'
import { setattr } from './procedures/setattr.ts'
import { link, mknod, symlink } from './procedures/unsupported.ts'
import { write } from './procedures/write.ts'
import { NFS_PROGRAM, NFS_V3 } from './wire.ts'

const nfs3Procedures: readonly Nfs3Procedure[] = [
  getattr,
  setattr,
  lookup,
  access,
  readlink,
  read,
  write,
  create,
  mkdir,
  symlink,
  mknod,
  remove,
  rmdir,
  rename,
  link,
  readdir,
  readdirplus,
  fsstat,
  fsinfo,
  pathconf,
  commit,
]

const nullProcedure: Procedure = procedure({
  name: 'NULL',
  args: nothing,
  result: nothing,
  anonymous: true,
  handle: async () => undefined,
})

/** NFS version 3 (RFC 1813). */
export function nfs3Program(context: Nfs3Context): Program {
  const procedures = new Map([[0, nullProcedure]])
  for (const { number, bind } of nfs3Procedures) procedures.set(number, bind(context))
  return { name: 'NFS', number: NFS_PROGRAM, version: NFS_V3, procedures }
}
