import { ParquetFileWriter } from '../../columns/parquet/write.ts'
import { textFormats } from '../../columns/text/formats/index.ts'
import { execute, query, type RunOptions, type SqlResult, type StatementResult } from '../../sql/engine.ts'
import { SqlError } from '../../sql/errors.ts'
import { resultText } from '../../sql/format.ts'
import { defaultMemoryBytes, inWordsOfLimits, type SqlLimits } from '../../sql/limits.ts'
import { removeOwnSpill } from '../../sql/session.ts'
import { takeBackNow, type WrittenFile } from '../../sql/written.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { hasLog } from '../../table/log/segment.ts'
import { openTable, type Table } from '../../table/table.ts'
import { command, UsageError } from '../command.ts'
import { interruptible } from '../interrupt.ts'
import { note, print } from '../output.ts'
import { outputWidth, renderTable, rowTexts, tableColumns } from '../render.ts'
import { sqlLimitsOf, statementArgs } from '../sql-args.ts'
import { storeArgs, useStore } from '../store-args.ts'
import { storeOf } from '../store-of.ts'
import { settle } from '../table-of.ts'
import { snapshotOf, versionArgs } from '../version-args.ts'
import { withinLimits } from '../within-limits.ts'

const FORMATS = ['table', ...textFormats.map(({ name }) => name), 'parquet', 'arrow'] as const
type Format = (typeof FORMATS)[number]

interface QueryArgs {
  readonly format: string
  readonly version?: string | undefined
  readonly timestamp?: string | undefined
}

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
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    sql: {
      type: 'positional',
      required: true,
      description: 'One statement: a query, INSERT, UPDATE, DELETE, MERGE or TRUNCATE; - reads it from standard input',
    },
    format: { type: 'enum', options: [...FORMATS], default: 'table', description: FORMATS.join(', ') },
    ...versionArgs,
    ...statementArgs,
    ...storeArgs,
  },
  run: async args => {
    const { format } = args
    if ((format === 'parquet' || format === 'arrow') && process.stdout.isTTY) {
      throw new UsageError(`${format} is not for a terminal; send it to a file: > result.${format}`)
    }
    const limits = { timeoutMs: Number.POSITIVE_INFINITY, memoryBytes: defaultMemoryBytes(1), ...sqlLimitsOf(args) }
    const sql = args.sql === '-' ? await Bun.stdin.text() : args.sql
    useStore(args.table, args)
    await settle(args.table)
    const written: WrittenFile[] = []
    const onWrite = (temporary: string, path: string): void => void written.push({ temporary, path })
    const { store, close } = await storeOf(args.table, { onWrite })
    const lastResort = (): void => {
      removeOwnSpill()
      takeBackNow(store, written)
    }
    await interruptible(interrupt =>
      withinLimits(
        limits,
        interrupt,
        signal => run(store, sql, args, { ...limits, signal, written, log: note }).catch(inTheseWords(limits)),
        lastResort,
      ),
    ).finally(close)
    return undefined
  },
})

/** For what the engine says of limits that it was set. */
function inTheseWords(limits: Pick<SqlLimits, 'memoryBytes'>): (error: unknown) => never {
  return error => {
    throw error instanceof SqlError ? inWordsOfLimits(error, limits) : error
  }
}

async function run(store: ObjectStore, sql: string, args: QueryArgs, options: RunOptions): Promise<void> {
  let opened: Promise<Table> | undefined
  const open = (): Promise<Table> => {
    opened ??= openTable(store)
    return opened
  }
  const format = args.format as Format
  // A statement that is not about the table need not wait for it, but there must be one: opening it says what is there.
  if (!(await hasLog(store))) await open()
  if (args.version !== undefined || args.timestamp !== undefined) {
    const table = await open()
    await show(await query(table, await snapshotOf(table, args), sql, options), format)
  } else {
    const outcome = await execute(open, sql, options)
    if (outcome.kind === 'rows') await show(outcome.result, format)
    else tell(outcome)
  }
  await (await opened)?.close()
}

function tell({ version, inserted, updated, deleted }: Extract<StatementResult, { kind: 'changed' }>): void {
  note(
    version === undefined
      ? 'nothing changed'
      : inserted + updated + deleted === 0
        ? `version ${version}: the table is changed`
        : `version ${version}: ${inserted} inserted, ${updated} updated, ${deleted} deleted`,
  )
}

async function show(result: SqlResult, format: Format): Promise<void> {
  const { schema } = result
  switch (format) {
    case 'table':
      for await (const line of renderTable(tableColumns(schema), rowTexts(schema, result.batches()), {
        width: outputWidth(),
      }))
        await print(line)
      return
    case 'parquet': {
      const writer = new ParquetFileWriter({ write: bytes => print(bytes) }, schema, { statistics: false })
      for await (const batch of result.batches()) await writer.write(batch)
      await writer.finish()
      return
    }
    case 'arrow': {
      const { arrowStream } = await import('../../columns/arrow.ts')
      for await (const bytes of arrowStream(schema, result.batches())) await print(bytes)
      return
    }
    default:
      for await (const bytes of resultText(result, format)) await print(bytes)
  }
}
