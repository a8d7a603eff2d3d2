import { homedir } from 'node:os'
import { join } from 'node:path'

/** The folder of our caches: `$XDG_CACHE_HOME/posixlake` or `~/.cache/posixlake` (XDG Base Directory Specification). */
export function cacheHome(): string {
  return join(baseDirectory('XDG_CACHE_HOME', '.cache'), 'posixlake')
}

/** The folder of what is kept beside tables that have no room of their own: `$XDG_STATE_HOME/posixlake` or `~/.local/state/posixlake`. */
export function stateHome(): string {
  return join(baseDirectory('XDG_STATE_HOME', join('.local', 'state')), 'posixlake')
}

/** A variable that is empty counts as one that is not set. */
function baseDirectory(variable: string, inHome: string): string {
  const base = process.env[variable]
  return base === undefined || base === '' ? join(homedir(), inHome) : base
}
