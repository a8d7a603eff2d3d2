import { undo } from '../../table/operations/restore.ts'
import { command } from '../command.ts'
import { metricsText } from '../metrics-text.ts'
import { changeTable } from '../open-table.ts'
import { note, print } from '../output.ts'
import { visible } from '../render.ts'
import { storeArgs } from '../store-args.ts'

export default command({
  name: 'undo',
  summary: 'Take back the last commit that changed a table; once more brings it back',
  examples: ['posixlake undo ./people'],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    format: { type: 'enum', options: ['table', 'json'], default: 'table', description: 'table or json' },
    ...storeArgs,
  },
  run: async args => {
    const { undone, version, as } = await changeTable(args, undo)
    const time = new Date(undone.timestampMs).toISOString()
    if (args.format === 'json') {
      const json = { undone: Number(undone.version), operation: undone.operation, time, version: Number(version) }
      await print(`${JSON.stringify(json)}\n`)
      return undefined
    }
    const what = `${undone.operation} ${metricsText(undone)}`.trimEnd()
    note(`version ${undone.version} of ${time} is taken back: ${visible(what)}`)
    note(`version ${version}: the table is as it was at version ${as}`)
    return undefined
  },
})
