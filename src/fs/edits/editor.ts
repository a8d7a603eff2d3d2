import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, statSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { TextError } from '../../columns/errors.ts'
import { TEXT_FORMAT_VERSION } from '../../columns/text/rendered.ts'
import type { Clock } from '../../core/clock.ts'
import { messageOf } from '../../core/errors.ts'
import { checkWritable } from '../../table/protocol.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import type { Committed, Table } from '../../table/table.ts'
import { clientKey, type FileClient } from '../ends-of-file.ts'
import { type Caller, FsError } from '../filesystem.ts'
import { type Line, type Lines, lostHandle, writeKey } from '../lines.ts'
import {
  type Incomplete,
  isBadForGood,
  isParsedEarly,
  mayGoOn,
  mayStillParse,
  outsideSigns,
  PAGE_BYTES,
} from '../saves/completeness.ts'
import {
  checkGap,
  type Edit,
  isAsWritten,
  isOpenElsewhere,
  isWholeAppend,
  kindOf,
  newEdit,
  noteTruncation,
  replay,
} from '../saves/edit.ts'
import { DEFAULT_HOLD_TIMES, type HoldTimes } from '../saves/hold-times.ts'
import { noOpeners, type Openers } from '../saves/openers.ts'
import {
  codeOf,
  isUndecided,
  type Judging,
  keeping,
  neverWritten,
  type Outcome,
  type Seen,
  showsAsWritten,
  sizeOf,
} from '../saves/outcome.ts'
import {
  checkTogether,
  isBehindEarlier,
  joinSave,
  noteEnds,
  placeAtOffset,
  placed,
  type Written,
} from '../saves/places.ts'
import { SaveQueue, type StableWrite } from '../saves/queue.ts'
import { next, type SaveEvent, type Until } from '../saves/state.ts'
import { type Sight, Watch } from '../saves/watch.ts'
import type { WritePlace } from '../saves/writing.ts'
import type { TableText } from '../text/layout.ts'
import type { Segments } from '../text/segments.ts'
import { bytesText, isAt, type Text } from '../text/text.ts'
import { applyPlan } from './apply.ts'
import { Discards } from './discards.ts'
import { type Disk, systemDisk } from './disk.ts'
import { EditJournal, type JournalRecord, journalKind } from './journal.ts'
import { type ChangePlan, type EditPlan, type PlanOptions, planEdit } from './plan.ts'
import { type RenameRecord, Renames, type Renaming } from './renames.ts'
import { FileSpool } from './spool.ts'

export { DEFAULT_HOLD_TIMES, type HoldTimes }

/** So many WRITEs may be under way at the end of a save, whose client sends them again after a crash. */
const REPEATED_MAX = 16

/** A file that is open for writing is looked at again after a moment, then ever more seldom. */
const FIRST_LOOK_MS = 10
const LOOK_MS_MAX = 250
/** Looking takes at most a tenth of the time, however many processes there are. */
const LOOK_SHARE = 10
const BULK_LOOK_MS = 50
/** Where it cannot be known whether a commit is in the log, or the log cannot be read, it is looked at again. */
const UNDECIDED_MS = 1000

export interface EditorOptions {
  readonly table: Table
  readonly segments: Segments
  readonly lines: Lines
  /** Where journals and spools lie; made if missing. */
  readonly directory: string
  readonly clock: Clock
  readonly openText: (snapshot: Snapshot, previous: TableText | undefined) => Promise<TableText>
  /** Takes the sentence for `.errors`. */
  readonly report: (sentence: string) => void
  /** Keeps the bytes of an image that could not be taken, under a name of its own; the result is that name. */
  readonly setAside: (image: Text) => Promise<string>
  readonly holdTimes?: HoldTimes
  /** Tells who has a file open for writing; nobody can tell if not given. */
  readonly openers?: Openers
  /** What saves under way are kept with. */
  readonly disk?: Disk
}

/**
 * Turns the WRITEs and truncations of one view into commits, one for each save. All changes pass through one queue, so
 * that they meet the table in the order in which they came; stable appends that wait there go together into one commit.
 */
export class Editor {
  readonly #options: EditorOptions
  readonly #times: HoldTimes
  readonly #edits = new Map<bigint, Edit>()
  readonly #queue = new SaveQueue({
    writeTogether: writes => this.#writeTogether(writes),
    // What goes into a save that is under way may be put off, if it is another client's.
    goTogether: (first, next) =>
      this.editOf(first.line) === undefined || clientKey(first.caller) === clientKey(next.caller),
    onIdle: () => this.#wake(),
  })
  /** Taken up after a restart, and not touched since. */
  readonly #interrupted = new Set<Edit>()
  readonly #disk: Disk
  /** Of files that took the name, or may have, and were not brought to the end of it. */
  readonly renames: Renames
  readonly #discards: Discards
  #saidLast = ''
  /** Refusals whose sentences are in `.errors`. */
  readonly #told = new WeakSet<FsError>()
  #idle: (() => void)[] = []

  constructor(options: EditorOptions) {
    this.#options = options
    this.#times = options.holdTimes ?? DEFAULT_HOLD_TIMES
    this.#disk = options.disk ?? systemDisk
    mkdirSync(options.directory, { recursive: true, mode: 0o700 })
    this.renames = new Renames(options.directory, this.#disk)
    this.#discards = new Discards(options.report)
  }

  /** The edit under way on a line, if there is one: READ and GETATTR show its image. */
  editOf(line: Line): Edit | undefined {
    return this.#edits.get(line.id)
  }

  /** Sentences about what is held, for `status`. */
  held(): string[] {
    return [...this.#edits.values()].map(
      ({ line, state }) => `data.${line.format}: ${state.kind === 'held' ? state.because : 'a save is under way'}`,
    )
  }

  /** WRITE that may stay in memory (RFC 1813, UNSTABLE): staged, not judged. */
  async writeUnstable(line: Line, offset: number, bytes: Uint8Array, caller: FileClient): Promise<void> {
    await this.#task(async () => {
      await this.#settleUndecided(line)
      const write = { offset, bytes, caller }
      const edit = await this.#beginWrite(line, [write], line.status !== 'retired')
      await edit.watch.note(caller)
      await this.#staging(edit, () => this.#splice(edit, write, false))
      this.#receive(edit)
    })
  }

  /** WRITE that ends a save or a piece of one: judged, and committed where it is conclusive, before this resolves. */
  writeStable(line: Line, offset: number, bytes: Uint8Array, caller: FileClient): Promise<Outcome> {
    return this.#queue.write({ line, offset, bytes, caller, isGood: line.status !== 'retired' })
  }

  /** COMMIT: what was written unstably is durable when this resolves, and committed if that was all of it. */
  async commit(line: Line, caller: Caller): Promise<Outcome> {
    const edit = this.editOf(line)
    if (edit === undefined) return { kind: 'unchanged', asWritten: true }
    const { sequence } = edit
    // It covers all that was answered before; only what is written from now on needs another one.
    edit.state = { kind: 'judged' }
    edit.committing++
    try {
      await edit.watch.note(caller)
      await edit.journal.sync()
      await this.#quietMoment(edit)
    } catch (error) {
      await this.#task(async () => {
        if (this.editOf(line) === edit) await this.#refuse(edit, error, true)
      })
    } finally {
      edit.committing--
    }
    let outcome: Outcome = { kind: 'held', asWritten: true }
    await this.#task(async () => {
      if (this.editOf(line) !== edit || edit.sequence !== sequence) return
      await this.#settleUndecided(line)
      if (this.editOf(line) === edit) outcome = await this.#decide(edit, 'commit')
    })
    return outcome
  }

  /** After a COMMIT: other WRITEs of its flush may be on their way, and a bulk append may go on. */
  async #quietMoment(edit: Edit): Promise<void> {
    const { sequence } = edit
    const isAsBefore = (): boolean => edit.sequence === sequence && this.editOf(edit.line) === edit
    const untilMs = performance.now() + this.#times.openAppendMs
    for (;;) {
      const { step, sight } = await this.#look(edit, 'commit')
      if (sight.kind !== 'open') return Bun.sleep(this.#times.quietMs)
      if (step.kind !== 'await close' || !isAsBefore() || performance.now() >= untilMs) return
      await Bun.sleep(Math.min(BULK_LOOK_MS, this.#times.openAppendMs))
    }
  }

  /** SETATTR of the size. */
  async truncate(line: Line, size: number, caller: FileClient): Promise<Outcome> {
    let outcome: Outcome = { kind: 'unchanged', asWritten: true }
    await this.#task(async () => {
      await this.#settleUndecided(line)
      if (size === 0) await this.#endSaveBefore(line)
      const base = await this.#options.lines.text(line)
      const known = this.editOf(line)
      if (known === undefined && size === base.size) return
      if (line.status === 'retired') throw lostHandle(line)
      const edit = known ?? (await this.#refusing(async () => this.#begin(line, base)))
      await edit.watch.note(caller)
      if (edit.image.size === size) return
      this.#stopTimers(edit)
      if (size === 0) await edit.watch.beginTruncation()
      await this.#staging(edit, () => {
        checkGap(edit, size)
        edit.journal.truncate(size)
      })
      edit.image.truncate(size)
      edit.places.clear()
      edit.places.set(clientKey(caller), placeAtOffset(base))
      edit.sequence++
      noteTruncation(edit, size)
      this.#options.lines.touch(line)
      outcome = await this.#decide(edit, 'stable write')
      edit.watch.answered()
    })
    return outcome
  }

  /** An empty file has taken the view's name (CREATE after a RENAME away): what is written to it replaces the rows of `base`. */
  async startEmpty(line: Line, caller: FileClient): Promise<void> {
    await this.truncate(line, 0, caller)
  }

  /**
   * A whole new text takes the name (RENAME of a file onto the view): compared with what it was made from and committed before this
   * resolves, or refused with an FsError and nothing changed. Rows that its writer had not seen stay. Whatever goes wrong
   * behind the commit, even a kill, `renames` has the record until it is ended. FsError EJUKEBOX: it may be
   * committed, or is.
   */
  async replace(
    seen: readonly Seen[],
    image: Text,
    renaming: Renaming,
  ): Promise<{ text: TableText; asWritten: boolean; record: RenameRecord }> {
    let result: { text: TableText; asWritten: boolean; record: RenameRecord } | undefined
    await this.#task(async () => {
      await this.#finishHeld()
      const { base, plan } = await this.#refusing(() => this.#leastPlan(seen, image))
      const changes = plan.kind !== 'unchanged'
      const record = { ...renaming, editId: randomUUID(), version: String(base.snapshot.version), changes }
      await this.#refusing(() => this.renames.begin(record))
      const text = await this.#replaceBy(plan, base, record)
      const asWritten = await showsAsWritten(plan, base, text, image).catch(() => false)
      result = { text, asWritten, record }
    })
    return result!
  }

  /** What a program has made its file from is what differs least from it. */
  async #leastPlan(seen: readonly Seen[], image: Text): Promise<{ base: TableText; plan: EditPlan }> {
    let least: { base: TableText; plan: EditPlan; size: number } | undefined
    for (const { text: base, unseen } of seen) {
      const plan = await keeping(await this.#plan(base, image, undefined), base, unseen)
      const size = sizeOf(plan)
      if (least === undefined || size < least.size) least = { base, plan, size }
    }
    return least!
  }

  async #replaceBy(plan: EditPlan, base: TableText, record: RenameRecord): Promise<TableText> {
    if (plan.kind === 'unchanged') return base
    let committed: Committed
    try {
      committed = await this.#commitPlan(plan, base, record.editId)
    } catch (error) {
      if (isUndecided(error)) throw this.#askAgain(error)
      this.renames.end(record)
      throw this.#refusal(error)
    }
    return this.#options.openText(committed.snapshot, base).catch(error => {
      throw this.#askAgain(error)
    })
  }

  /** What is being saved is given up; its program hears of it. What a program is known to have open is its own matter. */
  async abandon(): Promise<void> {
    await this.#task(async () => {
      for (const edit of [...this.#edits.values()]) {
        if (isOpenElsewhere(edit) || edit.isUndecided) continue
        this.#drop(edit)
        this.#options.lines.retire(edit.line)
      }
    })
  }

  /**
   * `rm`: all rows go. `mv` from another file system, `tar` and `install` remove a file in order to make it anew: so this
   * is held for a moment, and what is then written is one save with it.
   */
  async removeRows(line: Line): Promise<void> {
    await this.#task(async () => {
      const base = await this.#options.lines.text(line)
      const size = base.headerBytes.length
      if (base.size <= size) return
      const { protocol, metadata, schema } = base.snapshot
      const { location } = this.#options.table.store
      await this.#refusing(async () => checkWritable(protocol, metadata.configuration, schema, true, location))
      const edit = await this.#refusing(async () => this.#begin(line, base))
      await this.#staging(edit, () => edit.journal.truncate(size))
      edit.image.truncate(size)
      edit.sequence++
      edit.truncated = true
      this.#options.lines.touch(line)
      const until = { kind: 'time', ms: this.#times.removedMs } as const
      await this.#holdDurably(edit, until, 'it was removed, and may be made anew')
    })
  }

  /** Whether all rows of a line were taken away, and nothing has been written since. */
  isEmptied(line: Line): boolean {
    const edit = this.editOf(line)
    return edit?.truncated === true && !edit.image.hasWritten && edit.image.size <= edit.base.headerBytes.length
  }

  /** All rows go at once, in one commit. */
  async removeAllRows(base: TableText): Promise<TableText> {
    let text = base
    await this.#task(async () => {
      const plan = await planEdit(base, bytesText(new Uint8Array(0)), this.#planOptions(base))
      if (plan.kind !== 'change') return
      const { snapshot } = await this.#refusing(() => this.#commitPlan(plan, base, randomUUID()))
      text = await this.#options.openText(snapshot, base)
    })
    return text
  }

  /**
   * Resolves when no save is held but those whose files are open for writing: they go on, and the table is what it was
   * before them.
   */
  async settled(): Promise<void> {
    for (;;) {
      await this.endClosed()
      const isWaitedFor = [...this.#edits.values()].some(edit => !isOpenElsewhere(edit))
      if (!isWaitedFor && this.#queue.isIdle) return
      await new Promise<void>(resolve => this.#idle.push(resolve))
    }
  }

  /** Whether any save is under way. */
  get isBusy(): boolean {
    return this.#edits.size > 0
  }

  /** Ends the saves whose files nobody has open any more, if they wait for that. */
  async endClosed(): Promise<void> {
    if (this.#edits.size > 0) await Promise.all([...this.#edits.values()].map(edit => this.#lookAgain(edit)))
  }

  /** Brings every held image to its end now. One in the middle of its calls is left to its client. */
  async finish(): Promise<void> {
    await this.#task(() => this.#finishHeld())
  }

  /** Closes the journals and leaves them for the next process. */
  close(): void {
    for (const edit of this.#edits.values()) {
      this.#stopTimers(edit)
      edit.journal.close()
    }
    this.#edits.clear()
  }

  /**
   * Takes up what an earlier process held when it died. An edit whose commit is already in the table's history is
   * dropped; the others are held again, and come to their end as they would have.
   */
  async recover(): Promise<void> {
    for (const name of readdirSync(this.#options.directory)) {
      const path = join(this.#options.directory, name)
      const kind = journalKind(name)
      // What has no bytes is left of an edit that is over.
      const isOver = kind !== undefined && statSync(path).size === 0
      if (name.endsWith('.spool') || isOver) unlinkSync(path)
      else if (kind !== undefined) await this.#task(() => this.#recoverOne(path))
    }
  }

  /** A client is there again after a restart: what it was doing, it goes on with now or not at all. */
  clientSeen(caller: Caller): void {
    for (const edit of this.#interrupted) {
      void edit.watch.note(caller)
      // One whose program has gone on already has no deadline, or another. A COMMIT may still be long in coming.
      if (this.editOf(edit.line) !== edit || edit.sequence > 0 || edit.state.kind !== 'held') continue
      this.#hold(edit, { kind: 'time', ms: this.#times.resumedMs }, edit.state.because)
    }
    this.#interrupted.clear()
  }

  async #recoverOne(path: string): Promise<void> {
    try {
      const { journal, records } = EditJournal.open(path, this.#disk)
      await this.#takeUp(journal, records).catch(error => {
        journal.close()
        throw error
      })
    } catch (error) {
      this.#options.report(`a save that was under way when the server stopped cannot be taken up: ${messageOf(error)}`)
    }
  }

  async #takeUp(journal: EditJournal, records: readonly JournalRecord[]): Promise<void> {
    const { lines, report } = this.#options
    const { header } = journal
    if (header.format !== lines.format) return journal.close()
    const known = lines.get(BigInt(header.lineId))
    const committed = await this.#options.table.findTransaction(header.editId, BigInt(header.version))
    if (committed !== undefined) {
      // The server died before it noted so: the client's handle must not go back to the text from before the save.
      if (known !== undefined && known.version < committed) {
        const writes = records.filter(record => record.kind === 'write').slice(-REPEATED_MAX)
        const keys = writes.map(({ offset, staged, length }) => writeKey(offset, journal.read(staged, length)))
        lines.moveTo(known, committed, keys)
      }
      return this.#discards.discard(journal)
    }
    if (records.length === 0) return this.#discards.discard(journal)
    const line = known ?? lines.forgotten(BigInt(header.version))
    line.version = BigInt(header.version)
    line.text = undefined
    const base = await lines.text(line)
    const edit = this.#newEdit(line, base, journal)
    for (const record of records) replay(edit, record)
    if (journalKind(journal.path) === 'refused') return this.#reject(edit)
    if (base.size !== header.baseSize || (header.textFormat ?? 1) !== TEXT_FORMAT_VERSION) {
      report(
        `a save that was under way when the server stopped was made from another text of version ${header.version}`,
      )
      await this.#reject(edit)
      lines.retire(line)
      return
    }
    this.#edits.set(line.id, edit)
    lines.touch(line)
    this.#interrupted.add(edit)
    if (edit.state.kind === 'receiving') return this.#receive(edit)
    const ms = edit.image.size === 0 ? this.#times.abandonedMs : this.#times.answeredMs
    this.#hold(edit, { kind: 'time', ms }, 'it was under way when the server stopped; its program may go on')
  }

  // --- the queue ---------------------------------------------------------------------------------------------------

  #task(run: () => Promise<void>): Promise<void> {
    return this.#queue.task(run)
  }

  async #writeTogether(writes: readonly StableWrite[]): Promise<void> {
    const [first] = writes
    if (first === undefined) return
    const alone = this.editOf(first.line) === undefined
    try {
      const outcome = await this.#writeAndJudge(first.line, writes)
      for (const write of writes) write.resolve(outcome)
    } catch (error) {
      if (writes.length === 1 || !alone) {
        for (const write of writes) write.reject(error)
        return
      }
      // One of them is bad; only its own program is to hear of it.
      for (const write of writes) {
        await this.#writeAndJudge(write.line, [write]).then(write.resolve, write.reject)
      }
    }
  }

  async #writeAndJudge(line: Line, writes: readonly StableWrite[]): Promise<Outcome> {
    const keys = writes.map(({ offset, bytes }) => writeKey(offset, bytes))
    await this.#settleUndecided(line)
    if (this.editOf(line) === undefined) {
      if (keys.every(key => line.repeats.has(key))) return { kind: 'unchanged', asWritten: false }
      if (await this.#changesNothing(line, writes)) return { kind: 'unchanged', asWritten: false }
    }
    // What one client wrote stays together, in its order: it may have written its rows anew with each WRITE.
    const byClient = [...Map.groupBy(writes, ({ caller }) => clientKey(caller)).values()].flatMap(own =>
      own.toSorted((left, right) => left.offset - right.offset),
    )
    const edit = await this.#beginWrite(line, byClient, writes[0]!.isGood)
    for (const { caller } of writes) await edit.watch.note(caller)
    await this.#staging(edit, () => {
      for (const write of byClient) this.#splice(edit, write, true)
    })
    edit.written = keys
    if (edit.state.kind !== 'receiving') return this.#decide(edit, 'stable write')
    // Its client still has a COMMIT to send for what it wrote before.
    await this.#syncing(edit)
    this.#receive(edit)
    return { kind: 'held', asWritten: true }
  }

  /** Clients resend whole pages: bytes that are there already make no edit. */
  async #changesNothing(line: Line, writes: readonly Written[]): Promise<boolean> {
    const { lines } = this.#options
    const text = await lines.text(line)
    for (const { offset, bytes, caller } of writes) {
      const place = await lines.placeOf(line, caller, offset, bytes)
      if (place.base !== text) return false
      if (place.isChange ? !(await isAt(text, offset, bytes)) : offset + bytes.length > place.end) return false
    }
    return true
  }

  // --- where a WRITE belongs ---------------------------------------------------------------------------------------

  /** The edit that some WRITEs go into, in which each of their clients has its place. */
  async #beginWrite(line: Line, writes: readonly Written[], isGood: boolean): Promise<Edit> {
    const known = this.editOf(line)
    if (known === undefined && !isGood) throw lostHandle(line)
    const { lines } = this.#options
    const places = new Map<string, WritePlace>()
    for (const write of writes) {
      const { caller, offset, bytes } = write
      const key = clientKey(caller)
      const has = known?.places.get(key)
      write.place = undefined
      if (has !== undefined && (known?.truncated === true || has.isChange)) continue
      const place = await lines.placeOf(line, caller, offset, bytes)
      write.place = place
      if (!places.has(key) || place.isChange) places.set(key, place)
    }
    if (known !== undefined && (await isBehindEarlier(known, places))) {
      this.#stopTimers(known)
      known.state = { kind: 'judged' }
      await this.#judge(known, { early: true })
      return this.#beginWrite(line, writes, isGood)
    }
    const [first] = places.values()
    const base = first !== undefined && places.size === 1 ? first.base : await lines.text(line)
    if (places.size > 1) checkTogether(base, places, writes)
    const edit = known ?? (await this.#beginRefusing(line, base))
    for (const [key, place] of places) await joinSave(edit, key, place, known !== undefined, writes)
    return edit
  }

  /** Stages a WRITE: what its client takes to be behind the end is behind the end. */
  #splice(edit: Edit, write: Written, stable: boolean): void {
    this.#stopTimers(edit)
    edit.watch.written()
    edit.sequence++
    for (const { offset, bytes } of placed(edit, write)) this.#stage(edit, offset, bytes, stable)
  }

  /** The same for a WRITE: its refusal sticks to the handle in its client, so that the name gets a new one. */
  async #beginRefusing(line: Line, base: TableText): Promise<Edit> {
    const { lines } = this.#options
    try {
      return this.#begin(line, base)
    } catch (error) {
      const { mtime } = line
      lines.touch(line)
      lines.retire(line, mtime)
      throw this.#refusal(error)
    }
  }

  #begin(line: Line, base: TableText): Edit {
    const header = {
      editId: randomUUID(),
      lineId: String(line.id),
      format: line.format === 'jsonl' ? 'jsonl' : 'csv',
      version: String(base.snapshot.version),
      baseSize: base.size,
    } as const
    const journal = EditJournal.create(this.#options.directory, header, this.#disk)
    line.repeats = new Set()
    const edit = this.#newEdit(line, base, journal)
    this.#edits.set(line.id, edit)
    return edit
  }

  #newEdit(line: Line, base: TableText, journal: EditJournal): Edit {
    const { openers = noOpeners } = this.#options
    return newEdit(line, base, journal, new Watch(openers, line.id))
  }

  #stage(edit: Edit, offset: number, bytes: Uint8Array, stable: boolean): void {
    checkGap(edit, offset)
    const staged = edit.journal.write(offset, bytes, stable)
    edit.image.splice(offset, staged, bytes.length)
    this.#options.lines.touch(edit.line)
  }

  /** What cannot be staged makes the whole save fail: an image that lacks a piece must not stay. */
  async #staging(edit: Edit, run: () => void): Promise<void> {
    try {
      run()
    } catch (error) {
      await this.#refuse(edit, error, true)
    }
  }

  async #syncing(edit: Edit): Promise<void> {
    try {
      await edit.journal.sync()
    } catch (error) {
      await this.#refuse(edit, error, true)
    }
  }

  // --- its states ----------------------------------------------------------------------------------------------------

  /** What /proc shows of an edit's file, and what an event leads to then. */
  async #look(edit: Edit, event: SaveEvent): Promise<{ step: ReturnType<typeof next>; sight: Sight }> {
    const kind = await kindOf(edit)
    const sight = await edit.watch.look(kind)
    const shape = { isAppend: kind === 'append', isPages: edit.image.size % PAGE_BYTES === 0 }
    return { step: next(edit.state, event, sight, shape), sight }
  }

  /** A call has come that may be the end of a save, or of a piece of one: it is answered by the outcome. */
  async #decide(edit: Edit, event: 'stable write' | 'commit'): Promise<Outcome> {
    this.#stopTimers(edit)
    // Whole rows that are appended at once are committed at once, whoever has the file open: a program that logs.
    if (event === 'stable write' && !edit.answered && (await isWholeAppend(edit))) {
      edit.state = { kind: 'judged' }
      return this.#judge(edit, { early: true })
    }
    const { step, sight } = await this.#look(edit, event)
    edit.state = { kind: 'judged' }
    switch (step.kind) {
      case 'hold':
        if (isParsedEarly(edit)) await this.#refuseIfBadForGood(edit)
        return this.#holdDurably(edit, step.until, step.because)
      case 'set aside':
        await this.#giveUp(edit, step.because)
        this.#options.lines.retire(edit.line, edit.mtimeBefore)
        throw new FsError('EIO', step.because)
      case 'judge':
        return this.#judge(edit, { early: true })
      default: {
        const doubt = { committed: event === 'commit', isOpen: sight.kind === 'open' }
        return this.#judge(edit, { early: true, doubt })
      }
    }
  }

  /** Nobody called, but the time has come, or somebody asks. `replaced`: the same handle goes on with another save. */
  async #conclude(edit: Edit, event: 'look' | 'deadline' | 'end', sight: Sight, replaced = false): Promise<void> {
    if (edit.isUndecided) {
      await this.#settleUndecided(edit.line).catch(() => undefined)
      if (edit.isUndecided || this.editOf(edit.line) !== edit) return
    }
    const step = next(edit.state, event, sight, { isAppend: false, isPages: false })
    switch (step.kind) {
      case 'stay':
      case 'leave':
        return
      case 'receive':
        return this.#receive(edit)
      case 'hold':
        return this.#hold(edit, step.until, step.because)
      case 'judge by bytes':
        return this.#hold(
          edit,
          { kind: 'time', ms: this.#times.incompleteMs },
          'who has it open cannot be told any more',
        )
      case 'await close':
        return
    }
    this.#stopTimers(edit)
    const isTaken = step.kind === 'judge' ? await this.#judgeLate(edit) : await this.#giveUp(edit, step.because)
    // What its program may yet write belongs behind it, not into the text that is back.
    if (!isTaken && !replaced) this.#options.lines.retire(edit.line, edit.mtimeBefore)
  }

  /** The image is set aside, and `.errors` says why. */
  async #giveUp(edit: Edit, because: string): Promise<false> {
    this.#options.report(`data.${edit.line.format}: a save was given up: ${because}`)
    await this.#reject(edit)
    return false
  }

  /** Judges a save that no call waits for. False if its image was set aside. */
  async #judgeLate(edit: Edit): Promise<boolean> {
    edit.state = { kind: 'judged' }
    try {
      await this.#judge(edit, { early: false })
      return true
    } catch (error) {
      // It is held again, until that is known.
      if (edit.isUndecided) return true
      // Reported in `.errors` and set aside by #refuse; there is no program to tell.
      if (!(error instanceof FsError)) this.#options.report(messageOf(error))
      return false
    }
  }

  /** Looks whether a save that waits for the close of its file is over, and ends it then. */
  async #lookAgain(edit: Edit): Promise<void> {
    // A look that began before this call may have missed what it is about.
    await edit.looking
    if (edit.state.kind !== 'held' || edit.state.until.kind !== 'closed') return
    edit.looking ??= this.#lookClosely(edit).finally(() => {
      edit.looking = undefined
    })
    await edit.looking
  }

  async #lookClosely(edit: Edit): Promise<void> {
    const { sequence } = edit
    const hasChanged = (): boolean => edit.sequence !== sequence || this.editOf(edit.line) !== edit
    const sight = await edit.watch.lookClosely(await kindOf(edit), hasChanged)
    if (sight.kind === 'open') return
    await this.#task(async () => {
      if (!hasChanged()) await this.#conclude(edit, 'look', sight)
    })
  }

  #receive(edit: Edit): void {
    this.#stopTimers(edit)
    edit.state = { kind: 'receiving' }
    this.#setDeadline(edit, this.#times.abandonedMs)
    this.#lookLater(edit, FIRST_LOOK_MS)
  }

  async #holdDurably(edit: Edit, until: Until, because: string): Promise<Outcome> {
    await this.#staging(edit, () => edit.journal.held())
    await this.#syncing(edit)
    if (edit.image.hasWritten) edit.answered = true
    this.#hold(edit, until, because)
    return { kind: 'held', asWritten: true }
  }

  #hold(edit: Edit, until: Until, because: string): void {
    this.#stopTimers(edit)
    edit.state = { kind: 'held', until, because }
    if (until.kind === 'time') this.#setDeadline(edit, until.ms)
    else this.#lookLater(edit, FIRST_LOOK_MS)
    this.#wake()
  }

  #setDeadline(edit: Edit, ms: number): void {
    edit.deadline = setTimeout(() => {
      const { sequence } = edit
      const isAsBefore = (): boolean => this.editOf(edit.line) === edit && edit.sequence === sequence
      this.#task(async () => {
        if (isAsBefore()) await this.#conclude(edit, 'deadline', (await this.#look(edit, 'deadline')).sight)
      }).catch(error => {
        this.#options.report(`data.${edit.line.format}: ${messageOf(error)}; it is tried again`)
        if (isAsBefore()) this.#setDeadline(edit, Math.max(ms, UNDECIDED_MS))
      })
    }, ms)
  }

  /** While its file is open: who it is must be known when they are gone. */
  #lookLater(edit: Edit, ms: number): void {
    if (!edit.watch.canSee) return
    clearTimeout(edit.nextLook)
    edit.nextLook = setTimeout(() => {
      void (async () => {
        const startMs = performance.now()
        const look = async (): Promise<unknown> =>
          edit.state.kind === 'receiving' ? edit.watch.look(await kindOf(edit)) : this.#lookAgain(edit)
        // What cannot be read now is looked at again.
        await look().catch(() => undefined)
        const tookMs = performance.now() - startMs
        if (this.editOf(edit.line) !== edit || edit.state.kind === 'judged') return
        this.#lookLater(edit, Math.max(Math.min(ms * 4, LOOK_MS_MAX), tookMs * LOOK_SHARE))
      })()
    }, ms)
  }

  #stopTimers(edit: Edit): void {
    clearTimeout(edit.deadline)
    clearTimeout(edit.nextLook)
    edit.deadline = undefined
    edit.nextLook = undefined
  }

  /** A program truncates the file again: what is held there was a save of its own, unless it has no rows yet. */
  async #endSaveBefore(line: Line): Promise<void> {
    const edit = this.editOf(line)
    if (edit === undefined || edit.state.kind !== 'held' || edit.committing > 0) return
    if (edit.image.size <= edit.base.headerBytes.length) return
    const sight = await edit.watch.lookClosely(await kindOf(edit), () => false)
    await this.#conclude(edit, 'end', sight, true)
  }

  async #finishHeld(): Promise<void> {
    for (const edit of [...this.#edits.values()]) {
      if (edit.state.kind === 'receiving' || edit.committing > 0) continue
      const sight = await edit.watch.lookClosely(await kindOf(edit), () => false)
      await this.#conclude(edit, 'end', sight)
    }
  }

  // --- the verdict -------------------------------------------------------------------------------------------------

  /** Compares an image with its base, and commits or refuses it; with a doubt it may also be held. */
  async #judge(edit: Edit, { early, doubt }: Judging): Promise<Outcome> {
    await this.#settleUndecided(edit.line)
    if (this.editOf(edit.line) !== edit) return { kind: 'committed', asWritten: false }
    const hold = ({ ms, because }: Incomplete): Promise<Outcome> =>
      this.#holdDurably(edit, doubt?.isOpen === true ? { kind: 'closed' } : { kind: 'time', ms }, because)
    if (doubt !== undefined) {
      const signs = await outsideSigns(edit, doubt.committed, this.#times)
      if (signs !== undefined) return hold(signs)
    }
    let plan: EditPlan
    try {
      plan = await this.#planOnce(edit)
    } catch (error) {
      const wait =
        doubt !== undefined && error instanceof TextError ? await mayStillParse(edit, error, this.#times) : undefined
      return wait === undefined ? this.#refuse(edit, error, early) : hold(wait)
    }
    if (plan.kind === 'unchanged') {
      const asWritten = await showsAsWritten(plan, edit.base, edit.base, edit.image)
      await noteEnds(edit, plan, edit.base, asWritten)
      this.#options.lines.noteWritten(edit.line, edit.written)
      this.#drop(edit)
      this.#options.lines.release(edit.line)
      if (!asWritten) this.#options.lines.touch(edit.line)
      return { kind: 'unchanged', asWritten }
    }
    const wait = doubt === undefined ? undefined : await mayGoOn(edit, plan, this.#times)
    if (wait !== undefined) return hold(wait)
    let committed: Committed
    try {
      committed = await this.#commitPlan(plan, edit.base, edit.journal.header.editId)
    } catch (error) {
      if (!isUndecided(error)) return this.#refuse(edit, error, early)
      edit.isUndecided = true
      throw this.#holdUndecided(edit, error)
    }
    return this.#committed(edit, plan, committed)
  }

  /** A save is in the table: nothing that goes wrong from here on may look as if it were not. */
  async #committed(edit: Edit, plan: EditPlan, { snapshot }: Committed): Promise<Outcome> {
    const { lines, openText } = this.#options
    const { line, base, image, written } = edit
    const text = await openText(snapshot, base).catch(() => undefined)
    if (text === undefined) return this.#committedUnread(edit, snapshot.version)
    const isSame = await showsAsWritten(plan, base, text, image).catch(() => false)
    const asWritten = isSame && isAsWritten(edit)
    lines.advance(line, text, written)
    // It only tells what is appended next.
    await noteEnds(edit, plan, text, isSame).catch(() => undefined)
    this.#dropSaved(edit)
    if (!asWritten) lines.touch(line)
    return { kind: 'committed', asWritten }
  }

  /** The same where the new text cannot be read at this moment, or what the save was is known from the log alone. */
  #committedUnread(edit: Edit, version: bigint): Outcome {
    const { lines } = this.#options
    lines.moveTo(edit.line, version, edit.written)
    lines.release(edit.line)
    this.#dropSaved(edit)
    lines.touch(edit.line)
    return { kind: 'committed', asWritten: false }
  }

  /**
   * A save whose commit may be in the log: nothing happens to its line before that is known. FsError EJUKEBOX if it cannot
   * be known now; else the save is over, or is one whose commit was never made.
   */
  async #settleUndecided(line: Line): Promise<void> {
    const edit = this.editOf(line)
    if (edit?.isUndecided !== true) return
    const { editId, version: base } = edit.journal.header
    const version = await this.#options.table.findTransaction(editId, BigInt(base)).catch(error => {
      throw this.#holdUndecided(edit, error)
    })
    edit.isUndecided = false
    if (version !== undefined) this.#committedUnread(edit, version)
  }

  /** Looks again a little later, should its client not ask again. */
  #holdUndecided(edit: Edit, error: unknown): FsError {
    this.#hold(edit, { kind: 'time', ms: UNDECIDED_MS }, 'whether its commit is in the log is not known yet')
    return this.#askAgain(error)
  }

  #askAgain(error: unknown): FsError {
    const sentence = `data.${this.#options.lines.format}: ${messageOf(error)}; the program waits until that is known`
    // Said once, not each time that the client asks.
    if (sentence !== this.#saidLast) this.#options.report(sentence)
    this.#saidLast = sentence
    return new FsError('EJUKEBOX', sentence, { cause: error })
  }

  /** What an image would change; compared once, as long as it stays as it is. */
  async #planOnce(edit: Edit): Promise<EditPlan> {
    if (edit.planned?.sequence === edit.sequence) return edit.planned.plan
    const { sequence } = edit
    const plan = await this.#plan(edit.base, edit.image, edit)
    edit.planned = { sequence, plan }
    return plan
  }

  /** A save goes on, but what came of it can never be taken: its program is told while it still listens. */
  async #refuseIfBadForGood(edit: Edit): Promise<void> {
    try {
      await this.#planOnce(edit)
    } catch (error) {
      if (await isBadForGood(edit, error)) await this.#refuse(edit, error, true)
    }
  }

  async #plan(base: TableText, image: Text, edit: Edit | undefined): Promise<EditPlan> {
    const hole = edit?.image.firstHole()
    if (hole !== undefined) throw await neverWritten(image, hole)
    return planEdit(base, image, {
      ...this.#planOptions(base),
      ...(edit === undefined ? {} : { sameAs: edit.image.sameAs() }),
    })
  }

  #planOptions(base: TableText): PlanOptions {
    return {
      spool: () => FileSpool.create(this.#options.directory, this.#disk),
      textWithSchema: snapshot => this.#options.openText(snapshot, base),
    }
  }

  /** Rejects if nothing was committed, or with TableError `undecided`. */
  async #commitPlan(plan: ChangePlan, base: TableText, editId: string): Promise<Committed> {
    const { table, segments, report, lines } = this.#options
    const committed = await applyPlan(plan, { table, segments, snapshot: base.snapshot, editId })
    if (committed.doubt !== undefined) {
      report(
        `data.${lines.format}: the save is in the table as version ${committed.version}, but a power cut may take it away: ${committed.doubt}`,
      )
    }
    return committed
  }

  /** Turns a refusal into the FsError that the program gets, and the sentence in `.errors`. */
  async #refusing<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (error) {
      throw this.#refusal(error)
    }
  }

  #refusal(error: unknown): FsError {
    if (error instanceof FsError && this.#told.has(error)) return error
    this.#options.report(`data.${this.#options.lines.format}: ${messageOf(error)}`)
    const refusal = error instanceof FsError ? error : new FsError(codeOf(error), messageOf(error), { cause: error })
    this.#told.add(refusal)
    return refusal
  }

  /** The image cannot be taken: the table stays as it was. Early, the program hears of it; late, the bytes are set aside. */
  async #refuse(edit: Edit, error: unknown, early: boolean): Promise<never> {
    const refusal = this.#refusal(error)
    if (early && !edit.answered) this.#drop(edit)
    else await this.#reject(edit)
    if (early) {
      this.#options.lines.touch(edit.line)
      this.#options.lines.retire(edit.line, edit.mtimeBefore)
    }
    throw refusal
  }

  async #reject(edit: Edit): Promise<void> {
    const { setAside, report, lines } = this.#options
    try {
      if (edit.image.hasWritten) {
        const name = await setAside(edit.image)
        report(`data.${lines.format}: the save was set aside as ${name}; the table is as it was`)
      }
      this.#drop(edit)
    } catch (error) {
      const { path } = edit.journal
      report(
        `data.${lines.format}: the save cannot be set aside: ${messageOf(error)}; it stays in ${path}, and is set aside when the server is started again`,
      )
      this.#leave(edit)
    }
    lines.touch(edit.line)
    lines.save(edit.line)
  }

  #drop(edit: Edit): void {
    this.#forget(edit)
    this.#discards.discard(edit.journal)
  }

  /** The journal of a save that is in the table is what a repeated call is known by until its line is saved. */
  #dropSaved(edit: Edit): void {
    this.#forget(edit)
    this.#options.lines.whenSaved(edit.line, () => this.#discards.discard(edit.journal))
  }

  /** Ends an edit here, and leaves its bytes for the next process, to be set aside. */
  #leave(edit: Edit): void {
    this.#forget(edit)
    try {
      edit.journal.refuse()
    } catch (error) {
      this.#options.report(`${edit.journal.path} cannot be renamed: ${messageOf(error)}`)
    }
    edit.journal.close()
  }

  #forget(edit: Edit): void {
    this.#stopTimers(edit)
    this.#edits.delete(edit.line.id)
    this.#wake()
  }

  #wake(): void {
    const waiting = this.#idle
    this.#idle = []
    for (const resolve of waiting) resolve()
  }
}
