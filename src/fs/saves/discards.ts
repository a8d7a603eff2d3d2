import { messageOf } from '../../core/errors.ts'
import type { SaveJournal } from './journal.ts'

/** Removes the journals of saves that are over, again and again where that fails: a later process must not take them up. */
export class Discards {
  readonly #left = new Set<SaveJournal>()
  readonly #report: (sentence: string) => void

  constructor(report: (sentence: string) => void) {
    this.#report = report
  }

  discard(journal: SaveJournal): void {
    this.#left.add(journal)
    for (const one of this.#left) {
      try {
        one.discard()
        this.#left.delete(one)
      } catch (error) {
        if (one === journal) this.#report(`${messageOf(error)}; it is removed later`)
      }
    }
  }
}
