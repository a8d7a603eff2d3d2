import { base64 } from '../../core/base64.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import type { Committed } from '../../table/table.ts'
import { closePlan, type EditPlan } from '../edits/change-plan.ts'
import { TAIL_BYTES_MAX } from '../ends-of-file.ts'
import type { TableText } from '../text/layout.ts'
import { bytesText, type Text } from '../text/text.ts'
import type { Committer } from './committer.ts'
import { keeping, showsAsWritten, type Unseen } from './outcome.ts'
import type { BroughtBehind, RenameRecord, Renames, Renaming } from './renames.ts'
import type { Reporter } from './reporter.ts'
import { isUndecided } from './verdict.ts'

export interface ReplacementsOptions {
  readonly renames: Renames
  readonly committer: Committer
  readonly reporter: Reporter
  readonly openText: (snapshot: Snapshot, previous: TableText | undefined) => Promise<TableText>
}

/** A new text in the place of a view's. */
export interface Replaced {
  readonly text: TableText
  /** The view shows exactly the bytes of the image. */
  readonly asWritten: boolean
  readonly record: RenameRecord
}

/** The text that a new one is a change of, and the rows of it that its writer had not seen. */
export interface Replacing {
  readonly base: TableText
  readonly unseen?: Unseen
  /** Ends behind which its client may have new rows, too. */
  readonly behind?: readonly BroughtBehind[]
}

/** Commits whole new texts, which come in one piece: no save is held for them. */
export class Replacements {
  readonly #options: ReplacementsOptions

  constructor(options: ReplacementsOptions) {
    this.#options = options
  }

  /**
   * A whole new text takes the name (RENAME of a file onto the view): compared with `base` and committed before this
   * resolves, or refused with an FsError and nothing changed. Rows that its writer had not seen stay. Whatever goes wrong
   * behind the commit, even a kill, `renames` has the record until it is ended. FsError EJUKEBOX: it may be
   * committed, or is.
   */
  async replace({ base, unseen, behind }: Replacing, image: Text, renaming: Renaming): Promise<Replaced> {
    const { committer, reporter, renames } = this.#options
    const whole = await reporter.refusing(() => committer.plan(base, image))
    try {
      const plan = unseen === undefined ? whole : await keeping(whole, base, unseen)
      const changes = plan.kind !== 'unchanged'
      const rows = behind === undefined ? undefined : await addedBehind(plan, image)
      const brought = rows && { rows: base64(rows), behind: behind! }
      const record = { ...renaming, editId: crypto.randomUUID(), version: String(base.version), changes, brought }
      await reporter.refusing(() => renames.begin(record))
      const text = await this.#commit(plan, base, record)
      const asWritten = await showsAsWritten(plan, base, text, image).catch(() => false)
      return { text, asWritten, record }
    } finally {
      closePlan(whole)
    }
  }

  /** All rows go, in one commit. */
  async removeAllRows(base: TableText): Promise<TableText> {
    const { committer, reporter, openText } = this.#options
    const plan = await committer.plan(base, bytesText(new Uint8Array(0)))
    if (plan.kind !== 'change') return base
    const { snapshot } = await reporter.refusing(() => committer.commit(plan, base, crypto.randomUUID()))
    return openText(snapshot, base)
  }

  async #commit(plan: EditPlan, base: TableText, record: RenameRecord): Promise<TableText> {
    const { committer, reporter, renames, openText } = this.#options
    if (plan.kind === 'unchanged') return base
    let committed: Committed
    try {
      committed = await committer.commit(plan, base, record.editId)
    } catch (error) {
      if (isUndecided(error)) throw reporter.askAgain(error)
      renames.end(record)
      throw reporter.refusal(error)
    }
    return openText(committed.snapshot, base).catch(error => {
      throw reporter.askAgain(error)
    })
  }
}

/** The rows at the end of an image that a plan brings, if there are some, and few. */
async function addedBehind(plan: EditPlan, image: Text): Promise<Uint8Array | undefined> {
  const last = plan.kind === 'change' && plan.source === image ? plan.added.at(-1) : undefined
  if (last === undefined || last.end !== image.size || last.end - last.start > TAIL_BYTES_MAX) return undefined
  return (await image.read(last.start, last.end)).slice()
}
