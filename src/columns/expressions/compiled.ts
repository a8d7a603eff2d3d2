import type { Cell, DataType, Vector } from '../types.ts'
import { noValue } from './errors.ts'

/** The row for which expressions are worked out. */
export interface Cursor {
  vectors: readonly Vector[]
  row: number
}

/** An expression that can be worked out. */
export interface Compiled {
  /** Void of NULL alone. */
  readonly type: DataType
  /** Its value for the row of the cursor it was made with. ExpressionError `no_value`. */
  readonly value: () => Cell
  /** The value, of what stands there as such. */
  readonly literal?: Exclude<Cell, null> | undefined
}

export type Kind = DataType['kind']

export const BOOLEAN: DataType = { kind: 'boolean' }
export const INTEGER: DataType = { kind: 'integer' }
export const LONG: DataType = { kind: 'long' }
export const DOUBLE: DataType = { kind: 'double' }
export const STRING: DataType = { kind: 'string' }
export const DATE: DataType = { kind: 'date' }
export const TIMESTAMP: DataType = { kind: 'timestamp' }

/** Whole numbers, the smaller ones first. */
const INTEGRAL: readonly Kind[] = ['byte', 'short', 'integer', 'long']
const BITS: Readonly<Record<string, number>> = { byte: 8, short: 16, integer: 32, long: 64 }

export function isIntegral({ kind }: DataType): boolean {
  return INTEGRAL.includes(kind)
}

export function isFloating({ kind }: DataType): boolean {
  return kind === 'float' || kind === 'double'
}

export function isNumeric(type: DataType): boolean {
  return isIntegral(type) || isFloating(type) || type.kind === 'decimal'
}

/** The larger one of two types of whole numbers. */
export function widerIntegral(a: DataType, b: DataType): DataType {
  return INTEGRAL.indexOf(a.kind) >= INTEGRAL.indexOf(b.kind) ? a : b
}

/** A value of another type than the expression has; NULL stays NULL. */
export function mapped<T extends Exclude<Cell, null>>(
  { value }: Compiled,
  type: DataType,
  convert: (cell: T) => Cell,
): Compiled {
  return {
    type,
    value: () => {
      const cell = value()
      return cell === null ? null : convert(cell as T)
    },
  }
}

/** A value of two others; NULL if one of them is. */
export function mapped2<A extends Exclude<Cell, null>, B extends Exclude<Cell, null>>(
  left: Compiled,
  right: Compiled,
  type: DataType,
  convert: (a: A, b: B) => Cell,
): Compiled {
  return {
    type,
    value: () => {
      const a = left.value()
      if (a === null) return null
      const b = right.value()
      return b === null ? null : convert(a as A, b as B)
    },
  }
}

/** A whole number as the cell of a type. ExpressionError `no_value` if it has more bits. */
export function integralCell(value: bigint, { kind }: DataType): number | bigint {
  const bits = BITS[kind]!
  if (BigInt.asIntN(bits, value) !== value) throw noValue(`${value} does not fit ${bits} bits`)
  return kind === 'long' ? value : Number(value)
}

/** The same for types of up to 32 bits, and results of them that a double holds, or that are far too large. */
export function smallCell(value: number, { kind }: DataType): number {
  const most = 2 ** (BITS[kind]! - 1)
  if (value >= most || value < -most) throw noValue(`${value} does not fit ${BITS[kind]} bits`)
  // Without the sign of a 0.
  return value + 0
}

/** An unscaled number. ExpressionError `no_value` if it has more digits than its type. */
export function decimalCell(value: bigint, precision: number): bigint {
  const magnitude = value < 0n ? -value : value
  if (magnitude >= 10n ** BigInt(precision)) throw noValue(`a number has more than ${precision} digits`)
  return value
}
