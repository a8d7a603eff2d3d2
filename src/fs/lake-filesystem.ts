import type { Database } from 'bun:sqlite'
import { readFileSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../core/clock.ts'
import { LakeError, messageOf } from '../core/errors.ts'
import type { Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import { Editor, type HoldTimes, type Outcome } from './edits/editor.ts'
import { fileText } from './edits/spool.ts'
import type { ErrorJournal } from './error-journal.ts'
import {
  type Access,
  type Attributes,
  type Change,
  type Created,
  type CreateHow,
  type DirectoryEntry,
  type FileSystem,
  FsError,
  type Listing,
  type NewAttributes,
  type Node,
  type SpaceInfo,
  type Stability,
  type TimeNs,
} from './filesystem.ts'
import { type Line, Lines, staleLine } from './lines.ts'
import type { Scratch } from './scratch/scratch.ts'
import { openText, type TableText, type TextFormat } from './text/layout.ts'
import type { Segments } from './text/segments.ts'
import type { Text } from './text/text.ts'
import { GeneratedView } from './views/generated.ts'
import { ParquetFiles } from './views/parquet.ts'
import { bytesText, QueryView, type RunSql } from './views/query.ts'

export const ROOT_ID = 1n
export const DATA_ID = 2n
const SCHEMA_ID = 13n
const STATS_ID = 15n
const ERRORS_ID = 16n
/** Readdir cookies of names that stand for changing ids; scratch ids begin at 1,000. */
const COOKIE = { dot: 1n, dotDot: 2n, data: 3n, 'data.csv': 4n, 'data.json': 5n, 'data.jsonl': 6n, query: 7n } as const

/** A plain handle of an old line still answers while it was read within this time. */
const OLD_LINE_READ_MS = 5000
/** How long `data.csv` may be away (renamed) before it comes back. */
const AWAY_MS = 1000
/** After `rm data.csv` an exclusive CREATE (mv from another file system) finds the name free for this long. */
const REMOVED_MS = 2000
const MODE = { file: 0o644, readOnly: 0o444, directory: 0o755 } as const

export interface LakeFileSystemOptions {
  readonly table: Table
  readonly segments: Segments
  readonly scratch: Scratch
  readonly database: Database
  readonly errors: ErrorJournal
  readonly stateDirectory: string
  readonly runSql: RunSql
  readonly renderSchema: (snapshot: Snapshot) => Uint8Array
  readonly renderStats: (snapshot: Snapshot) => Promise<Uint8Array>
  readonly clock: Clock
  readonly readOnly: boolean
  readonly owner: { readonly uid: number; readonly gid: number }
  readonly log: (sentence: string) => void
  readonly holdTimes?: HoldTimes
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

const DATA_VIEWS: readonly { readonly name: keyof typeof COOKIE & `data.${string}`; readonly format: TextFormat }[] = [
  { name: 'data.csv', format: 'csv' },
  { name: 'data.json', format: 'json' },
  { name: 'data.jsonl', format: 'jsonl' },
]

/** A Delta table as files: the views of the table, and the user's own files beside them. See FileSystem for the contract. */
export class LakeFileSystem implements FileSystem {
  readonly readOnly: boolean
  readonly writeVerifier: bigint
  readonly #options: LakeFileSystemOptions
  readonly #lines: Record<TextFormat, Lines>
  readonly #editors: { readonly csv: Editor; readonly jsonl: Editor }
  readonly #generated: readonly GeneratedView[]
  readonly #query: QueryView
  readonly #parquet: ParquetFiles
  #queryId: bigint
  #queryTime = 0n
  #dataTime = 0n
  #rootTime = 0n
  #lastVersion = -1n
  #away: Away | undefined
  /** A save over a backed-up `data.csv` was refused: the editor will now remove the name and rename its backup into place. */
  #restoring = false
  #removedMs = Number.NEGATIVE_INFINITY
  #changed: Promise<unknown> = Promise.resolve()
  #clientSeen = false

  constructor(options: LakeFileSystemOptions) {
    this.#options = options
    this.readOnly = options.readOnly
    this.writeVerifier = bootVerifier()
    const now = (): bigint => this.#now()
    this.#lines = { csv: this.#newLines('csv'), json: this.#newLines('json'), jsonl: this.#newLines('jsonl') }
    this.#editors = { csv: this.#newEditor('csv'), jsonl: this.#newEditor('jsonl') }
    const settled = async (): Promise<Snapshot> => {
      await this.settled()
      return this.#refresh()
    }
    this.#generated = [
      new GeneratedView('schema.sql', SCHEMA_ID, async () => options.renderSchema(await this.#refresh()), now),
      new GeneratedView('.stats', STATS_ID, async () => options.renderStats(await settled()), now),
      new GeneratedView('.errors', ERRORS_ID, async () => options.errors.render(), now),
    ]
    this.#query = new QueryView(async sql => {
      await this.settled()
      return options.runSql(sql)
    })
    this.#queryId = options.scratch.nextId()
    this.#queryTime = now()
    this.#parquet = new ParquetFiles(options.table.store)
    this.#dataTime = now()
    this.#rootTime = now()
  }

  /** Takes up what an earlier process left: held saves, and a `data.csv` that was away. To be called before serving. */
  async recover(): Promise<void> {
    await this.#editors.csv.recover()
    await this.#editors.jsonl.recover()
    const line = await this.#lines.csv.current()
    const reference = this.#options.scratch.entryOf(line.id)
    if (reference !== undefined) await this.#comeBack(line, isSilly(reference.name))
  }

  /** Resolves when no save is held any more. */
  async settled(): Promise<void> {
    await this.#away?.ended
    await this.#editors.csv.settled()
    await this.#editors.jsonl.settled()
  }

  /** Brings every held save to its end now, as nobody will write any more. */
  async finish(): Promise<void> {
    const away = this.#away
    if (away !== undefined) {
      this.#endAway()
      await this.#comeBack(away.line, away.silly)
    }
    await this.#editors.csv.finish()
    await this.#editors.jsonl.finish()
  }

  /** What is held, in sentences. */
  held(): string[] {
    return [
      ...this.#editors.csv.held(),
      ...this.#editors.jsonl.held(),
      ...(this.#away ? ['data.csv was renamed away'] : []),
    ]
  }

  close(): void {
    this.#endAway()
    this.#editors.csv.close()
    this.#editors.jsonl.close()
    this.#options.scratch.close()
  }

  root(frozen: boolean): Node {
    return { id: ROOT_ID, frozen }
  }

  // --- attributes --------------------------------------------------------------------------------------------------

  async getattr(node: Node): Promise<Attributes> {
    return this.#guarded(() => this.#attributes(node))
  }

  async setattr(node: Node, changes: NewAttributes, guardCtime?: TimeNs): Promise<Change> {
    return this.#changing(async () => {
      const before = await this.#attributes(node)
      if (guardCtime !== undefined && before.ctime !== guardCtime) {
        throw new FsError('ENOTSYNC', 'the file changed since the client last looked at it')
      }
      const line = this.#lineOf(node.id)
      if (line !== undefined) {
        if (changes.size === undefined) return { before, after: before }
        const outcome = await this.#editorOf(line).truncate(line, sizeOf(changes.size))
        return this.#lineChange(line, before, outcome)
      }
      if (node.id === this.#queryId) {
        if (changes.size !== undefined) this.#query.truncate(sizeOf(changes.size))
        if (changes.size !== undefined) this.#queryTime = this.#later(this.#queryTime)
        return { before, after: await this.#attributes(node) }
      }
      if (node.id === ERRORS_ID && changes.size === 0n) {
        this.#options.errors.clear()
        return { before, after: await this.#attributes(node) }
      }
      if (this.#isScratch(node)) return this.#options.scratch.setattr(node.id, changes, guardCtime)
      if (changes.size !== undefined) throw new FsError('EACCES', 'this view is read-only')
      return { before, after: before }
    })
  }

  async access(node: Node): Promise<Access> {
    return this.#guarded(async () => {
      const { type } = await this.#attributes(node)
      const writable = !this.readOnly && this.#isWritable(node)
      return {
        read: true,
        lookup: type === 'directory',
        modify: writable,
        extend: writable,
        delete: writable && type === 'directory',
        execute: type === 'file' && this.#isScratch(node),
      }
    })
  }

  async #attributes(node: Node): Promise<Attributes> {
    const { scratch } = this.#options
    if (node.id === ROOT_ID) return this.#directory(ROOT_ID, await scratch.getattr(ROOT_ID), this.#rootTime)
    if (node.id === DATA_ID) {
      await this.#refresh()
      return this.#directory(DATA_ID, await scratch.getattr(DATA_ID), this.#dataTime)
    }
    const line = this.#lineOf(node.id)
    if (line !== undefined) return this.#lineAttributes(line, node.frozen)
    const view = this.#generated.find(other => other.id === node.id)
    if (view !== undefined) {
      const { size, mtime } = await view.refresh()
      return this.#file(view.id, BigInt(size), mtime, view.id === ERRORS_ID ? MODE.file : MODE.readOnly)
    }
    if (node.id === this.#queryId)
      return this.#file(this.#queryId, BigInt(this.#query.size), this.#queryTime, MODE.file)
    const parquet = this.#parquet.byId(node.id)
    if (parquet !== undefined) {
      return this.#file(
        node.id,
        BigInt(parquet.file.sizeBytes),
        BigInt(parquet.file.modificationTime) * 1_000_000n,
        MODE.readOnly,
      )
    }
    return scratch.getattr(node.id)
  }

  async #lineAttributes(line: Line, frozen: boolean): Promise<Attributes> {
    if (line.status === 'current' && this.#away?.line !== line) await this.#look(line.format)
    if (line.status === 'retired') throw staleLine(line)
    if (line.status === 'old' && !frozen && this.#options.scratch.entryOf(line.id) === undefined) {
      if (this.#options.clock.nowMs() - line.lastReadMs > OLD_LINE_READ_MS) throw staleLine(line)
    }
    return this.#shownAttributes(line)
  }

  /** The attributes of what a line shows at this moment, with no look at the table. */
  async #shownAttributes(line: Line): Promise<Attributes> {
    return this.#attributesOf(line, await this.#shown(line))
  }

  #attributesOf(line: Line, { size }: Text): Attributes {
    return this.#file(line.id, BigInt(size), line.mtime, line.format === 'json' ? MODE.readOnly : MODE.file)
  }

  /** Looks whether the table moved on. The other views also wait for a save of data.csv that is held. */
  async #look(format: TextFormat): Promise<Line> {
    if (format !== 'csv') {
      await this.#editors.csv.settled()
      if (format === 'json') await this.#editors.jsonl.settled()
    }
    const line = await this.#lines[format].current()
    this.#noteVersion(line.version)
    return line
  }

  async #shown(line: Line): Promise<Text> {
    const edit = line.format === 'json' ? undefined : this.#editorOf(line).editOf(line)
    return edit?.image ?? (await this.#lines[line.format].text(line))
  }

  #file(id: bigint, size: bigint, mtime: bigint, mode: number): Attributes {
    const { uid, gid } = this.#options.owner
    return { type: 'file', mode, links: 1, uid, gid, size, used: size, fileId: id, atime: mtime, mtime, ctime: mtime }
  }

  #directory(id: bigint, scratch: Attributes, time: bigint): Attributes {
    const { uid, gid } = this.#options.owner
    const mtime = scratch.mtime > time ? scratch.mtime : time
    return { ...scratch, type: 'directory', mode: MODE.directory, uid, gid, fileId: id, mtime, ctime: mtime }
  }

  // --- names -------------------------------------------------------------------------------------------------------

  async lookup(directory: Node, name: string): Promise<{ node: Node; attributes: Attributes }> {
    return this.#guarded(async () => {
      const node = await this.#find(directory, name)
      return { node, attributes: await this.#attributes(node) }
    })
  }

  async #find(directory: Node, name: string): Promise<Node> {
    const at = (id: bigint): Node => ({ id, frozen: directory.frozen })
    if (name === '.') return directory
    if (directory.id === ROOT_ID) {
      if (name === '..') return directory
      if (name === 'data') return at(DATA_ID)
      if (name === '.query') return at(this.#queryId)
      const view = this.#generated.find(other => other.name === name)
      if (view !== undefined) return at(view.id)
    }
    if (directory.id === DATA_ID) {
      if (name === '..') return at(ROOT_ID)
      const view = DATA_VIEWS.find(other => other.name === name)
      if (view !== undefined) {
        if (view.format === 'csv' && this.#away !== undefined) throw noEntry(name)
        return at((await this.#look(view.format)).id)
      }
      if (name.endsWith('.parquet')) {
        await this.#refresh()
        const file = this.#parquet.byName(name)
        if (file !== undefined) return at(file.id)
      }
    }
    return at((await this.#options.scratch.lookup(directory.id, name)).id)
  }

  async readdir(directory: Node, cookie: bigint, limit: number): Promise<Listing> {
    return this.#guarded(async () => {
      const views = (await this.#viewEntries(directory)).filter(entry => entry.cookie > cookie).slice(0, limit)
      const rest = limit - views.length
      const listing =
        rest > 0 || views.length === 0
          ? await this.#options.scratch.readdir(directory.id, cookie, Math.max(1, rest))
          : { entries: [], endOfDirectory: false }
      const entries = [
        ...views,
        ...listing.entries.map(entry => ({ ...entry, node: { id: entry.node.id, frozen: directory.frozen } })),
      ]
      entries.sort((a, b) => (a.cookie < b.cookie ? -1 : 1))
      // What did not fit comes with the next call: entries are in cookie order, so cutting loses nothing.
      return {
        entries: entries.slice(0, limit),
        endOfDirectory: listing.endOfDirectory && entries.length <= limit,
        verifier: 1n,
      }
    })
  }

  async #viewEntries(directory: Node): Promise<DirectoryEntry[]> {
    const entry = async (name: string, id: bigint, cookie: bigint, known = true): Promise<DirectoryEntry> => {
      const node = { id, frozen: directory.frozen }
      return { name, fileId: id, cookie, node, attributes: known ? await this.#attributes(node) : undefined }
    }
    if (directory.id === ROOT_ID) {
      return Promise.all([
        entry('.', ROOT_ID, COOKIE.dot),
        entry('..', ROOT_ID, COOKIE.dotDot),
        entry('data', DATA_ID, COOKIE.data),
        entry('.query', this.#queryId, COOKIE.query),
        ...this.#generated.map(view => entry(view.name, view.id, view.id, this.held().length === 0)),
      ])
    }
    if (directory.id !== DATA_ID) return []
    const entries = [await entry('.', DATA_ID, COOKIE.dot), await entry('..', ROOT_ID, COOKIE.dotDot)]
    const snapshot = await this.#refresh()
    for (const { name, format } of DATA_VIEWS) {
      if (format === 'csv' && this.#away !== undefined) continue
      const line = this.#lines[format].peek()
      const id = (line ?? (await this.#look(format))).id
      // Opening a text may mean rendering all of another writer's table: then the client asks for it by name.
      entries.push(
        await entry(
          name,
          id,
          COOKIE[name],
          line !== undefined && line.version === snapshot.version && this.held().length === 0,
        ),
      )
    }
    for (const file of this.#parquet.list()) entries.push(await entry(file.name, file.id, file.id))
    return entries
  }

  // --- bytes -------------------------------------------------------------------------------------------------------

  async read(
    node: Node,
    offset: bigint,
    count: number,
  ): Promise<{ bytes: Uint8Array; eof: boolean; attributes?: Attributes }> {
    return this.#guarded(async () => {
      const line = this.#lineOf(node.id)
      if (line !== undefined) {
        if (line.status === 'retired') throw staleLine(line)
        line.lastReadMs = this.#options.clock.nowMs()
        const text = await this.#shown(line)
        return { ...(await readText(text, offset, count)), attributes: await this.#shownAttributes(line) }
      }
      const view = this.#generated.find(other => other.id === node.id)
      if (view !== undefined) return readText(bytesText(await view.bytes()), offset, count)
      if (node.id === this.#queryId) return readText(this.#query, offset, count)
      const parquet = this.#parquet.byId(node.id)
      if (parquet !== undefined) return this.#parquet.read(node.id, offset, count)
      if (node.id === ROOT_ID || node.id === DATA_ID) throw new FsError('EISDIR', 'this is a directory')
      return this.#options.scratch.read(node.id, offset, count)
    })
  }

  async write(
    node: Node,
    offset: bigint,
    bytes: Uint8Array,
    stability: Stability,
  ): Promise<{ count: number; committed: Stability; change: Change }> {
    return this.#changing(async () => {
      const line = this.#lineOf(node.id)
      if (line !== undefined) return this.#writeLine(line, sizeOf(offset), bytes, stability)
      if (node.id === this.#queryId) {
        const before = await this.#attributes(node)
        await this.#query.write(sizeOf(offset), bytes)
        this.#queryTime = this.#later(this.#queryTime)
        if (stability === 'unstable')
          return { count: bytes.length, committed: stability, change: { before, after: await this.#attributes(node) } }
        await this.#finishQuery()
        return { count: bytes.length, committed: 'file_sync', change: {} }
      }
      if (!this.#isScratch(node)) throw new FsError('EACCES', 'this view is read-only')
      return this.#options.scratch.write(node.id, offset, bytes, stability)
    })
  }

  async #writeLine(
    line: Line,
    offset: number,
    bytes: Uint8Array,
    stability: Stability,
  ): Promise<{ count: number; committed: Stability; change: Change }> {
    if (line.format === 'json')
      throw new FsError('EACCES', 'data.json is read-only; write to data.csv, or append to data.jsonl')
    const editor = this.#editorOf(line)
    // Calls on one file take effect in the order in which they came: nothing is awaited here once the text is known.
    if (line.text === undefined) await this.#lines[line.format].text(line)
    const before = this.#attributesOf(line, editor.editOf(line)?.image ?? line.text!)
    if (stability === 'unstable') {
      await editor.writeUnstable(line, offset, bytes)
      return {
        count: bytes.length,
        committed: 'unstable',
        change: { before, after: await this.#shownAttributes(line) },
      }
    }
    const outcome = await this.#hearingOfRefusal(line, () => editor.writeStable(line, offset, bytes))
    return { count: bytes.length, committed: 'file_sync', change: await this.#lineChange(line, before, outcome) }
  }

  async commit(node: Node, offset: bigint, count: number): Promise<Change> {
    return this.#changing(async () => {
      const line = this.#lineOf(node.id)
      if (line !== undefined) {
        if (line.format === 'json') return {}
        const before = await this.#shownAttributes(line)
        const outcome = await this.#hearingOfRefusal(line, () => this.#editorOf(line).commit(line))
        return this.#lineChange(line, before, outcome)
      }
      if (node.id === this.#queryId) {
        await this.#finishQuery()
        return {}
      }
      if (!this.#isScratch(node)) return {}
      return this.#options.scratch.commit(node.id, offset, count)
    })
  }

  async #lineChange(line: Line, before: Attributes, outcome: Outcome): Promise<Change> {
    this.#lines[line.format].save(line)
    this.#noteVersion(line.version)
    // What the client wrote is not what the file now is: without attributes it asks for them, and reads again.
    return outcome.asWritten ? { before, after: await this.#shownAttributes(line) } : {}
  }

  async #hearingOfRefusal<T>(line: Line, run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (error) {
      if (line.status === 'retired') {
        this.#touchData()
        // vim: its backup is `data.csv~`, which it will rename back after removing the name.
        this.#restoring = this.#backupOf(line) !== undefined
      }
      throw error
    }
  }

  async #finishQuery(): Promise<void> {
    try {
      await this.#query.finish()
    } catch (error) {
      // An error sticks to the client's inode; a new handle for the name lets the next query start clean.
      this.#queryId = this.#options.scratch.nextId()
      this.#rootTime = this.#later(this.#rootTime)
      throw error
    } finally {
      this.#queryTime = this.#later(this.#queryTime)
    }
  }

  // --- changes of names ----------------------------------------------------------------------------------------------

  async create(directory: Node, name: string, how: CreateHow): Promise<Created> {
    return this.#changingNames(async () => {
      checkName(name)
      if (directory.id === DATA_ID && name === 'data.csv') return this.#createCsv(directory, how)
      const known = this.#isViewName(directory, name) ? await this.#find(directory, name) : undefined
      if (known !== undefined) {
        if (how.kind !== 'unchecked') throw exists(name)
        if (how.attributes.size !== undefined) await this.setattrUnlocked(known, how.attributes.size)
        return { node: known, attributes: await this.#attributes(known), directory: {} }
      }
      return inDirectory(await this.#options.scratch.create(directory.id, name, how), directory)
    })
  }

  async #createCsv(directory: Node, how: CreateHow): Promise<Created> {
    const away = this.#away
    const before = await this.#attributes(directory)
    let line: Line
    if (away !== undefined) {
      this.#endAway()
      line = this.#lines.csv.start(await this.#lines.csv.text(away.line))
      await this.#editors.csv.startEmpty(line)
    } else {
      line = await this.#look('csv')
      const justRemoved = this.#options.clock.nowMs() - this.#removedMs < REMOVED_MS
      if (how.kind !== 'unchecked' && !justRemoved) throw exists('data.csv')
      if (how.kind !== 'unchecked' || how.attributes.size !== undefined) {
        await this.#editors.csv.truncate(line, how.kind === 'unchecked' ? sizeOf(how.attributes.size ?? 0n) : 0)
      }
    }
    this.#touchData()
    return {
      node: { id: line.id, frozen: directory.frozen },
      attributes: await this.#shownAttributes(line),
      directory: { before, after: await this.#attributes(directory) },
    }
  }

  async setattrUnlocked(node: Node, size: bigint): Promise<void> {
    const line = this.#lineOf(node.id)
    if (line !== undefined && line.format !== 'json') await this.#editorOf(line).truncate(line, sizeOf(size))
    else if (node.id === this.#queryId) this.#query.truncate(sizeOf(size))
    else throw new FsError('EACCES', 'this view is read-only')
  }

  async mkdir(directory: Node, name: string, attributes: NewAttributes): Promise<Created> {
    return this.#changingNames(async () => {
      checkName(name)
      if (this.#isViewName(directory, name)) throw exists(name)
      return inDirectory(await this.#options.scratch.mkdir(directory.id, name, attributes), directory)
    })
  }

  async remove(directory: Node, name: string): Promise<Change> {
    return this.#changingNames(async () => {
      checkName(name)
      if (directory.id === DATA_ID && name === 'data.csv') return this.#removeCsv()
      if (directory.id === ROOT_ID && name === '.query') {
        this.#query.truncate(0)
        await this.#query.finish()
        this.#queryTime = this.#later(this.#queryTime)
        return {}
      }
      if (directory.id === ROOT_ID && name === 'data') throw new FsError('EISDIR', 'data is a directory')
      if (this.#isViewName(directory, name)) throw viewStays(name)
      return this.#options.scratch.remove(directory.id, name)
    })
  }

  async #removeCsv(): Promise<Change> {
    if (this.#away !== undefined) throw noEntry('data.csv')
    const line = await this.#look('csv')
    if (this.#restoring) {
      this.#restoring = false
      this.#goAway(line, false)
      return {}
    }
    await this.#editors.csv.finish()
    const text = await this.#editors.csv.removeAllRows(await this.#lines.csv.text(line))
    this.#lines.csv.start(text)
    this.#removedMs = this.#options.clock.nowMs()
    this.#touchData()
    // Without directory attributes the client does not remember the name as gone.
    return {}
  }

  async rmdir(directory: Node, name: string): Promise<Change> {
    return this.#changingNames(async () => {
      checkName(name)
      if (directory.id === ROOT_ID && name === 'data') throw viewStays(name)
      if (this.#isViewName(directory, name)) throw new FsError('ENOTDIR', `${name} is not a directory`)
      return this.#options.scratch.rmdir(directory.id, name)
    })
  }

  async rename(
    fromDirectory: Node,
    fromName: string,
    toDirectory: Node,
    toName: string,
  ): Promise<{ from: Change; to: Change }> {
    return this.#changingNames(async () => {
      checkName(fromName)
      checkName(toName)
      const fromCsv = fromDirectory.id === DATA_ID && fromName === 'data.csv'
      const toCsv = toDirectory.id === DATA_ID && toName === 'data.csv'
      if (fromCsv && toCsv) return { from: {}, to: {} }
      if (fromCsv) {
        if (this.#isViewName(toDirectory, toName)) throw viewStays(toName)
        await this.#renameAway(toDirectory, toName)
        return { from: {}, to: {} }
      }
      if (toCsv) {
        if (this.#isViewName(fromDirectory, fromName)) throw viewStays(fromName)
        await this.#renameOnto(fromDirectory, fromName)
        return { from: {}, to: {} }
      }
      if (this.#isViewName(fromDirectory, fromName)) throw viewStays(fromName)
      if (this.#isViewName(toDirectory, toName)) throw viewStays(toName)
      return this.#options.scratch.rename(fromDirectory.id, fromName, toDirectory.id, toName)
    })
  }

  /** `mv data.csv elsewhere`, a backup, or the client's rename of an open file: held, see the design. */
  async #renameAway(toDirectory: Node, toName: string): Promise<void> {
    if (this.#away !== undefined) throw noEntry('data.csv')
    await this.#editors.csv.finish()
    const line = await this.#look('csv')
    const { size } = await this.#lines.csv.text(line)
    await this.#options.scratch.placeReference(toDirectory.id, toName, line.id, { size, mtime: line.mtime })
    this.#goAway(line, isSilly(toName))
  }

  #goAway(line: Line, silly: boolean): void {
    const timer = setTimeout(() => {
      void this.#alone(async () => {
        if (this.#away?.timer !== timer) return
        await this.#comeBack(line, silly)
        this.#endAway()
      }).catch(error => this.#options.log(messageOf(error)))
    }, AWAY_MS)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#away = { line, silly, timer, ended: promise, end: resolve }
    this.#touchData()
  }

  #endAway(): void {
    const away = this.#away
    if (away === undefined) return
    clearTimeout(away.timer)
    this.#away = undefined
    away.end()
  }

  /** Nothing took the name: it comes back, without rows if the client removed it. */
  async #comeBack(line: Line, silly: boolean): Promise<void> {
    const text = await this.#lines.csv.text(line)
    try {
      this.#lines.csv.start(silly ? await this.#editors.csv.removeAllRows(text) : text)
    } catch (error) {
      this.#lines.csv.start(text)
      throw error
    } finally {
      this.#touchData()
    }
  }

  /** A whole new file takes the name: one commit of what differs, or both names as they were. */
  async #renameOnto(fromDirectory: Node, fromName: string): Promise<void> {
    const { scratch } = this.#options
    const origin = `${fromDirectory.id}/${fromName}`
    const entry = await this.#entryToRename(fromDirectory, fromName, origin)
    if (entry === undefined) return
    const away = this.#away
    const old = this.#lines.csv.get(entry.id)
    const written =
      old === undefined
        ? { sinceMs: scratch.createdMs(entry.id), finished: (await scratch.getattr(entry.id)).ctime }
        : undefined
    const base = await this.#baseOfReplacement(away, written)
    const image =
      old === undefined
        ? fileText(scratch.realPath(entry.id), sizeOf((await scratch.getattr(entry.id)).size))
        : await this.#lines.csv.text(old)
    try {
      const { text, asWritten } = await this.#editors.csv.replace(base, image)
      await scratch.take(entry.id)
      this.#endAway()
      if (old === undefined) {
        const line = this.#lines.csv.start(text, entry.id, origin)
        if (!asWritten) this.#lines.csv.touch(line)
      } else {
        this.#lines.csv.advance(old, text)
        this.#lines.csv.adopt(old)
        this.#lines.csv.touch(old)
      }
      this.#restoring = false
    } catch (error) {
      if (away !== undefined) {
        this.#endAway()
        this.#lines.csv.start(await this.#lines.csv.text(away.line))
      }
      throw error
    } finally {
      this.#touchData()
    }
  }

  async #entryToRename(directory: Node, name: string, origin: string): Promise<{ id: bigint } | undefined> {
    try {
      const entry = await this.#options.scratch.lookup(directory.id, name)
      const { type } = await this.#options.scratch.getattr(entry.id)
      if (type === 'directory') throw new FsError('EISDIR', 'a directory cannot take the place of data.csv')
      return entry
    } catch (error) {
      // Repeated after a restart: the file is data.csv already.
      const current = this.#lines.csv.peek() ?? (await this.#lines.csv.current())
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
    const lines = this.#lines.csv
    if (away !== undefined) return lines.text(away.line)
    await this.#editors.csv.finish()
    const current = lines.peek() ?? (await this.#look('csv'))
    if (file === undefined || current.mtime > file.finished) return lines.text(current)
    return lines.text(lines.lastReadSince(file.sinceMs) ?? current)
  }

  /** The backup (`data.csv~`) that stands beside a line, if an editor made one. */
  #backupOf(line: Line): bigint | undefined {
    return this.#options.scratch.references().find(id => id !== line.id && this.#lines.csv.get(id) !== undefined)
  }

  // --- the rest ------------------------------------------------------------------------------------------------------

  async space(): Promise<SpaceInfo> {
    return this.#guarded(async () => {
      const { bsize, blocks, bfree, bavail, files, ffree } = statfsSync(this.#options.stateDirectory, { bigint: true })
      return {
        totalBytes: bsize * blocks,
        freeBytes: bsize * bfree,
        availableBytes: bsize * bavail,
        totalFiles: files,
        freeFiles: ffree,
        availableFiles: ffree,
      }
    })
  }

  #newLines(format: TextFormat): Lines {
    const { database, table, segments, scratch, clock } = this.#options
    return new Lines({
      database,
      table,
      format,
      clock,
      nextId: () => scratch.nextId(),
      referenced: () => scratch.references(),
      openText: (snapshot, of, previous) => openText(table, snapshot, segments, of, previous),
      isEdited: line => line.format !== 'json' && this.#editorOf(line).editOf(line) !== undefined,
    })
  }

  #newEditor(format: 'csv' | 'jsonl'): Editor {
    const { table, segments, stateDirectory, clock, errors, scratch, holdTimes } = this.#options
    return new Editor({
      table,
      segments,
      lines: this.#lines[format],
      directory: join(stateDirectory, 'edits', format),
      clock,
      openText: (snapshot, previous) => openText(table, snapshot, segments, format, previous),
      report: sentence => errors.append(sentence),
      setAside: async image => {
        const stamp = new Date(clock.nowMs()).toISOString().replaceAll(':', '').replace('.', '-')
        const name = `data.${format}.rejected-${stamp}`
        const given = await scratch.adopt(DATA_ID, name, image)
        this.#touchData()
        return `data/${given}`
      },
      ...(holdTimes === undefined ? {} : { holdTimes }),
    })
  }

  #editorOf(line: Line): Editor {
    return line.format === 'jsonl' ? this.#editors.jsonl : this.#editors.csv
  }

  #lineOf(id: bigint): Line | undefined {
    return this.#lines.csv.get(id) ?? this.#lines.jsonl.get(id) ?? this.#lines.json.get(id)
  }

  #isScratch(node: Node): boolean {
    return (
      node.id !== ROOT_ID &&
      node.id !== DATA_ID &&
      node.id !== this.#queryId &&
      this.#lineOf(node.id) === undefined &&
      this.#parquet.byId(node.id) === undefined &&
      this.#generated.every(view => view.id !== node.id)
    )
  }

  #isWritable(node: Node): boolean {
    const line = this.#lineOf(node.id)
    if (line !== undefined) return line.format !== 'json'
    return (
      node.id === ROOT_ID ||
      node.id === DATA_ID ||
      node.id === this.#queryId ||
      node.id === ERRORS_ID ||
      this.#isScratch(node)
    )
  }

  #isViewName(directory: Node, name: string): boolean {
    if (directory.id === ROOT_ID)
      return name === 'data' || name === '.query' || this.#generated.some(view => view.name === name)
    if (directory.id !== DATA_ID) return false
    return DATA_VIEWS.some(view => view.name === name) || this.#parquet.byName(name) !== undefined
  }

  async #refresh(): Promise<Snapshot> {
    const snapshot = await this.#options.table.refresh()
    this.#parquet.update(snapshot)
    this.#noteVersion(snapshot.version)
    return snapshot
  }

  #noteVersion(version: bigint): void {
    if (version === this.#lastVersion) return
    this.#lastVersion = version
    this.#touchData()
  }

  #touchData(): void {
    this.#dataTime = this.#later(this.#dataTime)
  }

  #now(): bigint {
    return BigInt(this.#options.clock.nowMs()) * 1_000_000n
  }

  #later(than: bigint): bigint {
    const now = this.#now()
    return now > than ? now : than + 1n
  }

  #changing<T>(run: () => Promise<T>): Promise<T> {
    if (this.readOnly) return Promise.reject(new FsError('EROFS', 'the table is mounted read-only'))
    return this.#guarded(run)
  }

  /** Changes of names go one after the other: what one of them looks up must still hold when it acts. */
  #changingNames<T>(run: () => Promise<T>): Promise<T> {
    return this.#changing(() => this.#alone(run))
  }

  #alone<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#changed.then(run)
    this.#changed = result.catch(() => undefined)
    return result
  }

  #noteClient(): void {
    if (this.#clientSeen) return
    this.#clientSeen = true
    this.#editors.csv.clientSeen()
    this.#editors.jsonl.clientSeen()
  }

  /** Only FsErrors leave the file system; what else goes wrong is told in the log and in `.errors`. */
  async #guarded<T>(run: () => Promise<T>): Promise<T> {
    this.#noteClient()
    try {
      return await run()
    } catch (error) {
      if (error instanceof FsError) throw error
      const sentence = messageOf(error)
      this.#options.log(
        error instanceof LakeError ? sentence : `${sentence}\n${error instanceof Error ? error.stack : ''}`,
      )
      throw new FsError('EIO', sentence, { cause: error })
    }
  }
}

async function readText(text: Text, offset: bigint, count: number): Promise<{ bytes: Uint8Array; eof: boolean }> {
  const start = Math.min(sizeOf(offset), text.size)
  const end = Math.min(start + count, text.size)
  return { bytes: start === end ? new Uint8Array(0) : await text.read(start, end), eof: end === text.size }
}

function sizeOf(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new FsError('EFBIG', `${value} is beyond the largest file posixlake serves`)
  return Number(value)
}

function inDirectory(created: Created, directory: Node): Created {
  return { ...created, node: { id: created.node.id, frozen: directory.frozen } }
}

function isSilly(name: string): boolean {
  return name.startsWith('.nfs')
}

function checkName(name: string): void {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) {
    throw new FsError('EINVAL', `${JSON.stringify(name)} is no name for a file`)
  }
  if (Buffer.byteLength(name) > 255) throw new FsError('ENAMETOOLONG', 'a name has at most 255 bytes')
}

function noEntry(name: string): FsError {
  return new FsError('ENOENT', `there is no ${name}`)
}

function exists(name: string): FsError {
  return new FsError('EEXIST', `${name} exists`)
}

function viewStays(name: string): FsError {
  return new FsError('EACCES', `${name} is a view of the table and stays where it is`)
}

/** Changes when the machine was booted anew: only then may bytes that were answered UNSTABLE be lost (RFC 1813, writeverf3). */
function bootVerifier(): bigint {
  let boot = ''
  try {
    boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
  } catch {
    boot = String(Date.now() - Math.trunc(performance.now()))
  }
  return BigInt.asUintN(64, Bun.hash.wyhash(boot))
}
