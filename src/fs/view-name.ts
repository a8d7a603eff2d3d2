import { messageOf } from '../core/errors.ts'
import type { Table } from '../table/table.ts'
import { sizeOf } from './attributes.ts'
import type { Editor, HoldTimes } from './edits/editor.ts'
import type { RenameRecord } from './edits/renames.ts'
import { fileText } from './edits/spool.ts'
import { clientKey, endOfImage, type FileClient, fileClientOf } from './ends-of-file.ts'
import { type Change, type CreateHow, FsError, type Node, type TimeNs } from './filesystem.ts'
import type { Line } from './lines.ts'
import { exists, isSillyName, noEntry, RefusedChange } from './names.ts'
import type { Seen } from './saves/outcome.ts'
import type { Scratch } from './scratch/scratch.ts'
import type { TableText } from './text/layout.ts'
import type { Text } from './text/text.ts'
import type { TableView } from './views/table-view.ts'

/** After `rm` an exclusive CREATE (mv from another file system) finds the name free for this long. */
const REMOVED_MS = 2000
/** After a save over a backup was refused, its editor puts the backup back within this time. */
const RESTORED_MS = 5000
/** A file whose writer has been done with it for longer than this was not made from what the table is now. */
const FINISHED_NS = 2_000_000_000n
const COMPLETED_MAX = 64

export interface ViewNameOptions {
  readonly view: TableView
  readonly editor: Editor
  readonly scratch: Scratch
  readonly table: Table
  /** What a file shows that is a version of some view, under a name elsewhere. */
  readonly textOfLine: (id: bigint) => Promise<Text | undefined>
  readonly times: HoldTimes
  readonly nowMs: () => number
  /** Runs after the change of names that is under way. */
  readonly alone: (run: () => Promise<void>) => Promise<void>
  /** What `data/` lists has changed. */
  readonly onNames: () => void
  readonly log: (sentence: string) => void
}

/** The view was renamed to another name and is waited for. */
interface Away {
  readonly line: Line
  /** The client's own rename of an open file that was removed: counts as `rm` if nothing takes the name. */
  readonly silly: boolean
  readonly timer: Timer
  /** It was so when the server was started. */
  readonly recovered: boolean
  /** Resolves when the name is back. */
  readonly ended: Promise<void>
  readonly end: () => void
}

/**
 * What programs do to the name of a view that can be edited: they remove it, rename it to a backup, create it anew, and
 * rename other files onto it. The name always comes back; what it then leads to is the rewritten table (see the design, "When is an edit
 * complete?"). Calls come one after the other.
 */
export class ViewName {
  readonly #options: ViewNameOptions
  #away: Away | undefined
  /** The line that was created in place of one that was renamed to a backup. */
  #createdOver: { readonly line: Line; readonly backup: Line } | undefined
  /** Until when an editor may remove the name and rename its backup into place, after its save was refused. */
  #restoringUntilMs = Number.NEGATIVE_INFINITY
  #removedMs = Number.NEGATIVE_INFINITY
  /** Where files that took the name came from, whose RENAME was not answered: it may come once more. */
  #completed: readonly string[] = []

  constructor(options: ViewNameOptions) {
    this.#options = options
  }

  get view(): TableView {
    return this.#options.view
  }

  get name(): string {
    return this.view.name
  }

  get isAway(): boolean {
    return this.#away !== undefined
  }

  /** Takes up a name that was away when an earlier process ended: its client may be about to rename a new file onto it. */
  async recover(): Promise<void> {
    const { view, scratch, times } = this.#options
    // What cannot be brought to its end now, will be when the call comes once more.
    await this.#finishRenames().catch(() => undefined)
    const line = await view.lines.current()
    const reference = scratch.entryOf(line.id)
    if (reference !== undefined) this.#goAway(line, isSillyName(reference.name), times.answeredMs, true)
  }

  /** A client is there again after a restart: what it was doing, it goes on with now or not at all. */
  clientSeen(): void {
    const away = this.#away
    if (away?.recovered !== true) return
    this.#endAway()
    this.#goAway(away.line, away.silly, this.#options.times.resumedMs)
  }

  /** Resolves when the name is there. */
  async settled(): Promise<void> {
    while (this.#away !== undefined) await this.#away.ended
  }

  /** Brings the name back now. */
  async finish(): Promise<void> {
    const away = this.#away
    if (away === undefined) return
    this.#endAway()
    await this.#comeBack(away.line, away.silly)
  }

  close(): void {
    this.#endAway()
  }

  /** A save was refused. vim has a backup in `data.csv~` or the like, which it will rename back after removing the name. */
  saveRefused(line: Line): void {
    const { nowMs, scratch } = this.#options
    const over = this.#createdOver
    if (over?.line !== line || line.version !== over.backup.version) return
    if (scratch.entryOf(over.backup.id) !== undefined) {
      this.#restoringUntilMs = nowMs() + RESTORED_MS
    }
  }

  /** CREATE: the line that the name leads to then. */
  async create(how: CreateHow, caller: FileClient): Promise<Line> {
    const { view, nowMs, onNames } = this.#options
    const away = this.#away
    let line: Line
    if (away !== undefined) {
      this.#endAway()
      line = view.lines.start(await view.lines.text(away.line))
      this.#createdOver = { line, backup: away.line }
      await this.#options.editor.startEmpty(line, caller)
    } else {
      line = await view.lookNow()
      const justRemoved = nowMs() - this.#removedMs < REMOVED_MS || this.#options.editor.isEmptied(line)
      if (how.kind !== 'unchecked' && !justRemoved) throw exists(view.name)
      if (how.kind !== 'unchecked') await this.#options.editor.truncate(line, 0, caller)
      else if (how.attributes.size !== undefined) {
        await this.#options.editor.truncate(line, sizeOf(how.attributes.size), caller)
      }
    }
    onNames()
    return line
  }

  /** `rm`: all rows go; the name stays, with the header. */
  async remove(): Promise<Change> {
    const { view, editor, nowMs, onNames, times } = this.#options
    if (this.#away !== undefined) throw noEntry(view.name)
    const line = await view.lookNow()
    if (nowMs() < this.#restoringUntilMs) {
      this.#restoringUntilMs = Number.NEGATIVE_INFINITY
      this.#goAway(line, false, times.awayMs)
      return {}
    }
    await editor.finish()
    await editor.abandon()
    await editor.removeRows(view.lines.start(await view.lines.text(await view.lookNow())))
    this.#removedMs = nowMs()
    onNames()
    // Without directory attributes the client does not remember the name as gone.
    return {}
  }

  /** `mv` of the view elsewhere, a backup, or the client's rename of an open file: held, see the design. */
  async renameAway(toDirectory: Node, toName: string): Promise<void> {
    const { view, scratch } = this.#options
    if (this.#away !== undefined) {
      // Repeated after a restart.
      const entry = scratch.entryOf(this.#away.line.id)
      if (entry?.dirId === toDirectory.id && entry.name === toName) return
      throw noEntry(view.name)
    }
    await this.#options.editor.finish()
    const line = await view.lookNow()
    const { size } = await view.lines.text(line)
    await scratch.placeReference(toDirectory.id, toName, line.id, { size, mtime: line.mtime })
    this.#goAway(line, isSillyName(toName), this.#options.times.awayMs)
  }

  /**
   * A whole new file takes the name: one commit of what differs, or both names as they were. FsError EJUKEBOX: it may be
   * committed, or is, and the call brings it to its end when it comes once more.
   */
  async renameOnto(fromDirectory: Node, fromName: string, arrivedMs: number): Promise<void> {
    const { view, scratch, editor, onNames } = this.#options
    const { lines } = view
    const origin = `${fromDirectory.id}/${fromName}`
    await this.#finishRenames()
    const entry = await this.#entryToRename(fromDirectory, fromName, origin)
    if (entry === undefined) return
    const away = this.#away
    const old = lines.get(entry.id)
    const shown = old === undefined ? await this.#options.textOfLine(entry.id) : await lines.text(old)
    const { ctime: finished, size } = await scratch.getattr(entry.id)
    const written = shown === undefined ? { sinceMs: scratch.createdMs(entry.id), finished } : undefined
    const seen = await this.#seenByReplacement(away, written, fileClientOf(fromDirectory), arrivedMs)
    const image = shown ?? fileText(scratch.realPath(entry.id), sizeOf(size))
    // A version of another view goes on as that one's.
    const becomes = old !== undefined ? 'line' : shown === undefined ? 'file' : 'new'
    try {
      const renaming = { origin, fileId: String(entry.id), becomes } as const
      const { text, asWritten, record } = await editor.replace(seen, image, renaming)
      const line = await this.#complete(record, text)
      if (old === undefined) {
        if (!asWritten) lines.touch(line)
        // It only tells what is appended next.
        const own = asWritten ? [] : await endOfImage(image).then(Array.of, () => [])
        const version = asWritten ? text.snapshot.version : undefined
        const wrote = { start: 0, end: image.size, own, version, base: undefined }
        line.ends.wrote(clientKey(fileClientOf(fromDirectory)), wrote)
      }
      this.#restoringUntilMs = Number.NEGATIVE_INFINITY
    } catch (error) {
      if (away !== undefined) await this.#putBack(away)
      throw error
    } finally {
      onNames()
    }
  }

  /** The name leads to a renamed file, whose rows are in the table. It may be called again if it fails. */
  async #complete(record: RenameRecord, known?: TableText): Promise<Line> {
    const { view, editor } = this.#options
    const { lines } = view
    const { origin, becomes } = record
    const id = BigInt(record.fileId)
    try {
      const text = known ?? (await lines.text(await view.lookNow()))
      await this.#take(id)
      const old = becomes === 'new' ? undefined : lines.get(id)
      const line = old ?? lines.start(text, becomes === 'new' ? undefined : id, origin)
      if (old !== undefined) {
        lines.advance(old, text)
        lines.adopt(old)
        lines.touch(old)
      }
      this.#endAway()
      lines.whenSaved(line, () => editor.renames.end(record))
      return line
    } catch (cause) {
      throw this.#askAgain(cause)
    }
  }

  /** Its entry goes; the id goes on as the view's. */
  async #take(id: bigint): Promise<void> {
    const { scratch } = this.#options
    if (scratch.entryOf(id) === undefined) return
    try {
      await scratch.take(id)
    } catch (error) {
      // It was taken before, and only that was not noted.
      if (!(error instanceof FsError && error.code === 'ESTALE')) throw error
    }
  }

  /** Brings to their end the renames whose rows are in the table, and that were killed or failed behind their commit. */
  async #finishRenames(): Promise<void> {
    const { editor, table } = this.#options
    for (const record of editor.renames.open) {
      const isInTable = await editor.renames.isIn(table, record).catch(cause => {
        throw this.#askAgain(cause)
      })
      if (isInTable) {
        await this.#complete(record)
        this.#completed = [...this.#completed, record.origin].slice(-COMPLETED_MAX)
      } else editor.renames.end(record)
    }
  }

  #askAgain(cause: unknown): FsError {
    const sentence = `${this.name}: a file that was renamed to it may be in the table, and cannot take the name yet: ${messageOf(cause)}`
    this.#options.log(sentence)
    return new FsError('EJUKEBOX', sentence, { cause })
  }

  /** Nothing has taken the name: it leads to what it did. */
  async #putBack({ line }: Away): Promise<void> {
    const { lines } = this.view
    this.#endAway()
    try {
      lines.start(await lines.text(line))
    } catch (error) {
      this.#options.log(messageOf(error))
    }
  }

  async #entryToRename(directory: Node, name: string, origin: string): Promise<{ id: bigint } | undefined> {
    const { view, scratch } = this.#options
    try {
      const entry = await scratch.lookup(directory.id, name)
      const { type } = await scratch.getattr(entry.id)
      if (type === 'directory') throw new RefusedChange('EISDIR', `${view.name}: a folder cannot take its place`)
      // Another file by this name.
      this.#completed = this.#completed.filter(other => other !== origin)
      return entry
    } catch (error) {
      if (!(error instanceof FsError && error.code === 'ENOENT')) throw error
      // Repeated, after a restart or since its end failed: the file is the view already.
      if (this.#completed.includes(origin)) return undefined
      const current = view.lines.peek() ?? (await view.lines.current())
      if (current.renamedFrom === origin) return undefined
      throw error
    }
  }

  /**
   * The text that a program read before it wrote the file that now takes the name: rows that came in while it worked were
   * not seen by it, and stay. A file that lay finished while the table changed (a backup that is put back) replaces what
   * is there now.
   */
  async #seenByReplacement(
    away: Away | undefined,
    file: { sinceMs: number; finished: TimeNs } | undefined,
    client: FileClient,
    arrivedMs: number,
  ): Promise<Seen[]> {
    const { view, editor } = this.#options
    const { lines } = view
    if (away === undefined) await editor.finish()
    const line = away?.line ?? (await view.lookNow())
    const text = await lines.text(line)
    const now = [{ text, unseen: { ranges: [], unsureFrom: text.size } }]
    if (file === undefined) return now
    const isFinished = BigInt(arrivedMs) * 1_000_000n - file.finished > FINISHED_NS
    if (isFinished && line.mtime > file.finished) return now
    const seen = await lines.seenSince(file.sinceMs, client)
    return seen.length === 0 ? now : seen
  }

  #goAway(line: Line, silly: boolean, ms: number, recovered = false): void {
    const { view, alone, onNames, log } = this.#options
    const timer = setTimeout(() => {
      void alone(async () => {
        if (this.#away?.timer !== timer) return
        await this.#comeBack(line, silly)
        this.#endAway()
      }).catch(error => log(messageOf(error)))
    }, ms)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#away = { line, silly, timer, recovered, ended: promise, end: resolve }
    view.away = line
    onNames()
  }

  #endAway(): void {
    const away = this.#away
    if (away === undefined) return
    clearTimeout(away.timer)
    this.#away = undefined
    this.#options.view.away = undefined
    away.end()
  }

  /** Nothing took the name: it comes back, without rows if the client removed it. */
  async #comeBack(line: Line, silly: boolean): Promise<void> {
    const { view, onNames } = this.#options
    const text = await view.lines.text(line)
    try {
      view.lines.start(silly ? await this.#withoutRows(text) : text)
    } catch (error) {
      view.lines.start(text)
      throw error
    } finally {
      onNames()
    }
  }

  async #withoutRows(text: TableText): Promise<TableText> {
    return this.#options.editor.removeAllRows(text)
  }
}
