import { FsError } from '../../../fs/filesystem.ts'
import { fromStableHow, toStableHow, toWccData } from '../convert.ts'
import { nfs3Procedure } from '../procedure.ts'
import { FILE_BYTES_MAX, failure, WRITE3args, WRITE3resok } from '../wire.ts'

/** A file system may keep what it is given; a small part must not keep a large received chunk alive. */
const KEPT_SHARE_MIN = 4

/** RFC 1813, 3.3.7. */
export const write = nfs3Procedure({
  number: 7,
  name: 'WRITE',
  args: WRITE3args,
  ok: WRITE3resok,
  fail: failure.wcc,
  // Repeating a WRITE after a later one would bring old bytes back.
  once: true,
  async handle({ file, offset, count, stable, data }, { fs, node, fsid }) {
    const target = node(file)
    if (count !== data.length) throw new FsError('EINVAL', `A WRITE of ${count} bytes carries ${data.length}.`)
    if (offset + BigInt(count) > FILE_BYTES_MAX) throw new FsError('EFBIG', 'A WRITE goes beyond the largest file.')
    const bytes = data.length * KEPT_SHARE_MIN < data.buffer.byteLength ? data.slice() : data
    const written = await fs.write(target, offset, bytes, fromStableHow(stable))
    return {
      file_wcc: toWccData(written.change, fsid(target)),
      count: written.count,
      committed: toStableHow(written.committed),
      verf: fs.writeVerifier,
    }
  },
})
