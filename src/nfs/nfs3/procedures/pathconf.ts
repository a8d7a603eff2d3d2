import { nfs3Procedure } from '../procedure.ts'
import { FSROOT3args, failure, PATHCONF3resok } from '../wire.ts'

const NAME_BYTES_MAX = 255

/** RFC 1813, 3.3.20. With name_max, the client itself refuses longer names. */
export const pathconf = nfs3Procedure({
  number: 20,
  name: 'PATHCONF',
  args: FSROOT3args,
  ok: PATHCONF3resok,
  fail: failure.attributes,
  async handle({ fsroot }, { node }) {
    node(fsroot)
    return {
      obj_attributes: undefined,
      linkmax: 1,
      name_max: NAME_BYTES_MAX,
      no_trunc: true,
      chown_restricted: true,
      case_insensitive: false,
      case_preserving: true,
    }
  },
})
