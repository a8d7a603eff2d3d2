import type { Table } from '../../table/table.ts'
import { FileSpool } from '../edits/spool.ts'
import type { Text } from '../text/text.ts'
import type { RunSqlOptions } from './query.ts'

/** The rows of a statement as text, or what it changed. Kept in an unlinked file of `directory`, however large. */
export async function runSql(
  table: Table,
  sql: string,
  directory: string,
  { format = 'csv', signal }: RunSqlOptions = {},
): Promise<Text> {
  // Loaded on first use: a mount that never runs SQL does not pay for the engine.
  const [{ execute }, { changesText, resultText }] = await Promise.all([
    import('../../sql/engine.ts'),
    import('../../sql/format.ts'),
  ])
  const outcome = await execute(table, sql, signal === undefined ? {} : { signal })
  const spool = FileSpool.create(directory)
  if (outcome.kind === 'changed') spool.append(changesText(outcome, format))
  else for await (const bytes of resultText(outcome.result, format)) spool.append(bytes)
  return spool.finish()
}
