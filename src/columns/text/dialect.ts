import Papa from 'papaparse'

/** What stands between fields in files of other programs, the likeliest first. */
const DELIMITERS = [',', ';', '\t', '|']
const ROWS_LOOKED_AT = 200

/**
 * The byte between the fields of a CSV text, by its first rows: a header and what of the rows is given, cut off at a row
 * end. The first of comma, semicolon, tab and bar that splits all of them into the same number of fields, more than one; a
 * comma where none does, so that what is wrong is told as it is.
 */
export function delimiterOf(head: Uint8Array): number {
  const text = new TextDecoder().decode(head)
  const found = DELIMITERS.find(delimiter => splitsEvenly(text, delimiter))
  return (found ?? ',').charCodeAt(0)
}

function splitsEvenly(text: string, delimiter: string): boolean {
  const { data, errors } = Papa.parse<string[]>(text, { delimiter, preview: ROWS_LOOKED_AT, skipEmptyLines: true })
  const fields = data[0]?.length ?? 0
  return fields > 1 && errors.length === 0 && data.every(row => row.length === fields)
}
