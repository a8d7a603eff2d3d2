import { TextError } from '../../columns/errors.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import type { Committed, Table } from '../../table/table.ts'
import { applyPlan } from '../edits/apply.ts'
import type { ChangePlan, EditPlan } from '../edits/change-plan.ts'
import { planEdit } from '../edits/plan.ts'
import type { TableText } from '../text/layout.ts'
import type { Segments } from '../text/segments.ts'
import { lineOf, type Text } from '../text/text.ts'
import type { Disk } from './disk.ts'
import type { Reporter } from './reporter.ts'
import type { Save } from './save.ts'
import { FileSpool } from './spool.ts'
import { forgetPlan } from './staging.ts'

export interface CommitterOptions {
  readonly table: Table
  readonly segments: Segments
  /** The folder of texts as large as the table, while they are compared. */
  readonly directory: string
  readonly disk: Disk
  readonly openText: (snapshot: Snapshot, previous: TableText | undefined) => Promise<TableText>
  readonly reporter: Reporter
}

/** Compares images with the table, and commits what they change. */
export class Committer {
  readonly #options: CommitterOptions

  constructor(options: CommitterOptions) {
    this.#options = options
  }

  /** The changes that the image of a save makes; compared once, as long as it stays as it is. */
  async planOf(save: Save): Promise<EditPlan> {
    const { sequence, planned } = save
    if (planned?.sequence === sequence) {
      if (planned.plan instanceof Error) throw planned.plan
      return planned.plan
    }
    forgetPlan(save)
    try {
      const hole = save.image.firstHole()
      if (hole !== undefined) throw await neverWritten(save.image, hole)
      const plan = await this.plan(save.base, save.image, save.image.sameAs())
      save.planned = { sequence, plan }
      return plan
    } catch (error) {
      // What could not be read may be readable later; bad rows stay bad.
      if (error instanceof TextError) save.planned = { sequence, plan: error }
      throw error
    }
  }

  /** The changes that an image makes; to be closed by the caller. */
  plan(base: TableText, image: Text, sameAs: Parameters<typeof planEdit>[2]['sameAs'] = []): Promise<EditPlan> {
    const { directory, disk, openText } = this.#options
    return planEdit(base, image, {
      spool: () => FileSpool.create(directory, disk),
      textWithSchema: snapshot => openText(snapshot, base),
      sameAs,
    })
  }

  /** Rows of a save are not added. */
  sayBrought(): void {
    this.#options.reporter.say(
      'rows that were appended are in a file that took its place meanwhile: they are not added again',
    )
  }

  /** Rejects if nothing was committed, or with TableError `undecided`. */
  async commit(plan: ChangePlan, base: TableText, editId: string): Promise<Committed> {
    const { table, segments, reporter } = this.#options
    const committed = await applyPlan(plan, { table, segments, snapshot: base.snapshot, editId })
    const { version, doubt } = committed
    if (doubt !== undefined)
      reporter.say(`the save is in the table as version ${version}, but a power cut may take it away: ${doubt}`)
    return committed
  }

  /** The version whose commit is a save's, or undefined if there is none. Rejects if that cannot be known now. */
  findInLog(save: Save): Promise<bigint | undefined> {
    const { editId, version } = save.journal.header
    return this.#options.table.findTransaction(editId, BigInt(version))
  }
}

/** The refusal of an image with bytes that nobody wrote. */
async function neverWritten(image: Text, { start, end }: { start: number; end: number }): Promise<TextError> {
  const line = await lineOf(image, start)
  return new TextError(
    'malformed_text',
    `line ${line}: ${end - start} bytes there were never written; the file was made longer, or written behind its end`,
    { line },
  )
}
