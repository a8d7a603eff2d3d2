import { TextError } from '../../columns/errors.ts'
import { schemaFingerprint } from '../../columns/schema.ts'
import {
  csvHeader,
  inferSchema,
  lastRowEnd,
  matchHeader,
  parseCsv,
  parseHeader,
  renderCsv,
  textStart,
} from '../../columns/text/csv.ts'
import { parseJsonLines } from '../../columns/text/json.ts'
import type { Batch, Field, Schema } from '../../columns/types.ts'
import { discarded } from '../../core/garbage.ts'
import { withPhysicalNames } from '../../table/column-mapping.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import type { TableText } from '../text/layout.ts'
import { lineOf, type Text } from '../text/text.ts'
import { type AddedRange, diffText, type SameAs, type TextRange } from './diff.ts'
import { eachRow } from './multiset.ts'
import { ROW_BYTES_MAX, rowTooLong } from './row-window.ts'

/** Rows are parsed in pieces of about this many bytes. */
const PARSE_BYTES = 4 << 20
/** Parsing and encoding leave several times the bytes of the text behind. */
const GARBAGE_FACTOR = 8

/** What an edited image means for the table, found by comparing it with the text it was made from. */
export type EditPlan =
  | { readonly kind: 'unchanged' }
  | {
      readonly kind: 'change'
      /** Row-aligned byte ranges of `base` whose rows go. */
      readonly removed: readonly TextRange[]
      /** Row-aligned byte ranges of `source` whose rows come, with their places in `base` and how many rows they are. */
      readonly added: readonly AddedRows[]
      /** Where `added` reads: the image itself, or its canonical rendering. */
      readonly source: Text
      /** The text that `removed` and the anchors speak of: the one that was edited, or that with the evolved schema. */
      readonly base: TableText
      /** The columns of `source`'s rows, in its order. */
      readonly fields: readonly Field[]
      /** Set if the edit's header names new columns: the schema to commit. */
      readonly schema: Schema | undefined
      /** Rows that stay changed places. */
      readonly reordered: boolean
    }

export interface AddedRows extends AddedRange {
  readonly rows: number
}

export interface PlanOptions {
  /** Image ranges that are ranges of the base by construction. */
  readonly sameAs?: readonly SameAs[]
  /** Somewhere to keep a text that is as large as the image; removed by the caller when the plan is done with. */
  readonly spool: () => TextSpool
  /** The table's text as if it had another schema. */
  readonly textWithSchema: (snapshot: Snapshot) => Promise<TableText>
  readonly signal?: AbortSignal
}

/** A text that is written once, from front to back, and then read. */
export interface TextSpool {
  append(bytes: Uint8Array): void
  finish(): Text
}

/**
 * Compares an edited CSV image with its base. Rejects with TextError if a row or the header cannot be taken, the line
 * being the image's own. Costs reading the bytes that differ, and parsing the rows that are new.
 */
export async function planCsvEdit(base: TableText, image: Text, options: PlanOptions): Promise<EditPlan> {
  if (image.size === 0) return removeEverything(base, image)
  const head = await readHeader(base, image)
  if (head.bodyStart === image.size && head.asBefore) {
    return removeEverything(base, image)
  }
  if (!head.asBefore) return planWithOtherHeader(base, image, head.names, head.bodyStart, options)
  const plan = await diffAndParse(base, image, head.bodyStart, options)
  if (plan !== 'not canonical') return plan
  const canonical = await canonicalImage(image, head.bodyStart, base.snapshot.schema, base.snapshot.schema, options)
  const again = await diffAndParse(base, canonical, base.headerBytes.length, { ...options, sameAs: [] })
  if (again === 'not canonical')
    throw new TextError(
      'malformed_text',
      'the written rows do not keep their form when they are read back; this is a defect in posixlake',
    )
  return again
}

/** The rows behind the end of a JSON-lines text; only appending is possible there. */
export async function planJsonAppend(base: TableText, image: Text): Promise<EditPlan> {
  const end = image.size
  if (end === base.size) return { kind: 'unchanged' }
  let rows = 0
  for await (const { batch } of parsedPieces(image, base.size, end, base.snapshot.schema, 'jsonl', 1))
    rows += batch.rows
  return {
    kind: 'change',
    removed: [],
    added: [{ start: base.size, end, anchor: base.size, rows }],
    source: image,
    base,
    fields: base.snapshot.schema,
    schema: undefined,
    reordered: false,
  }
}

/** The batches of a plan's added rows, in the schema's column order, each with the anchor of its rows. */
export async function* addedBatches(
  plan: Extract<EditPlan, { kind: 'change' }>,
  format: 'csv' | 'jsonl',
): AsyncGenerator<{ batch: Batch; anchor: number }> {
  for (const range of plan.added) {
    for await (const { batch } of parsedPieces(plan.source, range.start, range.end, plan.fields, format, undefined)) {
      yield { batch, anchor: range.anchor }
    }
  }
}

/** The batches of rows that were parsed before, or were rendered from values. */
export async function* rowBatches(
  text: Text,
  start: number,
  end: number,
  fields: readonly Field[],
): AsyncGenerator<Batch> {
  for await (const { batch } of parsedPieces(text, start, end, fields, 'csv', undefined)) yield batch
}

function removeEverything(base: TableText, image: Text): EditPlan {
  const start = base.headerBytes.length
  if (base.size <= start) return { kind: 'unchanged' }
  return {
    kind: 'change',
    removed: [{ start, end: base.size }],
    added: [],
    source: image,
    base,
    fields: base.snapshot.schema,
    schema: undefined,
    reordered: false,
  }
}

interface Head {
  readonly names: readonly string[]
  /** Where the rows begin in the image. */
  readonly bodyStart: number
  /** The header is the base's, byte for byte but for a byte-order mark, CR LF and quoting. */
  readonly asBefore: boolean
}

async function readHeader(base: TableText, image: Text): Promise<Head> {
  const schema = base.snapshot.schema
  const expected = base.headerBytes
  if (expected.length > 0 && image.size >= expected.length) {
    const start = await image.read(0, expected.length)
    if (Buffer.compare(start, expected) === 0) {
      return { names: schema.map(field => field.name), bodyStart: expected.length, asBefore: true }
    }
  }
  const first = await image.read(0, Math.min(image.size, 1 << 20))
  const { names, endOffset } = parseHeader(first)
  const sameNames = names.length === schema.length && names.every((name, i) => name === schema[i]?.name)
  return { names, bodyStart: endOffset, asBefore: sameNames && schema.length > 0 }
}

/** Compares the rows, and parses the new ones once: for their errors, and to see whether they are written as posixlake writes them. */
async function diffAndParse(
  base: TableText,
  image: Text,
  imageStart: number,
  options: PlanOptions,
): Promise<EditPlan | 'not canonical'> {
  const diff = await diffText(base, image, {
    baseStart: base.headerBytes.length,
    imageStart,
    ...(options.sameAs === undefined ? {} : { sameAs: options.sameAs }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
  if (diff.removed.length === 0 && diff.added.length === 0) return { kind: 'unchanged' }
  const schema = base.snapshot.schema
  const added: AddedRows[] = []
  for (const range of await withoutHeaders(image, diff.added, await image.read(0, imageStart))) {
    let rows = 0
    for await (const { bytes, batch, complete } of parsedPieces(
      image,
      range.start,
      range.end,
      schema,
      'csv',
      imageStart,
    )) {
      const rendered = renderCsv(batch, schema).bytes
      const same = complete
        ? Buffer.compare(rendered, bytes) === 0
        : rendered.length === bytes.length + 1 && Buffer.compare(rendered.subarray(0, -1), bytes) === 0
      // An appended row in another spelling is still an append; only where rows are taken away may it be one of them.
      if (!same && diff.removed.length > 0) return 'not canonical'
      rows += batch.rows
    }
    if (rows > 0) added.push({ ...range, rows })
  }
  if (diff.removed.length === 0 && added.length === 0) return { kind: 'unchanged' }
  return {
    kind: 'change',
    removed: diff.removed,
    added,
    source: image,
    base,
    fields: schema,
    schema: undefined,
    reordered: diff.reordered,
  }
}

async function planWithOtherHeader(
  base: TableText,
  image: Text,
  names: readonly string[],
  bodyStart: number,
  options: PlanOptions,
): Promise<EditPlan> {
  const { snapshot } = base
  const matched = snapshot.schema.length === 0 ? undefined : matchHeader(names, snapshot.schema)
  if (matched === undefined && snapshot.schema.length > 0) {
    throw new TextError(
      'bad_header',
      `line 1: this is not the table's header; expected ${new TextDecoder().decode(base.headerBytes).trimEnd()}`,
      { line: 1 },
    )
  }
  const added = matched?.added ?? names
  const types = added.length === 0 ? [] : await inferTypes(image, bodyStart, names)
  const newFields = added.map(name => types.find(field => field.name === name)!)
  const schema = withPhysicalNames([...snapshot.schema, ...newFields], snapshot)
  const order = names.map(name => schema.find(field => field.name === name)!)
  const evolved = added.length === 0 ? base : await options.textWithSchema({ ...snapshot, schema })
  const canonical = await canonicalImage(image, bodyStart, order, schema, options)
  const plan = await diffAndParse(evolved, canonical, evolved.headerBytes.length, { ...options, sameAs: [] })
  if (plan === 'not canonical')
    throw new TextError(
      'malformed_text',
      'the written rows do not keep their form when they are read back; this is a defect in posixlake',
    )
  if (added.length === 0) return plan
  if (plan.kind === 'unchanged') {
    return {
      kind: 'change',
      removed: [],
      added: [],
      source: canonical,
      base: evolved,
      fields: schema,
      schema,
      reordered: false,
    }
  }
  return { ...plan, schema }
}

async function inferTypes(image: Text, bodyStart: number, names: readonly string[]): Promise<Schema> {
  const sample = await image.read(bodyStart, Math.min(image.size, bodyStart + (64 << 20)))
  const end = bodyStart + sample.length === image.size ? sample.length : lastRowEnd(sample)
  return inferSchema(sample.subarray(0, end), names)
}

/** The whole image once more, its rows in the form and column order in which posixlake shows them. */
async function canonicalImage(
  image: Text,
  bodyStart: number,
  fields: readonly Field[],
  schema: Schema,
  options: PlanOptions,
): Promise<Text> {
  const spool = options.spool()
  spool.append(csvHeader(schema))
  const header = await image.read(0, bodyStart)
  for (const { start, end } of await withoutHeaders(image, [{ start: bodyStart, end: image.size }], header)) {
    for await (const { batch } of parsedPieces(image, start, end, fields, 'csv', bodyStart)) {
      spool.append(renderCsv(reorder(batch, fields, schema), schema).bytes)
    }
  }
  return spool.finish()
}

/** Ranges of rows without those that are the header once more, as in `cat a.csv b.csv > data.csv` and `cat b.csv >> data.csv`. */
async function withoutHeaders<R extends TextRange>(
  image: Text,
  ranges: readonly R[],
  headerLine: Uint8Array,
): Promise<R[]> {
  const header = headerLine.subarray(textStart(headerLine), endOfLine(headerLine))
  const left: R[] = []
  for (const range of ranges) {
    if (header.length === 0 || !(await occurs(image, range, header))) {
      left.push(range)
      continue
    }
    let { start } = range
    await eachRow(image, [range], (_row, bytes, from, to, at) => {
      const row = bytes.subarray(from, to)
      if (Buffer.compare(row.subarray(textStart(row), endOfLine(row)), header) !== 0) return
      if (start < at + from) left.push({ ...range, start, end: at + from })
      start = at + to
    })
    if (start < range.end) left.push({ ...range, start })
  }
  return left
}

/** Whether some bytes occur in a range at all, which is quickly found out. */
export async function occurs(text: Text, { start, end }: TextRange, bytes: Uint8Array): Promise<boolean> {
  const wanted = Buffer.from(bytes)
  for (let at = start; at < end; at += PARSE_BYTES) {
    const block = await text.read(at, Math.min(end, at + PARSE_BYTES + wanted.length))
    if (Buffer.from(block.buffer, block.byteOffset, block.length).includes(wanted)) return true
    discarded(block.length)
  }
  return false
}

/** In front of its line break, LF or CR LF. */
function endOfLine(line: Uint8Array): number {
  let end = line.length
  if (line[end - 1] === 0x0a) end--
  if (line[end - 1] === 0x0d) end--
  return end
}

function reorder(batch: Batch, fields: readonly Field[], schema: Schema): Batch {
  if (schemaFingerprint(fields) === schemaFingerprint(schema)) return batch
  const vectors = schema.map(field => {
    const at = fields.findIndex(other => other.name === field.name)
    const vector = at < 0 ? undefined : batch.vectors[at]
    return vector ?? { type: field.type, length: batch.rows, values: new Array<null>(batch.rows).fill(null) }
  })
  return { rows: batch.rows, vectors }
}

/**
 * Parses the rows of [start, end) of a text piece by piece. `lineFrom`: where the text's line numbering begins for
 * messages; undefined where the rows were parsed before and cannot fail.
 */
async function* parsedPieces(
  text: Text,
  start: number,
  end: number,
  fields: readonly Field[],
  format: 'csv' | 'jsonl',
  lineFrom: number | undefined,
): AsyncGenerator<{ bytes: Uint8Array; batch: Batch; complete: boolean }> {
  let at = start
  let want = PARSE_BYTES
  while (at < end) {
    const bytes = await text.read(at, Math.min(end, at + want))
    const last = at + bytes.length >= end
    const length = last ? bytes.length : format === 'csv' ? lastRowEnd(bytes) : bytes.lastIndexOf(0x0a) + 1
    if (length <= 0) {
      if (want >= ROW_BYTES_MAX) throw await rowTooLong(text, at)
      want *= 2 // One row is longer than the piece.
      continue
    }
    want = PARSE_BYTES
    const rows = bytes.subarray(0, length)
    yield {
      bytes: rows,
      batch: await parsePiece(text, at, rows, fields, format, lineFrom),
      complete: rows[length - 1] === 0x0a,
    }
    at += length
    discarded(length * GARBAGE_FACTOR)
  }
}

async function parsePiece(
  text: Text,
  at: number,
  rows: Uint8Array,
  fields: readonly Field[],
  format: 'csv' | 'jsonl',
  lineFrom: number | undefined,
): Promise<Batch> {
  try {
    return format === 'csv' ? parseCsv(rows, fields, { firstLine: 1 }) : parseJsonLines(rows, fields, { firstLine: 1 })
  } catch (error) {
    if (!(error instanceof TextError) || lineFrom === undefined) throw error
    // Counting lines costs reading all that stands in front, so it is done only for the message of a bad row.
    const firstLine = await lineOf(text, at)
    if (format === 'csv') parseCsv(rows, fields, { firstLine })
    else parseJsonLines(rows, fields, { firstLine })
    throw error
  }
}
