/**
 * A small view whose bytes are produced as a whole (`schema.sql`, `.stats`, `.errors`). GETATTR produces them, READ
 * gives what the last GETATTR measured, so that a size and the bytes behind it always belong together.
 */
export class GeneratedView {
  readonly name: string
  readonly id: bigint
  readonly #produce: () => Promise<Uint8Array>
  readonly #now: () => bigint
  #bytes: Uint8Array | undefined
  #mtime = 0n

  constructor(name: string, id: bigint, produce: () => Promise<Uint8Array>, now: () => bigint) {
    this.name = name
    this.id = id
    this.#produce = produce
    this.#now = now
  }

  /** Produces the bytes anew; their size and the time of their last change (ns). */
  async refresh(): Promise<{ size: number; mtime: bigint }> {
    const bytes = await this.#produce()
    if (this.#bytes === undefined || Buffer.compare(bytes, this.#bytes) !== 0) {
      const now = this.#now()
      this.#mtime = now > this.#mtime ? now : this.#mtime + 1n
      this.#bytes = bytes
    }
    return { size: bytes.length, mtime: this.#mtime }
  }

  /** The bytes that the last `refresh` measured. */
  async bytes(): Promise<Uint8Array> {
    if (this.#bytes === undefined) await this.refresh()
    return this.#bytes!
  }
}
