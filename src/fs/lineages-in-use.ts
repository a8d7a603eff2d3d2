import type { Clock } from '../core/clock.ts'
import type { Lineage } from './lineage.ts'

/** Of those whose handles are good, the ones used last are in memory, for as long as they are used. */
export const LINEAGES_IN_MEMORY = 32
const UNUSED_MS = 60_000
const SWEEP_MS = 15_000
/** A lineage in use is noted as used so often. */
const NOTED_MS = 3_600_000

export interface LineagesInUseOptions {
  readonly clock: Clock
  /** While this holds, a lineage stays in memory. */
  readonly isKept: (lineage: Lineage) => boolean
  /** Notes a lineage in the state database. */
  readonly save: (lineage: Lineage) => void
}

/** The lineages that are in memory for their use; the others are in the state database. */
export class LineagesInUse {
  readonly #options: LineagesInUseOptions
  /** The ones that were used last at the end. */
  readonly #inUse = new Map<bigint, Lineage>()
  /** Others that somebody still holds: no lineage is there twice. */
  readonly #held = new Map<bigint, WeakRef<Lineage>>()
  readonly #dropped = new FinalizationRegistry<bigint>(id => {
    if (this.#held.get(id)?.deref() === undefined) this.#held.delete(id)
  })
  #sweeping: Timer | undefined

  constructor(options: LineagesInUseOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#inUse.size
  }

  get ids(): bigint[] {
    return [...this.#inUse.keys()]
  }

  /** The lineage of an id, if it is in memory. */
  get(id: bigint): Lineage | undefined {
    return this.#inUse.get(id) ?? this.#held.get(id)?.deref()
  }

  /** A lineage is used. */
  use(lineage: Lineage): void {
    lineage.usedMs = this.#options.clock.nowMs()
    this.#inUse.delete(lineage.id)
    this.#inUse.set(lineage.id, lineage)
    this.#held.delete(lineage.id)
    this.#sweepLater()
  }

  #sweepLater(): void {
    if (this.#sweeping !== undefined || this.#inUse.size < 2) return
    this.#sweeping = setTimeout(() => {
      this.#sweeping = undefined
      this.sweep()
      this.#sweepLater()
    }, SWEEP_MS)
    this.#sweeping.unref()
  }

  /** Drops from memory what was not used for a minute, and what is too much. Called now and then by itself. */
  sweep(): void {
    const { clock, isKept, save } = this.#options
    const now = clock.nowMs()
    let left = this.#inUse.size
    for (const lineage of [...this.#inUse.values()]) {
      if (isKept(lineage)) continue
      try {
        if (now - lineage.usedMs > UNUSED_MS || left > LINEAGES_IN_MEMORY) {
          save(lineage)
          this.#drop(lineage)
          left--
        } else if (now - lineage.savedMs > NOTED_MS) save(lineage)
      } catch {
        // The state database cannot be written now: it stays, and is looked at again.
      }
    }
  }

  #drop(lineage: Lineage): void {
    lineage.text = undefined
    this.#inUse.delete(lineage.id)
    this.#held.set(lineage.id, new WeakRef(lineage))
    this.#dropped.register(lineage, lineage.id)
  }

  /** Nothing is written to the state database by itself any more. */
  close(): void {
    clearTimeout(this.#sweeping)
    this.#inUse.clear()
  }
}
