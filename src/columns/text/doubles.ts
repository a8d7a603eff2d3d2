import { digitsOf, writeDigits } from './integers.ts'

const MINUS = 0x2d
const POINT = 0x2e
/** Two decimal numbers of so many digits are never the same double: one that reads back as a double is its shortest text. */
const SHORT_DIGITS = 15
const SHORT_MAX = 10 ** SHORT_DIGITS
/** From here on there may be no room for the digit behind the point. */
const MAGNITUDE_END = SHORT_MAX / 10
/** Below this, texts have an exponent. */
const MAGNITUDE_MIN = 1e-4
/** Digits behind the point of the smallest numbers. Such powers of ten are exact, so that a division by them rounds once. */
const SCALE_MAX = SHORT_DIGITS + 3
const POWERS_OF_TEN = Array.from({ length: SCALE_MAX + 1 }, (_, i) => 10 ** i)
/** Values of a column have about as many digits behind the point; when they have so many fewer, it is time to look again. */
const ZEROS_MAX = 3

/** Finds the shortest text of doubles that have one of few digits and without an exponent, as `formatDouble` gives it. */
export class ShortDouble {
  /** The digits as a whole number, without a sign: that is the double times 10^scale. */
  digits = 0
  /** The number of digits behind the point: at least one. */
  scale = 1
  /** A number of digits behind the point that is likely. */
  #likely = 1

  /** False for a double that is not short; then `digits` and `scale` are left as they are. */
  find(value: number): boolean {
    const magnitude = Math.abs(value)
    if (!(magnitude < MAGNITUDE_END && (magnitude >= MAGNITUDE_MIN || magnitude === 0))) return false
    let scale = this.#likely
    let digits = Math.round(magnitude * POWERS_OF_TEN[scale]!)
    if (digits > SHORT_MAX || digits / POWERS_OF_TEN[scale]! !== magnitude) {
      scale = SCALE_MAX
      while (magnitude * POWERS_OF_TEN[scale]! > SHORT_MAX) scale--
      digits = Math.round(magnitude * POWERS_OF_TEN[scale]!)
      if (digits / POWERS_OF_TEN[scale]! !== magnitude) return false
    }
    while (scale > 1) {
      const tenth = Math.floor(digits / 10)
      if (tenth * 10 !== digits) break
      digits = tenth
      scale--
    }
    if (scale > this.#likely || scale < this.#likely - ZEROS_MAX) this.#likely = scale
    this.digits = digits
    this.scale = scale
    return true
  }
}

/** The length of a short double's text. */
export function shortDoubleSize(value: number, digits: number, scale: number): number {
  return (isNegative(value) ? 2 : 1) + Math.max(digitsOf(digits), scale + 1)
}

/** Writes a short double into [start, end), which is as long as its text. */
export function writeShortDouble(
  out: DataView,
  start: number,
  end: number,
  value: number,
  digits: number,
  scale: number,
): void {
  const power = POWERS_OF_TEN[scale]!
  const whole = Math.floor(digits / power)
  const point = end - scale - 1
  if (isNegative(value)) out.setUint8(start, MINUS)
  writeDigits(out, isNegative(value) ? start + 1 : start, point, whole)
  out.setUint8(point, POINT)
  writeDigits(out, point + 1, end, digits - whole * power)
}

function isNegative(value: number): boolean {
  return value < 0 || Object.is(value, -0)
}
