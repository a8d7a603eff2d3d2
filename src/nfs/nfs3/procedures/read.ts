import { totalLength } from '../../../core/search.ts'
import { FsError } from '../../../fs/filesystem.ts'
import { toFattr3 } from '../convert.ts'
import { nfs3Procedure } from '../procedure.ts'
import { FILE_BYTES_MAX, failure, READ3args, READ3resok, TRANSFER_BYTES_MAX } from '../wire.ts'

/** RFC 1813, 3.3.6. */
export const read = nfs3Procedure({
  number: 6,
  name: 'READ',
  args: READ3args,
  ok: READ3resok,
  fail: failure.attributes,
  replyBytesMax: ({ count }) => Math.min(count, TRANSFER_BYTES_MAX),
  async handle({ file, offset, count }, { fs, node, fsid }) {
    const source = node(file)
    if (offset > FILE_BYTES_MAX) throw new FsError('EINVAL', 'A READ begins beyond the largest file.')
    const { data, eof, attributes } = await fs.read(source, offset, Math.min(count, TRANSFER_BYTES_MAX))
    return { file_attributes: toFattr3(attributes, fsid(source)), count: totalLength(data), eof, data }
  },
})
