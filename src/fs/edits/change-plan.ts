import { schemaFingerprint } from '../../columns/schema.ts'
import { inputOf } from '../../columns/text/formats/index.ts'
import type { RenderedText } from '../../columns/text/rendered.ts'
import type { Batch, Field, Schema } from '../../columns/types.ts'
import { constantVector } from '../../columns/vectors.ts'
import { onceDone } from '../../core/once.ts'
import { defaultCell, defaultSql } from '../../table/defaults.ts'
import type { ByteRange, TableText } from '../text/layout.ts'
import type { Text } from '../text/text.ts'
import type { AddedRange } from './diff.ts'
import { parsedPieces } from './pieces.ts'

/** Added rows are kept as they were parsed up to so many bytes of their text; larger changes are parsed once more. */
const KEPT_BYTES_MAX = 4 << 20

/** The changes of an edited image, found by comparing it with the text it was made from. */
export type EditPlan = Unchanged | ChangePlan

/** The table has what the image shows. */
export interface Unchanged {
  readonly kind: 'unchanged'
}

/** The rows that go and those that come. */
export interface Change {
  readonly kind: 'change'
  /** Row-aligned byte ranges of `base` whose rows go. */
  readonly removed: readonly ByteRange[]
  /** Row-aligned byte ranges of `source` whose rows come, with their places in `base` and how many rows they are. */
  readonly added: readonly AddedRows[]
  /** The text that `added` reads: the image itself, or its canonical rendering. */
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

/** A plan that takes away other rows. */
export function withRemoved(plan: ChangePlan, removed: readonly ByteRange[]): ChangePlan {
  return withChanges({ ...plan, removed })
}

/** A plan that is another one but for its rows: they are looked up anew. */
export function withChanges(plan: ChangePlan): ChangePlan {
  return { ...plan, removedRows: removedRowsOf(plan) }
}

/** Looks the rows of a change up when they are asked for, once. */
export function removedRowsOf({ base, removed }: Change): ChangePlan['removedRows'] {
  return onceDone(async () => (removed.length === 0 ? [] : base.rowsAt(removed)))
}

/** A plan, if there is one, is done with. */
export function closePlan(plan: EditPlan | undefined): void {
  if (plan?.kind === 'change') plan.close()
}

/** The number of rows that a plan takes away. */
export async function countRemoved({ removedRows }: ChangePlan): Promise<number> {
  return (await removedRows()).reduce((sum, { rows }) => sum + rows.length, 0)
}

/** The number of rows that a plan brings. */
export function countAdded({ added }: Pick<ChangePlan, 'added'>): number {
  return added.reduce((sum, { rows }) => sum + rows, 0)
}

/** The batches of a plan's added rows, in the schema's column order. */
export async function* addedBatches(plan: ChangePlan): AsyncGenerator<Batch> {
  for (const range of plan.added) yield* batchesIn(plan, plan.source, range)
}

/** The batches of the rows that a plan takes away, in the schema's column order. */
export async function* removedBatches(plan: ChangePlan): AsyncGenerator<Batch> {
  for (const range of plan.removed) yield* batchesIn(plan, plan.base, range)
}

/** True if rows get the default values of columns that they do not have. */
export function lacksDefaults({ fields, base }: Change): boolean {
  return base.snapshot.schema.some(field => !fields.includes(field) && defaultSql(field) !== undefined)
}

/** The batches of rows of a plan's base or source, in the schema's column order. They were parsed before, or rendered. */
export async function* batchesIn(
  plan: ChangePlan,
  text: Text,
  range: ByteRange & Partial<Pick<AddedRows, 'pieces'>>,
): AsyncGenerator<Batch> {
  const { schema } = plan.base.snapshot
  if (range.pieces !== undefined) {
    for (const { batch } of range.pieces) yield reorder(batch, plan.fields, schema)
    return
  }
  const fields = text === plan.source ? plan.fields : schema
  for await (const { batch } of parsedPieces(text, range, fields, inputOf(plan.base.format))) {
    yield reorder(batch, fields, schema)
  }
}

/** Keeps the rows of the first few megabytes that a plan adds, so that they are parsed once. */
export class KeptRows {
  #bytes = 0

  /** A list for the rows of a range as they are parsed; undefined if they are too many. */
  begin({ start, end }: ByteRange): AddedPiece[] | undefined {
    this.#bytes += end - start
    return this.#bytes <= KEPT_BYTES_MAX ? [] : undefined
  }
}

/** A batch of rows with some fields, as one of rows of a schema: in its order, with the default value where there is no such field. */
export function reorder(batch: Batch, fields: readonly Field[], schema: Schema): Batch {
  if (schemaFingerprint(fields) === schemaFingerprint(schema)) return batch
  const vectors = schema.map(field => {
    const at = fields.findIndex(other => other.name === field.name)
    const vector = at < 0 ? undefined : batch.vectors[at]
    return vector ?? constantVector(field.type, batch.rows, defaultCell(field))
  })
  return { rows: batch.rows, vectors }
}
