/**
 * The base of every error that posixlake raises on purpose. `code` is from a closed set per room, so that each exit
 * (NFS status, process exit code) can map it exhaustively; `message` is a whole sentence that says what went wrong,
 * where, and what to do.
 */
export abstract class LakeError<Code extends string = string> extends Error {
  readonly code: Code

  constructor(code: Code, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/**
 * True if a store cannot be used now, whatever is asked of it: it does not answer, credentials have run out, or the bucket
 * is gone. It may be otherwise in a moment.
 */
export function isStoreAway(error: unknown): boolean {
  return error instanceof LakeError && ['unavailable', 'access_denied', 'no_bucket'].includes(error.code)
}

/** The message of anything thrown, for a sentence that has to quote it. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The POSIX error code (`ENOENT`, `EEXIST`, …) of a failed system call, if it carries one. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string')
    return error.code
  return undefined
}

/** True if an error of SQLite says that a file is no database, or is damaged; being busy or out of space is neither. */
export function isCorruptDatabase(error: unknown): boolean {
  return /^SQLITE_(CORRUPT|NOTADB)/.test(errnoOf(error) ?? '')
}
