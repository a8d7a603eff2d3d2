import { TextError } from '../../columns/errors.ts'
import { LakeError } from '../../core/errors.ts'
import { TableError } from '../../table/errors.ts'
import type { TextRange } from '../edits/diff.ts'
import type { EditPlan } from '../edits/plan.ts'
import type { FsErrorCode } from '../filesystem.ts'
import type { TableText } from '../text/layout.ts'
import { lineOf, type Text } from '../text/text.ts'

/** What became of a call that ended a save. */
export interface Outcome {
  readonly kind: 'committed' | 'unchanged' | 'held'
  /** The view now shows exactly the bytes that were written. */
  readonly asWritten: boolean
}

/** Rows of a text that a program may not have seen. */
export interface Unseen {
  /** Those that it has not, in their order. */
  readonly ranges: readonly TextRange[]
  /** From here on they may have come in behind its back: they count as seen only where it may have changed them. */
  readonly unsureFrom: number
}

/** What a program may have made its file from. */
export interface Seen {
  readonly text: TableText
  readonly unseen: Unseen
}

/** How many bytes of rows a plan takes away and brings. */
export function sizeOf(plan: EditPlan): number {
  if (plan.kind !== 'change') return 0
  return [...plan.removed, ...plan.added].reduce((sum, { start, end }) => sum + end - start, 0)
}

/** A change that takes away no rows that its writer had not seen. */
export async function keeping(plan: EditPlan, base: TableText, { ranges, unsureFrom }: Unseen): Promise<EditPlan> {
  if (plan.kind !== 'change' || plan.base !== base) return plan
  const seen = { ...plan, removed: without(plan.removed, ranges) }
  const removed = without(seen.removed, [{ start: unsureFrom, end: base.size }])
  const gone = (await base.rowsAt(removed)).reduce((sum, { rows }) => sum + rows.length, 0)
  const come = plan.added.reduce((sum, { rows }) => sum + rows, 0)
  // More rows than it takes away from the ones in front: these may be the new forms of rows that it did see.
  const kept = come > gone ? seen : { ...seen, removed }
  return kept.removed.length === 0 && kept.added.length === 0 ? { kind: 'unchanged' } : kept
}

function without(ranges: readonly TextRange[], others: readonly TextRange[]): TextRange[] {
  return others.reduce<TextRange[]>(
    (left, { start, end }) =>
      left
        .flatMap(range => [
          { start: range.start, end: Math.min(range.end, start) },
          { start: Math.max(range.start, end), end: range.end },
        ])
        .filter(range => range.start < range.end),
    [...ranges],
  )
}

/** Larger texts are not compared with what was written: the client asks for the attributes, and reads again what it needs. */
const COMPARED_BYTES_MAX = 4 << 20

/**
 * Whether a view shows, byte for byte, what was written. An append is compared from the old end on, so that it costs
 * nothing of the table's size. False where that would be dear to find out: it only makes the client look again.
 */
export async function showsAsWritten(plan: EditPlan, base: TableText, shown: TableText, image: Text): Promise<boolean> {
  if (shown.size !== image.size) return false
  const start = isAppend(plan, base) && shown.snapshot.version === base.snapshot.version + 1n ? base.size : 0
  if (shown.size - start > COMPARED_BYTES_MAX) return false
  const [left, right] = await Promise.all([shown.read(start, shown.size), image.read(start, image.size)])
  return Buffer.compare(left, right) === 0
}

/** Whether a plan adds rows behind the end, and does nothing else. */
export function isAppend(plan: EditPlan, base: TableText): boolean {
  if (plan.kind !== 'change' || plan.base !== base || plan.removed.length > 0) return false
  return plan.added.every(({ start, anchor }) => anchor === base.size && start >= base.size)
}

/** The refusal of an image with bytes that nobody wrote. */
export async function neverWritten(image: Text, { start, end }: { start: number; end: number }): Promise<TextError> {
  const line = await lineOf(image, start)
  return new TextError(
    'malformed_text',
    `line ${line}: ${end - start} bytes there were never written; the file was made longer, or written behind its end`,
    { line },
  )
}

/** The POSIX error that a program gets for what went wrong. */
export function codeOf(error: unknown): FsErrorCode {
  const code = error instanceof LakeError ? error.code : ''
  if (code === 'no_space') return 'ENOSPC'
  if (code === 'access_denied' || code === 'read_only') return 'EACCES'
  if (code === 'append_only') return 'EPERM'
  if (error instanceof TextError || code === 'constraint' || code === 'bad_schema') return 'EINVAL'
  return 'EIO'
}

/** Whether a commit failed, and may be in the log all the same. */
export function isUndecided(error: unknown): boolean {
  return error instanceof TableError && error.code === 'undecided'
}

/** How an image is judged. */
export interface Judging {
  /** A call waits for the verdict: its program hears of a refusal. */
  readonly early: boolean
  /** It may not be whole, as far as is known: then it is held. */
  readonly doubt?: { readonly committed: boolean; readonly isOpen: boolean }
}
