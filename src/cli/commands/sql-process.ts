import { runSqlProcess } from '../../sql/process.ts'
import { openStore, parseLocation } from '../../storage/location.ts'
import { openTable } from '../../table/table.ts'
import { command } from '../command.ts'

export default command({
  name: 'sql-process',
  summary: 'Run the SQL statements of a server, as they come on standard input (started by mount and serve)',
  examples: ['posixlake sql-process ./people'],
  args: { table: { type: 'positional', required: true, description: 'The table: a directory' } },
  run: async args => {
    const location = parseLocation(args.table)
    await runSqlProcess({
      open: onWrite => openTable(openStore(location, { onWrite })),
      input: Bun.stdin.stream(),
    })
    return undefined
  },
})
