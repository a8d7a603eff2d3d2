import { readFileSync, statfsSync } from 'node:fs'
import { LakeError, messageOf } from '../core/errors.ts'
import type { Snapshot } from '../table/snapshot.ts'
import { Askers } from './askers.ts'
import { laterTime, MODE } from './attributes.ts'
import { DEFAULT_HOLD_TIMES, type Editor } from './edits/editor.ts'
import { fileClientOf } from './ends-of-file.ts'
import {
  type Access,
  type Asker,
  type Attributes,
  type Caller,
  type Change,
  type Created,
  type CreateHow,
  type DirectoryEntry,
  type Export,
  exportOf,
  type FileRef,
  type FileSystem,
  FsError,
  type Listing,
  type NewAttributes,
  type Node,
  type SpaceInfo,
  type Stability,
  type TimeNs,
} from './filesystem.ts'
import type { Line } from './lines.ts'
import { checkName, DATA_ID, exists, noEntry, RefusedChange, ROOT_ID, viewStays } from './names.ts'
import { Refusals } from './refusals.ts'
import type { Text } from './text/text.ts'
import { VersionTimes } from './version-times.ts'
import { ViewName } from './view-name.ts'
import { GeneratedView } from './views/generated.ts'
import { FIRST_PARQUET_ID, ParquetFiles } from './views/parquet.ts'
import { QueryView, type RunSql } from './views/query.ts'
import { QUERIES_NAME, QueryResults } from './views/results.ts'
import { TableView, type TableViewContext } from './views/table-view.ts'
import type { ReadResult, ViewFile, WriteResult } from './views/view.ts'

const SCHEMA_ID = 13n
const STATS_ID = 15n
const ERRORS_ID = 16n
/** Readdir cookies of names that stand for changing ids; scratch ids begin at 1,000. */
const COOKIE = { dot: 1n, dotDot: 2n, data: 3n, csv: 4n, json: 5n, jsonl: 6n, query: 7n } as const

export interface LakeFileSystemOptions extends TableViewContext {
  readonly runSql: RunSql
  /** Tells of statements that nobody waits for any more. */
  readonly askers?: Askers
  readonly renderSchema: (snapshot: Snapshot) => Uint8Array
  readonly renderStats: (snapshot: Snapshot) => Promise<Uint8Array>
  readonly log: (sentence: string) => void
}

/**
 * A Delta table as files: the views of the table, and the user's own files (scratch) beside them. See FileSystem for the
 * contract. Here names and ids are led to what they stand for; what happens then is theirs.
 */
export class LakeFileSystem implements FileSystem {
  readonly writeVerifier: bigint
  readonly #options: LakeFileSystemOptions
  /** In `data/`, in the order in which it lists them. */
  readonly #tableViews: readonly TableView[]
  /** The names of those that can be edited. */
  readonly #viewNames: readonly ViewName[]
  readonly #refusals: Refusals
  readonly #generated: readonly GeneratedView[]
  readonly #query: QueryView
  readonly #askers: Askers
  readonly #results: QueryResults
  readonly #parquet: ParquetFiles
  #dataTime: TimeNs
  #rootTime: TimeNs
  readonly #versions: VersionTimes
  #changed: Promise<unknown> = Promise.resolve()
  #clientSeen = false

  constructor(options: LakeFileSystemOptions) {
    this.#options = options
    this.writeVerifier = bootVerifier()
    const { owner, scratch, clock } = options
    this.#versions = new VersionTimes(clock)
    const now = (): TimeNs => this.#now()
    const onNames = (): void => this.#touchData()
    const events = {
      onNames,
      onVersion: (version: bigint): void => this.#noteVersion(version),
      leftMs: (version: bigint): number => this.#versions.leftMs(version),
      onRefused: (line: Line): void => {
        this.#touchData()
        for (const name of this.#viewNames) name.saveRefused(line)
      },
    }
    const csv = new TableView(options, { format: 'csv', waitsFor: [], ...events })
    const jsonl = new TableView(options, { format: 'jsonl', waitsFor: [csv], ...events })
    const json = new TableView(options, { format: 'json', waitsFor: [csv, jsonl], ...events })
    this.#tableViews = [csv, json, jsonl]
    this.#viewNames = this.#tableViews.flatMap(view =>
      view.editor === undefined ? [] : [this.#newViewName(view, view.editor, onNames)],
    )
    this.#refusals = new Refusals(options.errors, clock)
    const settled = async (): Promise<Snapshot> => {
      await this.settled()
      return this.#refresh()
    }
    this.#generated = [
      { name: 'schema.sql', id: SCHEMA_ID, produce: async () => options.renderSchema(await this.#refresh()) },
      { name: '.stats', id: STATS_ID, produce: async () => options.renderStats(await settled()) },
      {
        name: '.errors',
        id: ERRORS_ID,
        produce: async () => options.errors.render(),
        clear: () => {
          options.errors.clear()
          this.#refusals.reset()
        },
      },
    ].map(view => new GeneratedView({ ...view, owner, now }))
    this.#askers = options.askers ?? new Askers()
    const run: RunSql = async (sql, how) => {
      await this.settled()
      return options.runSql(sql, how)
    }
    this.#results = new QueryResults({
      scratch,
      run,
      version: async () => (await this.#refresh()).version,
      settledVersion: async () => (await settled()).version,
      owner,
      now,
      nowMs: () => options.clock.nowMs(),
      watch: caller => this.#askers.watch(caller),
      report: sentence => options.errors.append(sentence),
    })
    this.#query = new QueryView({
      owner,
      now,
      nextId: () => scratch.nextId(),
      run: (sql, asker) =>
        this.#forCaller(asker, signal =>
          run(sql, { signal, call: asker.call?.name, readOnly: asker.readOnly === true }),
        ),
      onRefused: () => {
        this.#rootTime = laterTime(now(), this.#rootTime)
      },
    })
    this.#parquet = new ParquetFiles(options.table.store, owner)
    this.#dataTime = now()
    this.#rootTime = now()
  }

  #newViewName(view: TableView, editor: Editor, onNames: () => void): ViewName {
    const { scratch, table, holdTimes, clock, log } = this.#options
    return new ViewName({
      view,
      editor,
      scratch,
      table,
      textOfLine: id => this.#textOfLine(id),
      times: holdTimes ?? DEFAULT_HOLD_TIMES,
      nowMs: () => clock.nowMs(),
      alone: run => this.#alone(run),
      onNames,
      log,
    })
  }

  async #textOfLine(id: bigint): Promise<Text | undefined> {
    for (const { lines } of this.#tableViews) {
      const line = lines.get(id)
      if (line !== undefined) return lines.text(line)
    }
    return undefined
  }

  /** Takes up what an earlier process left: held saves, and a view that was away. To be called before serving. */
  async recover(): Promise<void> {
    for (const { editor } of this.#tableViews) await editor?.recover()
    for (const name of this.#viewNames) await name.recover()
    await this.#makeQueries()
  }

  /** A folder that is the user's own, and there from the start: what is put into it has results. */
  async #makeQueries(): Promise<void> {
    try {
      await this.#options.scratch.mkdir(ROOT_ID, QUERIES_NAME, {})
    } catch (error) {
      if (!(error instanceof FsError && error.code === 'EEXIST')) throw error
    }
  }

  /** Resolves when no save is held any more. */
  async settled(): Promise<void> {
    for (const name of this.#viewNames) await name.settled()
    for (const { editor } of this.#tableViews) await editor?.settled()
  }

  /** Brings every held save to its end now, as nobody will write any more. */
  async finish(): Promise<void> {
    for (const name of this.#viewNames) await name.finish()
    for (const { editor } of this.#tableViews) await editor?.finish()
  }

  /** What is held, in sentences. */
  held(): string[] {
    const saves = this.#tableViews.flatMap(({ editor }) => editor?.held() ?? [])
    const away = this.#viewNames.filter(({ isAway }) => isAway).map(({ name }) => `${name} was renamed away`)
    return [...saves, ...away]
  }

  close(): void {
    for (const name of this.#viewNames) name.close()
    for (const { editor, lines } of this.#tableViews) {
      editor?.close()
      lines.close()
    }
    this.#options.scratch.close()
  }

  /** SQL that changes nothing is for everybody: the statement is bound by the export, not the file. */
  isAlwaysWritable(node: Node): boolean {
    return this.#query.file(node) !== undefined
  }

  root(through: Export): FileRef {
    return { id: ROOT_ID, ...exportOf(through) }
  }

  // --- attributes --------------------------------------------------------------------------------------------------

  async getattr(node: Node): Promise<Attributes> {
    return this.#guarded(() => this.#attributes(node))
  }

  async setattr(node: Node, changes: NewAttributes, guardCtime?: TimeNs): Promise<Change> {
    return this.#changing(this.#view(node), async () => {
      const before = await this.#knownAttributes(node)
      if (guardCtime !== undefined && before.ctime !== guardCtime) {
        throw new FsError('ENOTSYNC', 'the file changed since the client last looked at it')
      }
      const view = this.#view(node)
      if (view === undefined && !isFixedFolder(node)) return this.#options.scratch.setattr(node.id, changes, guardCtime)
      if (changes.size === undefined) return { before, after: before }
      return this.#truncate(node, changes.size, before)
    })
  }

  async #truncate(node: Node, size: bigint, before: Attributes): Promise<Change> {
    const view = this.#view(node)
    if (view?.truncate === undefined || !view.writable) throw readOnlyView(view)
    return view.truncate(offsetIn(view, size), before)
  }

  async access(node: Node): Promise<{ access: Access; attributes: Attributes }> {
    return this.#guarded(async () => {
      const attributes = await this.#attributes(node)
      const isFolder = attributes.type === 'directory'
      const view = this.#view(node)
      const writable = view?.writable ?? true
      const access = {
        read: true,
        lookup: isFolder,
        modify: writable,
        extend: writable,
        delete: writable && isFolder,
        execute: !isFolder && view === undefined,
      }
      return { access, attributes }
    })
  }

  /** The view that a file handle stands for; undefined for folders and the user's own files. */
  #view(node: Node): ViewFile | undefined {
    this.#noteClient(node)
    const { id } = node
    for (const view of this.#tableViews) {
      const file = view.file(node)
      if (file !== undefined) return file
    }
    const view = this.#query.file(node) ?? this.#generated.find(other => other.id === id)
    return view ?? this.#results.file(node) ?? this.#parquet.file(id)
  }

  async #attributes(node: Node): Promise<Attributes> {
    const { scratch } = this.#options
    if (node.id === ROOT_ID) return this.#folder(await scratch.getattr(ROOT_ID), this.#rootTime)
    if (node.id === DATA_ID) {
      await this.#refresh()
      return this.#folder(await scratch.getattr(DATA_ID), this.#dataTime)
    }
    return this.#view(node)?.attributes(node.caller) ?? scratch.getattr(node.id)
  }

  async #knownAttributes(node: Node): Promise<Attributes> {
    return this.#view(node)?.known?.() ?? this.#attributes(node)
  }

  #folder(scratch: Attributes, time: TimeNs): Attributes {
    const { uid, gid } = this.#options.owner
    const mtime = scratch.mtime > time ? scratch.mtime : time
    return { ...scratch, mode: MODE.directory, uid, gid, mtime, ctime: mtime }
  }

  // --- names -------------------------------------------------------------------------------------------------------

  async lookup(directory: Node, name: string): Promise<{ node: FileRef; attributes: Attributes }> {
    return this.#guarded(async () => {
      const node = await this.#find(directory, name)
      return { node, attributes: await this.#knownAttributes(node) }
    })
  }

  async #find(directory: Node, name: string): Promise<Node> {
    this.#noteClient(directory)
    const at = (id: bigint): Node => ({ ...directory, id })
    this.#checkFolder(directory)
    if (name === '.') return directory
    if (directory.id === ROOT_ID) {
      if (name === '..') return directory
      if (name === 'data') return at(DATA_ID)
      if (name === this.#query.name) return at(this.#query.of(directory.caller).id)
      const view = this.#generated.find(other => other.name === name)
      if (view !== undefined) return at(view.id)
    }
    if (directory.id === DATA_ID) {
      if (name === '..') return at(ROOT_ID)
      const view = this.#tableViews.find(other => other.name === name)
      if (view !== undefined) {
        if (view.away !== undefined) throw noEntry(name)
        return at((await view.open(directory.frozen)).id)
      }
      if (name.endsWith('.parquet')) {
        await this.#refresh()
        const file = this.#parquet.byName(name)
        if (file !== undefined) return at(file.id)
      }
    }
    try {
      return at((await this.#options.scratch.lookup(directory.id, name)).id)
    } catch (error) {
      const result = await this.#results.find(directory.id, name)
      if (result === undefined) throw error
      return at(result.id)
    }
  }

  /** FsError ENOTDIR for a view: its id is none of the scratch's, which would take it for a file that is gone. */
  #checkFolder(directory: Node): void {
    const view = this.#view(directory)
    if (view !== undefined) throw new FsError('ENOTDIR', `${view.name} is not a directory`)
  }

  /** In the order of the cookies: views, the user's own files, and in `data/` the Parquet files. */
  async readdir(directory: Node, cookie: bigint, limit: number): Promise<Listing> {
    return this.#guarded(async () => {
      this.#checkFolder(directory)
      const entries: DirectoryEntry[] = []
      let endOfDirectory = true
      if (cookie < FIRST_PARQUET_ID) {
        const fixed = cookie < COOKIE.dotDot ? await this.#dotEntries(directory) : []
        fixed.push(...(await this.#viewEntries(directory)))
        const own = await this.#options.scratch.readdir(directory.id, cookie, limit)
        entries.push(...fixed.filter(entry => entry.cookie > cookie))
        entries.push(...own.entries.map(entry => ({ ...entry, node: { ...directory, id: entry.node.id } })))
        entries.sort((a, b) => (a.cookie < b.cookie ? -1 : 1))
        endOfDirectory = own.endOfDirectory
      }
      if (endOfDirectory && entries.length <= limit)
        entries.push(...(await this.#lastEntries(directory, cookie, limit - entries.length + 1)))
      // What did not fit comes with the next call: entries are in cookie order, so cutting loses nothing.
      return {
        entries: entries.slice(0, limit),
        endOfDirectory: endOfDirectory && entries.length <= limit,
        verifier: 1n,
      }
    })
  }

  /** Entries whose cookies are above all others: results of queries, and Parquet files. */
  async #lastEntries(directory: Node, cookie: bigint, limit: number): Promise<DirectoryEntry[]> {
    const at = (id: bigint): Node => ({ ...directory, id })
    const results = await this.#results.list(directory.id, cookie, limit)
    const entries = results.map(({ id, ...entry }) => ({ ...entry, fileId: id, node: at(id) }))
    if (directory.id !== DATA_ID) return entries
    await this.#refresh()
    for (const { id, name } of this.#parquet.list(cookie, limit - entries.length)) {
      const attributes = await this.#attributes(at(id))
      entries.push({ name, fileId: id, cookie: id, node: at(id), attributes })
    }
    return entries
  }

  async #dotEntries(directory: Node): Promise<DirectoryEntry[]> {
    const parent = await this.#find(directory, '..')
    return Promise.all(
      [['.', directory, COOKIE.dot] as const, ['..', parent, COOKIE.dotDot] as const].map(
        async ([name, node, cookie]) => {
          const attributes = await this.#attributes(node)
          return { name, fileId: node.id, cookie, node, attributes }
        },
      ),
    )
  }

  async #viewEntries(directory: Node): Promise<DirectoryEntry[]> {
    const entry = async (name: string, id: bigint, cookie: bigint, known = true): Promise<DirectoryEntry> => {
      const node = { ...directory, id }
      return { name, fileId: id, cookie, node, attributes: known ? await this.#attributes(node) : undefined }
    }
    const isHeld = this.held().length > 0
    if (directory.id === ROOT_ID) {
      return Promise.all([
        entry('data', DATA_ID, COOKIE.data),
        entry(this.#query.name, this.#query.of(directory.caller).id, COOKIE.query),
        ...this.#generated.map(view => entry(view.name, view.id, view.id, !isHeld)),
      ])
    }
    if (directory.id !== DATA_ID) return []
    const entries: DirectoryEntry[] = []
    const { version } = await this.#refresh()
    for (const view of this.#tableViews) {
      if (view.away !== undefined) continue
      const line = view.isEdited ? await view.open(directory.frozen) : view.lines.peek()
      const { id } = line ?? (await view.open(directory.frozen))
      // Opening a text may mean rendering all of another writer's table: then the client asks for it by name.
      entries.push(await entry(view.name, id, COOKIE[view.format], line?.version === version && !isHeld))
    }
    return entries
  }

  // --- bytes -------------------------------------------------------------------------------------------------------

  async read(node: Node, offset: bigint, count: number): Promise<ReadResult> {
    return this.#guarded(() => {
      if (isFixedFolder(node)) throw new FsError('EISDIR', 'this is a directory')
      return this.#view(node)?.read(offset, count, node.caller) ?? this.#options.scratch.read(node.id, offset, count)
    })
  }

  async write(node: Node, offset: bigint, bytes: Uint8Array, stability: Stability): Promise<WriteResult> {
    return this.#changing(this.#view(node), () => {
      const view = this.#view(node)
      if (view === undefined) return this.#options.scratch.write(node.id, offset, bytes, stability)
      if (view.write === undefined) throw readOnlyView(view)
      return view.write(offsetIn(view, offset), bytes, stability, askerOf(node))
    })
  }

  async commit(node: Node, offset: bigint, count: number): Promise<Change> {
    return this.#changing(this.#view(node), async () => {
      const view = this.#view(node)
      if (view === undefined) return this.#options.scratch.commit(node.id, offset, count)
      return (await view.commit?.(askerOf(node))) ?? {}
    })
  }

  // --- changes of names ----------------------------------------------------------------------------------------------

  async create(directory: Node, name: string, how: CreateHow): Promise<Created> {
    return this.#changingNames([[directory, name]], async () => {
      checkName(name)
      const viewName = this.#viewName(directory, name)
      if (viewName !== undefined) return this.#createView(directory, viewName, how)
      if (isDataFolder(directory, name))
        throw how.kind === 'unchecked' ? new FsError('EISDIR', 'data is a directory') : exists(name)
      await this.#results.checkName(directory.id, name)
      if (!this.#isViewName(directory, name)) {
        return inDirectory(await this.#options.scratch.create(directory.id, name, how), directory)
      }
      if (how.kind !== 'unchecked') throw exists(name)
      const node = await this.#find(directory, name)
      if (how.attributes.size !== undefined) {
        await this.#truncate(node, how.attributes.size, await this.#attributes(node))
      }
      return { node, attributes: await this.#attributes(node), directory: {} }
    })
  }

  async #createView(directory: Node, name: ViewName, how: CreateHow): Promise<Created> {
    const before = await this.#attributes(directory)
    const line = await name.create(how, fileClientOf(directory))
    return {
      node: { ...exportOf(directory), id: line.id },
      attributes: await name.view.shownAttributes(line),
      directory: { before, after: await this.#attributes(directory) },
    }
  }

  async mkdir(directory: Node, name: string, attributes: NewAttributes): Promise<Created> {
    return this.#changingNames([[directory, name]], async () => {
      checkName(name)
      if (isDataFolder(directory, name)) throw exists(name)
      if (this.#isViewName(directory, name))
        throw new RefusedChange('EEXIST', `${name}: it is a view of the table, and no folder can have its name`)
      await this.#results.checkName(directory.id, name)
      return inDirectory(await this.#options.scratch.mkdir(directory.id, name, attributes), directory)
    })
  }

  async remove(directory: Node, name: string): Promise<Change> {
    return this.#changingNames([[directory, name]], async () => {
      checkName(name)
      const viewName = this.#viewName(directory, name)
      if (viewName !== undefined) return viewName.remove()
      if (directory.id === ROOT_ID && name === this.#query.name) {
        this.#query.of(directory.caller).clear()
        return {}
      }
      if (isDataFolder(directory, name)) throw new FsError('EISDIR', 'data is a directory')
      if (this.#isViewName(directory, name)) throw viewStays(name)
      if ((await this.#results.find(directory.id, name)) !== undefined)
        await this.#results.checkName(directory.id, name)
      return this.#options.scratch.remove(directory.id, name)
    })
  }

  async rmdir(directory: Node, name: string): Promise<Change> {
    return this.#changingNames([[directory, name]], async () => {
      checkName(name)
      if (isDataFolder(directory, name)) throw dataStays()
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
    const names = [
      [fromDirectory, fromName],
      [toDirectory, toName],
    ] as const
    const arrivedMs = this.#options.clock.nowMs()
    return this.#changingNames(names, async () => {
      checkName(fromName)
      checkName(toName)
      if ((await this.#results.find(fromDirectory.id, fromName)) !== undefined)
        await this.#results.checkName(fromDirectory.id, fromName)
      await this.#results.checkName(toDirectory.id, toName)
      const from = this.#viewName(fromDirectory, fromName)
      const to = this.#viewName(toDirectory, toName)
      if (from !== undefined && from === to) return { from: {}, to: {} }
      for (const [directory, name] of names) {
        if (isDataFolder(directory, name)) throw dataStays()
        if (this.#viewName(directory, name) === undefined && this.#isViewName(directory, name)) throw viewStays(name)
      }
      if (from !== undefined && to !== undefined) throw viewStays(fromName)
      if (from !== undefined) await from.renameAway(toDirectory, toName)
      else if (to !== undefined) await to.renameOnto(fromDirectory, fromName, arrivedMs)
      else return this.#options.scratch.rename(fromDirectory.id, fromName, toDirectory.id, toName)
      return { from: {}, to: {} }
    })
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

  /** The view that can be edited and has this name. */
  #viewName(directory: Node, name: string): ViewName | undefined {
    return directory.id === DATA_ID ? this.#viewNames.find(other => other.name === name) : undefined
  }

  #isViewName(directory: Node, name: string): boolean {
    if (directory.id === ROOT_ID) return [this.#query, ...this.#generated].some(view => view.name === name)
    if (directory.id !== DATA_ID) return false
    return this.#tableViews.some(view => view.name === name) || this.#parquet.byName(name) !== undefined
  }

  async #refresh(): Promise<Snapshot> {
    const snapshot = await this.#options.table.refresh()
    this.#parquet.update(snapshot)
    this.#noteVersion(snapshot.version)
    return snapshot
  }

  /** Runs something that may take long for as long as who asked for it wants it. */
  async #forCaller<T>(caller: Caller, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const asked = this.#askers.watch(caller)
    try {
      return await run(asked.signal)
    } finally {
      asked.end()
    }
  }

  #noteVersion(version: bigint): void {
    if (this.#versions.note(version)) this.#touchData()
  }

  #touchData(): void {
    this.#dataTime = laterTime(this.#now(), this.#dataTime)
  }

  #now(): bigint {
    return BigInt(this.#options.clock.nowMs()) * 1_000_000n
  }

  /** `view`: what is to be changed, if it is a view. Its refusal is told in `.errors`. */
  #changing<T>(view: ChangedView | undefined, run: () => Promise<T>): Promise<T> {
    return this.#guarded(async () => {
      try {
        return await run()
      } catch (error) {
        if (isRefusal(error, view)) this.#refusals.tell(sentenceOf(error, view))
        throw error
      }
    })
  }

  /** Changes of names go one after the other: what one of them looks up must still hold when it acts. */
  #changingNames<T>(names: readonly (readonly [Node, string])[], run: () => Promise<T>): Promise<T> {
    const [, name] = names.find(([directory, other]) => this.#isViewName(directory, other)) ?? []
    const view = name === undefined ? undefined : { name, tellsRefusals: true }
    return this.#changing(view, () => this.#alone(run))
  }

  #alone<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#changed.then(run)
    this.#changed = result.catch(() => undefined)
    return result
  }

  #noteClient({ caller }: Node): void {
    if (this.#clientSeen) return
    this.#clientSeen = true
    for (const { editor } of this.#tableViews) editor?.clientSeen(caller)
    for (const name of this.#viewNames) name.clientSeen()
  }

  /** Only FsErrors leave the file system; what else goes wrong is told in the log and in `.errors`. */
  async #guarded<T>(run: () => Promise<T>): Promise<T> {
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

function isDataFolder(directory: Node, name: string): boolean {
  return directory.id === ROOT_ID && name === 'data'
}

function askerOf({ caller, readOnly }: Node): Asker {
  return { ...caller, readOnly }
}

/** The folders that hold the views; a part of what they are is not the scratch's to say. */
function isFixedFolder({ id }: Node): boolean {
  return id === ROOT_ID || id === DATA_ID
}

type ChangedView = Pick<ViewFile, 'name' | 'tellsRefusals'>

/** Whether an error is the refusal of a change that a view's program meant, and nobody has told of it yet. */
function isRefusal(error: unknown, view: ChangedView | undefined): error is FsError {
  if (error instanceof RefusedChange) return true
  return error instanceof FsError && view !== undefined && view.tellsRefusals !== true && error.code !== 'ENOTSYNC'
}

/** A sentence that begins with the view's name, as that of a RefusedChange does. */
function sentenceOf(error: FsError, view: ChangedView | undefined): string {
  const { message } = error
  const isNamed = error instanceof RefusedChange || view === undefined || message.startsWith(`${view.name}: `)
  return isNamed ? message : `${view.name}: ${message}`
}

function readOnlyView(view: ViewFile | undefined): FsError {
  if (view === undefined) return new FsError('EISDIR', 'this is a directory')
  if (view.refusal !== undefined) return view.refusal()
  const message = view.writable
    ? `${view.name}: it can be emptied, and not written`
    : `${view.name}: it is read-only; write to data.csv or data.jsonl`
  return new RefusedChange('EACCES', message)
}

/** An offset or size in a view. */
function offsetIn(view: ViewFile, value: bigint): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value)
  throw new RefusedChange('EFBIG', `${view.name}: ${value} is beyond the largest file posixlake serves`)
}

function dataStays(): FsError {
  return new RefusedChange('EACCES', 'data: it is the folder of the views, and cannot be removed, renamed or replaced')
}

function inDirectory(created: Created, directory: Node): Created {
  return { ...created, node: { ...exportOf(directory), id: created.node.id } }
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
