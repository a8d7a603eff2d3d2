import { sqlType } from '../schema.ts'
import { formatDate, formatTimestamp, parseScalar, ScalarError } from '../text/scalars.ts'
import type { Cell, DataType } from '../types.ts'
import {
  type Compiled,
  DOUBLE,
  decimalCell,
  integralCell,
  isFloating,
  isIntegral,
  isNumeric,
  mapped,
  widerIntegral,
} from './compiled.ts'
import { noValue, unsupported } from './errors.ts'

const DAY_MICROS = 86_400_000_000n
/** Floats of 32 bits hold all whole numbers up to here. */
const FLOAT_EXACT_MAX = 2 ** 24
const DIGITS_MAX = 38
/** The digits of the largest numbers of a type. */
const DIGITS: Readonly<Record<string, number>> = { byte: 3, short: 5, integer: 10, long: 20 }

/** The type in which two values are compared, or one of which stands for the other. ExpressionError if Spark's is not known here. */
export function commonType(a: Compiled, b: Compiled): DataType {
  if (a.type.kind === 'void') return b.type
  if (b.type.kind === 'void' || Bun.deepEquals(a.type, b.type)) return a.type
  if (isNumeric(a.type) && isNumeric(b.type)) return commonNumber(a, b)
  const kinds = [a.type.kind, b.type.kind]
  const other = (kind: string): Compiled => (a.type.kind === kind ? b : a)
  if (kinds.includes('string')) {
    const text = a.type.kind === 'string' ? a : b
    const { type } = other('string')
    // Of a column of texts it may depend on each value what it is compared with.
    if (
      text.literal !== undefined &&
      (type.kind === 'date' || type.kind === 'timestamp' || type.kind === 'timestamp_ntz')
    )
      return type
  }
  if (kinds.includes('date') && kinds.includes('timestamp')) return { kind: 'timestamp' }
  throw unsupported(`a value of type ${sqlType(a.type)} stands beside one of type ${sqlType(b.type)}`)
}

function commonNumber(a: Compiled, b: Compiled): DataType {
  if (isIntegral(a.type) && isIntegral(b.type)) return widerIntegral(a.type, b.type)
  if (isFloating(a.type) || isFloating(b.type)) {
    const [float, other] = a.type.kind === 'float' ? [a, b] : [b, a]
    // It depends on Spark's settings if a float beside a whole number stays one of 32 bits.
    if (float.type.kind === 'float' && isIntegral(other.type) && !(Math.abs(Number(other.literal)) <= FLOAT_EXACT_MAX))
      throw unsupported('a FLOAT stands beside a whole number')
    return DOUBLE
  }
  const [left, right] = [decimalOf(a), decimalOf(b)]
  const scale = Math.max(left.scale, right.scale)
  return decimalType(Math.max(left.precision - left.scale, right.precision - right.scale) + scale, scale)
}

interface Decimal {
  readonly kind: 'decimal'
  readonly precision: number
  readonly scale: number
}

/** A type with so many digits. ExpressionError if there are too many: Spark then gives some of them up. */
export function decimalType(precision: number, scale: number): Decimal {
  if (precision > DIGITS_MAX) throw unsupported(`a decimal number of ${precision} digits is in it`)
  return { kind: 'decimal', precision, scale }
}

/** The type of decimals that has all values of a number that is none with a point that floats. */
export function decimalOf({ type, literal }: Compiled): Decimal {
  if (type.kind === 'decimal') return type
  const digits = literal === undefined ? DIGITS[type.kind]! : String(literal).replace('-', '').length
  return { kind: 'decimal', precision: digits, scale: 0 }
}

/** The expression as a value of a type that `commonType` gave. */
export function as(compiled: Compiled, type: DataType): Compiled {
  if (compiled.type.kind === 'void' || Bun.deepEquals(compiled.type, type)) return { ...compiled, type }
  const { literal } = compiled
  const converted = cast(compiled, type)
  if (literal === undefined) return converted
  const cell = converted.value() as Exclude<Cell, null>
  return { type, value: () => cell, literal: cell }
}

/** The type that is named in a cast. */
export function namedType(name: string): DataType {
  const match = /^(\w+)(?:\((\d+)(?:,(\d+))?\))?$/.exec(name)
  const kind = TYPES[match?.[1] ?? '']
  const hasDigits = match?.[2] !== undefined
  if (kind === undefined || (hasDigits && kind !== 'decimal')) throw unsupported(`a cast to ${name} is not worked out`)
  if (kind !== 'decimal') return { kind } as DataType
  return decimalType(Number(match?.[2] ?? 10), Number(match?.[3] ?? 0))
}

const TYPES: Readonly<Record<string, DataType['kind']>> = {
  boolean: 'boolean',
  tinyint: 'byte',
  byte: 'byte',
  smallint: 'short',
  short: 'short',
  int: 'integer',
  integer: 'integer',
  bigint: 'long',
  long: 'long',
  float: 'float',
  real: 'float',
  double: 'double',
  decimal: 'decimal',
  dec: 'decimal',
  numeric: 'decimal',
  string: 'string',
  date: 'date',
  timestamp: 'timestamp',
  timestamp_ltz: 'timestamp',
  timestamp_ntz: 'timestamp_ntz',
}

/**
 * CAST as Spark does it with ANSI on, which fails where it would be NULL or something else otherwise. Times of day are those
 * of UTC. ExpressionError for what is not known to be the same everywhere.
 */
export function cast(compiled: Compiled, type: DataType): Compiled {
  const from = compiled.type
  if (from.kind === 'void' || Bun.deepEquals(from, type)) return { ...compiled, type }
  const convert = conversion(from, type)
  if (convert === undefined) throw unsupported(`a cast from ${sqlType(from)} to ${sqlType(type)} is not worked out`)
  return mapped(compiled, type, convert)
}

type Conversion = (cell: Exclude<Cell, null>) => Cell

function conversion(from: DataType, to: DataType): Conversion | undefined {
  if (isIntegral(to)) return toIntegral(from, to)
  switch (to.kind) {
    case 'double':
      return toDouble(from)
    case 'float':
      return from.kind === 'double' ? cell => Math.fround(cell as number) : undefined
    case 'decimal':
      return toDecimal(from, to)
    case 'string':
      return toText(from)
    case 'date':
      if (from.kind === 'string') return parsed(to)
      return from.kind === 'timestamp' || from.kind === 'timestamp_ntz' ? cell => dayOf(cell as bigint) : undefined
    case 'timestamp':
    case 'timestamp_ntz':
      if (from.kind === 'string') return parsed(to)
      if (from.kind === 'date') return cell => BigInt(cell as number) * DAY_MICROS
      return from.kind === 'timestamp' || from.kind === 'timestamp_ntz' ? cell => cell : undefined
    default:
      return undefined
  }
}

/** The day of a timestamp, in UTC. */
export function dayOf(micros: bigint): number {
  const days = micros / DAY_MICROS
  return Number(micros < days * DAY_MICROS ? days - 1n : days)
}

function toIntegral(from: DataType, to: DataType): Conversion | undefined {
  if (isIntegral(from)) return cell => integralCell(BigInt(cell as number | bigint), to)
  if (from.kind === 'decimal') return cell => integralCell((cell as bigint) / 10n ** BigInt(from.scale), to)
  if (from.kind === 'double')
    return cell => {
      const whole = Math.trunc(cell as number)
      if (!Number.isFinite(whole)) throw noValue(`${String(cell)} is no whole number`)
      return integralCell(BigInt(whole), to)
    }
  return from.kind === 'string'
    ? cell => {
        if (!/^[+-]?\d+$/.test(cell as string)) throw noValue(`${JSON.stringify(cell)} is no whole number`)
        return integralCell(BigInt((cell as string).replace('+', '')), to)
      }
    : undefined
}

function toDouble(from: DataType): Conversion | undefined {
  if (isIntegral(from)) return cell => Number(cell)
  if (from.kind === 'float') return cell => cell
  if (from.kind === 'decimal') return cell => Number(`${cell as bigint}e-${from.scale}`)
  return from.kind === 'string' ? parsed({ kind: 'double' }) : undefined
}

function toDecimal(from: DataType, to: Decimal): Conversion | undefined {
  if (isIntegral(from))
    return cell => decimalCell(BigInt(cell as number | bigint) * 10n ** BigInt(to.scale), to.precision)
  if (from.kind !== 'decimal') return undefined
  return cell => decimalCell(rescaled(cell as bigint, from.scale, to.scale), to.precision)
}

/** An unscaled number with another number of digits behind the point, half of one rounded away from 0. */
export function rescaled(value: bigint, from: number, to: number): bigint {
  if (to >= from) return value * 10n ** BigInt(to - from)
  const unit = 10n ** BigInt(from - to)
  const half = value < 0n ? -(unit / 2n) : unit / 2n
  return (value + half) / unit
}

function toText(from: DataType): Conversion | undefined {
  if (isIntegral(from) || from.kind === 'boolean') return cell => String(cell)
  if (from.kind === 'date') return cell => inFourDigits(formatDate(cell as number))
  if (from.kind === 'timestamp' || from.kind === 'timestamp_ntz')
    return cell =>
      inFourDigits(formatTimestamp(cell as bigint))
        .replace('T', ' ')
        .replace(/\.(\d*?)0+$/, '.$1')
  return undefined
}

function inFourDigits(text: string): string {
  if (!/^\d{4}-/.test(text)) throw noValue(`the year of ${text} has more than four digits`)
  return text
}

const FORMS: Readonly<Record<string, RegExp>> = {
  date: /^\d{4}-\d{2}-\d{2}$/,
  timestamp: /^\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?(?:Z|[+-]\d{2}:\d{2})?)?$/,
  timestamp_ntz: /^\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?)?$/,
  double: /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/,
}

/** The values of texts whose form means the same in all versions of Spark. */
function parsed(type: DataType): Conversion {
  return cell => {
    const text = cell as string
    try {
      if (FORMS[type.kind]!.test(text)) return parseScalar(text, type)
    } catch (error) {
      if (!(error instanceof ScalarError)) throw error
    }
    throw noValue(`${JSON.stringify(text)} is not taken for a ${sqlType(type)}`)
  }
}
