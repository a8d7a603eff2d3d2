import { optimize } from '../../table/operations/optimize.ts'
import { command } from '../command.ts'
import { interruptible } from '../interrupt.ts'
import { openTableOf } from '../open-table.ts'
import { note, print } from '../output.ts'
import { Progress } from '../progress.ts'
import { bytesOf } from '../sql-args.ts'
import { storeArgs } from '../store-args.ts'

export default command({
  name: 'optimize',
  summary: 'Put the small files of a table together; lines of data.csv stay where they are, but in partitioned tables',
  examples: ['posixlake optimize ./people', 'posixlake optimize ./people --target-size 64MB'],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    'target-size': { type: 'string', valueHint: 'SIZE', description: 'Files up to this size (256MB)' },
    format: { type: 'enum', options: ['table', 'json'], default: 'table', description: 'table or json' },
    ...storeArgs,
  },
  run: async args => {
    const targetBytes = bytesOf('target-size', args['target-size'])
    const table = await openTableOf(args)
    const bar = new Progress('optimizing')
    const done = await interruptible(signal =>
      optimize(table, { targetBytes, signal, progress: (bytes, total) => bar.update(bytes, total) }),
    ).finally(() => bar.end())
    await table.close()
    const { version } = table.snapshot
    if (args.format === 'json') await print(`${JSON.stringify({ version: Number(version), ...done })}\n`)
    else if (done.commits === 0) note('there is nothing to put together')
    else {
      const [before, after] = [done.removedFiles, done.addedFiles].map(count =>
        count === 1 ? '1 file' : `${count} files`,
      )
      note(`version ${version}: ${before} became ${after}`)
    }
    return undefined
  },
})
