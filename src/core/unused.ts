/** What was not used for so long is dropped, and looked for so often. */
const UNUSED_MS = 60_000
const LOOK_MS = 5000
const LOOKS_KEPT = UNUSED_MS / LOOK_MS + 1

/**
 * Tells what was not used for a minute, of many things, without a timer for each: they are looked through now and then, and
 * of each only the look before which it was used is noted. A process does not go on for it.
 */
export class Unused {
  readonly #look: () => boolean
  #looks = 0
  #timer: Timer | undefined

  /** `look`: drops what is unused (see `isUnused`); true if something is left to look at later. */
  constructor(look: () => boolean) {
    this.#look = look
  }

  /** The mark of something that is used now. */
  use(): number {
    if (this.#timer === undefined) this.#wait()
    return this.#looks
  }

  isUnused(mark: number): boolean {
    return this.#looks - mark >= LOOKS_KEPT
  }

  /** Nothing will be used any more. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #wait(): void {
    this.#timer = setTimeout(() => {
      this.#looks++
      this.#timer = undefined
      if (this.#look()) this.#wait()
    }, LOOK_MS)
    this.#timer.unref()
  }
}
