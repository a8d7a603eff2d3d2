import { sqlType } from '../schema.ts'
import type { Cell, DataType } from '../types.ts'
import { as, commonType, decimalOf, decimalType, rescaled } from './casts.ts'
import {
  BOOLEAN,
  type Compiled,
  DOUBLE,
  decimalCell,
  integralCell,
  isFloating,
  isIntegral,
  isNumeric,
  LONG,
  mapped,
  mapped2,
  smallCell,
  widerIntegral,
} from './compiled.ts'
import { noValue, unsupported } from './errors.ts'
import type { Functions } from './functions.ts'
import { orderOf } from './order.ts'
import { javaPattern, likePattern } from './patterns.ts'

/** ExpressionError if an expression is none that is true, false or NULL. */
export function condition(compiled: Compiled): Compiled {
  if (compiled.type.kind === 'boolean' || compiled.type.kind === 'void') return compiled
  throw unsupported(`a condition has the type ${sqlType(compiled.type)}`)
}

/** FALSE AND anything is FALSE, whatever the other side would be; likewise TRUE OR anything. `decides`: that value. */
function logical(decides: boolean) {
  return (a: Compiled, b: Compiled): Compiled => {
    const [left, right] = [condition(a), condition(b)]
    const value = (): Cell => {
      const first = left.value()
      if (first === decides) return decides
      const second = right.value()
      if (second === decides) return decides
      return first === null || second === null ? null : !decides
    }
    return { type: BOOLEAN, value }
  }
}

function compared(holds: (order: number) => boolean) {
  return (a: Compiled, b: Compiled): Compiled => {
    const type = commonType(a, b)
    const order = orderOf(type)
    return mapped2(as(a, type), as(b, type), BOOLEAN, (left, right) => holds(order(left, right)))
  }
}

/** True of two NULLs. */
export function sameAs(a: Compiled, b: Compiled): Compiled {
  const type = commonType(a, b)
  const order = orderOf(type)
  const [left, right] = [as(a, type), as(b, type)]
  const value = (): boolean => {
    const first = left.value()
    const second = right.value()
    return first === null || second === null ? first === second : order(first, second) === 0
  }
  return { type: BOOLEAN, value }
}

/** All of them in the type that is common to them, of which texts are none beside others: Spark's settings say which. */
export function inOneType(all: readonly Compiled[]): Compiled[] {
  const kinds = new Set(all.map(({ type }) => type.kind).filter(kind => kind !== 'void'))
  // A date is the same as its text.
  if (kinds.has('string') && kinds.size > 1 && !(kinds.has('date') && kinds.size === 2))
    throw unsupported('values of which some are texts and some are not stand side by side')
  // Only beside one operand does a whole number that stands there count by its digits.
  const [first, ...rest] = all.map(one => (isIntegral(one.type) ? { ...one, literal: undefined } : one))
  let common = first!
  for (const next of rest) {
    const literal = common.type.kind === next.type.kind ? common.literal && next.literal : undefined
    common = { type: commonType(common, next), value: () => null, literal }
  }
  return all.map(one => as(one, common.type))
}

function inList(value: Compiled, ...options: readonly Compiled[]): Compiled {
  const [left, ...rights] = inOneType([value, ...options])
  const order = orderOf(left!.type)
  return {
    type: BOOLEAN,
    value: () => {
      const cell = left!.value()
      if (cell === null) return null
      let isUnknown = false
      for (const option of rights) {
        const other = option.value()
        if (other === null) isUnknown = true
        else if (order(cell, other) === 0) return true
      }
      return isUnknown ? null : false
    },
  }
}

interface Arithmetic {
  readonly whole: (a: bigint, b: bigint) => bigint
  readonly float: (a: number, b: number) => number
  /** For decimals that have the same scale, or those that they have. */
  readonly decimal: (a: Compiled, b: Compiled) => Compiled
}

function arithmetic({ whole, float, decimal }: Arithmetic) {
  return (a: Compiled, b: Compiled): Compiled => {
    checkNumbers(a, b)
    if (isIntegral(a.type) && isIntegral(b.type)) {
      const type = widerIntegral(a.type, b.type)
      if (type.kind !== 'long') return mapped2<number, number>(a, b, type, (x, y) => smallCell(float(x, y), type))
      return mapped2<number | bigint, number | bigint>(a, b, type, (x, y) =>
        integralCell(whole(BigInt(x), BigInt(y)), type),
      )
    }
    if (!isFloating(a.type) && !isFloating(b.type)) return decimal(a, b)
    if (a.type.kind === 'float' && b.type.kind === 'float')
      return mapped2<number, number>(a, b, a.type, (x, y) => Math.fround(float(x, y)))
    if ([a, b].some(({ type }) => type.kind === 'float') && [a, b].some(({ type }) => isIntegral(type)))
      throw unsupported('a FLOAT stands beside a whole number')
    return mapped2<number, number>(as(a, DOUBLE), as(b, DOUBLE), DOUBLE, float)
  }
}

function checkNumbers(...all: readonly Compiled[]): void {
  const other = all.find(({ type }) => !isNumeric(type))
  if (other !== undefined) throw unsupported(`a value of type ${sqlType(other.type)} is counted with`)
}

function summed(combine: (a: bigint, b: bigint) => bigint) {
  return (a: Compiled, b: Compiled): Compiled => {
    const [left, right] = [decimalOf(a), decimalOf(b)]
    const scale = Math.max(left.scale, right.scale)
    const whole = Math.max(left.precision - left.scale, right.precision - right.scale)
    const type = decimalType(whole + scale + 1, scale)
    return mapped2<bigint, bigint>(as(a, left), as(b, right), type, (x, y) =>
      decimalCell(combine(rescaled(x, left.scale, scale), rescaled(y, right.scale, scale)), type.precision),
    )
  }
}

function multiplied(a: Compiled, b: Compiled): Compiled {
  const [left, right] = [decimalOf(a), decimalOf(b)]
  const type = decimalType(left.precision + right.precision + 1, left.scale + right.scale)
  return mapped2<bigint, bigint>(as(a, left), as(b, right), type, (x, y) => decimalCell(x * y, type.precision))
}

function noDecimals(): Compiled {
  throw unsupported('decimal numbers are divided')
}

function notByZero<T extends number | bigint>(divisor: T): T {
  if (Number(divisor) === 0) throw noValue('something is divided by 0')
  return divisor
}

function divided(a: Compiled, b: Compiled): Compiled {
  checkNumbers(a, b)
  if (!isFloating(a.type) && !isFloating(b.type) && [a, b].some(({ type }) => type.kind === 'decimal')) noDecimals()
  return mapped2<number, number>(asDouble(a), asDouble(b), DOUBLE, (x, y) => x / notByZero(y))
}

function asDouble(compiled: Compiled): Compiled {
  return as(compiled, DOUBLE)
}

function integralDivided(a: Compiled, b: Compiled): Compiled {
  onlyWhole(a, b)
  return mapped2<number | bigint, number | bigint>(a, b, LONG, (x, y) =>
    integralCell(BigInt(x) / notByZero(BigInt(y)), LONG),
  )
}

function onlyWhole(...all: readonly Compiled[]): void {
  if (!all.every(({ type }) => isIntegral(type))) throw unsupported('numbers that are not whole are used as whole ones')
}

function bitwise(combine: (a: bigint, b: bigint) => bigint) {
  return (a: Compiled, b: Compiled): Compiled => {
    onlyWhole(a, b)
    const type = widerIntegral(a.type, b.type)
    return mapped2<number | bigint, number | bigint>(a, b, type, (x, y) =>
      integralCell(combine(BigInt(x), BigInt(y)), type),
    )
  }
}

function negated(compiled: Compiled): Compiled {
  checkNumbers(compiled)
  const { type } = compiled
  if (isIntegral(type)) return mapped<number | bigint>(compiled, type, cell => integralCell(-BigInt(cell), type))
  return mapped<number | bigint>(compiled, type, cell => -cell)
}

function absolute(compiled: Compiled): Compiled {
  checkNumbers(compiled)
  const { type } = compiled
  const positive = (cell: number | bigint): number | bigint => (cell < 0 || Object.is(cell, -0) ? -cell : cell)
  if (isIntegral(type))
    return mapped<number | bigint>(compiled, type, cell => integralCell(BigInt(positive(cell)), type))
  return mapped<number | bigint>(compiled, type, positive)
}

/** The texts that a pattern finds, which stands there as such. */
function matching(made: (pattern: string) => RegExp) {
  return (text: Compiled, pattern: Compiled): Compiled => {
    const { literal } = pattern
    if (text.type.kind !== 'string' || typeof literal !== 'string')
      throw unsupported('a pattern is only used on texts, and has to stand there as a text')
    const found = made(literal)
    return mapped<string>(text, BOOLEAN, cell => found.test(cell))
  }
}

const equal = compared(order => order === 0)
const unequal = compared(order => order !== 0)

export const OPERATORS: Functions = {
  and: logical(false),
  or: logical(true),
  not: compiled => mapped<boolean>(condition(compiled), BOOLEAN, cell => !cell),
  '=': equal,
  '==': equal,
  '<>': unequal,
  '!=': unequal,
  '<': compared(order => order < 0),
  '<=': compared(order => order <= 0),
  '>': compared(order => order > 0),
  '>=': compared(order => order >= 0),
  '<=>': sameAs,
  in: inList,
  isnull: ({ value }) => ({ type: BOOLEAN, value: () => value() === null }),
  isnotnull: ({ value }) => ({ type: BOOLEAN, value: () => value() !== null }),
  '+': arithmetic({ whole: (a, b) => a + b, float: (a, b) => a + b, decimal: summed((a, b) => a + b) }),
  '-': arithmetic({ whole: (a, b) => a - b, float: (a, b) => a - b, decimal: summed((a, b) => a - b) }),
  '*': arithmetic({ whole: (a, b) => a * b, float: (a, b) => a * b, decimal: multiplied }),
  '%': arithmetic({ whole: (a, b) => a % notByZero(b), float: (a, b) => a % notByZero(b), decimal: noDecimals }),
  '/': divided,
  div: integralDivided,
  '&': bitwise((a, b) => a & b),
  '|': bitwise((a, b) => a | b),
  '^': bitwise((a, b) => a ^ b),
  '~': compiled => {
    onlyWhole(compiled)
    return mapped<number | bigint>(compiled, compiled.type, cell => ~cell)
  },
  negative: negated,
  positive: compiled => {
    checkNumbers(compiled)
    return compiled
  },
  abs: absolute,
  like: matching(likePattern),
  rlike: matching(javaPattern),
  regexp: matching(javaPattern),
  regexp_like: matching(javaPattern),
}

/** The operand's type once it is known to be one of these. */
export function ofKind(compiled: Compiled, what: string, ...kinds: readonly DataType['kind'][]): Compiled {
  if (kinds.includes(compiled.type.kind)) return compiled
  throw unsupported(`${what} is asked of a value of type ${sqlType(compiled.type)}`)
}
