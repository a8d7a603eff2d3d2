import { isStoreAway } from './errors.ts'
import { withinMs } from './limit.ts'

/** So long whoever asks waits for a look; then it has what is known, and the look goes on behind its back. */
const PATIENCE_MS = 1500

/** For what changes elsewhere, and costs too much to be looked at each time: when it was looked at last. */
export class Freshness {
  readonly #forMs: number
  #lookedMs = performance.now()
  /** When the look began that is under way. */
  #lookingMs: number | undefined

  /** Begins fresh. `forMs`: the time for which a look counts; 0: it does not. */
  constructor(forMs = 0) {
    this.#forMs = forMs
  }

  /** Notes that it is fresh again. `sinceMs`: the begin of the look, by performance.now(). */
  looked(sinceMs = performance.now()): void {
    this.#lookedMs = sinceMs
  }

  /** Runs a look; if it goes well, it counts from its begin. */
  async looking<T>(look: () => Promise<T>): Promise<T> {
    const sinceMs = performance.now()
    this.#lookingMs ??= sinceMs
    try {
      const found = await look()
      this.looked(sinceMs)
      return found
    } finally {
      this.#lookingMs = undefined
    }
  }

  /** Returns what is known if that is fresh, or if a look is not answered in time; otherwise what a look finds. */
  async recent<T>(of: { readonly snapshot: T; refresh(): Promise<T> }): Promise<T> {
    if (this.#forMs === 0) return of.refresh()
    const nowMs = performance.now()
    if (nowMs - this.#lookedMs < this.#forMs) return of.snapshot
    const leftMs = PATIENCE_MS - (nowMs - (this.#lookingMs ?? nowMs))
    const found = of.refresh().catch((error: unknown) => {
      if (isStoreAway(error)) return of.snapshot
      throw error
    })
    found.catch(() => undefined)
    return (leftMs > 0 ? await withinMs(leftMs, found) : undefined) ?? of.snapshot
  }
}
