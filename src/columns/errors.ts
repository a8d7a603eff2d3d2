import { LakeError } from '../core/errors.ts'

/**
 * malformed_text: the rows are not CSV or JSON lines; bad_value: a field does not fit its column; unterminated: the text
 * ends inside quotes or an object; unknown_column: a row names a column that the table has not; missing_key: no row names
 * one that must not be lost; bad_header: the first line does not name the columns; bad_schema: a schema cannot be understood.
 */
export type TextErrorCode =
  | 'malformed_text'
  | 'bad_value'
  | 'unterminated'
  | 'unknown_column'
  | 'missing_key'
  | 'bad_header'
  | 'bad_schema'

/** Text that cannot be taken. The message names the line and the column where there is one. */
export class TextError extends LakeError<TextErrorCode> {
  /** The 1-based line of the text. */
  readonly line: number | undefined
  readonly column: string | undefined

  constructor(code: TextErrorCode, message: string, where: { line?: number; column?: string; cause?: unknown } = {}) {
    super(code, message, { cause: where.cause })
    this.line = where.line
    this.column = where.column
  }
}

export type ParquetErrorCode = 'corrupt' | 'unsupported' | 'missing'

/** A Parquet file that cannot be read; the message names it. */
export class ParquetError extends LakeError<ParquetErrorCode> {}
