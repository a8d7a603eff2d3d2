import { fromFilename3, toWccData } from '../convert.ts'
import { nfs3Procedure } from '../procedure.ts'
import { failure, REMOVE3args, REMOVE3resok } from '../wire.ts'

/** RFC 1813, 3.3.13. */
export const rmdir = nfs3Procedure({
  number: 13,
  name: 'RMDIR',
  args: REMOVE3args,
  ok: REMOVE3resok,
  fail: failure.wcc,
  once: true,
  async handle({ object }, { fs, node, fsid }) {
    const directory = node(object.dir)
    return { dir_wcc: toWccData(await fs.rmdir(directory, fromFilename3(object.name)), fsid(directory)) }
  },
})
