import { canonicalPath } from '../../mount/linux.ts'
import { detach } from '../../serve/detach.ts'
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
    const { left } = await detach(canonicalPath(args.folder), locationName(args.folder), args.force === true)
    const others = left.map(({ mountPoint }) => mountPoint).join(', ')
    await print(`${args.folder} is unmounted${others === '' ? '' : `; its table is still mounted at ${others}`}.\n`)
    return undefined
  },
})
