import { countAdded, countRemoved, type EditPlan, withRemoved } from '../edits/change-plan.ts'
import type { ByteRange, TableText } from '../text/layout.ts'
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
 * True if a view shows, byte for byte, what was written. False where that would be dear to find out: it only makes the client
 * look again.
 */
export async function showsAsWritten(plan: EditPlan, base: TableText, shown: TableText, image: Text): Promise<boolean> {
  if (shown.size !== image.size) return false
  const ranges = doubtful(plan, base, shown, image)
  if (bytesIn(ranges) > COMPARED_BYTES_MAX) return false
  for (const { start, end } of ranges) {
    const [left, right] = await Promise.all([shown.read(start, end), image.read(start, end)])
    if (Buffer.compare(left, right) !== 0) return false
  }
  return true
}

/**
 * The ranges in which a view may differ from the image of the same size: what stands in front of the first changed row and
 * behind the last one is as it was, and was compared. So a change costs nothing of the table's size.
 */
function doubtful(plan: EditPlan, base: TableText, shown: TableText, image: Text): ByteRange[] {
  const all = [{ start: 0, end: image.size }]
  if (plan.kind !== 'change' || plan.base !== base || plan.source !== image || plan.reordered) return all
  if (shown.snapshot.version !== base.snapshot.version + 1n) return all
  const { added, removed } = plan
  // A header that is repeated among new rows is none of them.
  if (image.size - base.size !== bytesIn(added) - bytesIn(removed)) return all
  const start = Math.min(added[0]?.start ?? image.size, removed[0]?.start ?? image.size)
  const behind = Math.min(image.size - (added.at(-1)?.end ?? 0), base.size - (removed.at(-1)?.end ?? 0))
  const header = { start: 0, end: Math.min(base.headerBytes.length, image.size) }
  return [header, { start, end: Math.max(start, image.size - behind) }]
}

function bytesIn(ranges: readonly ByteRange[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0)
}

/** True if a plan adds rows behind the end, and does nothing else. */
export function isAppend(plan: EditPlan, base: TableText): boolean {
  if (plan.kind !== 'change' || plan.base !== base || plan.removed.length > 0) return false
  return plan.added.every(({ start, anchor }) => anchor === base.size && start >= base.size)
}
