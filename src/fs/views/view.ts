import type { Asker, Attributes, Caller, Change, FsError, ReadResult, Stability } from '../filesystem.ts'
import type { Text } from '../text/text.ts'

export type { ReadResult }

export interface WriteResult {
  readonly count: number
  readonly committed: Stability
  readonly change: Change
}

/**
 * A file of the tree that stands for the table or a part of it. A method that is missing is refused, as the view is
 * read-only in that way. All reject with FsError, or with the error of the room that failed.
 */
export interface ViewFile {
  readonly id: bigint
  readonly name: string
  readonly writable: boolean
  /** It tells of the saves that it refuses in `.errors` by itself, as some are refused when no call is under way. */
  readonly tellsRefusals?: boolean
  /** What a change of it is refused with, if it is read-only for a reason of its own. */
  refusal?(): FsError
  /** For who asks. */
  attributes(caller: Caller): Promise<Attributes>
  /** What LOOKUP and listings tell, where `attributes` would do work that only a reader is to wait for. */
  known?(): Attributes
  read(offset: bigint, count: number, caller: Caller): Promise<ReadResult>
  /** SETATTR of the size. */
  truncate?(size: number, before: Attributes): Promise<Change>
  write?(offset: number, bytes: Uint8Array, stability: Stability, asker: Asker): Promise<WriteResult>
  commit?(asker: Asker): Promise<Change>
}

/** The bytes that a READ of a text gives: fewer than asked for only before its end. */
export async function readText(text: Text, offset: bigint, count: number): Promise<Pick<ReadResult, 'bytes' | 'eof'>> {
  const start = offset < BigInt(text.size) ? Number(offset) : text.size
  const end = Math.min(start + count, text.size)
  return { bytes: start === end ? new Uint8Array(0) : await text.read(start, end), eof: end === text.size }
}
