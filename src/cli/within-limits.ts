import { overMemory, overTime, processBytesMax, type SqlLimits } from '../sql/limits.ts'
import { report } from './command.ts'

/** The interval at which this process looks at its own memory, in milliseconds. */
const WATCH_EVERY_MS = 100
/** The time that a statement may take to stop by itself, in milliseconds. */
const STOP_WITHIN_MS = 1000
/** The longest timer that there is. */
const TIMER_MS_MAX = 2 ** 31 - 1

/**
 * Runs a statement in this process within limits of time and memory. It is told to stop when one is met, or when `signal`
 * says so, and rejects with the reason. If it does not stop soon, because the engine is where it cannot be interrupted, or
 * nobody reads the output, the process ends: `lastResort` takes back first what the statement made.
 */
export async function withinLimits<T>(
  limits: Pick<SqlLimits, 'timeoutMs' | 'memoryBytes'>,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
  lastResort: () => void,
): Promise<T> {
  const ending = new AbortController()
  const timers: Timer[] = []
  const end = (reason: unknown): void => {
    if (ending.signal.aborted) return
    ending.abort(reason)
    timers.push(
      setTimeout(() => {
        lastResort()
        process.exit(report(reason))
      }, STOP_WITHIN_MS),
    )
  }
  const interrupted = (): void => end(signal.reason)
  signal.addEventListener('abort', interrupted, { once: true })
  if (limits.timeoutMs <= TIMER_MS_MAX) timers.push(setTimeout(() => end(overTime(limits, true)), limits.timeoutMs))
  const bytesMax = processBytesMax(limits)
  timers.push(
    setInterval(() => {
      if (process.memoryUsage.rss() > bytesMax) end(overMemory(limits))
    }, WATCH_EVERY_MS),
  )
  try {
    return await work(ending.signal)
  } catch (error) {
    // What the work failed with is only how it noticed.
    throw ending.signal.aborted ? ending.signal.reason : error
  } finally {
    for (const timer of timers) clearTimeout(timer)
    signal.removeEventListener('abort', interrupted)
  }
}
