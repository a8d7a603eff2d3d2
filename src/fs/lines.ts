import type { Database } from 'bun:sqlite'
import { TEXT_FORMAT_VERSION } from '../columns/text/rendered.ts'
import type { Clock } from '../core/clock.ts'
import { isAppendOnly, type Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { FsError } from './filesystem.ts'
import type { TableText, TextFormat } from './text/layout.ts'
import { isAt, type Text } from './text/text.ts'

const OLD_LINES_KEPT = 1000
/** Texts of a line from before commits of others that are remembered. */
const EARLIER_KEPT = 64
const BELIEFS_KEPT = 16
/** What has more bytes is not remembered in order to know by it what is appended next. */
export const BELIEVED_BYTES_MAX = 1 << 20
/** A client that holds written pages back sends them within 30 seconds or a little more. */
const UNREAD_MS = 60_000

/**
 * One line of versions of a view (see the design, "One open, one snapshot"): what a file handle stands for. Appends and
 * writes through the mount continue it; any other commit starts a new line, as rename(2) over the file would.
 */
export interface Line {
  readonly id: bigint
  readonly format: TextFormat
  /**
   * current: what the name leads to; writing: a program saves into it, and the name leads to the version before until
   * that is over; old: shows its last version for ever; retired: a save into it was refused, and no further one is taken.
   */
  status: 'current' | 'writing' | 'old' | 'retired'
  version: bigint
  /** Nanoseconds since the epoch; moves forward by at least one with each change. */
  mtime: bigint
  /** When a program last read from it (ms since the epoch; 0: never in this process). */
  lastReadMs: number
  /** The text that it showed then. */
  lastReadText: TableText | undefined
  /** Texts that a client may still take for this one, as nobody has read it since: others put rows in or behind them. */
  beliefs: readonly Belief[]
  /** The WRITEs that made its text what it is, for a client that sends them once more after a restart (see `writeKey`). */
  written: readonly string[]
  /** Those of an earlier process: as long as nothing else was written, they are no new ones. */
  repeats: ReadonlySet<string>
  /** For a line that began as a file renamed into place: `<directory id>/<name>`, so that a repeated RENAME is known. */
  renamedFrom: string | undefined
  text: TableText | undefined
}

export interface LinesOptions {
  readonly database: Database
  readonly table: Table
  readonly format: TextFormat
  readonly clock: Clock
  readonly nextId: () => bigint
  readonly openText: (snapshot: Snapshot, format: TextFormat, previous: TableText | undefined) => Promise<TableText>
  /** Lines that a name elsewhere still leads to: they are not forgotten. */
  readonly referenced: () => readonly bigint[]
  /** While this holds, the line stays at its version: an edit of it is under way. */
  readonly isEdited: (line: Line) => boolean
  /** When the mount first knew of a version behind this one (ms since the epoch), by whichever view. */
  readonly leftMs: (version: bigint) => number
}

export interface Belief {
  readonly text: Text
  readonly untilMs: number
}

/** What a program saw of the view. */
export interface Seen {
  readonly line: Line
  readonly text: TableText
  /** False: rows came in behind it through this mount, which its program may have known without a READ. */
  readonly isSure: boolean
}

const NOTHING: ReadonlySet<string> = new Set()

/** A WRITE, told by where it went and by its bytes. */
export function writeKey(offset: number, bytes: Uint8Array): string {
  return `${offset}:${bytes.length}:${Bun.hash.wyhash(bytes).toString(36)}`
}

interface LineRow {
  id: string
  status: Line['status']
  version: string
  mtime: string
  renamed_from: string | null
  written: string | null
  text_format: number | null
}

/** The lines of one view, kept in the state database, so that handles survive a restart. */
export class Lines {
  readonly #options: LinesOptions
  readonly #byId = new Map<bigint, Line>()
  #current: Line | undefined
  #refreshing: Promise<Line> | undefined
  /** What the name led to before the commits of others and appends, oldest first, each with the time at which that ended. */
  #earlier: (Seen & { readonly untilMs: number })[] = []
  /** When somebody looked last and an edit kept the line at its version. */
  #editedMs = 0
  /** Lines that the state database does not have as they are: it could not be written. */
  readonly #unsaved = new Set<Line>()
  /** What waits for a line to be saved. */
  #waiting: { readonly line: Line; readonly run: () => void }[] = []

  constructor(options: LinesOptions) {
    this.#options = options
    options.database.run(
      `CREATE TABLE IF NOT EXISTS lines (id TEXT PRIMARY KEY, format TEXT NOT NULL, status TEXT NOT NULL,
       version TEXT NOT NULL, mtime TEXT NOT NULL, renamed_from TEXT, changed INTEGER NOT NULL)`,
    )
    const columns = options.database.query<{ name: string }, []>('PRAGMA table_info(lines)').all()
    if (!columns.some(({ name }) => name === 'written'))
      options.database.run('ALTER TABLE lines ADD COLUMN written TEXT')
    if (!columns.some(({ name }) => name === 'text_format'))
      options.database.run('ALTER TABLE lines ADD COLUMN text_format INTEGER')
    this.#load()
  }

  get format(): TextFormat {
    return this.#options.format
  }

  /** The line of a file id, or undefined if the id is not one of this view's. */
  get(id: bigint): Line | undefined {
    return this.#byId.get(id)
  }

  /** The current line as it was last seen, without a look at the table; undefined before the first look. */
  peek(): Line | undefined {
    return this.#current?.text === undefined ? undefined : this.#current
  }

  /** What the name leads to now, after a look at the table's log. */
  async current(): Promise<Line> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  /** The text a line shows (its table version; edits are the editor's matter). */
  async text(line: Line): Promise<TableText> {
    if (line.text !== undefined) return line.text
    const snapshot = await this.#options.table.at(line.version)
    line.text ??= await this.#options.openText(snapshot, line.format, undefined)
    return line.text
  }

  /**
   * What a program saw that has been at work since `sinceMs`: what was read last since then; if nothing was (the client
   * may have known it already), what the name led to then. Undefined if the table has not changed, or only by edits.
   */
  seenSince(sinceMs: number): Seen | undefined {
    let latest: Line | undefined
    for (const line of this.#byId.values()) {
      if (line.lastReadMs >= sinceMs && line.lastReadMs > (latest?.lastReadMs ?? 0)) latest = line
    }
    if (latest !== undefined) {
      return latest.lastReadText && { line: latest, text: latest.lastReadText, isSure: true }
    }
    const since = this.#earlier.filter(({ untilMs }) => untilMs > sinceMs)
    const [first] = since
    return first && { ...first, isSure: since.every(({ isSure }) => isSure) }
  }

  #noteEarlier(line: Line, text: TableText, isSure: boolean, untilMs: number): void {
    this.#earlier = [...this.#earlier, { line, text, untilMs, isSure }].slice(-EARLIER_KEPT)
  }

  /** Bytes of a line up to `end` were read; `text`: the table's, if it was not that of an edit. */
  noteRead(line: Line, text: TableText | undefined, end: number): void {
    line.lastReadMs = this.#options.clock.nowMs()
    line.lastReadText = text
    if (line.beliefs.length > 0) line.beliefs = line.beliefs.filter(known => end <= known.text.size)
  }

  /** A client takes `text` for what the line shows, until it reads it. */
  believe(line: Line, text: Text): void {
    const untilMs = this.#options.clock.nowMs()
    line.beliefs = [...line.beliefs, { text, untilMs }].slice(-BELIEFS_KEPT)
  }

  /**
   * The text to whose end a program appends, if that is not the line's: where it takes the end to be there are rows of
   * others by now, which it has not read and does not mean to replace.
   */
  async beliefBehind(line: Line, offset: number, bytes: Uint8Array): Promise<Text | undefined> {
    if (line.beliefs.length === 0) return undefined
    const text = await this.text(line)
    const end = offset + bytes.length
    if (await isAt(text, offset, bytes.subarray(0, Math.max(0, text.size - offset)))) return undefined
    const sinceMs = this.#options.clock.nowMs() - UNREAD_MS
    for (const { text: known, untilMs } of line.beliefs.toReversed()) {
      if (known.size < offset || known.size >= end || untilMs < sinceMs) continue
      if (await isAt(known, offset, bytes.subarray(0, known.size - offset))) return known
    }
    return undefined
  }

  /**
   * A new line takes the name; the line that had it goes on as an old one, and so do those that programs save into.
   * `id`: of a file renamed into place.
   */
  start(text: TableText, id: bigint = this.#options.nextId(), renamedFrom?: string): Line {
    for (const line of this.#byId.values()) {
      if (line.status !== 'writing') continue
      line.status = 'old'
      this.save(line)
    }
    return this.#begin(text, id, renamedFrom)
  }

  /** What the name leads to while a program saves into the line that has it: the version before that save. */
  async standIn(line: Line, mtime: bigint): Promise<Line> {
    const text = await this.text(line)
    if (this.#current !== line) return this.#current ?? line
    const id = this.#options.nextId()
    line.status = 'writing'
    const other = this.#begin(text, id)
    other.mtime = mtime
    this.save(other)
    return other
  }

  #begin(text: TableText, id: bigint, renamedFrom?: string): Line {
    const before = this.#current
    const line = newLine(id, this.format, 'current', text.snapshot.version)
    line.renamedFrom = renamedFrom
    line.text = text
    line.mtime = before === undefined ? this.#snapshotTime(text.snapshot) : this.#later(before.mtime)
    if (before !== undefined && before.id !== id) {
      if (before.status === 'current') before.status = 'old'
      this.save(before)
    }
    this.#byId.set(id, line)
    this.#current = line
    this.save(line)
    return line
  }

  /** An existing line takes the name (again). */
  adopt(line: Line): void {
    if (this.#current !== undefined && this.#current !== line && this.#current.status === 'current') {
      this.#current.status = 'old'
      this.save(this.#current)
    }
    line.status = 'current'
    this.#current = line
    this.save(line)
  }

  /** The line goes on at a newer version, by a save of this mount. Times stay as they are: see `touch`. */
  advance(line: Line, text: TableText, written: readonly string[] = []): void {
    const before = line.text
    if (before !== undefined && isContinuation(before, text))
      this.#noteEarlier(line, before, false, this.#options.clock.nowMs())
    this.#goOn(line, text, written)
    if (line.status === 'writing') this.adopt(line)
  }

  /** A save into the line has changed nothing: the name leads to it again. */
  release(line: Line): void {
    if (line.status === 'writing') this.adopt(line)
  }

  #goOn(line: Line, text: TableText, written: readonly string[]): void {
    line.written = written
    line.repeats = NOTHING
    line.text = text
    line.version = text.snapshot.version
    this.save(line)
  }

  /** The line goes on at a version that it reached by a save whose calls may come once more. */
  moveTo(line: Line, version: bigint, written: readonly string[]): void {
    line.written = written
    line.repeats = new Set(written)
    line.version = version
    line.text = undefined
    this.save(line)
  }

  /** A line in place of one that is not known any more; no name leads to it. */
  forgotten(version: bigint): Line {
    const line = newLine(this.#options.nextId(), this.format, 'old', version)
    line.mtime = this.#later(0n)
    this.#byId.set(line.id, line)
    this.save(line)
    return line
  }

  /** The line's content changed: its times move. */
  touch(line: Line): void {
    line.mtime = this.#later(line.mtime)
  }

  /** A save into the line was refused, which sticks to its handle: the name gets a new one, with these times. */
  retire(line: Line, mtime?: bigint): void {
    line.status = 'retired'
    this.save(line)
    if (this.#current !== line || line.text === undefined) return
    let other: Line
    try {
      other = this.#begin(line.text, this.#options.nextId())
    } catch {
      // There is no new id while the state database cannot be written: the name gets one when somebody looks at it.
      return
    }
    if (mtime === undefined) return
    // The file is what it was: an editor that looks at its times must not take it for changed.
    other.mtime = mtime
    this.save(other)
  }

  /**
   * Notes a line in the state database. Where that fails, only open handles are lost, and only if the server dies before
   * it succeeds: so it is tried again at the next occasion, and is no failure of what was done to the line.
   */
  save(line: Line): void {
    this.#unsaved.add(line)
    this.#saveAll()
  }

  /** Runs something as soon as the line is saved as it is now. */
  whenSaved(line: Line, run: () => void): void {
    this.#waiting.push({ line, run })
    this.#saveAll()
  }

  #saveAll(): void {
    try {
      for (const line of this.#unsaved) {
        this.#write(line)
        this.#unsaved.delete(line)
      }
    } catch {
      return
    }
    const waiting = this.#waiting
    this.#waiting = []
    for (const { run } of waiting) run()
  }

  #write(line: Line): void {
    this.#options.database
      .query(
        `INSERT INTO lines (id, format, status, version, mtime, renamed_from, written, text_format, changed)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET status = excluded.status, version = excluded.version, mtime = excluded.mtime,
         renamed_from = excluded.renamed_from, written = excluded.written, text_format = excluded.text_format,
         changed = excluded.changed`,
      )
      .run(
        String(line.id),
        line.format,
        line.status,
        String(line.version),
        String(line.mtime),
        line.renamedFrom ?? null,
        line.written.length === 0 ? null : line.written.join(' '),
        TEXT_FORMAT_VERSION,
        this.#options.clock.nowMs(),
      )
  }

  async #refresh(): Promise<Line> {
    const { table } = this.#options
    if (this.#unsaved.size > 0) this.#saveAll()
    const snapshot = await table.refresh()
    const current = this.#current
    if (current?.status === 'retired') return this.#begin(await this.text(current), this.#options.nextId())
    if (current === undefined)
      return this.#begin(await this.#options.openText(snapshot, this.format, undefined), this.#options.nextId())
    if (this.#options.isEdited(current)) {
      this.#editedMs = this.#options.clock.nowMs()
      return current
    }
    if (current.version === snapshot.version && current.text !== undefined) return current
    const before = await this.#textOrGone(current)
    if (current.version === snapshot.version && before !== undefined) return this.#current ?? current
    if (this.#current !== current || this.#options.isEdited(current)) return this.#current ?? current
    const text = await this.#options.openText(snapshot, this.format, before)
    // An edit may have begun or ended while the text was opened: then its version counts.
    if (this.#current !== current || this.#options.isEdited(current)) return this.#current ?? current
    if (current.version > snapshot.version) return current
    if (before === undefined) return this.#begin(text, this.#options.nextId())
    // Another view may have known of the new version before anybody looked at this one.
    const untilMs = Math.max(this.#options.leftMs(current.version), this.#editedMs)
    this.#noteEarlier(current, before, true, untilMs)
    if (!isContinuation(before, text)) return this.#begin(text, this.#options.nextId())
    const grew = text.size > before.size
    this.#goOn(current, text, [])
    if (!grew) return current
    this.believe(current, before)
    this.touch(current)
    return current
  }

  /** The text of a line's version, or undefined if the table no longer has that version (its log was cleaned up). */
  async #textOrGone(line: Line): Promise<TableText | undefined> {
    try {
      return await this.text(line)
    } catch {
      return undefined
    }
  }

  #snapshotTime(snapshot: Snapshot): bigint {
    return BigInt(Math.trunc(snapshot.timestampMs)) * 1_000_000n
  }

  #later(than: bigint): bigint {
    const now = BigInt(this.#options.clock.nowMs()) * 1_000_000n
    return now > than ? now : than + 1n
  }

  #load(): void {
    const { database, format, referenced } = this.#options
    database
      .query(
        `DELETE FROM lines WHERE format = ? AND status <> 'current' AND id NOT IN
         (SELECT id FROM lines WHERE format = ? ORDER BY changed DESC LIMIT ${OLD_LINES_KEPT})
         AND id NOT IN (SELECT value FROM json_each(?))`,
      )
      .run(format, format, JSON.stringify(referenced().map(String)))
    for (const row of database.query<LineRow, [string]>('SELECT * FROM lines WHERE format = ?').all(format)) {
      const line = newLine(BigInt(row.id), format, row.status, BigInt(row.version))
      // The text is another one than the client remembers.
      line.mtime = row.text_format === TEXT_FORMAT_VERSION ? BigInt(row.mtime) : this.#later(BigInt(row.mtime))
      line.renamedFrom = row.renamed_from ?? undefined
      if (row.written !== null) line.written = row.written.split(' ')
      line.repeats = new Set(line.written)
      this.#byId.set(line.id, line)
      if (line.status === 'current') this.#current = line
    }
  }
}

function newLine(id: bigint, format: TextFormat, status: Line['status'], version: bigint): Line {
  return {
    id,
    format,
    status,
    version,
    mtime: 0n,
    lastReadMs: 0,
    lastReadText: undefined,
    beliefs: [],
    written: [],
    repeats: NOTHING,
    renamedFrom: undefined,
    text: undefined,
  }
}

/** Whether a text is an earlier one and rows behind its end. */
export function isContinuation(from: TableText, to: TableText): boolean {
  if (!isAppendOnly(from.snapshot, to.snapshot)) return false
  // Rows of an edit have their places among the others.
  return to.snapshot.files.slice(from.snapshot.files.length).every(file => file.tag('posixlake.order') === undefined)
}

/** ESTALE, in the words a user may read in a log. */
export function staleLine(line: Line): FsError {
  return new FsError(
    'ESTALE',
    `the handle ${line.id} stands for version ${line.version} of data.${line.format}, which the name no longer leads to`,
  )
}

/** ESTALE for a write behind a save that was refused. */
export function lostHandle({ id, format }: Line): FsError {
  return new FsError('ESTALE', `the handle ${id} is no longer that of data.${format}`)
}
