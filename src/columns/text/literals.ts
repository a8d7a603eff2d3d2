import type { DataType } from '../types.ts'
import { LONG_DIGITS } from '../vectors.ts'
import { parseDate, parseInteger, parseTimestamp, ScalarError } from './scalars.ts'

const ZERO = 0x30
const NINE = 0x39
const PLUS = 0x2b
const MINUS = 0x2d
const POINT = 0x2e

/** Types that a text may be a literal of, as bits. Every text is a STRING. */
export const BOOLEAN = 1
export const LONG = 2
export const DOUBLE = 4
export const DECIMAL = 8
export const DATE = 16
export const TIMESTAMP = 32
export const ANY = BOOLEAN | LONG | DOUBLE | DECIMAL | DATE | TIMESTAMP

/** Every decimal number of so many digits that is not very large or small is told from all others by its nearest double. */
const DOUBLE_DIGITS_SAFE = 15
const DOUBLE_EXPONENT_SAFE = 290
/** An exponent of more digits is beyond every double. */
const EXPONENT_DIGITS_MAX = 9
const DECIMAL_DIGITS_MAX = 38
const DECIMAL_SCALE_MIN = 2

/** The values of a text read as each type: the bits of those types that keep all of it. */
export interface Literal {
  readonly types: number
  /** It is spelled as a number, though perhaps as one that no type keeps. */
  readonly isNumber?: boolean
  /** A point or a sign, also in the exponent: it is meant as a number. */
  readonly isMarked?: boolean
  readonly hasExponent?: boolean
  /** Digits behind the point, and all that count, if DECIMAL is among the types. */
  readonly scale?: number
  readonly digits?: number
  /** The last digit behind the point is 0, which a DOUBLE would not show. */
  readonly endsInZero?: boolean
  /** A time with an offset from UTC, which is taken into account and not kept. */
  readonly hasOffset?: boolean
}

const NUMBER = /^([+-]?)(0|[1-9]\d*)?(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/
const SPECIAL = /^[+-]?(?:nan|inf|infinity)$/i
const STARTS_AS_DATE = /^(?:[+-]\d{4,7}|\d{4})-\d\d-\d\d/
const OFFSET = /[+-](?!00(?::?00)?$)\d\d(?::?\d\d)?$/
const NOTHING: Literal = { types: 0 }

/** Reads a text that is not empty. */
export function literalOf(text: string): Literal {
  const number = NUMBER.exec(text)
  if (number !== null && `${number[2] ?? ''}${number[3] ?? ''}` !== '') return numberOf(text, number)
  if (SPECIAL.test(text)) return { types: DOUBLE }
  if (/^(?:true|false)$/i.test(text)) return { types: BOOLEAN }
  if (!STARTS_AS_DATE.test(text)) return NOTHING
  // The parsers take blanks around a value, which would be lost.
  if (text !== text.trim()) return NOTHING
  const timestamp = isTaken(() => parseTimestamp(text, true)) ? TIMESTAMP : 0
  if (isTaken(() => parseDate(text))) return { types: DATE | timestamp }
  return { types: timestamp, hasOffset: OFFSET.test(text.slice(STARTS_AS_DATE.exec(text)![0].length)) }
}

function numberOf(text: string, [, sign, whole = '', fraction, exponent]: RegExpExecArray): Literal {
  const digits = (whole + (fraction ?? '')).replace(/^0+/, '')
  const isMinusZero = sign === '-' && digits === ''
  const isMarked = sign !== '' || fraction !== undefined || /^[+-]/.test(exponent ?? '')
  let types = isKeptByDouble(text, digits, (fraction ?? '').length, exponent) ? DOUBLE : 0
  // A zero with a sign is none of whole numbers and decimals.
  if (isMinusZero) return { types, isNumber: true, isMarked, hasExponent: exponent !== undefined }
  if (exponent !== undefined) return { types, isNumber: true, isMarked, hasExponent: true }
  if (fraction === undefined) {
    if (isTaken(() => parseInteger(text, 'long'))) types |= LONG
    return { types, isNumber: true, isMarked }
  }
  const scale = fraction.length
  const precision = (whole === '0' ? 0 : whole.length) + scale
  if (scale < DECIMAL_SCALE_MIN || precision > DECIMAL_DIGITS_MAX) return { types, isNumber: true, isMarked }
  types |= DECIMAL
  return { types, isNumber: true, isMarked, scale, digits: precision, endsInZero: fraction.endsWith('0') }
}

/** True if the nearest double, at its shortest, is the very number. `digits`: without zeros in front, `scale` of them behind the point. */
function isKeptByDouble(text: string, digits: string, scale: number, exponent = '0'): boolean {
  if (digits === '') return true
  if (exponent.length > EXPONENT_DIGITS_MAX) return false
  const significant = digits.replace(/0+$/, '')
  const power = Number(exponent) - scale + digits.length - significant.length
  if (significant.length <= DOUBLE_DIGITS_SAFE && Math.abs(power) < DOUBLE_EXPONENT_SAFE) return true
  const value = Math.abs(Number(text))
  if (!Number.isFinite(value) || value === 0) return false
  const [mantissa, shortest] = value.toExponential().split('e')
  const shortestDigits = mantissa!.replace('.', '')
  return shortestDigits === significant && Number(shortest) - (shortestDigits.length - 1) === power
}

function isTaken(parse: () => unknown): boolean {
  try {
    parse()
    return true
  } catch (error) {
    if (error instanceof ScalarError) return false
    throw error
  }
}

/**
 * True if the bytes [start, end) are a number that says no more than its value: up to 15 digits (or `digitsMax`), with a
 * point if `withPoint`, a minus in front; no zeros in front, no -0. Most numbers are, and need no closer look.
 */
export function isShortNumber(
  bytes: Uint8Array,
  start: number,
  end: number,
  withPoint: boolean,
  digitsMax = DOUBLE_DIGITS_SAFE,
): boolean {
  const first = bytes[start] === MINUS ? start + 1 : start
  if (end === first || end - first > digitsMax) return false
  const isFraction = bytes[first + 1] === POINT
  if (bytes[first] === ZERO && (end - first > 1 ? !isFraction : first > start)) return false
  let points = 0
  for (let i = first; i < end; i++) {
    const byte = bytes[i]!
    if (byte === POINT && i > first) points++
    else if (byte < ZERO || byte > NINE) return false
  }
  return points === 0 || (withPoint && points === 1)
}

/**
 * True if the bytes [start, end) are a decimal number with exactly `scale` digits behind the point, as DECIMAL keeps it: no
 * zeros in front, no -0.
 */
function isDecimal(bytes: Uint8Array, start: number, end: number, scale: number): boolean {
  const isSigned = bytes[start] === MINUS || bytes[start] === PLUS
  const first = isSigned ? start + 1 : start
  const point = end - scale - 1
  if (point < first || bytes[point] !== POINT) return false
  if (bytes[first] === ZERO && point - first > 1) return false
  let isZero = true
  for (let i = first; i < end; i++) {
    if (i === point) continue
    const byte = bytes[i]!
    if (byte < ZERO || byte > NINE) return false
    if (byte !== ZERO) isZero = false
  }
  return !(isZero && bytes[start] === MINUS)
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * Tells whether a column of `type`, if that was found from other values (see `SchemaInference`), keeps the bytes [start, end),
 * too, if its parser takes them: that may take what the type would not have been chosen for, such as 007 for 7. Undefined
 * for a type that keeps all.
 */
export function keeps(type: DataType): ((bytes: Uint8Array, start: number, end: number) => boolean) | undefined {
  switch (type.kind) {
    case 'string':
      return undefined
    case 'long':
      return (bytes, start, end) =>
        isShortNumber(bytes, start, end, false, LONG_DIGITS) || (literalAt(bytes, start, end).types & LONG) !== 0
    case 'double':
      return (bytes, start, end) => {
        if (isShortNumber(bytes, start, end, true)) return true
        const { types, hasExponent, isMarked } = literalAt(bytes, start, end)
        return (types & DOUBLE) !== 0 && (hasExponent !== true || isMarked === true)
      }
    case 'decimal':
      return (bytes, start, end) => isDecimal(bytes, start, end, type.scale)
    default:
      // The parsers of the others take blanks around a value and no other spelling that says more than the value does.
      return (bytes, start, end) => isMark(bytes[start]!) && isMark(bytes[end - 1]!)
  }
}

function literalAt(bytes: Uint8Array, start: number, end: number): Literal {
  return literalOf(decoder.decode(bytes.subarray(start, end)))
}

/** An ASCII character that is no blank. */
function isMark(byte: number): boolean {
  return byte > 0x20 && byte < 0x7f
}
