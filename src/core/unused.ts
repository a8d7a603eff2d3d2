import { collect, giveBack } from './garbage.ts'

/** Values that were not used for so long are dropped, and looked for so often. */
const UNUSED_MS = 60_000
const LOOK_MS = 5000
const LOOKS_KEPT = UNUSED_MS / LOOK_MS + 1

/** The number of them that have something which was used lately. */
let inUse = 0

/**
 * Tells what was not used for a minute, of many things, without a timer for each: they are looked through now and then, and
 * of each only the look before which it was used is noted. When nothing is left, memory is given back: all that can be, where
 * no other has anything left either. A process does not go on for it.
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
    if (this.#timer === undefined) {
      inUse++
      this.#wait()
    }
    return this.#looks
  }

  isUnused(mark: number): boolean {
    return this.#looks - mark >= LOOKS_KEPT
  }

  /** Nothing will be used any more. */
  stop(): void {
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    inUse--
  }

  #wait(): void {
    this.#timer = setTimeout(() => {
      this.#looks++
      if (this.#look()) {
        this.#wait()
        return
      }
      this.stop()
      if (inUse === 0) giveBack()
      else collect()
    }, LOOK_MS)
    this.#timer.unref()
  }
}
