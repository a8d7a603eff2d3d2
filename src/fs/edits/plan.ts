import { TextError, type TextErrorCode } from '../../columns/errors.ts'
import { inputOf } from '../../columns/text/formats/index.ts'
import type { Field, Schema } from '../../columns/types.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import type { ByteRange, TableText } from '../text/layout.ts'
import { nearReads, rope, type Text } from '../text/text.ts'
import {
  type AddedRows,
  type Change,
  type EditPlan,
  KeptRows,
  removedRowsOf,
  reorder,
  type Unchanged,
} from './change-plan.ts'
import {
  type Columns,
  columnsOfAppended,
  columnsOfImage,
  columnsOfRows,
  type Head,
  readHead,
  refuseLoss,
} from './columns.ts'
import { diffText, type SameAs, type TextDiff } from './diff.ts'
import { withoutHeaders } from './headers.ts'
import { parsedPieces } from './pieces.ts'

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

type Found = Unchanged | Change

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

async function compare(base: TableText, image: Text, options: PlanOptions): Promise<Found> {
  if (image.size === 0) return removeEverything(base, image)
  const head = await readHead(base, image)
  if (head.bodyStart === image.size && head.asBefore) return removeEverything(base, image)
  const plan = head.asBefore ? await planAsBefore(base, image, head, options) : undefined
  return plan ?? planAnew(base, image, head, options)
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
    const isPart = inputOf(base.format).spansCuts && isCode(error, 'unterminated')
    if (isPart || isCode(error, 'unknown_column')) return undefined
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
    const { naming } = inputOf(base.format)
    if (naming.by === 'header' || !isCode(error, 'unknown_column')) throw error
    return planAppended(base, image, await columnsOfRows(base, image, naming, range!), range!.end, options)
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
  const input = inputOf(base.format)
  const added: AddedRows[] = []
  const kept = new KeptRows()
  for (const range of await withoutHeaders(base, image, [{ start: columns.bodyStart, end }], columns.headers)) {
    let rows = 0
    const pieces = kept.begin(range)
    for await (const { batch } of parsedPieces(image, range, columns.fields, input)) {
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
    cut: base.format.cut,
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
  const { format } = base
  const input = inputOf(format)
  const added: AddedRows[] = []
  const kept = new KeptRows()
  const source = nearReads(image)
  for (const range of await withoutHeaders(base, image, diff.added, headers)) {
    let rows = 0
    const pieces = kept.begin(range)
    for await (const { bytes, batch, complete } of parsedPieces(source, range, schema, input)) {
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
  range: ByteRange,
  { fields, headers }: Columns,
  spool: TextSpool,
  seen: Set<string>,
): Promise<{ bytes: number; rows: number }> {
  const { schema } = to.snapshot
  const input = inputOf(to.format)
  let bytes = 0
  let rows = 0
  for (const part of await withoutHeaders(to, image, [range], headers)) {
    for await (const { batch } of parsedPieces(image, part, fields, input, seen)) {
      const rendered = to.format.render(reorder(batch, fields, schema), schema).bytes
      spool.append(rendered)
      bytes += rendered.length
      rows += batch.rows
    }
  }
  return { bytes, rows }
}

function isCode(error: unknown, code: TextErrorCode): boolean {
  return error instanceof TextError && error.code === code
}
