import { ROW_GROUP_ROWS } from '../../columns/parquet/write.ts'
import { schemaFingerprint } from '../../columns/schema.ts'
import { renderCsv } from '../../columns/text/csv.ts'
import type { Batch } from '../../columns/types.ts'
import { writeDataFiles } from '../../table/operations/write.ts'
import type { OrderHint } from '../../table/order-hint.ts'
import type { LiveFile, Snapshot } from '../../table/snapshot.ts'
import type { Committed, Table } from '../../table/table.ts'
import type { Segments } from '../text/segments.ts'
import { addedBatches, type EditPlan } from './plan.ts'

/** Text of freshly written rows is remembered up to this size; larger files are rendered when somebody reads them. */
const PRIME_BYTES_MAX = 4 << 20

type Change = Extract<EditPlan, { kind: 'change' }>

export interface ApplyOptions {
  readonly table: Table
  readonly segments: Segments
  /** The version the edit was made from. */
  readonly snapshot: Snapshot
  readonly format: 'csv' | 'jsonl'
  /** Becomes the commit's `txnId`. */
  readonly editId: string
}

/** Commits a plan: new rows in a new file, removed rows in deletion vectors, all in one version. Rejects with TableError. */
export async function applyPlan(plan: Change, options: ApplyOptions): Promise<Committed> {
  const { table, snapshot } = options
  const deletions = plan.removed.length === 0 ? [] : await plan.base.rowsAt(plan.removed)
  const removedRows = deletions.reduce((sum, { rows }) => sum + rows.length, 0)
  const addedRows = plan.added.reduce((sum, { rows }) => sum + rows, 0)
  const order = await orderHint(plan)
  const schema = plan.schema ?? snapshot.schema
  const remembered: Batch[] = []
  const add =
    addedRows === 0
      ? []
      : await writeDataFiles(table, remembering(plan, options.format, remembered), {
          ...(plan.schema === undefined ? {} : { schema }),
          ...(order === undefined ? {} : { order }),
        })
  const committed = await table.commit({
    base: snapshot,
    ...describe(removedRows, addedRows),
    add,
    delete: deletions,
    ...(plan.schema === undefined ? {} : { schema }),
    txnId: options.editId,
  })
  if (schemaFingerprint(plan.fields) === schemaFingerprint(committed.snapshot.schema)) {
    prime(committed.snapshot, add, remembered, options.segments)
  }
  return committed
}

/** Where the new rows belong. None is needed for rows at the very end: that is where a new file stands anyway. */
async function orderHint(plan: Change): Promise<OrderHint | undefined> {
  let count = plan.added.length
  while (count > 0 && plan.added[count - 1]?.anchor === plan.base.size) count--
  if (count === 0) return undefined
  const inner = plan.added.slice(0, count)
  const anchors = await plan.base.anchorsAt(inner.map(range => range.anchor))
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

async function* remembering(plan: Change, format: 'csv' | 'jsonl', batches: Batch[]): AsyncGenerator<Batch> {
  const whole = plan.added.reduce((sum, range) => sum + range.end - range.start, 0) <= PRIME_BYTES_MAX
  for await (const { batch } of addedBatches(plan, format)) {
    if (whole) batches.push(batch)
    yield batch
  }
}

/** What the commit says of itself (commitInfo): the operation's name and numbers as other Delta writers give them. */
function describe(
  removedRows: number,
  addedRows: number,
): { operation: string; parameters: Record<string, string>; metrics: Record<string, string> } {
  if (removedRows === 0) {
    return {
      operation: 'WRITE',
      parameters: { mode: 'Append', partitionBy: '[]' },
      metrics: { numOutputRows: String(addedRows) },
    }
  }
  if (addedRows === 0) {
    return { operation: 'DELETE', parameters: { predicate: '[]' }, metrics: { numDeletedRows: String(removedRows) } }
  }
  const updated = Math.min(removedRows, addedRows)
  return {
    operation: 'MERGE',
    parameters: { predicate: '[]', matchedPredicates: '[]', notMatchedPredicates: '[]' },
    metrics: {
      numTargetRowsUpdated: String(updated),
      numTargetRowsInserted: String(addedRows - updated),
      numTargetRowsDeleted: String(removedRows - updated),
      numOutputRows: String(addedRows),
    },
  }
}

/** The text of the rows just written is known: nobody should have to decode them to read it. */
function prime(
  snapshot: Snapshot,
  add: readonly { path: string }[],
  batches: readonly Batch[],
  segments: Segments,
): void {
  const [only] = add
  const [batch] = batches
  if (only === undefined || add.length !== 1 || batch === undefined || batches.length !== 1) return
  const file = findFromEnd(snapshot.files, only.path)
  if (file === undefined || batch.rows > ROW_GROUP_ROWS || snapshot.partitionColumns.length > 0) return
  segments.prime(snapshot, file, 0, 'csv', renderCsv(batch, snapshot.schema))
}

function findFromEnd(files: readonly LiveFile[], path: string): LiveFile | undefined {
  for (let i = files.length - 1; i >= 0; i--) if (files[i]?.path === path) return files[i]
  return undefined
}
