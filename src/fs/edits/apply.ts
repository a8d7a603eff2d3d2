import { FIRST_ROW_GROUP_ROWS } from '../../columns/parquet/write.ts'
import { schemaFingerprint } from '../../columns/schema.ts'
import type { Batch } from '../../columns/types.ts'
import { REPLACEMENT, textWouldBeLost } from '../../table/commit/copy-on-write.ts'
import { appended } from '../../table/operations/append.ts'
import { deleted } from '../../table/operations/delete.ts'
import { merged } from '../../table/operations/merge.ts'
import type { OrderHint } from '../../table/order-hint.ts'
import { mayUseDeletionVectors } from '../../table/protocol.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import { type Committed, committed, type Operation, type Table, type Transaction } from '../../table/table.ts'
import { type ByteRange, type Section, TableText } from '../text/layout.ts'
import { type Segments, textKind } from '../text/segments.ts'
import type { Text } from '../text/text.ts'
import {
  type AddedRows,
  addedBatches,
  batchesIn,
  type ChangePlan,
  countAdded,
  countRemoved,
  reorder,
} from './change-plan.ts'
import { occursAny } from './headers.ts'
import { countChanges, type EditCounts } from './pairing.ts'

const REPLACEMENT_BYTES = Buffer.from(REPLACEMENT)

export interface ApplyOptions {
  readonly table: Table
  readonly segments: Segments
  /** The version the edit was made from. */
  readonly snapshot: Snapshot
  /** Becomes the commit's `txnId`. */
  readonly editId: string
}

/** Commits a plan: new rows in a new file, removed rows in deletion vectors, all in one version. Rejects with TableError. */
export async function applyPlan(plan: ChangePlan, options: ApplyOptions): Promise<Committed> {
  const { table, snapshot, editId } = options
  await using transaction = table.begin(snapshot, { txnId: editId })
  if (plan.schema !== undefined) transaction.changeSchema(plan.schema)
  if (plan.removed.length > 0 && !mayUseDeletionVectors(snapshot.protocol, snapshot.metadata.configuration)) {
    // A partitioned table's rows may change their folder, and have no places in the view to keep.
    if (snapshot.partitionColumns.length === 0) return await applyByRewriting(transaction, plan, options)
  }
  const deletions = await plan.removedRows()
  const order = await orderHint(plan.base, plan.added)
  const counts = await countsOf(plan)
  transaction.deleteRows(...deletions)
  await transaction.write(addedBatches(plan), { order })
  const made = committed(await transaction.commit(operationOf(counts, transaction.base)))
  if (schemaFingerprint(transaction.schema) === schemaFingerprint(made.snapshot.schema)) {
    try {
      prime(made.snapshot, transaction.added, plan, options.segments)
    } catch {
      // Who reads it renders it. The commit is made.
    }
  }
  return made
}

/**
 * The same for a table that does not enable deletion vectors: each touched file is written anew, with the edited rows in
 * their places, and stands where it stood. Files whose rows stand among its rows are taken in.
 */
async function applyByRewriting(transaction: Transaction, plan: ChangePlan, options: ApplyOptions): Promise<Committed> {
  const { base, removed } = plan
  const sections = await base.sectionsOf(removed)
  const left = new Set(plan.added)
  for (const section of sections) {
    const first = section.start <= base.headerBytes.length
    const added = plan.added.filter(
      ({ anchor }) => (first ? anchor >= section.start : anchor > section.start) && anchor <= section.end,
    )
    for (const range of added) left.delete(range)
    const pieces = spliced(base, section, removed, added, plan)
    await checkText(section, pieces, base, options)
    await transaction.write(batchesOf(pieces, plan), { inPlaceOf: section.file })
  }
  const rest = plan.added.filter(range => left.has(range))
  if (rest.length > 0) {
    const ranges = rest.map(range => ({ ...range, text: plan.source }))
    await transaction.write(batchesOf(ranges, plan), { order: await orderHint(base, rest) })
  }
  transaction.removeFiles(...new Set(sections.flatMap(({ files }) => [...files])))
  const counts = await countsOf(plan)
  return committed(await transaction.commit(operationOf(counts, transaction.base)))
}

/** Refuses to write rows anew which are not the same in their text as in their file. */
async function checkText(
  section: Section,
  pieces: readonly Piece[],
  { snapshot, format }: TableText,
  { segments }: ApplyOptions,
): Promise<void> {
  const kind = textKind(snapshot, format)
  for (const file of section.files) {
    const where = await segments.notUtf8(kind, file)
    if (where === undefined) continue
    for (const { text, start, end } of pieces)
      if (text instanceof TableText && (await occursAny(text, { start, end }, [REPLACEMENT_BYTES])))
        throw textWouldBeLost(file, where)
  }
}

interface Piece extends ByteRange, Partial<Pick<AddedRows, 'pieces'>> {
  readonly text: Text
}

/** A section's text after the edit, as ranges of the base and of the new rows. */
function spliced(
  base: TableText,
  section: Section,
  removed: readonly ByteRange[],
  added: readonly AddedRows[],
  plan: ChangePlan,
): Piece[] {
  const pieces: Piece[] = []
  let at = section.start
  let next = removed.findIndex(range => range.end > at)
  const keepTo = (end: number): void => {
    for (let range = removed[next]; range !== undefined && range.start < end; range = removed[++next]) {
      if (at < range.start) pieces.push({ text: base, start: at, end: range.start })
      at = Math.max(at, range.end)
    }
    if (at < end) pieces.push({ text: base, start: at, end })
    at = Math.max(at, end)
  }
  for (const range of added) {
    keepTo(range.anchor)
    pieces.push({ ...range, text: plan.source })
  }
  keepTo(section.end)
  return pieces
}

async function* batchesOf(pieces: readonly Piece[], plan: ChangePlan): AsyncGenerator<Batch> {
  for (const piece of pieces) yield* batchesIn(plan, piece.text, piece)
}

/** The places of the new rows. None is needed for rows at the very end: that is where a new file stands anyway. */
async function orderHint(base: TableText, added: readonly AddedRows[]): Promise<OrderHint | undefined> {
  let count = added.length
  while (count > 0 && added[count - 1]?.anchor === base.size) count--
  if (count === 0) return undefined
  const inner = added.slice(0, count)
  const anchors = await base.anchorsAt(inner.map(range => range.anchor))
  const refs: string[] = []
  const indexOf = new Map<string, number>()
  const runs = inner.map((range, i) => {
    const anchor = anchors[i]
    if (anchor === undefined || anchor === 'start') return { count: range.rows, ref: -1, row: 0 }
    let ref = indexOf.get(anchor.path)
    if (ref === undefined) {
      ref = refs.push(anchor.path) - 1
      indexOf.set(anchor.path, ref)
    }
    return { count: range.rows, ref, row: anchor.row }
  })
  return { refs, runs }
}

async function countsOf(plan: ChangePlan): Promise<EditCounts> {
  const { base, source } = plan
  const removed = { ranges: plan.removed, rows: await countRemoved(plan) }
  const added = { ranges: plan.added, rows: countAdded(plan) }
  return countChanges(base.format, base.snapshot.schema, base, removed, source, added)
}

/** The operation that an edit is to the history, by the rows that it touches. */
function operationOf({ updated, inserted, deleted: gone }: EditCounts, { partitionColumns }: Snapshot): Operation {
  if (updated + gone === 0) return appended({ rows: inserted, partitionColumns })
  if (updated + inserted === 0) return deleted({ rows: gone })
  return merged({ inserted, updated, deleted: gone })
}

/** The text of the rows just written is known: nobody should have to decode them to read it. */
function prime(snapshot: Snapshot, add: readonly { path: string }[], plan: ChangePlan, segments: Segments): void {
  const [only] = add
  const [piece] = plan.added.flatMap(({ pieces }) => pieces ?? [])
  if (only === undefined || add.length !== 1 || piece === undefined || piece.batch.rows !== countAdded(plan)) return
  const file = snapshot.live.get(only.path)
  if (file === undefined || piece.batch.rows > FIRST_ROW_GROUP_ROWS || snapshot.partitionColumns.length > 0) return
  const { format } = plan.base
  const batch = reorder(piece.batch, plan.fields, snapshot.schema)
  segments.prime(snapshot, file, 0, format, piece.rendered ?? format.render(batch, snapshot.schema))
}
