import type { Cell, DataType } from '../types.ts'

/** Why a text is no value of a type, to stand behind `expected`. */
export class ScalarError extends Error {}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

const DAY_MICROS = 86_400_000_000n
const LONG_DIGITS_MAX = 19
const LIMITS = {
  byte: [-128n, 127n],
  short: [-32_768n, 32_767n],
  integer: [-2_147_483_648n, 2_147_483_647n],
  long: [-9_223_372_036_854_775_808n, 9_223_372_036_854_775_807n],
} as const

/** A value of a type that is not nested, as text. NULL has no text. */
export function formatScalar(value: Exclude<Cell, null>, type: DataType): string {
  switch (type.kind) {
    case 'float':
      return formatFloat32(value as number)
    case 'double':
      return formatDouble(value as number)
    case 'date':
      return formatDate(value as number)
    case 'timestamp':
      return `${formatTimestamp(value as bigint)}Z`
    case 'timestamp_ntz':
      return formatTimestamp(value as bigint)
    case 'decimal':
      return formatDecimal(value as bigint, type.scale)
    case 'binary':
      return (value as Uint8Array).toBase64()
    case 'string':
      return value instanceof Uint8Array ? decoder.decode(value) : (value as string)
    default:
      return String(value)
  }
}

/** The value that a text stands for. Throws ScalarError naming what was expected. */
export function parseScalar(text: string, type: DataType): Exclude<Cell, null> {
  switch (type.kind) {
    case 'string':
      return text
    case 'byte':
    case 'short':
    case 'integer':
      return Number(parseInteger(text, type.kind))
    case 'long':
      return parseInteger(text, 'long')
    case 'float': {
      const value = parseDouble(text)
      const rounded = Math.fround(value)
      if (Number.isFinite(value) && !Number.isFinite(rounded)) throw new ScalarError('a number that fits 32 bits')
      return rounded
    }
    case 'double':
      return parseDouble(text)
    case 'boolean': {
      const lower = text.trim().toLowerCase()
      if (lower === 'true') return true
      if (lower === 'false') return false
      throw new ScalarError('true or false')
    }
    case 'date':
      return parseDate(text.trim())
    case 'timestamp':
    case 'timestamp_ntz':
      return parseTimestamp(text.trim(), type.kind === 'timestamp')
    case 'decimal':
      return parseDecimal(text.trim(), type.precision, type.scale)
    case 'binary':
      return parseBase64(text.trim())
    case 'variant':
      return checkedJson(text.trim())
    case 'void':
      throw new ScalarError('no value: the column has no type')
    default:
      throw new ScalarError(`JSON of a ${type.kind}`)
  }
}

/** True if the empty text stands for no value of a type, as programs that quote every field write it: it is NULL. */
export function emptyIsNull({ kind }: DataType): boolean {
  return kind !== 'string' && kind !== 'binary'
}

/** `30.0` is the whole number 30: pandas writes a column of whole numbers so that has gaps. */
export function parseInteger(text: string, kind: keyof typeof LIMITS): bigint {
  const [, trimmed] = /^\s*([+-]?\d+)(?:\.0*)?\s*$/.exec(text) ?? []
  if (trimmed === undefined) throw new ScalarError('a whole number')
  const [least, most] = LIMITS[kind]
  const digits = trimmed.replace(/^[+-]?0*(?=\d)/, '')
  // More digits than any 64-bit number has are not made a number first: for millions of them that takes long.
  const magnitude = digits.length > LONG_DIGITS_MAX ? most + 2n : BigInt(digits)
  const value = trimmed.startsWith('-') ? -magnitude : magnitude
  if (value < least || value > most) throw new ScalarError(`a whole number from ${least} to ${most}`)
  return value
}

/** From here on, and below the second, a float has an exponent: as DuckDB, Python and pandas write it. */
const EXPONENT_FROM = 1e16
const EXPONENT_BELOW = 1e-4

/**
 * The shortest text that reads back as the same 64-bit float, and tells that it is one: `3.0`, `-0.0`, `1e+16`, `2.5e-05`,
 * `NaN`, `-Infinity`.
 */
export function formatDouble(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  const magnitude = Math.abs(value)
  if (magnitude >= EXPONENT_FROM || (magnitude < EXPONENT_BELOW && magnitude > 0))
    return value.toExponential().replace(/(?<=e[+-])(?=\d$)/, '0')
  if (Number.isInteger(value)) return Object.is(value, -0) ? '-0.0' : `${value}.0`
  return String(value)
}

/** The shortest text that reads back as the same 32-bit float, in the form of `formatDouble`. */
function formatFloat32(value: number): string {
  if (!Number.isFinite(value) || value === 0) return formatDouble(value)
  for (let digits = 1; digits < 9; digits++) {
    const shorter = Number(value.toPrecision(digits))
    if (Math.fround(shorter) === value) return formatDouble(shorter)
  }
  return formatDouble(Number(value.toPrecision(9)))
}

function parseDouble(text: string): number {
  const trimmed = text.trim()
  if (/^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/.test(trimmed)) {
    const value = Number(trimmed)
    if (!Number.isFinite(value)) throw new ScalarError('a number that fits 64 bits')
    return value
  }
  const special = /^([+-]?)(nan|inf|infinity)$/i.exec(trimmed)
  if (special === null) throw new ScalarError('a number')
  if (special[2]!.toLowerCase() === 'nan') return Number.NaN
  return special[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
}

/** Days since 1970-01-01 in the proleptic Gregorian calendar. */
export function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146_097 + dayOfEra - 719_468
}

/** The day of a calendar that a number of days since 1970-01-01 is. */
export function civilFromDays(days: number): [year: number, month: number, day: number] {
  const z = days + 719_468
  const era = Math.floor(z / 146_097)
  const doe = z - era * 146_097
  const yoe = Math.floor((doe - Math.floor(doe / 1460) + Math.floor(doe / 36_524) - Math.floor(doe / 146_096)) / 365)
  const doy = doe - (365 * yoe + Math.floor(yoe / 4) - Math.floor(yoe / 100))
  const mp = Math.floor((5 * doy + 2) / 153)
  const month = mp < 10 ? mp + 3 : mp - 9
  return [yoe + era * 400 + (month <= 2 ? 1 : 0), month, doy - Math.floor((153 * mp + 2) / 5) + 1]
}

/** ISO 8601; years outside 0000 to 9999 carry a sign. */
export function formatDate(days: number): string {
  const [year, month, day] = civilFromDays(days)
  return `${formatYear(year)}-${two(month)}-${two(day)}`
}

function formatYear(year: number): string {
  if (year >= 0 && year <= 9999) return String(year).padStart(4, '0')
  return `${year < 0 ? '-' : '+'}${String(Math.abs(year)).padStart(6, '0')}`
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value)
}

/** Dates are 32-bit day numbers. */
const DAYS_MAX = 2_147_483_647
const DATE = /^([+-]\d{4,7}|\d{4})-(\d{2})-(\d{2})/

export function parseDate(text: string): number {
  const match = DATE.exec(text)
  if (match === null || match[0].length !== text.length) throw new ScalarError('a date like 2024-01-31')
  const days = daysOf(match)
  if (days < -DAYS_MAX - 1 || days > DAYS_MAX) throw new ScalarError('a date within 5,800,000 years of 1970')
  return days
}

function daysOf(match: RegExpExecArray): number {
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])]
  const days = month >= 1 && month <= 12 && day >= 1 ? daysFromCivil(year, month, day) : Number.NaN
  if (Number.isNaN(days) || civilFromDays(days)[1] !== month) throw new ScalarError('a day that the calendar has')
  return days
}

/** ISO 8601 without a zone, with microseconds where there are any. */
export function formatTimestamp(micros: bigint): string {
  let days = micros / DAY_MICROS
  let rest = micros - days * DAY_MICROS
  if (rest < 0n) {
    days -= 1n
    rest += DAY_MICROS
  }
  const time = Number(rest)
  const seconds = Math.floor(time / 1_000_000)
  const fraction = time - seconds * 1_000_000
  const clock = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
  return `${formatDate(Number(days))}T${clock}${fraction === 0 ? '' : `.${String(fraction).padStart(6, '0')}`}`
}

const TIME = /^[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(Z|UTC|[+-]\d{2}(?::?\d{2})?)?$/i

/** Microseconds since the epoch. `zoned`: a zone may stand behind, and none means UTC; else none may. */
export function parseTimestamp(text: string, zoned: boolean): bigint {
  const expected = zoned
    ? 'a timestamp like 2024-01-31T12:30:00Z'
    : 'a timestamp without a zone like 2024-01-31T12:30:00'
  const date = DATE.exec(text)
  if (date === null) throw new ScalarError(expected)
  const days = BigInt(daysOf(date))
  const rest = text.slice(date[0].length)
  if (rest === '') return inRange(days * DAY_MICROS)
  const time = TIME.exec(rest)
  if (time === null || (!zoned && time[5] !== undefined)) throw new ScalarError(expected)
  const [hours, minutes, seconds] = [Number(time[1]), Number(time[2]), Number(time[3] ?? 0)]
  if (hours > 23 || minutes > 59 || seconds > 59) throw new ScalarError('a time of day from 00:00:00 to 23:59:59')
  const fraction = (time[4] ?? '').padEnd(9, '0')
  if (!fraction.endsWith('000')) throw new ScalarError('a timestamp of at most microseconds')
  const ofDay = BigInt((hours * 3600 + minutes * 60 + seconds) * 1_000_000 + Number(fraction.slice(0, 6)))
  return inRange(days * DAY_MICROS + ofDay - zoneMicros(time[5]))
}

/** Timestamps are 64-bit numbers of microseconds. */
function inRange(micros: bigint): bigint {
  if (micros < LIMITS.long[0] || micros > LIMITS.long[1])
    throw new ScalarError('a timestamp within 292,000 years of 1970')
  return micros
}

function zoneMicros(zone: string | undefined): bigint {
  const match = /^([+-])(\d{2}):?(\d{2})?$/.exec(zone ?? '')
  if (match === null) return 0n
  const [hours, minutes] = [Number(match[2]), Number(match[3] ?? 0)]
  if (hours > 23 || minutes > 59) throw new ScalarError('a zone from -23:59 to +23:59')
  return BigInt((match[1] === '-' ? -1 : 1) * (hours * 60 + minutes)) * 60_000_000n
}

export function formatDecimal(unscaled: bigint, scale: number): string {
  if (scale === 0) return String(unscaled)
  const negative = unscaled < 0n
  const digits = String(negative ? -unscaled : unscaled).padStart(scale + 1, '0')
  return `${negative ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}

function parseDecimal(text: string, precision: number, scale: number): bigint {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?$/.exec(text)
  if (match === null || `${match[2]}${match[3] ?? ''}` === '') throw new ScalarError('a decimal number')
  const exponent = Number(match[4] ?? 0)
  let digits = `${match[2]}${match[3] ?? ''}`
  const shift = scale - (match[3] ?? '').length + exponent
  if (shift >= 0) digits += '0'.repeat(Math.min(shift, 400))
  else {
    const cut = digits.padStart(-shift + 1, '0')
    if (/[1-9]/.test(cut.slice(shift)))
      throw new ScalarError(`a decimal number with at most ${scale} digits behind the point`)
    digits = cut.slice(0, shift)
  }
  digits = digits.replace(/^0+/, '')
  if (digits.length > precision)
    throw new ScalarError(`a decimal number of at most ${precision} digits, ${scale} of them behind the point`)
  const unscaled = BigInt(digits)
  return match[1] === '-' ? -unscaled : unscaled
}

function parseBase64(text: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: 'strict' })
  } catch {
    throw new ScalarError('binary data as base64')
  }
}

/** JSON as it is. */
function checkedJson(text: string): string {
  try {
    JSON.parse(text)
  } catch {
    throw new ScalarError('JSON of a variant')
  }
  return text
}
