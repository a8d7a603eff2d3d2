import { parseDate, parseTimestamp, ScalarError } from '../columns/text/scalars.ts'
import type { Cell, DataType } from '../columns/types.ts'
import { isRawNumber } from './log/shapes.ts'
import type { Literal } from './row-filter.ts'

/** A number with all its digits. */
interface Exact {
  readonly unscaled: bigint
  readonly scale: number
}

/** A value of the order that a type has: days, microseconds, 64-bit floats, text by its UTF-8 bytes. */
export type Ordered = Exact | number | bigint | string | boolean

/** The facts known of the values of a column in a file, those that are not NULL. */
export interface ColumnRange {
  readonly least?: Ordered | undefined
  readonly most?: Ordered | undefined
  /** Bounds of texts are cut: values that begin so may be above `most`. */
  readonly openAbove?: string | undefined
  /** Some writers leave NaN, which is above every number, out of the bounds. */
  readonly mayHaveNaN?: boolean
  /** The bounds are values that are there. */
  readonly isExact: boolean
}

/** A value that columns of a type are compared with, and how far from it the comparison may really be. */
export interface Reach {
  readonly low: Ordered
  readonly high: Ordered
}

/** Nothing is known. */
export const UNKNOWN: ColumnRange = { isExact: false }
/** Delta writers cut the bounds of texts to so many characters. */
const TEXT_PREFIX = 32
/** Of decimals with more digits some writers give the nearest 64-bit float. */
const CERTAIN_DIGITS = 15
const SCALE_MAX = 100
/** Timestamps are cut to milliseconds. */
const CUT_MICROS = 999n
const DAY_MICROS = 86_400_000_000n
const DATE = /^\d{4}-\d{2}-\d{2}$/
const TIMESTAMP = /^\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z?)?$/
const REPLACEMENT = '\ufffd'

/** The order of two values of one type. */
export function compare(a: Ordered, b: Ordered): number {
  if (typeof a === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b as string))
  if (typeof a === 'object') {
    const other = b as Exact
    const x = a.unscaled * 10n ** BigInt(Math.max(0, other.scale - a.scale))
    const y = other.unscaled * 10n ** BigInt(Math.max(0, a.scale - other.scale))
    return x < y ? -1 : x > y ? 1 : 0
  }
  return a < b ? -1 : a > b ? 1 : 0
}

/** A literal as columns of a type are compared with it; undefined where the comparison is not one of the type's own order. */
export function reachOf(literal: Literal, type: DataType): Reach | undefined {
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
    case 'decimal':
      return literal.kind === 'exact' ? one({ unscaled: literal.unscaled, scale: literal.scale }) : undefined
    case 'float':
    case 'double':
      return floatReach(literal)
    case 'string':
      return literal.kind === 'text' && literal.text.isWellFormed() ? one(literal.text) : undefined
    case 'boolean':
      return literal.kind === 'boolean' ? one(literal.flag) : undefined
    case 'date':
      if (literal.kind === 'date') return one(literal.days)
      return literal.kind === 'text' && DATE.test(literal.text) ? parsed(() => parseDate(literal.text)) : undefined
    case 'timestamp':
    case 'timestamp_ntz':
      if (literal.kind === 'timestamp') return one(literal.micros)
      if (literal.kind === 'date') return one(BigInt(literal.days) * DAY_MICROS)
      return literal.kind === 'text' && TIMESTAMP.test(literal.text)
        ? parsed(() => parseTimestamp(literal.text, true))
        : undefined
    default:
      return undefined
  }
}

function one(value: Ordered): Reach {
  return { low: value, high: value }
}

/** A number is compared as it is, or as the nearest of 32 bits, by the types on both sides. */
function floatReach(literal: Literal): Reach | undefined {
  if (literal.kind !== 'exact' && literal.kind !== 'double') return undefined
  const value = literal.kind === 'double' ? literal.number : Number(`${literal.unscaled}e${-literal.scale}`)
  if (!Number.isFinite(value)) return undefined
  return { low: Math.min(value, Math.fround(value)), high: Math.max(value, Math.fround(value)) }
}

function parsed(parse: () => Ordered): Reach | undefined {
  try {
    return one(parse())
  } catch (error) {
    if (error instanceof ScalarError) return undefined
    throw error
  }
}

/** The range of a value that is there in every row. */
export function rangeOfValue(cell: Exclude<Cell, null>, type: DataType): ColumnRange {
  if (typeof cell === 'number' && Number.isNaN(cell)) return { isExact: false, mayHaveNaN: true }
  const value = orderedOf(cell, type)
  return value === undefined ? UNKNOWN : { least: value, most: value, isExact: true }
}

function orderedOf(cell: Exclude<Cell, null>, type: DataType): Ordered | undefined {
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
      return { unscaled: BigInt(cell as number | bigint), scale: 0 }
    case 'decimal':
      return { unscaled: cell as bigint, scale: type.scale }
    case 'binary':
      return undefined
    default:
      return typeof cell === 'object' ? undefined : cell
  }
}

/** The range that the statistics of a column give, as JSON has them. What is no bound of the type's is none. */
export function rangeOf(type: DataType, min: unknown, max: unknown): ColumnRange {
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
      return { least: exactOf(min), most: exactOf(max), isExact: true }
    case 'decimal':
      return { least: loosened(exactOf(min), -1n), most: loosened(exactOf(max), 1n), isExact: false }
    case 'float':
    case 'double':
      return { ...floatRange(min, max), mayHaveNaN: true, isExact: false }
    case 'string':
      return textRange(min, max)
    case 'date':
      return { least: dayOf(min), most: dayOf(max), isExact: true }
    case 'timestamp':
    case 'timestamp_ntz':
      return { least: microsOf(min, -CUT_MICROS), most: microsOf(max, CUT_MICROS), isExact: false }
    default:
      return UNKNOWN
  }
}

function exactOf(json: unknown): Exact | undefined {
  if (typeof json !== 'number' && !isRawNumber(json)) return undefined
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/.exec(JSON.stringify(json)) ?? []
  const scale = fraction.length - Number(exponent)
  if (whole === '' || Math.abs(scale) > SCALE_MAX) return undefined
  const unscaled = BigInt(`${sign}${whole}${fraction}`)
  return scale < 0 ? { unscaled: unscaled * 10n ** BigInt(-scale), scale: 0 } : { unscaled, scale }
}

/** A bound moved so far outwards that it is one of the number that it was made of. */
function loosened(bound: Exact | undefined, direction: 1n | -1n): Exact | undefined {
  if (bound === undefined) return undefined
  const digits = String(bound.unscaled).replace('-', '').length
  if (digits <= CERTAIN_DIGITS) return bound
  return { unscaled: bound.unscaled + direction * 10n ** BigInt(digits - CERTAIN_DIGITS), scale: bound.scale }
}

/** The shortest text of a 32-bit float is another number of 64 bits; a column may have become one of those. */
function floatRange(min: unknown, max: unknown): { least: number | undefined; most: number | undefined } {
  const least = numberOf(min)
  const most = numberOf(max)
  return {
    least: least === undefined ? undefined : Math.min(least, Math.fround(least)),
    most: most === undefined ? undefined : Math.max(most, Math.fround(most)),
  }
}

function numberOf(json: unknown): number | undefined {
  const number = isRawNumber(json) ? Number(JSON.stringify(json)) : json
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined
}

function textRange(min: unknown, max: unknown): ColumnRange {
  const most = textOf(max)
  const characters = most === undefined ? [] : [...most.slice(0, 2 * TEXT_PREFIX)]
  const openAbove = characters.length >= TEXT_PREFIX ? characters.slice(0, TEXT_PREFIX).join('') : undefined
  return { least: textOf(min), most, openAbove, isExact: false }
}

/** Text that is not UTF-8 is in the order of its bytes, and not in that of what it is shown as. */
function textOf(json: unknown): string | undefined {
  return typeof json === 'string' && json.isWellFormed() && !json.includes(REPLACEMENT) ? json : undefined
}

function dayOf(json: unknown): number | undefined {
  if (typeof json !== 'string') return undefined
  return parsed(() => parseDate(json))?.low as number | undefined
}

function microsOf(json: unknown, slack: bigint): bigint | undefined {
  if (typeof json !== 'string') return undefined
  const micros = parsed(() => parseTimestamp(json, true))?.low as bigint | undefined
  return micros === undefined ? undefined : micros + slack
}
