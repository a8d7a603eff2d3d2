import type { Database } from 'bun:sqlite'
import { join } from 'node:path'
import { type TextFormatName, textFormat } from '../../columns/text/formats/index.ts'
import { type Clock, momentMs } from '../../core/clock.ts'
import { totalLength } from '../../core/search.ts'
import type { Table } from '../../table/table.ts'
import { MODE, type Owner, viewAttributes } from '../attributes.ts'
import { clientKey, type EndOfFile, type FileClient, fileClientOf } from '../ends-of-file.ts'
import type { ErrorJournal } from '../error-journal.ts'
import type { Attributes, Change, Node, ReadResult, Stability, WriteResult } from '../filesystem.ts'
import { type Lineage, staleLineage } from '../lineage.ts'
import { Lineages } from '../lineages.ts'
import type { Disk } from '../saves/disk.ts'
import { DEFAULT_HOLD_TIMES, type HoldTimes } from '../saves/hold-times.ts'
import type { NameState } from '../saves/name-state.ts'
import type { Openers } from '../saves/openers.ts'
import type { Outcome } from '../saves/outcome.ts'
import { imageFor, sizeFor } from '../saves/places.ts'
import { isAsWritten, isShownTo, isTruncated, type Save } from '../saves/save.ts'
import { Saves } from '../saves/saves.ts'
import { isPrivate } from '../saves/state.ts'
import type { Scratch } from '../scratch/scratch.ts'
import { openText, TableText } from '../text/layout.ts'
import type { Segments } from '../text/segments.ts'
import type { Text } from '../text/text.ts'
import type { DirectoryNode, FileNode } from '../tree/node.ts'
import type { SeenVersion } from '../version-times.ts'
import { offsetIn, readText } from './view.ts'

/** A plain handle of an old lineage still answers while it was read within this time. */
const OLD_LINEAGE_READ_MS = 5000

/** The parts that the views of a table are made from. */
export interface TableViewContext {
  /** The folder that the views are in. */
  readonly data: DirectoryNode
  readonly table: Table
  readonly segments: Segments
  readonly scratch: Scratch
  readonly database: Database
  readonly errors: ErrorJournal
  readonly stateDirectory: string
  readonly clock: Clock
  readonly owner: Owner
  readonly holdTimes?: HoldTimes
  readonly openers?: Openers
  /** See SavesOptions. */
  readonly disk?: Disk
}

export interface TableViewOptions {
  readonly format: TextFormatName
  /** Saves through these come first: this view waits until they are over. */
  readonly waitsFor: () => readonly TableView[]
  /** The table was seen at this version. */
  readonly onVersion: (seen: SeenVersion) => void
  /** See LineagesOptions. */
  readonly leftMs: (version: bigint) => number
  /** Called when the listing of `data/` has changed. */
  readonly onNames: () => void
  /** A save was refused, and the name has a new handle. */
  readonly onRefused: (lineage: Lineage) => void
}

/** The live table as one file, such as `data.csv`. Its handles stand for lineages. */
export class TableView {
  readonly format: TextFormatName
  readonly name: string
  readonly lineages: Lineages
  /** Undefined where nothing can be written, such as `data.json`. */
  readonly editor: Saves | undefined
  /** The state of the view's name. */
  nameState: NameState<Lineage> = { kind: 'there' }
  readonly #context: TableViewContext
  readonly #options: TableViewOptions

  constructor(context: TableViewContext, options: TableViewOptions) {
    this.#context = context
    this.#options = options
    this.format = options.format
    this.name = `data.${options.format}`
    this.lineages = this.#newLineages()
    this.editor = textFormat(options.format).input === undefined ? undefined : this.#newEditor()
  }

  /** Returns the file of a handle, if it is one of this view's. */
  file(node: Node): FileNode | undefined {
    const { id } = node
    const lineage = this.lineages.get(id)
    if (lineage === undefined) return undefined
    const { name, editor } = this
    const client = fileClientOf(node)
    // It reports by itself what it refuses, as some is refused when no call is under way.
    const file: FileNode = {
      kind: 'file',
      id,
      name,
      writable: editor !== undefined,
      attributes: () => this.#call(client, () => this.#attributes(lineage, client)),
      read: (offset: bigint, count: number) => this.#call(client, () => this.#read(lineage, client, offset, count)),
    }
    if (editor === undefined) return file
    return {
      ...file,
      truncate: async (size, before) =>
        this.#changed(lineage, client, before, await editor.truncate(lineage, offsetIn(name, size), client)),
      write: (offset, bytes, stability) =>
        this.#call(client, () => this.#write(editor, lineage, client, offsetIn(name, offset), bytes, stability)),
      commit: () => this.#call(client, () => this.#commit(editor, lineage, client)),
    }
  }

  /** The lineage whose name was renamed away: it stays as it is until the name is back. */
  get away(): Lineage | undefined {
    return this.nameState.kind === 'away' ? this.nameState.lineage : undefined
  }

  /** True if a save is under way. */
  get isEdited(): boolean {
    return this.editor?.isBusy ?? false
  }

  /**
   * The lineage that an open of the name gets. A save that another program has not ended yet is that program's alone: who
   * asks through a frozen export gets the version before.
   */
  open(client: FileClient): Promise<Lineage> {
    return this.#call(client, () => this.#open(client))
  }

  async #open(client: FileClient): Promise<Lineage> {
    const lineage = await this.#opened(client.frozen === true)
    const edit = this.editor?.of(lineage)
    // What is being made anew is shown as it is.
    if (client.frozen !== true || this.away === lineage) return lineage
    if (edit !== undefined && (edit.places.size === 0 || isTruncated(edit))) return lineage
    return this.lineages.openedBy(lineage, client)
  }

  /** Runs a call of a client, and notes how long it took. */
  async #call<T>(client: FileClient, run: () => Promise<T>): Promise<T> {
    const { clock } = this.#context
    const startMs = momentMs(clock)
    try {
      return await run()
    } finally {
      this.lineages.known.called(client, startMs, momentMs(clock))
    }
  }

  async #opened(frozen: boolean): Promise<Lineage> {
    // A save whose file was closed without a call ends here, and with it the name leads elsewhere.
    await this.editor?.endClosed()
    const lineage = await this.look()
    const edit = this.editor?.of(lineage)
    if (!frozen || edit === undefined || this.away === lineage || !isPrivate(edit.state, edit.watch.canSee))
      return lineage
    return this.lineages.standIn(lineage, edit.mtimeBefore)
  }

  /** The lineage that the name leads to, after a look at the table's log, and saves through other views are over. */
  async look(): Promise<Lineage> {
    for (const { editor } of this.#options.waitsFor()) await editor?.settled()
    return this.lookNow()
  }

  /** The lineage that the name leads to, after a look at the table's log. */
  async lookNow(): Promise<Lineage> {
    const lineage = await this.lineages.current()
    this.#note(lineage)
    return lineage
  }

  #note({ text }: Lineage): void {
    if (text !== undefined) this.#options.onVersion(text.snapshot)
  }

  /** The attributes of what a lineage shows to a client at this moment, with no look at the table. */
  shownAttributes(lineage: Lineage, client: FileClient): Promise<Attributes> {
    return this.#told(lineage, client)
  }

  async #attributes(lineage: Lineage, client: FileClient): Promise<Attributes> {
    const { frozen } = client
    if (lineage.status === 'current' && this.away !== lineage) await this.look()
    if (lineage.status === 'followed') await this.lineages.follow(lineage)
    if (lineage.status === 'retired' && !frozen) throw staleLineage(lineage)
    const { scratch, clock } = this.#context
    if (lineage.status === 'old' && !frozen && scratch.entryOf(lineage.id) === undefined) {
      if (clock.nowMs() - lineage.lastReadMs > OLD_LINEAGE_READ_MS) throw staleLineage(lineage)
    }
    return this.#told(lineage, client)
  }

  /** The attributes that a client is sent, which tell it where the file ends. */
  #told(lineage: Lineage, client: FileClient): Promise<Attributes> {
    return this.#shown(lineage, client, text => this.#tell(lineage, client, text))
  }

  #tell(lineage: Lineage, client: FileClient, text: Text): Attributes {
    // What it is shown is what it knows, and what it wrote itself.
    const isOwn = !(text instanceof TableText) && this.lineages.isPinned(lineage, client)
    if (!isOwn) this.lineages.noteTold(lineage, client, text instanceof TableText ? text.version : undefined, text.size)
    return this.#attributesOf(lineage, client, text.size)
  }

  #attributesOf(lineage: Lineage, client: FileClient, size: number): Attributes {
    const mode = this.editor === undefined ? MODE.readOnly : MODE.file
    const edit = this.editor?.of(lineage)
    // Who is shown the file as it was before a save is shown its times, too: they move when the save is over.
    const mtime = edit !== undefined && !this.#isShownTo(edit, client) ? edit.mtimeBefore : lineage.mtime
    return viewAttributes(this.#context.owner, { id: lineage.id, size, mtime, mode })
  }

  /**
   * Gives `use` the text that a lineage shows to a client (the image of a save under way is for those who write it alone), in the same
   * moment in which that is what it is shown: behind any `await`, a WRITE of its own may have been noted.
   */
  async #shown<T>(
    lineage: Lineage,
    client: FileClient,
    use: (text: Text, save: Save | undefined, end: EndOfFile | undefined) => T,
  ): Promise<T> {
    for (;;) {
      const end = this.lineages.pinnedEnd(lineage, client)
      const save = this.#saveShownTo(lineage, client)
      const text =
        save === undefined
          ? await this.lineages.textFor(lineage, client)
          : await imageFor(save, clientKey(client), of => this.lineages.textUpTo(lineage, of))
      // A WRITE of its own that was noted meanwhile is in what it knows: it must not be told of a text without it any more.
      if (this.lineages.pinnedEnd(lineage, client) === end) return use(text, save, end)
    }
  }

  #saveShownTo(lineage: Lineage, client: FileClient): Save | undefined {
    const save = this.editor?.of(lineage)
    return save !== undefined && this.#isShownTo(save, client) ? save : undefined
  }

  #isShownTo(save: Save, client: FileClient): boolean {
    return isShownTo(save, clientKey(client), this.lineages.isNew(save.lineage, client))
  }

  async #read(lineage: Lineage, client: FileClient, offset: bigint, count: number): Promise<ReadResult> {
    // Only who writes into it, or opens it anew (GETATTR), is to hear of a refusal; who reads goes on.
    if (lineage.status === 'followed') await this.lineages.follow(lineage)
    // Of just the text that is read: with a size that others moved meanwhile, the client shows NULs up to there.
    const shown = await this.#shown(lineage, client, (text, save, end) => {
      return { text, of: save ?? end, end, attributes: this.#tell(lineage, client, text) }
    })
    const { text, attributes } = shown
    const read = await readText(text, offset, count)
    const length = totalLength(read.data)
    // What it has written meanwhile is the later text.
    const end = this.lineages.pinnedEnd(lineage, client)
    if (end === undefined || end === shown.end)
      this.lineages.noteRead(lineage, client, text, shown.of, length === 0 ? 0 : Number(offset) + length)
    return { ...read, attributes }
  }

  async #write(
    editor: Saves,
    lineage: Lineage,
    client: FileClient,
    offset: number,
    bytes: Uint8Array,
    stability: Stability,
  ): Promise<WriteResult> {
    // Calls on one file take effect in the order in which they came: nothing is awaited here once the text is known.
    if (lineage.text === undefined) await this.lineages.text(lineage)
    const before = this.#attributesOf(lineage, client, this.#sizeShown(lineage, client))
    const count = bytes.length
    if (stability === 'unstable') {
      await editor.writeUnstable(lineage, offset, bytes, client)
      const outcome = { kind: 'held', asWritten: true } as const
      const change = await this.#changed(lineage, client, before, outcome, offset + count)
      return { count, committed: 'unstable', change }
    }
    const outcome = await this.#hearingOfRefusal(lineage, () => editor.writeStable(lineage, offset, bytes, client))
    const change = await this.#changed(lineage, client, before, outcome, offset + count)
    return { count, committed: 'file_sync', change }
  }

  async #commit(editor: Saves, lineage: Lineage, client: FileClient): Promise<Change> {
    // Success would say that what was written is saved.
    if (lineage.status === 'retired') throw staleLineage(lineage)
    const before = await this.#shown(lineage, client, ({ size }) => this.#attributesOf(lineage, client, size))
    const outcome = await this.#hearingOfRefusal(lineage, () => editor.commit(lineage, client))
    return this.#changed(lineage, client, before, outcome)
  }

  /** `written`: up to where a WRITE went. */
  async #changed(
    lineage: Lineage,
    client: FileClient,
    before: Attributes,
    outcome: Outcome,
    written?: number,
  ): Promise<Change> {
    this.lineages.save(lineage)
    this.#note(lineage)
    // It is shown what it wrote, until it opens the file anew.
    if (this.lineages.isPinned(lineage, client)) {
      const after = await this.#told(lineage, client).catch(() => undefined)
      return after === undefined ? {} : { before, after }
    }
    // What the client wrote is not what the file now is: without attributes it asks for them, and reads again.
    if (!outcome.asWritten) return {}
    if (written !== undefined && !(await this.#isOwnEnd(lineage, client, before, written))) {
      // Others have appended meanwhile: told of it with this reply, it would show NULs where their rows are.
      lineage.ends.tell(client, written, undefined)
      lineage.ends.know(client, written)
      return {}
    }
    // What was done is done, whether or not what the file is now can be read.
    const after = await this.#told(lineage, client).catch(() => undefined)
    if (after === undefined) return {}
    if (written !== undefined) lineage.ends.know(client, written)
    return { before, after }
  }

  /** The size of what `#shown` gives, at once. */
  #sizeShown(lineage: Lineage, client: FileClient): number {
    const save = this.#saveShownTo(lineage, client)
    if (save !== undefined) return sizeFor(save, clientKey(client))
    return this.lineages.pinnedEnd(lineage, client)?.size ?? lineage.text!.size
  }

  /** True if what the file has grown to since a WRITE came is what its client has written. */
  async #isOwnEnd(lineage: Lineage, client: FileClient, before: Attributes, written: number): Promise<boolean> {
    const size = await this.#shown(lineage, client, text => text.size)
    if (BigInt(size) <= before.size || size === written) return true
    const edit = this.editor?.of(lineage)
    return edit !== undefined && isAsWritten(edit) && edit.places.size === 1 && edit.places.has(clientKey(client))
  }

  async #hearingOfRefusal<T>(lineage: Lineage, run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (error) {
      if (lineage.status === 'retired') this.#options.onRefused(lineage)
      throw error
    }
  }

  #newLineages(): Lineages {
    const { database, table, segments, scratch, clock, holdTimes } = this.#context
    return new Lineages({
      database,
      table,
      format: this.format,
      clock,
      nextId: () => scratch.nextId(),
      referenced: () => scratch.references(),
      openText: (snapshot, of, previous) => openText(table, snapshot, segments, textFormat(of), previous),
      isEdited: lineage => this.editor?.of(lineage) !== undefined,
      leftMs: this.#options.leftMs,
      times: holdTimes ?? DEFAULT_HOLD_TIMES,
    })
  }

  #newEditor(): Saves {
    const { table, segments, stateDirectory, clock, errors, scratch, data, holdTimes, openers, disk } = this.#context
    return new Saves({
      table,
      segments,
      lineages: this.lineages,
      directory: join(stateDirectory, 'edits', this.format),
      openText: (snapshot, previous) => openText(table, snapshot, segments, textFormat(this.format), previous),
      report: sentence => errors.append(sentence),
      setAside: async image => {
        const stamp = new Date(clock.nowMs()).toISOString().replaceAll(':', '').replace('.', '-')
        const given = await scratch.adopt(data.id, `${this.name}.rejected-${stamp}`, image)
        this.#options.onNames()
        return `data/${given}`
      },
      ...(holdTimes === undefined ? {} : { holdTimes }),
      ...(openers === undefined ? {} : { openers }),
      ...(disk === undefined ? {} : { disk }),
    })
  }
}
