import { removeOwnSpill } from '../../core/spill-folder.ts'
import { execute, query, type RunOptions, type StatementResult } from '../../sql/engine.ts'
import { SqlError } from '../../sql/errors.ts'
import { defaultMemoryBytes, inWordsOfLimits, type SqlLimits } from '../../sql/limits.ts'
import { mayMention } from '../../sql/relation.ts'
import { takeBackNow, type WrittenFile } from '../../sql/written.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { hasLog } from '../../table/log/segment.ts'
import { openTable, type Table } from '../../table/table.ts'
import { command, UsageError } from '../command.ts'
import { interruptible } from '../interrupt.ts'
import { note } from '../output.ts'
import { checkTerminal, ROW_FORMATS, type RowFormat, showRows } from '../show-rows.ts'
import { sqlLimitsOf, statementArgs } from '../sql-args.ts'
import { storeArgs, useStore } from '../store-args.ts'
import { storeOf } from '../store-of.ts'
import { settle, tellServer } from '../table-of.ts'
import { snapshotOf, versionArgs } from '../version-args.ts'
import { withinLimits } from '../within-limits.ts'

/** A table that was opened for a statement is not looked at again before it runs. */
const OPENED_MS = 1000

interface QueryArgs {
  readonly table: string
  readonly txn?: string | undefined
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
    'posixlake query ./people --txn nightly:7 "INSERT INTO data ..."      # once, however often it is run',
  ],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    sql: {
      type: 'positional',
      required: true,
      description: 'One statement: a query, INSERT, UPDATE, DELETE, MERGE or TRUNCATE; - reads it from standard input',
    },
    format: { type: 'enum', options: [...ROW_FORMATS], default: 'table', description: ROW_FORMATS.join(', ') },
    txn: {
      type: 'string',
      valueHint: 'APP:NUMBER',
      description: 'Change the table only if this application has not told it of this number or a higher one',
    },
    ...versionArgs,
    ...statementArgs,
    ...storeArgs,
  },
  run: async args => {
    checkTerminal(args.format)
    const app = appOf(args.txn)
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
        signal => run(store, sql, args, { ...limits, signal, written, log: note, app }).catch(inTheseWords(limits)),
        lastResort,
      ),
    ).finally(close)
    return undefined
  },
})

/** UsageError for what names no application and no number. */
function appOf(text: string | undefined): RunOptions['app'] {
  if (text === undefined) return undefined
  const [, appId, number] = /^(.+):(\d{1,15})$/s.exec(text) ?? []
  if (appId === undefined) throw new UsageError(`--txn takes a name and a number, such as nightly:7, not ${text}`)
  return { appId, version: Number(number) }
}

/** For what the engine says of limits that it was set. */
function inTheseWords(limits: Pick<SqlLimits, 'memoryBytes'>): (error: unknown) => never {
  return error => {
    throw error instanceof SqlError ? inWordsOfLimits(error, limits) : error
  }
}

async function run(store: ObjectStore, sql: string, args: QueryArgs, options: RunOptions): Promise<void> {
  let opened: Promise<Table> | undefined
  const open = (): Promise<Table> => {
    opened ??= openTable(store, { freshMs: OPENED_MS })
    return opened
  }
  const format = args.format as RowFormat
  // A statement that is not about the table need not wait for it, but there must be one: opening it says what is there.
  if (!mayMention(sql) && !(await hasLog(store))) await open()
  if (args.version !== undefined || args.timestamp !== undefined) {
    const table = await open()
    await showRows(await query(table, await snapshotOf(table, args), sql, options), format)
  } else {
    const outcome = await execute(open, sql, options)
    if (outcome.kind === 'rows') await showRows(outcome.result, format)
    else if (outcome.isDone) note(`nothing changed: ${args.txn} or a later one is done already`)
    else {
      tell(outcome)
      if (outcome.version !== undefined) await tellServer(args.table)
    }
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
