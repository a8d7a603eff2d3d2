import { Unused } from './unused.ts'

/** Bytes of a key, a promise and a place in a map, roughly, without what is in them. */
const ENTRY_BYTES = 1024
const KEPT_SHARE = 63 / 64

interface RecentValue<T> {
  readonly value: Promise<T>
  /** The value, once it is made. */
  made: T | undefined
  /** undefined: it is being made. */
  bytes: number | undefined
  /** It was asked for since room was made: then it stays once more. To note that is cheaper than to keep all in order. */
  isUsed: boolean
  /** The mark of its last use, see Unused. */
  usedMark: number
}

/**
 * Values that take time to make, of which those that were used in the last minute stay at hand, as many as fit into a number of
 * bytes. What is being made is made once for all who ask; what failed is made anew for who asks next.
 */
export class Recent<T> {
  readonly #bytesMax: number
  readonly #bytesOf: (value: T) => number
  readonly #dropped: (bytes: number) => void
  readonly #entries = new Map<string, RecentValue<T>>()
  readonly #unused = new Unused(() => this.#dropUnused())
  #bytes = 0

  /** `bytesOf`: what a value takes. `dropped` hears of the bytes of what is not kept any more. */
  constructor(bytesMax: number, bytesOf: (value: T) => number, dropped: (bytes: number) => void = () => undefined) {
    this.#bytesMax = bytesMax
    this.#bytesOf = bytesOf
    this.#dropped = dropped
  }

  get size(): number {
    return this.#entries.size
  }

  /** True if a value is at hand, or being made. */
  has(key: string): boolean {
    return this.#entries.has(key)
  }

  /** The value of a key, if it is at hand: without the turn that a promise takes. */
  made(key: string): T | undefined {
    const known = this.#entries.get(key)
    if (known?.made === undefined) return undefined
    known.isUsed = true
    known.usedMark = this.#unused.use()
    return known.made
  }

  /** The value of a key; `make` is called if it is not at hand. */
  get(key: string, make: () => Promise<T>): Promise<T> {
    const usedMark = this.#unused.use()
    const known = this.#entries.get(key)
    if (known === undefined) return this.#keep(key, make(), usedMark)
    known.isUsed = true
    known.usedMark = usedMark
    return known.value
  }

  #keep(key: string, value: Promise<T>, usedMark: number): Promise<T> {
    const entry: RecentValue<T> = { value, made: undefined, bytes: undefined, isUsed: false, usedMark }
    this.#entries.set(key, entry)
    value.then(
      made => {
        entry.made = made
        entry.bytes = this.#bytesOf(made) + ENTRY_BYTES
        this.#bytes += entry.bytes
        this.#makeRoom(key)
      },
      () => this.#entries.delete(key),
    )
    return value
  }

  /** Drops all values that are made: none will be asked for any more. */
  close(): void {
    for (const [key, { bytes }] of this.#entries) if (bytes !== undefined) this.#drop(key, bytes)
    this.#unused.stop()
  }

  /** Drops the values that were not used lately, but none that is being made. */
  #dropUnused(): boolean {
    for (const [key, { bytes, usedMark }] of this.#entries)
      if (bytes !== undefined && this.#unused.isUnused(usedMark)) this.#drop(key, bytes)
    return this.#entries.size > 0
  }

  #drop(key: string, bytes: number): void {
    this.#entries.delete(key)
    this.#bytes -= bytes
    this.#dropped(bytes)
  }

  /**
   * The oldest go; what is being made stays, and so does what was asked for just now. Some more than must: a map that loses its
   * first entry each time is slow to find the next one.
   */
  #makeRoom(newest: string): void {
    if (this.#bytes <= this.#bytesMax) return
    const keptBytes = this.#bytesMax * KEPT_SHARE
    for (const [key, entry] of this.#entries) {
      if (this.#bytes <= keptBytes) return
      const { bytes, isUsed } = entry
      if (bytes === undefined || key === newest) continue
      if (!isUsed) {
        this.#drop(key, bytes)
        continue
      }
      entry.isUsed = false
      this.#entries.delete(key)
      this.#entries.set(key, entry)
    }
  }
}
