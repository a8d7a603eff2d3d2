import type { TextFormatName } from '../../columns/text/formats/index.ts'
import { BoundedMap } from '../../core/bounded-map.ts'
import { messageOf } from '../../core/errors.ts'
import { discarded } from '../../core/garbage.ts'
import { SqlError } from '../../sql/errors.ts'
import { laterTime, MODE, type Owner, viewAttributes } from '../attributes.ts'
import {
  type Asker,
  type Attributes,
  type Caller,
  type Change,
  FsError,
  type Node,
  type Stability,
  type TimeNs,
} from '../filesystem.ts'
import { bytesText, type Text } from '../text/text.ts'
import { StagedQuery } from './staged-query.ts'
import { type ReadResult, readText, type ViewFile, type WriteResult } from './view.ts'

/** So many clients have a `.query` of their own at a time; whoever did not use it for longest loses it first. */
const FILES_MAX = 256
const EMPTY = bytesText(new Uint8Array(0))
/** Ids of `.query`'s files are told from all others, also those that an earlier server gave out. */
const ID_TAG = 1n << 60n

export interface RunSqlOptions {
  /** How rows are written; CSV if not given. */
  readonly format?: TextFormatName
  /** Refuse a statement that changes the table. */
  readonly readOnly?: boolean
  /** Ends the statement when nobody waits for it any more. */
  readonly signal?: AbortSignal | undefined
  /** What tells the call that it comes with from all others, and is the same when that is repeated. */
  readonly call?: string | undefined
}

/**
 * Runs SQL and gives its result as text (of a changing statement: its counts). Rejects with an Error whose message is the
 * engine's sentence.
 */
export type RunSql = (sql: string, options?: RunSqlOptions) => Promise<Text>

export interface QueryViewOptions {
  /** As RunSql; for who asked, with the rights of the export that it came through. */
  readonly run: (sql: string, asker: Asker) => Promise<Text>
  readonly owner: Owner
  /** Nanoseconds since the epoch. */
  readonly now: () => TimeNs
  readonly nextId: () => bigint
  /** A query failed, and the name has a new id. */
  readonly onRefused: () => void
}

/** An answer as it is shown. */
interface Answer {
  readonly text: Text
  readonly mtime: TimeNs
  /** Queries are counted in the order in which they were asked: an older one that takes longer is not the last. */
  readonly number: number
}

/**
 * The name `.query`: what is written is run as SQL when its save ends, what is read is the result as CSV. Each client of
 * each user has a file of its own behind the name, so that nobody gets another's answer: a client that asked nothing yet
 * is shown what its user was answered last. What NFS tells of a caller is its user and its connection. Programs of one
 * user in one mount share both, and thus one file.
 */
export class QueryView {
  readonly name = '.query'
  readonly #options: QueryViewOptions
  /** By user and connection. In the order of their last use; several connections can be of one client. */
  readonly #files = new Map<string, QueryFile>()
  readonly #lastOf = new BoundedMap<number | undefined, Answer>(FILES_MAX)
  readonly #none: Answer
  /** Smaller ones are of an earlier server. */
  readonly #firstId: bigint
  #asked = 0

  constructor(options: QueryViewOptions) {
    this.#options = { ...options, nextId: () => ID_TAG | options.nextId() }
    this.#firstId = this.#options.nextId()
    this.#none = { text: EMPTY, mtime: options.now(), number: 0 }
  }

  /** What the name leads to for a caller. */
  of(caller: Caller): QueryFile {
    const known = this.#files.get(keyOf(caller))
    return this.#use(caller, known ?? this.#newFile(caller.uid, this.#options.nextId()))
  }

  /**
   * What a handle stands for; undefined if it is none of `.query`'s. Where names are looked up for each open (frozen), a
   * handle comes from who looked it up, or from who inherited the open file. A client that keeps names would give one
   * user's file to the next: so there it is unknown to others, and the client looks the name up again.
   */
  file({ id, frozen, caller }: Node): QueryFile | undefined {
    for (const file of this.#files.values()) {
      if (file.id !== id) continue
      if (file.uid !== caller.uid) return frozen ? file : undefined
      // Handles do not travel between clients: this is a further connection of the same one.
      return this.#use(caller, file)
    }
    // A client repeats what it had written when the server ended. What that had answered before is lost.
    const isOld = id >= ID_TAG && id < this.#firstId
    return isOld ? this.#use(caller, this.#newFile(caller.uid, id, true)) : undefined
  }

  #newFile(uid: number | undefined, id: bigint, isLost = false): QueryFile {
    return new QueryFile(uid, id, {
      ...this.#options,
      isLost,
      number: () => ++this.#asked,
      lastOfUser: () => this.#lastOf.get(uid) ?? this.#none,
      onAnswer: answer => {
        if (answer.number >= (this.#lastOf.get(uid) ?? this.#none).number) this.#lastOf.set(uid, answer)
      },
    })
  }

  #use(caller: Caller, file: QueryFile): QueryFile {
    const key = keyOf(caller)
    this.#files.delete(key)
    this.#files.set(key, file)
    for (const oldest of this.#files.keys()) {
      if (this.#files.size <= FILES_MAX) break
      this.#files.delete(oldest)
    }
    return file
  }
}

function keyOf({ uid, connection }: Caller): string {
  return `${uid}/${connection}`
}

interface QueryFileOptions extends QueryViewOptions {
  /** It was another server's, and cannot be read until something was written. */
  readonly isLost: boolean
  readonly number: () => number
  readonly lastOfUser: () => Answer
  readonly onAnswer: (answer: Answer) => void
}

/** One client's `.query`. A failed query fails the write, and reading gives the sentence. */
export class QueryFile implements ViewFile {
  readonly name = '.query'
  readonly writable = true
  readonly uid: number | undefined
  readonly #options: QueryFileOptions
  #id: bigint
  #own: Answer | undefined
  /** The SQL of the save under way; undefined: none is. */
  #pending: StagedQuery | undefined
  #pendingMtime: TimeNs = 0n
  #isLost: boolean
  /** Writes take effect in the order of their arrival. */
  #staging: Promise<unknown> = Promise.resolve()

  constructor(uid: number | undefined, id: bigint, options: QueryFileOptions) {
    this.uid = uid
    this.#options = options
    this.#id = id
    this.#isLost = options.isLost
  }

  /** A new one after a query that failed: an error sticks to the client's inode. */
  get id(): bigint {
    return this.#id
  }

  async attributes(): Promise<Attributes> {
    return this.#attributesOf(this.#image())
  }

  async read(offset: bigint, count: number): Promise<ReadResult> {
    const image = this.#image()
    const attributes = this.#attributesOf(image)
    return { ...(await readText(image.text, offset, count)), attributes }
  }

  async truncate(size: number, before: Attributes): Promise<Change> {
    await this.#stage(staged => staged.resized(size))
    return { before, after: await this.attributes() }
  }

  /** Stages written bytes. Written behind the result that is shown, they are a query of their own. */
  async write(offset: number, bytes: Uint8Array, stability: Stability, asker: Asker): Promise<WriteResult> {
    this.#isLost = false
    const before = await this.attributes()
    await this.#stage(staged => staged.written(offset, bytes))
    const count = bytes.length
    if (stability === 'unstable') {
      return { count, committed: stability, change: { before, after: await this.attributes() } }
    }
    return { count, committed: 'file_sync', change: await this.commit(asker) }
  }

  /** Ends the save: runs what was written. Without attributes the client reads the result anew. */
  async commit(asker: Asker): Promise<Change> {
    try {
      await this.#finish(asker)
    } catch (error) {
      if (error instanceof FsError && error.code === 'EJUKEBOX') throw error
      this.#id = this.#options.nextId()
      this.#options.onRefused()
      throw error
    }
    return {}
  }

  /** `rm`: nothing is shown any more. */
  clear(): void {
    this.#pending = undefined
    this.#answer(EMPTY, this.#options.number())
  }

  #shown(): Answer {
    return this.#own ?? this.#options.lastOfUser()
  }

  /** What READ and GETATTR speak of. */
  #image(): Pick<Answer, 'text' | 'mtime'> {
    if (this.#isLost) throw new FsError('ESTALE', 'what this query was answered ended with the server that answered it')
    return this.#pending === undefined ? this.#shown() : { text: this.#pending.text, mtime: this.#pendingMtime }
  }

  #attributesOf({ text: { size }, mtime }: Pick<Answer, 'text' | 'mtime'>): Attributes {
    return viewAttributes(this.#options.owner, { id: this.#id, size, mtime, mode: MODE.file })
  }

  #stage(change: (staged: StagedQuery) => Promise<StagedQuery>): Promise<void> {
    const staging = this.#staging.then(async () => {
      this.#pending = await change(this.#pending ?? StagedQuery.over(this.#shown().text))
      this.#pendingMtime = this.#nextMtime()
    })
    this.#staging = staging.catch(() => undefined)
    return staging
  }

  #nextMtime(): TimeNs {
    const { now, lastOfUser } = this.#options
    return [this.#shown().mtime, lastOfUser().mtime, this.#pendingMtime].reduce(
      (time, than) => laterTime(time, than),
      now(),
    )
  }

  #answer(text: Text, number: number): void {
    if (number < (this.#own?.number ?? 0)) return
    // Its place on the disk is free when it is collected.
    discarded(this.#own?.text.size ?? 0)
    this.#own = { text, mtime: this.#nextMtime(), number }
    this.#options.onAnswer(this.#own)
  }

  /** Rejects with FsError: EINVAL if the engine refuses what was written. */
  async #finish(asker: Asker): Promise<void> {
    const pending = this.#pending
    if (pending === undefined) return
    const number = this.#options.number()
    const sql = await pending.sql()
    if (this.#pending === pending) this.#pending = undefined
    if (sql.trim() === '') return this.#answer(EMPTY, number)
    try {
      this.#answer(await this.#options.run(sql, asker), number)
    } catch (error) {
      const sentence = messageOf(error)
      const code = codeOf(error)
      // The client writes the same bytes again, over the same ones.
      if (code === 'EJUKEBOX') this.#pending ??= pending
      else this.#answer(bytesText(new TextEncoder().encode(`${sentence.trimEnd()}\n`)), number)
      throw new FsError(code, sentence, { cause: error })
    }
  }
}

/** A statement that is wrong is the user's to mend (EINVAL); what else fails is not (EIO), or may be known later (EJUKEBOX). */
export function codeOf(error: unknown): FsError['code'] {
  if (error instanceof FsError) return error.code
  if (!(error instanceof SqlError)) return 'EIO'
  if (error.code === 'undecided') return 'EJUKEBOX'
  return error.code === 'invalid_sql' || error.code === 'unsupported' ? 'EINVAL' : 'EIO'
}
