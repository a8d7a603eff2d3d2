import type { IncompleteTimes } from './completeness.ts'

/** The times after which a save is taken to be over where nothing else tells so, in milliseconds. */
export interface HoldTimes extends IncompleteTimes {
  /** After a COMMIT: no WRITE may follow for this long. */
  readonly quietMs: number
  /** After a COMMIT of an append whose file is still open: rows are committed if nothing more comes for this long. */
  readonly openAppendMs: number
  /** Removed, and not made anew yet. */
  readonly removedMs: number
  /** Renamed to another name, and nothing has taken its place yet. */
  readonly awayMs: number
  /** After a restart, from the first call of a client on: by then it has repeated what was not answered. */
  readonly resumedMs: number
  /** A save in the middle of its calls whose client is gone: it is set aside. */
  readonly abandonedMs: number
  /** After a restart to which no client comes back: a save that was answered, and may be whole. */
  readonly answeredMs: number
  /**
   * For so long a client is shown of an opened file just what it was shown at first, and what it wrote since. The Linux client
   * does not ask for attributes anew before three seconds are over, so that a program that follows a file (`tail -f`) hears of
   * what others append as soon as it does anyway.
   */
  readonly pinnedMs: number
  /** A file that takes the name was done for longer than this: it was not made from what the table is now. */
  readonly finishedMs: number
  /** Programs that are at work at the same time on one client have opened the file within this time. */
  readonly togetherMs: number
}

export const DEFAULT_HOLD_TIMES: HoldTimes = {
  quietMs: 100,
  openAppendMs: 1000,
  incompleteMs: 1000,
  pageMs: 2000,
  truncatedMs: 5000,
  removedMs: 300,
  awayMs: 1000,
  resumedMs: 3000,
  abandonedMs: 120_000,
  answeredMs: 15_000,
  pinnedMs: 3000,
  finishedMs: 2000,
  togetherMs: 250,
}
