import { statSync } from 'node:fs'
import { join } from 'node:path'

/** The hidden command of cli/commands/sql-process.ts. */
const SQL_PROCESS = 'sql-process'

/** The command line of a process that runs the statements of a table's server: this very program. */
export function sqlProcessCommand(location: string, cacheBytes?: number): string[] {
  const program = import.meta.url.includes('/$bunfs/')
    ? [runningExecutable()]
    : [process.execPath, join(import.meta.dir, '..', 'main.ts')]
  return [...program, SQL_PROCESS, location, ...(cacheBytes === undefined ? [] : ['--cache-size', String(cacheBytes)])]
}

/** The executable that we are, also when its file was replaced since by another version, which may speak otherwise. */
function runningExecutable(): string {
  if (process.platform !== 'linux') return process.execPath
  const own = `/proc/${process.pid}/exe`
  const [file, running] = [process.execPath, own].map(path => statSync(path, { throwIfNoEntry: false }))
  return file?.ino === running?.ino && file?.dev === running?.dev ? process.execPath : own
}
