import type { TextFormatName } from '../columns/text/formats/index.ts'
import { momentMs } from '../core/clock.ts'
import { foundSinceAsked } from '../core/once.ts'
import { broughtRows } from './brought.ts'
import { clientKey, type EndOfFile, EndsOfFile, type FileClient, isEndOf, type KnownEnds } from './ends-of-file.ts'
import { type ImageOfSave, KnownTexts, textBefore } from './known-texts.ts'
import { isContinuation, type Lineage, NOTHING, newLineage, textVersion } from './lineage.ts'
import { type LineageRecord, LineageRecords } from './lineage-records.ts'
import { LINEAGES_IN_MEMORY, LineagesInUse } from './lineages-in-use.ts'
import type { LineagesOptions } from './lineages-options.ts'
import { ownText } from './own-text.ts'
import { SeenBefore, type SeenTexts } from './seen-texts.ts'
import { TableText } from './text/layout.ts'
import type { Text } from './text/text.ts'
import { type WritePlace, WritePlaces } from './write-places.ts'

/** So many lineages begin between two looks for what can be forgotten. */
const BEGUN_MAX = 256

/** The lineages of one view, kept in the state database, so that handles survive a restart. */
export class Lineages {
  readonly #options: LineagesOptions
  readonly #records: LineageRecords
  readonly #places: WritePlaces
  /** All that the state database has. */
  #ids = new Set<bigint>()
  readonly #inUse: LineagesInUse
  /** Those that programs save into. */
  readonly #writing = new Set<Lineage>()
  /** The texts that its clients have read and written. */
  readonly known: KnownTexts<Lineage>
  readonly #seenBefore: SeenBefore
  /** The clients of earlier processes. */
  readonly #earlier: ReadonlySet<string>
  #begun = 0
  #current: Lineage | undefined
  /** The lineage that the name leads to now, after a look at the table's log. */
  readonly current = foundSinceAsked(() => this.#refresh())
  /** When somebody looked last and an edit kept the lineage at its version. */
  #editedMs = 0
  constructor(options: LineagesOptions) {
    this.#options = options
    this.known = new KnownTexts(options.times.togetherMs)
    this.#seenBefore = new SeenBefore(this.known, version => this.textOf(version))
    this.#records = new LineageRecords(options.database, options.format)
    this.#places = new WritePlaces(this)
    this.#inUse = new LineagesInUse({
      clock: options.clock,
      isKept: lineage => lineage === this.#current || this.#writing.has(lineage) || options.isEdited(lineage),
      save: lineage => this.save(lineage),
    })
    this.#earlier = this.#records.ends.clients()
    this.#load()
  }

  /**
   * True if a client is none that an earlier process knew, and has not opened a lineage in this one: one of these may have connected anew
   * from another port.
   */
  isNew({ ends }: Lineage, client: FileClient): boolean {
    return !this.#earlier.has(clientKey(client)) && ends.of(client).every(({ version }) => version === undefined)
  }

  get format(): TextFormatName {
    return this.#options.format
  }

  /** The lineage of a file id, or undefined if the id is not one of this view's. */
  get(id: bigint): Lineage | undefined {
    if (!this.#ids.has(id)) return undefined
    const known = this.#inUse.get(id)
    const record = known === undefined ? this.#records.get(id) : undefined
    const lineage = known ?? (record && this.#lineageOf(record))
    if (lineage !== undefined) this.#inUse.use(lineage)
    return lineage
  }

  /** The number of lineages that are in memory for their use; the others are in the state database. */
  get inMemory(): number {
    return this.#inUse.size
  }

  /** See LineagesInUse. */
  sweep(): void {
    this.#inUse.sweep()
  }

  /** Nothing is written to the state database by itself any more. */
  close(): void {
    this.#inUse.close()
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

  /** Returns the texts that a program of a client may have seen that has been at work since the moment `sinceMs` (see SeenBefore). */
  seenSince(sinceMs: number, client: FileClient): Promise<SeenTexts | undefined> {
    return this.#seenBefore.since(sinceMs, client)
  }

  /** The text in front of an end, as its client takes it to be; undefined if that is not known any more. */
  async textUpTo(lineage: Lineage, { size, version, tail }: EndOfFile): Promise<Text | undefined> {
    const text = version === undefined ? undefined : await this.textAt(lineage, version)
    if (text === undefined) return undefined
    return ownText(text, size, tail)
  }

  /** Returns what a client is shown of a lineage where no save is under way. */
  async textFor(lineage: Lineage, client: FileClient): Promise<Text> {
    const end = this.pinnedEnd(lineage, client)
    if (end === undefined || isEndOf(end, textVersion(lineage))) return this.text(lineage)
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
    return lineage.ends.pinned(client)
  }

  /** The client with this key wrote up to an end of a lineage, behind `before` (see EndsOfFile). */
  noteWrote(lineage: Lineage, client: string, end: EndOfFile, before?: EndOfFile): void {
    lineage.ends.wrote(client, end, before)
    if (end.version === undefined) return
    this.known.wrote(client, lineage, textBefore(end), end.size, momentMs(this.#options.clock))
  }

  /**
   * The lineage that a client gets which opens the name: where others have changed the text that it knows under the handle that
   * it has, it is another one, so that under each handle a client knows one text and what it wrote itself.
   */
  async openedBy(lineage: Lineage, client: FileClient): Promise<Lineage> {
    const text = await this.text(lineage)
    // Another client has opened it meanwhile, or a save has moved it.
    if (lineage.status === 'followed' || lineage.text !== text) return this.openedBy(this.#current ?? lineage, client)
    const { version } = text
    let opened = lineage
    if (lineage === this.#current && lineage.status === 'current' && !lineage.ends.isAt(client, version)) {
      opened = this.#begin(text, this.#options.nextId())
      opened.mtime = lineage.mtime
      lineage.status = 'followed'
      this.save(lineage)
      this.save(opened)
    }
    opened.ends.open(client, text.size, version)
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
      if (text.version !== before.version) this.touch(lineage)
    }
  }

  /** The text of a version. Rejects if the table no longer has it. */
  async textOf(version: bigint): Promise<TableText> {
    const current = this.#current?.text
    if (current?.version === version) return current
    const { table, openText, format } = this.#options
    return openText(await table.at(version), format, current)
  }

  /** A client was sent attributes with a size: of a version of the table, or of the image of a save (undefined). */
  noteTold(lineage: Lineage, client: FileClient, version: bigint | undefined, size: number): void {
    lineage.ends.tell(client, size, version)
    if (version !== undefined) this.known.told(client, lineage, version, size, momentMs(this.#options.clock))
  }

  /** A client was sent the bytes of a text up to `end` (READ): of a version, or of what `own` tells. */
  noteRead(
    lineage: Lineage,
    client: FileClient,
    text: Text,
    own: ImageOfSave | EndOfFile | undefined,
    end: number,
  ): void {
    lineage.lastReadMs = this.#options.clock.nowMs()
    const { size } = text
    const of = text instanceof TableText ? text.version : own
    if (of !== undefined) this.known.read(client, lineage, of, size, momentMs(this.#options.clock))
    lineage.ends.know(client, end, end === size ? size : undefined)
  }

  /** A save of some clients (`clientKey`) is over: the lineage's version has all that they wrote, or has more than that. */
  noteSaved(lineage: Lineage, clients: Iterable<string>, save: ImageOfSave | undefined, asWritten: boolean): void {
    const size = lineage.text?.size
    if (save !== undefined && asWritten) save.became = textVersion(lineage)
    for (const client of clients) {
      const of = asWritten && size !== undefined ? textVersion(lineage) : save
      if (of !== undefined) this.known.wrote(client, lineage, of, size ?? 0, momentMs(this.#options.clock))
    }
  }

  /**
   * A client (`clientKey`) has renamed a file onto the name that has rows which it may have had behind an end of a lineage already.
   * The version `landed` has them.
   */
  noteBrought(lineage: Lineage, client: string, end: number, rows: Uint8Array, landed: bigint): void {
    if (rows.length > 0) lineage.ends.bring(client, broughtRows(end, rows, landed, this.#options.clock.nowMs()))
  }

  /** Returns the place of a WRITE of a client that comes while no save is under way. */
  placeOf(lineage: Lineage, client: FileClient, offset: number, bytes: Uint8Array): Promise<WritePlace> {
    return this.#places.placeOf(lineage, client, offset, bytes)
  }

  /** The text of a version, or undefined if the table no longer has it. */
  async textAt(lineage: Lineage, version: bigint): Promise<TableText | undefined> {
    if (lineage.text?.version === version) return lineage.text
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
    lineage.mtime =
      before === undefined ? BigInt(Math.trunc(text.snapshot.timestampMs)) * 1_000_000n : this.#later(before.mtime)
    if (before !== undefined && before.id !== id) {
      if (before.status === 'current') before.status = 'old'
      this.save(before)
    }
    this.#current = lineage
    this.#inUse.use(lineage)
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
    this.#inUse.use(lineage)
    this.save(lineage)
  }

  /** The lineage goes on at a newer version, by a save of this mount. Times stay as they are: see `touch`. */
  advance(lineage: Lineage, text: TableText, written: readonly string[] = []): void {
    const before = lineage.text
    if (before !== undefined && isContinuation(before, text))
      this.#seenBefore.noteEarlier(lineage, before, momentMs(this.#options.clock))
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

  #goOn(lineage: Lineage, text: TableText, written: readonly string[], repeats = NOTHING): Lineage {
    lineage.written = written
    lineage.repeats = repeats
    lineage.text = text
    lineage.version = text.snapshot.version
    this.save(lineage)
    return lineage
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
    this.#inUse.use(lineage)
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
    this.#records.save(lineage)
  }

  /** Runs something as soon as all lineages are saved as they are now. */
  whenSaved(run: () => void): void {
    this.#records.whenSaved(run)
  }

  async #refresh(): Promise<Lineage> {
    const { table } = this.#options
    this.#records.saveRest()
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
    if (text.version === before.version && text.size === before.size) {
      // Files were put together: nobody is to notice, nor a WRITE that comes once more.
      return this.#goOn(current, text, current.written, current.repeats)
    }
    // Another view may have known of the new version before anybody looked at this one.
    const untilMs = Math.max(this.#options.leftMs(before.version), this.#editedMs)
    this.#seenBefore.noteEarlier(current, before, untilMs)
    if (!isContinuation(before, text)) return this.#begin(text, this.#options.nextId())
    if (text.size > before.size) this.touch(current)
    return this.#goOn(current, text, [])
  }

  /** The text of a lineage's version, or undefined if the table no longer has that version (its log was cleaned up). */
  async #textOrGone(lineage: Lineage): Promise<TableText | undefined> {
    try {
      return await this.text(lineage)
    } catch {
      return undefined
    }
  }

  #later(than: bigint): bigint {
    const now = BigInt(this.#options.clock.nowMs()) * 1_000_000n
    return now > than ? now : than + 1n
  }

  #load(): void {
    this.#forgetOld()
    for (const record of this.#records.inUse()) {
      const lineage = this.#lineageOf(record)
      this.#inUse.use(lineage)
      if (lineage.status === 'current') this.#current = lineage
      else this.#writing.add(lineage)
    }
    // Programs of clients that were at work when the server died go on with what these have in their caches.
    for (const id of this.#records.ends.inUse(this.#options.clock.nowMs()).slice(-LINEAGES_IN_MEMORY)) this.get(id)
  }

  /** Takes out of the state database what no client has used for long, and what is too much. */
  #forgetOld(): void {
    const { referenced, clock } = this.#options
    this.#ids = this.#records.forgetOld([...referenced(), ...this.#inUse.ids], clock.nowMs())
  }

  #lineageOf(record: LineageRecord): Lineage {
    const { id, status, version, mtime, renamedFrom, written, isOtherText } = record
    const lineage = this.#newLineage(id, status, version)
    lineage.mtime = isOtherText ? this.#later(mtime) : mtime
    lineage.renamedFrom = renamedFrom
    lineage.written = written
    lineage.repeats = new Set(written)
    lineage.savedMs = this.#options.clock.nowMs()
    for (const { client, known } of this.#records.ends.of(lineage)) {
      lineage.ends.restore(client, known)
      const [end] = known.ends
      if (known.ends.length === 1 && end!.version !== undefined)
        this.known.wrote(client, lineage, textBefore(end!), end!.size, momentMs(this.#options.clock))
    }
    return lineage
  }

  #newLineage(id: bigint, status: Lineage['status'], version: bigint): Lineage {
    const { clock, times } = this.#options
    const onChange = (client: string, known: KnownEnds | undefined): void =>
      this.#records.saveEnds(lineage, client, known, clock.nowMs())
    const ends = new EndsOfFile({ pinnedMs: times.pinnedMs, clock, onChange })
    const lineage = newLineage(id, this.format, status, version, ends)
    return lineage
  }
}
