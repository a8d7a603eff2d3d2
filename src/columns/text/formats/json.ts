import { renderJsonArrayRows } from '../json.ts'
import type { TextFormat } from './format.ts'
import { jsonLines } from './json-lines.ts'
import { everyLine } from './lines.ts'

const encoder = new TextEncoder()
/** The comma in front of each row. */
const COMMA_BYTES = 1

/** One JSON array, an object a line: JSON lines with a comma in front of each, the first of which is the bracket. */
export const json: TextFormat<'json'> = {
  name: 'json',
  header: jsonLines.header,
  render: renderJsonArrayRows,
  measure: (batch, schema) => jsonLines.measure(batch, schema) + batch.rows * COMMA_BYTES,
  nullsSize: jsonLines.nullsSize,
  namesInRows: true,
  cut: everyLine,
  frame: { open: '['.charCodeAt(0), end: encoder.encode(']\n'), empty: encoder.encode('[]\n') },
  recorded: { size: 'jsonl', perRow: COMMA_BYTES },
  input: undefined,
}
