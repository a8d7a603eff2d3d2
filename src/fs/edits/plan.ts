import { TextError, type TextErrorCode } from '../../columns/errors.ts'
import { schemaFingerprint } from '../../columns/schema.ts'
import type { RenderedText } from '../../columns/text/rendered.ts'
import type { Batch, Field, Schema } from '../../columns/types.ts'
import { discarded } from '../../core/garbage.ts'
import { onceDone } from '../../core/once.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import type { TableText } from '../text/layout.ts'
import { rope, type Text } from '../text/text.ts'
import {
  bareLine,
  type Columns,
  columnsOfAppended,
  columnsOfImage,
  columnsOfJson,
  type Head,
  readHead,
  refuseLoss,
} from './columns.ts'
import { type AddedRange, diffText, type SameAs, type TextDiff, type TextRange } from './diff.ts'
import { editFormat } from './formats.ts'
import { eachRow } from './multiset.ts'
import { PIECE_BYTES, parsedPieces } from './pieces.ts'

/** Added rows are kept as they were parsed up to so many bytes of their text; larger changes are parsed once more. */
const KEPT_BYTES_MAX = 4 << 20

/** What an edited image means for the table, found by comparing it with the text it was made from. */
export type EditPlan = Unchanged | ChangePlan

interface Unchanged {
  readonly kind: 'unchanged'
}

interface Change {
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
  /** Set if the edit names new columns: the schema to commit. */
  readonly schema: Schema | undefined
  /** Rows that stay changed places. */
  readonly reordered: boolean
}

type Found = Unchanged | Change

export interface ChangePlan extends Change {
  /** The rows of `removed`, looked up once. */
  readonly removedRows: () => Promise<readonly RowsOfFile[]>
  /** To be called when the plan is done with: `source` cannot be read any more. */
  readonly close: () => void
}

/** Rows of one data file, by their numbers in it. */
export type RowsOfFile = Awaited<ReturnType<TableText['rowsAt']>>[number]

export interface AddedRows extends AddedRange {
  readonly rows: number
  /** The rows as they were parsed, where they are few enough to be kept. */
  readonly pieces: readonly AddedPiece[] | undefined
}

export interface AddedPiece {
  /** In the columns of the plan's `fields`. */
  readonly batch: Batch
  /** Its text, where that was made. */
  readonly rendered: RenderedText | undefined
}

export interface PlanOptions {
  /** Image ranges that are ranges of the base by construction. */
  readonly sameAs?: readonly SameAs[]
  /** Somewhere to keep a text that is as large as the image. The plan closes it, or what refuses the image does. */
  readonly spool: () => TextSpool
  /** The table's text as if it had another schema. */
  readonly textWithSchema: (snapshot: Snapshot) => Promise<TableText>
}

/** A text that is written once, from front to back, and then read until it is closed. */
export interface TextSpool {
  append(bytes: Uint8Array): void
  finish(): Text
  close(): void
}

/**
 * Compares an edited image of data.csv or data.jsonl with its base. Rejects with TextError if a row or the header cannot be
 * taken, the line being the image's own. Costs reading the bytes that differ, and parsing the rows that are new.
 */
export async function planEdit(base: TableText, image: Text, options: PlanOptions): Promise<EditPlan> {
  const spools: TextSpool[] = []
  const spool = (): TextSpool => {
    const made = options.spool()
    spools.push(made)
    return made
  }
  const close = (): void => {
    for (const made of spools.splice(0)) made.close()
  }
  try {
    const found = await compare(base, image, { ...options, spool })
    if (found.kind === 'unchanged') close()
    return found.kind === 'unchanged' ? found : { ...found, removedRows: removedRowsOf(found), close }
  } catch (error) {
    close()
    throw error
  }
}

/** A plan that takes away other rows. */
export function withRemoved(plan: ChangePlan, removed: readonly TextRange[]): ChangePlan {
  const change = { ...plan, removed }
  return { ...change, removedRows: removedRowsOf(change) }
}

function removedRowsOf({ base, removed }: Change): ChangePlan['removedRows'] {
  return onceDone(async () => (removed.length === 0 ? [] : base.rowsAt(removed)))
}

/** A plan, if there is one, is done with. */
export function closePlan(plan: EditPlan | undefined): void {
  if (plan?.kind === 'change') plan.close()
}

/** How many rows a plan takes away. */
export async function countRemoved({ removedRows }: ChangePlan): Promise<number> {
  return (await removedRows()).reduce((sum, { rows }) => sum + rows.length, 0)
}

/** How many rows a plan brings. */
export function countAdded({ added }: Pick<ChangePlan, 'added'>): number {
  return added.reduce((sum, { rows }) => sum + rows, 0)
}

async function compare(base: TableText, image: Text, options: PlanOptions): Promise<Found> {
  if (image.size === 0) return removeEverything(base, image)
  const head = await readHead(base, image)
  if (head.bodyStart === image.size && head.asBefore) return removeEverything(base, image)
  const plan = head.asBefore ? await planAsBefore(base, image, head, options) : undefined
  return plan ?? planAnew(base, image, head, options)
}

/** The batches of a plan's added rows, in the schema's column order. */
export async function* addedBatches(plan: ChangePlan): AsyncGenerator<Batch> {
  for (const range of plan.added) yield* batchesIn(plan, plan.source, range)
}

/** The batches of rows of a plan's base or source, in the schema's column order. They were parsed before, or rendered. */
export async function* batchesIn(
  plan: ChangePlan,
  text: Text,
  range: TextRange & Partial<Pick<AddedRows, 'pieces'>>,
): AsyncGenerator<Batch> {
  const { schema } = plan.base.snapshot
  if (range.pieces !== undefined) {
    for (const { batch } of range.pieces) yield reorder(batch, plan.fields, schema)
    return
  }
  const fields = text === plan.source ? plan.fields : schema
  for await (const { batch } of parsedPieces(text, range, fields, editFormat(plan.base.format))) {
    yield reorder(batch, fields, schema)
  }
}

function removeEverything(base: TableText, image: Text): Found {
  const start = base.headerBytes.length
  if (base.size <= start) return { kind: 'unchanged' }
  return change(base, image, { removed: [{ start, end: base.size }], added: [], reordered: false }, [])
}

function change(base: TableText, source: Text, { removed, reordered }: TextDiff, added: AddedRows[]): Found {
  if (removed.length === 0 && added.length === 0) return { kind: 'unchanged' }
  return { kind: 'change', removed, added, source, base, fields: base.snapshot.schema, schema: undefined, reordered }
}

/** The plan of an image with the columns that the table has; undefined if its rows turn out to have others. */
async function planAsBefore(
  base: TableText,
  image: Text,
  head: Head,
  options: PlanOptions,
): Promise<Found | undefined> {
  const diff = await difference(base, image, head.bodyStart, options)
  if (isAppend(base, diff)) return planAppend(base, image, head, diff, options)
  try {
    const added = await parsedRanges(base, image, diff, head.headers)
    if (added !== undefined) return change(base, image, diff, added)
    return await planCanonical(base, await respelledImage(base, image, head, diff, options), options)
  } catch (error) {
    // Lines that are a part of a row only look like one that is cut off.
    if (isCode(error, 'unknown_column') || (base.format === 'jsonl' && isCode(error, 'unterminated'))) return undefined
    throw error
  }
}

/** The plan of an image whose columns are others than the table's, or whose rows must be looked for anew. */
async function planAnew(base: TableText, image: Text, head: Head, options: PlanOptions): Promise<Found> {
  const columns = await columnsOfImage(base, image, head)
  const evolved = await evolvedText(base, columns, options)
  const seen = new Set<string>()
  const spool = options.spool()
  spool.append(evolved.headerBytes)
  const all = { start: columns.bodyStart, end: image.size }
  if ((await respell(evolved, image, all, columns, spool, seen)).rows > 0) await refuseLoss(base, seen)
  const plan = await planCanonical(evolved, spool.finish(), options)
  return withColumns(plan, evolved, image, evolved.snapshot.schema, columns.schema)
}

/** The plan of rows behind the end of a text, which may have columns of their own. */
async function planAppend(
  base: TableText,
  image: Text,
  head: Head,
  { added: [range] }: TextDiff,
  options: PlanOptions,
): Promise<Found> {
  try {
    return await planAppended(base, image, await columnsOfAppended(base, image, head, range!), range!.end, options)
  } catch (error) {
    if (!isCode(error, 'unknown_column')) throw error
    return planAppended(base, image, await columnsOfJson(base, image, range!), range!.end, options)
  }
}

async function planAppended(
  base: TableText,
  image: Text,
  columns: Columns,
  end: number,
  options: PlanOptions,
): Promise<Found> {
  const evolved = await evolvedText(base, columns, options)
  const format = editFormat(base.format)
  const added: AddedRows[] = []
  const kept = new KeptRows()
  for (const range of await withoutHeaders(base, image, [{ start: columns.bodyStart, end }], columns.headers)) {
    let rows = 0
    const pieces = kept.begin(range)
    for await (const { batch } of parsedPieces(image, range, columns.fields, format)) {
      rows += batch.rows
      pieces?.push({ batch, rendered: undefined })
    }
    if (rows > 0) added.push({ ...range, anchor: evolved.size, rows, pieces })
  }
  const plan = change(evolved, image, { removed: [], added, reordered: false }, added)
  return withColumns(plan, evolved, image, columns.fields, columns.schema)
}

/** A plan for rows with these fields that gives the table its new columns, if there are any. */
function withColumns(
  plan: Found,
  base: TableText,
  source: Text,
  fields: readonly Field[],
  schema: Schema | undefined,
): Found {
  if (plan.kind === 'change') return { ...plan, fields, schema }
  if (schema === undefined) return plan
  return { kind: 'change', removed: [], added: [], source, base, fields, schema, reordered: false }
}

/** The plan of an image that is written as posixlake writes it. */
async function planCanonical(base: TableText, image: Text, options: PlanOptions): Promise<Found> {
  const diff = await difference(base, image, base.headerBytes.length, { ...options, sameAs: [] })
  const added = await parsedRanges(base, image, diff, [])
  if (added !== undefined) return change(base, image, diff, added)
  throw new TextError(
    'malformed_text',
    'the written rows do not keep their form when they are read back; this is a defect in posixlake',
  )
}

function difference(base: TableText, image: Text, imageStart: number, options: PlanOptions): Promise<TextDiff> {
  const { sameAs } = options
  return diffText(base, image, {
    cut: editFormat(base.format).cut,
    baseStart: base.headerBytes.length,
    imageStart,
    ...(sameAs === undefined ? {} : { sameAs }),
  })
}

function isAppend(base: TableText, { removed, added }: TextDiff): boolean {
  return removed.length === 0 && added.length === 1 && added[0]!.anchor === base.size
}

function evolvedText(base: TableText, { schema }: Columns, options: PlanOptions): Promise<TableText> {
  return schema === undefined ? Promise.resolve(base) : options.textWithSchema({ ...base.snapshot, schema })
}

/**
 * Parses the rows that a difference brings, for their errors and their number. Undefined if they are not written as
 * posixlake writes them, and so may be some of those that it takes away.
 */
async function parsedRanges(
  base: TableText,
  image: Text,
  diff: TextDiff,
  headers: readonly Uint8Array[],
): Promise<AddedRows[] | undefined> {
  const { schema } = base.snapshot
  const format = editFormat(base.format)
  const added: AddedRows[] = []
  const kept = new KeptRows()
  for (const range of await withoutHeaders(base, image, diff.added, headers)) {
    let rows = 0
    const pieces = kept.begin(range)
    for await (const { bytes, batch, complete } of parsedPieces(image, range, schema, format)) {
      const rendered = format.render(batch, schema)
      const text = complete ? rendered.bytes : rendered.bytes.subarray(0, -1)
      if (Buffer.compare(text, bytes) !== 0 && diff.removed.length > 0) return undefined
      rows += batch.rows
      pieces?.push({ batch, rendered })
    }
    if (rows > 0) added.push({ ...range, rows, pieces })
  }
  return added
}

/** Keeps the rows of the first few megabytes that a plan adds, so that they are parsed once. */
class KeptRows {
  #bytes = 0

  /** Where the rows of a range are put as they are parsed; undefined if they are too many. */
  begin({ start, end }: TextRange): AddedPiece[] | undefined {
    this.#bytes += end - start
    return this.#bytes <= KEPT_BYTES_MAX ? [] : undefined
  }
}

/** The image with the rows that a difference brings in the form in which posixlake shows them; the others have it. */
async function respelledImage(
  base: TableText,
  image: Text,
  { bodyStart, headers }: Head,
  diff: TextDiff,
  options: PlanOptions,
): Promise<Text> {
  const columns: Columns = { fields: base.snapshot.schema, schema: undefined, bodyStart, headers }
  const spool = options.spool()
  const seen = new Set<string>()
  const parts: { text: Text | undefined; start: number; end: number }[] = []
  let spooled = base.headerBytes.length
  let rows = 0
  spool.append(base.headerBytes)
  parts.push({ text: undefined, start: 0, end: spooled })
  let at = bodyStart
  for (const range of diff.added) {
    parts.push({ text: image, start: at, end: range.start })
    const respelled = await respell(base, image, range, columns, spool, seen)
    parts.push({ text: undefined, start: spooled, end: spooled + respelled.bytes })
    spooled += respelled.bytes
    rows += respelled.rows
    at = range.end
  }
  parts.push({ text: image, start: at, end: image.size })
  const [gone] = diff.removed
  const areAllGone = gone !== undefined && gone.start <= base.headerBytes.length && gone.end === base.size
  if (areAllGone && rows > 0) await refuseLoss(base, seen)
  const text = spool.finish()
  return rope(parts.map(part => ({ ...part, text: part.text ?? text })))
}

/** Writes the rows of a range to a spool, in the form and column order in which `to` shows its own. */
async function respell(
  to: TableText,
  image: Text,
  range: TextRange,
  { fields, headers }: Columns,
  spool: TextSpool,
  seen: Set<string>,
): Promise<{ bytes: number; rows: number }> {
  const { schema } = to.snapshot
  const format = editFormat(to.format)
  let bytes = 0
  let rows = 0
  for (const part of await withoutHeaders(to, image, [range], headers)) {
    for await (const { batch } of parsedPieces(image, part, fields, format, seen)) {
      const rendered = format.render(reorder(batch, fields, schema), schema).bytes
      spool.append(rendered)
      bytes += rendered.length
      rows += batch.rows
    }
  }
  return { bytes, rows }
}

/** Ranges of rows without those that are a header once more, as in `cat a.csv b.csv > data.csv` and `cat b.csv >> data.csv`. */
async function withoutHeaders<R extends TextRange>(
  base: TableText,
  image: Text,
  ranges: readonly R[],
  headerLines: readonly Uint8Array[],
): Promise<R[]> {
  const headers = headerLines.map(line => Buffer.from(bareLine(line))).filter(header => header.length > 0)
  const { cut } = editFormat(base.format)
  const left: R[] = []
  for (const range of ranges) {
    if (!(await occursAny(image, range, headers))) {
      left.push(range)
      continue
    }
    let { start } = range
    await eachRow(image, [range], cut, (_row, bytes, from, to, at) => {
      const row = bareLine(bytes.subarray(from, to))
      if (!headers.some(header => Buffer.compare(row, header) === 0)) return
      if (start < at + from) left.push({ ...range, start, end: at + from })
      start = at + to
    })
    if (start < range.end) left.push({ ...range, start })
  }
  return left
}

/** Whether one of some byte strings occurs in a range at all, which is quickly found out. */
export async function occursAny(text: Text, { start, end }: TextRange, lines: readonly Buffer[]): Promise<boolean> {
  const longest = Math.max(0, ...lines.map(line => line.length))
  if (longest === 0) return false
  for (let at = start; at < end; at += PIECE_BYTES) {
    const block = await text.read(at, Math.min(end, at + PIECE_BYTES + longest))
    const bytes = Buffer.from(block.buffer, block.byteOffset, block.length)
    if (lines.some(line => bytes.includes(line))) return true
    discarded(block.length)
  }
  return false
}

/** A batch of rows with some fields, as one of rows of a schema: in its order, NULL where there is no such field. */
export function reorder(batch: Batch, fields: readonly Field[], schema: Schema): Batch {
  if (schemaFingerprint(fields) === schemaFingerprint(schema)) return batch
  const vectors = schema.map(field => {
    const at = fields.findIndex(other => other.name === field.name)
    const vector = at < 0 ? undefined : batch.vectors[at]
    return vector ?? { type: field.type, length: batch.rows, values: new Array<null>(batch.rows).fill(null) }
  })
  return { rows: batch.rows, vectors }
}

function isCode(error: unknown, code: TextErrorCode): boolean {
  return error instanceof TextError && error.code === code
}
