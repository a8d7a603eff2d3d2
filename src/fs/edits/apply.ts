import { FIRST_ROW_GROUP_ROWS } from '../../columns/parquet/write.ts'
import { schemaFingerprint } from '../../columns/schema.ts'
import type { Batch } from '../../columns/types.ts'
import { REPLACEMENT, textWouldBeLost } from '../../table/commit/copy-on-write.ts'
import { appended } from '../../table/operations/append.ts'
import { deleted } from '../../table/operations/delete.ts'
import { merged } from '../../table/operations/merge.ts'
import type { OrderHint } from '../../table/order-hint.ts'
import { usesDeletionVectors } from '../../table/protocol.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import {
  type Committed,
  committed,
  type Deletion,
  type Operation,
  type Table,
  type Transaction,
} from '../../table/table.ts'
import { type Section, TableText } from '../text/layout.ts'
import { type Segments, textKind } from '../text/segments.ts'
import type { Text } from '../text/text.ts'
import type { TextRange } from './diff.ts'
import { countChanges, type EditCounts } from './pairing.ts'
import { type AddedRows, addedBatches, batchesIn, type ChangePlan, occursAny } from './plan.ts'

/** Text of freshly written rows is remembered up to this size; larger files are rendered when somebody reads them. */
const PRIME_BYTES_MAX = 4 << 20

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
  if (plan.removed.length > 0 && !usesDeletionVectors(snapshot.protocol, snapshot.metadata.configuration)) {
    // A partitioned table's rows may change their folder, and have no places in the view to keep.
    if (snapshot.partitionColumns.length === 0) return await applyByRewriting(transaction, plan, options)
  }
  const deletions = plan.removed.length === 0 ? [] : await plan.base.rowsAt(plan.removed)
  const order = await orderHint(plan.base, plan.added)
  const counts = await countsOf(plan, deletions)
  transaction.deleteRows(...deletions)
  const remembered: Batch[] = []
  await transaction.write(remembering(plan, remembered), { order })
  const made = committed(await transaction.commit(operationOf(counts, transaction.base)))
  if (schemaFingerprint(transaction.schema) === schemaFingerprint(made.snapshot.schema)) {
    try {
      prime(made.snapshot, transaction.added, remembered, plan, options.segments)
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
  const sections = await touchedSections(base, removed)
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
    const ranges = rest.map(({ start, end }) => ({ text: plan.source, start, end }))
    await transaction.write(batchesOf(ranges, plan), { order: await orderHint(base, rest) })
  }
  transaction.removeFiles(...new Set(sections.flatMap(({ files }) => [...files])))
  const counts = await countsOf(plan, await base.rowsAt(removed))
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

/** The sections that lose rows, and those that share files with them. */
async function touchedSections(base: TableText, removed: readonly TextRange[]): Promise<Section[]> {
  const sections = await base.sections()
  const touched = new Set(
    sections.filter(({ start, end }) => removed.some(range => range.start < end && range.end > start)),
  )
  for (let size = -1; size !== touched.size; ) {
    size = touched.size
    const files = new Set([...touched].flatMap(section => [...section.files]))
    for (const section of sections) if ([...section.files].some(file => files.has(file))) touched.add(section)
  }
  return sections.filter(section => touched.has(section))
}

interface Piece extends TextRange {
  readonly text: Text
}

/** A section's text after the edit, as ranges of the base and of the new rows. */
function spliced(
  base: TableText,
  section: Section,
  removed: readonly TextRange[],
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
  for (const { start, end, anchor } of added) {
    keepTo(anchor)
    pieces.push({ text: plan.source, start, end })
  }
  keepTo(section.end)
  return pieces
}

async function* batchesOf(pieces: readonly Piece[], plan: ChangePlan): AsyncGenerator<Batch> {
  for (const { text, start, end } of pieces) yield* batchesIn(plan, text, { start, end })
}

/** Where the new rows belong. None is needed for rows at the very end: that is where a new file stands anyway. */
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

async function* remembering(plan: ChangePlan, batches: Batch[]): AsyncGenerator<Batch> {
  const whole = plan.added.reduce((sum, range) => sum + range.end - range.start, 0) <= PRIME_BYTES_MAX
  for await (const { batch } of addedBatches(plan)) {
    if (whole) batches.push(batch)
    yield batch
  }
}

function countsOf({ base, source, removed, added }: ChangePlan, deletions: readonly Deletion[]) {
  const { format, snapshot } = base
  const removedRows = deletions.reduce((sum, { rows }) => sum + rows.length, 0)
  const addedRows = added.reduce((sum, { rows }) => sum + rows, 0)
  return countChanges(format, snapshot.schema, base, { ranges: removed, rows: removedRows }, source, {
    ranges: added,
    rows: addedRows,
  })
}

/** The operation that an edit is to the history, by the rows that it touches. */
function operationOf({ updated, inserted, deleted: gone }: EditCounts, { partitionColumns }: Snapshot): Operation {
  if (updated + gone === 0) return appended({ rows: inserted, partitionColumns })
  if (updated + inserted === 0) return deleted({ rows: gone })
  return merged({ inserted, updated, deleted: gone })
}

/** The text of the rows just written is known: nobody should have to decode them to read it. */
function prime(
  snapshot: Snapshot,
  add: readonly { path: string }[],
  batches: readonly Batch[],
  plan: ChangePlan,
  segments: Segments,
): void {
  const [only] = add
  const [batch] = batches
  if (only === undefined || add.length !== 1 || batch === undefined || batches.length !== 1) return
  const file = snapshot.live.get(only.path)
  if (file === undefined || batch.rows > FIRST_ROW_GROUP_ROWS || snapshot.partitionColumns.length > 0) return
  const { format } = plan.base
  segments.prime(snapshot, file, 0, format, format.render(batch, snapshot.schema))
}
