import { type FileSystem, FsError } from '../../../fs/filesystem.ts'
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

/**
 * A table has no use for links and devices. RFC 1813 (3.3.10, 3.3.11 and 3.3.15) has NFS3ERR_NOTSUPP for that, which
 * Linux knows no word for: its programs would print "Unknown error 524". link(2), symlink(2) and mknod(2) name EPERM
 * for file systems that lack them.
 */

export const symlink = nfs3Procedure({
  number: 10,
  name: 'SYMLINK',
  args: SYMLINK3args,
  ok: CREATE3resok,
  fail: failure.wcc,
  async handle({ where }, { fs, node }) {
    node(where.dir)
    throw unsupported(fs, 'Symbolic links')
  },
})

export const mknod = nfs3Procedure({
  number: 11,
  name: 'MKNOD',
  args: MKNOD3args,
  ok: CREATE3resok,
  fail: failure.wcc,
  async handle({ where }, { fs, node }) {
    node(where.dir)
    throw unsupported(fs, 'Device nodes, sockets and FIFOs')
  },
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
  async handle({ file, link: { dir } }, { fs, node }) {
    node(file)
    node(dir)
    throw unsupported(fs, 'Hard links')
  },
})

function unsupported(fs: FileSystem, what: string): FsError {
  if (fs.readOnly) return new FsError('EROFS', 'the file system is read-only')
  return new FsError('EPERM', `${what} are not supported.`)
}
