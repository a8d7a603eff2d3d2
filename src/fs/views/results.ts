import type { TextFormatName } from '../../columns/text/formats/index.ts'
import { discarded } from '../../core/garbage.ts'
import { MODE, viewAttributes } from '../attributes.ts'
import { FsError, type Node, type TimeNs } from '../filesystem.ts'
import type { FileNode, NodeEntry } from '../tree/node.ts'
import type { ViewDefinition } from './context.ts'
import { FORMATS, keptName, partsOf, Result, type ResultsOptions, SQL_BYTES_MAX } from './result.ts'
import type { View } from './view.ts'

/** The size that a listing tells of a result that was never computed: sysfs does not run its files for `ls -l` either. */
const UNKNOWN_BYTES = 4096
/** So many results are kept; whichever was not used for longest goes first. */
const KEPT_MAX = 100
/** Handles of results, computed or not. */
const HANDLES_MAX = 10_000
/** For clients that keep names, an old result goes on being shown to who read from it within this time. */
const OLD_READ_MS = 5000
/** Of a cookie, for the place of the format in the list. */
const FORMAT_BITS = 8n
const NAMES_AT_ONCE = 1000

/** The SQL of a result; undefined: it is too long to be any. */
interface Asked {
  readonly sql: string | undefined
  readonly mtime: TimeNs
}

/** The results of the queries in the folder. */
export const queryResults: ViewDefinition['node'] = (context, { cookie }) => {
  const { scratch, tables, runSql, refresh, settledSnapshot, owner, now, clock, askers, errors } = context
  return new QueryResults(cookie, {
    scratch,
    run: async (sql, how) => {
      await tables.settled()
      return runSql(sql, how)
    },
    version: async () => (await refresh()).version,
    settledVersion: async () => (await settledSnapshot()).version,
    owner,
    now,
    nowMs: () => clock.nowMs(),
    watch: caller => askers.watch(caller),
    report: sentence => errors.append(sentence),
  })
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
class QueryResults implements View {
  readonly kind = 'file'
  /** Those of the results come behind it. */
  readonly cookie: bigint
  readonly #options: ResultsOptions
  /** The result that a name leads to, by `<folder id>/<name>`. */
  readonly #current = new Map<string, Result>()
  /** In the order of their last use. */
  readonly #byId = new Map<bigint, Result>()

  constructor(cookie: bigint, options: ResultsOptions) {
    this.cookie = cookie
    this.#options = options
  }

  /** A file of the user that has such a name already keeps it. */
  async reserves(name: string, { id }: Node): Promise<boolean> {
    return partsOf(name) !== undefined && (await found(this.#options.scratch.lookup(id, name))) === undefined
  }

  hides(): boolean {
    return false
  }

  refusal(name: string): FsError {
    return keptName(name)
  }

  async lookup(name: string, folder: Node): Promise<FileNode | undefined> {
    if (!(await this.reserves(name, folder))) return undefined
    const result = await this.#resultAt(folder.id, name, this.#options.version)
    return result && this.find({ ...folder, id: result.id })
  }

  /** Returns the result that a name leads to now; undefined if there is no query for it. */
  async #resultAt(folder: bigint, name: string, version: () => Promise<bigint>): Promise<Result | undefined> {
    const parts = partsOf(name)
    const asked = parts && (await this.#asked(folder, `${parts.base}.sql`))
    return asked && this.#resultOf(folder, name, parts.format, asked, await version())
  }

  async #asked(folder: bigint, name: string): Promise<Asked | undefined> {
    const { scratch } = this.#options
    const entry = await found(scratch.lookup(folder, name))
    if (entry?.attributes.type !== 'file') return undefined
    const { data, eof, attributes } = await scratch.read(entry.id, 0n, SQL_BYTES_MAX)
    return { sql: eof ? new TextDecoder().decode(Buffer.concat(data)) : undefined, mtime: attributes.mtime }
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

  async list(after: bigint, limit: number, { id: folder }: Node): Promise<NodeEntry[]> {
    const names = await this.#names(folder)
    const version = await this.#options.version()
    const entries: NodeEntry[] = []
    for (const [name, id] of names) {
      if (!name.endsWith('.sql')) continue
      for (const [i, format] of FORMATS.entries()) {
        const at = this.cookie | (id << FORMAT_BITS) | BigInt(i)
        const resultName = `${name.slice(0, -'.sql'.length)}.${format}`
        if (at <= after || names.has(resultName)) continue
        const result = await this.#resultAt(folder, resultName, async () => version)
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
      for (const { name, id } of entries) names.set(name, id)
      cookie = entries.at(-1)?.cookie ?? cookie
      more = !endOfDirectory
    }
    return names
  }

  find({ id, frozen }: Node): FileNode | undefined {
    const result = this.#byId.get(id)
    if (result === undefined || frozen) return result
    const { kind, isReported, name, writable } = result
    return {
      kind,
      isReported,
      id,
      name,
      writable,
      known: () => result.known(),
      attributes: async client => {
        await this.#checkCurrent(result)
        return result.attributes(client)
      },
      read: (offset, count, client) => result.read(offset, count, client),
      refusal: () => result.refusal(),
    }
  }

  /** A client that keeps names asks for the attributes when it opens the file: it must hear that the name leads elsewhere. */
  async #checkCurrent(result: Result): Promise<void> {
    const { folder, fileName } = result
    if ((await this.#resultAt(folder, fileName, this.#options.version)) === result) return
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

/** Returns what a look at a name finds; undefined if nothing is there. */
async function found<T>(look: Promise<T>): Promise<T | undefined> {
  try {
    return await look
  } catch (error) {
    if (error instanceof FsError && (error.code === 'ENOENT' || error.code === 'ESTALE')) return undefined
    throw error
  }
}
