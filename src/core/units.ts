const SIZE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const
const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS

/** A number of bytes as people write it: `1GB`, `250MB`, `1.5GB`; three digits at most. */
export function sizeText(bytes: number): string {
  let value = bytes
  let unit = 0
  // 999.9 would be written as 1000.
  while (value >= 999.5 && unit < SIZE_UNITS.length - 1) {
    value /= 1000
    unit++
  }
  return `${Number(value.toPrecision(3))}${SIZE_UNITS[unit]}`
}

/** A time as people write it: `30s`, `10m`, `2h`, `1.5s`, `50ms`. */
export function durationText(ms: number): string {
  for (const [unitMs, unit] of [
    [HOUR_MS, 'h'],
    [MINUTE_MS, 'm'],
    [SECOND_MS, 's'],
  ] as const) {
    if (ms % unitMs === 0 && ms > 0) return `${ms / unitMs}${unit}`
  }
  return ms < SECOND_MS ? `${ms}ms` : `${ms / SECOND_MS}s`
}

/** A number of things in words: `1 row`, `2 rows`. */
export function counted(count: number | bigint, thing: string): string {
  return `${count} ${thing}${Number(count) === 1 ? '' : 's'}`
}
