import { parseJsonLines, renderJsonLines } from '../json.ts'
import { JsonInference } from '../json-infer.ts'
import { jsonFieldEnd, jsonValueStart, lastJsonRowEnd } from '../json-rows.ts'
import { jsonLinesSize } from '../sizes.ts'
import type { TextFormat } from './format.ts'
import { everyLine } from './lines.ts'

const NULL = new TextEncoder().encode('null')

/** A JSON object a line; programs may write one over several lines. */
export const jsonLines: TextFormat<'jsonl'> = {
  name: 'jsonl',
  header: () => new Uint8Array(0),
  render: renderJsonLines,
  measure: jsonLinesSize,
  nullsSize: added => added.reduce((sum, field) => sum + Buffer.byteLength(`,${JSON.stringify(field.name)}:null`), 0),
  namesInRows: true,
  cut: everyLine,
  frame: undefined,
  recorded: { size: 'jsonl', perRow: 0 },
  input: {
    parse: parseJsonLines,
    lastRowEnd: lastJsonRowEnd,
    fieldCut: column => (bytes, start, end, field) => {
      let at = start + 1
      for (let skipped = 0; skipped < column; skipped++) at = jsonFieldEnd(bytes, at) + 1
      const from = jsonValueStart(bytes, at)
      const stop = Math.min(jsonFieldEnd(bytes, at), end)
      if (Buffer.compare(bytes.subarray(from, stop), NULL) === 0) return false
      field.start = from
      field.end = stop
      return true
    },
    spansCuts: true,
    naming: { by: 'row', infer: known => new JsonInference(known) },
  },
}
