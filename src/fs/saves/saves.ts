import { mkdirSync } from 'node:fs'
import { checkWritable } from '../../table/protocol.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import type { Table } from '../../table/table.ts'
import { clientKey, type FileClient } from '../ends-of-file.ts'
import type { Caller } from '../filesystem.ts'
import { type Lineage, lostHandle } from '../lineage.ts'
import type { Lineages } from '../lineages.ts'
import type { TableText } from '../text/layout.ts'
import type { Segments } from '../text/segments.ts'
import type { Text } from '../text/text.ts'
import { Committer } from './committer.ts'
import { type Disk, systemDisk } from './disk.ts'
import { DEFAULT_HOLD_TIMES, type HoldTimes } from './hold-times.ts'
import { isWholeAppend } from './image-facts.ts'
import { noOpeners, type Openers } from './openers.ts'
import type { Outcome } from './outcome.ts'
import { placeAtOffset } from './places.ts'
import { SaveQueue } from './queue.ts'
import { journalsLeft, recoverSave } from './recovery.ts'
import { noteBrought, Renames, type Renaming } from './renames.ts'
import { type Replaced, Replacements, type Replacing } from './replacements.ts'
import { Reporter } from './reporter.ts'
import { hasNoRows, isTruncated, type Save } from './save.ts'
import { Staging } from './staging.ts'
import { awaitsClose, isOpenElsewhere, reasonOf } from './state.ts'
import { Transitions } from './transitions.ts'
import { Writes } from './writes.ts'

const BULK_LOOK_MS = 50

export interface SavesOptions {
  readonly table: Table
  readonly segments: Segments
  readonly lineages: Lineages
  /** The folder of journals and spools; made if missing. */
  readonly directory: string
  readonly openText: (snapshot: Snapshot, previous: TableText | undefined) => Promise<TableText>
  /** Takes the sentence for `.errors`. */
  readonly report: (sentence: string) => void
  /** Keeps the bytes of an image that could not be taken, under a name of its own; the result is that name. */
  readonly setAside: (image: Text) => Promise<string>
  readonly holdTimes?: HoldTimes
  /** Tells who has a file open for writing; nobody can tell if not given. */
  readonly openers?: Openers
  /** The calls by which saves under way are kept. */
  readonly disk?: Disk
}

/**
 * The saves of one view: turns WRITEs, truncations and replacements into commits, one for each save. All changes pass
 * through one queue, so that they meet the table in the order in which they came.
 */
export class Saves {
  readonly #options: SavesOptions
  readonly #times: HoldTimes
  readonly #disk: Disk
  readonly #reporter: Reporter
  readonly #staging: Staging
  readonly #transitions: Transitions
  readonly #writes: Writes
  readonly #replacements: Replacements
  readonly #queue: SaveQueue
  /** Of files that took the name, or may have, and were not brought to the end of it. */
  readonly renames: Renames
  #waiting: (() => void)[] = []

  constructor(options: SavesOptions) {
    const { lineages, directory, openers = noOpeners, openText, setAside, table, segments } = options
    this.#options = options
    this.#times = options.holdTimes ?? DEFAULT_HOLD_TIMES
    this.#disk = options.disk ?? systemDisk
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const disk = this.#disk
    this.#reporter = new Reporter(`data.${lineages.format}`, options.report)
    const reporter = this.#reporter
    this.renames = new Renames(directory, disk)
    const { renames } = this
    const committer = new Committer({ table, segments, directory, disk, openText, reporter })
    this.#replacements = new Replacements({ renames, committer, reporter, openText })
    const onOver = (save: Save): void => this.#transitions.over(save)
    this.#staging = new Staging({ lineages, directory, disk, openers, reporter, onOver })
    const staging = this.#staging
    this.#transitions = new Transitions({
      lineages,
      times: this.#times,
      staging,
      committer,
      reporter,
      openText,
      setAside,
      task: run => this.#queue.task(run),
      onChange: () => this.#wake(),
    })
    this.#writes = new Writes({ lineages, staging, transitions: this.#transitions, reporter })
    this.#queue = new SaveQueue({
      answer: writes => this.#writes.stable(writes),
      isUnderWay: lineage => staging.of(lineage) !== undefined,
      onIdle: () => this.#wake(),
    })
  }

  /** The save under way on a lineage, if there is one: READ and GETATTR show its image. */
  of(lineage: Lineage): Save | undefined {
    return this.#staging.of(lineage)
  }

  /** Sentences about what is held, for `status`. */
  held(): string[] {
    return this.#staging.all.map(({ lineage, state }) => `data.${lineage.format}: ${reasonOf(state)}`)
  }

  /** WRITE that may stay in memory (RFC 1813, UNSTABLE): staged, not judged. */
  writeUnstable(lineage: Lineage, offset: number, bytes: Uint8Array, caller: FileClient): Promise<void> {
    return this.#queue.task(() => this.#writes.unstable(lineage, { offset, bytes, caller }))
  }

  /** WRITE that ends a save or a piece of one: judged, and committed where it is conclusive, before this resolves. */
  writeStable(lineage: Lineage, offset: number, bytes: Uint8Array, caller: FileClient): Promise<Outcome> {
    return this.#queue.write({ lineage, offset, bytes, caller, isGood: lineage.status !== 'retired' })
  }

  /** COMMIT: what was written unstably is durable when this resolves, and committed if that was all of it. */
  async commit(lineage: Lineage, caller: Caller): Promise<Outcome> {
    const save = this.of(lineage)
    if (save === undefined) return { kind: 'unchanged', asWritten: true }
    const { sequence } = save
    const isAsBefore = (): boolean => this.#staging.has(save) && save.sequence === sequence
    // It covers all that was answered before; only what is written from now on needs another one.
    this.#transitions.note(save, { kind: 'COMMIT' })
    save.commits++
    try {
      await save.watch.note(caller)
      await save.journal.sync()
      await this.#quietMoment(save, isAsBefore)
    } catch (error) {
      await this.#queue.task(async () => {
        if (this.#staging.has(save)) await this.#transitions.refuse(save, error, true)
      })
    } finally {
      save.commits--
    }
    let outcome: Outcome = { kind: 'held', asWritten: true }
    await this.#queue.task(async () => {
      if (!isAsBefore()) return
      await this.#transitions.findOut(lineage)
      if (isAsBefore()) outcome = await this.#transitions.answer(save, true)
    })
    return outcome
  }

  /** After a COMMIT: other WRITEs of its flush may be on their way, and a bulk append may go on. */
  async #quietMoment(save: Save, isAsBefore: () => boolean): Promise<void> {
    const { openAppendMs, quietMs } = this.#times
    const untilMs = performance.now() + openAppendMs
    for (;;) {
      const { sight, shape } = await this.#transitions.look(save)
      if (sight.kind !== 'open') return Bun.sleep(quietMs)
      if (!awaitsClose(sight, shape) || !isAsBefore() || performance.now() >= untilMs) return
      await Bun.sleep(Math.min(BULK_LOOK_MS, openAppendMs))
    }
  }

  /** SETATTR of the size. */
  async truncate(lineage: Lineage, size: number, caller: FileClient): Promise<Outcome> {
    let outcome: Outcome = { kind: 'unchanged', asWritten: true }
    await this.#queue.task(async () => {
      await this.#transitions.findOut(lineage)
      if (size === 0) await this.#endSaveBefore(lineage)
      const base = await this.#options.lineages.baseFor(lineage, caller)
      const known = this.of(lineage)
      if (known === undefined && size === base.size) return
      if (lineage.status === 'retired') throw lostHandle(lineage)
      const save = known ?? (await this.#reporter.refusing(() => this.#staging.begin(lineage, base)))
      await save.watch.note(caller)
      if (save.image.size !== size) outcome = await this.#cut(save, size, caller)
    })
    return outcome
  }

  async #cut(save: Save, size: number, caller: FileClient): Promise<Outcome> {
    const { base } = save
    if (size === 0) await save.watch.beginTruncation()
    const client = clientKey(caller)
    await this.#transitions.staging(save, () => {
      this.#staging.truncate(save, size)
      save.places.clear()
      save.places.set(client, placeAtOffset(base))
      this.#staging.notePlace(save, client)
    })
    const empties = hasNoRows(base, size)
    const event = { kind: 'SETATTR', empties, isWholeAppend: !empties && (await isWholeAppend(save)) } as const
    const outcome = await this.#transitions.call(save, event)
    save.watch.answered()
    return outcome
  }

  /** A program truncates the file again: what is held there was a save of its own, unless it has no rows yet. */
  async #endSaveBefore(lineage: Lineage): Promise<void> {
    const save = this.of(lineage)
    if (save?.state.kind !== 'held' || save.commits > 0 || hasNoRows(save.base, save.image.size)) return
    await this.#transitions.end(save, true)
  }

  /** See Replacements. `find` tells what the image is a change of, when the saves before are over. */
  async replace(find: () => Promise<Replacing>, image: Text, renaming: Renaming): Promise<Replaced> {
    let replaced: Replaced | undefined
    await this.#queue.task(async () => {
      await this.#finishHeld()
      replaced = await this.#replacements.replace(await find(), image, renaming)
      // WRITEs that bring these rows, too, may wait for their turn.
      noteBrought(replaced.record, this.#options.lineages, replaced.text.version)
    })
    return replaced!
  }

  /** All rows go at once, in one commit. */
  async removeAllRows(base: TableText): Promise<TableText> {
    let text = base
    await this.#queue.task(async () => {
      text = await this.#replacements.removeAllRows(base)
    })
    return text
  }

  /** Gives up what is being saved; its program hears of it. What a program is known to have open is its own matter. */
  async abandon(): Promise<void> {
    await this.#queue.task(async () => {
      for (const save of this.#staging.all)
        await this.#transitions.happened(save, { kind: 'abandon', canSee: save.watch.canSee })
    })
  }

  /**
   * `rm`: all rows go. `mv` from another file system, `tar` and `install` remove a file in order to make it anew: so this
   * is held for a moment, and what is then written is one save with it.
   */
  async removeRows(lineage: Lineage): Promise<void> {
    await this.#queue.task(async () => {
      const base = await this.#options.lineages.text(lineage)
      if (hasNoRows(base, base.size)) return
      const { protocol, metadata, schema } = base.snapshot
      const { location } = this.#options.table.store
      const save = await this.#reporter.refusing(() => {
        checkWritable(protocol, metadata.configuration, schema, true, location)
        return this.#staging.begin(lineage, base)
      })
      await this.#transitions.staging(save, () => this.#staging.truncate(save, base.headerBytes.length))
      await this.#transitions.call(save, { kind: 'REMOVE' })
    })
  }

  /** True if all rows of a lineage were taken away, and nothing has been written since. */
  isEmptied(lineage: Lineage): boolean {
    const save = this.of(lineage)
    return save !== undefined && isTruncated(save) && !save.image.hasWritten && hasNoRows(save.base, save.image.size)
  }

  /**
   * Resolves when no save is held but those whose files are open for writing: they go on, and the table is what it was
   * before them.
   */
  async settled(): Promise<void> {
    for (;;) {
      await this.endClosed()
      const isWaitedFor = this.#staging.all.some(({ state, watch }) => !isOpenElsewhere(state, watch.canSee))
      if (!isWaitedFor && this.#queue.isIdle) return
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    }
  }

  /** True if a save is under way that began with a truncation. */
  get isCut(): boolean {
    return this.#staging.all.some(isTruncated)
  }

  /** True if a save is under way. */
  get isBusy(): boolean {
    return this.#staging.size > 0
  }

  /** True if no save is under way, and no call. */
  get isIdle(): boolean {
    return !this.isBusy && this.#queue.isIdle
  }

  /** Ends the saves whose files nobody has open any more, if they wait for that. */
  async endClosed(): Promise<void> {
    if (this.isBusy) await Promise.all(this.#staging.all.map(save => this.#transitions.lookAgain(save)))
  }

  /** Brings every held image to its end now. One in the middle of its calls is left to its client. */
  async finish(): Promise<void> {
    await this.#queue.task(() => this.#finishHeld())
  }

  async #finishHeld(): Promise<void> {
    for (const save of this.#staging.all) {
      if (save.state.kind !== 'receiving' && save.commits === 0) await this.#transitions.end(save)
    }
  }

  /** Closes the journals and leaves them for the next process. */
  close(): void {
    this.#staging.close()
    this.#transitions.close()
  }

  /** Takes up what an earlier process held when it died; see recovery.ts. */
  async recover(): Promise<void> {
    const { table, lineages, directory } = this.#options
    const options = {
      table,
      lineages,
      directory,
      disk: this.#disk,
      staging: this.#staging,
      transitions: this.#transitions,
      reporter: this.#reporter,
    }
    for (const path of journalsLeft(directory)) await this.#queue.task(() => recoverSave(path, options))
  }

  /** A client is there again after a restart: what it was doing, it goes on with now or not at all. */
  clientSeen(caller: Caller): void {
    for (const save of this.#staging.all) {
      void save.watch.note(caller)
      this.#transitions.note(save, { kind: 'client' })
    }
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}
