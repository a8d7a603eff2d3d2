import { FIRST_ROW_GROUP_ROWS } from '../../columns/parquet/write.ts'
import { schemaFingerprint } from '../../columns/schema.ts'
import type { Batch } from '../../columns/types.ts'
import { REPLACEMENT, textWouldBeLost } from '../../table/commit/copy-on-write.ts'
import { keepsIds } from '../../table/commit/row-tracking.ts'
import { movesSince, type RowMoves } from '../../table/moved-rows.ts'
import { appended } from '../../table/operations/append.ts'
import { deleted } from '../../table/operations/delete.ts'
import { merged } from '../../table/operations/merge.ts'
import type { OrderHint } from '../../table/order-hint.ts'
import { mayUseDeletionVectors } from '../../table/protocol.ts'
import { isContinued, type Snapshot } from '../../table/snapshot.ts'
import {
  type CommitResult,
  type Committed,
  committed,
  type MovedRows,
  type Operation,
  type Table,
  type Transaction,
} from '../../table/table.ts'
import { type ByteRange, openText, type Section, TableText } from '../text/layout.ts'
import { type Segments, textKind } from '../text/segments.ts'
import type { Text } from '../text/text.ts'
import {
  type AddedRows,
  addedBatches,
  batchesIn,
  type ChangePlan,
  countAdded,
  countRemoved,
  lacksDefaults,
  removedBatches,
  reorder,
  withChanges,
} from './change-plan.ts'
import { occursAny } from './headers.ts'
import { countChanges, type EditCounts, keyColumn } from './pairing.ts'

const REPLACEMENT_BYTES = Buffer.from(REPLACEMENT)

export interface ApplyOptions {
  readonly table: Table
  readonly segments: Segments
  /** The version the edit was made from. */
  readonly snapshot: Snapshot
  /** Becomes the commit's `txnId`. */
  readonly editId: string
}

/** Other writers may have the numbers that new rows were to have so many times, or put files together. */
const ATTEMPTS_MAX = 100

/** Commits a plan: new rows in a new file, removed rows in deletion vectors, all in one version. Rejects with TableError. */
export async function applyPlan(plan: ChangePlan, options: ApplyOptions): Promise<Committed> {
  const { table, snapshot } = options
  for (let attempt = 1; ; attempt++) {
    // Whether there is a newer one, the commit finds out.
    const newest = table.snapshot
    const moves = await movesSince(table.store, snapshot, newest)
    const result = await tryPlan(plan, { ...options, newest, moves })
    if (result.kind !== 'conflict' || attempt === ATTEMPTS_MAX) return committed(result)
    const canBeTried = result.isNumbering === true || result.isPlacing === true
    if (!canBeTried && (await movesSince(table.store, newest, table.snapshot)) === undefined) return committed(result)
  }
}

/** A plan that goes on top of a newer version, in which files may have been put together. */
interface Attempt extends ApplyOptions {
  readonly newest: Snapshot
  readonly moves: RowMoves | undefined
}

async function tryPlan(given: ChangePlan, options: Attempt): Promise<CommitResult> {
  const { table, snapshot, editId, newest, moves } = options
  // Without deletion vectors, a partitioned table's rows may change their folder, and have no places in the view to keep;
  // rows that are made of their text no longer say which they were.
  const isByRewriting =
    given.removed.length > 0 &&
    !mayUseDeletionVectors(snapshot.protocol, snapshot.metadata.configuration) &&
    snapshot.partitionColumns.length === 0 &&
    !keepsIds(snapshot)
  const plan = isByRewriting ? await onNewest(given, options) : given
  const base = plan === given ? snapshot : newest
  await using transaction = table.begin(base, { txnId: editId, placedIn: newest })
  if (plan.schema !== undefined) transaction.changeSchema(plan.schema)
  await transaction.replaces(() => removedBatches(plan))
  if (plan.removed.length > 0) {
    const key = keyColumn(transaction.schema)
    transaction.tellChanges({
      removed: await plan.removedRows(),
      updates: { by: 'key', column: key < 0 ? undefined : key },
    })
  }
  if (isByRewriting) return await applyByRewriting(transaction, plan, options)
  const removed = await plan.removedRows()
  const deletions = moves?.rows(removed) ?? removed
  const places = await orderHint(plan.base, plan.added)
  const order = places && (moves?.places(places) ?? places)
  const counts = await countsOf(plan)
  transaction.deleteRows(...deletions)
  await transaction.write(addedBatches(plan), { order })
  const made = await transaction.commit(operationOf(counts, transaction.base))
  if (made.kind === 'conflict') return made
  // Rows that the table gave values have another text.
  const isAsGiven = !transaction.givesValues && !lacksDefaults(plan)
  if (isAsGiven && schemaFingerprint(transaction.schema) === schemaFingerprint(made.snapshot.schema)) {
    try {
      prime(made.snapshot, transaction.added, plan, options.segments)
    } catch {
      // Who reads it renders it. The commit is made.
    }
  }
  return made
}

/** A plan as one of the newest text, if that goes on from its base and only files were put together; else as it is. */
async function onNewest(plan: ChangePlan, { table, segments, newest, moves }: Attempt): Promise<ChangePlan> {
  const { snapshot, size, format } = plan.base
  if (moves === undefined || !isContinued(snapshot, newest)) return plan
  const shown = plan.schema === undefined ? newest : { ...newest, schema: snapshot.schema }
  const base = await openText(table, shown, segments, format, plan.base)
  const added = plan.added.map(range => (range.anchor === size ? { ...range, anchor: base.size } : range))
  return withChanges({ ...plan, base, added })
}

/**
 * The same for a table that does not enable deletion vectors: each touched file is written anew, with the edited rows in
 * their places, and stands where it stood. Files whose rows stand among its rows are taken in.
 */
async function applyByRewriting(
  transaction: Transaction,
  plan: ChangePlan,
  options: ApplyOptions,
): Promise<CommitResult> {
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
  return transaction.commit(operationOf(counts, transaction.base))
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

async function* batchesOf(pieces: readonly Piece[], plan: ChangePlan): AsyncGenerator<Batch | MovedRows> {
  for (const piece of pieces) {
    const isMoved = piece.text === plan.base
    for await (const batch of batchesIn(plan, piece.text, piece)) yield isMoved ? { moved: batch } : batch
  }
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
