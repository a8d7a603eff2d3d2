import type { Clock } from '../core/clock.ts'
import type { ErrorJournal } from './error-journal.ts'

/** So many refusals are told within one span of time, so that `rm -r` of a large table's files leaves the rest readable. */
const TOLD_MAX = 20
const SPAN_MS = 60_000

/** Tells of changes that were refused, in sentences of `.errors`, and no more often than a reader wants to know. */
export class Refusals {
  readonly #errors: ErrorJournal
  readonly #clock: Clock
  #sinceMs = Number.NEGATIVE_INFINITY
  #told = 0

  constructor(errors: ErrorJournal, clock: Clock) {
    this.#errors = errors
    this.#clock = clock
  }

  /** Somebody has read the sentences and taken them away: new ones are told again. */
  reset(): void {
    this.#told = 0
  }

  tell(sentence: string): void {
    const nowMs = this.#clock.nowMs()
    if (nowMs - this.#sinceMs >= SPAN_MS || nowMs < this.#sinceMs) {
      this.#sinceMs = nowMs
      this.#told = 0
    }
    this.#told++
    if (this.#told > TOLD_MAX) return
    this.#errors.append(sentence)
    if (this.#told === TOLD_MAX)
      this.#errors.append('more changes of views may be refused in this minute; they are not told')
  }
}
