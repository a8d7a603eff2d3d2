import type { HistoryEntry } from '../../table/table.ts'
import { command, UsageError } from '../command.ts'
import { metricsText } from '../metrics-text.ts'
import { openTableOf } from '../open-table.ts'
import { print } from '../output.ts'
import { outputWidth, renderTable, visible } from '../render.ts'
import { storeArgs } from '../store-args.ts'

export default command({
  name: 'history',
  summary: "Print a table's commits, newest first",
  examples: ['posixlake history ./people', 'posixlake history ./people --format jsonl --limit 5'],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    format: { type: 'enum', options: ['table', 'jsonl'], default: 'table', description: 'table or jsonl' },
    limit: { type: 'string', valueHint: 'COUNT', description: 'At most so many commits' },
    ...storeArgs,
  },
  run: async args => {
    const limit = args.limit === undefined ? undefined : Number(args.limit)
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0))
      throw new UsageError(`--limit takes a number above 0, not ${args.limit}`)
    const table = await openTableOf(args)
    const entries = await table.history(limit)
    if (args.format === 'jsonl') {
      for (const entry of entries) await print(`${JSON.stringify(asJson(entry))}\n`)
      return undefined
    }
    const columns = [
      { name: 'version', alignRight: true },
      { name: 'time' },
      { name: 'operation' },
      { name: 'metrics' },
      { name: 'engine' },
    ]
    const rows = entries.map(entry => [
      String(entry.version),
      new Date(entry.timestampMs).toISOString(),
      visible(entry.operation),
      visible(metricsText(entry)),
      visible(entry.engine ?? ''),
    ])
    for await (const line of renderTable(columns, rows, { width: outputWidth() })) await print(line)
    return undefined
  },
})

function asJson(entry: HistoryEntry): object {
  return {
    version: Number(entry.version),
    timestamp: new Date(entry.timestampMs).toISOString(),
    operation: entry.operation,
    parameters: entry.parameters,
    metrics: entry.metrics,
    engine: entry.engine ?? null,
  }
}
