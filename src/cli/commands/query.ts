import { ParquetFileWriter } from '../../columns/parquet/write.ts'
import { csvHeader, renderCsv } from '../../columns/text/csv.ts'
import { renderJsonArrayRows, renderJsonLines } from '../../columns/text/json.ts'
import { execute, type Outcome, query, type SqlResult } from '../../sql/engine.ts'
import { openStore, parseLocation } from '../../storage/location.ts'
import { openTable } from '../../table/table.ts'
import { command, UsageError } from '../command.ts'
import { interruptible } from '../interrupt.ts'
import { note, print } from '../output.ts'
import { outputWidth, renderTable, rowTexts, tableColumns } from '../render.ts'
import { settle } from '../table-of.ts'
import { snapshotOf, versionArgs } from '../version-args.ts'

const FORMATS = ['table', 'csv', 'json', 'jsonl', 'parquet', 'arrow'] as const

export default command({
  name: 'query',
  summary: 'Run SQL on a table, which is called data in it',
  examples: [
    'posixlake query ./people "SELECT city, count(*) FROM data GROUP BY city"',
    `posixlake query ./people "UPDATE data SET age = age + 1 WHERE name = 'Bob'"`,
    'posixlake query ./people "FROM data" --format parquet > people.parquet',
    'posixlake query ./people - < report.sql',
  ],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory' },
    sql: {
      type: 'positional',
      required: true,
      description: 'One statement: a query, INSERT, UPDATE, DELETE or MERGE; - reads it from standard input',
    },
    format: { type: 'enum', options: [...FORMATS], default: 'table', description: FORMATS.join(', ') },
    ...versionArgs,
  },
  run: async args => {
    const format = args.format as (typeof FORMATS)[number]
    if ((format === 'parquet' || format === 'arrow') && process.stdout.isTTY) {
      throw new UsageError(`${format} is not for a terminal; send it to a file: > result.${format}`)
    }
    const sql = args.sql === '-' ? await Bun.stdin.text() : args.sql
    await settle(args.table)
    const table = await openTable(openStore(parseLocation(args.table)))
    await interruptible(async signal => {
      if (args.version !== undefined || args.timestamp !== undefined) {
        await show(await query(table, await snapshotOf(table, args), sql, { signal, log: note }), format)
        return
      }
      const outcome = await execute(table, sql, { signal, log: note })
      if (outcome.kind === 'rows') await show(outcome.result, format)
      else tell(outcome)
    })
    await table.close()
    return undefined
  },
})

function tell({ version, inserted, updated, deleted }: Extract<Outcome, { kind: 'changed' }>): void {
  note(
    version === undefined
      ? 'nothing changed'
      : `version ${version}: ${inserted} inserted, ${updated} updated, ${deleted} deleted`,
  )
}

async function show(result: SqlResult, format: (typeof FORMATS)[number]): Promise<void> {
  const { schema } = result
  switch (format) {
    case 'table':
      for await (const line of renderTable(tableColumns(schema), rowTexts(schema, result.batches()), {
        width: outputWidth(),
      }))
        await print(line)
      return
    case 'csv':
      await print(csvHeader(schema))
      for await (const batch of result.batches()) await print(renderCsv(batch, schema).bytes)
      return
    case 'jsonl':
      for await (const batch of result.batches()) await print(renderJsonLines(batch, schema).bytes)
      return
    case 'json':
      return showJsonArray(result)
    case 'parquet': {
      const writer = new ParquetFileWriter({ write: bytes => print(bytes) }, schema)
      for await (const batch of result.batches()) await writer.write(batch)
      await writer.finish()
      return
    }
    case 'arrow': {
      const { arrowStream } = await import('../../columns/arrow.ts')
      for await (const bytes of arrowStream(schema, result.batches())) await print(bytes)
    }
  }
}

async function showJsonArray({ schema, batches }: SqlResult): Promise<void> {
  let first = true
  for await (const batch of batches()) {
    const { bytes } = renderJsonArrayRows(batch, schema)
    // Each row begins with a comma; the first one's is the bracket.
    if (first) bytes[0] = '['.charCodeAt(0)
    first = false
    await print(bytes)
  }
  await print(first ? '[]\n' : ']\n')
}
