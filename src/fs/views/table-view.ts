import type { Database } from 'bun:sqlite'
import { join } from 'node:path'
import type { Clock } from '../../core/clock.ts'
import type { Table } from '../../table/table.ts'
import { MODE, type Owner, viewAttributes } from '../attributes.ts'
import type { Disk } from '../edits/disk.ts'
import { Editor, type HoldTimes } from '../edits/editor.ts'
import { clientKey, type FileClient, fileClientOf } from '../ends-of-file.ts'
import type { ErrorJournal } from '../error-journal.ts'
import type { Attributes, Change, Node, Stability } from '../filesystem.ts'
import { type Line, Lines, staleLine } from '../lines.ts'
import { DATA_ID } from '../names.ts'
import { isAsWritten, isPrivate } from '../saves/edit.ts'
import type { Openers } from '../saves/openers.ts'
import type { Outcome } from '../saves/outcome.ts'
import type { Scratch } from '../scratch/scratch.ts'
import { openText, TableText, type TextFormat } from '../text/layout.ts'
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
  /** See EditorOptions. */
  readonly disk?: Disk
}

export interface TableViewOptions {
  readonly format: TextFormat
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

/** What a line shows, since when. */
interface Shown {
  readonly text: Text
  readonly mtime: bigint
}

/** The live table as one file: `data.csv`, `data.json` or `data.jsonl`. Its handles stand for lines of versions. */
export class TableView {
  readonly format: TextFormat
  readonly name: string
  readonly lines: Lines
  /** Undefined where nothing can be written: `data.json`. */
  readonly editor: Editor | undefined
  /** The line whose name was renamed away: it stays as it is until the name is back. */
  away: Line | undefined
  readonly #context: TableViewContext
  readonly #options: TableViewOptions

  constructor(context: TableViewContext, options: TableViewOptions) {
    this.#context = context
    this.#options = options
    this.format = options.format
    this.name = `data.${options.format}`
    this.lines = this.#newLines()
    this.editor = options.format === 'json' ? undefined : this.#newEditor(options.format)
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
    const edit = this.editor?.editOf(line)
    if (!frozen || edit === undefined || this.away === line || !isPrivate(edit)) return line
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

  /** The attributes of what a line shows at this moment, with no look at the table. */
  async shownAttributes(line: Line, client?: FileClient): Promise<Attributes> {
    return this.#attributesOf(line, await this.#shown(line, client))
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

  #tell(line: Line, client: FileClient, shown: Shown): Attributes {
    const { text } = shown
    line.ends.tell(client, text.size, text instanceof TableText ? text.snapshot.version : undefined)
    return this.#attributesOf(line, shown)
  }

  #attributesOf({ id }: Line, { text: { size }, mtime }: Shown): Attributes {
    const mode = this.editor === undefined ? MODE.readOnly : MODE.file
    return viewAttributes(this.#context.owner, { id, size, mtime, mode })
  }

  async #shown(line: Line, client: FileClient | undefined): Promise<Shown> {
    return this.#shownNow(line, client) ?? { text: await this.lines.text(line), mtime: line.mtime }
  }

  /**
   * What a line shows to a client, if its text is known. The image of a save is for those who write it: the others see what
   * the table has, or they would go on from rows that no version has at that place.
   */
  #shownNow(line: Line, client: FileClient | undefined): Shown | undefined {
    const edit = this.editor?.editOf(line)
    if (edit === undefined) return line.text && { text: line.text, mtime: line.mtime }
    const isOwn = client === undefined || edit.places.size === 0 || edit.places.has(clientKey(client))
    return isOwn ? { text: edit.image, mtime: line.mtime } : { text: line.text ?? edit.base, mtime: edit.mtimeBefore }
  }

  async #read(line: Line, client: FileClient, offset: bigint, count: number): Promise<ReadResult> {
    // Only who writes into it, or opens it anew (GETATTR), is to hear of a refusal; who reads goes on.
    const shown = await this.#shown(line, client)
    const { text } = shown
    // Of just the text that is read: with a size that others moved meanwhile, the client shows NULs up to there.
    const attributes = this.#tell(line, client, shown)
    const read = await readText(text, offset, count)
    const end = read.bytes.length === 0 ? 0 : Number(offset) + read.bytes.length
    this.lines.noteRead(line, client, text, Number(offset), end)
    return { ...read, attributes }
  }

  async #write(
    editor: Editor,
    line: Line,
    client: FileClient,
    offset: number,
    bytes: Uint8Array,
    stability: Stability,
  ): Promise<WriteResult> {
    // Calls on one file take effect in the order in which they came: nothing is awaited here once the text is known.
    if (line.text === undefined) await this.lines.text(line)
    const before = this.#attributesOf(line, this.#shownNow(line, client)!)
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

  async #commit(editor: Editor, line: Line, client: FileClient): Promise<Change> {
    // Success would say that what was written is saved.
    if (line.status === 'retired') throw staleLine(line)
    const before = await this.shownAttributes(line, client)
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
    const { size } = (await this.#shown(line, client)).text
    if (BigInt(size) <= before.size || size === written) return true
    const edit = this.editor?.editOf(line)
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
      openText: (snapshot, of, previous) => openText(table, snapshot, segments, of, previous),
      isEdited: line => this.editor?.editOf(line) !== undefined,
      leftMs: this.#options.leftMs,
    })
  }

  #newEditor(format: 'csv' | 'jsonl'): Editor {
    const { table, segments, stateDirectory, clock, errors, scratch, holdTimes, openers, disk } = this.#context
    return new Editor({
      table,
      segments,
      lines: this.lines,
      directory: join(stateDirectory, 'edits', format),
      clock,
      openText: (snapshot, previous) => openText(table, snapshot, segments, format, previous),
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
