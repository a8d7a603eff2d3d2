import { canonicalPath } from '../mount/linux.ts'
import { ask } from '../serve/control.ts'
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
