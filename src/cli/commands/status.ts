import { MountError } from '../../mount/errors.ts'
import { canonicalPath } from '../../mount/linux.ts'
import { shellQuoted } from '../../mount/run.ts'
import { type FoundServer, findServers } from '../../serve/find.ts'
import type { TableMount } from '../../serve/registry.ts'
import { command } from '../command.ts'
import { note, print } from '../output.ts'
import { megabytes } from '../render.ts'
import { locationName } from '../table-of.ts'

export default command({
  name: 'status',
  summary: 'Show what is mounted and served, what is held, and what is wrong',
  examples: ['posixlake status', 'posixlake status /mnt/people --format json'],
  args: {
    folder: { type: 'positional', required: false, description: 'A mount point or a table; all if not given' },
    format: { type: 'enum', options: ['text', 'json'], default: 'text', description: 'text or json' },
  },
  run: async args => {
    const wanted = args.folder
    const names = wanted === undefined ? undefined : [canonicalPath(wanted), locationName(wanted)]
    const found = (await findServers()).filter(
      ({ record, mounts }) =>
        names === undefined ||
        names.includes(record.location) ||
        mounts.some(({ mountPoint }) => names.includes(mountPoint)),
    )
    if (wanted !== undefined && found.length === 0)
      throw new MountError('not_mounted', `${wanted} is neither mounted nor served by posixlake`)
    if (args.format === 'json') await print(`${JSON.stringify(found.map(asJson), undefined, 2)}\n`)
    else if (found.length === 0) note('Nothing is mounted.')
    else await print(found.map(asText).join('\n'))
    return undefined
  },
})

function asJson({ record, status, silence, mounts }: FoundServer): object {
  const { location, endpoints, host, port, readOnly, log, pid, startedMs, command: again } = record
  const problem = status?.problem
  return {
    table: location,
    mount_point: mounts[0]?.mountPoint ?? null,
    mounted: mounts.length > 0,
    mounts: mounts.map(mount => ({
      mount_point: mount.mountPoint,
      read_only: mount.readOnly,
      allow_other: mount.allowOther,
      port: mount.port ?? null,
    })),
    running: status !== undefined || silence !== undefined,
    answers: status !== undefined,
    address: `${host}:${port}`,
    addresses: endpoints.map(endpoint => `${endpoint.host}:${endpoint.port}`),
    pid,
    read_only: readOnly,
    started: new Date(startedMs).toISOString(),
    log: log ?? null,
    state: record.state ?? null,
    command: again,
    held: status?.held ?? [],
    compaction: status === undefined ? null : (status.compaction ?? 'off'),
    problem:
      problem === undefined ? null : { since: new Date(problem.sinceMs).toISOString(), message: problem.sentence },
  }
}

function asText(found: FoundServer): string {
  const { record, status, mounts } = found
  const lines: [string, string][] = [
    ['table', record.location],
    ...(mounts.length === 0
      ? [['mounted', 'no'] as [string, string]]
      : mounts.map((mount): [string, string] => ['mounted', mountText(mount)])),
    ['server', serverText(found)],
  ]
  if (status?.problem !== undefined) {
    const { sinceMs, sentence } = status.problem
    lines.push(['problem', `since ${new Date(sinceMs).toISOString()}: ${sentence}`])
  }
  if (record.log !== undefined) lines.push(['log', record.log])
  if (record.state !== undefined && record.location.startsWith('s3:')) lines.push(['files', record.state])
  for (const sentence of status?.held ?? []) lines.push(['held', sentence])
  if (status !== undefined) lines.push(['compacts', status.compaction ?? 'off'])
  const measuring = status?.measuring
  if (measuring !== undefined)
    lines.push([
      'measuring',
      `${megabytes(measuring.doneBytes)} of ${megabytes(measuring.totalBytes)} of files by other writers`,
    ])
  return `${lines.map(([name, text]) => `${name.padEnd(9)}  ${text}`).join('\n')}\n`
}

function mountText({ mountPoint, readOnly, allowOther, port }: TableMount): string {
  const words = [
    ...(readOnly ? ['read-only'] : []),
    ...(allowOther ? ['for all users'] : []),
    ...(port === undefined ? [] : [`port ${port}`]),
  ]
  return [mountPoint, ...words].join(', ')
}

function serverText({ record, status, silence }: FoundServer): string {
  if (silence !== undefined) return silence
  if (status === undefined) return `gone; start it again: ${record.command.map(shellQuoted).join(' ')}`
  const addresses = record.endpoints.map(({ host, port }) => `${host}:${port}`).join(', ')
  return `${addresses}, process ${record.pid}, since ${new Date(record.startedMs).toISOString()}`
}
