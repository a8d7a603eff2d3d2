/**
 * Delta's types (PROTOCOL.md, "Schema Serialization Format") and the values that stand for them inside posixlake.
 */
export type PrimitiveKind =
  | 'byte'
  | 'short'
  | 'integer'
  | 'long'
  | 'float'
  | 'double'
  | 'string'
  | 'boolean'
  | 'binary'
  | 'date'
  | 'timestamp'
  | 'timestamp_ntz'
  | 'variant'
  | 'void'

export type DataType =
  | { readonly kind: PrimitiveKind }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | StructType
  | { readonly kind: 'array'; readonly element: DataType; readonly containsNull: boolean }
  | { readonly kind: 'map'; readonly key: DataType; readonly value: DataType; readonly valueContainsNull: boolean }

export interface StructType {
  readonly kind: 'struct'
  readonly fields: readonly Field[]
}

export interface Field {
  /** The logical name, as users see it. */
  readonly name: string
  readonly type: DataType
  readonly nullable: boolean
  /** Column metadata as the log has it; unknown keys are kept. `delta.columnMapping.physicalName` and `.id` live here. */
  readonly metadata: Readonly<Record<string, unknown>>
}

/** A table's columns, in order. */
export type Schema = readonly Field[]

/**
 * One value, in the representation that loses nothing:
 * byte, short, integer: number; date: number (days since 1970-01-01); long: bigint; timestamp, timestamp_ntz: bigint
 * (microseconds since the epoch); decimal: bigint (unscaled); float, double: number; boolean: boolean;
 * string: string; binary: Uint8Array; variant: string (its JSON); void: NULL only; struct: Cell[] (in field order); array: Cell[]; map: [key, value][] ; NULL: null.
 */
export type Cell =
  | null
  | number
  | bigint
  | boolean
  | string
  | Uint8Array
  | readonly Cell[]
  | ReadonlyArray<readonly [Cell, Cell]>

/**
 * Strings or binaries as ranges of one buffer: value i is bytes[starts[i], ends[i]). Spares the hot paths an object for
 * every value; ranges may overlap (a dictionary) or leave bytes out (a CSV text).
 */
export interface Utf8Values {
  readonly bytes: Uint8Array
  readonly starts: Uint32Array
  readonly ends: Uint32Array
}

/**
 * The values of one column for a run of rows. `values` is a typed array where the type has one (byte, short, integer,
 * date: Int32Array; long, timestamp, timestamp_ntz, decimals of up to 18 digits: BigInt64Array; float, double: Float64Array), Utf8Values for strings,
 * variants and binaries; then `nulls[i] === 1` marks NULL (absent: no NULLs). Or it is a plain array of cells, with null for NULL.
 * `cellAt` (vectors.ts) reads all forms.
 */
export interface Vector {
  readonly type: DataType
  readonly length: number
  readonly values: Int32Array | BigInt64Array | Float64Array | Utf8Values | readonly Cell[]
  readonly nulls?: Uint8Array | undefined
  /** The first row whose value was cut to what its type holds: nanoseconds, to the microsecond. Said of a file's columns. */
  readonly cut?: number | undefined
  /** The first row whose text is not UTF-8 in its file, and has U+FFFD in place of what is not (`utf8.ts`). */
  readonly notUtf8?: number | undefined
}

/** Columns of equal length, in schema order. */
export interface Batch {
  readonly rows: number
  readonly vectors: readonly Vector[]
}
