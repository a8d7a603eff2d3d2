import { type EditPlan, withRemoved } from '../edits/change-plan.ts'
import { eachRow, matchRows } from '../edits/multiset.ts'
import type { ByteRange, TableText } from '../text/layout.ts'
import type { Text } from '../text/text.ts'

/** The answer to a call that may end a save. */
export interface Outcome {
  readonly kind: 'committed' | 'unchanged' | 'held'
  /** The view now shows exactly the bytes that were written. */
  readonly asWritten: boolean
}

/** Rows at the end of a text that a program has not seen. */
export interface Unseen {
  readonly from: number
  /** Rows that it had seen, and that stand behind `from` with the others: it took these away. */
  readonly own?: { readonly text: Text; readonly ranges: readonly ByteRange[] } | undefined
}

/** A change that takes away no rows that its writer had not seen. */
export async function keeping(plan: EditPlan, base: TableText, { from, own }: Unseen): Promise<EditPlan> {
  if (plan.kind !== 'change' || plan.base !== base || from >= base.size) return plan
  const seen = plan.removed
    .filter(({ start }) => start < from)
    .map(({ start, end }) => ({ start, end: Math.min(end, from) }))
  const behind = plan.removed
    .filter(({ end }) => end > from)
    .map(({ start, end }) => ({ start: Math.max(start, from), end }))
  const removed = own === undefined ? seen : [...seen, ...(await matching(base, behind, own))]
  if (removed.length === 0 && plan.added.length === 0) return { kind: 'unchanged' }
  return withRemoved(plan, removed)
}

/** Those rows of some ranges of a text that are rows of other ones. */
async function matching(base: TableText, ranges: ByteRange[], own: NonNullable<Unseen['own']>): Promise<ByteRange[]> {
  if (ranges.length === 0 || own.ranges.length === 0) return []
  const { cut } = base.format
  const marks = await matchRows(base, ranges, own.text, own.ranges, cut)
  const found: ByteRange[] = []
  await eachRow(base, ranges, cut, (row, _bytes, start, end, at) => {
    if (marks.a.has(row)) found.push({ start: at + start, end: at + end })
  })
  return found
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
