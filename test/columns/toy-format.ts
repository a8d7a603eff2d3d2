import { TextError } from '../../src/columns/errors.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import type { TextFormat } from '../../src/columns/text/formats/index.ts'
import { cellFromJson, cellToJson, parseExactJson } from '../../src/columns/text/json.ts'
import { ROW_INDEX_STRIDE } from '../../src/columns/text/rendered.ts'
import type { Batch, Schema } from '../../src/columns/types.ts'
import { batchOf, cellAt } from '../../src/columns/vectors.ts'
import { decode, encode } from './values.ts'

const LF = 0x0a
const TAB = 0x09

function rowsOf(batch: Batch, schema: Schema): Uint8Array[] {
  return Array.from({ length: batch.rows }, (_, row) => {
    const cells = schema.map(({ type }, i) => cellToJson(cellAt(batch.vectors[i]!, row), type))
    return encode(`${cells.join('\t')}\n`)
  })
}

/** A text form that posixlake has not: JSON values with tabs between them, under a line of names. Nothing but this says what it is. */
export const tabbed: TextFormat<'tabbed'> = {
  name: 'tabbed',
  header: schema => encode(`${schema.map(field => JSON.stringify(field.name)).join('\t')}\n`),
  render: (batch, schema) => {
    const rows = rowsOf(batch, schema)
    const index: number[] = []
    let at = 0
    for (const [row, bytes] of rows.entries()) {
      if (row % ROW_INDEX_STRIDE === 0) index.push(at)
      at += bytes.length
    }
    return { bytes: new Uint8Array(Buffer.concat(rows)), rows: batch.rows, index: Uint32Array.from(index) }
  },
  measure: (batch, schema) => rowsOf(batch, schema).reduce((sum, { length }) => sum + length, 0),
  nullsSize: added => added.length * '\tnull'.length,
  namesInRows: false,
  cut: bytes => start => bytes.indexOf(LF, start) + 1,
  frame: undefined,
  recorded: undefined,
  input: {
    parse: (bytes, fields, { firstLine = 1, seen } = {}) => {
      for (const { name } of fields) seen?.add(name)
      const lines = decode(bytes)
        .split('\n')
        .filter(line => line !== '')
      const cells = lines.map((line, i) =>
        line.split('\t').map((text, column) => {
          try {
            return cellFromJson(parseExactJson(text), fields[column]!.type)
          } catch (cause) {
            const at = { line: firstLine + i, column: fields[column]?.name ?? '' }
            throw new TextError('bad_value', `line ${at.line}, column ${at.column}: ${text}`, { ...at, cause })
          }
        }),
      )
      return batchOf(
        fields.map(({ type }) => type),
        cells,
      )
    },
    lastRowEnd: bytes => bytes.lastIndexOf(LF) + 1,
    fieldCut: column => (bytes, start, end, field) => {
      let from = start
      for (let skipped = 0; skipped < column; skipped++) from = bytes.indexOf(TAB, from) + 1
      const tab = bytes.indexOf(TAB, from)
      const to = tab < 0 || tab >= end ? bytes.indexOf(LF, from) : tab
      if (decode(bytes.subarray(from, to)) === 'null') return false
      field.start = from
      field.end = to
      return true
    },
    spansCuts: false,
    naming: {
      by: 'header',
      parse: bytes => {
        const endOffset = bytes.indexOf(LF) + 1
        try {
          const names = decode(bytes.subarray(0, endOffset - 1)).split('\t')
          return { names: names.map(name => JSON.parse(name) as string), endOffset }
        } catch (cause) {
          throw new TextError('bad_header', 'line 1: these are no names', { line: 1, cause })
        }
      },
      infer: names => ({
        feed: () => undefined,
        result: () => names.map(name => ({ ...parseDdl('x:String')[0]!, name })),
      }),
    },
  },
}
