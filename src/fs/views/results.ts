import { type TextFormatName, textFormats } from '../../columns/text/formats/index.ts'
import { messageOf } from '../../core/errors.ts'
import { discarded } from '../../core/garbage.ts'
import { SqlError } from '../../sql/errors.ts'
import { mayModify, parseStatements } from '../../sql/statement.ts'
import type { Watched } from '../askers.ts'
import { laterTime, MODE, type Owner, viewAttributes } from '../attributes.ts'
import { type Attributes, type Caller, FsError, type Node, type TimeNs } from '../filesystem.ts'
import { RefusedChange, ROOT_ID } from '../names.ts'
import type { Scratch } from '../scratch/scratch.ts'
import type { Text } from '../text/text.ts'
import { codeOf, type RunSql } from './query.ts'
import { type ReadResult, readText, type ViewFile } from './view.ts'

/** The folder's name, in the root. */
export const QUERIES_NAME = 'queries'
const FORMATS = textFormats.map(({ name }) => name)

const SQL_BYTES_MAX = 1 << 20
/** What a listing says of a result that was never computed: as sysfs does, which does not run its files for `ls -l` either. */
const UNKNOWN_BYTES = 4096
/** So many results are kept; whichever was not used for longest goes first. */
const KEPT_MAX = 100
/** Handles of results, computed or not. */
const HANDLES_MAX = 10_000
/** Where clients keep names, an old result goes on being shown to who read from it within this time. */
const OLD_READ_MS = 5000
/** Behind the ids of all other entries of a folder. */
const FIRST_COOKIE = 1n << 61n
/** Of a cookie, for the place of the format in the list. */
const FORMAT_BITS = 8n
const NAMES_AT_ONCE = 1000

export interface QueryResultsOptions {
  readonly scratch: Scratch
  readonly run: RunSql
  /** The table's newest version. */
  readonly version: () => Promise<bigint>
  /** As `version`, when no save is under way any more. */
  readonly settledVersion: () => Promise<bigint>
  readonly owner: Owner
  /** Nanoseconds since the epoch. */
  readonly now: () => TimeNs
  readonly nowMs: () => number
  /** Tells whether who made a call still wants the answer. */
  readonly watch: (caller: Caller) => Watched
  /** Takes the sentence for `.errors`. */
  readonly report: (sentence: string) => void
}

export interface ResultEntry {
  readonly name: string
  readonly cookie: bigint
  readonly id: bigint
  readonly attributes: Attributes
}

/** The SQL of a result; undefined: it is too long to be any. */
interface Asked {
  readonly sql: string | undefined
  readonly mtime: TimeNs
}

/**
 * The results in `queries/`: where the user's file NAME.sql is, NAME.csv, NAME.json and NAME.jsonl show what it finds in
 * the table as it is when they are opened. A file id stands for one statement on one version of the table, so that the
 * attributes and the bytes that a reader gets belong together; after a change the name leads to a new id.
 *
 * A query is run when its result is opened, not when it is looked at: LOOKUP and a listing tell the size of the last
 * result, and ACCESS, which only open(2) sends, GETATTR and READ wait for the new one. A new id makes sure that
 * the client knows no answer to ACCESS yet.
 */
export class QueryResults {
  readonly #options: QueryResultsOptions
  /** What a name leads to, by `<folder id>/<name>`. */
  readonly #current = new Map<string, Result>()
  /** In the order of their last use. */
  readonly #byId = new Map<bigint, Result>()

  constructor(options: QueryResultsOptions) {
    this.#options = options
  }

  /** Whether a folder is `queries/`. It is the user's own: it may be removed, and made again. */
  isFolder(id: bigint): boolean {
    const entry = this.#options.scratch.entryOf(id)
    return entry?.dirId === ROOT_ID && entry.name === QUERIES_NAME
  }

  /** FsError for a name in `queries/` that is kept for a result; a file of the user that has it already keeps it. */
  async checkName(folder: bigint, name: string): Promise<void> {
    const parts = this.isFolder(folder) ? partsOf(name) : undefined
    if (parts !== undefined && !(await this.#hasFile(folder, name))) throw keptName(name)
  }

  async #hasFile(folder: bigint, name: string): Promise<boolean> {
    return (await found(this.#options.scratch.lookup(folder, name))) !== undefined
  }

  /** What a name leads to now; undefined if there is no query for it. */
  async find(folder: bigint, name: string): Promise<ViewFile | undefined> {
    return this.isFolder(folder) ? this.#find(folder, name, this.#options.version) : undefined
  }

  async #find(folder: bigint, name: string, version: () => Promise<bigint>): Promise<Result | undefined> {
    const parts = partsOf(name)
    const asked = parts && (await this.#asked(folder, `${parts.base}.sql`))
    return asked && this.#resultOf(folder, name, parts.format, asked, await version())
  }

  async #asked(folder: bigint, name: string): Promise<Asked | undefined> {
    const { scratch } = this.#options
    const entry = await found(scratch.lookup(folder, name))
    if (entry?.attributes.type !== 'file') return undefined
    const { bytes, eof, attributes } = await scratch.read(entry.id, 0n, SQL_BYTES_MAX)
    return { sql: eof ? new TextDecoder().decode(bytes) : undefined, mtime: attributes.mtime }
  }

  #resultOf(folder: bigint, name: string, format: TextFormatName, asked: Asked, version: bigint): Result {
    const key = `${folder}/${name}`
    const known = this.#current.get(key)
    if (known?.isOf(asked.sql, version) === true) return known
    const { scratch, owner } = this.#options
    const result = new Result({
      ...this.#options,
      id: scratch.nextId(),
      folder,
      fileName: name,
      format,
      sql: asked.sql,
      before:
        known?.known() ??
        viewAttributes(owner, { id: 0n, size: UNKNOWN_BYTES, mtime: asked.mtime, mode: MODE.readOnly }),
      onUse: used => this.#use(used),
      onComputed: () => this.#forgetOldest(),
    })
    this.#current.set(key, result)
    this.#use(result)
    this.#forgetOldest()
    return result
  }

  /** The results that a listing of `queries/` has behind `cookie`, at most `limit`. */
  async list(folder: bigint, cookie: bigint, limit: number): Promise<ResultEntry[]> {
    if (!this.isFolder(folder)) return []
    const names = await this.#names(folder)
    const version = await this.#options.version()
    const entries: ResultEntry[] = []
    for (const [name, id] of names) {
      if (!name.endsWith('.sql')) continue
      for (const [i, format] of FORMATS.entries()) {
        const at = FIRST_COOKIE | (id << FORMAT_BITS) | BigInt(i)
        const resultName = `${name.slice(0, -'.sql'.length)}.${format}`
        if (at <= cookie || names.has(resultName)) continue
        const result = await this.#find(folder, resultName, async () => version)
        if (result === undefined) continue
        entries.push({ name: resultName, cookie: at, id: result.id, attributes: result.known() })
        if (entries.length === limit) return entries
      }
    }
    return entries
  }

  /** The names of the user's files in a folder with their ids, in the order of these. */
  async #names(folder: bigint): Promise<Map<string, bigint>> {
    const names = new Map<string, bigint>()
    for (let cookie = 0n, more = true; more; ) {
      const { entries, endOfDirectory } = await this.#options.scratch.readdir(folder, cookie, NAMES_AT_ONCE)
      for (const { name, fileId } of entries) names.set(name, fileId)
      cookie = entries.at(-1)?.cookie ?? cookie
      more = !endOfDirectory
    }
    return names
  }

  /** What a handle stands for; undefined if it is none of a result's. */
  file({ id, frozen }: Node): ViewFile | undefined {
    const result = this.#byId.get(id)
    if (result === undefined || frozen) return result
    return {
      id,
      name: result.name,
      writable: false,
      known: () => result.known(),
      attributes: async caller => {
        await this.#checkCurrent(result)
        return result.attributes(caller)
      },
      read: (offset, count, caller) => result.read(offset, count, caller),
      refusal: () => result.refusal(),
    }
  }

  /** A client that keeps names asks for the attributes when it opens the file: it must hear that the name leads elsewhere. */
  async #checkCurrent(result: Result): Promise<void> {
    const { folder, fileName } = result
    if ((await this.#find(folder, fileName, this.#options.version)) === result) return
    if (this.#options.nowMs() - result.lastReadMs <= OLD_READ_MS) return
    throw new FsError('ESTALE', `${result.name} has a newer result`)
  }

  #use(result: Result): void {
    this.#byId.delete(result.id)
    this.#byId.set(result.id, result)
  }

  #forgetOldest(): void {
    let kept = 0
    for (const { isComputed } of this.#byId.values()) if (isComputed) kept++
    for (const [id, old] of this.#byId) {
      if (kept <= KEPT_MAX && this.#byId.size <= HANDLES_MAX) break
      if (old.isRunning || (!old.isComputed && this.#byId.size <= HANDLES_MAX)) continue
      if (old.isComputed) kept--
      // Its place on the disk is free when it is collected.
      discarded(Number(old.known().size))
      this.#byId.delete(id)
      const key = `${old.folder}/${old.fileName}`
      if (this.#current.get(key) === old) this.#current.delete(key)
    }
  }
}

interface ResultOptions extends QueryResultsOptions {
  readonly id: bigint
  readonly folder: bigint
  readonly fileName: string
  readonly format: TextFormatName
  readonly sql: string | undefined
  /** What the name showed before: told until the result is there. */
  readonly before: Attributes
  readonly onUse: (result: Result) => void
  readonly onComputed: () => void
}

interface Computed {
  readonly text: Text
  readonly attributes: Attributes
}

interface Running {
  readonly computed: Promise<Computed>
  readonly ending: AbortController
  /** How many wait for it. */
  waiting: number
}

/** One statement on one version of the table, as a file in one format. */
class Result implements ViewFile {
  readonly id: bigint
  readonly folder: bigint
  readonly fileName: string
  /** As people call it. */
  readonly name: string
  readonly writable = false
  lastReadMs = Number.NEGATIVE_INFINITY
  readonly #options: ResultOptions
  /** Of the table; undefined as long as nobody has asked for the result. */
  #version: bigint | undefined
  #running: Running | undefined
  #computed: Computed | undefined

  constructor(options: ResultOptions) {
    this.#options = options
    this.id = options.id
    this.folder = options.folder
    this.fileName = options.fileName
    this.name = `${QUERIES_NAME}/${options.fileName}`
  }

  get isComputed(): boolean {
    return this.#computed !== undefined
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  /** Whether this is, or will be, the result of a statement on a version of the table. */
  isOf(sql: string | undefined, version: bigint): boolean {
    return this.#options.sql === sql && (this.#version === undefined || this.#version === version)
  }

  known(): Attributes {
    return this.#computed?.attributes ?? { ...this.#options.before, fileId: this.id }
  }

  async attributes(caller: Caller): Promise<Attributes> {
    return (await this.#compute(caller)).attributes
  }

  async read(offset: bigint, count: number, caller: Caller): Promise<ReadResult> {
    const { text, attributes } = await this.#compute(caller)
    this.lastReadMs = this.#options.nowMs()
    return { ...(await readText(text, offset, count)), attributes }
  }

  refusal(): RefusedChange {
    return keptName(this.fileName)
  }

  /**
   * All who ask meanwhile wait for one run, which ends when none of them wants it any more; one that failed is tried again
   * by the next who asks.
   */
  async #compute(caller: Caller): Promise<Computed> {
    this.#options.onUse(this)
    for (;;) {
      if (this.#computed !== undefined) return this.#computed
      const running = this.#running ?? this.#start()
      // One that is being ended is nobody's any more.
      if (!running.ending.signal.aborted) return this.#wait(running, caller)
      await running.computed.catch(() => undefined)
    }
  }

  #start(): Running {
    const ending = new AbortController()
    const computed = this.#run(ending.signal).finally(() => {
      this.#running = undefined
      this.#options.onComputed()
    })
    this.#running = { computed, ending, waiting: 0 }
    return this.#running
  }

  async #wait(running: Running, caller: Caller): Promise<Computed> {
    const asked = this.#options.watch(caller)
    running.waiting++
    const leave = (): void => {
      if (--running.waiting === 0) running.ending.abort()
    }
    asked.signal.addEventListener('abort', leave, { once: true })
    if (asked.signal.aborted) leave()
    try {
      return await running.computed
    } finally {
      asked.signal.removeEventListener('abort', leave)
      asked.end()
    }
  }

  async #run(signal: AbortSignal): Promise<Computed> {
    const { settledVersion, run, format, report } = this.#options
    try {
      const sql = this.#checkedSql()
      // A commit between this and the run makes the next reader run it once more than needed, and nobody see an old result.
      this.#version = await settledVersion()
      const text = await run(sql, { format, readOnly: true, signal })
      const computed = { text, attributes: this.#attributesOf(text) }
      this.#computed = computed
      return computed
    } catch (error) {
      this.#version = undefined
      const sentence = `${this.name}: ${messageOf(error).trimEnd()}`
      // Whoever gave up knows of it.
      if (!signal.aborted) report(sentence)
      throw new FsError(codeOf(error), sentence, { cause: error })
    }
  }

  /** Reading a file must not change the table. */
  #checkedSql(): string {
    const { sql } = this.#options
    if (sql === undefined) throw new FsError('EFBIG', `a query has at most ${SQL_BYTES_MAX} bytes`)
    for (const { statement } of mayModify(sql) ? parseStatements(sql) : []) {
      const kind = statement?.kind
      if (kind === undefined || kind === 'query') continue
      throw new SqlError(
        'unsupported',
        `${kind.toUpperCase()} is refused here, as reading a file must not change the table; write the statement to .query`,
      )
    }
    return sql
  }

  #attributesOf({ size }: Text): Attributes {
    const { owner, now, before } = this.#options
    return viewAttributes(owner, { id: this.id, size, mtime: laterTime(now(), before.mtime), mode: MODE.readOnly })
  }
}

function keptName(name: string): RefusedChange {
  const query = `${QUERIES_NAME}/${partsOf(name)?.base}.sql`
  return new RefusedChange(
    'EACCES',
    `${QUERIES_NAME}/${name}: the name is kept for the result of ${query}, and cannot be written, removed or renamed; change the query, and put other files elsewhere`,
  )
}

function partsOf(name: string): { base: string; format: TextFormatName } | undefined {
  const format = FORMATS.find(ending => name.endsWith(`.${ending}`))
  if (format === undefined || name.length === format.length + 1) return undefined
  return { base: name.slice(0, -format.length - 1), format }
}

/** What a look at a name finds; undefined if nothing is there. */
async function found<T>(look: Promise<T>): Promise<T | undefined> {
  try {
    return await look
  } catch (error) {
    if (error instanceof FsError && (error.code === 'ENOENT' || error.code === 'ESTALE')) return undefined
    throw error
  }
}
