import { messageOf } from '../../core/errors.ts'
import type { ResultFormat } from '../../sql/format.ts'
import { laterTime, MODE, type Owner, viewAttributes } from '../attributes.ts'
import {
  type Attributes,
  type Caller,
  type Change,
  FsError,
  type Node,
  type Stability,
  type TimeNs,
} from '../filesystem.ts'
import { bytesText, type Text } from '../text/text.ts'
import { type ReadResult, readText, type ViewFile, type WriteResult } from './view.ts'

const QUERY_BYTES_MAX = 1 << 20
/** So many clients have a `.query` of their own at a time; whoever did not use it for longest loses it first. */
const FILES_MAX = 256
const EMPTY_BYTES = new Uint8Array(0)
const EMPTY = bytesText(EMPTY_BYTES)

export interface RunSqlOptions {
  /** How rows are written; CSV if not given. */
  readonly format?: ResultFormat
  /** Refuse a statement that changes the table. */
  readonly readOnly?: boolean
  readonly signal?: AbortSignal
}

/**
 * Runs SQL and gives its result as text (of a changing statement: its counts). Rejects with an Error whose message is the
 * engine's sentence.
 */
export type RunSql = (sql: string, options?: RunSqlOptions) => Promise<Text>

export interface QueryViewOptions {
  readonly run: RunSql
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
  readonly #lastOf = new Map<number | undefined, Answer>()
  readonly #none: Answer
  #asked = 0

  constructor(options: QueryViewOptions) {
    this.#options = options
    this.#none = { text: EMPTY, mtime: options.now(), number: 0 }
  }

  /** What the name leads to for a caller. */
  of(caller: Caller): QueryFile {
    const known = this.#files.get(keyOf(caller))
    return this.#use(caller, known ?? this.#newFile(caller.uid))
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
    return undefined
  }

  #newFile(uid: number | undefined): QueryFile {
    return new QueryFile(uid, {
      ...this.#options,
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
  #pending: Uint8Array | undefined
  #pendingMtime: TimeNs = 0n

  constructor(uid: number | undefined, options: QueryFileOptions) {
    this.uid = uid
    this.#options = options
    this.#id = options.nextId()
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
    if (size > QUERY_BYTES_MAX) throw tooLarge()
    this.#stage(resized(this.#pending ?? EMPTY_BYTES, size))
    return { before, after: await this.attributes() }
  }

  /** Stages written bytes. Written behind the result that is shown, they are a query of their own. */
  async write(offset: number, bytes: Uint8Array, stability: Stability): Promise<WriteResult> {
    const before = await this.attributes()
    const end = offset + bytes.length
    const { text } = this.#shown()
    if (end > QUERY_BYTES_MAX + text.size) throw tooLarge()
    const shown = this.#pending === undefined ? await text.read(0, Math.min(text.size, end)) : EMPTY_BYTES
    // Another WRITE may have come meanwhile.
    const image = this.#pending ?? shown
    const pending = resized(image, Math.max(image.length, end))
    pending.set(bytes, offset)
    this.#stage(pending)
    const count = bytes.length
    if (stability === 'unstable') {
      return { count, committed: stability, change: { before, after: await this.attributes() } }
    }
    return { count, committed: 'file_sync', change: await this.commit() }
  }

  /** Ends the save: runs what was written. Without attributes the client reads the result anew. */
  async commit(): Promise<Change> {
    try {
      await this.#finish()
    } catch (error) {
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
    return this.#pending === undefined ? this.#shown() : { text: bytesText(this.#pending), mtime: this.#pendingMtime }
  }

  #attributesOf({ text: { size }, mtime }: Pick<Answer, 'text' | 'mtime'>): Attributes {
    return viewAttributes(this.#options.owner, { id: this.#id, size, mtime, mode: MODE.file })
  }

  #stage(bytes: Uint8Array): void {
    this.#pendingMtime = this.#nextMtime()
    this.#pending = bytes
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
    this.#own = { text, mtime: this.#nextMtime(), number }
    this.#options.onAnswer(this.#own)
  }

  /** Rejects with FsError EINVAL if the engine refuses what was written. */
  async #finish(): Promise<void> {
    const pending = this.#pending
    if (pending === undefined) return
    const number = this.#options.number()
    const sql = await this.#sqlOf(pending)
    if (this.#pending === pending) this.#pending = undefined
    if (sql.trim() === '') return this.#answer(EMPTY, number)
    try {
      this.#answer(await this.#options.run(sql), number)
    } catch (error) {
      const sentence = messageOf(error)
      this.#answer(bytesText(new TextEncoder().encode(`${sentence.trimEnd()}\n`)), number)
      throw new FsError('EINVAL', sentence, { cause: error })
    }
  }

  /** `>>` leaves the result of the last query in front of the new one. */
  async #sqlOf(pending: Uint8Array): Promise<string> {
    const { text } = this.#shown()
    const { size } = text
    if (
      size > 0 &&
      pending.length > size &&
      Buffer.compare(await text.read(0, size), pending.subarray(0, size)) === 0
    ) {
      return new TextDecoder().decode(pending.subarray(size))
    }
    return new TextDecoder().decode(pending)
  }
}

function tooLarge(): FsError {
  return new FsError('EFBIG', `.query takes SQL of up to ${QUERY_BYTES_MAX} bytes`)
}

function resized(bytes: Uint8Array, size: number): Uint8Array {
  const image = new Uint8Array(size)
  image.set(bytes.subarray(0, size))
  return image
}
