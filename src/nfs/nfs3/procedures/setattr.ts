import { fromNfstime3, fromSattr3, toWccData } from '../convert.ts'
import { nfs3Procedure } from '../procedure.ts'
import { failure, SETATTR3args, SETATTR3resok } from '../wire.ts'

/** RFC 1813, 3.3.2. */
export const setattr = nfs3Procedure({
  number: 2,
  name: 'SETATTR',
  args: SETATTR3args,
  ok: SETATTR3resok,
  fail: failure.wcc,
  once: true,
  async handle({ object, new_attributes, guard }, { fs, node, fsid }) {
    const file = node(object)
    const guardCtime = guard === undefined ? undefined : fromNfstime3(guard)
    const change = await fs.setattr(file, fromSattr3(new_attributes), guardCtime)
    return { obj_wcc: toWccData(change, fsid(file)) }
  },
})
