import { nfs3Procedure } from '../procedure.ts'
import { FILE_BYTES_MAX, FSF3, FSINFO3resok, FSROOT3args, failure, TRANSFER_BYTES_MAX } from '../wire.ts'

const DIRECTORY_BYTES_PREFERRED = 64 * 1024
const TRANSFER_BYTES_MULTIPLE = 4096

/** RFC 1813, 3.3.19. */
export const fsinfo = nfs3Procedure({
  number: 19,
  name: 'FSINFO',
  args: FSROOT3args,
  ok: FSINFO3resok,
  fail: failure.attributes,
  async handle({ fsroot }, { node }) {
    node(fsroot)
    return {
      obj_attributes: undefined,
      rtmax: TRANSFER_BYTES_MAX,
      rtpref: TRANSFER_BYTES_MAX,
      rtmult: TRANSFER_BYTES_MULTIPLE,
      wtmax: TRANSFER_BYTES_MAX,
      wtpref: TRANSFER_BYTES_MAX,
      wtmult: TRANSFER_BYTES_MULTIPLE,
      dtpref: DIRECTORY_BYTES_PREFERRED,
      maxfilesize: FILE_BYTES_MAX,
      time_delta: { seconds: 0, nseconds: 1 },
      properties: FSF3.HOMOGENEOUS | FSF3.CANSETTIME,
    }
  },
})
