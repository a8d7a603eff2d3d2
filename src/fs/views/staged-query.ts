import { FsError } from '../filesystem.ts'
import { joined, type Text } from '../text/text.ts'

/** Of SQL in one statement. */
const QUERY_BYTES_MAX = 1 << 20
/** Clients write whole pages, and so some of what stands before. */
const WINDOW_BYTES_MAX = QUERY_BYTES_MAX + (1 << 16)

/**
 * The text that a save of `.query` has written, over what it was before: an answer, which may be much larger than SQL
 * ever is, and is never copied.
 */
export class StagedQuery {
  readonly #base: Text
  /** The bytes of the base that are left. */
  readonly #baseSize: number
  /** The bytes that were written, from `#start` on; what lies between two writes is in it, too. */
  readonly #start: number
  readonly #bytes: Uint8Array

  private constructor(base: Text, baseSize: number, start: number, bytes: Uint8Array) {
    this.#base = base
    this.#baseSize = baseSize
    this.#start = start
    this.#bytes = bytes
  }

  /** Over what is shown, nothing written yet. */
  static over(shown: Text): StagedQuery {
    return new StagedQuery(shown, shown.size, shown.size, new Uint8Array(0))
  }

  get size(): number {
    return Math.max(this.#baseSize, this.#start + this.#bytes.length)
  }

  get text(): Text {
    return { size: this.size, read: (start, end) => this.#read(start, end) }
  }

  /** Returns it as it is after a WRITE. FsError EFBIG. */
  async written(offset: number, bytes: Uint8Array): Promise<StagedQuery> {
    const isFirst = this.#bytes.length === 0 && this.#start <= this.#baseSize
    const start = isFirst ? offset : Math.min(this.#start, offset)
    const end = isFirst ? offset + bytes.length : Math.max(this.#start + this.#bytes.length, offset + bytes.length)
    if (end - start > WINDOW_BYTES_MAX || end - this.#base.size > QUERY_BYTES_MAX) throw tooLarge()
    const window = new Uint8Array(end - start)
    // A gap behind the end of a file reads as zeros.
    window.set(await this.#read(Math.min(start, this.size), Math.min(end, this.size)))
    window.set(bytes, offset - start)
    return new StagedQuery(this.#base, this.#baseSize, start, window)
  }

  /** Returns it with this size. FsError EFBIG. */
  async resized(size: number): Promise<StagedQuery> {
    if (size >= this.size) return size === this.size ? this : this.written(size - 1, new Uint8Array(1))
    const bytes = this.#bytes.subarray(0, Math.max(0, size - this.#start))
    return new StagedQuery(this.#base, Math.min(this.#baseSize, size), Math.min(this.#start, size), bytes)
  }

  /** The SQL that was meant: `>>` leaves the last answer in front of it. FsError EFBIG. */
  async sql(): Promise<string> {
    const shown = this.#base.size
    const isBehind = shown > 0 && this.#baseSize === shown && this.size > shown && (await this.#keepsBase())
    const start = isBehind ? shown : 0
    if (this.size - start > QUERY_BYTES_MAX) throw tooLarge()
    return new TextDecoder().decode(await this.#read(start, this.size))
  }

  /** True if what was written over the answer is what stood there. */
  async #keepsBase(): Promise<boolean> {
    const end = Math.min(this.#baseSize, this.#start + this.#bytes.length)
    if (this.#start >= end) return true
    const before = await this.#base.read(this.#start, end)
    return Buffer.compare(before, this.#bytes.subarray(0, end - this.#start)) === 0
  }

  async #read(start: number, end: number): Promise<Uint8Array> {
    const windowEnd = this.#start + this.#bytes.length
    const parts: Uint8Array[] = []
    for (let at = start; at < end; ) {
      const [until, part] =
        at >= this.#start && at < windowEnd
          ? [Math.min(end, windowEnd), this.#bytes]
          : [Math.min(end, at < this.#start ? this.#start : end), undefined]
      if (part !== undefined) parts.push(part.subarray(at - this.#start, until - this.#start))
      else parts.push(await this.#ofBase(at, until))
      at = until
    }
    return joined(parts)
  }

  /** Beyond the base there is nothing, which reads as zeros. */
  async #ofBase(start: number, end: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(end - start)
    const known = Math.min(end, this.#baseSize)
    if (start < known) bytes.set(await this.#base.read(start, known))
    return bytes
  }
}

function tooLarge(): FsError {
  return new FsError('EFBIG', `.query takes SQL of up to ${QUERY_BYTES_MAX} bytes`)
}
