import { FsError } from '../../../fs/filesystem.ts'
import { nfs3Procedure } from '../procedure.ts'
import { failure, READLINK3args, READLINK3resok } from '../wire.ts'

/** RFC 1813, 3.3.5. There are no symbolic links, so nothing that exists can be read as one. */
export const readlink = nfs3Procedure({
  number: 5,
  name: 'READLINK',
  args: READLINK3args,
  ok: READLINK3resok,
  fail: failure.attributes,
  async handle({ symlink }, { fs, node }) {
    await fs.getattr(node(symlink))
    throw new FsError('EINVAL', 'The object is not a symbolic link.')
  },
})
