import type { Batch, Cell, Field, Schema } from '../../types.ts'
import type { RenderedText } from '../rendered.ts'

/**
 * The cut of a text as posixlake writes it into rows: for bytes that begin with a row, the step from where a row begins to
 * behind its newline; 0 or less where the bytes end before it does.
 */
export type RowCut = (bytes: Uint8Array) => (start: number) => number

/**
 * Finds one field of the row in bytes [start, end), as posixlake writes it: sets `field` to its bytes. False for NULL,
 * which leaves `field` as it was.
 */
export type FieldCut = (bytes: Uint8Array, start: number, end: number, field: { start: number; end: number }) => boolean

/** A text form of rows: all that the rest of the code knows of it. */
export interface TextFormat<Name extends string = string> {
  /** The ending of file names, and of `--format`. Caches and saved state have it, too: it never stands for another form. */
  readonly name: Name
  /** Returns the bytes in front of the rows. */
  header(schema: Schema): Uint8Array
  /** The rows; each ends in a newline. */
  render(batch: Batch, schema: Schema): RenderedText
  /** The size in bytes of what `render` gives, without rendering. */
  measure(batch: Batch, schema: Schema): number
  /** Returns the bytes of a row that are for columns behind its others that are NULL. */
  nullsSize(added: Schema): number
  /** The rows name their columns. */
  readonly namesInRows: boolean
  readonly cut: RowCut
  /** The bytes around rows that make them one value; undefined: none. */
  readonly frame: Frame | undefined
  /** The sizes of this text that data files record; undefined: none, and files are rendered to learn them. */
  readonly recorded: RecordedSize | undefined
  /** The parser of this text; undefined for a form that is only shown. */
  readonly input: TextInput | undefined
}

/** `open` takes the place of the first row's first byte, and `end` stands behind the last row; `empty` where there is none. */
export interface Frame {
  readonly open: number
  readonly end: Uint8Array
  readonly empty: Uint8Array
}

export interface RecordedSize {
  /** The size that is recorded. */
  readonly size: 'csv' | 'jsonl'
  /** The bytes that each row has beyond it. */
  readonly perRow: number
}

export interface ParseOptions {
  /** The line of the whole text at which these bytes begin, for messages; 1 if not given. */
  readonly firstLine?: number | undefined
  /** The line of the whole text in which each line of these bytes stands, where those between are left out. */
  readonly lines?: Uint32Array | undefined
  /** Takes the names of the columns that the rows have. */
  readonly seen?: Set<string> | undefined
  /** The value of a column in a row that says nothing of it, in forms whose rows can; NULL if not given. */
  readonly missing?: ((field: Field) => Cell) | undefined
  /** The byte between fields, in forms that have one; a comma if not given. */
  readonly delimiter?: number | undefined
  /** The types were found from some of the rows: a value that they would not keep as it is (`literals.ts`) is refused. */
  readonly foundTypes?: boolean | undefined
  /** The bytes of rows that are taken may be changed, all but the number of their line ends; they stay as they are if one is not. */
  readonly mayChange?: boolean | undefined
  /** Stop behind so many rows, and behind the row that reaches so many bytes, in forms that can. */
  readonly rowsMax?: number | undefined
  readonly bytesMax?: number | undefined
}

export interface ParsedRows extends Batch {
  /** The offset of their end in the bytes; not given: these were all of them. */
  readonly end?: number | undefined
}

/** The parser of what programs may write in the place of a text, in any spelling that its form has. */
export interface TextInput {
  /** The rows, whose columns are `fields`. TextError names the line, and the column where there is one. */
  parse(bytes: Uint8Array, fields: readonly Field[], options?: ParseOptions): ParsedRows
  /** Behind the last whole row in bytes that begin with one; 0: none is whole. */
  lastRowEnd(bytes: Uint8Array, delimiter?: number): number
  /** Finds the field number `column` of rows as posixlake writes them. */
  fieldCut(column: number): FieldCut
  /** A row may go on over line ends that `cut` takes for its own. */
  readonly spansCuts: boolean
  readonly naming: HeaderNaming | RowNaming
}

/** The first line names the columns of all rows, in their order. */
export interface HeaderNaming {
  readonly by: 'header'
  /** The names, and where the rows begin. TextError `bad_header`. */
  parse(bytes: Uint8Array): { names: string[]; endOffset: number }
  /** Finds the types of the columns that a header names. */
  infer(names: readonly string[]): TypeInference
}

/** Each row names its own columns. */
export interface RowNaming {
  readonly by: 'row'
  /** Finds the columns that `known` has not, and their types. */
  infer(known: Schema): TypeInference
}

/** Finds columns from rows that are fed piece by piece. */
export interface TypeInference {
  /** Looks at whole rows. TextError if they are not of this form. */
  feed(bytes: Uint8Array, options: { readonly firstLine: number }): void
  result(): Schema
}
