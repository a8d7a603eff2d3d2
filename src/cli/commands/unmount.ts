import { MountError } from '../../mount/errors.ts'
import { canonicalPath, mountAt, mountsOf, unmount } from '../../mount/linux.ts'
import { ask } from '../../serve/control.ts'
import { readRecords, removeRecord, type ServerRecord } from '../../serve/registry.ts'
import { command } from '../command.ts'
import { print } from '../output.ts'
import { locationName } from '../table-of.ts'

export default command({
  name: 'unmount',
  summary: 'Finish saves, unmount a table and stop its server',
  examples: ['posixlake unmount /mnt/people', 'posixlake unmount /mnt/people --force'],
  args: {
    folder: { type: 'positional', required: true, description: 'The mount point, or the table' },
    force: { type: 'boolean', description: 'Cut off programs that still use it' },
  },
  run: async args => {
    const path = canonicalPath(args.folder)
    const location = locationName(args.folder)
    const record = readRecords().find(
      known =>
        known.location === location ||
        known.mountPoint === path ||
        mountsOf(known.exportPath).some(({ mountPoint }) => mountPoint === path),
    )
    const mountPoint = mountAt(path) === undefined ? record?.mountPoint : path
    const mounted = mountPoint !== undefined && mountAt(mountPoint) !== undefined
    if (!mounted && record === undefined)
      throw new MountError('not_mounted', `nothing is mounted at ${path}; \`posixlake status\` lists what is`)
    if (mounted) await detach(mountPoint, record, args.force === true)
    if (record !== undefined && mountsOf(record.exportPath).length === 0) await stop(record)
    await print(`${args.folder} is unmounted.\n`)
    return undefined
  },
})

async function detach(mountPoint: string, record: ServerRecord | undefined, force: boolean): Promise<void> {
  const alive = record !== undefined && (await ask(record.location, 'status')) !== undefined
  if (mountAt(mountPoint)?.type !== 'nfs')
    throw new MountError('not_mounted', `${mountPoint} is not a mount of posixlake`)
  // What programs wrote and closed goes to the server first; a server that is gone would be waited for without end.
  await unmount(mountPoint, force || !alive)
}

async function stop(record: ServerRecord): Promise<void> {
  await ask(record.location, 'stop')
  while (isAlive(record.pid) && (await ask(record.location, 'status')) !== undefined) await Bun.sleep(20)
  removeRecord(record.location)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
