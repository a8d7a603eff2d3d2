import { fromFilename3, toWccData } from '../convert.ts'
import { nfs3Procedure } from '../procedure.ts'
import { failure, REMOVE3args, REMOVE3resok } from '../wire.ts'

/** RFC 1813, 3.3.12. */
export const remove = nfs3Procedure({
  number: 12,
  name: 'REMOVE',
  args: REMOVE3args,
  ok: REMOVE3resok,
  fail: failure.wcc,
  once: true,
  async handle({ object }, { fs, node, fsid }) {
    const directory = node(object.dir)
    return { dir_wcc: toWccData(await fs.remove(directory, fromFilename3(object.name)), fsid(directory)) }
  },
})
