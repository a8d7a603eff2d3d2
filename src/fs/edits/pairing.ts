import { type FieldCut, inputOf, type TextFormat } from '../../columns/text/formats/index.ts'
import type { Schema } from '../../columns/types.ts'
import type { ByteRange } from '../text/layout.ts'
import type { Text } from '../text/text.ts'
import { matchRows, type RowHash } from './multiset.ts'
import { hashRow } from './row-hash.ts'

const INTEGERS: ReadonlySet<string> = new Set(['byte', 'short', 'integer', 'long'])

/** The numbers of changed rows in the commit of an edit. */
export interface EditCounts {
  readonly updated: number
  readonly inserted: number
  readonly deleted: number
}

/**
 * Tells how many of the rows that an edit takes away come back changed: those whose key comes back, each as often as it
 * is on both sides. The key is the column named `id`, else the first integer column; in a table without one, as many as
 * come are taken to be changed. Only the numbers in the history and the change data feed depend on it: what is removed and added is known without.
 * Both texts are rows of `schema` in a format, as posixlake writes it.
 */
export async function countChanges(
  format: TextFormat,
  schema: Schema,
  base: Text,
  removed: { readonly ranges: readonly ByteRange[]; readonly rows: number },
  source: Text,
  added: { readonly ranges: readonly ByteRange[]; readonly rows: number },
): Promise<EditCounts> {
  let updated = Math.min(removed.rows, added.rows)
  const key = keyColumn(schema)
  if (updated > 0 && key >= 0) {
    const hashOf = hashOfField(inputOf(format).fieldCut(key))
    updated = (await matchRows(base, removed.ranges, source, added.ranges, format.cut, hashOf)).a.count
  }
  return { updated, inserted: added.rows - updated, deleted: removed.rows - updated }
}

/** Takes one field of a row for the row; NULL has no partner. */
function hashOfField(cut: FieldCut): RowHash {
  const field = { start: 0, end: 0 }
  return (bytes, start, end, out) => {
    if (!cut(bytes, start, end, field)) return false
    hashRow(bytes, field.start, field.end, out)
    return true
  }
}

/** The index of the column whose values tell rows apart, or -1. */
export function keyColumn(schema: Schema): number {
  const named = schema.findIndex(field => field.name === 'id')
  return named >= 0 ? named : schema.findIndex(field => INTEGERS.has(field.type.kind))
}
