/*
 * Preloaded by a process (bun --preload), this makes its time pass FAST_CLOCK times as fast: its clocks tell so, and its timers
 * come by them.
 */
const FACTOR = Number(process.env['FAST_CLOCK'] ?? 1)
const startMs = Date.now()
const dateNow = Date.now.bind(Date)
const performanceNow = performance.now.bind(performance)
const origin = performanceNow()
const { setTimeout: timeout, setInterval: interval } = globalThis

Date.now = () => startMs + (dateNow() - startMs) * FACTOR
performance.now = () => origin + (performanceNow() - origin) * FACTOR
globalThis.setTimeout = Object.assign(
  (run: () => void, ms?: number, ...args: unknown[]) => timeout(run, (ms ?? 0) / FACTOR, ...args),
  timeout,
)
globalThis.setInterval = Object.assign(
  (run: () => void, ms?: number, ...args: unknown[]) => interval(run, (ms ?? 0) / FACTOR, ...args),
  interval,
)
