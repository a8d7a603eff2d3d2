import type { Database } from 'bun:sqlite'
import type { TextFormatName } from '../columns/text/formats/index.ts'
import { TEXT_FORMAT_VERSION } from '../columns/text/rendered.ts'
import { type Clock, momentMs } from '../core/clock.ts'
import { onceAtATime } from '../core/once.ts'
import { appendedFiles, type Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { ORDER_TAG } from '../table/tags.ts'
import { behindUnread, clientKey, type EndOfFile, EndsOfFile, type FileClient, isEndOf } from './ends-of-file.ts'
import { FsError } from './filesystem.ts'
import { type ImageOfSave, KnownTexts, type TextOfClient } from './known-texts.ts'
import type { HoldTimes } from './saves/hold-times.ts'
import { TableText } from './text/layout.ts'
import { isAt, joined, type Text } from './text/text.ts'

/** Old lineages whose handles are still good; of these, the ones used last are in memory, for as long as they are used. */
const OLD_LINEAGES_KEPT = 1000
const LINEAGES_IN_MEMORY = 32
const UNUSED_MS = 60_000
const SWEEP_MS = 15_000
/** A lineage that no client has used for so long is forgotten, and one in use is noted as used so often. */
const FORGOTTEN_MS = 7 * 24 * 3_600_000
const NOTED_MS = 3_600_000
/** So many lineages begin between two looks for what can be forgotten. */
const BEGUN_MAX = 256
/** Texts of a lineage from before commits of others that are remembered. */
const EARLIER_KEPT = 64
/** Clients write whole pages: so a change of the middle ends where a page does. */
const PAGE_BYTES = 4096
/** Earlier versions that are looked through for the end of one whose connection was told nothing. */
const VERSIONS_TRIED = 16

/**
 * One lineage of a view, for which a file handle stands (see src/README.md, the way of a READ). Appends and
 * writes through the mount continue it; any other commit starts a new lineage, as rename(2) over the file would.
 */
export interface Lineage {
  readonly id: bigint
  readonly format: TextFormatName
  /**
   * current: what the name leads to; writing: a program saves into it, and the name leads to the version before until
   * that is over; followed: only rows were appended since it was current, and it goes on with them for those who have it
   * open; old: shows its last version for ever; retired: a save into it was refused, and no further one is taken.
   */
  status: 'current' | 'writing' | 'followed' | 'old' | 'retired'
  version: bigint
  /** Nanoseconds since the epoch; moves forward by at least one with each change. */
  mtime: bigint
  /** When a program last read from it (ms since the epoch; 0: never in this process). */
  lastReadMs: number
  /** When a client last called on it, and when it was last written to the state database. */
  usedMs: number
  savedMs: number
  /** Rows that clients (`clientKey`) wrote elsewhere, of which their WRITEs here may still be on their way. */
  readonly brought: Map<string, Brought>
  /** The ends that its clients know. */
  readonly ends: EndsOfFile
  /** The WRITEs that made its text what it is, for a client that sends them once more after a restart (see `writeKey`). */
  written: readonly string[]
  /** Those of an earlier process: as long as nothing else was written, they are no new ones. */
  repeats: ReadonlySet<string>
  /** For a lineage that began as a file renamed into place: `<directory id>/<name>`, so that a repeated RENAME is known. */
  renamedFrom: string | undefined
  /** Made again on demand, if it is not there. */
  text: TableText | undefined
}

export interface LineagesOptions {
  readonly database: Database
  readonly table: Table
  readonly format: TextFormatName
  readonly clock: Clock
  readonly nextId: () => bigint
  readonly openText: (snapshot: Snapshot, format: TextFormatName, previous: TableText | undefined) => Promise<TableText>
  /** Lineages that a name elsewhere still leads to: they are not forgotten. */
  readonly referenced: () => readonly bigint[]
  /** While this holds, the lineage stays at its version: an edit of it is under way. */
  readonly isEdited: (lineage: Lineage) => boolean
  /** When the mount first knew of a version behind this one (ms since the epoch), by whichever view. */
  readonly leftMs: (version: bigint) => number
  readonly times: Pick<HoldTimes, 'pinnedMs' | 'togetherMs'>
}

/**
 * The place of a WRITE. behind: what it has beyond `end` is appended; all in front is what its client knows there.
 * here: at its offset, in the text as it is; `isAppend`: up to its end, its client has what stands there. on: it changes an earlier
 * text, the last that its client knows of.
 */
export type WritePlace =
  | { readonly kind: 'behind'; readonly end: EndOfFile }
  | { readonly kind: 'here'; readonly isAppend: boolean }
  | { readonly kind: 'on'; readonly text: TableText }

/** A text that a program saw of the view: the first bytes of a version's text, and behind them rows of its own client. */
export interface Seen {
  readonly lineage: Lineage
  readonly text: TableText
  readonly size: number
  readonly tail: Uint8Array
  /** The text has all of it; false where others rewrote it before those rows were there. */
  readonly isWhole: boolean
}

/**
 * Rows behind an end that a program of a client has seen in its client's cache and written in a file that took the name,
 * before the WRITE came that brings them here: they are in the table by that time.
 */
export interface Brought {
  /** As the client counts, in bytes. */
  readonly end: number
  readonly rows: Uint8Array
  /** True when no such WRITE is on its way any more. */
  readonly isOver: () => boolean
}

/** See TextsAtStart. */
export interface SeenTexts {
  readonly first: readonly Seen[]
  readonly later: readonly Seen[]
}

/** A version that the name led to. Its text is made again if it is asked for. */
interface Earlier {
  readonly lineage: Lineage
  readonly version: bigint
  readonly untilMs: number
}

const NOTHING: ReadonlySet<string> = new Set()
/** Linux writes what a program has written within 35 seconds. */
const BROUGHT_MS = 40_000
const NO_TAIL = new Uint8Array(0)

/** A WRITE, told by where it went and by its bytes. */
export function writeKey(offset: number, bytes: Uint8Array): string {
  return `${offset}:${bytes.length}:${Bun.hash.wyhash(bytes).toString(36)}`
}

interface LineageRow {
  id: string
  status: Lineage['status']
  version: string
  mtime: string
  renamed_from: string | null
  written: string | null
  text_format: number | null
}

/** The lineages of one view, kept in the state database, so that handles survive a restart. */
export class Lineages {
  readonly #options: LineagesOptions
  /** All that the state database has. */
  #ids = new Set<bigint>()
  /** Those in use, the ones that were used last at the end. */
  readonly #inUse = new Map<bigint, Lineage>()
  /** Others that somebody still holds: no lineage is there twice. */
  readonly #held = new Map<bigint, WeakRef<Lineage>>()
  readonly #dropped = new FinalizationRegistry<bigint>(id => {
    if (this.#held.get(id)?.deref() === undefined) this.#held.delete(id)
  })
  /** Those that programs save into. */
  readonly #writing = new Set<Lineage>()
  /** The texts that its clients have read and written. */
  readonly known: KnownTexts<Lineage>
  #sweeping: Timer | undefined
  #begun = 0
  #current: Lineage | undefined
  /** The lineage that the name leads to now, after a look at the table's log. */
  readonly current = onceAtATime(() => this.#refresh())
  /** The versions that the name led to before commits of others and appends, oldest first, each with its end. */
  #earlier: Earlier[] = []
  /** When somebody looked last and an edit kept the lineage at its version. */
  #editedMs = 0
  /** Lineages that the state database does not have as they are: it could not be written. */
  readonly #unsaved = new Set<Lineage>()
  /** Actions that wait for a lineage to be saved. */
  #waiting: { readonly lineage: Lineage; readonly run: () => void }[] = []

  constructor(options: LineagesOptions) {
    this.#options = options
    this.known = new KnownTexts(options.times.togetherMs)
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

  get format(): TextFormatName {
    return this.#options.format
  }

  /** The lineage of a file id, or undefined if the id is not one of this view's. */
  get(id: bigint): Lineage | undefined {
    if (!this.#ids.has(id)) return undefined
    const lineage = this.#inUse.get(id) ?? this.#held.get(id)?.deref() ?? this.#fromDatabase(id)
    if (lineage !== undefined) this.#use(lineage)
    return lineage
  }

  #use(lineage: Lineage): void {
    lineage.usedMs = this.#options.clock.nowMs()
    this.#inUse.delete(lineage.id)
    this.#inUse.set(lineage.id, lineage)
    this.#held.delete(lineage.id)
    this.#sweepLater()
  }

  #sweepLater(): void {
    if (this.#sweeping !== undefined || this.#inUse.size < 2) return
    this.#sweeping = setTimeout(() => {
      this.#sweeping = undefined
      this.sweep()
      this.#sweepLater()
    }, SWEEP_MS)
    this.#sweeping.unref()
  }

  /** The number of lineages that are in memory for their use; the others are in the state database. */
  get inMemory(): number {
    return this.#inUse.size
  }

  /** Drops from memory what was not used for a minute, and what is too much. Called now and then by itself. */
  sweep(): void {
    const now = this.#options.clock.nowMs()
    let left = this.#inUse.size
    for (const lineage of [...this.#inUse.values()]) {
      if (lineage === this.#current || this.#writing.has(lineage) || this.#options.isEdited(lineage)) continue
      try {
        if (now - lineage.usedMs > UNUSED_MS || left > LINEAGES_IN_MEMORY) {
          this.save(lineage)
          this.#drop(lineage)
          left--
        } else if (now - lineage.savedMs > NOTED_MS) this.save(lineage)
      } catch {
        // The state database cannot be written now: it stays, and is looked at again.
      }
    }
  }

  #drop(lineage: Lineage): void {
    lineage.text = undefined
    this.#inUse.delete(lineage.id)
    this.#held.set(lineage.id, new WeakRef(lineage))
    this.#dropped.register(lineage, lineage.id)
  }

  /** Nothing is written to the state database by itself any more. */
  close(): void {
    clearTimeout(this.#sweeping)
    this.#inUse.clear()
  }

  /** The current lineage as it was last seen, without a look at the table; undefined before the first look. */
  peek(): Lineage | undefined {
    return this.#current?.text === undefined ? undefined : this.#current
  }

  /** The lineage that the name led to when somebody last looked, in this process or an earlier one. */
  get last(): Lineage | undefined {
    return this.#current
  }

  /** The text a lineage shows (its table version; edits are the editor's matter). */
  async text(lineage: Lineage): Promise<TableText> {
    if (lineage.text !== undefined) return lineage.text
    const snapshot = await this.#options.table.at(lineage.version)
    // Of another version's text it takes over what they share.
    lineage.text ??= await this.#options.openText(snapshot, lineage.format, this.#current?.text)
    return lineage.text
  }

  /**
   * Returns what a program of a client may have seen that has been at work since the moment `sinceMs`, as far as its client's READs and
   * WRITEs tell; of a client that has sent none, what the name led to then. Undefined if the table has not changed since.
   */
  async seenSince(sinceMs: number, client: FileClient): Promise<SeenTexts | undefined> {
    const known = this.known.at(client, sinceMs)
    if (known !== undefined) {
      const [first, later] = await Promise.all(
        [known.first, known.later].map(texts => Promise.all(texts.map(text => this.#seen(text)))),
      )
      return { first: first!, later: later! }
    }
    const earlier = this.#earlier.find(({ untilMs }) => untilMs > sinceMs)
    if (earlier === undefined) return undefined
    const text = await this.#textOf(earlier.version)
    return { first: [{ lineage: earlier.lineage, text, size: text.size, tail: NO_TAIL, isWhole: true }], later: [] }
  }

  async #seen({ lineage, version, size, tail, landed }: TextOfClient<Lineage>): Promise<Seen> {
    const text = await this.#textOf(version)
    if (tail.length === 0) return { lineage, text, size, tail, isWhole: true }
    const there = await this.#textOf(landed)
    return { lineage, text: there, size, tail, isWhole: isContinuation(text, there) && text.size === size }
  }

  /** The text in front of an end, as its client takes it to be; undefined if that is not known any more. */
  async textUpTo(lineage: Lineage, { size, version, tail }: EndOfFile): Promise<Text | undefined> {
    const text = version === undefined ? undefined : await this.#textAt(lineage, version)
    if (text === undefined) return undefined
    return ownText(text, size, tail)
  }

  /** Returns what a client is shown of a lineage where no save is under way. */
  async textFor(lineage: Lineage, client: FileClient): Promise<Text> {
    const end = this.pinnedEnd(lineage, client)
    if (end === undefined || isEndOf(end, lineage.version)) return this.text(lineage)
    return (await this.textUpTo(lineage, end)) ?? this.text(lineage)
  }

  /** The text that a client's change of size or WRITE is about, if it is a version of the table. */
  async baseFor(lineage: Lineage, client: FileClient): Promise<TableText> {
    const text = await this.textFor(lineage, client)
    return text instanceof TableText ? text : this.text(lineage)
  }

  /** True if nothing but its own WRITEs moves what a client is shown of a lineage. */
  isPinned(lineage: Lineage, client: FileClient): boolean {
    return this.pinnedEnd(lineage, client) !== undefined
  }

  /** The end of what a client is shown of a lineage, if nothing but its own WRITEs moves it. */
  pinnedEnd(lineage: Lineage, client: FileClient): EndOfFile | undefined {
    return lineage.ends.pinned(client, this.#options.clock.nowMs())
  }

  /** The client with this key wrote up to an end of a lineage, behind `before` (see EndsOfFile). */
  noteWrote(lineage: Lineage, client: string, end: EndOfFile, before?: EndOfFile): void {
    lineage.ends.wrote(client, end, this.#options.clock.nowMs(), before)
    if (end.version === undefined) return
    const of = end.tail.length === 0 ? end.version : end
    this.known.wrote(client, lineage, of, end.size, momentMs(this.#options.clock))
  }

  /**
   * The lineage that a client gets which opens the name: where others have changed the text that it knows under the handle that
   * it has, it is another one, so that under each handle a client knows one text and what it wrote itself.
   */
  async openedBy(lineage: Lineage, client: FileClient): Promise<Lineage> {
    const text = await this.text(lineage)
    // Another client has opened it meanwhile, or a save has moved it.
    if (lineage.status === 'followed' || lineage.text !== text) return this.openedBy(this.#current ?? lineage, client)
    const { version } = text.snapshot
    let opened = lineage
    if (lineage === this.#current && lineage.status === 'current' && !lineage.ends.isAt(client, version)) {
      opened = this.#begin(text, this.#options.nextId())
      opened.mtime = lineage.mtime
      lineage.status = 'followed'
      this.save(lineage)
      this.save(opened)
    }
    opened.ends.open(client, text.size, version, this.#options.clock.nowMs())
    this.known.opened(client, opened, version, text.size, momentMs(this.#options.clock))
    return opened
  }

  /** A lineage that is followed goes on with rows that were appended since, whoever did so. */
  async follow(lineage: Lineage): Promise<void> {
    const current = await this.current()
    if (lineage.status !== 'followed' || current.version === lineage.version || this.#options.isEdited(lineage)) return
    const [before, text] = [await this.#textOrGone(lineage), await this.text(current)]
    if (lineage.status !== 'followed' || this.#options.isEdited(lineage) || lineage.text !== before) return
    if (before === undefined || !isContinuation(before, text)) {
      lineage.status = 'old'
      this.save(lineage)
    } else if (text.snapshot.version > lineage.version) {
      this.#goOn(lineage, text, [])
      this.touch(lineage)
    }
  }

  async #textOf(version: bigint): Promise<TableText> {
    const current = this.#current?.text
    if (current?.snapshot.version === version) return current
    const { table, openText, format } = this.#options
    return openText(await table.at(version), format, current)
  }

  #noteEarlier(lineage: Lineage, { snapshot: { version } }: TableText, untilMs: number): void {
    this.#earlier = [...this.#earlier, { lineage, version, untilMs }].slice(-EARLIER_KEPT)
  }

  /** A client was sent attributes with a size: of a version of the table, or of the image of a save (undefined). */
  noteTold(lineage: Lineage, client: FileClient, version: bigint | undefined, size: number): void {
    lineage.ends.tell(client, size, version)
    if (version !== undefined) this.known.told(client, lineage, version, size, momentMs(this.#options.clock))
  }

  /** A client was sent the bytes of a text up to `end` (READ): of a version, of the image of a save, or of its own. */
  noteRead(lineage: Lineage, client: FileClient, text: Text, save: ImageOfSave | undefined, end: number): void {
    lineage.lastReadMs = this.#options.clock.nowMs()
    const { size } = text
    const of = text instanceof TableText ? text.snapshot.version : (save ?? this.pinnedEnd(lineage, client))
    if (of !== undefined) this.known.read(client, lineage, of, size, momentMs(this.#options.clock))
    lineage.ends.know(client, end, end === size ? size : undefined)
  }

  /** A save of some clients (`clientKey`) is over: the lineage's version has all that they wrote, or has more than that. */
  noteSaved(lineage: Lineage, clients: Iterable<string>, save: ImageOfSave | undefined, asWritten: boolean): void {
    const size = lineage.text?.size
    if (save !== undefined && asWritten) save.became = lineage.version
    for (const client of clients) {
      const of = asWritten && size !== undefined ? lineage.version : save
      if (of !== undefined) this.known.wrote(client, lineage, of, size ?? 0, momentMs(this.#options.clock))
    }
  }

  /** A client has renamed a file onto the name that has rows which it may have had behind an end of a lineage already. */
  noteBrought(lineage: Lineage, client: FileClient, end: number, rows: Uint8Array): void {
    if (rows.length === 0) return
    const { clock } = this.#options
    const untilMs = clock.nowMs() + BROUGHT_MS
    lineage.brought.set(clientKey(client), { end, rows, isOver: () => clock.nowMs() > untilMs })
  }

  /** Returns the place of a WRITE of a client that comes while no save is under way. */
  async placeOf(lineage: Lineage, client: FileClient, offset: number, bytes: Uint8Array): Promise<WritePlace> {
    const text = await this.text(lineage)
    const { version } = text.snapshot
    const ends = lineage.ends.of(client)
    const last = ends.at(-1)
    if (last === undefined) return this.#placeOfUnknown(lineage, text, offset, bytes)
    const at = (end: EndOfFile): WritePlace =>
      isEndOf(end, version) ? { kind: 'here', isAppend: true } : { kind: 'behind', end }
    const exact = ends.findLast(({ size }) => size === offset)
    if (exact !== undefined) return at(exact)
    // It knows the text by another way than a READ: bytes of others, and more behind them, are no coincidence.
    if (offset + bytes.length > text.size && isEndOf(last, version) && (await isStillAt(text, offset, bytes)))
      return at(last)
    for (const end of ends) {
      if (offset >= end.size || !(await this.#hasInFront(lineage, end, offset, bytes))) continue
      const told = behindUnread(end, bytes.subarray(end.size - offset))
      return told === undefined ? at(end) : { kind: 'behind', end: told }
    }
    if (isEndOf(last, version)) return { kind: 'here', isAppend: false }
    // Pages of one flush come in any order.
    if (offset > last.size) return at(last)
    const known = last.version === undefined ? undefined : await this.#textAt(lineage, last.version)
    return known === undefined ? { kind: 'here', isAppend: false } : { kind: 'on', text: known }
  }

  /**
   * Its connection was told nothing yet: its client has connected anew, or the server was started anew. What others were
   * told, it may have been told; and each of the last versions.
   */
  async #placeOfUnknown(lineage: Lineage, text: TableText, offset: number, bytes: Uint8Array): Promise<WritePlace> {
    const here = { kind: 'here', isAppend: false } as const
    const stop = offset + bytes.length
    if (await isStillAt(text, offset, bytes)) return here
    if (stop === text.size || (stop < text.size && stop % PAGE_BYTES === 0)) return here
    const fits = async (end: EndOfFile): Promise<boolean> =>
      end.size >= offset &&
      end.size < stop &&
      bytes[end.size - offset] !== 0 &&
      !isEndOf(end, text.snapshot.version) &&
      (await this.#hasInFront(lineage, end, offset, bytes))
    for (const end of lineage.ends.all()) if (await fits(end)) return { kind: 'behind', end }
    let { version } = text.snapshot
    for (let i = 0; i < VERSIONS_TRIED && version > 0n; i++) {
      version--
      const earlier = await this.#textAt(lineage, version)
      if (earlier === undefined || !isContinuation(earlier, text)) break
      const end = { size: earlier.size, version, tail: new Uint8Array(0) }
      if (await fits(end)) return { kind: 'behind', end }
    }
    return here
  }

  /** True if a WRITE has, up to an end, what stands in front of that. */
  async #hasInFront(lineage: Lineage, end: EndOfFile, offset: number, bytes: Uint8Array): Promise<boolean> {
    const front = bytes.subarray(0, end.size - offset)
    const tailStart = end.size - end.tail.length
    const own = Math.max(0, tailStart - offset)
    const tail = end.tail.subarray(Math.max(0, offset - tailStart), Math.max(0, offset + front.length - tailStart))
    if (Buffer.compare(front.subarray(own), tail) !== 0) return false
    const before = front.subarray(0, own)
    // Rows in front of an end mostly stay where they are.
    if (before.length === 0 || (await isAt(await this.text(lineage), offset, before))) return true
    if (end.version === undefined || end.version === lineage.version) return false
    const text = await this.#textAt(lineage, end.version)
    return text !== undefined && isAt(text, offset, before)
  }

  /** The text of a version, or undefined if the table no longer has it. */
  async #textAt(lineage: Lineage, version: bigint): Promise<TableText | undefined> {
    if (lineage.text?.snapshot.version === version) return lineage.text
    try {
      const snapshot = await this.#options.table.at(version)
      return await this.#options.openText(snapshot, lineage.format, lineage.text ?? this.#current?.text)
    } catch {
      return undefined
    }
  }

  /**
   * A new lineage takes the name; the lineage that had it goes on as an old one, and so do those that programs save into.
   * `id`: of a file renamed into place.
   */
  start(text: TableText, id: bigint = this.#options.nextId(), renamedFrom?: string): Lineage {
    for (const lineage of this.#writing) {
      lineage.status = 'old'
      this.save(lineage)
    }
    this.#writing.clear()
    return this.#begin(text, id, renamedFrom)
  }

  /** Returns what the name leads to while a program saves into its lineage: the version before that save. */
  async standIn(lineage: Lineage, mtime: bigint): Promise<Lineage> {
    const text = await this.text(lineage)
    if (this.#current !== lineage) return this.#current ?? lineage
    const id = this.#options.nextId()
    lineage.status = 'writing'
    this.#writing.add(lineage)
    const other = this.#begin(text, id)
    other.mtime = mtime
    this.save(other)
    return other
  }

  #begin(text: TableText, id: bigint, renamedFrom?: string): Lineage {
    const before = this.#current
    const lineage = this.#newLineage(id, 'current', text.snapshot.version)
    lineage.renamedFrom = renamedFrom
    lineage.text = text
    lineage.mtime = before === undefined ? this.#snapshotTime(text.snapshot) : this.#later(before.mtime)
    if (before !== undefined && before.id !== id) {
      if (before.status === 'current') before.status = 'old'
      this.save(before)
    }
    this.#current = lineage
    this.#use(lineage)
    this.save(lineage)
    if (this.#inUse.size > LINEAGES_IN_MEMORY) this.sweep()
    if (++this.#begun % BEGUN_MAX === 0) this.#forgetOld()
    return lineage
  }

  /** An existing lineage takes the name (again). */
  adopt(lineage: Lineage): void {
    if (this.#current !== undefined && this.#current !== lineage && this.#current.status === 'current') {
      this.#current.status = 'old'
      this.save(this.#current)
    }
    lineage.status = 'current'
    this.#writing.delete(lineage)
    this.#current = lineage
    this.#use(lineage)
    this.save(lineage)
  }

  /** The lineage goes on at a newer version, by a save of this mount. Times stay as they are: see `touch`. */
  advance(lineage: Lineage, text: TableText, written: readonly string[] = []): void {
    const before = lineage.text
    if (before !== undefined && isContinuation(before, text))
      this.#noteEarlier(lineage, before, momentMs(this.#options.clock))
    this.#goOn(lineage, text, written)
    if (lineage.status === 'writing') this.adopt(lineage)
  }

  /** A save into the lineage has changed nothing: the name leads to it again. */
  release(lineage: Lineage): void {
    if (lineage.status === 'writing') this.adopt(lineage)
  }

  /** WRITEs into the lineage have changed nothing, and will not when they come once more after a restart. */
  noteWritten(lineage: Lineage, written: readonly string[]): void {
    lineage.written = written
    this.save(lineage)
  }

  #goOn(lineage: Lineage, text: TableText, written: readonly string[]): void {
    lineage.written = written
    lineage.repeats = NOTHING
    lineage.text = text
    lineage.version = text.snapshot.version
    this.save(lineage)
  }

  /** The lineage goes on at a version that it reached by a save whose calls may come once more. */
  moveTo(lineage: Lineage, version: bigint, written: readonly string[]): void {
    lineage.written = written
    lineage.repeats = new Set(written)
    lineage.version = version
    lineage.text = undefined
    this.save(lineage)
  }

  /** A lineage in place of one that is not known any more; no name leads to it. */
  forgotten(version: bigint): Lineage {
    const lineage = this.#newLineage(this.#options.nextId(), 'old', version)
    lineage.mtime = this.#later(0n)
    this.#use(lineage)
    this.save(lineage)
    return lineage
  }

  /** The lineage's content changed: its times move. */
  touch(lineage: Lineage): void {
    lineage.mtime = this.#later(lineage.mtime)
  }

  /** A save into the lineage was refused, which sticks to its handle: the name gets a new one, with these times. */
  retire(lineage: Lineage, mtime?: bigint): void {
    lineage.status = 'retired'
    this.#writing.delete(lineage)
    this.save(lineage)
    if (this.#current !== lineage || lineage.text === undefined) return
    let other: Lineage
    try {
      other = this.#begin(lineage.text, this.#options.nextId())
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
   * Notes a lineage in the state database. Where that fails, only open handles are lost, and only if the server dies before
   * it succeeds: so it is tried again at the next occasion, and is no failure of what was done to the lineage.
   */
  save(lineage: Lineage): void {
    lineage.savedMs = this.#options.clock.nowMs()
    this.#ids.add(lineage.id)
    this.#unsaved.add(lineage)
    this.#saveAll()
  }

  /** Runs something as soon as the lineage is saved as it is now. */
  whenSaved(lineage: Lineage, run: () => void): void {
    this.#waiting.push({ lineage, run })
    this.#saveAll()
  }

  #saveAll(): void {
    try {
      for (const lineage of this.#unsaved) {
        this.#write(lineage)
        this.#unsaved.delete(lineage)
      }
    } catch {
      return
    }
    const waiting = this.#waiting
    this.#waiting = []
    for (const { run } of waiting) run()
  }

  #write(lineage: Lineage): void {
    this.#options.database
      .query(
        `INSERT INTO lines (id, format, status, version, mtime, renamed_from, written, text_format, changed)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET status = excluded.status, version = excluded.version, mtime = excluded.mtime,
         renamed_from = excluded.renamed_from, written = excluded.written, text_format = excluded.text_format,
         changed = excluded.changed`,
      )
      .run(
        String(lineage.id),
        lineage.format,
        lineage.status,
        String(lineage.version),
        String(lineage.mtime),
        lineage.renamedFrom ?? null,
        lineage.written.length === 0 ? null : lineage.written.join(' '),
        TEXT_FORMAT_VERSION,
        lineage.savedMs,
      )
  }

  async #refresh(): Promise<Lineage> {
    const { table } = this.#options
    if (this.#unsaved.size > 0) this.#saveAll()
    const snapshot = await table.recent()
    const current = this.#current
    if (current?.status === 'retired') return this.#begin(await this.text(current), this.#options.nextId())
    if (current === undefined)
      return this.#begin(await this.#options.openText(snapshot, this.format, undefined), this.#options.nextId())
    if (this.#options.isEdited(current)) {
      this.#editedMs = momentMs(this.#options.clock)
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
    this.#noteEarlier(current, before, untilMs)
    if (!isContinuation(before, text)) return this.#begin(text, this.#options.nextId())
    const grew = text.size > before.size
    this.#goOn(current, text, [])
    if (!grew) return current
    this.touch(current)
    return current
  }

  /** The text of a lineage's version, or undefined if the table no longer has that version (its log was cleaned up). */
  async #textOrGone(lineage: Lineage): Promise<TableText | undefined> {
    try {
      return await this.text(lineage)
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
    const { database, format } = this.#options
    this.#forgetOld()
    const rows = database
      .query<LineageRow, [string]>("SELECT * FROM lines WHERE format = ? AND status IN ('current', 'writing')")
      .all(format)
    for (const row of rows) {
      const lineage = this.#lineageOf(row)
      this.#use(lineage)
      if (lineage.status === 'current') this.#current = lineage
      else this.#writing.add(lineage)
    }
  }

  /** Takes out of the state database what no client has used for long, and what is too much. */
  #forgetOld(): void {
    const { database, format, referenced, clock } = this.#options
    const kept = [...referenced(), ...this.#inUse.keys()].map(String)
    database
      .query(
        `DELETE FROM lines WHERE format = ? AND status <> 'current' AND (changed < ? OR id NOT IN
         (SELECT id FROM lines WHERE format = ? ORDER BY changed DESC LIMIT ${OLD_LINEAGES_KEPT}))
         AND id NOT IN (SELECT value FROM json_each(?))`,
      )
      .run(format, clock.nowMs() - FORGOTTEN_MS, format, JSON.stringify(kept))
    const ids = database.query<{ id: string }, [string]>('SELECT id FROM lines WHERE format = ?').all(format)
    this.#ids = new Set(ids.map(({ id }) => BigInt(id)))
  }

  #fromDatabase(id: bigint): Lineage | undefined {
    const { database, format } = this.#options
    const query = database.query<LineageRow, [string, string]>('SELECT * FROM lines WHERE id = ? AND format = ?')
    const row = query.get(String(id), format)
    return row === null ? undefined : this.#lineageOf(row)
  }

  #newLineage(id: bigint, status: Lineage['status'], version: bigint): Lineage {
    return newLineage(id, this.format, status, version, this.#options.times.pinnedMs)
  }

  #lineageOf(row: LineageRow): Lineage {
    const lineage = this.#newLineage(BigInt(row.id), row.status, BigInt(row.version))
    // The text is another one than the client remembers.
    lineage.mtime = row.text_format === TEXT_FORMAT_VERSION ? BigInt(row.mtime) : this.#later(BigInt(row.mtime))
    lineage.renamedFrom = row.renamed_from ?? undefined
    if (row.written !== null) lineage.written = row.written.split(' ')
    lineage.repeats = new Set(lineage.written)
    lineage.savedMs = this.#options.clock.nowMs()
    return lineage
  }
}

function newLineage(
  id: bigint,
  format: TextFormatName,
  status: Lineage['status'],
  version: bigint,
  pinnedMs: number,
): Lineage {
  return {
    id,
    format,
    status,
    version,
    mtime: 0n,
    lastReadMs: 0,
    usedMs: 0,
    savedMs: 0,
    brought: new Map(),
    ends: new EndsOfFile(pinnedMs),
    written: [],
    repeats: NOTHING,
    renamedFrom: undefined,
    text: undefined,
  }
}

/** A text, and behind it what a client wrote itself, of which the last bytes are known. */
function ownText(text: TableText, size: number, tail: Uint8Array): Text {
  if (size === text.size && tail.length === 0) return text
  const front = Math.min(text.size, size - tail.length)
  return {
    size,
    read: async (start, end) => {
      const from = Math.max(start, front)
      if (end > from && from < size - tail.length)
        throw new FsError(
          'EIO',
          `data.${text.format.name}: its program is to open it anew to read what it wrote long ago`,
        )
      const parts = start < front ? [await text.read(start, Math.min(end, front))] : []
      if (end > from) parts.push(tail.subarray(from - size + tail.length, end - size + tail.length))
      return joined(parts)
    },
  }
}

/** True if bytes are what a text has at an offset, as far as it goes. */
function isStillAt(text: TableText, offset: number, bytes: Uint8Array): Promise<boolean> {
  return isAt(text, offset, bytes.subarray(0, Math.max(0, text.size - offset)))
}

/** True if a text is an earlier one and rows behind its end. */
export function isContinuation(from: TableText, to: TableText): boolean {
  // Rows of an edit have their places among the others.
  return appendedFiles(from.snapshot, to.snapshot)?.every(file => file.tag(ORDER_TAG) === undefined) ?? false
}

/** ESTALE, in the words a user may read in a log. */
export function staleLineage(lineage: Lineage): FsError {
  return new FsError(
    'ESTALE',
    `the handle ${lineage.id} stands for version ${lineage.version} of data.${lineage.format}, which the name no longer leads to`,
  )
}

/** ESTALE for a write behind a save that was refused. */
export function lostHandle({ id, format }: Lineage): FsError {
  return new FsError('ESTALE', `the handle ${id} is no longer that of data.${format}`)
}
