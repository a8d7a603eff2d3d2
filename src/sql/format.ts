import { csvHeader, renderCsv } from '../columns/text/csv.ts'
import { renderJsonArrayRows, renderJsonLines } from '../columns/text/json.ts'
import type { SqlResult } from './engine.ts'

/** How the rows of a result are written as text. */
export type ResultFormat = 'csv' | 'json' | 'jsonl'

/** A result as text, piece by piece: CSV with its header, one JSON array, or a JSON object a line. */
export function resultText(result: SqlResult, format: ResultFormat): AsyncGenerator<Uint8Array> {
  switch (format) {
    case 'csv':
      return csvOf(result)
    case 'json':
      return jsonArrayOf(result)
    case 'jsonl':
      return jsonLinesOf(result)
  }
}

/** A result as CSV, its header first. */
export async function* csvOf({ schema, batches }: SqlResult): AsyncGenerator<Uint8Array> {
  yield csvHeader(schema)
  for await (const batch of batches()) yield renderCsv(batch, schema).bytes
}

async function* jsonLinesOf({ schema, batches }: SqlResult): AsyncGenerator<Uint8Array> {
  for await (const batch of batches()) yield renderJsonLines(batch, schema).bytes
}

async function* jsonArrayOf({ schema, batches }: SqlResult): AsyncGenerator<Uint8Array> {
  let first = true
  for await (const batch of batches()) {
    const { bytes } = renderJsonArrayRows(batch, schema)
    // Each row begins with a comma; the first one's is the bracket.
    if (first) bytes[0] = '['.charCodeAt(0)
    first = false
    yield bytes
  }
  yield new TextEncoder().encode(first ? '[]\n' : ']\n')
}

/** What a changing statement did, as a result of one row. */
export function changesText(
  { inserted, updated, deleted }: { inserted: number; updated: number; deleted: number },
  format: ResultFormat,
): Uint8Array {
  const object = JSON.stringify({ inserted, updated, deleted })
  const text = {
    csv: `inserted,updated,deleted\n${inserted},${updated},${deleted}\n`,
    json: `[${object}]\n`,
    jsonl: `${object}\n`,
  }[format]
  return new TextEncoder().encode(text)
}
