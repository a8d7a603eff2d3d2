import { messageOf } from '../../core/errors.ts'
import { FsError } from '../filesystem.ts'
import type { Text } from '../text/text.ts'

const QUERY_BYTES_MAX = 1 << 20

/** Runs SQL and gives its result as CSV (of a changing statement: its counts). Rejects with an Error whose message is the engine's sentence. */
export type RunSql = (sql: string) => Promise<Text>

/**
 * `.query`: what is written is run as SQL when its save ends, what is read is the result as CSV. A failed query fails
 * the write, and reading gives the sentence.
 */
export class QueryView {
  readonly #run: RunSql
  #shown: Text = bytesText(new Uint8Array(0))
  /** The SQL of the save under way; undefined: none is. */
  #pending: Uint8Array | undefined

  constructor(run: RunSql) {
    this.#run = run
  }

  /** The size READ and GETATTR speak of. */
  get size(): number {
    return this.#pending === undefined ? this.#shown.size : this.#pending.length
  }

  /** [start, end) lies within `size`. */
  async read(start: number, end: number): Promise<Uint8Array> {
    return this.#pending === undefined ? this.#shown.read(start, end) : this.#pending.slice(start, end)
  }

  truncate(size: number): void {
    this.#pending = resized(this.#pending ?? new Uint8Array(0), size)
  }

  /** Stages written bytes. Written behind the result that is shown, they are a query of their own. */
  async write(offset: number, bytes: Uint8Array): Promise<void> {
    if (offset + bytes.length > QUERY_BYTES_MAX + this.#shown.size) {
      throw new FsError('EFBIG', `.query takes SQL of up to ${QUERY_BYTES_MAX} bytes`)
    }
    const before = this.#pending ?? (await this.#shown.read(0, Math.min(this.#shown.size, offset + bytes.length)))
    const image = resized(before, Math.max(before.length, offset + bytes.length))
    image.set(bytes, offset)
    this.#pending = image
  }

  /** Ends the save: runs what was written. Rejects with FsError EINVAL if the engine refuses it. */
  async finish(): Promise<void> {
    const pending = this.#pending
    if (pending === undefined) return
    const sql = await this.#sqlOf(pending)
    this.#pending = undefined
    if (sql.trim() === '') {
      this.#shown = bytesText(new Uint8Array(0))
      return
    }
    try {
      this.#shown = await this.#run(sql)
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

function resized(bytes: Uint8Array, size: number): Uint8Array {
  const image = new Uint8Array(size)
  image.set(bytes.subarray(0, size))
  return image
}

/** Bytes in memory as a text. */
export function bytesText(bytes: Uint8Array): Text {
  return { size: bytes.length, read: async (start, end) => bytes.subarray(start, end) }
}
