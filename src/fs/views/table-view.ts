import type { Database } from 'bun:sqlite'
import { join } from 'node:path'
import { type TextFormatName, textFormat } from '../../columns/text/formats/index.ts'
import type { Clock } from '../../core/clock.ts'
import type { Table } from '../../table/table.ts'
import { MODE, type Owner, viewAttributes } from '../attributes.ts'
import { clientKey, type FileClient, fileClientOf } from '../ends-of-file.ts'
import type { ErrorJournal } from '../error-journal.ts'
import type { Attributes, Change, Node, Stability } from '../filesystem.ts'
import { type Line, Lines, staleLine } from '../lines.ts'
import { DATA_ID } from '../names.ts'
import type { Disk } from '../saves/disk.ts'
import type { HoldTimes } from '../saves/hold-times.ts'
import type { NameState } from '../saves/name-state.ts'
import type { Openers } from '../saves/openers.ts'
import type { Outcome } from '../saves/outcome.ts'
import { isAsWritten, isShownTo, type Save } from '../saves/save.ts'
import { Saves } from '../saves/saves.ts'
import { isPrivate } from '../saves/state.ts'
import type { Scratch } from '../scratch/scratch.ts'
import { openText, TableText } from '../text/layout.ts'
import type { Segments } from '../text/segments.ts'
import type { Text } from '../text/text.ts'
import { type ReadResult, readText, type ViewFile, type WriteResult } from './view.ts'

/** A plain handle of an old line still answers while it was read within this time. */
const OLD_LINE_READ_MS = 5000

/** What the views of a table are made from. */
export interface TableViewContext {
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
  readonly waitsFor: readonly TableView[]
  /** The table was seen at this version. */
  readonly onVersion: (version: bigint) => void
  /** See LinesOptions. */
  readonly leftMs: (version: bigint) => number
  /** What `data/` lists has changed. */
  readonly onNames: () => void
  /** A save was refused, and the name has a new handle. */
  readonly onRefused: (line: Line) => void
}

/** The live table as one file, such as `data.csv`. Its handles stand for lines of versions. */
export class TableView {
  readonly format: TextFormatName
  readonly name: string
  readonly lines: Lines
  /** Undefined where nothing can be written, such as `data.json`. */
  readonly editor: Saves | undefined
  /** Where the view's name is. */
  nameState: NameState<Line> = { kind: 'there' }
  readonly #context: TableViewContext
  readonly #options: TableViewOptions

  constructor(context: TableViewContext, options: TableViewOptions) {
    this.#context = context
    this.#options = options
    this.format = options.format
    this.name = `data.${options.format}`
    this.lines = this.#newLines()
    this.editor = textFormat(options.format).input === undefined ? undefined : this.#newEditor()
  }

  /** What a handle's id stands for, if it is one of this view's. */
  file(node: Node): ViewFile | undefined {
    const { id } = node
    const line = this.lines.get(id)
    if (line === undefined) return undefined
    const { name, editor } = this
    const client = fileClientOf(node)
    const file = {
      id,
      name,
      writable: editor !== undefined,
      tellsRefusals: true,
      attributes: () => this.#attributes(line, client),
      read: (offset: bigint, count: number) => this.#read(line, client, offset, count),
    }
    if (editor === undefined) return file
    return {
      ...file,
      truncate: async (size, before) => this.#changed(line, client, before, await editor.truncate(line, size, client)),
      write: (offset, bytes, stability) => this.#write(editor, line, client, offset, bytes, stability),
      commit: () => this.#commit(editor, line, client),
    }
  }

  /** The line whose name was renamed away: it stays as it is until the name is back. */
  get away(): Line | undefined {
    return this.nameState.kind === 'away' ? this.nameState.line : undefined
  }

  /** Whether a save is under way. */
  get isEdited(): boolean {
    return this.editor?.isBusy ?? false
  }

  /**
   * The line that an open of the name gets. A save that another program has not ended yet is that program's alone: who
   * asks through a frozen export gets the version before.
   */
  async open(frozen: boolean): Promise<Line> {
    // A save whose file was closed without a call ends here, and with it the name leads elsewhere.
    await this.editor?.endClosed()
    const line = await this.look()
    const edit = this.editor?.of(line)
    if (!frozen || edit === undefined || this.away === line || !isPrivate(edit.state, edit.watch.canSee)) return line
    return this.lines.standIn(line, edit.mtimeBefore)
  }

  /** The line that the name leads to, after a look at the table's log, and saves through other views are over. */
  async look(): Promise<Line> {
    for (const { editor } of this.#options.waitsFor) await editor?.settled()
    return this.lookNow()
  }

  /** The line that the name leads to, after a look at the table's log. */
  async lookNow(): Promise<Line> {
    const line = await this.lines.current()
    this.#options.onVersion(line.version)
    return line
  }

  /** The attributes of what a line shows to a client at this moment, with no look at the table. */
  shownAttributes(line: Line, client: FileClient): Promise<Attributes> {
    return this.#told(line, client)
  }

  async #attributes(line: Line, client: FileClient): Promise<Attributes> {
    const { frozen } = client
    if (line.status === 'current' && this.away !== line) await this.look()
    if (line.status === 'retired' && !frozen) throw staleLine(line)
    const { scratch, clock } = this.#context
    if (line.status === 'old' && !frozen && scratch.entryOf(line.id) === undefined) {
      if (clock.nowMs() - line.lastReadMs > OLD_LINE_READ_MS) throw staleLine(line)
    }
    return this.#told(line, client)
  }

  /** The attributes that a client is sent, which tell it where the file ends. */
  async #told(line: Line, client: FileClient): Promise<Attributes> {
    return this.#tell(line, client, await this.#shown(line, client))
  }

  #tell(line: Line, client: FileClient, text: Text): Attributes {
    this.lines.noteTold(line, client, text instanceof TableText ? text.snapshot.version : undefined, text.size)
    return this.#attributesOf(line, text)
  }

  #attributesOf(line: Line, text: Text): Attributes {
    const mode = this.editor === undefined ? MODE.readOnly : MODE.file
    const edit = this.editor?.of(line)
    // Who is shown the file as it was before a save is shown its times, too: they move when the save is over.
    const mtime = edit !== undefined && edit.image !== text ? edit.mtimeBefore : line.mtime
    return viewAttributes(this.#context.owner, { id: line.id, size: text.size, mtime, mode })
  }

  /** What a line shows to a client: the image of a save under way is for those who write it, until it is in the table. */
  async #shown(line: Line, client: FileClient): Promise<Text> {
    return this.#saveShownTo(line, client)?.image ?? this.lines.text(line)
  }

  #saveShownTo(line: Line, client: FileClient): Save | undefined {
    const save = this.editor?.of(line)
    return save !== undefined && isShownTo(save, clientKey(client)) ? save : undefined
  }

  async #read(line: Line, client: FileClient, offset: bigint, count: number): Promise<ReadResult> {
    // Only who writes into it, or opens it anew (GETATTR), is to hear of a refusal; who reads goes on.
    const edit = this.#saveShownTo(line, client)
    const text = edit?.image ?? (await this.lines.text(line))
    // Of just the text that is read: with a size that others moved meanwhile, the client shows NULs up to there.
    const attributes = this.#tell(line, client, text)
    const read = await readText(text, offset, count)
    const range = { start: Number(offset), end: Number(offset) + read.bytes.length }
    this.lines.noteRead(line, client, text instanceof TableText ? text.snapshot.version : edit!, range, text.size)
    return { ...read, attributes }
  }

  async #write(
    editor: Saves,
    line: Line,
    client: FileClient,
    offset: number,
    bytes: Uint8Array,
    stability: Stability,
  ): Promise<WriteResult> {
    // Calls on one file take effect in the order in which they came: nothing is awaited here once the text is known.
    if (line.text === undefined) await this.lines.text(line)
    const before = this.#attributesOf(line, this.#saveShownTo(line, client)?.image ?? line.text!)
    const count = bytes.length
    if (stability === 'unstable') {
      await editor.writeUnstable(line, offset, bytes, client)
      const outcome = { kind: 'held', asWritten: true } as const
      const change = await this.#changed(line, client, before, outcome, offset + count)
      return { count, committed: 'unstable', change }
    }
    const outcome = await this.#hearingOfRefusal(line, () => editor.writeStable(line, offset, bytes, client))
    const change = await this.#changed(line, client, before, outcome, offset + count)
    return { count, committed: 'file_sync', change }
  }

  async #commit(editor: Saves, line: Line, client: FileClient): Promise<Change> {
    // Success would say that what was written is saved.
    if (line.status === 'retired') throw staleLine(line)
    const before = this.#attributesOf(line, await this.#shown(line, client))
    const outcome = await this.#hearingOfRefusal(line, () => editor.commit(line, client))
    return this.#changed(line, client, before, outcome)
  }

  /** `written`: up to where a WRITE went. */
  async #changed(
    line: Line,
    client: FileClient,
    before: Attributes,
    outcome: Outcome,
    written?: number,
  ): Promise<Change> {
    this.lines.save(line)
    this.#options.onVersion(line.version)
    // What the client wrote is not what the file now is: without attributes it asks for them, and reads again.
    if (!outcome.asWritten) return {}
    if (written !== undefined && !(await this.#isOwnEnd(line, client, before, written))) {
      // Others have appended meanwhile: told of it with this reply, it would show NULs where their rows are.
      return {}
    }
    // What was done is done, whether or not what the file is now can be read.
    const after = await this.#told(line, client).catch(() => undefined)
    if (after === undefined) return {}
    return { before, after }
  }

  /** Whether what the file has grown to since a WRITE came is what its client has written. */
  async #isOwnEnd(line: Line, client: FileClient, before: Attributes, written: number): Promise<boolean> {
    const { size } = await this.#shown(line, client)
    if (BigInt(size) <= before.size || size === written) return true
    const edit = this.editor?.of(line)
    return edit !== undefined && isAsWritten(edit) && edit.places.size === 1 && edit.places.has(clientKey(client))
  }

  async #hearingOfRefusal<T>(line: Line, run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (error) {
      if (line.status === 'retired') this.#options.onRefused(line)
      throw error
    }
  }

  #newLines(): Lines {
    const { database, table, segments, scratch, clock } = this.#context
    return new Lines({
      database,
      table,
      format: this.format,
      clock,
      nextId: () => scratch.nextId(),
      referenced: () => scratch.references(),
      openText: (snapshot, of, previous) => openText(table, snapshot, segments, textFormat(of), previous),
      isEdited: line => this.editor?.of(line) !== undefined,
      leftMs: this.#options.leftMs,
    })
  }

  #newEditor(): Saves {
    const { table, segments, stateDirectory, clock, errors, scratch, holdTimes, openers, disk } = this.#context
    return new Saves({
      table,
      segments,
      lines: this.lines,
      directory: join(stateDirectory, 'edits', this.format),
      openText: (snapshot, previous) => openText(table, snapshot, segments, textFormat(this.format), previous),
      report: sentence => errors.append(sentence),
      setAside: async image => {
        const stamp = new Date(clock.nowMs()).toISOString().replaceAll(':', '').replace('.', '-')
        const given = await scratch.adopt(DATA_ID, `${this.name}.rejected-${stamp}`, image)
        this.#options.onNames()
        return `data/${given}`
      },
      ...(holdTimes === undefined ? {} : { holdTimes }),
      ...(openers === undefined ? {} : { openers }),
      ...(disk === undefined ? {} : { disk }),
    })
  }
}
