import { isStoreAway, messageOf } from '../../core/errors.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import type { Committed } from '../../table/table.ts'
import type { EditPlan } from '../edits/change-plan.ts'
import { endOf } from '../ends-of-file.ts'
import { FsError } from '../filesystem.ts'
import type { Lineage } from '../lineage.ts'
import type { Lineages } from '../lineages.ts'
import type { TableText } from '../text/layout.ts'
import { rope, type Text } from '../text/text.ts'
import type { Committer } from './committer.ts'
import { PAGE_BYTES } from './completeness.ts'
import type { HoldTimes } from './hold-times.ts'
import { kindOf } from './image-facts.ts'
import { LeftOvers } from './left-overs.ts'
import { type Outcome, showsAsWritten } from './outcome.ts'
import { noteEnds, sizeFor } from './places.ts'
import type { Reporter } from './reporter.ts'
import { isAsWritten, type Save } from './save.ts'
import type { Staging } from './staging.ts'
import { type Act, next, type SaveEvent, type SaveState, type Shape, type Step } from './state.ts'
import { Timers } from './timers.ts'
import { judge, refusalInAdvance } from './verdict.ts'
import type { Sight } from './watch.ts'

const HELD: Outcome = { kind: 'held', asWritten: true }

export interface TransitionsOptions {
  readonly lineages: Lineages
  readonly times: HoldTimes
  readonly staging: Staging
  readonly committer: Committer
  readonly reporter: Reporter
  readonly openText: (snapshot: Snapshot, previous: TableText | undefined) => Promise<TableText>
  /** Keeps the bytes of an image that could not be taken, under a name of its own; the result is that name. */
  readonly setAside: (image: Text) => Promise<string>
  /** Runs something in its turn among all changes. */
  readonly task: (run: () => Promise<void>) => Promise<void>
  /** A save waits for something else than before. */
  readonly onChange: () => void
}

/** Takes saves from state to state, as the machine says, and does what it says is to be done. */
export class Transitions {
  readonly #options: TransitionsOptions
  readonly #timers: Timers
  readonly #leftOvers: LeftOvers
  /** Looks for whether files are closed that are under way. */
  readonly #looking = new Map<Save, Promise<void>>()

  constructor(options: TransitionsOptions) {
    this.#options = options
    const { setAside, reporter, staging } = options
    this.#leftOvers = new LeftOvers({ setAside, reporter, discard: journal => staging.discard(journal) })
    this.#timers = new Timers({
      times: options.times,
      onDeadline: save => this.#deadline(save),
      onLook: async save => {
        if (save.state.kind === 'receiving') await save.watch.look(await kindOf(save))
        else await this.lookAgain(save)
      },
      onFailed: error => options.reporter.say(`${messageOf(error)}; it is tried again`),
    })
  }

  // --- calls ---------------------------------------------------------------------------------------------------------

  /** Something has come, and its call does not wait for what becomes of it. */
  note(save: Save, event: SaveEvent): void {
    const { state, act } = next(save.state, event, this.#options.times)
    if (act.kind !== 'stay') this.#enter(save, state)
  }

  /** A call has come that is answered by what becomes of its save. Rejects with FsError if that is refused. */
  async call(save: Save, event: SaveEvent): Promise<Outcome> {
    this.#timers.stop(save)
    const step = next(save.state, event, this.#options.times)
    if (step.act.kind !== 'look') return this.#answer(save, step)
    save.state = step.state
    return this.answer(save, false)
  }

  /** A call is to be answered: by what /proc shows now. */
  async answer(save: Save, isCommit: boolean): Promise<Outcome> {
    this.#timers.stop(save)
    const { sight, shape } = await this.look(save)
    const step = next(save.state, { kind: 'seen', isCommit, sight, shape }, this.#options.times)
    if (step.act.kind === 'hold') {
      // Its program is told while it still listens.
      const error = await refusalInAdvance(save, this.#options.committer)
      if (error !== undefined) return this.refuse(save, error, true)
    }
    return this.#answer(save, step)
  }

  async #answer(save: Save, { state, act }: Step): Promise<Outcome> {
    switch (act.kind) {
      case 'sync':
        await this.#durably(save, () => undefined)
        this.#enter(save, state)
        return HELD
      case 'hold':
        await this.#durably(save, () => save.journal.held())
        this.#enter(save, state)
        return HELD
      case 'judge':
        this.#enter(save, state)
        return this.#judge(save, act)
      case 'give up':
        this.#enter(save, state)
        await this.#giveUp(save, act.because)
        this.#options.lineages.retire(save.lineage, save.mtimeBefore)
        throw new FsError('EIO', act.because)
      default:
        this.#enter(save, state)
        return HELD
    }
  }

  /** Stages bytes. What cannot be staged makes the whole save fail: an image that lacks a piece must not stay. */
  async staging(save: Save, run: () => void): Promise<void> {
    try {
      run()
    } catch (error) {
      await this.refuse(save, error, true)
    }
  }

  async #durably(save: Save, note: () => void): Promise<void> {
    try {
      note()
      await save.journal.sync()
    } catch (error) {
      await this.refuse(save, error, true)
    }
  }

  /** Looks at /proc for a save's file, and at its image. */
  async look(save: Save): Promise<{ sight: Sight; shape: Shape }> {
    const kind = await kindOf(save)
    const sight = await save.watch.look(kind)
    const { size, hasWritten } = save.image
    return { sight, shape: { isAppend: kind === 'append', isPages: size % PAGE_BYTES === 0, hasWritten } }
  }

  // --- what happens without a call -----------------------------------------------------------------------------------

  /** `keepsHandle`: if the image is set aside, the same handle goes on with another save. */
  async happened(save: Save, event: SaveEvent, keepsHandle = false): Promise<void> {
    const { staging, times, lineages } = this.#options
    let step = next(save.state, event, times)
    if (step.act.kind === 'find out') {
      await this.findOut(save.lineage).catch(() => undefined)
      if (!staging.has(save)) return
      step = next(save.state, event, times)
    }
    const { state, act } = step
    if (act.kind === 'stay' || act.kind === 'find out') return
    if (act.kind === 'drop') {
      staging.drop(save)
      lineages.retire(save.lineage)
      return
    }
    this.#enter(save, state)
    const isTaken = await this.#conclude(save, act)
    // What its program may yet write belongs behind it, not into the text that is back.
    if (!isTaken && !keepsHandle) lineages.retire(save.lineage, save.mtimeBefore)
  }

  /** False if the image was set aside. */
  async #conclude(save: Save, act: Act): Promise<boolean> {
    if (act.kind === 'give up') {
      await this.#giveUp(save, act.because)
      return false
    }
    if (act.kind !== 'judge') return true
    try {
      await this.#judge(save, act)
      return true
    } catch (error) {
      // It is looked for again, until it is known what became of it.
      if (save.state.kind === 'undecided') return true
      // Reported in `.errors` and set aside already; there is no program to tell.
      if (!(error instanceof FsError)) this.#options.reporter.sayAlone(messageOf(error))
      return false
    }
  }

  async #deadline(save: Save): Promise<void> {
    const { state, sequence } = save
    await this.#options.task(async () => {
      if (!this.#options.staging.has(save) || save.sequence !== sequence || save.state !== state) return
      const { sight } = await this.look(save)
      await this.happened(save, { kind: 'deadline', sight })
    })
  }

  /** Looks whether a save that waits for the close of its file is over, and ends it then. */
  async lookAgain(save: Save): Promise<void> {
    // A look that began before this call may have missed what it is about.
    await this.#looking.get(save)
    if (save.state.kind !== 'held' || save.state.until.kind !== 'closed') return
    const looking = this.#looking.get(save) ?? this.#lookClosely(save).finally(() => this.#looking.delete(save))
    this.#looking.set(save, looking)
    await looking
  }

  async #lookClosely(save: Save): Promise<void> {
    const { sequence } = save
    const hasChanged = (): boolean => save.sequence !== sequence || !this.#options.staging.has(save)
    const sight = await save.watch.lookClosely(await kindOf(save), hasChanged)
    if (sight.kind === 'open') return
    await this.#options.task(async () => {
      if (!hasChanged()) await this.happened(save, { kind: 'look', sight })
    })
  }

  /** A save ends by what others do, unless a program has it open. */
  async end(save: Save, keepsHandle = false): Promise<void> {
    const sight = await save.watch.lookClosely(await kindOf(save), () => false)
    await this.happened(save, { kind: 'end', sight, isAwaited: save.commits > 0 }, keepsHandle)
  }

  /**
   * A save whose commit may be in the log: nothing happens to its lineage before that is known. FsError EJUKEBOX if it
   * cannot be known now; else the save is over, or is one whose commit was never made.
   */
  async findOut(lineage: Lineage): Promise<void> {
    const { staging, committer, reporter } = this.#options
    const save = staging.of(lineage)
    if (save?.state.kind !== 'undecided') return
    const version = await committer.findInLog(save).catch(error => {
      this.note(save, { kind: 'unknown' })
      throw reporter.askAgain(error)
    })
    if (version === undefined) this.note(save, { kind: 'not in the log' })
    else this.#committedUnread(save, version)
  }

  /** A save is over: what is waited for does not matter any more. */
  over(save: Save): void {
    this.#timers.stop(save)
    save.state = next(save.state, { kind: 'over' }, this.#options.times).state
    this.#options.onChange()
  }

  #enter(save: Save, state: SaveState): void {
    save.state = state
    this.#timers.arm(save)
    this.#options.onChange()
  }

  // --- the verdict ---------------------------------------------------------------------------------------------------

  async #judge(save: Save, { told, doubt }: Extract<Act, { kind: 'judge' }>): Promise<Outcome> {
    const { times, committer, reporter } = this.#options
    const verdict = await judge(save, doubt, committer, times)
    switch (verdict.kind) {
      case 'incomplete': {
        const { hasWritten } = save.image
        const event = { ...verdict, isOpen: doubt?.isOpen === true, hasWritten }
        return this.#answer(save, next(save.state, event, times))
      }
      case 'committed':
        return this.#committed(save, verdict.plan, verdict.committed)
      case 'unchanged':
        return this.#unchanged(save, verdict.plan)
      case 'undecided':
        this.note(save, { kind: 'unknown' })
        throw reporter.askAgain(verdict.error)
      case 'refused':
        return this.refuse(save, verdict.error, told)
    }
  }

  async #unchanged(save: Save, plan: EditPlan): Promise<Outcome> {
    const { lineages, staging } = this.#options
    const { lineage, base, image } = save
    const asWritten = await showsAsWritten(plan, base, base, image).catch(() => false)
    // It only tells what is appended next.
    await noteEnds(lineages, save, plan, base, asWritten).catch(() => undefined)
    lineages.noteWritten(lineage, save.written)
    if (asWritten) lineages.noteSaved(lineage, save.places.keys(), save, true)
    staging.drop(save)
    lineages.release(lineage)
    if (!asWritten) lineages.touch(lineage)
    return { kind: 'unchanged', asWritten }
  }

  /** A save is in the table: nothing that goes wrong from here on may look as if it were not. */
  async #committed(save: Save, plan: EditPlan, { snapshot }: Committed): Promise<Outcome> {
    const { lineages, openText, staging } = this.#options
    const { lineage, base, image, written } = save
    const text = await openText(snapshot, base).catch(() => undefined)
    if (text === undefined) return this.#committedUnread(save, snapshot.version)
    const asWritten = isAsWritten(save) && (await showsAsWritten(plan, base, text, image).catch(() => false))
    lineages.advance(lineage, text, written)
    if (asWritten) lineages.noteSaved(lineage, save.places.keys(), save, true)
    await noteEnds(lineages, save, plan, text, asWritten).catch(() => undefined)
    staging.dropSaved(save)
    if (!asWritten) lineages.touch(lineage)
    // There was room for this one.
    void this.#leftOvers.tryAgain()
    return { kind: 'committed', asWritten }
  }

  /** A save that an earlier process committed, and did not bring to its end. */
  async wasCommitted(save: Save, version: bigint): Promise<void> {
    const { lineages, committer, staging } = this.#options
    const { lineage, base, image, places, written } = save
    // Of some clients it may have been noted.
    for (const key of [...places.keys()]) if (lineage.ends.hasLanded(key, version)) places.delete(key)
    const text = await lineages.textAt(lineage, version)
    const plan = text === undefined ? undefined : await committer.planOf(save).catch(() => undefined)
    if (lineage.version < version) lineages.moveTo(lineage, version, written)
    if (text !== undefined && plan !== undefined) {
      const asWritten = isAsWritten(save) && (await showsAsWritten(plan, base, text, image).catch(() => false))
      await noteEnds(lineages, save, plan, text, asWritten).catch(() => undefined)
    } else this.#noteEndsUnread(save)
    lineages.release(lineage)
    staging.dropSaved(save)
    lineages.touch(lineage)
  }

  /** The ends that its clients take for theirs are known, but no version that has just this in front of it. */
  #noteEndsUnread(save: Save): void {
    const { lineages } = this.#options
    for (const [key, { end }] of save.places)
      lineages.noteWrote(save.lineage, key, endOf(sizeFor(save, key), undefined), end)
    lineages.noteSaved(save.lineage, save.places.keys(), save, false)
  }

  /** The end of a save whose new text cannot be read at this moment, or of which the log alone tells what it was. */
  #committedUnread(save: Save, version: bigint): Outcome {
    const { lineages, staging } = this.#options
    lineages.moveTo(save.lineage, version, save.written)
    this.#noteEndsUnread(save)
    lineages.release(save.lineage)
    staging.dropSaved(save)
    lineages.touch(save.lineage)
    return { kind: 'committed', asWritten: false }
  }

  /** The image cannot be taken: the table stays as it was. `told`: its program hears of it; if not, the bytes are kept. */
  async refuse(save: Save, error: unknown, told: boolean): Promise<never> {
    const { lineages, staging, reporter, times } = this.#options
    const refusal = reporter.refusal(error)
    const { state, act } = next(save.state, { kind: 'refused', told }, times)
    this.#enter(save, state)
    if (act.kind === 'set aside') await this.setAside(save)
    else {
      // Its program has heard of it, and is gone, mostly, before the store is back.
      if (isStoreAway(error)) await this.#keep(save)
      staging.drop(save)
    }
    if (told) {
      lineages.touch(save.lineage)
      lineages.retire(save.lineage, save.mtimeBefore)
    }
    throw refusal
  }

  /** Keeps what was written, beside the table: of an append its rows. */
  async #keep(save: Save): Promise<void> {
    const { setAside, reporter } = this.#options
    const { base, image } = save
    try {
      const header = { text: base, start: 0, end: base.headerBytes.length }
      const isAppend = (await kindOf(save)) === 'append'
      const kept = isAppend ? rope([header, { text: image, start: base.size, end: image.size }]) : image
      reporter.say(`what was written is kept as ${await setAside(kept)}`)
    } catch (error) {
      reporter.say(`what was written cannot be kept: ${messageOf(error)}`)
    }
  }

  async #giveUp(save: Save, because: string): Promise<void> {
    this.#options.reporter.say(`a save was given up: ${because}`)
    await this.setAside(save)
  }

  /** Keeps the bytes of an image that cannot be taken beside the table, and ends its save. */
  async setAside(save: Save): Promise<void> {
    const { setAside, reporter, lineages, staging } = this.#options
    try {
      if (save.image.hasWritten) {
        const name = await setAside(save.image)
        reporter.say(`the save was set aside as ${name}; the table is as it was`)
      }
      staging.drop(save)
    } catch (error) {
      const { path } = save.journal
      reporter.say(
        `the save cannot be set aside: ${messageOf(error)}; it stays in ${path}, and is set aside as soon as there is room`,
      )
      staging.leave(save)
      this.#leftOvers.keep(save)
    }
    lineages.touch(save.lineage)
    lineages.save(save.lineage)
  }

  /** Leaves what is still to be set aside to the next process. */
  close(): void {
    this.#leftOvers.close()
  }
}
