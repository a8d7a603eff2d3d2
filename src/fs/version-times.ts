import { type Clock, momentMs } from '../core/clock.ts'
import type { Snapshot } from '../table/snapshot.ts'

/** Older versions are seldom asked for: a program works on its copy of a text for minutes, not for that many commits. */
const VERSIONS_KEPT = 1000

/** A version of the table, and the first one that shows the same text (see Snapshot). */
export type SeenVersion = Pick<Snapshot, 'version' | 'textVersion'>

/** When the texts of a table were first known here. One view's commits are known before the others look. */
export class VersionTimes {
  readonly #clock: Clock
  #newest = -1n
  /** By the versions of their texts, ascending. */
  #seen: { readonly version: bigint; readonly ms: number }[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The table is at this version; true if it was at another one before. */
  note({ version, textVersion }: SeenVersion): boolean {
    if (version <= this.#newest) return false
    this.#newest = version
    const last = this.#seen.at(-1)
    if (last !== undefined && textVersion <= last.version) return true
    this.#seen.push({ version: textVersion, ms: momentMs(this.#clock) })
    if (this.#seen.length > VERSIONS_KEPT) this.#seen.shift()
    return true
  }

  /** When the table went on from a text (ms since the epoch); now, if it is not known to have. */
  leftMs(version: bigint): number {
    const next = this.#seen.find(seen => seen.version > version)
    // Among those that are not remembered any more there may be an earlier one.
    return next?.ms ?? momentMs(this.#clock)
  }
}
