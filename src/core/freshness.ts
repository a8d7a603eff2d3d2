/** Remembers when something was looked at last, for what need not be looked at each time. */
export class Freshness {
  readonly #forMs: number
  #lookedMs = performance.now()

  /** What is made now is fresh. `forMs`: how long a look counts; 0: not at all. */
  constructor(forMs = 0) {
    this.#forMs = forMs
  }

  get isFresh(): boolean {
    return performance.now() - this.#lookedMs < this.#forMs
  }

  /** It is fresh again. `sinceMs`: when the look began, by performance.now(). */
  looked(sinceMs = performance.now()): void {
    this.#lookedMs = sinceMs
  }

  /** Runs a look; if it goes well, it counts from its begin. */
  async looking<T>(look: () => Promise<T>): Promise<T> {
    const sinceMs = performance.now()
    const found = await look()
    this.looked(sinceMs)
    return found
  }
}
