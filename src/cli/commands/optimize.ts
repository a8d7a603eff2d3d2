import { spillFolder } from '../../core/spill-folder.ts'
import { takeAway } from '../../core/take-away.ts'
import { counted } from '../../core/units.ts'
import { localStore } from '../../storage/local.ts'
import { type Optimized, type OptimizeOptions, optimize } from '../../table/operations/optimize.ts'
import { columnPaths } from '../../table/properties.ts'
import type { Table } from '../../table/table.ts'
import { command, UsageError } from '../command.ts'
import { interruptible } from '../interrupt.ts'
import { changeTable } from '../open-table.ts'
import { note, print } from '../output.ts'
import { Progress } from '../progress.ts'
import { bytesOf } from '../sql-args.ts'
import { storeArgs } from '../store-args.ts'

export default command({
  name: 'optimize',
  summary:
    'Put the small files of a table together; lines of data.csv stay where they are, but in partitioned tables and with --zorder',
  examples: [
    'posixlake optimize ./people',
    'posixlake optimize ./people --target-size 64MB',
    `posixlake optimize ./days --where "day >= '2026-01-01'"`,
    'posixlake optimize ./people --zorder city,age --target-size 16MB',
  ],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    'target-size': { type: 'string', valueHint: 'SIZE', description: 'Files up to this size (256MB)' },
    where: {
      type: 'string',
      valueHint: 'CONDITION',
      description: "Partitions to look at, by a condition on partition columns in Spark's SQL; all if not given",
    },
    zorder: {
      type: 'string',
      valueHint: 'COLUMNS',
      description:
        'Write all rows anew, those near to one another in these columns into the same files, so that queries skip others; lines of data.csv move',
    },
    format: { type: 'enum', options: ['table', 'json'], default: 'table', description: 'table or json' },
    ...storeArgs,
  },
  run: async args => {
    const targetBytes = bytesOf('target-size', args['target-size'])
    const columns = columnsOf(args.zorder)
    const bar = new Progress('optimizing')
    const progress = (bytes: number, total: number): void => bar.update(bytes, total)
    const { version, ...done } = await changeTable(args, async table => {
      const done = await interruptible(signal =>
        run(table, columns, { targetBytes, where: args.where, signal, progress }),
      ).finally(() => bar.end())
      return { ...done, version: table.snapshot.version }
    })
    if (args.format === 'json') await print(`${JSON.stringify({ version: Number(version), ...done })}\n`)
    else if (done.commits === 0) note('there is nothing to put together')
    else {
      note(`version ${version}: ${counted(done.removedFiles, 'file')} became ${counted(done.addedFiles, 'file')}`)
    }
    return undefined
  },
})

async function run(table: Table, columns: readonly string[] | undefined, options: OptimizeOptions): Promise<Optimized> {
  if (columns === undefined) return optimize(table, options)
  const { zOrder } = await import('../../table/operations/z-order.ts')
  const folder = spillFolder()
  try {
    return await zOrder(table, { ...options, columns, spill: localStore(folder) })
  } finally {
    takeAway(folder)
  }
}

/** UsageError for what is no list of columns. */
function columnsOf(text: string | undefined): string[] | undefined {
  if (text === undefined) return undefined
  const paths = columnPaths(text)
  const inside = paths?.find(path => path.length > 1)
  if (inside !== undefined)
    throw new UsageError(
      `--zorder takes whole columns, and ${inside.join('.')} is inside one; a name with a point stands in backticks`,
    )
  if (paths === undefined) throw new UsageError(`--zorder takes columns with commas between them, not ${text}`)
  return paths.map(([name]) => name!)
}
