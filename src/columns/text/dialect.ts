import Papa from 'papaparse'
import { type Dialect, papaConfig, RFC_4180 } from './foreign-csv.ts'

const QUOTE = 0x22
const LF = 0x0a
const CR = 0x0d

/** The delimiters in files of other programs, the likeliest first. */
const DELIMITERS = [',', ';', '\t', '|']
const ROWS_LOOKED_AT = 200

/**
 * Returns the delimiter of a CSV text, by its first rows: a header and what of the rows is given, cut off at a row
 * end. The first of comma, semicolon, tab and bar that splits all of them into the same number of fields, more than one; a
 * comma where none does, so that what is wrong is told as it is. `dialect`: how it is written otherwise.
 */
export function delimiterOf(head: Uint8Array, dialect: Omit<Dialect, 'delimiter'> = RFC_4180): string {
  const text = new TextDecoder().decode(head)
  return DELIMITERS.find(delimiter => splitsEvenly(text, { ...dialect, delimiter })) ?? ','
}

/**
 * True if lines end in CR alone (as on old Macs), by the first line end outside of quotes. In other texts a CR within a
 * line is part of a field.
 */
export function endsInCr(head: Uint8Array, delimiter?: number): boolean {
  for (const { end, byte } of lineBreaks(head, delimiter)) {
    if (byte === LF || head[end] === LF) return false
    return end < head.length
  }
  return false
}

/**
 * Makes each CR that ends a line an LF, in place, in rows from the first on: every byte stays where it is, so that CR LF is
 * left as it is. CRs at the end of `bytes` wait for what follows, unless it is the end of the text (`isEnd`).
 */
export function crToLf(bytes: Uint8Array, isEnd: boolean, delimiter?: number): void {
  for (const { start, end, byte } of lineBreaks(bytes, delimiter)) {
    if (byte === CR && bytes[end] !== LF && (end < bytes.length || isEnd)) bytes.fill(LF, start, end)
  }
}

/** The runs of CR, and the LFs, outside of quotes. A quote opens at the start of a field only. */
function* lineBreaks(
  bytes: Uint8Array,
  delimiter: number | undefined,
): Generator<{ start: number; end: number; byte: number }> {
  const delimiters = delimiter === undefined ? DELIMITERS.map(mark => mark.charCodeAt(0)) : [delimiter]
  let fieldStart = true
  for (let at = 0; at < bytes.length; ) {
    const byte = bytes[at]!
    if (byte === QUOTE && fieldStart) {
      let close = bytes.indexOf(QUOTE, at + 1)
      while (close >= 0 && bytes[close + 1] === QUOTE) close = bytes.indexOf(QUOTE, close + 2)
      if (close < 0) return
      at = close + 1
      fieldStart = false
      continue
    }
    const start = at++
    if (byte === CR) while (bytes[at] === CR) at++
    const isBreak = byte === CR || byte === LF
    fieldStart = isBreak || delimiters.includes(byte)
    if (isBreak) yield { start, end: at, byte }
  }
}

function splitsEvenly(text: string, dialect: Dialect): boolean {
  const { data, errors } = Papa.parse<string[]>(text, {
    ...papaConfig(dialect),
    preview: ROWS_LOOKED_AT,
    skipEmptyLines: true,
  })
  const fields = data[0]?.length ?? 0
  return fields > 1 && errors.length === 0 && data.every(row => row.length === fields)
}
