import { nfs3Procedure } from '../procedure.ts'
import { FSROOT3args, FSSTAT3resok, failure } from '../wire.ts'

/** RFC 1813, 3.3.18. */
export const fsstat = nfs3Procedure({
  number: 18,
  name: 'FSSTAT',
  args: FSROOT3args,
  ok: FSSTAT3resok,
  fail: failure.attributes,
  async handle({ fsroot }, { fs, node }) {
    const space = await fs.space(node(fsroot))
    return {
      obj_attributes: undefined,
      tbytes: space.totalBytes,
      fbytes: space.freeBytes,
      abytes: space.availableBytes,
      tfiles: space.totalFiles,
      ffiles: space.freeFiles,
      afiles: space.availableFiles,
      invarsec: 0,
    }
  },
})
