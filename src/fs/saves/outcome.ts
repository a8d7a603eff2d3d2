import { countAdded, countRemoved, type EditPlan, withRemoved } from '../edits/change-plan.ts'
import type { TableText } from '../text/layout.ts'
import type { Text } from '../text/text.ts'

/** The answer to a call that may end a save. */
export interface Outcome {
  readonly kind: 'committed' | 'unchanged' | 'held'
  /** The view now shows exactly the bytes that were written. */
  readonly asWritten: boolean
}

/** Rows at the end of a text that a program may not have seen. */
export interface Unseen {
  readonly from: number
  /** It has not: otherwise they count as seen where the program may have changed them. */
  readonly isSure: boolean
}

/** A change that takes away no rows that its writer had not seen. */
export async function keeping(plan: EditPlan, base: TableText, { from, isSure }: Unseen): Promise<EditPlan> {
  if (plan.kind !== 'change' || plan.base !== base || from >= base.size) return plan
  const removed = plan.removed
    .filter(({ start }) => start < from)
    .map(({ start, end }) => ({ start, end: Math.min(end, from) }))
  const kept = withRemoved(plan, removed)
  if (!isSure) {
    // More rows than it takes away from the ones in front: these may be the new forms of rows that it did see.
    if (countAdded(plan) > (await countRemoved(kept))) return plan
  }
  return removed.length === 0 && plan.added.length === 0 ? { kind: 'unchanged' } : kept
}

/** Larger texts are not compared with what was written: the client asks for the attributes, and reads again what it needs. */
const COMPARED_BYTES_MAX = 4 << 20

/**
 * True if a view shows, byte for byte, what was written. An append is compared from the old end on, so that it costs
 * nothing of the table's size. False where that would be dear to find out: it only makes the client look again.
 */
export async function showsAsWritten(plan: EditPlan, base: TableText, shown: TableText, image: Text): Promise<boolean> {
  if (shown.size !== image.size) return false
  const start = isAppend(plan, base) && shown.snapshot.version === base.snapshot.version + 1n ? base.size : 0
  if (shown.size - start > COMPARED_BYTES_MAX) return false
  const [left, right] = await Promise.all([shown.read(start, shown.size), image.read(start, image.size)])
  return Buffer.compare(left, right) === 0
}

/** True if a plan adds rows behind the end, and does nothing else. */
export function isAppend(plan: EditPlan, base: TableText): boolean {
  if (plan.kind !== 'change' || plan.base !== base || plan.removed.length > 0) return false
  return plan.added.every(({ start, anchor }) => anchor === base.size && start >= base.size)
}
