import { readdirSync, readFileSync } from 'node:fs'

export interface RunningProcess {
  readonly pid: number
  readonly parent: number
}

/** The processes that run statements for a table, whoever started them. */
export function sqlProcesses(location: string): RunningProcess[] {
  const found: RunningProcess[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0')
      if (command.at(-3) !== 'sql-process' || command.at(-2) !== location) continue
      const [state, parent] = readFileSync(`/proc/${name}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ')
      if (state !== 'Z' && state !== 'X') found.push({ pid: Number(name), parent: Number(parent) })
    } catch {
      // It ended meanwhile.
    }
  }
  return found
}

/** Resolves when a condition holds. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await Bun.sleep(5)
}

/** Whether a process has come as far as the engine. */
export function isInEngine(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/maps`, 'utf8').includes('duckdb')
  } catch {
    return false
  }
}

/** Resolves when that many statements run on a table. */
export async function begun(location: string, count = 1): Promise<void> {
  await until(() => sqlProcesses(location).filter(({ pid }) => isInEngine(pid)).length >= count)
}
