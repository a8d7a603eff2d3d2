import { civilFromDays, daysFromCivil, formatTimestamp } from '../text/scalars.ts'
import { cast, dayOf } from './casts.ts'
import { type Compiled, DATE, INTEGER, mapped, mapped2, STRING, TIMESTAMP } from './compiled.ts'
import { noValue, unsupported } from './errors.ts'
import type { Functions } from './functions.ts'
import { ofKind } from './operators.ts'

/*
 * Dates and times. Where Spark goes by the time zone of its session, it is UTC here.
 */

const DAY_MICROS = 86_400_000_000n
const DAYS_MIN = -2_147_483_648
const DAYS_MAX = 2_147_483_647

function day(compiled: Compiled): Compiled {
  return cast(ofKind(compiled, 'a date', 'date', 'timestamp', 'timestamp_ntz'), DATE)
}

function whole(compiled: Compiled): Compiled {
  return ofKind(compiled, 'a number of days', 'byte', 'short', 'integer')
}

function ofDay(convert: (days: number) => number, type = INTEGER) {
  return (compiled: Compiled): Compiled => mapped<number>(day(compiled), type, convert)
}

/** The microseconds since midnight, in units of `unitMicros`, of which there are `count` in the next larger one. */
function ofTime(unitMicros: number, count: number) {
  return (compiled: Compiled): Compiled =>
    mapped<bigint>(ofKind(compiled, 'a time of day', 'timestamp', 'timestamp_ntz'), INTEGER, micros => {
      const time = Number(micros - BigInt(dayOf(micros)) * DAY_MICROS)
      return Math.floor(time / unitMicros) % count
    })
}

function checkedDay(days: number): number {
  if (days < DAYS_MIN || days > DAYS_MAX) throw noValue('a date is out of range')
  return days
}

function moved(sign: 1 | -1) {
  return (from: Compiled, count: Compiled): Compiled =>
    mapped2<number, number>(day(from), whole(count), DATE, (days, many) => checkedDay(days + sign * many))
}

const year = ofDay(days => civilFromDays(days)[0])
const month = ofDay(days => civilFromDays(days)[1])
const dayOfMonth = ofDay(days => civilFromDays(days)[2])
const quarter = ofDay(days => Math.ceil(civilFromDays(days)[1] / 3))
const hour = ofTime(3_600_000_000, 24)
const minute = ofTime(60_000_000, 60)
const second = ofTime(1_000_000, 60)

/** Monday is 0. */
function weekday(days: number): number {
  return (((days + 3) % 7) + 7) % 7
}

/** The first day of the year, the quarter, the month or the week of a day. */
function firstDay(unit: string, days: number): number | undefined {
  const [inYear, inMonth] = civilFromDays(days)
  if (['year', 'yyyy', 'yy'].includes(unit)) return daysFromCivil(inYear, 1, 1)
  if (unit === 'quarter') return daysFromCivil(inYear, Math.floor((inMonth - 1) / 3) * 3 + 1, 1)
  if (['month', 'mon', 'mm'].includes(unit)) return daysFromCivil(inYear, inMonth, 1)
  return unit === 'week' ? days - weekday(days) : undefined
}

const UNIT_MICROS: Readonly<Record<string, bigint>> = {
  day: DAY_MICROS,
  dd: DAY_MICROS,
  hour: 3_600_000_000n,
  minute: 60_000_000n,
  second: 1_000_000n,
}

function unitOf({ literal }: Compiled): string {
  if (typeof literal === 'string') return literal.toLowerCase()
  throw unsupported('a unit of time has to stand there as a text')
}

function truncatedDay(value: Compiled, unit: Compiled): Compiled {
  const name = unitOf(unit)
  if (firstDay(name, 0) === undefined) throw unsupported(`the unit ${name} is not worked out`)
  return ofDay(days => firstDay(name, days)!, DATE)(value)
}

function truncatedTime(unit: Compiled, value: Compiled): Compiled {
  const name = unitOf(unit)
  const size = UNIT_MICROS[name]
  const from = cast(ofKind(value, 'a timestamp', 'timestamp', 'date'), TIMESTAMP)
  if (size !== undefined) return mapped<bigint>(from, TIMESTAMP, micros => micros - (((micros % size) + size) % size))
  if (firstDay(name, 0) === undefined) throw unsupported(`the unit ${name} is not worked out`)
  return mapped<bigint>(from, TIMESTAMP, micros => BigInt(firstDay(name, dayOf(micros))!) * DAY_MICROS)
}

/** The letters of a format, and the parts of `yyyy-MM-ddTHH:mm:ss` that they stand for. */
const PARTS: Readonly<Record<string, readonly [from: number, to: number]>> = {
  yyyy: [0, 4],
  MM: [5, 7],
  dd: [8, 10],
  HH: [11, 13],
  mm: [14, 16],
  ss: [17, 19],
}

function formatted(value: Compiled, format: Compiled): Compiled {
  const { literal } = format
  const pieces = typeof literal === 'string' ? (literal.match(/([A-Za-z])\1*|[-/:._, ]|'[^']+'/g) ?? []) : []
  if (pieces.length === 0 || pieces.join('') !== literal || pieces.some(one => /^[A-Za-z]/.test(one) && !PARTS[one]))
    throw unsupported(`the format ${JSON.stringify(literal ?? null)} is not worked out`)
  const from = cast(ofKind(value, 'a timestamp', 'timestamp', 'timestamp_ntz', 'date'), TIMESTAMP)
  return mapped<bigint>(from, STRING, micros => {
    const text = formatTimestamp(micros)
    if (!/^\d{4}-/.test(text)) throw noValue('a year has more than four digits')
    return pieces
      .map(piece => (PARTS[piece] === undefined ? piece.replaceAll("'", '') : text.slice(...PARTS[piece])))
      .join('')
  })
}

export const DATES: Functions = {
  year,
  month,
  day: dayOfMonth,
  dayofmonth: dayOfMonth,
  quarter,
  hour,
  minute,
  second,
  'extract year': year,
  'extract month': month,
  'extract day': dayOfMonth,
  'extract quarter': quarter,
  'extract hour': hour,
  'extract minute': minute,
  weekday: ofDay(weekday),
  dayofweek: ofDay(days => ((weekday(days) + 1) % 7) + 1),
  dayofyear: ofDay(days => days - daysFromCivil(civilFromDays(days)[0], 1, 1) + 1),
  last_day: ofDay(days => {
    const [inYear, inMonth] = civilFromDays(days)
    return (inMonth === 12 ? daysFromCivil(inYear + 1, 1, 1) : daysFromCivil(inYear, inMonth + 1, 1)) - 1
  }, DATE),
  date_add: moved(1),
  date_sub: moved(-1),
  datediff: (end, start) => mapped2<number, number>(day(end), day(start), INTEGER, (a, b) => a - b),
  to_date: value => cast(value, DATE),
  date: value => cast(value, DATE),
  trunc: truncatedDay,
  date_trunc: truncatedTime,
  date_format: formatted,
}
