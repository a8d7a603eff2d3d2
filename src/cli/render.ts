import { cellToJson } from '../columns/text/json.ts'
import { formatScalar } from '../columns/text/scalars.ts'
import type { Batch, Cell, DataType, Schema } from '../columns/types.ts'
import { cellAt } from '../columns/vectors.ts'

/** Widths are measured on this many rows; later ones that are wider stick out. */
const ROWS_MEASURED = 1000
const GAP = '  '
const WIDTH_MIN = 4

export interface TableColumn {
  readonly name: string
  readonly alignRight?: boolean
}

export interface TableOptions {
  /** Columns of the terminal that the table has to fit in; undefined: nothing is cut. */
  readonly width: number | undefined
}

/** The width to fit tables into: that of the terminal, or COLUMNS in its place; none when standard output is piped. */
export function outputWidth(): number | undefined {
  if (!process.stdout.isTTY) return undefined
  const wanted = Number(process.env['COLUMNS'])
  return Number.isSafeInteger(wanted) && wanted > 0 ? wanted : process.stdout.columns || undefined
}

/** Rows of text as a table: a header, then a line for each row. */
export async function* renderTable(
  columns: readonly TableColumn[],
  rows: AsyncIterable<readonly string[]> | Iterable<readonly string[]>,
  options: TableOptions,
): AsyncGenerator<string> {
  let waiting: (readonly string[])[] | undefined = []
  let widths: number[] = []
  const line = (cells: readonly string[]): string => {
    const texts = cells.map((cell, i) =>
      fitted(cell, widths[i]!, columns[i]!.alignRight === true, options.width !== undefined),
    )
    return `${texts.join(GAP).trimEnd()}\n`
  }
  const begin = function* (first: readonly (readonly string[])[]): Generator<string> {
    widths = widthsOf(columns, first, options.width)
    yield line(columns.map(({ name }) => name))
    for (const row of first) yield line(row)
  }
  for await (const row of rows) {
    if (waiting === undefined) yield line(row)
    else if (waiting.push(row) === ROWS_MEASURED) {
      yield* begin(waiting)
      waiting = undefined
    }
  }
  if (waiting !== undefined) yield* begin(waiting)
}

function widthsOf(
  columns: readonly TableColumn[],
  rows: readonly (readonly string[])[],
  width: number | undefined,
): number[] {
  const widths = columns.map(({ name }, i) =>
    rows.reduce((most, row) => Math.max(most, Bun.stringWidth(row[i]!)), Bun.stringWidth(name)),
  )
  if (width === undefined) return widths
  // The widest columns give way first.
  let excess = widths.reduce((sum, one) => sum + one, 0) + GAP.length * (columns.length - 1) - width
  while (excess > 0) {
    const widest = Math.max(...widths)
    if (widest <= WIDTH_MIN) break
    widths[widths.indexOf(widest)] = widest - 1
    excess--
  }
  return widths
}

function fitted(text: string, width: number, alignRight: boolean, cut: boolean): string {
  const own = Bun.stringWidth(text)
  if (own > width && cut) return fitted(shortened(text, width), width, alignRight, false)
  const space = ' '.repeat(Math.max(0, width - own))
  return alignRight ? space + text : text + space
}

function shortened(text: string, width: number): string {
  let kept = ''
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    if (Bun.stringWidth(kept + segment) > width - 1) break
    kept += segment
  }
  return `${kept}…`
}

/** A value for people: as in CSV, NULL spelled out, control characters made visible. */
export function cellText(cell: Cell, type: DataType): string {
  if (cell === null) return 'NULL'
  const nested = type.kind === 'struct' || type.kind === 'array' || type.kind === 'map'
  const text = nested ? cellToJson(cell, type) : formatScalar(cell, type)
  return visible(text)
}

/** Text with its control characters spelled out: they could rewrite what a terminal shows. */
export function visible(text: string): string {
  return text.replace(/\p{Cc}/gu, char =>
    char === '\n' ? '\\n' : char === '\t' ? '\\t' : `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

/** A result's rows as texts. */
export async function* rowTexts(schema: Schema, batches: AsyncIterable<Batch>): AsyncGenerator<string[]> {
  for await (const batch of batches) {
    for (let row = 0; row < batch.rows; row++)
      yield schema.map((field, i) => cellText(cellAt(batch.vectors[i]!, row), field.type))
  }
}

const NUMERIC = new Set(['byte', 'short', 'integer', 'long', 'float', 'double', 'decimal'])

export function tableColumns(schema: Schema): TableColumn[] {
  return schema.map(({ name, type }) => ({ name: visible(name), alignRight: NUMERIC.has(type.kind) }))
}

export function megabytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  const units = ['kB', 'MB', 'GB', 'TB']
  let value = bytes / 1000
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`
}
