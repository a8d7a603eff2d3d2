import { joined } from './text/text.ts'

const NEWLINE = 0x0a

/**
 * Rows behind an end that a program of a client has seen in its client's cache and written in a file that took the name,
 * before the WRITE came that brings them here: they are in the table by that time.
 */
export interface Brought {
  /** As the client counts, in bytes. */
  readonly end: number
  readonly rows: Uint8Array
  /** A version of the table that has them; undefined in a record of an earlier release. */
  readonly landed: bigint | undefined
  /** When (ms since the epoch) no such WRITE is on its way any more. */
  readonly untilMs: number
}

/** Linux writes what a program has written within 35 seconds. */
const BROUGHT_MS = 40_000

/** Rows that a client has brought now, whose WRITEs may come for some time. */
export function broughtRows(end: number, rows: Uint8Array, landed: bigint, nowMs: number): Brought {
  return { end, rows, landed, untilMs: nowMs + BROUGHT_MS }
}

/**
 * Returns how many of the first bytes that a client appends behind an end are rows which it has brought already. Rows that the
 * file changed may stand in front of these, and some of them may have come by WRITEs before, which are in the end's tail.
 */
export function broughtIn(
  { end, rows }: Pick<Brought, 'end' | 'rows'>,
  from: { size: number; tail: Uint8Array },
  own: Uint8Array,
): number {
  const before = from.size - end
  if (before < 0 || before > from.tail.length) return 0
  const all = joined([from.tail.subarray(from.tail.length - before), own])
  for (let start = 0; start < rows.length; ) {
    const length = Math.min(all.length, rows.length - start)
    if (length <= before) return 0
    if (Buffer.compare(rows.subarray(start, start + length), all.subarray(0, length)) === 0) return length - before
    const newline = rows.indexOf(NEWLINE, start)
    if (newline < 0) return 0
    start = newline + 1
  }
  return 0
}
