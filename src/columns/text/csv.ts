import { TextError } from '../errors.ts'
import { nameFault } from '../schema.ts'
import type { Field, Schema } from '../types.ts'
import { quoteFrom } from './csv-parse.ts'
import { decodeText } from './json.ts'

export { countLines, parseCsv } from './csv-parse.ts'
export { csvHeader, renderCsv } from './csv-render.ts'
export { crToLf, delimiterOf, endsInCr } from './dialect.ts'
export { type Dialect, ForeignCsv, isPlain, RFC_4180 } from './foreign-csv.ts'
export { SchemaInference } from './infer.ts'
export { type RenderedText, ROW_INDEX_STRIDE, TEXT_FORMAT_VERSION } from './rendered.ts'

const QUOTE = 0x22
const COMMA = 0x2c
const LF = 0x0a

/**
 * The offset just behind the row that starts at `start`, its newline included, or -1 if the row is not complete. A quote
 * opens only at the start of a field, as in RFC 4180.
 */
export function rowEnd(bytes: Uint8Array, start: number, delimiter = COMMA): number {
  const { length } = bytes
  let fieldStart = true
  for (let at = start; at < length; ) {
    const byte = bytes[at]!
    if (byte === LF) return at + 1
    if (byte === QUOTE && fieldStart) {
      at = quotedEnd(bytes, at)
      if (at < 0) return -1
      fieldStart = false
      continue
    }
    fieldStart = byte === delimiter
    at++
  }
  return -1
}

/** The offset of the comma or newline that ends the field which starts at `start`, or the end of the text. */
export function fieldEnd(bytes: Uint8Array, start: number): number {
  if (bytes[start] === QUOTE) {
    const end = quotedEnd(bytes, start)
    return end < 0 ? bytes.length : end
  }
  let at = start
  while (at < bytes.length && bytes[at] !== COMMA && bytes[at] !== LF) at++
  return at
}

/** The place behind the closing quote of the field that opens at `open`, or -1. */
function quotedEnd(bytes: Uint8Array, open: number): number {
  let end = quoteFrom(bytes, open + 1)
  while (end >= 0 && bytes[end + 1] === QUOTE) end = quoteFrom(bytes, end + 2)
  return end < 0 ? -1 : end + 1
}

/** The offset behind the last complete row of a text that starts at a row. Steps from quote to quote. */
export function lastRowEnd(bytes: Uint8Array, delimiter = COMMA): number {
  let last = 0
  let outside = 0
  for (let quote = bytes.indexOf(QUOTE); quote >= 0; ) {
    const before = bytes[quote - 1]
    const opens = quote > outside ? before === delimiter || before === LF : quote === 0
    if (!opens) {
      quote = quoteFrom(bytes, quote + 1)
      continue
    }
    last = lineEnd(bytes, outside, quote) ?? last
    outside = quotedEnd(bytes, quote)
    if (outside < 0) return last
    quote = quoteFrom(bytes, outside)
  }
  return lineEnd(bytes, outside, bytes.length) ?? last
}

/** The offset behind the last newline in bytes [start, end). */
function lineEnd(bytes: Uint8Array, start: number, end: number): number | undefined {
  for (let at = end; at > start; at--) if (bytes[at - 1] === LF) return at
  return undefined
}

/** The column names of the first line (a byte-order mark is none of them), and where the rows begin. TextError `bad_header`. */
export function parseHeader(bytes: Uint8Array, delimiter = COMMA): { names: string[]; endOffset: number } {
  const start = textStart(bytes)
  const end = rowEnd(bytes, start, delimiter)
  const stop = end < 0 ? bytes.length : end
  const line = decodeText(bytes.subarray(start, stop), 1).replace(/\r*\n$|\r+$/, '')
  const names = splitHeader(line, delimiter)
  checkNames(names)
  return { names, endOffset: stop }
}

function checkNames(names: readonly string[]): void {
  const fault = nameFault(names)
  if (fault !== undefined) throw new TextError('bad_header', `line 1: ${fault}`, { line: 1 })
}

/** Behind a byte-order mark, if there is one. */
export function textStart(bytes: Uint8Array): number {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0
}

function splitHeader(line: string, delimiter: number): string[] {
  const names: string[] = []
  const mark = `\\x${delimiter.toString(16).padStart(2, '0')}`
  const field = new RegExp(`(?:"((?:[^"]|"")*)"|((?!")[^${mark}]*))(${mark}|$)`, 'y')
  for (;;) {
    const match = field.exec(line)
    if (match === null) {
      const message = 'line 1: a quote is opened and not closed, or text follows the closing quote'
      throw new TextError('bad_header', message, { line: 1 })
    }
    if (match[2]?.includes('\r') === true) {
      const message = 'line 1: a carriage return (CR) stands inside the line; lines have to end in LF or CR LF'
      throw new TextError('bad_header', message, { line: 1 })
    }
    names.push(match[1] === undefined ? match[2]!.trim() : match[1].replaceAll('""', '"'))
    if (match[3] === '') return names
  }
}

export interface MatchedHeader {
  /** The known columns in the text's order. */
  readonly fields: readonly Field[]
  /** Names that the schema has not. */
  readonly added: readonly string[]
  /** Columns of the schema that the text has not. */
  readonly missing: readonly string[]
}

/**
 * Sets a header beside a schema; undefined if it shares no name with it, and so is no header of this table. TextError
 * `bad_header` if it has a new column by a name of the schema in another case.
 */
export function matchHeader(names: readonly string[], schema: Schema): MatchedHeader | undefined {
  const fields = names.flatMap(name => schema.find(field => field.name === name) ?? [])
  if (fields.length === 0) return undefined
  const missing = schema.filter(field => !names.includes(field.name))
  const added = names.filter(name => !schema.some(field => field.name === name))
  if (added.length > 0) checkNames([...schema.map(({ name }) => name), ...added])
  return {
    fields,
    added,
    missing: missing.map(field => field.name),
  }
}
