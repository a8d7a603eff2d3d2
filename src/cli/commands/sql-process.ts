import { runSqlProcess } from '../../sql/process.ts'
import { openTable } from '../../table/table.ts'
import { command } from '../command.ts'
import { bytesOf } from '../sql-args.ts'
import { storeOf } from '../store-of.ts'

export default command({
  name: 'sql-process',
  summary: 'Run the SQL statements of a server, as they come on standard input (started by mount and serve)',
  examples: ['posixlake sql-process ./people'],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    'cache-size': { type: 'string', valueHint: 'SIZE', description: 'The bound of the disk cache' },
  },
  run: async args => {
    const cacheBytes = bytesOf('cache-size', args['cache-size'])
    await runSqlProcess({
      open: async onWrite => openTable((await storeOf(args.table, { onWrite, cacheBytes })).store),
      input: Bun.stdin.stream(),
    })
    return undefined
  },
})
