import { fieldEnd, lastRowEnd, parseCsv, parseHeader, rowEnd } from '../csv.ts'
import { csvHeader, renderCsv } from '../csv-render.ts'
import { SchemaInference } from '../infer.ts'
import { csvSize } from '../sizes.ts'
import type { TextFormat } from './format.ts'
import { everyLine } from './lines.ts'

const QUOTE = 0x22

/** RFC 4180: a header line, then a line a row; a row may hold a newline, in quotes. */
export const csv: TextFormat<'csv'> = {
  name: 'csv',
  header: csvHeader,
  render: renderCsv,
  measure: csvSize,
  nullsSize: added => added.length,
  namesInRows: false,
  cut: bytes => (bytes.includes(QUOTE) ? start => rowEnd(bytes, start) : everyLine(bytes)),
  frame: undefined,
  recorded: { size: 'csv', perRow: 0 },
  input: {
    parse: (bytes, fields, options = {}) => {
      for (const { name } of fields) options.seen?.add(name)
      return parseCsv(bytes, fields, options)
    },
    lastRowEnd,
    fieldCut: column => (bytes, start, end, field) => {
      let at = start
      for (let skipped = 0; skipped < column; skipped++) at = fieldEnd(bytes, at) + 1
      const stop = Math.min(fieldEnd(bytes, at), end)
      if (stop <= at) return false
      field.start = at
      field.end = stop
      return true
    },
    spansCuts: false,
    naming: { by: 'header', parse: parseHeader, infer: names => new SchemaInference(names) },
  },
}
