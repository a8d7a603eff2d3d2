import type { Created, CreateHow } from '../../../fs/filesystem.ts'
import type { Decoded } from '../../xdr/codec.ts'
import { fromFilename3, fromSattr3, toFattr3, toWccData } from '../convert.ts'
import { type Nfs3Context, nfs3Procedure } from '../procedure.ts'
import { CREATE3args, CREATE3resok, failure } from '../wire.ts'

/** RFC 1813, 3.3.8. */
export const create = nfs3Procedure({
  number: 8,
  name: 'CREATE',
  args: CREATE3args,
  ok: CREATE3resok,
  fail: failure.wcc,
  once: true,
  async handle({ where, how }, context) {
    const directory = context.node(where.dir)
    return createdResult(await context.fs.create(directory, fromFilename3(where.name), fromCreateHow(how)), context)
  },
})

/** The results of CREATE and MKDIR (RFC 1813, 3.3.8 and 3.3.9). */
export function createdResult(created: Created, { handles, fsid }: Nfs3Context): Decoded<typeof CREATE3resok> {
  const id = fsid(created.node)
  return {
    obj: handles.make(created.node),
    obj_attributes: toFattr3(created.attributes, id),
    dir_wcc: toWccData(created.directory, id),
  }
}

function fromCreateHow(how: Decoded<typeof CREATE3args>['how']): CreateHow {
  switch (how.kind) {
    case 'UNCHECKED':
      return { kind: 'unchecked', attributes: fromSattr3(how.value) }
    case 'GUARDED':
      return { kind: 'guarded', attributes: fromSattr3(how.value) }
    case 'EXCLUSIVE':
      return { kind: 'exclusive', verifier: how.value }
  }
}
