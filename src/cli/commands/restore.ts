import { restore } from '../../table/operations/restore.ts'
import { command, UsageError } from '../command.ts'
import { changeTable } from '../open-table.ts'
import { note, print } from '../output.ts'
import { storeArgs } from '../store-args.ts'
import { snapshotOf, versionArgs } from '../version-args.ts'

export default command({
  name: 'restore',
  summary: 'Make a table as it was at an older version, in one commit',
  examples: ['posixlake restore ./people --version 3', 'posixlake restore ./people --timestamp 2026-01-31T12:00:00Z'],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    ...versionArgs,
    format: { type: 'enum', options: ['table', 'json'], default: 'table', description: 'table or json' },
    ...storeArgs,
  },
  run: async args => {
    if (args.version === undefined && args.timestamp === undefined)
      throw new UsageError('give --version or --timestamp; posixlake history lists them')
    const { wanted, version, isUnchanged, restoredFiles, removedFiles } = await changeTable(args, async table => {
      const wanted = await snapshotOf(table, args)
      return { wanted, ...(await restore(table, wanted.version)) }
    })
    if (args.format === 'json') {
      const json = { restored: Number(wanted.version), version: Number(version), restoredFiles, removedFiles }
      await print(`${JSON.stringify(json)}\n`)
    } else if (isUnchanged) note(`the table is as it was at version ${wanted.version} already`)
    else note(`version ${version}: the table is as it was at version ${wanted.version}`)
    return undefined
  },
})
