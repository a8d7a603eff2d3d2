/** Runs something once what is watched has not been used for a while; and again after the next use. */
export class Unused {
  readonly #afterMs: number
  readonly #run: () => void
  #usedMs = 0
  #timer: Timer | undefined

  constructor(afterMs: number, run: () => void) {
    this.#afterMs = afterMs
    this.#run = run
  }

  /** It is used now. */
  touch(): void {
    this.#usedMs = performance.now()
    if (this.#timer === undefined) this.#wait(this.#afterMs)
  }

  /** It will not be used any more. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(() => this.#look(), ms)
    // A process does not go on for it.
    this.#timer.unref()
  }

  #look(): void {
    const leftMs = this.#usedMs + this.#afterMs - performance.now()
    if (leftMs > 0) {
      this.#wait(leftMs)
      return
    }
    this.#timer = undefined
    this.#run()
  }
}
