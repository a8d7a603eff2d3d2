import { checkTable } from '../../table/operations/check.ts'
import { command } from '../command.ts'
import { EXIT } from '../exit.ts'
import { interruptible } from '../interrupt.ts'
import { openTableOf } from '../open-table.ts'
import { note, print } from '../output.ts'
import { Progress } from '../progress.ts'
import { storeArgs } from '../store-args.ts'

export default command({
  name: 'check',
  summary: 'Look whether a table is whole: log, checkpoint, files, vectors, statistics against the rows',
  examples: ['posixlake check ./people', 'posixlake check ./people --quick --format json'],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    quick: { type: 'boolean', description: 'Do not read the rows' },
    format: { type: 'enum', options: ['table', 'json'], default: 'table', description: 'table or json' },
    ...storeArgs,
  },
  run: async args => {
    const table = await openTableOf(args)
    const bar = new Progress('checking')
    const faults: string[] = []
    await interruptible(async signal => {
      const progress = (done: number, total: number): void => bar.update(done, total)
      for await (const fault of checkTable(table, { quick: args.quick, signal, progress })) {
        bar.end()
        faults.push(fault)
        if (args.format === 'table') await print(`${fault}\n`)
      }
    })
    bar.end()
    const { version, files } = table.snapshot
    if (args.format === 'json')
      await print(`${JSON.stringify({ version: Number(version), files: files.length, faults })}\n`)
    else if (faults.length === 0) note(`version ${version}, ${files.length} data files: nothing is wrong`)
    return faults.length === 0 ? EXIT.done : EXIT.failed
  },
})
