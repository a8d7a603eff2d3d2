import { ask, type ServerStatus } from './control.ts'
import { ServeError } from './errors.ts'
import { mountsOf, readRecords, removeRecord, type ServerRecord, type TableMount } from './registry.ts'

/** A server, or mounts whose server died. */
export interface FoundServer {
  readonly record: ServerRecord
  /** undefined: it does not run, or does not answer. */
  readonly status: ServerStatus | undefined
  /** Why it does not answer, if it runs and should. */
  readonly silence: string | undefined
  readonly mounts: readonly TableMount[]
}

/** All servers of this user; of those that died, the ones whose mounts are still there. What nobody needs is cleaned away. */
export async function findServers(): Promise<FoundServer[]> {
  const found = await Promise.all(readRecords().map(lookAt))
  return found.filter(({ record, status, silence, mounts }) => {
    const isThere = status !== undefined || silence !== undefined || mounts.length > 0
    if (!isThere) removeRecord(record.location)
    return isThere
  })
}

async function lookAt(record: ServerRecord): Promise<FoundServer> {
  const mounts = mountsOf(record.exports)
  try {
    return { record, status: await ask(record.location, 'status'), silence: undefined, mounts }
  } catch (error) {
    if (error instanceof ServeError) return { record, status: undefined, silence: error.message, mounts }
    throw error
  }
}
