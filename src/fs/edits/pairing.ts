import type { Schema } from '../../columns/types.ts'
import type { ByteRange } from '../text/layout.ts'
import type { Text } from '../text/text.ts'
import type { EditFormat } from './formats.ts'
import { matchRows } from './multiset.ts'

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
 * come are taken to be changed. Only the numbers in the history depend on it: what is removed and added is known without.
 * Both texts are rows of `schema` in a format, as posixlake writes it.
 */
export async function countChanges(
  format: EditFormat,
  schema: Schema,
  base: Text,
  removed: { readonly ranges: readonly ByteRange[]; readonly rows: number },
  source: Text,
  added: { readonly ranges: readonly ByteRange[]; readonly rows: number },
): Promise<EditCounts> {
  let updated = Math.min(removed.rows, added.rows)
  const key = keyColumn(schema)
  if (updated > 0 && key >= 0) {
    updated = (await matchRows(base, removed.ranges, source, added.ranges, format.cut, format.hashOfField(key))).a.count
  }
  return { updated, inserted: added.rows - updated, deleted: removed.rows - updated }
}

function keyColumn(schema: Schema): number {
  const named = schema.findIndex(field => field.name === 'id')
  return named >= 0 ? named : schema.findIndex(field => INTEGERS.has(field.type.kind))
}
