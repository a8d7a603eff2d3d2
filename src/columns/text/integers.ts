/*
 * Whole numbers as text. 64-bit ones come as halves of 32 bits (low, high): a BigInt for each would cost more than all the
 * rest of a rendering.
 */
const MINUS = 0x2d
const ZERO = 0x30
const POINT = 0x2e
const TWO_32 = 4_294_967_296

/** Two digits: the bytes of 00, 01, ..., 99. */
const PAIRS = Array.from({ length: 100 }, (_, i) => ((ZERO + ((i / 10) | 0)) << 8) | (ZERO + (i % 10)))
/** Four digits at a time: the bytes of 0000, 0001, ..., 9999, the first one highest. */
const QUADS = new Uint32Array(10_000)
for (let high = 0, i = 0; high < 100; high++)
  for (let low = 0; low < 100; low++) QUADS[i++] = PAIRS[high]! * 65_536 + PAIRS[low]!

/** The length of a whole number of less than 2^53 in decimal. */
export function wholeSize(value: number): number {
  return value < 0 ? 1 + digitsOf(-value) : digitsOf(value)
}

/** Writes a whole number of less than 2^53 into [start, end), which is as long as its text. */
export function writeWhole(out: DataView, start: number, end: number, value: number): void {
  if (value >= 0) {
    writeDigits(out, start, end, value)
    return
  }
  out.setUint8(start, MINUS)
  writeDigits(out, start + 1, end, -value)
}

/** The length of a 64-bit number in decimal. */
export function longSize(low: number, high: number): number {
  if (isExact(high)) return wholeSize(high * TWO_32 + (low >>> 0))
  return (high < 0 ? 9 : 8) + digitsOf(withoutEight(low, high))
}

/** Writes a 64-bit number into [start, end), which is as long as its text. */
export function writeLong(out: DataView, start: number, end: number, low: number, high: number): void {
  if (isExact(high)) {
    writeWhole(out, start, end, high * TWO_32 + (low >>> 0))
    return
  }
  const top = withoutEight(low, high)
  const magnitude = high < 0 ? -low | 0 : low
  // The product wraps at 32 bits as the number's lower half does; what is left of both are the last eight digits.
  writeEight(out, end - 8, (magnitude - Math.imul(top | 0, 100_000_000)) | 0)
  if (high < 0) out.setUint8(start, MINUS)
  writeDigits(out, high < 0 ? start + 1 : start, end - 8, top)
}

/** The length of a 64-bit number with `scale` of its digits behind a point; at least one stands in front of it. */
export function decimalSize(low: number, high: number, scale: number): number {
  const size = longSize(low, high)
  if (scale === 0) return size
  const sign = high < 0 ? 1 : 0
  return sign + Math.max(size - sign, scale + 1) + 1
}

/** Writes it into [start, end), which is as long as its text. */
export function writeDecimal(
  out: DataView,
  start: number,
  end: number,
  low: number,
  high: number,
  scale: number,
): void {
  if (scale === 0) {
    writeLong(out, start, end, low, high)
    return
  }
  // The digits in front of the point are one place too far back, until the point makes room for itself.
  const first = high < 0 ? start + 1 : start
  let digits = end - longSize(low, high) + (high < 0 ? 1 : 0)
  const from = high < 0 ? digits - 1 : digits
  writeLong(out, from, end, low, high)
  while (digits > first + 1) out.setUint8(--digits, ZERO)
  const point = end - scale - 1
  for (let at = first; at < point; at++) out.setUint8(at, out.getUint8(at + 1))
  out.setUint8(point, POINT)
  if (high < 0) out.setUint8(start, MINUS)
}

/** True if a 64-bit number with this upper half is one that a double keeps. */
function isExact(high: number): boolean {
  return high >= -2_097_152 && high < 2_097_152
}

/** The number without its sign and its last eight digits. */
function withoutEight(low: number, high: number): number {
  let lower = low >>> 0
  let upper = high
  if (high < 0) {
    lower = -low >>> 0
    upper = (lower === 0 ? -high : ~high) >>> 0
  }
  // The sum is rounded, by less than the divisor, so that the quotient may be one too many or too few.
  const quotient = Math.floor((upper * TWO_32 + lower) / 1e8)
  const rest = (lower - Math.imul(quotient | 0, 100_000_000)) | 0
  return rest < 0 ? quotient - 1 : rest >= 100_000_000 ? quotient + 1 : quotient
}

/** The digits of a whole number from 0 to 2^53. */
export function digitsOf(n: number): number {
  if (n < 1e4) return n < 100 ? (n < 10 ? 1 : 2) : n < 1000 ? 3 : 4
  if (n < 1e8) return n < 1e6 ? (n < 1e5 ? 5 : 6) : n < 1e7 ? 7 : 8
  if (n < 1e12) return n < 1e10 ? (n < 1e9 ? 9 : 10) : n < 1e11 ? 11 : 12
  return n < 1e14 ? (n < 1e13 ? 13 : 14) : n < 1e15 ? 15 : 16
}

/** Writes a whole number from 0 to 2^53 into [start, end), which is as long as its digits, or longer: then zeros come first. */
export function writeDigits(out: DataView, start: number, end: number, value: number): void {
  let to = end
  let n = value
  while (n >= 1e8) {
    const high = Math.floor(n / 1e8)
    writeEight(out, to - 8, (n - high * 1e8) | 0)
    to -= 8
    n = high
  }
  let rest = n | 0
  while (to - start >= 4) {
    const high = (rest / 10_000) | 0
    out.setUint32(to - 4, QUADS[rest - high * 10_000]!)
    to -= 4
    rest = high
  }
  while (to > start) {
    const high = (rest / 10) | 0
    out.setUint8(--to, ZERO + rest - high * 10)
    rest = high
  }
}

/** Exactly eight digits. */
function writeEight(out: DataView, at: number, value: number): void {
  const high = (value / 10_000) | 0
  out.setUint32(at, QUADS[high]!)
  out.setUint32(at + 4, QUADS[value - high * 10_000]!)
}
