import type { Cell, DataType } from '../types.ts'
import { unsupported } from './errors.ts'

type Compare = (a: Exclude<Cell, null>, b: Exclude<Cell, null>) => number

/** The order of the values of a type, as Spark has it. ExpressionError for types whose values have none here. */
export function orderOf({ kind }: DataType): Compare {
  switch (kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'date':
      return (a, b) => (a as number) - (b as number)
    case 'boolean':
      return (a, b) => Number(a) - Number(b)
    case 'long':
    case 'timestamp':
    case 'timestamp_ntz':
    case 'decimal':
      return (a, b) => ((a as bigint) < (b as bigint) ? -1 : (a as bigint) > (b as bigint) ? 1 : 0)
    case 'float':
    case 'double':
      return (a, b) => compareFloats(a as number, b as number)
    case 'string':
      return (a, b) => compareTexts(a as string, b as string)
    case 'binary':
      return (a, b) => Buffer.compare(a as Uint8Array, b as Uint8Array)
    case 'void':
      return () => 0
    default:
      throw unsupported(`values of type ${kind} are not compared`)
  }
}

/** NaN is itself, and above all others. */
function compareFloats(a: number, b: number): number {
  if (Number.isNaN(a)) return Number.isNaN(b) ? 0 : 1
  if (Number.isNaN(b)) return -1
  return a < b ? -1 : a > b ? 1 : 0
}

/** By their bytes in UTF-8, in which characters beyond 16 bits are the last. */
function compareTexts(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const [left, right] = [a.charCodeAt(i), b.charCodeAt(i)]
    if (left !== right) return rank(left) - rank(right)
  }
  return a.length - b.length
}

function rank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}
