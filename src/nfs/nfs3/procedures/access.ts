import type { Access } from '../../../fs/filesystem.ts'
import { toFattr3 } from '../convert.ts'
import { nfs3Procedure } from '../procedure.ts'
import { ACCESS3, ACCESS3args, ACCESS3resok, failure } from '../wire.ts'

/** RFC 1813, 3.3.4. */
export const access = nfs3Procedure({
  number: 4,
  name: 'ACCESS',
  args: ACCESS3args,
  ok: ACCESS3resok,
  fail: failure.attributes,
  async handle({ object, access: asked }, { fs, node, fsid }) {
    const file = node(object)
    const { access: granted, attributes } = await fs.access(file)
    return { obj_attributes: toFattr3(attributes, fsid(file)), access: asked & accessBits(granted) }
  },
})

function accessBits(access: Access): number {
  return (
    (access.read ? ACCESS3.READ : 0) |
    (access.lookup ? ACCESS3.LOOKUP : 0) |
    (access.modify ? ACCESS3.MODIFY : 0) |
    (access.extend ? ACCESS3.EXTEND : 0) |
    (access.delete ? ACCESS3.DELETE : 0) |
    (access.execute ? ACCESS3.EXECUTE : 0)
  )
}
