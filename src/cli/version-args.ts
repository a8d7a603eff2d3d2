import type { Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { UsageError } from './command.ts'

/** Flags of commands that can look at older versions. */
export const versionArgs = {
  version: { type: 'string', valueHint: 'NUMBER', description: 'The table as of this version' },
  timestamp: {
    type: 'string',
    valueHint: 'TIME',
    description: 'The table as of this time, such as 2026-01-31T12:00:00Z',
  },
} as const

/** The snapshot that the flags name, the newest one without them. UsageError, TableError `no_such_version`. */
export async function snapshotOf(
  table: Table,
  args: { readonly version?: string | undefined; readonly timestamp?: string | undefined },
): Promise<Snapshot> {
  if (args.version !== undefined && args.timestamp !== undefined)
    throw new UsageError('give --version or --timestamp, not both')
  if (args.version !== undefined) {
    if (!/^\d+$/.test(args.version)) throw new UsageError(`--version takes a number, not ${args.version}`)
    return table.at(BigInt(args.version))
  }
  if (args.timestamp !== undefined) {
    return table.atTimestamp(timeOf(args.timestamp))
  }
  // A table on S3 that was opened a moment ago is new enough.
  return table.recent()
}

/** ISO 8601, milliseconds since 1970; without a zone it is UTC, as in all that posixlake prints. Date.parse takes much more. */
export function timeOf(text: string, flag = '--timestamp'): number {
  const [, date, clock = '00:00', zone = 'Z'] =
    /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?) ?(Z|[+-]\d{2}:\d{2})?)?$/i.exec(text) ?? []
  const time = Date.parse(`${date}T${clock}${zone.toUpperCase()}`)
  if (Number.isNaN(time)) throw new UsageError(`${flag} takes a time such as 2026-01-31T12:00:00Z, not ${text}`)
  return time
}
