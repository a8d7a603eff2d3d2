import { TextError } from '../../columns/errors.ts'
import { isSameName } from '../../columns/schema.ts'
import { matchHeader, textStart } from '../../columns/text/csv.ts'
import {
  type HeaderNaming,
  inputOf,
  type RowNaming,
  type TextInput,
  type TypeInference,
} from '../../columns/text/formats/index.ts'
import type { Field, Schema } from '../../columns/types.ts'
import { isNullAt } from '../../columns/vectors.ts'
import { withPhysicalNames } from '../../table/column-mapping.ts'
import { defaultCell } from '../../table/defaults.ts'
import { generationOf } from '../../table/rules/rules.ts'
import type { ByteRange, TableText } from '../text/layout.ts'
import { isAt, lineOf, type Text } from '../text/text.ts'
import { parsedPieces, rowPieces, withLines } from './pieces.ts'

const HEADER_BYTES_MAX = 1 << 20

/** The columns of written rows. */
export interface Columns {
  /** Of the rows in their order, or all that a row may name where each names its own. */
  readonly fields: readonly Field[]
  /** The table's columns from now on, if there are new ones. */
  readonly schema: Schema | undefined
  /** The start of the rows. */
  readonly bodyStart: number
  /** The lines that name the columns, wherever they come: none of them is a row. */
  readonly headers: readonly Uint8Array[]
}

/** The first line of an image. */
export interface Head {
  /** The columns that it names; none in a form whose rows do. */
  readonly names: readonly string[]
  readonly bodyStart: number
  readonly headers: readonly Uint8Array[]
  /** It is the base's, byte for byte but for a byte-order mark, CR LF and quoting. */
  readonly asBefore: boolean
}

/** Reads the header of an image that is not empty. TextError `bad_header`. */
export async function readHead(base: TableText, image: Text): Promise<Head> {
  const { naming } = inputOf(base.format)
  if (naming.by === 'row') return { names: [], bodyStart: 0, headers: [], asBefore: true }
  const { schema } = base.snapshot
  const expected = base.headerBytes
  const isSame = expected.length > 0 && (await isAt(image, 0, expected))
  const first = isSame ? expected : await image.read(0, Math.min(image.size, HEADER_BYTES_MAX))
  const { names, endOffset } = naming.parse(first)
  const sameNames = names.length === schema.length && names.every((name, i) => name === schema[i]?.name)
  const headers = [first.slice(0, endOffset)]
  return { names, bodyStart: endOffset, headers, asBefore: sameNames && schema.length > 0 }
}

/** The columns of an image that is not as before, or some of whose rows name new ones. TextError if it cannot be this table's. */
export async function columnsOfImage(base: TableText, image: Text, head: Head): Promise<Columns> {
  const rows = { start: head.bodyStart, end: image.size }
  const { naming } = inputOf(base.format)
  if (naming.by === 'row') return columnsOfRows(base, image, naming, rows)
  const { schema } = base.snapshot
  const isHeader = schema.length === 0 || head.names.some(name => schema.some(field => field.name === name))
  if (isHeader) checkNames(head.names, schema, 'line 1: the column')
  if (schema.length > 0 && matchHeader(head.names, schema) === undefined) {
    const expected = new TextDecoder().decode(base.headerBytes).trimEnd()
    throw new TextError('bad_header', `line 1: this is not the table's header; expected ${expected}`, { line: 1 })
  }
  if (rows.start < rows.end) await refuseLoss(base, new Set(head.names))
  return columnsOfHeader(base, image, naming, head.names, rows, head.headers)
}

/** The columns of rows that are put behind a text, by a header of their own where they begin with one. */
export async function columnsOfAppended(base: TableText, image: Text, head: Head, range: ByteRange): Promise<Columns> {
  const { schema } = base.snapshot
  const asBefore = { fields: schema, schema: undefined, bodyStart: range.start, headers: head.headers }
  const input = inputOf(base.format)
  if (input.naming.by === 'row') return asBefore
  const first = await image.read(range.start, Math.min(range.end, range.start + HEADER_BYTES_MAX))
  const header = ownHeader(input, input.naming, first, schema)
  if (header === undefined || header.endOffset === range.end - range.start) return asBefore
  const line = await lineOf(image, range.start)
  checkNames(header.names, schema, `line ${line}: the column`)
  matchHeader(header.names, schema)
  const rows = { start: range.start + header.endOffset, end: range.end }
  const headers = [...head.headers, first.slice(0, header.endOffset)]
  return columnsOfHeader(base, image, input.naming, header.names, rows, headers)
}

/**
 * The header in front of appended rows, where it is another one than the table's (`cat other.csv >> data.csv`). It names
 * columns of the table only, or all of them and new ones; and it could not be a row.
 */
function ownHeader(
  input: TextInput,
  naming: HeaderNaming,
  rows: Uint8Array,
  schema: Schema,
): { names: string[]; endOffset: number } | undefined {
  try {
    const header = naming.parse(rows)
    const { names, endOffset } = header
    const isKnown = names.every(name => schema.some(field => field.name === name))
    const isWhole = schema.every(field => names.includes(field.name))
    if (!isKnown && !isWhole) return undefined
    return isRow(input, rows.subarray(0, endOffset), schema) ? undefined : header
  } catch (error) {
    if (error instanceof TextError) return undefined
    throw error
  }
}

function isRow(input: TextInput, line: Uint8Array, schema: Schema): boolean {
  try {
    input.parse(line, schema, { missing: defaultCell })
    return true
  } catch {
    return false
  }
}

async function columnsOfHeader(
  base: TableText,
  image: Text,
  naming: HeaderNaming,
  names: readonly string[],
  rows: ByteRange,
  headers: readonly Uint8Array[],
): Promise<Columns> {
  const known = base.snapshot.schema
  const isNew = (name: string): boolean => !known.some(field => field.name === name)
  const types = names.some(isNew) ? await typesOf(base, image, rows, naming.infer(names)) : []
  const schema = withNewColumns(
    base,
    types.filter(field => isNew(field.name)),
  )
  const fields = names.map(name => (schema ?? known).find(field => field.name === name)!)
  return { fields, schema, bodyStart: rows.start, headers }
}

/** From all rows: a type that was found from some of them might change the others. */
async function typesOf({ format }: TableText, image: Text, rows: ByteRange, inference: TypeInference): Promise<Schema> {
  for await (const { at, bytes } of rowPieces(image, rows, inputOf(format)))
    await withLines(image, at, firstLine => inference.feed(bytes, { firstLine }))
  return inference.result()
}

/** The columns of rows that name their own, some of which are new. */
export async function columnsOfRows(
  base: TableText,
  image: Text,
  naming: RowNaming,
  rows: ByteRange,
): Promise<Columns> {
  const known = base.snapshot.schema
  const added = await typesOf(base, image, rows, naming.infer(known))
  checkNames(
    added.map(field => field.name),
    known,
    'the key',
  )
  const schema = withNewColumns(base, added)
  return { fields: schema ?? known, schema, bodyStart: rows.start, headers: [] }
}

/** The table's columns and new ones behind them; undefined if there are none. */
function withNewColumns({ snapshot }: TableText, added: readonly Field[]): Schema | undefined {
  return added.length === 0 ? undefined : withPhysicalNames([...snapshot.schema, ...added], snapshot)
}

/** TextError `bad_header` if a name that is new cannot be that of a column beside the others. */
function checkNames(names: readonly string[], schema: Schema, what: string): void {
  const known = schema.map(field => field.name)
  for (const name of names) {
    if (known.includes(name)) continue
    if (name === '') throw new TextError('bad_header', `${what} "" is new, and a column has a name`, { column: name })
    const alike = known.find(other => isSameName(other, name))
    if (alike !== undefined) {
      const message = `${what} ${name} differs from ${alike} in upper and lower case only, and other engines take both for one; write ${alike}`
      throw new TextError('bad_header', message, { column: name })
    }
    known.push(name)
  }
}

/**
 * Refuses rows that take the place of all others and have no values for columns that hold some: whoever renames a column
 * in an editor must not lose it. Costs reading the old rows up to the first value. TextError `bad_header` or `missing_key`.
 */
export async function refuseLoss(base: TableText, names: ReadonlySet<string>): Promise<void> {
  const { schema, protocol } = base.snapshot
  // Of generated columns nothing is lost: their values follow from the others.
  const missing = schema.flatMap((field, i) =>
    names.has(field.name) || generationOf(field, protocol) !== undefined ? [] : [i],
  )
  if (missing.length === 0) return
  const rows = { start: base.headerBytes.length, end: base.size }
  for await (const { batch } of parsedPieces(base, rows, schema, inputOf(base.format))) {
    for (const column of missing) {
      const vector = batch.vectors[column]!
      for (let row = 0; row < batch.rows; row++) if (!isNullAt(vector, row)) throw lost(base, schema[column]!.name)
    }
  }
}

function lost(base: TableText, column: string): TextError {
  const byHeader = inputOf(base.format).naming.by === 'header'
  const what = byHeader
    ? `line 1: the header lacks the column ${column}`
    : `no line has the key ${JSON.stringify(column)}`
  const keep = byHeader ? 'leave its fields empty' : `write ${JSON.stringify(column)}:null in each line`
  return new TextError(
    byHeader ? 'bad_header' : 'missing_key',
    `${what}, which has values: all of them would be lost. Write it with its values to keep it; to empty it, name it and ${keep}. A save cannot rename a column or take it away; a name that is new adds one`,
    byHeader ? { line: 1, column } : { column },
  )
}

/** A line without a byte-order mark and its line break, LF or CR LF. */
export function bareLine(line: Uint8Array): Uint8Array {
  let end = line.length
  if (line[end - 1] === 0x0a) end--
  if (line[end - 1] === 0x0d) end--
  return line.subarray(textStart(line), end)
}
