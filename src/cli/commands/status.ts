import { MountError } from '../../mount/errors.ts'
import { canonicalPath, mountAt } from '../../mount/linux.ts'
import { shellQuoted } from '../../mount/run.ts'
import { ask, type ServerStatus } from '../../serve/control.ts'
import { readRecords, removeRecord, type ServerRecord } from '../../serve/registry.ts'
import { command } from '../command.ts'
import { note, print } from '../output.ts'
import { megabytes } from '../render.ts'
import { locationName } from '../table-of.ts'

interface Found {
  readonly record: ServerRecord
  readonly status: ServerStatus | undefined
  readonly mounted: boolean
}

export default command({
  name: 'status',
  summary: 'Show what is mounted and served, and what is held',
  examples: ['posixlake status', 'posixlake status /mnt/people --format json'],
  args: {
    folder: { type: 'positional', required: false, description: 'A mount point or a table; all if not given' },
    format: { type: 'enum', options: ['text', 'json'], default: 'text', description: 'text or json' },
  },
  run: async args => {
    const wanted = args.folder
    const names = wanted === undefined ? undefined : [canonicalPath(wanted), locationName(wanted)]
    const records = readRecords().filter(
      ({ mountPoint, location }) =>
        names === undefined || names.includes(location) || (mountPoint !== undefined && names.includes(mountPoint)),
    )
    const found: Found[] = []
    for (const record of records) {
      const status = await ask(record.location, 'status')
      const mounted = record.mountPoint !== undefined && mountAt(record.mountPoint)?.type === 'nfs'
      if (status === undefined && !mounted) removeRecord(record.location)
      else found.push({ record, status, mounted })
    }
    if (wanted !== undefined && found.length === 0)
      throw new MountError('not_mounted', `${wanted} is neither mounted nor served by posixlake`)
    if (args.format === 'json') await print(`${JSON.stringify(found.map(asJson), undefined, 2)}\n`)
    else if (found.length === 0) note('Nothing is mounted.')
    else await print(found.map(asText).join('\n'))
    return undefined
  },
})

function asJson({ record, status, mounted }: Found): object {
  const { location, mountPoint, host, port, readOnly, log, pid, startedMs, command: again } = record
  return {
    table: location,
    mount_point: mountPoint ?? null,
    mounted,
    running: status !== undefined,
    address: `${host}:${port}`,
    pid,
    read_only: readOnly,
    started: new Date(startedMs).toISOString(),
    log: log ?? null,
    command: again,
    held: status?.held ?? [],
  }
}

function asText({ record, status, mounted }: Found): string {
  const lines: [string, string][] = [
    ['table', record.location],
    ['mounted', mounted ? `${record.mountPoint}${record.readOnly ? ', read-only' : ''}` : 'no'],
    [
      'server',
      status === undefined
        ? `gone; start it again: ${record.command.map(shellQuoted).join(' ')}`
        : `${record.host}:${record.port}, process ${record.pid}`,
    ],
  ]
  if (record.log !== undefined) lines.push(['log', record.log])
  for (const sentence of status?.held ?? []) lines.push(['held', sentence])
  const measuring = status?.measuring
  if (measuring !== undefined)
    lines.push([
      'measuring',
      `${megabytes(measuring.doneBytes)} of ${megabytes(measuring.totalBytes)} of files by other writers`,
    ])
  return `${lines.map(([name, text]) => `${name.padEnd(9)}  ${text}`).join('\n')}\n`
}
