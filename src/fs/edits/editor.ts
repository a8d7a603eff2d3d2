import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { TextError } from '../../columns/errors.ts'
import { TEXT_FORMAT_VERSION } from '../../columns/text/rendered.ts'
import type { Clock } from '../../core/clock.ts'
import { LakeError, messageOf } from '../../core/errors.ts'
import { checkWritable } from '../../table/protocol.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import type { Table } from '../../table/table.ts'
import { FsError, type FsErrorCode } from '../filesystem.ts'
import { BELIEVED_BYTES_MAX, type Line, type Lines, writeKey } from '../lines.ts'
import type { TableText } from '../text/layout.ts'
import type { Segments } from '../text/segments.ts'
import { continued, isAt, lineOf, type Text } from '../text/text.ts'
import { applyPlan } from './apply.ts'
import { ImageRope } from './image.ts'
import { EditJournal, type JournalHeader, type JournalRecord } from './journal.ts'
import { type EditPlan, planCsvEdit, planJsonAppend } from './plan.ts'
import { FileSpool } from './spool.ts'

const PAGE_BYTES = 4096
const COMPARED_BYTES = 1 << 20
/** So many WRITEs may be under way at the end of a save, whose client sends them again after a crash. */
const REPEATED_MAX = 16
/** Pages of one save come in any order, but no save leaves a gap like this. */
const GAP_BYTES_MAX = 2 ** 34

/** How long an image that may not be whole yet is held, in milliseconds (see the design, "When is an edit complete?"). */
export interface HoldTimes {
  /** After a COMMIT: no WRITE may follow for this long. */
  readonly quietMs: number
  /** No final newline, a last row that is cut off, fewer rows than before and not the last ones, or bytes behind the written ones from before. */
  readonly incompleteMs: number
  /** A size that is a multiple of the page size after a COMMIT, or pages that are missing. */
  readonly pageMs: number
  /** Truncated to nothing, and nothing written since. */
  readonly truncatedMs: number
  /** Removed, and not made anew yet. */
  readonly removedMs: number
  /** Renamed to another name, and nothing has taken its place yet. */
  readonly awayMs: number
  /** After a restart, from the first call of a client on: by then it has repeated what was not answered. */
  readonly resumedMs: number
  /** A save in the middle of its calls whose client is gone: it is set aside. */
  readonly abandonedMs: number
  /** After a restart to which no client comes back: a save that was answered, and may be whole. */
  readonly answeredMs: number
}

export const DEFAULT_HOLD_TIMES: HoldTimes = {
  quietMs: 100,
  incompleteMs: 1000,
  pageMs: 2000,
  truncatedMs: 5000,
  removedMs: 300,
  awayMs: 1000,
  resumedMs: 3000,
  abandonedMs: 120_000,
  answeredMs: 15_000,
}

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
}

/** The image of a view while it differs from the table. */
export interface Edit {
  readonly line: Line
  readonly base: TableText
  readonly image: ImageRope
  readonly journal: EditJournal
  /** Counts the changes, so that a verdict on an older image is not taken for one on this. */
  sequence: number
  /** What a held image would change, found when it was judged first: it is not compared again unless it changed. */
  planned: { readonly sequence: number; readonly plan: EditPlan } | undefined
  /** It began with, or passed through, a truncation: what is in the image was written since. */
  truncated: boolean
  /** WRITEs came that its client has yet to end with a COMMIT: nobody was told that it is saved, and it may be a part. */
  underWay: boolean
  /** COMMITs that wait for a quiet moment. */
  committing: number
  /** Programs were told that bytes in it are saved: they are never dropped, but set aside if they cannot be taken. */
  answered: boolean
  /** What its client takes for the base, of which the base is more: it appends to that. */
  believed: Text | undefined
  /** The last stable WRITEs, should they come once more after a restart (see Line). */
  written: readonly string[]
  timer: Timer | undefined
  /** Why it is held, for `status`. */
  heldBecause: string | undefined
}

/** Rows at the end of a text that a program may not have seen. */
export interface Unseen {
  readonly from: number
  /** It has not: otherwise they count as seen where the program may have changed them. */
  readonly isSure: boolean
}

/** What became of a call that ended a save. */
export interface Outcome {
  readonly kind: 'committed' | 'unchanged' | 'held'
  /** The view now shows exactly the bytes that were written. */
  readonly asWritten: boolean
}

type Occasion = 'write' | 'commit' | 'deadline'

interface StableWrite {
  readonly line: Line
  readonly offset: number
  readonly bytes: Uint8Array
  /** Its handle was good when it came: it is not to suffer from what went wrong in front of it. */
  readonly isGood: boolean
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: unknown) => void
}

type Job =
  | { readonly kind: 'write'; readonly write: StableWrite }
  | { readonly kind: 'task'; readonly run: () => Promise<void> }

/**
 * Turns the WRITEs and truncations of one view into commits, one for each save. All changes pass through one queue, so
 * that they meet the table in the order in which they came; stable appends that wait there go together into one commit.
 */
export class Editor {
  readonly #options: EditorOptions
  readonly #times: HoldTimes
  readonly #edits = new Map<bigint, Edit>()
  readonly #jobs: Job[] = []
  /** Taken up after a restart, and not touched since. */
  readonly #interrupted = new Set<Edit>()
  #pumping = false
  #idle: (() => void)[] = []

  constructor(options: EditorOptions) {
    this.#options = options
    this.#times = options.holdTimes ?? DEFAULT_HOLD_TIMES
    mkdirSync(options.directory, { recursive: true, mode: 0o700 })
  }

  /** The edit under way on a line, if there is one: READ and GETATTR show its image. */
  editOf(line: Line): Edit | undefined {
    return this.#edits.get(line.id)
  }

  /** Sentences about what is held, for `status`. */
  held(): string[] {
    return [...this.#edits.values()].map(
      edit => `data.${edit.line.format}: ${edit.heldBecause ?? 'a save is under way'}`,
    )
  }

  /** WRITE that may stay in memory (RFC 1813, UNSTABLE): staged, not judged. */
  async writeUnstable(line: Line, offset: number, bytes: Uint8Array): Promise<void> {
    await this.#task(async () => {
      const edit = await this.#beginWrite(line, offset, bytes, line.status !== 'retired')
      await this.#staging(edit, () => this.#splice(edit, offset, bytes, false))
      this.#awaitCommit(edit)
    })
  }

  /** WRITE that ends a save or a piece of one: judged, and committed where it is conclusive, before this resolves. */
  writeStable(line: Line, offset: number, bytes: Uint8Array): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const isGood = line.status !== 'retired'
      this.#jobs.push({ kind: 'write', write: { line, offset, bytes, isGood, resolve, reject } })
      this.#pump()
    })
  }

  /** COMMIT: what was written unstably is durable when this resolves, and committed if nothing follows for a moment. */
  async commit(line: Line): Promise<Outcome> {
    const edit = this.editOf(line)
    if (edit === undefined) return { kind: 'unchanged', asWritten: true }
    const { sequence } = edit
    // It covers all that was answered before; only what is written from now on needs another one.
    edit.underWay = false
    edit.committing++
    try {
      await edit.journal.sync()
      await new Promise<void>(resolve => setTimeout(resolve, this.#times.quietMs))
    } catch (error) {
      await this.#task(async () => {
        if (this.editOf(line) === edit) await this.#cannotStage(edit, error)
      })
    } finally {
      edit.committing--
    }
    let outcome: Outcome = { kind: 'held', asWritten: true }
    await this.#task(async () => {
      if (this.editOf(line) === edit && edit.sequence === sequence) outcome = await this.#judge(edit, 'commit')
    })
    return outcome
  }

  /** SETATTR of the size. */
  async truncate(line: Line, size: number): Promise<Outcome> {
    let outcome: Outcome = { kind: 'unchanged', asWritten: true }
    await this.#task(async () => {
      if (size === 0) await this.#endSaveBefore(line)
      const base = await this.#options.lines.text(line)
      const known = this.editOf(line)
      if (known === undefined && size === base.size) return
      if (line.status === 'retired') throw lostHandle(line)
      const edit = known ?? this.#begin(line, base)
      if (edit.image.size === size) return
      this.#stopTimer(edit)
      await this.#staging(edit, () => {
        checkGap(edit, size)
        edit.journal.truncate(size)
      })
      edit.image.truncate(size)
      edit.believed = undefined
      edit.sequence++
      noteTruncation(edit, size)
      this.#options.lines.touch(line)
      outcome = await this.#judge(edit, 'write')
    })
    return outcome
  }

  /** An empty file has taken the view's name (CREATE after a RENAME away): what is written to it replaces the rows of `base`. */
  async startEmpty(line: Line): Promise<void> {
    await this.truncate(line, 0)
  }

  /**
   * A whole new text takes the name (RENAME of a file onto the view): compared with `base` and committed before this
   * resolves, or refused with an FsError and nothing changed. Rows that its writer had not seen stay.
   */
  async replace(
    base: TableText,
    image: Text,
    unseen: Unseen = { from: base.size, isSure: true },
  ): Promise<{ text: TableText; asWritten: boolean }> {
    let result: { text: TableText; asWritten: boolean } | undefined
    await this.#task(async () => {
      await this.#finishHeld()
      const whole = await this.#refusing(() => this.#plan(base, image, undefined))
      const plan = await keeping(whole, base, unseen)
      const text = plan.kind === 'unchanged' ? base : await this.#apply(plan, base, randomUUID())
      result = { text, asWritten: await showsAsWritten(plan, base, text, image) }
    })
    return result!
  }

  /** What is being saved is given up; its program hears of it. */
  async abandon(): Promise<void> {
    await this.#task(async () => {
      for (const edit of [...this.#edits.values()]) {
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
      const edit = this.#begin(line, base)
      await this.#staging(edit, () => edit.journal.truncate(size))
      edit.image.truncate(size)
      edit.sequence++
      edit.truncated = true
      this.#options.lines.touch(line)
      await this.#holdDurably(edit, this.#times.removedMs, 'it was removed, and may be made anew')
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
      const plan = await planCsvEdit(base, emptyText, this.#planOptions(base))
      if (plan.kind === 'change') text = await this.#apply(plan, base, randomUUID())
    })
    return text
  }

  /** Resolves when nothing is held any more: every held image has come to its end by itself. */
  async settled(): Promise<void> {
    while (this.#edits.size > 0 || this.#jobs.length > 0 || this.#pumping) {
      await new Promise<void>(resolve => this.#idle.push(resolve))
    }
  }

  /** Brings every held image to its end now. One in the middle of its calls is left to its client. */
  async finish(): Promise<void> {
    await this.#task(() => this.#finishHeld())
  }

  /** Closes the journals and leaves them for the next process. */
  close(): void {
    for (const edit of this.#edits.values()) {
      this.#stopTimer(edit)
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
      if (name.endsWith('.spool')) await Bun.file(path).delete()
      if (!name.endsWith('.journal')) continue
      await this.#task(() => this.#recoverOne(path))
    }
  }

  /** A client is there again after a restart: what it was doing, it goes on with now or not at all. */
  clientSeen(): void {
    for (const edit of this.#interrupted) {
      // One whose program has gone on already has no timer, or another. A COMMIT may still be long in coming.
      if (this.editOf(edit.line) === edit && edit.sequence === 0 && !edit.underWay)
        this.#hold(edit, this.#times.resumedMs, edit.heldBecause ?? '')
    }
    this.#interrupted.clear()
  }

  async #recoverOne(path: string): Promise<void> {
    try {
      const { journal, records } = EditJournal.open(path)
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
    const committed = await this.#versionOf(header)
    if (committed !== undefined) {
      // The server died before it noted so: the client's handle must not go back to the text from before the save.
      if (known !== undefined && known.version < committed) {
        const writes = records.filter(record => record.kind === 'write').slice(-REPEATED_MAX)
        const keys = writes.map(({ offset, staged, length }) => writeKey(offset, journal.read(staged, length)))
        lines.moveTo(known, committed, keys)
      }
      return journal.discard()
    }
    if (records.length === 0) return journal.discard()
    const line = known ?? lines.forgotten(BigInt(header.version))
    line.version = BigInt(header.version)
    line.text = undefined
    const base = await lines.text(line)
    const edit = newEdit(line, base, journal)
    for (const record of records) replay(edit, record)
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
    this.#hold(
      edit,
      edit.underWay || edit.image.size === 0 ? this.#times.abandonedMs : this.#times.answeredMs,
      'it was under way when the server stopped; its program may go on',
    )
  }

  /** The version that holds an edit, if one does. */
  async #versionOf({ editId, version }: JournalHeader): Promise<bigint | undefined> {
    const { table } = this.#options
    const newer = Number((await table.refresh()).version - BigInt(version))
    if (newer <= 0) return undefined
    return (await table.history(newer)).find(entry => entry.txnId === editId)?.version
  }

  // --- the queue ---------------------------------------------------------------------------------------------------

  #task(run: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#jobs.push({ kind: 'task', run: () => run().then(resolve, reject) })
      this.#pump()
    })
  }

  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    void (async () => {
      for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) {
        if (job.kind === 'task') await job.run()
        else await this.#writeTogether([job.write, ...this.#waitingWrites(job.write.line)])
      }
      this.#pumping = false
      this.#wake()
    })()
  }

  /** The stable writes to the same line that wait right behind: they share one commit. */
  #waitingWrites(line: Line): StableWrite[] {
    const writes: StableWrite[] = []
    for (let job = this.#jobs[0]; job?.kind === 'write' && job.write.line === line; job = this.#jobs[0]) {
      writes.push(job.write)
      this.#jobs.shift()
    }
    return writes
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
    if (this.editOf(line) === undefined) {
      if (keys.every(key => line.repeats.has(key))) return { kind: 'unchanged', asWritten: false }
      if (await this.#changesNothing(line, writes)) return { kind: 'unchanged', asWritten: true }
    }
    const [first] = writes
    const edit = await this.#beginWrite(line, first!.offset, first!.bytes, first!.isGood)
    await this.#staging(edit, () => {
      for (const { offset, bytes } of writes) this.#splice(edit, offset, bytes, true)
    })
    edit.written = keys
    if (!edit.underWay) return this.#judge(edit, 'write')
    // Its client still has a COMMIT to send for what it wrote before.
    await this.#syncing(edit)
    this.#awaitCommit(edit)
    return { kind: 'held', asWritten: true }
  }

  /** Clients resend whole pages: bytes that are there already make no edit. */
  async #changesNothing(line: Line, writes: readonly StableWrite[]): Promise<boolean> {
    const text = await this.#options.lines.text(line)
    for (const { offset, bytes } of writes) {
      if (!(await isAt(text, offset, bytes))) return false
    }
    return true
  }

  async #beginWrite(line: Line, offset: number, bytes: Uint8Array, isGood: boolean): Promise<Edit> {
    const known = this.editOf(line)
    if (known !== undefined) return known
    if (!isGood) throw lostHandle(line)
    const { lines } = this.#options
    const believed = await lines.beliefBehind(line, offset, bytes)
    const edit = this.#begin(line, await lines.text(line))
    edit.believed = believed
    return edit
  }

  #begin(line: Line, base: TableText): Edit {
    line.repeats = new Set()
    const journal = EditJournal.create(this.#options.directory, {
      editId: randomUUID(),
      lineId: String(line.id),
      format: line.format === 'jsonl' ? 'jsonl' : 'csv',
      version: String(base.snapshot.version),
      baseSize: base.size,
    })
    const edit = newEdit(line, base, journal)
    this.#edits.set(line.id, edit)
    return edit
  }

  #splice(edit: Edit, offset: number, bytes: Uint8Array, stable: boolean): void {
    this.#stopTimer(edit)
    edit.sequence++
    // What its client takes to be behind the end is behind the end.
    const { believed = edit.base, base } = edit
    const known = believed === base ? 0 : Math.min(bytes.length, Math.max(0, believed.size - offset))
    if (known < bytes.length)
      this.#stage(edit, offset + known - believed.size + base.size, bytes.subarray(known), stable)
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
      await this.#cannotStage(edit, error)
    }
  }

  async #syncing(edit: Edit): Promise<void> {
    try {
      await edit.journal.sync()
    } catch (error) {
      await this.#cannotStage(edit, error)
    }
  }

  #cannotStage(edit: Edit, error: unknown): Promise<never> {
    if (error instanceof FsError) this.#options.report(`data.${edit.line.format}: ${error.message}`)
    return this.#refuse(edit, error, true)
  }

  #awaitCommit(edit: Edit): void {
    edit.underWay = true
    this.#hold(edit, this.#times.abandonedMs, 'a save is under way')
  }

  // --- the verdict -------------------------------------------------------------------------------------------------

  /** Decides whether an image is whole, and commits, holds or refuses it. */
  async #judge(edit: Edit, occasion: Occasion): Promise<Outcome> {
    edit.underWay = false
    const early = occasion === 'write' || occasion === 'commit'
    if (early) {
      const wait = await this.#lookIncomplete(edit, occasion)
      if (wait !== undefined) return this.#holdDurably(edit, wait.ms, wait.because)
    }
    let plan: EditPlan
    try {
      plan =
        edit.planned?.sequence === edit.sequence ? edit.planned.plan : await this.#plan(edit.base, edit.image, edit)
    } catch (error) {
      const wait = early && error instanceof TextError ? await this.#mayStillParse(edit, error) : undefined
      if (wait !== undefined) return this.#holdDurably(edit, wait.ms, wait.because)
      return this.#refuse(edit, error, early)
    }
    if (plan.kind === 'unchanged') {
      const asWritten = await showsAsWritten(plan, edit.base, edit.base, edit.image)
      this.#drop(edit)
      if (!asWritten) this.#options.lines.touch(edit.line)
      return { kind: 'unchanged', asWritten }
    }
    if (early) {
      const wait = await this.#maySplit(edit, plan)
      if (wait !== undefined) {
        edit.planned = { sequence: edit.sequence, plan }
        return this.#holdDurably(edit, wait.ms, wait.because)
      }
    }
    try {
      const text = await this.#apply(plan, edit.base, edit.journal.header.editId)
      const asWritten = edit.believed === undefined && (await showsAsWritten(plan, edit.base, text, edit.image))
      this.#options.lines.advance(edit.line, text, edit.written)
      if (!asWritten && isAppend(plan, edit.base)) await this.#believe(edit)
      this.#drop(edit)
      if (!asWritten) this.#options.lines.touch(edit.line)
      return { kind: 'committed', asWritten }
    } catch (error) {
      return this.#refuse(edit, error, early)
    }
  }

  /** Other writers' rows came in front of what was appended: its client does not know that yet. */
  async #believe({ line, base, image, believed = base }: Edit): Promise<void> {
    if (image.size - base.size > BELIEVED_BYTES_MAX) return
    const tail = await image.read(base.size, image.size)
    this.#options.lines.believe(line, continued(believed, tail))
  }

  /** Signs on the outside of an image that its save is not over. */
  async #lookIncomplete(edit: Edit, occasion: Occasion): Promise<{ ms: number; because: string } | undefined> {
    const { image } = edit
    if (image.size === 0) {
      return { ms: this.#times.truncatedMs, because: 'it was truncated to nothing, and nothing has been written since' }
    }
    if (image.firstHole() !== undefined && (occasion === 'commit' || edit.truncated)) {
      return { ms: this.#times.pageMs, because: 'parts of it have not been written yet' }
    }
    if (occasion === 'commit' && image.size % PAGE_BYTES === 0) {
      return { ms: this.#times.pageMs, because: 'its size is a whole number of pages, as in the middle of a save' }
    }
    const last = await image.read(image.size - 1, image.size)
    if (last[0] !== 0x0a) return { ms: this.#times.incompleteMs, because: 'its last line has no newline yet' }
    return undefined
  }

  /** Whether an image that does not parse may be a piece of one that does. */
  async #mayStillParse(edit: Edit, error: TextError): Promise<{ ms: number; because: string } | undefined> {
    if (error.code === 'unterminated') return { ms: this.#times.incompleteMs, because: 'its last row is inside quotes' }
    if (isInPlace(edit) && !(await this.#patchesOneLine(edit))) {
      return { ms: this.#times.incompleteMs, because: 'bytes behind the written ones are from before the save' }
    }
    return undefined
  }

  /** Whether an image that parses may be a piece of a save that is not over. */
  async #maySplit(
    edit: Edit,
    plan: Extract<EditPlan, { kind: 'change' }>,
  ): Promise<{ ms: number; because: string } | undefined> {
    const added = plan.added.reduce((sum, { rows }) => sum + rows, 0)
    if (plan.removed.length === 0) return undefined
    const removed = await plan.base.rowsAt(plan.removed)
    const isFewer = removed.reduce((sum, { rows }) => sum + rows.length, 0) > added
    if (isFewer && !(await reachesTheEnd(plan))) {
      return { ms: this.#times.incompleteMs, because: 'it has fewer rows than before, so more may follow' }
    }
    if (isInPlace(edit) && !(await this.#patchesOneLine(edit))) {
      return { ms: this.#times.incompleteMs, because: 'bytes behind the written ones are from before the save' }
    }
    return undefined
  }

  /** The written bytes differ from the base within one line only: a patch, whole in itself (`dd conv=notrunc`, one msync). */
  async #patchesOneLine(edit: Edit): Promise<boolean> {
    for (const { start, end } of edit.image.changedRanges()) {
      let differs = false
      for (let at = start; at < end; at += COMPARED_BYTES) {
        const stop = Math.min(end, at + COMPARED_BYTES)
        const [before, after] = await Promise.all([edit.base.read(at, stop), edit.image.read(at, stop)])
        if (Buffer.compare(before, after) === 0) continue
        if (differs || !differWithinLine(before, after)) return false
        differs = true
      }
    }
    return true
  }

  async #holdDurably(edit: Edit, ms: number, because: string): Promise<Outcome> {
    await this.#staging(edit, () => edit.journal.held())
    await this.#syncing(edit)
    if (edit.image.hasWritten) edit.answered = true
    this.#hold(edit, ms, because)
    return { kind: 'held', asWritten: true }
  }

  #hold(edit: Edit, ms: number, because: string): void {
    this.#stopTimer(edit)
    edit.heldBecause = because
    edit.timer = setTimeout(() => {
      edit.timer = undefined
      const { sequence } = edit
      void this.#task(async () => {
        if (this.#edits.get(edit.line.id) === edit && edit.sequence === sequence) await this.#end(edit)
      })
    }, ms)
  }

  /** A held image's time is over: it is committed as it is, or set aside. */
  async #end(edit: Edit): Promise<void> {
    if (!(await this.#endOrSetAside(edit))) this.#options.lines.retire(edit.line)
  }

  /** False if the image was set aside: what its program may yet write belongs behind it, not into the text that is back. */
  async #endOrSetAside(edit: Edit): Promise<boolean> {
    if (edit.underWay) {
      const { report, lines } = this.#options
      report(`data.${lines.format}: a save was not finished, and its client has not been heard of since`)
      await this.#reject(edit)
      return false
    }
    try {
      await this.#judge(edit, 'deadline')
      return true
    } catch (error) {
      // Reported in `.errors` and set aside by #refuse; there is no program to tell.
      if (!(error instanceof FsError)) this.#options.report(messageOf(error))
      return false
    }
  }

  /** A program truncates the file again: what is held there was a save of its own, unless it has no rows yet. */
  async #endSaveBefore(line: Line): Promise<void> {
    const edit = this.editOf(line)
    if (edit === undefined || edit.underWay || edit.committing > 0) return
    if (edit.image.size <= edit.base.headerBytes.length) return
    this.#stopTimer(edit)
    await this.#endOrSetAside(edit)
  }

  async #finishHeld(): Promise<void> {
    for (const edit of [...this.#edits.values()]) {
      if (edit.underWay || edit.committing > 0) continue
      this.#stopTimer(edit)
      await this.#end(edit)
    }
  }

  async #plan(base: TableText, image: Text, edit: Edit | undefined): Promise<EditPlan> {
    const hole = edit?.image.firstHole()
    if (hole !== undefined) throw await neverWritten(image, hole)
    if (edit?.line.format === 'jsonl') return planJsonAppend(base, image)
    return planCsvEdit(base, image, {
      ...this.#planOptions(base),
      ...(edit === undefined ? {} : { sameAs: edit.image.sameAs() }),
    })
  }

  #planOptions(base: TableText): Parameters<typeof planCsvEdit>[2] {
    return {
      spool: () => FileSpool.create(this.#options.directory),
      textWithSchema: snapshot => this.#options.openText(snapshot, base),
    }
  }

  async #apply(plan: Extract<EditPlan, { kind: 'change' }>, base: TableText, editId: string): Promise<TableText> {
    const { table, segments, lines } = this.#options
    const committed = await this.#refusing(() =>
      applyPlan(plan, {
        table,
        segments,
        snapshot: base.snapshot,
        format: lines.format === 'jsonl' ? 'jsonl' : 'csv',
        editId,
      }),
    )
    return this.#options.openText(committed.snapshot, base)
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
    if (error instanceof FsError) return error
    this.#options.report(`data.${this.#options.lines.format}: ${messageOf(error)}`)
    return new FsError(codeOf(error), messageOf(error), { cause: error })
  }

  /** The image cannot be taken: the table stays as it was. Early, the program hears of it; late, the bytes are set aside. */
  async #refuse(edit: Edit, error: unknown, early: boolean): Promise<never> {
    const refusal = this.#refusal(error)
    if (early && !edit.answered) this.#drop(edit)
    else await this.#reject(edit)
    if (early) {
      this.#options.lines.touch(edit.line)
      this.#options.lines.retire(edit.line)
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
        `data.${lines.format}: the save cannot be set aside: ${messageOf(error)}; it stays in ${path}, and is looked at again when the server is started again`,
      )
      this.#leave(edit)
    }
    lines.touch(edit.line)
    lines.save(edit.line)
  }

  #drop(edit: Edit): void {
    this.#forget(edit)
    edit.journal.discard()
  }

  /** Ends an edit here, and leaves its bytes for the next process. */
  #leave(edit: Edit): void {
    this.#forget(edit)
    edit.journal.close()
  }

  #forget(edit: Edit): void {
    this.#stopTimer(edit)
    this.#edits.delete(edit.line.id)
    this.#wake()
  }

  #stopTimer(edit: Edit): void {
    if (edit.timer !== undefined) clearTimeout(edit.timer)
    edit.timer = undefined
    edit.heldBecause = undefined
  }

  #wake(): void {
    const waiting = this.#idle
    this.#idle = []
    for (const resolve of waiting) resolve()
  }
}

async function neverWritten(image: Text, { start, end }: { start: number; end: number }): Promise<TextError> {
  const line = await lineOf(image, start)
  return new TextError(
    'malformed_text',
    `line ${line}: ${end - start} bytes there were never written; the file was made longer, or written behind its end`,
    { line },
  )
}

function lostHandle({ id, format }: Line): FsError {
  return new FsError('ESTALE', `the handle ${id} is no longer that of data.${format}`)
}

function newEdit(line: Line, base: TableText, journal: EditJournal): Edit {
  return {
    line,
    base,
    image: new ImageRope(base, journal),
    journal,
    sequence: 0,
    planned: undefined,
    truncated: false,
    underWay: false,
    committing: 0,
    answered: false,
    believed: undefined,
    written: [],
    timer: undefined,
    heldBecause: undefined,
  }
}

function replay(edit: Edit, record: JournalRecord): void {
  if (record.kind === 'write') {
    edit.image.splice(record.offset, record.staged, record.length)
    if (!record.stable) edit.underWay = true
  } else if (record.kind === 'truncate') {
    edit.image.truncate(record.size)
    noteTruncation(edit, record.size)
  } else {
    edit.underWay = false
    if (edit.image.hasWritten) edit.answered = true
  }
}

function checkGap({ image, line }: Edit, offset: number): void {
  if (offset - image.size <= GAP_BYTES_MAX) return
  throw new FsError(
    'EFBIG',
    `data.${line.format} has ${image.size} bytes: nothing can be written ${offset - image.size} bytes behind its end`,
  )
}

function noteTruncation(edit: Edit, size: number): void {
  if (size <= edit.base.headerBytes.length) edit.truncated = true
}

/** Bytes were overwritten where they stood, and the size is still that of the base: a truncation may be to come. */
function isInPlace(edit: Edit): boolean {
  return !edit.truncated && edit.image.size === edit.base.size
}

/**
 * Whether an image without some of the rows can only be whole: most rows are there, in their order, and the last one is
 * among them. Who copies the rows that stay (grep -v, sed) writes it last.
 */
async function reachesTheEnd({ base, removed, reordered }: Extract<EditPlan, { kind: 'change' }>): Promise<boolean> {
  const bytes = removed.reduce((sum, { start, end }) => sum + end - start, 0)
  const last = removed.at(-1)
  if (last === undefined || reordered || last.end === base.size) return false
  if (bytes * 2 >= base.size - base.headerBytes.length) return false
  // Where the rows behind the last gap are those that begin it, they may as well be these, and the end is still to come.
  return !(await isSameText(base, last.start, last.end, base.size - last.end))
}

/** Whether `length` bytes of a text stand at two places. */
async function isSameText(text: Text, left: number, right: number, length: number): Promise<boolean> {
  for (let at = 0; at < length; at += COMPARED_BYTES) {
    const bytes = Math.min(COMPARED_BYTES, length - at)
    const [a, b] = await Promise.all([
      text.read(left + at, left + at + bytes),
      text.read(right + at, right + at + bytes),
    ])
    if (Buffer.compare(a, b) !== 0) return false
  }
  return true
}

/** A change that takes away no rows that its writer had not seen. */
async function keeping(plan: EditPlan, base: TableText, { from, isSure }: Unseen): Promise<EditPlan> {
  if (plan.kind !== 'change' || plan.base !== base || from >= base.size) return plan
  const removed = plan.removed
    .filter(({ start }) => start < from)
    .map(({ start, end }) => ({ start, end: Math.min(end, from) }))
  if (!isSure) {
    const gone = (await base.rowsAt(removed)).reduce((sum, { rows }) => sum + rows.length, 0)
    const come = plan.added.reduce((sum, { rows }) => sum + rows, 0)
    // More rows than it takes away from the ones in front: these may be the new forms of rows that it did see.
    if (come > gone) return plan
  }
  return removed.length === 0 && plan.added.length === 0 ? { kind: 'unchanged' } : { ...plan, removed }
}

/** Two runs of as many bytes that are not the same: whether no line ends where they differ. */
function differWithinLine(before: Uint8Array, after: Uint8Array): boolean {
  let first = 0
  while (before[first] === after[first]) first++
  let last = before.length - 1
  while (before[last] === after[last]) last--
  const hasEnd = (bytes: Uint8Array): boolean => bytes.subarray(first, last + 1).includes(0x0a)
  return !hasEnd(before) && !hasEnd(after)
}

const emptyText: Text = { size: 0, read: async () => new Uint8Array(0) }

/** Larger texts are not compared with what was written: the client asks for the attributes, and reads again what it needs. */
const COMPARED_BYTES_MAX = 4 << 20

/**
 * Whether a view shows, byte for byte, what was written. An append is compared from the old end on, so that it costs
 * nothing of the table's size. False where that would be dear to find out: it only makes the client look again.
 */
async function showsAsWritten(plan: EditPlan, base: TableText, shown: TableText, image: Text): Promise<boolean> {
  if (shown.size !== image.size) return false
  const start = isAppend(plan, base) && shown.snapshot.version === base.snapshot.version + 1n ? base.size : 0
  if (shown.size - start > COMPARED_BYTES_MAX) return false
  const [left, right] = await Promise.all([shown.read(start, shown.size), image.read(start, image.size)])
  return Buffer.compare(left, right) === 0
}

function isAppend(plan: EditPlan, base: TableText): boolean {
  if (plan.kind !== 'change' || plan.base !== base || plan.removed.length > 0) return false
  return plan.added.every(({ start, anchor }) => anchor === base.size && start >= base.size)
}

function codeOf(error: unknown): FsErrorCode {
  const code = error instanceof LakeError ? error.code : ''
  if (code === 'no_space') return 'ENOSPC'
  if (code === 'access_denied' || code === 'read_only') return 'EACCES'
  if (code === 'append_only') return 'EPERM'
  if (error instanceof TextError || code === 'constraint' || code === 'bad_schema') return 'EINVAL'
  return 'EIO'
}
