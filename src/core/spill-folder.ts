import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { isAlive } from './processes.ts'
import { takeAway } from './take-away.ts'
import { cacheHome } from './xdg.ts'

/**
 * A folder of its own for what does not fit into memory; whoever needs it makes it. Those of processes that were killed are
 * taken away.
 */
export function spillFolder(): string {
  const parent = join(cacheHome(), 'spill')
  mkdirSync(parent, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(parent)) {
    if (!isAlive(Number.parseInt(name, 10))) takeAway(join(parent, name))
  }
  return join(parent, `${process.pid}-${crypto.randomUUID()}`)
}

/** Takes away what this process spilled, for one that has to end now. */
export function removeOwnSpill(): void {
  const parent = join(cacheHome(), 'spill')
  if (!existsSync(parent)) return
  for (const name of readdirSync(parent)) {
    if (name.startsWith(`${process.pid}-`)) takeAway(join(parent, name))
  }
}
