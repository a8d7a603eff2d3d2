/** The source of the time; passed in, so that tests can hold it still. */
export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  nowMs(): number
}

export const systemClock: Clock = { nowMs: () => Date.now() }

/** A clock that is set back by no more than this is waited for. */
const SET_BACK_MS = 1000
/** The doubles near today's times are 1/4096 ms apart. */
const STEP_MS = 1 / 1024

/** The last moment of a clock, and what its moments are ahead of it since it was set back. */
interface Last {
  momentMs: number
  aheadMs: number
}

const lasts = new WeakMap<Clock, Last>()

/**
 * The time of an event, in milliseconds since 1970 with a fraction that means nothing by itself: each call gives a
 * later one than the calls before it with the same clock. Two events may fall into one millisecond, so whole ones do not
 * tell which came first. Where the clock is set back, moments go on from the last one as the clock goes on: they are to be
 * compared with each other.
 */
export function momentMs(clock: Clock): number {
  const last = lasts.get(clock)
  if (last === undefined) {
    const first = clock.nowMs()
    lasts.set(clock, { momentMs: first, aheadMs: 0 })
    return first
  }
  const next = last.momentMs + STEP_MS
  const now = clock.nowMs() + last.aheadMs
  if (now < next - SET_BACK_MS) last.aheadMs += next - now
  last.momentMs = Math.max(now, next)
  return last.momentMs
}

/** Moments of a clock are later than this one from now on, which an earlier process may have had while it went ahead. */
export function noMomentBefore(clock: Clock, ms: number): void {
  const momentOf = momentMs(clock)
  const last = lasts.get(clock)!
  if (ms <= momentOf) return
  last.aheadMs += ms - momentOf
  last.momentMs = ms
}
