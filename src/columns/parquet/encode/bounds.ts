import type { Statistics } from 'hyparquet'
import type { Utf8Values } from '../../types.ts'
import type { FlatValues } from './flat.ts'

/** The statistics of a column chunk as its footer has them (parquet.thrift, Statistics); NaN is in no bound. */
export function boundsOf(values: FlatValues, nullCount: number, isDecimal: boolean): Statistics {
  const null_count = BigInt(nullCount)
  switch (values.kind) {
    case 'int32': {
      const found = numberBounds(values.array)
      if (found === undefined) return { null_count }
      const { min, max } = found
      return isDecimal
        ? { null_count, min_value: BigInt(min), max_value: BigInt(max) }
        : { null_count, min_value: min, max_value: max }
    }
    case 'int64':
      return { null_count, ...longBounds(values.array) }
    case 'float':
    case 'double': {
      const { min, max, nans } = { nans: countNans(values.array), ...numberBounds(values.array) }
      const counts = { null_count, nan_count: BigInt(nans) }
      if (min === undefined || max === undefined) return counts
      // A lower bound of 0 is to be -0, and an upper one of -0 is to be 0, as they are equal.
      return { ...counts, min_value: min === 0 ? -0 : min, max_value: max === 0 ? 0 : max }
    }
    case 'bytes':
      return { null_count, ...byteBounds(values.array) }
  }
}

function numberBounds(array: Int32Array | Float32Array | Float64Array): { min: number; max: number } | undefined {
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY
  for (let i = 0; i < array.length; i++) {
    const value = array[i]!
    if (value < min) min = value
    if (value > max) max = value
  }
  return min <= max ? { min, max } : undefined
}

function countNans(array: Float32Array | Float64Array): number {
  let nans = 0
  for (let i = 0; i < array.length; i++) if (Number.isNaN(array[i]!)) nans++
  return nans
}

/** By halves: each element of a BigInt64Array that is read is an object of its own. */
function longBounds(array: BigInt64Array): { min_value?: bigint; max_value?: bigint } {
  if (array.length === 0) return {}
  const words = new Int32Array(array.buffer, array.byteOffset, 2 * array.length)
  let least = 0
  let most = 0
  for (let i = 0; i < words.length; i += 2) {
    if (isBelow(words, i, least)) least = i
    if (isBelow(words, most, i)) most = i
  }
  return { min_value: array[least / 2]!, max_value: array[most / 2]! }
}

function isBelow(words: Int32Array, a: number, b: number): boolean {
  const high = words[a + 1]! - words[b + 1]!
  return high < 0 || (high === 0 && words[a]! >>> 0 < words[b]! >>> 0)
}

function byteBounds({ bytes, starts, ends }: Utf8Values): { min_value?: Uint8Array; max_value?: Uint8Array } {
  if (starts.length === 0) return {}
  let least = 0
  let most = 0
  const compare = (a: number, b: number): number => compareRanges(bytes, starts[a]!, ends[a]!, starts[b]!, ends[b]!)
  for (let i = 1; i < starts.length; i++) {
    if (compare(i, least) < 0) least = i
    else if (compare(i, most) > 0) most = i
  }
  // Copies: a view would keep all bytes of the column until the footer is written.
  return {
    min_value: new Uint8Array(bytes.subarray(starts[least], ends[least])),
    max_value: new Uint8Array(bytes.subarray(starts[most], ends[most])),
  }
}

/** Below 0 if the bytes [a, aEnd) stand before [b, bEnd) in unsigned lexicographic order. */
export function compareRanges(bytes: Uint8Array, a: number, aEnd: number, b: number, bEnd: number): number {
  const length = Math.min(aEnd - a, bEnd - b)
  for (let i = 0; i < length; i++) {
    const difference = bytes[a + i]! - bytes[b + i]!
    if (difference !== 0) return difference
  }
  return aEnd - a - (bEnd - b)
}
