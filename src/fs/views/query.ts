import { messageOf } from '../../core/errors.ts'
import type { ResultFormat } from '../../sql/format.ts'
import { laterTime, MODE, type Owner, viewAttributes } from '../attributes.ts'
import { type Attributes, type Caller, type Change, FsError, type Stability } from '../filesystem.ts'
import { bytesText, type Text } from '../text/text.ts'
import { type ReadResult, readText, type ViewFile, type WriteResult } from './view.ts'

const QUERY_BYTES_MAX = 1 << 20

export interface RunSqlOptions {
  /** How rows are written; CSV if not given. */
  readonly format?: ResultFormat
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
  /** As RunSql; for who asked. */
  readonly run: (sql: string, caller: Caller) => Promise<Text>
  readonly owner: Owner
  /** Nanoseconds since the epoch. */
  readonly now: () => bigint
  readonly nextId: () => bigint
  /** A query failed, and the name has a new id. */
  readonly onRefused: () => void
}

/**
 * `.query`: what is written is run as SQL when its save ends, what is read is the result as CSV. A failed query fails
 * the write, and reading gives the sentence.
 */
export class QueryView implements ViewFile {
  readonly name = '.query'
  readonly writable = true
  readonly #options: QueryViewOptions
  #id: bigint
  #mtime: bigint
  #shown: Text = bytesText(new Uint8Array(0))
  /** The SQL of the save under way; undefined: none is. */
  #pending: Uint8Array | undefined

  constructor(options: QueryViewOptions) {
    this.#options = options
    this.#id = options.nextId()
    this.#mtime = options.now()
  }

  /** The id that the name leads to: a new one after a query that failed. */
  get id(): bigint {
    return this.#id
  }

  async attributes(): Promise<Attributes> {
    const { size } = this.#text()
    return viewAttributes(this.#options.owner, { id: this.#id, size, mtime: this.#mtime, mode: MODE.file })
  }

  read(offset: bigint, count: number): Promise<ReadResult> {
    return readText(this.#text(), offset, count)
  }

  async truncate(size: number, before: Attributes): Promise<Change> {
    if (size > QUERY_BYTES_MAX) throw tooLarge()
    this.#pending = resized(this.#pending ?? new Uint8Array(0), size)
    this.#touch()
    return { before, after: await this.attributes() }
  }

  /** Stages written bytes. Written behind the result that is shown, they are a query of their own. */
  async write(offset: number, bytes: Uint8Array, stability: Stability, caller: Caller): Promise<WriteResult> {
    const before = await this.attributes()
    const end = offset + bytes.length
    if (end > QUERY_BYTES_MAX + this.#shown.size) throw tooLarge()
    const image = this.#pending ?? (await this.#shown.read(0, Math.min(this.#shown.size, end)))
    this.#pending = resized(image, Math.max(image.length, end))
    this.#pending.set(bytes, offset)
    this.#touch()
    const count = bytes.length
    if (stability === 'unstable') {
      return { count, committed: stability, change: { before, after: await this.attributes() } }
    }
    return { count, committed: 'file_sync', change: await this.commit(caller) }
  }

  /** Ends the save: runs what was written. Without attributes the client reads the result anew. */
  async commit(caller: Caller): Promise<Change> {
    try {
      await this.#finish(caller)
    } catch (error) {
      // An error sticks to the client's inode; a new handle for the name lets the next query start clean.
      this.#id = this.#options.nextId()
      this.#options.onRefused()
      throw error
    } finally {
      this.#touch()
    }
    return {}
  }

  /** `rm`: nothing is shown any more. */
  clear(): void {
    this.#pending = undefined
    this.#shown = bytesText(new Uint8Array(0))
    this.#touch()
  }

  /** What READ and GETATTR speak of. */
  #text(): Text {
    return this.#pending === undefined ? this.#shown : bytesText(this.#pending)
  }

  #touch(): void {
    this.#mtime = laterTime(this.#options.now(), this.#mtime)
  }

  /** Rejects with FsError EINVAL if the engine refuses what was written. */
  async #finish(caller: Caller): Promise<void> {
    const pending = this.#pending
    if (pending === undefined) return
    const sql = await this.#sqlOf(pending)
    this.#pending = undefined
    if (sql.trim() === '') {
      this.#shown = bytesText(new Uint8Array(0))
      return
    }
    try {
      this.#shown = await this.#options.run(sql, caller)
    } catch (error) {
      const sentence = messageOf(error)
      this.#shown = bytesText(new TextEncoder().encode(`${sentence.trimEnd()}\n`))
      throw new FsError('EINVAL', sentence, { cause: error })
    }
  }

  /** `>>` leaves the result of the last query in front of the new one. */
  async #sqlOf(pending: Uint8Array): Promise<string> {
    const { size } = this.#shown
    if (
      size > 0 &&
      pending.length > size &&
      Buffer.compare(await this.#shown.read(0, size), pending.subarray(0, size)) === 0
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
