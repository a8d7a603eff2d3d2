/** Texts, each as often as it is there. */
export class Counts {
  readonly #counts = new Map<string, number>()

  /** The number of different texts that were ever there. */
  get size(): number {
    return this.#counts.size
  }

  add(text: string): void {
    this.#counts.set(text, (this.#counts.get(text) ?? 0) + 1)
  }

  /** Takes a text out once; false if it is not there (any more). */
  take(text: string): boolean {
    const count = this.#counts.get(text) ?? 0
    if (count > 0) this.#counts.set(text, count - 1)
    return count > 0
  }
}
