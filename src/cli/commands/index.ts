import { VERSION } from '../../core/version.ts'
import type { Command } from '../command.ts'

export { VERSION } from '../../core/version.ts'

interface ListedCommand {
  readonly name: string
  readonly summary: string
  /** The path is a literal, so that the executable contains the command; it is loaded only when it is called. */
  readonly load: () => Promise<{ readonly default: Command }>
}

export const COMMANDS: readonly ListedCommand[] = [
  { name: 'create', summary: 'Create a table, empty or from CSV or Parquet files', load: () => import('./create.ts') },
  { name: 'mount', summary: 'Show a table as files', load: () => import('./mount.ts') },
  { name: 'unmount', summary: 'Finish saves, unmount a table and stop its server', load: () => import('./unmount.ts') },
  { name: 'status', summary: 'Show what is mounted and served', load: () => import('./status.ts') },
  { name: 'serve', summary: 'Serve a table over NFS without mounting it', load: () => import('./serve.ts') },
  { name: 'query', summary: 'Run SQL on a table', load: () => import('./query.ts') },
  { name: 'cat', summary: 'Print a table', load: () => import('./cat.ts') },
  { name: 'schema', summary: "Print a table's columns", load: () => import('./schema.ts') },
  { name: 'history', summary: "Print a table's commits", load: () => import('./history.ts') },
  { name: 'changes', summary: 'Print the rows that versions of a table changed', load: () => import('./changes.ts') },
  { name: 'undo', summary: 'Take back the last commit of a table', load: () => import('./undo.ts') },
  { name: 'restore', summary: 'Make a table as it was at an older version', load: () => import('./restore.ts') },
  { name: 'optimize', summary: 'Put the small files of a table together', load: () => import('./optimize.ts') },
  { name: 'vacuum', summary: 'Delete files that a table no longer needs', load: () => import('./vacuum.ts') },
  { name: 'check', summary: 'Look whether a table is whole', load: () => import('./check.ts') },
  { name: 's3-test', summary: 'Check whether a store on S3 can hold tables', load: () => import('./s3-test.ts') },
]

/** Commands that servers start themselves, and help does not show. */
const HIDDEN: readonly ListedCommand[] = [
  { name: 'sql-process', summary: 'Run the SQL statements of a server', load: () => import('./sql-process.ts') },
]

export async function commandNamed(name: string): Promise<Command | undefined> {
  const entry = [...COMMANDS, ...HIDDEN].find(candidate => candidate.name === name)
  return entry === undefined ? undefined : (await entry.load()).default
}

export function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length))
  const list = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`).join('\n')
  return `posixlake ${VERSION}: a Delta Lake table as ordinary files; one save is one commit

USAGE  posixlake COMMAND [ARGUMENTS]

${list}

Once a table is mounted:
  data/data.csv     the table; cat, grep, awk, sed -i, vim, >> and > all work, and rm empties it
  data/data.jsonl   the same as JSON lines, to be changed likewise
  data/data.json    the same as a JSON array; read-only
  schema.sql        its columns
  .query            write SQL into it, read the result from it
  .stats  .errors   numbers; what went wrong with recent saves

  posixlake COMMAND --help shows a command's flags, with an example.
  Exit status: 0 it is done, 1 it failed, 2 the command line was not understood.
`
}
