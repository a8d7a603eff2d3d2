/** The source of the time; passed in, so that tests can hold it still. */
export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  nowMs(): number
}

export const systemClock: Clock = { nowMs: () => Date.now() }

/** A clock that was set back by more than this is followed. */
const SET_BACK_MS = 1000
/** The doubles near today's times are 1/4096 ms apart. */
const STEP_MS = 1 / 1024

const moments = new WeakMap<Clock, number>()

/**
 * The time of an event, in milliseconds since 1970 with a fraction that means nothing by itself: each call gives a
 * later one than the calls before it with the same clock. Two events may fall into one millisecond, so whole ones do not
 * tell which came first.
 */
export function momentMs(clock: Clock): number {
  const now = clock.nowMs()
  const last = moments.get(clock)
  const moment = last === undefined || now > last || now < last - SET_BACK_MS ? now : last + STEP_MS
  moments.set(clock, moment)
  return moment
}
