import { fromFilename3, toWccData } from '../convert.ts'
import { nfs3Procedure } from '../procedure.ts'
import { noWcc, RENAME3args, RENAME3resok } from '../wire.ts'

/** RFC 1813, 3.3.14. */
export const rename = nfs3Procedure({
  number: 14,
  name: 'RENAME',
  args: RENAME3args,
  ok: RENAME3resok,
  fail: { codec: RENAME3resok, value: { fromdir_wcc: noWcc, todir_wcc: noWcc } },
  once: true,
  async handle({ from, to }, { fs, node, fsid }) {
    const fromDirectory = node(from.dir)
    const toDirectory = node(to.dir)
    const change = await fs.rename(fromDirectory, fromFilename3(from.name), toDirectory, fromFilename3(to.name))
    return {
      fromdir_wcc: toWccData(change.from, fsid(fromDirectory)),
      todir_wcc: toWccData(change.to, fsid(toDirectory)),
    }
  },
})
