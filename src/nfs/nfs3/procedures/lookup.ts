import { fromFilename3, toFattr3 } from '../convert.ts'
import { nfs3Procedure } from '../procedure.ts'
import { failure, LOOKUP3args, LOOKUP3resok } from '../wire.ts'

/** RFC 1813, 3.3.3. The directory's attributes are left out: the client asks for them when it wants them. */
export const lookup = nfs3Procedure({
  number: 3,
  name: 'LOOKUP',
  args: LOOKUP3args,
  ok: LOOKUP3resok,
  fail: failure.attributes,
  async handle({ what }, { fs, handles, node, fsid }) {
    const found = await fs.lookup(node(what.dir), fromFilename3(what.name))
    return {
      object: handles.make(found.node),
      obj_attributes: toFattr3(found.attributes, fsid(found.node)),
      dir_attributes: undefined,
    }
  },
})
