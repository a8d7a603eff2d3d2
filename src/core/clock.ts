/** Where the time comes from; passed in, so that tests can hold it still. */
export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  nowMs(): number
}

/** So far apart are two moments at least; a number has room for it behind the milliseconds of today. */
const STEP_MS = 1 / 1024

/**
 * When the events of one process happened. Many happen within a millisecond, and the clock may be set back: so each has a
 * moment of its own, behind those of all events before it.
 */
export class Moments {
  readonly #clock: Clock
  #last = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The moment of an event that happens now, in milliseconds since the epoch and parts of them. */
  nextMs(): number {
    this.#last = Math.max(this.#clock.nowMs(), this.#last + STEP_MS)
    return this.#last
  }
}

export const systemClock: Clock = { nowMs: () => Date.now() }
