/** Changes whenever the text of a value changes: cached and recorded sizes of other versions are not used. */
export const TEXT_FORMAT_VERSION = 1

/** Rows between two entries of a row index. */
export const ROW_INDEX_STRIDE = 64

/** The text of a run of rows. `index[k]` is the byte offset of row 64 k; each row ends in a newline. */
export interface RenderedText {
  readonly bytes: Uint8Array
  readonly rows: number
  readonly index: Uint32Array
}
