import type { TextErrorCode } from '../../columns/errors.ts'

/*
 * Tells whole saves from pieces, as far as the bytes of an image can, for where /proc cannot. It takes what is known
 * of the image (see image-facts.ts), and knows nothing of texts and tables.
 */

/** The unit in which clients cache, and write back in the middle of a save. */
export const PAGE_BYTES = 4096

/** The times for which an image is held that may not be whole yet, in milliseconds. */
export interface IncompleteTimes {
  /** No final newline, a last row that is cut off, fewer rows than before and not the last ones, or bytes behind the written ones from before. */
  readonly incompleteMs: number
  /** A size that is a multiple of the page size after a COMMIT, or pages that are missing. */
  readonly pageMs: number
  /** Truncated to nothing, and nothing written since. */
  readonly truncatedMs: number
}

/** Why an image may not be whole, and for how long that is worth waiting for. */
export interface Incomplete {
  readonly ms: number
  readonly because: string
}

/** An image from the outside. */
export interface Outside {
  readonly size: number
  /** Some of its bytes were never written. */
  readonly hasHole: boolean
  readonly endsInNewline: boolean
  /** It began with, or passed through, a truncation. */
  readonly truncated: boolean
  /** A COMMIT came, not a stable WRITE. */
  readonly committed: boolean
}

/** Signs on the outside of an image that its save is not over. */
export function outsideSigns(
  { size, hasHole, endsInNewline, truncated, committed }: Outside,
  times: IncompleteTimes,
): Incomplete | undefined {
  if (size === 0) {
    return { ms: times.truncatedMs, because: 'it was truncated to nothing, and nothing has been written since' }
  }
  if (hasHole && (committed || truncated)) {
    return { ms: times.pageMs, because: 'parts of it have not been written yet' }
  }
  if (committed && size % PAGE_BYTES === 0) {
    return { ms: times.pageMs, because: 'its size is a whole number of pages, as in the middle of a save' }
  }
  if (!endsInNewline) return { ms: times.incompleteMs, because: 'its last line has no newline yet' }
  return undefined
}

/** An image that does not parse. */
export interface Unparsed {
  readonly code: TextErrorCode
  /** The written bytes stand between bytes from before the save, and are no patch of one line. */
  readonly isBetweenOldBytes: boolean
}

/** The reason to wait for more of an image that does not parse, if there is one. */
export function mayStillParse(
  { code, isBetweenOldBytes }: Unparsed,
  { incompleteMs }: IncompleteTimes,
): Incomplete | undefined {
  if (code === 'unterminated') return { ms: incompleteMs, because: 'its last row is not closed' }
  return isBetweenOldBytes ? betweenOldBytes(incompleteMs) : undefined
}

/** The effect on the table of an image that parses. */
export interface Parsed {
  readonly removedRows: number
  readonly addedRows: number
  /** Of the rows that stay, the last one of the table is among them, as where a program copies them (grep -v, sed). */
  readonly reachesTheEnd: boolean
  /** See Unparsed. */
  readonly isBetweenOldBytes: boolean
}

/** The reason to wait for more of an image that parses, if there is one. */
export function mayGoOn(
  { removedRows, addedRows, reachesTheEnd, isBetweenOldBytes }: Parsed,
  { incompleteMs }: IncompleteTimes,
): Incomplete | undefined {
  if (removedRows === 0) return undefined
  if (removedRows > addedRows && !reachesTheEnd) {
    return { ms: incompleteMs, because: 'it has fewer rows than before, so more may follow' }
  }
  return isBetweenOldBytes ? betweenOldBytes(incompleteMs) : undefined
}

function betweenOldBytes(ms: number): Incomplete {
  return { ms, because: 'bytes behind the written ones are from before the save' }
}

/**
 * True if nothing that is yet written behind an image's end can make it parse: its lines are whole, and it was written
 * from front to back.
 */
export function isBadForGood(
  code: TextErrorCode,
  {
    hasHole,
    endsInNewline,
    truncated,
    isAppend,
  }: Pick<Outside, 'hasHole' | 'endsInNewline' | 'truncated'> & { readonly isAppend: boolean },
): boolean {
  // Rows that come yet may close the last one, or have the key that no row has so far.
  if (code === 'unterminated' || code === 'missing_key') return false
  return !hasHole && (truncated || isAppend) && endsInNewline
}
