import { canonicalPath } from '../mount/linux.ts'
import { ask } from '../serve/control.ts'
import { ServeError } from '../serve/errors.ts'
import { parseLocation, s3Name } from '../storage/location.ts'

/** The name by which a table's server is found: the real path, or the URL. */
export function locationName(text: string): string {
  const location = parseLocation(text)
  if (location.kind === 's3') return s3Name(location)
  return canonicalPath(location.directory)
}

/** Waits until the table's server, if one runs, holds no save any more: what is read then is what was saved. */
export async function settle(text: string): Promise<void> {
  await ask(locationName(text), 'settle')
}

/**
 * Lets the table's server on this machine, if one runs, look for what a command has committed, so that its mounts show it
 * when the command has ended.
 */
export async function tellServer(text: string): Promise<void> {
  await ask(locationName(text), 'look').catch((error: unknown) => {
    // What is committed is committed: a server that cannot look now finds it when it can.
    if (!(error instanceof ServeError)) throw error
  })
}
