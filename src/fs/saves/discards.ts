import { messageOf } from '../../core/errors.ts'
import type { EditJournal } from './journal.ts'

/** Removes the journals of edits that are over, again and again where that fails: a later process must not take them up. */
export class Discards {
  readonly #left = new Set<EditJournal>()
  readonly #report: (sentence: string) => void

  constructor(report: (sentence: string) => void) {
    this.#report = report
  }

  discard(journal: EditJournal): void {
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
