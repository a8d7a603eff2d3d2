import { counted } from '../../core/units.ts'
import { vacuum } from '../../table/operations/vacuum.ts'
import { durationMs, intervalText } from '../../table/properties.ts'
import { command, UsageError } from '../command.ts'
import { interruptible } from '../interrupt.ts'
import { changeTable } from '../open-table.ts'
import { note, print } from '../output.ts'
import { megabytes } from '../render.ts'
import { storeArgs } from '../store-args.ts'

export default command({
  name: 'vacuum',
  summary: 'Delete files that no recent version of a table needs; older versions can no longer be read then',
  examples: ['posixlake vacuum ./people --dry-run', 'posixlake vacuum ./people --retain 30d'],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    retain: {
      type: 'string',
      valueHint: 'TIME',
      description:
        "Keep what versions of this time need: 168h, 7d, '7 days'; the table's own time (7 days) if not given",
    },
    'dry-run': { type: 'boolean', description: 'Print the files, and delete none' },
    force: { type: 'boolean', description: 'Take a shorter time than the table asks for: nobody else uses the table' },
    format: { type: 'enum', options: ['table', 'json'], default: 'table', description: 'table or json' },
    ...storeArgs,
  },
  run: async args => {
    const retainMs = args.retain === undefined ? undefined : timeOf(args.retain)
    const dryRun = args['dry-run'] === true
    const { files, sizeBytes, ...done } = await changeTable(args, table =>
      interruptible(signal => vacuum(table, { retainMs, force: args.force, dryRun, nowMs: Date.now(), signal })),
    )
    if (args.format === 'json') {
      const paths = files.map(({ path }) => path)
      await print(`${JSON.stringify({ dryRun, retainMs: done.retainMs, sizeBytes, files: paths })}\n`)
      return undefined
    }
    for (const { path } of files) await print(`${path}\n`)
    const what = dryRun ? 'would be deleted' : files.length === 1 ? 'was deleted' : 'were deleted'
    note(
      `${counted(files.length, 'file')} (${megabytes(sizeBytes)}) ${what}; what versions of the last ${intervalText(done.retainMs)} need stays`,
    )
    return undefined
  },
})

const SHORT_UNITS: Readonly<Record<string, string>> = { s: 'second', m: 'minute', h: 'hour', d: 'day', w: 'week' }

function timeOf(text: string): number {
  const [, count, unit] = /^(\d+)([smhdw])$/.exec(text) ?? []
  const ms = durationMs(unit === undefined ? text : `${count} ${SHORT_UNITS[unit]}`)
  if (ms === undefined) throw new UsageError(`--retain takes a time such as 168h, 7d or '7 days', not ${text}`)
  return ms
}
