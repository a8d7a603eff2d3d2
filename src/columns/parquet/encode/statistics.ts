import type { Statistics } from 'hyparquet'
import { byteBounds, longBounds, numberBounds } from '../../bounds.ts'
import type { FlatValues } from './flat.ts'

/** The statistics of a column chunk as its footer has them (parquet.thrift, Statistics); NaN is in no bound. */
export function chunkStatistics(values: FlatValues, nullCount: number, isDecimal: boolean): Statistics {
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
    case 'int64': {
      const found = longBounds(values.array)
      return found === undefined ? { null_count } : { null_count, min_value: found.min, max_value: found.max }
    }
    case 'float':
    case 'double': {
      const found = numberBounds(values.array)
      const counts = { null_count, nan_count: BigInt(countNans(values.array)) }
      if (found === undefined) return counts
      const { min, max } = found
      // A lower bound of 0 is to be -0, and an upper one of -0 is to be 0, as they are equal.
      return { ...counts, min_value: min === 0 ? -0 : min, max_value: max === 0 ? 0 : max }
    }
    case 'bytes': {
      const found = byteBounds(values.array)
      if (found === undefined) return { null_count }
      const { bytes, starts, ends } = values.array
      // Copies: a view would keep all bytes of the column until the footer is written.
      const copy = (i: number): Uint8Array => new Uint8Array(bytes.subarray(starts[i], ends[i]))
      return { null_count, min_value: copy(found.min), max_value: copy(found.max) }
    }
  }
}

function countNans(array: Float32Array | Float64Array): number {
  let nans = 0
  for (let i = 0; i < array.length; i++) if (Number.isNaN(array[i]!)) nans++
  return nans
}
