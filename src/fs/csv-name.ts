import { messageOf } from '../core/errors.ts'
import { sizeOf } from './attributes.ts'
import type { Editor } from './edits/editor.ts'
import { fileText } from './edits/spool.ts'
import { type Change, type CreateHow, FsError, type Node, type TimeNs } from './filesystem.ts'
import type { Line } from './lines.ts'
import { exists, isSillyName, noEntry } from './names.ts'
import type { Scratch } from './scratch/scratch.ts'
import type { TableText } from './text/layout.ts'
import type { TableView } from './views/table-view.ts'

/** How long `data.csv` may be away (renamed) before it comes back. */
const AWAY_MS = 1000
/** After `rm data.csv` an exclusive CREATE (mv from another file system) finds the name free for this long. */
const REMOVED_MS = 2000

export interface CsvNameOptions {
  readonly csv: TableView
  readonly editor: Editor
  readonly scratch: Scratch
  readonly nowMs: () => number
  /** Runs after the change of names that is under way. */
  readonly alone: (run: () => Promise<void>) => Promise<void>
  /** What `data/` lists has changed. */
  readonly onNames: () => void
  readonly log: (sentence: string) => void
}

/** `data.csv` was renamed to another name and is waited for. */
interface Away {
  readonly line: Line
  /** The client's own rename of an open file that was removed: counts as `rm` if nothing takes the name. */
  readonly silly: boolean
  readonly timer: Timer
  /** Resolves when the name is back. */
  readonly ended: Promise<void>
  readonly end: () => void
}

/**
 * What programs do to the name `data.csv`: they remove it, rename it to a backup, create it anew, and rename other files
 * onto it. The name always comes back; what it then leads to is the rewritten table (see the design, "When is an edit
 * complete?"). Calls come one after the other.
 */
export class CsvName {
  readonly #options: CsvNameOptions
  #away: Away | undefined
  /** A save over a backed-up `data.csv` was refused: the editor will now remove the name and rename its backup into place. */
  #restoring = false
  #removedMs = Number.NEGATIVE_INFINITY

  constructor(options: CsvNameOptions) {
    this.#options = options
  }

  get isAway(): boolean {
    return this.#away !== undefined
  }

  /** Takes up a name that was away when an earlier process ended. */
  async recover(): Promise<void> {
    const { csv, scratch } = this.#options
    const line = await csv.lines.current()
    const reference = scratch.entryOf(line.id)
    if (reference !== undefined) await this.#comeBack(line, isSillyName(reference.name))
  }

  /** Resolves when the name is there. */
  async settled(): Promise<void> {
    await this.#away?.ended
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

  /** A save was refused. vim has a backup in `data.csv~`, which it will rename back after removing the name. */
  saveRefused(): void {
    const { csv, scratch } = this.#options
    const current = csv.lines.peek()
    this.#restoring = scratch.references().some(id => id !== current?.id && csv.lines.get(id) !== undefined)
  }

  /** CREATE: the line that the name leads to then. */
  async create(how: CreateHow): Promise<Line> {
    const { csv, nowMs, onNames } = this.#options
    const away = this.#away
    let line: Line
    if (away !== undefined) {
      this.#endAway()
      line = csv.lines.start(await csv.lines.text(away.line))
      await this.#options.editor.startEmpty(line)
    } else {
      line = await csv.look()
      const justRemoved = nowMs() - this.#removedMs < REMOVED_MS
      if (how.kind !== 'unchecked' && !justRemoved) throw exists(csv.name)
      if (how.kind !== 'unchecked') await this.#options.editor.truncate(line, 0)
      else if (how.attributes.size !== undefined) await this.#options.editor.truncate(line, sizeOf(how.attributes.size))
    }
    onNames()
    return line
  }

  /** `rm`: all rows go; the name stays, with the header. */
  async remove(): Promise<Change> {
    const { csv, nowMs, onNames } = this.#options
    if (this.#away !== undefined) throw noEntry(csv.name)
    const line = await csv.look()
    if (this.#restoring) {
      this.#restoring = false
      this.#goAway(line, false)
      return {}
    }
    await this.#options.editor.finish()
    csv.lines.start(await this.#withoutRows(await csv.lines.text(line)))
    this.#removedMs = nowMs()
    onNames()
    // Without directory attributes the client does not remember the name as gone.
    return {}
  }

  /** `mv data.csv elsewhere`, a backup, or the client's rename of an open file: held, see the design. */
  async renameAway(toDirectory: Node, toName: string): Promise<void> {
    const { csv, scratch } = this.#options
    if (this.#away !== undefined) throw noEntry(csv.name)
    await this.#options.editor.finish()
    const line = await csv.look()
    const { size } = await csv.lines.text(line)
    await scratch.placeReference(toDirectory.id, toName, line.id, { size, mtime: line.mtime })
    this.#goAway(line, isSillyName(toName))
  }

  /** A whole new file takes the name: one commit of what differs, or both names as they were. */
  async renameOnto(fromDirectory: Node, fromName: string): Promise<void> {
    const { csv, scratch, onNames } = this.#options
    const { lines } = csv
    const origin = `${fromDirectory.id}/${fromName}`
    const entry = await this.#entryToRename(fromDirectory, fromName, origin)
    if (entry === undefined) return
    const away = this.#away
    const old = lines.get(entry.id)
    const written =
      old === undefined
        ? { sinceMs: scratch.createdMs(entry.id), finished: (await scratch.getattr(entry.id)).ctime }
        : undefined
    const base = await this.#baseOfReplacement(away, written)
    const image =
      old === undefined
        ? fileText(scratch.realPath(entry.id), sizeOf((await scratch.getattr(entry.id)).size))
        : await lines.text(old)
    try {
      const { text, asWritten } = await this.#options.editor.replace(base, image)
      await scratch.take(entry.id)
      this.#endAway()
      if (old === undefined) {
        const line = lines.start(text, entry.id, origin)
        if (!asWritten) lines.touch(line)
      } else {
        lines.advance(old, text)
        lines.adopt(old)
        lines.touch(old)
      }
      this.#restoring = false
    } catch (error) {
      if (away !== undefined) {
        this.#endAway()
        lines.start(await lines.text(away.line))
      }
      throw error
    } finally {
      onNames()
    }
  }

  async #entryToRename(directory: Node, name: string, origin: string): Promise<{ id: bigint } | undefined> {
    const { csv, scratch } = this.#options
    try {
      const entry = await scratch.lookup(directory.id, name)
      const { type } = await scratch.getattr(entry.id)
      if (type === 'directory') throw new FsError('EISDIR', `a directory cannot take the place of ${csv.name}`)
      return entry
    } catch (error) {
      // Repeated after a restart: the file is data.csv already.
      const current = csv.lines.peek() ?? (await csv.lines.current())
      if (error instanceof FsError && error.code === 'ENOENT' && current.renamedFrom === origin) return undefined
      throw error
    }
  }

  /**
   * The text that a program read before it wrote the file that now takes the name: rows that came in while it worked were
   * not seen by it, and stay. A file that lay finished while the table changed (a backup that is put back) replaces what
   * is there now.
   */
  async #baseOfReplacement(
    away: Away | undefined,
    file: { sinceMs: number; finished: TimeNs } | undefined,
  ): Promise<TableText> {
    const { csv, editor } = this.#options
    const { lines } = csv
    if (away !== undefined) return lines.text(away.line)
    await editor.finish()
    const current = lines.peek() ?? (await csv.look())
    if (file === undefined || current.mtime > file.finished) return lines.text(current)
    return lines.text(lines.lastReadSince(file.sinceMs) ?? current)
  }

  #goAway(line: Line, silly: boolean): void {
    const { csv, alone, onNames, log } = this.#options
    const timer = setTimeout(() => {
      void alone(async () => {
        if (this.#away?.timer !== timer) return
        await this.#comeBack(line, silly)
        this.#endAway()
      }).catch(error => log(messageOf(error)))
    }, AWAY_MS)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#away = { line, silly, timer, ended: promise, end: resolve }
    csv.away = line
    onNames()
  }

  #endAway(): void {
    const away = this.#away
    if (away === undefined) return
    clearTimeout(away.timer)
    this.#away = undefined
    this.#options.csv.away = undefined
    away.end()
  }

  /** Nothing took the name: it comes back, without rows if the client removed it. */
  async #comeBack(line: Line, silly: boolean): Promise<void> {
    const { csv, onNames } = this.#options
    const text = await csv.lines.text(line)
    try {
      csv.lines.start(silly ? await this.#withoutRows(text) : text)
    } catch (error) {
      csv.lines.start(text)
      throw error
    } finally {
      onNames()
    }
  }

  async #withoutRows(text: TableText): Promise<TableText> {
    return this.#options.editor.removeAllRows(text)
  }
}
