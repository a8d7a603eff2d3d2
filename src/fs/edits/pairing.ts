import { fieldEnd } from '../../columns/text/csv.ts'
import type { Schema } from '../../columns/types.ts'
import type { Text } from '../text/text.ts'
import type { TextRange } from './diff.ts'
import { matchRows, type RowHash } from './multiset.ts'
import { hashRow } from './row-hash.ts'

const INTEGERS: ReadonlySet<string> = new Set(['byte', 'short', 'integer', 'long'])

/** How the rows of an edit are counted in its commit. */
export interface EditCounts {
  readonly updated: number
  readonly inserted: number
  readonly deleted: number
}

/**
 * Tells how many of the rows that an edit takes away come back changed: those whose key comes back, each as often as it
 * is on both sides. The key is the column named `id`, else the first integer column; in a table without one, as many as
 * come are taken to be changed. Only the numbers in the history depend on it: what is removed and added is known without.
 * Both texts are CSV of `schema`, in the form in which posixlake writes it.
 */
export async function countChanges(
  schema: Schema,
  base: Text,
  removed: { readonly ranges: readonly TextRange[]; readonly rows: number },
  source: Text,
  added: { readonly ranges: readonly TextRange[]; readonly rows: number },
): Promise<EditCounts> {
  let updated = Math.min(removed.rows, added.rows)
  const key = keyColumn(schema)
  if (updated > 0 && key >= 0) {
    updated = (await matchRows(base, removed.ranges, source, added.ranges, hashOfField(key))).a.count
  }
  return { updated, inserted: added.rows - updated, deleted: removed.rows - updated }
}

function keyColumn(schema: Schema): number {
  const named = schema.findIndex(field => field.name === 'id')
  return named >= 0 ? named : schema.findIndex(field => INTEGERS.has(field.type.kind))
}

/** Takes the field number `column` of a row for the row; NULL is no key. */
function hashOfField(column: number): RowHash {
  return (bytes, start, end, out) => {
    let at = start
    for (let skipped = 0; skipped < column; skipped++) at = fieldEnd(bytes, at) + 1
    const stop = Math.min(fieldEnd(bytes, at), end)
    if (stop <= at) return false
    hashRow(bytes, at, stop, out)
    return true
  }
}
