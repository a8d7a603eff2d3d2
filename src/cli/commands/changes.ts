import { type ChangesBound, changes } from '../../table/operations/changes.ts'
import { command, UsageError } from '../command.ts'
import { openTableOf } from '../open-table.ts'
import { checkTerminal, ROW_FORMATS, type RowFormat, showRows } from '../show-rows.ts'
import { storeArgs } from '../store-args.ts'
import { timeOf } from '../version-args.ts'

export default command({
  name: 'changes',
  summary: 'Print the rows that versions of a table changed',
  examples: [
    'posixlake changes ./people --from 3',
    'posixlake changes ./people --from 3 --to 7 --format csv',
    'posixlake changes ./people --from-timestamp 2026-01-31T12:00:00Z --format jsonl',
  ],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    from: { type: 'string', valueHint: 'NUMBER', description: 'The first version' },
    to: { type: 'string', valueHint: 'NUMBER', description: 'The last version; the newest if not given' },
    'from-timestamp': { type: 'string', valueHint: 'TIME', description: 'The first version of this time or later' },
    'to-timestamp': { type: 'string', valueHint: 'TIME', description: 'The last version of this time or before' },
    format: { type: 'enum', options: [...ROW_FORMATS], default: 'table', description: ROW_FORMATS.join(', ') },
    ...storeArgs,
  },
  run: async args => {
    checkTerminal(args.format)
    const from = boundOf('from', args.from, args['from-timestamp'])
    const to = boundOf('to', args.to, args['to-timestamp'])
    if (from === undefined) throw new UsageError('give --from or --from-timestamp')
    await showRows(await changes(await openTableOf(args), from, to), args.format as RowFormat)
    return undefined
  },
})

/** UsageError for what is neither a version nor a time, or both. */
function boundOf(flag: string, version: string | undefined, time: string | undefined): ChangesBound | undefined {
  if (version !== undefined && time !== undefined)
    throw new UsageError(`give --${flag} or --${flag}-timestamp, not both`)
  if (time !== undefined) return { timeMs: timeOf(time, `--${flag}-timestamp`) }
  if (version === undefined) return undefined
  if (!/^\d+$/.test(version)) throw new UsageError(`--${flag} takes the number of a version, not ${version}`)
  return BigInt(version)
}
