import { sizeOf } from '../attributes.ts'
import type { Attributes, Caller, Change, Stability } from '../filesystem.ts'
import type { Text } from '../text/text.ts'

export interface ReadResult {
  readonly bytes: Uint8Array
  readonly eof: boolean
  /** Of the moment of the read, where they are known at no cost. */
  readonly attributes?: Attributes
}

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
  attributes(): Promise<Attributes>
  read(offset: bigint, count: number): Promise<ReadResult>
  /** SETATTR of the size. */
  truncate?(size: number, before: Attributes): Promise<Change>
  write?(offset: number, bytes: Uint8Array, stability: Stability, caller: Caller): Promise<WriteResult>
  commit?(caller: Caller): Promise<Change>
}

/** READ of a text: fewer bytes only before its end. */
export async function readText(text: Text, offset: bigint, count: number): Promise<ReadResult> {
  const start = Math.min(sizeOf(offset), text.size)
  const end = Math.min(start + count, text.size)
  return { bytes: start === end ? new Uint8Array(0) : await text.read(start, end), eof: end === text.size }
}
