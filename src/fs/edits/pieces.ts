import { TextError } from '../../columns/errors.ts'
import type { TextInput } from '../../columns/text/formats/index.ts'
import type { Batch, Field } from '../../columns/types.ts'
import { discarded } from '../../core/garbage.ts'
import { defaultCell } from '../../table/defaults.ts'
import { asWritten } from '../../table/rules/rules.ts'
import type { ByteRange } from '../text/layout.ts'
import { lineOf, type Text } from '../text/text.ts'
import { ROW_BYTES_MAX, rowTooLong } from './row-window.ts'

/** Rows are parsed in pieces of about this many bytes. */
export const PIECE_BYTES = 4 << 20
/** Parsing and encoding leave several times the bytes of the text behind. */
const GARBAGE_FACTOR = 8

export interface ParsedPiece {
  readonly bytes: Uint8Array
  readonly batch: Batch
  /** The last row has its newline. */
  readonly complete: boolean
}

/** The rows of [start, end) of a text, piece by piece. */
export async function* rowPieces(
  text: Text,
  { start, end }: ByteRange,
  input: TextInput,
): AsyncGenerator<{ at: number; bytes: Uint8Array }> {
  let at = start
  let want = PIECE_BYTES
  while (at < end) {
    const bytes = await text.read(at, Math.min(end, at + want))
    const last = at + bytes.length >= end
    const length = last ? bytes.length : input.lastRowEnd(bytes)
    if (length <= 0) {
      if (want >= ROW_BYTES_MAX) throw await rowTooLong(text, at)
      want *= 2 // One row is longer than the piece.
      continue
    }
    want = PIECE_BYTES
    yield { at, bytes: bytes.subarray(0, length) }
    at += length
    discarded(length * GARBAGE_FACTOR)
  }
}

/** Parses the rows of a range of a text piece by piece. TextError names the line, and the column where there is one. */
export async function* parsedPieces(
  text: Text,
  range: ByteRange,
  fields: readonly Field[],
  input: TextInput,
  seen?: Set<string>,
): AsyncGenerator<ParsedPiece> {
  const open = asWritten(fields)
  for await (const { at, bytes } of rowPieces(text, range, input)) {
    const batch = await withLines(text, at, firstLine =>
      input.parse(bytes, open, { firstLine, seen, missing: defaultCell }),
    )
    yield { bytes, batch, complete: bytes.at(-1) === 0x0a }
  }
}

/** Does something with rows that begin at `at`, and has a TextError name the text's own lines. */
export async function withLines<T>(text: Text, at: number, run: (firstLine: number) => T): Promise<T> {
  try {
    return run(1)
  } catch (error) {
    if (!(error instanceof TextError)) throw error
    // Counting lines costs reading all that stands in front, so it is done only for the message of a bad row.
    return run(await lineOf(text, at))
  }
}
