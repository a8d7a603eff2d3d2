import { fromFilename3, fromSattr3 } from '../convert.ts'
import { nfs3Procedure } from '../procedure.ts'
import { CREATE3resok, failure, MKDIR3args } from '../wire.ts'
import { createdResult } from './create.ts'

/** RFC 1813, 3.3.9. */
export const mkdir = nfs3Procedure({
  number: 9,
  name: 'MKDIR',
  args: MKDIR3args,
  ok: CREATE3resok,
  fail: failure.wcc,
  once: true,
  async handle({ where, attributes }, context) {
    const directory = context.node(where.dir)
    return createdResult(await context.fs.mkdir(directory, fromFilename3(where.name), fromSattr3(attributes)), context)
  },
})
