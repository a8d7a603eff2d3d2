import { toWccData } from '../convert.ts'
import { nfs3Procedure } from '../procedure.ts'
import { COMMIT3args, COMMIT3resok, failure } from '../wire.ts'

/** RFC 1813, 3.3.21. */
export const commit = nfs3Procedure({
  number: 21,
  name: 'COMMIT',
  args: COMMIT3args,
  ok: COMMIT3resok,
  fail: failure.wcc,
  once: true,
  async handle({ file, offset, count }, { fs, node, fsid }) {
    const target = node(file)
    const change = await fs.commit(target, offset, count)
    return { file_wcc: toWccData(change, fsid(target)), verf: fs.writeVerifier }
  },
})
