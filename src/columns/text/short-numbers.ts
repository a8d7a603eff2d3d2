const ZERO = 0x30
const NINE = 0x39
const MINUS = 0x2d
const POINT = 0x2e
/** Doubles keep every whole number of so many digits, and these powers of ten: one division rounds once, as it should. */
export const DOUBLE_DIGITS_EXACT = 15
const POWERS_OF_TEN = Array.from({ length: DOUBLE_DIGITS_EXACT + 1 }, (_, i) => 10 ** i)

/** So many digits fit 32 bits. */
const WORD_DIGITS = 9

/** The whole number of up to 9 digits at [start, end), or -1 where there is anything else. */
export function digitsAt(bytes: Uint8Array, start: number, end: number): number {
  let value = 0
  for (let i = start; i < end; i++) {
    const digit = bytes[i]! - ZERO
    if (digit < 0 || digit > 9) return -1
    value = (Math.imul(value, 10) + digit) | 0
  }
  return value
}

/** The whole number of up to 15 digits at [start, end), or NaN where the slow way must look. */
export function shortInteger(bytes: Uint8Array, start: number, end: number): number {
  const negative = bytes[start] === MINUS
  const first = negative ? start + 1 : start
  if (end - first > DOUBLE_DIGITS_EXACT || end === first) return Number.NaN
  const middle = end - first > WORD_DIGITS ? end - WORD_DIGITS : first
  const top = digitsAt(bytes, first, middle)
  const rest = digitsAt(bytes, middle, end)
  if (top < 0 || rest < 0) return Number.NaN
  const value = top * 1e9 + rest
  return negative ? -value : value
}

/** A decimal number of up to 15 digits, without an exponent; NaN where the slow way must look. */
export function shortDecimal(bytes: Uint8Array, start: number, end: number): number {
  let i = start
  const negative = bytes[i] === MINUS
  if (negative) i++
  if (end - i > DOUBLE_DIGITS_EXACT + 1) return Number.NaN
  let value = 0
  let digits = 0
  let point = -1
  for (; i < end; i++) {
    const byte = bytes[i]!
    if (byte === POINT && point < 0) {
      point = digits
      continue
    }
    if (byte < ZERO || byte > NINE) return Number.NaN
    value = value * 10 + (byte - ZERO)
    digits++
  }
  if (digits === 0 || digits > DOUBLE_DIGITS_EXACT) return Number.NaN
  if (point >= 0) value /= POWERS_OF_TEN[digits - point]!
  return negative ? -value : value
}

/** A decimal number times 10^scale if that has up to 15 digits and is a whole number; NaN where the slow way must look. */
export function shortUnscaled(bytes: Uint8Array, start: number, end: number, scale: number): number {
  const negative = bytes[start] === MINUS
  let value = 0
  let digits = 0
  let left = -1
  for (let i = negative ? start + 1 : start; i < end; i++) {
    const byte = bytes[i]!
    if (byte === POINT && left < 0) {
      left = scale
      continue
    }
    if (byte < ZERO || byte > NINE || left === 0) return Number.NaN
    if (left > 0) left--
    value = value * 10 + (byte - ZERO)
    digits++
  }
  const missing = left < 0 ? scale : left
  if (digits === 0 || digits + missing > DOUBLE_DIGITS_EXACT) return Number.NaN
  value *= POWERS_OF_TEN[missing]!
  return negative ? -value : value
}
