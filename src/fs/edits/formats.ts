import { csvHeader, fieldEnd, lastRowEnd, parseCsv, renderCsv } from '../../columns/text/csv.ts'
import { parseJsonLines, renderJsonLines } from '../../columns/text/json.ts'
import { jsonFieldEnd, jsonValueStart, lastJsonRowEnd } from '../../columns/text/json-rows.ts'
import type { RenderedText } from '../../columns/text/rendered.ts'
import type { Batch, Field, Schema } from '../../columns/types.ts'
import { ROW_CUTS, type RowCut } from '../text/rows.ts'
import type { TextFormat } from '../text/segments.ts'
import type { RowHash } from './multiset.ts'
import { hashRow } from './row-hash.ts'

export interface ParseRowsOptions {
  /** The line at which the bytes begin. */
  readonly firstLine: number
  /** Takes the names of the columns that the rows have. */
  readonly seen?: Set<string> | undefined
}

/** The form in which an editable view shows its rows, and what programs may write in its place. */
export interface EditFormat {
  readonly name: 'csv' | 'jsonl'
  /** Cuts rows as they are shown. */
  readonly cut: RowCut
  /** What stands in front of the rows. */
  header(schema: Schema): Uint8Array
  /** Rows as they are shown. */
  render(batch: Batch, schema: Schema): RenderedText
  /** Takes rows in any spelling. TextError names the line, and the column where there is one. */
  parse(bytes: Uint8Array, fields: readonly Field[], options: ParseRowsOptions): Batch
  /** Behind the last whole row in bytes that begin with one, in any spelling; 0: none is whole. */
  lastRowEnd(bytes: Uint8Array): number
  /** Takes the field number `column` of a row as it is shown for the row; NULL has no partner. */
  hashOfField(column: number): RowHash
}

const csv: EditFormat = {
  name: 'csv',
  cut: ROW_CUTS.csv,
  header: csvHeader,
  render: renderCsv,
  parse: (bytes, fields, { firstLine, seen }) => {
    for (const { name } of fields) seen?.add(name)
    return parseCsv(bytes, fields, { firstLine })
  },
  lastRowEnd,
  hashOfField: column => (bytes, start, end, out) => {
    let at = start
    for (let skipped = 0; skipped < column; skipped++) at = fieldEnd(bytes, at) + 1
    const stop = Math.min(fieldEnd(bytes, at), end)
    if (stop <= at) return false
    hashRow(bytes, at, stop, out)
    return true
  },
}

const NULL = new TextEncoder().encode('null')

const jsonl: EditFormat = {
  name: 'jsonl',
  cut: ROW_CUTS.jsonl,
  header: () => new Uint8Array(0),
  render: renderJsonLines,
  parse: (bytes, fields, { firstLine, seen }) =>
    parseJsonLines(bytes, fields, seen === undefined ? { firstLine } : { firstLine, seen }),
  lastRowEnd: lastJsonRowEnd,
  hashOfField: column => (bytes, start, end, out) => {
    let at = start + 1
    for (let skipped = 0; skipped < column; skipped++) at = jsonFieldEnd(bytes, at) + 1
    const from = jsonValueStart(bytes, at)
    const stop = Math.min(jsonFieldEnd(bytes, at), end)
    if (Buffer.compare(bytes.subarray(from, stop), NULL) === 0) return false
    hashRow(bytes, from, stop, out)
    return true
  },
}

/** The format of a view that can be edited. */
export function editFormat(format: TextFormat): EditFormat {
  if (format === 'json') throw new Error('data.json is read-only')
  return format === 'csv' ? csv : jsonl
}
