import { toFattr3 } from '../convert.ts'
import { nfs3Procedure } from '../procedure.ts'
import { failure, GETATTR3args, GETATTR3resok } from '../wire.ts'

/** RFC 1813, 3.3.1. */
export const getattr = nfs3Procedure({
  number: 1,
  name: 'GETATTR',
  args: GETATTR3args,
  ok: GETATTR3resok,
  fail: failure.none,
  async handle({ object }, { fs, node, fsid }) {
    const file = node(object)
    return { obj_attributes: toFattr3(await fs.getattr(file), fsid(file)) }
  },
})
