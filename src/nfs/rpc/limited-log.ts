import type { Clock } from '../../core/clock.ts'

const SENTENCES_MAX = 100
const INTERVAL_MS = 60_000

/** Passes on at most 100 sentences a minute: what a client does must not fill the disk that the log is on. */
export function limitedLog(log: (sentence: string) => void, clock: Clock): (sentence: string) => void {
  let intervalStartMs = clock.nowMs()
  let count = 0
  return sentence => {
    const now = clock.nowMs()
    if (now - intervalStartMs >= INTERVAL_MS) {
      if (count > SENTENCES_MAX) log(`${count - SENTENCES_MAX} more sentences were left out of the log.`)
      intervalStartMs = now
      count = 0
    }
    count++
    if (count <= SENTENCES_MAX) log(sentence)
  }
}
