import type { Table } from '../../table/table.ts'
import { FileSpool } from '../edits/spool.ts'
import type { Text } from '../text/text.ts'

/** The result that `.query` shows: the rows as CSV, or the counts of a statement that changed rows; kept in an unlinked file of `directory`, however large. */
export async function runSql(table: Table, sql: string, directory: string): Promise<Text> {
  // Loaded on first use: a mount that never runs SQL does not pay for the engine.
  const { csvOf, execute } = await import('../../sql/engine.ts')
  const outcome = await execute(table, sql)
  const spool = FileSpool.create(directory)
  if (outcome.kind === 'changed') {
    const { inserted, updated, deleted } = outcome
    spool.append(new TextEncoder().encode(`inserted,updated,deleted\n${inserted},${updated},${deleted}\n`))
  } else {
    for await (const bytes of csvOf(outcome.result)) spool.append(bytes)
  }
  return spool.finish()
}
