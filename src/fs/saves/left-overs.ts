import { onceAtATime } from '../../core/once.ts'
import type { Text } from '../text/text.ts'
import type { SaveJournal } from './journal.ts'
import type { Reporter } from './reporter.ts'
import type { Save } from './save.ts'

/** Left-overs are looked for so often where no save comes that finds room. */
const EVERY_MS = 15_000
/** More of them are left to the next process. */
const KEPT_MAX = 256

export interface LeftOversOptions {
  readonly setAside: (image: Text) => Promise<string>
  readonly discard: (journal: SaveJournal) => void
  readonly reporter: Reporter
}

/**
 * Saves that are over, and whose bytes could not be set aside: mostly the disk was full. It is tried again when there may be
 * room; what is left at the end, the next process sets aside.
 */
export class LeftOvers {
  readonly #options: LeftOversOptions
  readonly #saves = new Set<Save>()
  #timer: Timer | undefined
  readonly #tried = onceAtATime(() => this.#setAside().finally(() => this.#later()))

  constructor(options: LeftOversOptions) {
    this.#options = options
  }

  keep(save: Save): void {
    if (this.#saves.size >= KEPT_MAX) {
      save.journal.close()
      return
    }
    this.#saves.add(save)
    this.#later()
  }

  /** There may be room. Resolves when it is tried. */
  tryAgain(): Promise<void> {
    return this.#saves.size === 0 ? Promise.resolve() : this.#tried()
  }

  async #setAside(): Promise<void> {
    const { setAside, discard, reporter } = this.#options
    for (const save of this.#saves) {
      try {
        const name = await setAside(save.image)
        if (!this.#saves.delete(save)) return
        reporter.sayAlone(`a save from before was set aside as ${name}, as there is room again`)
        discard(save.journal)
      } catch {
        // What was said of it before holds still, and is true of the others, too.
        return
      }
    }
  }

  #later(): void {
    clearTimeout(this.#timer)
    if (this.#saves.size === 0) return
    this.#timer = setTimeout(() => void this.tryAgain(), EVERY_MS)
    this.#timer.unref()
  }

  /** Leaves them to the next process. */
  close(): void {
    clearTimeout(this.#timer)
    for (const save of this.#saves) save.journal.close()
    this.#saves.clear()
  }
}
