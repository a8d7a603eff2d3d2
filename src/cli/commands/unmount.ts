import { canonicalPath } from '../../mount/linux.ts'
import { type Detached, detach } from '../../serve/detach.ts'
import { command } from '../command.ts'
import { print } from '../output.ts'
import { locationName } from '../table-of.ts'

export default command({
  name: 'unmount',
  summary: 'Finish saves and unmount a table; its server ends with its last mount',
  examples: ['posixlake unmount /mnt/people', 'posixlake unmount ./people', 'posixlake unmount /mnt/people --force'],
  args: {
    folder: { type: 'positional', required: true, description: 'The mount point; or the table, for all its mounts' },
    force: { type: 'boolean', description: 'Cut off programs that still use it' },
  },
  run: async args => {
    const detached = await detach(canonicalPath(args.folder), locationName(args.folder), args.force === true)
    await print(`${args.folder} is unmounted${whatGoesOn(detached)}.\n`)
    return undefined
  },
})

function whatGoesOn({ left, isUsed }: Detached): string {
  const others = left.map(({ mountPoint }) => mountPoint).join(', ')
  if (others !== '') return `; its table is still mounted at ${others}`
  return isUsed ? '; its server goes on for programs that still use it, and ends with them' : ''
}
