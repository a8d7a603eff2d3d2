import { FsError } from '../../../fs/filesystem.ts'
import { struct } from '../../xdr/primitives.ts'
import { nfs3Procedure } from '../procedure.ts'
import {
  CREATE3resok,
  failure,
  LINK3args,
  LINK3resok,
  MKNOD3args,
  noWcc,
  post_op_attr,
  SYMLINK3args,
  wcc_data,
} from '../wire.ts'

/** A table has no use for links and devices: the protocol has a status for that (RFC 1813, 3.3.10, 3.3.11 and 3.3.15). */

export const symlink = nfs3Procedure({
  number: 10,
  name: 'SYMLINK',
  args: SYMLINK3args,
  ok: CREATE3resok,
  fail: failure.wcc,
  handle: () => unsupported('Symbolic links'),
})

export const mknod = nfs3Procedure({
  number: 11,
  name: 'MKNOD',
  args: MKNOD3args,
  ok: CREATE3resok,
  fail: failure.wcc,
  handle: () => unsupported('Device nodes, sockets and FIFOs'),
})

export const link = nfs3Procedure({
  number: 15,
  name: 'LINK',
  args: LINK3args,
  ok: LINK3resok,
  fail: {
    codec: struct({ file_attributes: post_op_attr, linkdir_wcc: wcc_data }),
    value: { file_attributes: undefined, linkdir_wcc: noWcc },
  },
  handle: () => unsupported('Hard links'),
})

async function unsupported(what: string): Promise<never> {
  throw new FsError('ENOTSUP', `${what} are not supported.`)
}
