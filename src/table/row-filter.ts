/**
 * A condition on rows, as far as statistics can tell of it: every wanted row is TRUE under it. Whoever knows a language
 * of queries makes one, and `filesFor` leaves out the files that cannot have such a row.
 */
export type RowFilter =
  /** Nothing is known: any row may be wanted. */
  | { readonly kind: 'any' }
  | { readonly kind: 'and' | 'or'; readonly parts: readonly RowFilter[] }
  | { readonly kind: 'compare'; readonly column: ColumnPath; readonly operator: Comparison; readonly value: Literal }
  /** A text that begins with another one. */
  | { readonly kind: 'prefix'; readonly column: ColumnPath; readonly text: string }
  | { readonly kind: 'null'; readonly column: ColumnPath; readonly isNull: boolean }

export type Comparison = '=' | '!=' | '<' | '<=' | '>' | '>='

/** The name of a column, and behind it those of members of structs. Case does not matter. */
export type ColumnPath = readonly string[]

/** A value that columns are compared with: a number with all its digits, one of 64 bits, or a text, which may stand for a time. */
export type Literal =
  | { readonly kind: 'exact'; readonly unscaled: bigint; readonly scale: number }
  | { readonly kind: 'double'; readonly number: number }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'date'; readonly days: number }
  | { readonly kind: 'timestamp'; readonly micros: bigint }
  | { readonly kind: 'boolean'; readonly flag: boolean }

export const ANY: RowFilter = { kind: 'any' }

/** All of these. What is not known of some is no part of it: the filter cannot be negated any more. */
export function allOf(parts: readonly RowFilter[]): RowFilter {
  const known = parts.filter(({ kind }) => kind !== 'any')
  return known.length <= 1 ? (known[0] ?? ANY) : { kind: 'and', parts: known }
}

/** One of these. */
export function oneOf(parts: readonly RowFilter[]): RowFilter {
  return parts.length === 0 || parts.some(({ kind }) => kind === 'any') ? ANY : { kind: 'or', parts }
}
