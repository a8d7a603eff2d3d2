/**
 * Changes whenever the text of a value changes: cached texts, recorded sizes and staged edits of other versions are not
 * used. 1: whole floats were written without a point. 2: `3.0`.
 */
export const TEXT_FORMAT_VERSION = 2

/** Rows between two entries of a row index. */
export const ROW_INDEX_STRIDE = 64

/** The text of a run of rows. `index[k]` is the byte offset of row 64 k; each row ends in a newline. */
export interface RenderedText {
  readonly bytes: Uint8Array
  readonly rows: number
  readonly index: Uint32Array
  /** The first value whose text is not UTF-8 in its file, by the numbers of its column and its row among these. */
  readonly notUtf8?: { readonly column: number; readonly row: number } | undefined
}
