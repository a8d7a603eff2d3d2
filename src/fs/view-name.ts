import { BoundedMap } from '../core/bounded-map.ts'
import { messageOf } from '../core/errors.ts'
import type { Table } from '../table/table.ts'
import { exactSize } from './attributes.ts'
import { clientKey, endOf, endOfImage, type FileClient, fileClientOf } from './ends-of-file.ts'
import { type Change, type CreateHow, FsError, type Node, type TimeNs } from './filesystem.ts'
import { type Lineage, textVersion } from './lineage.ts'
import { exists, isSillyName, noEntry, RefusedChange } from './names.ts'
import type { HoldTimes } from './saves/hold-times.ts'
import { type NameAct, type NameEvent, nextName } from './saves/name-state.ts'
import { noteBrought, type RenameRecord } from './saves/renames.ts'
import type { Saves } from './saves/saves.ts'
import { openFile } from './saves/spool.ts'
import type { Scratch } from './scratch/scratch.ts'
import { type Base, baseOf, diedMeanwhile, mayHaveRead } from './seen.ts'
import { seenWhole } from './seen-texts.ts'
import type { TableText } from './text/layout.ts'
import { isSameText, type Text } from './text/text.ts'
import type { TableView } from './views/table-view.ts'

/** Clients repeat what was not answered within this time of a restart. */
const RESTARTED_MS = 120_000
const COMPLETED_MAX = 64

/** A file whose rows are in the table. */
interface Taken {
  readonly text: TableText
  readonly image: Text
  /** The text is the image, byte for byte. */
  readonly asWritten: boolean
}

export interface ViewNameOptions {
  readonly view: TableView
  readonly editor: Saves
  readonly scratch: Scratch
  readonly table: Table
  /** Returns the text of a file that is a version of some view, under a name elsewhere. */
  readonly textOfLineage: (id: bigint) => Promise<Text | undefined>
  readonly times: HoldTimes
  readonly nowMs: () => number
  /** Runs after the change of names that is under way. */
  readonly alone: (run: () => Promise<void>) => Promise<void>
  /** Called when the listing of `data/` has changed. */
  readonly onNames: () => void
  readonly log: (sentence: string) => void
}

/**
 * Does what programs do to the name of a view that can be edited, as the machine of its states says (name-state.ts). What the
 * name leads to when it comes back is the rewritten table. Calls come one after the other.
 */
export class ViewName {
  readonly #options: ViewNameOptions
  /** Runs when the name has been away for long enough. */
  #deadline: Timer | undefined
  /** Those who wait until it is there. */
  #waiting: (() => void)[] = []
  /** The first moments of RENAMEs onto the name that are not answered yet, by the names of their files. */
  readonly #arrivals = new BoundedMap<string, number>(COMPLETED_MAX)
  /** The moment of the first call of a client of this process. */
  #servedMs: number | undefined
  /** The former names of files that took the name, whose RENAME was not answered: it may come once more. */
  #completed: readonly string[] = []
  readonly #startedMs: number

  constructor(options: ViewNameOptions) {
    this.#options = options
    this.#startedMs = options.nowMs()
  }

  get view(): TableView {
    return this.#options.view
  }

  get name(): string {
    return this.view.name
  }

  get isAway(): boolean {
    return this.view.away !== undefined
  }

  /** Takes up a name that was away when an earlier process ended: its client may be about to rename a new file onto it. */
  async recover(): Promise<void> {
    const { view, scratch } = this.#options
    // What cannot be brought to its end now, will be when the call comes once more.
    await this.#finishRenames().catch(() => undefined)
    // The text of a table with many files of other writers takes minutes: mostly it is not needed to begin with.
    const { last } = view.lineages
    if (last === undefined || scratch.entryOf(last.id) === undefined) return
    const lineage = await view.lineages.current()
    const reference = scratch.entryOf(lineage.id)
    if (reference !== undefined) this.#happened({ kind: 'restart', lineage, silly: isSillyName(reference.name) })
  }

  /** A client is there again after a restart: what it was doing, it goes on with now or not at all. */
  clientSeen(): void {
    this.#servedMs = this.#options.nowMs()
    this.#happened({ kind: 'client' })
  }

  /** Resolves when the name is there. */
  async settled(): Promise<void> {
    while (this.isAway) await new Promise<void>(resolve => this.#waiting.push(resolve))
  }

  /** Brings the name back now. */
  async finish(): Promise<void> {
    const { away } = this.view
    if (away !== undefined) await this.#comeBack(away)
  }

  close(): void {
    this.#happened({ kind: 'end' })
  }

  /** A save was refused. vim has a backup in `data.csv~` or the like, which it will rename back after removing the name. */
  saveRefused(lineage: Lineage): void {
    const { view, nowMs, scratch } = this.#options
    if (view.nameState.kind !== 'created over') return
    const { backup } = view.nameState
    const isAsBackup = textVersion(lineage) === textVersion(backup) && scratch.entryOf(backup.id) !== undefined
    this.#happened({ kind: 'save refused', lineage, isAsBackup, nowMs: nowMs() })
  }

  /** CREATE: the lineage that the name leads to then. */
  async create(how: CreateHow, caller: FileClient): Promise<Lineage> {
    const { view, editor, nowMs, onNames } = this.#options
    const lineage = view.away ?? (await view.lookNow())
    const isExclusive = how.kind !== 'unchecked'
    const event = { kind: 'CREATE', isExclusive, isEmptied: editor.isEmptied(lineage), nowMs: nowMs() } as const
    const act = this.#happened(event)
    if (act === 'exists') throw exists(view.name)
    const created = act === 'create' ? view.lineages.start(await view.lineages.text(lineage)) : lineage
    if (act === 'create') this.#happened({ kind: 'created', lineage: created })
    if (act !== 'open') await editor.truncate(created, 0, caller)
    else if (how.kind === 'unchecked' && how.attributes.size !== undefined)
      await editor.truncate(lineage, exactSize(how.attributes.size), caller)
    onNames()
    return created
  }

  /** `rm`: all rows go; the name stays, with the header. */
  async remove(): Promise<Change> {
    const { view, editor, nowMs, onNames } = this.#options
    const lineage = view.away ?? (await view.lookNow())
    const act = this.#happened({ kind: 'REMOVE', lineage, nowMs: nowMs() })
    if (act === 'missing') throw noEntry(view.name)
    if (act === 'wait') return {}
    await editor.finish()
    await editor.abandon()
    await editor.removeRows(view.lineages.start(await view.lineages.text(await view.lookNow())))
    this.#happened({ kind: 'emptied', nowMs: nowMs() })
    onNames()
    // Without directory attributes the client does not remember the name as gone.
    return {}
  }

  /** `mv` of the view elsewhere, a backup, or the client's rename of an open file: held, see name-state.ts. */
  async renameAway(toDirectory: Node, toName: string): Promise<void> {
    const { view, scratch } = this.#options
    const silly = isSillyName(toName)
    if (view.away !== undefined) {
      // Repeated after a restart.
      const entry = scratch.entryOf(view.away.id)
      const isRepeated = entry?.dirId === toDirectory.id && entry.name === toName
      const act = this.#happened({ kind: 'RENAME away', lineage: view.away, silly, isRepeated })
      if (act === 'missing') throw noEntry(view.name)
      return
    }
    await this.#options.editor.finish()
    const lineage = await view.lookNow()
    const { size } = await view.lineages.text(lineage)
    await scratch.placeReference(toDirectory.id, toName, lineage.id, { size, mtime: lineage.mtime })
    this.#happened({ kind: 'RENAME away', lineage, silly, isRepeated: false })
  }

  /**
   * A whole new file takes the name: one commit of what differs, or both names as they were. FsError EJUKEBOX: it may be
   * committed, or is, and the call brings it to its end when it comes once more.
   */
  async renameOnto(fromDirectory: Node, fromName: string): Promise<void> {
    const { view, scratch, editor, onNames } = this.#options
    const { lineages } = view
    const origin = `${fromDirectory.id}/${fromName}`
    // Stores that are slow, or away, must not make a file look as if it had lain there.
    const arrivedMs = this.#arrivals.get(origin) ?? this.#options.nowMs()
    this.#arrivals.set(origin, arrivedMs)
    await this.#finishRenames()
    const entry = await this.#entryToRename(fromDirectory, fromName, origin)
    if (entry === undefined) return
    const { away } = view
    const old = lineages.get(entry.id)
    const shown = old === undefined ? await this.#options.textOfLineage(entry.id) : await lineages.text(old)
    const { ctime: finished, size } = await scratch.getattr(entry.id)
    const written =
      shown === undefined ? { sinceMs: scratch.createdMs(entry.id), finished, renamedMs: arrivedMs } : undefined
    const file = shown === undefined ? openFile(scratch.realPath(entry.id), exactSize(size)) : undefined
    const image = shown ?? file!
    // A version of another view goes on as that one's.
    const becomes = old !== undefined ? 'line' : shown === undefined ? 'file' : 'new'
    try {
      const client = fileClientOf(fromDirectory)
      // A whole new text behind a truncation is a change of what that has left.
      const known = editor.isCut ? undefined : written
      const find = (): Promise<Base> => this.#baseOfReplacement(away, known, image, client)
      const renaming = { origin, fileId: String(entry.id), becomes, client: clientKey(client) } as const
      const { text, asWritten, record } = await editor.replace(find, image, renaming)
      await this.#complete(record, { text, asWritten, image })
      this.#arrivals.delete(origin)
    } catch (error) {
      if (!(error instanceof FsError && error.code === 'EJUKEBOX')) this.#arrivals.delete(origin)
      await this.#putBack(away)
      throw error
    } finally {
      file?.close()
      onNames()
    }
  }

  /** The name leads to a renamed file, whose rows are in the table. It may be called again if it fails. */
  async #complete(record: RenameRecord, taken: Taken): Promise<void> {
    const { view, editor } = this.#options
    const { lineages } = view
    const { text, asWritten, image } = taken
    const { origin, becomes, client } = record
    const id = BigInt(record.fileId)
    try {
      // It only tells what is appended next.
      const end = asWritten ? endOf(text.size, text.version) : await endOfImage(image).catch(() => undefined)
      const old = becomes === 'new' ? undefined : lineages.get(id)
      if (old === undefined) {
        // What its client knows of it is noted with it: who dies here has it.
        const lineage = lineages.start(text, becomes === 'new' ? undefined : id, origin)
        if (!asWritten) lineages.touch(lineage)
        if (client !== undefined && end !== undefined) lineages.noteWrote(lineage, client, end)
        if (client !== undefined) lineages.noteSaved(lineage, [client], undefined, asWritten)
      } else if (becomes === 'line') {
        lineages.advance(old, text)
        lineages.adopt(old)
        lineages.touch(old)
      }
      this.#happened({ kind: 'RENAME onto' })
      await this.#take(id)
      lineages.whenSaved(() => editor.renames.end(record))
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
      const version = await editor.renames.versionOf(table, record).catch(cause => {
        throw this.#askAgain(cause)
      })
      if (version === undefined) {
        editor.renames.end(record)
        continue
      }
      noteBrought(record, this.view.lineages, version)
      await this.#finishRename(record, version)
      this.#completed = [...this.#completed, record.origin].slice(-COMPLETED_MAX)
    }
  }

  async #finishRename(record: RenameRecord, version: bigint): Promise<void> {
    const { view, scratch } = this.#options
    const id = BigInt(record.fileId)
    const isFile = record.becomes === 'file' && scratch.entryOf(id) !== undefined
    let file: ReturnType<typeof openFile> | undefined
    try {
      const text = await view.lineages.textOf(version)
      if (isFile) file = openFile(scratch.realPath(id), exactSize((await scratch.getattr(id)).size))
      const image = file ?? text
      await this.#complete(record, { text, image, asWritten: isFile && (await isSameText(text, image)) })
    } catch (cause) {
      throw cause instanceof FsError && cause.code === 'EJUKEBOX' ? cause : this.#askAgain(cause)
    } finally {
      file?.close()
    }
  }

  #askAgain(cause: unknown): FsError {
    const sentence = `${this.name}: a file that was renamed to it may be in the table, and cannot take the name yet: ${messageOf(cause)}`
    this.#options.log(sentence)
    return new FsError('EJUKEBOX', sentence, { cause })
  }

  /** Nothing has taken the name: it leads to what it did. */
  async #putBack(away: Lineage | undefined): Promise<void> {
    const { lineages } = this.view
    const act = this.#happened({ kind: 'RENAME refused' })
    if (act !== 'put back' || away === undefined) return
    try {
      lineages.start(await lineages.text(away))
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
      const current = view.lineages.peek() ?? (await view.lineages.current())
      if (current.renamedFrom === origin) return undefined
      throw error
    }
  }

  /**
   * The text that a program read before it wrote the file that now takes the name: rows that came in while it worked were
   * not seen by it, and stay. A file that lay finished while the table changed (a backup that is put back) replaces what
   * is there now; of one from before a restart it is not known how long it lay.
   */
  async #baseOfReplacement(
    away: Lineage | undefined,
    file: { sinceMs: number; finished: TimeNs; renamedMs: number } | undefined,
    image: Text,
    client: FileClient,
  ): Promise<Base> {
    const { view, times } = this.#options
    const { lineages } = view
    const lineage = away ?? (await view.lookNow())
    const base = await lineages.text(lineage)
    if (file === undefined) return { base }
    const isFromBefore = this.#isFromBefore(file)
    if (isFromBefore && base.snapshot.timestampMs >= Math.floor(file.sinceMs)) throw diedMeanwhile(view.name)
    const servedNs = BigInt(this.#servedMs ?? 0) * 1_000_000n
    const lainSince = file.finished > servedNs ? file.finished : servedNs
    const lainMs = lineages.known.idleMs(client, Number(lainSince / 1_000_000n), file.renamedMs)
    const isFinished = lainMs > times.finishedMs
    if (isFinished && lineage.mtime > file.finished) return { base }
    const seen = await lineages.seenSince(file.sinceMs, client)
    // What its program read was known to the earlier process alone.
    const earlier = isFromBefore ? await mayHaveRead(view.name, lineage, file.sinceMs, v => lineages.textOf(v)) : []
    if (seen === undefined && earlier.length === 0) return { base }
    const { first = [seenWhole(lineage, base)], later = [] } = seen ?? {}
    return baseOf(view.name, { first: [...earlier, ...first], later }, image, base, file.sinceMs)
  }

  /** True if a program may have been at work on a file when the server died: then it is not known what it had read. */
  #isFromBefore({ sinceMs, finished }: { sinceMs: number; finished: TimeNs }): boolean {
    const startedMs = this.#startedMs
    const isRecent = finished > BigInt(startedMs - RESTARTED_MS) * 1_000_000n
    return sinceMs < startedMs && isRecent && this.#options.nowMs() - startedMs < RESTARTED_MS
  }

  /** Takes the name from state to state; what is to be done for it is told. */
  #happened(event: NameEvent<Lineage>): NameAct {
    const { view, times, onNames } = this.#options
    const { state, act } = nextName(view.nameState, event, times)
    if (state === view.nameState) return act
    view.nameState = state
    clearTimeout(this.#deadline)
    if (state.kind === 'away') this.#deadline = setTimeout(() => this.#comeBackAlone(state.lineage), state.ms)
    else for (const resolve of this.#waiting.splice(0)) resolve()
    if (act === 'wait') onNames()
    return act
  }

  #comeBackAlone(lineage: Lineage): void {
    const { view, alone, log } = this.#options
    const deadline = this.#deadline
    void alone(async () => {
      if (view.away === lineage && this.#deadline === deadline) await this.#comeBack(lineage)
    }).catch(error => log(messageOf(error)))
  }

  /** Nothing took the name: it comes back, without rows if the client removed it. */
  async #comeBack(lineage: Lineage): Promise<void> {
    const { view, editor, onNames, times } = this.#options
    const { act } = nextName(view.nameState, { kind: 'deadline' }, times)
    try {
      const text = await view.lineages.text(lineage)
      if (act !== 'put back without rows') view.lineages.start(text)
      else view.lineages.start(await editor.removeAllRows(text).catch(error => this.#keepingRows(text, error)))
    } finally {
      // Whatever failed, it does not stay away: nobody would bring it back.
      this.#happened({ kind: 'deadline' })
      onNames()
    }
  }

  #keepingRows(text: TableText, error: unknown): never {
    this.view.lineages.start(text)
    throw error
  }
}
