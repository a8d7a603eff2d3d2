import type { Batch, Utf8Values, Vector } from '../../columns/types.ts'
import { cellAt, isNullAt, isUtf8, takeRows, vectorOf } from '../../columns/vectors.ts'

/** A place on the curve is a whole number of so many bits: a double holds it, and the next one. */
const PLACE_BITS = 52
/** More levels than this one sample could tell apart. */
const LEVEL_BITS_MAX = 16
/** Halves of 64 bits. */
const HALF = 2 ** 32

/**
 * A curve that goes through the values of several columns so that rows which are near to one another on it have values near
 * to one another in each column (Morton's "Z order"). It is made for the values that there are: each column is cut into
 * levels of about as many rows, by a sample, and the bits of the levels are put into each other, highest ones first.
 */
export class Curve {
  readonly #axes: readonly Axis[]

  private constructor(axes: readonly Axis[]) {
    this.#axes = axes
  }

  /** `sample`: some rows, of the columns in the order of their weight. */
  static through(sample: Batch): Curve {
    const count = sample.vectors.length
    const bits = Math.min(LEVEL_BITS_MAX, Math.floor(PLACE_BITS / count))
    return new Curve(
      sample.vectors.map((vector, axis) => axisOf(vector, bits, level => spread(level, bits, count, count - 1 - axis))),
    )
  }

  /** The places of rows, whole numbers from 0 on. `columns`: as in the sample. */
  places(columns: Batch): Float64Array {
    const places = new Float64Array(columns.rows)
    for (const [i, axis] of this.#axes.entries()) axis(columns.vectors[i]!, places)
    return places
  }
}

/** The bits of a level with those of `count` columns between them. */
function spread(level: number, bits: number, count: number, shift: number): number {
  let place = 0
  for (let bit = 0; bit < bits; bit++) if ((level >> bit) & 1) place += 2 ** (bit * count + shift)
  return place
}

/** Adds to places what the values of a column are worth. */
type Axis = (vector: Vector, places: Float64Array) => void

/** `weights`: what a level is worth. NULL is at the lowest one. */
function axisOf(sample: Vector, bits: number, weights: (level: number) => number): Axis {
  const { length, below } = sample.type.kind === 'string' ? sortedTexts(sample) : sortedNumbers(sample)
  // The level of a value follows from how many of the sample are below it.
  const worth = Float64Array.from({ length: length + 1 }, (_, n) =>
    weights(Math.min(2 ** bits - 1, Math.floor((n * 2 ** bits) / Math.max(1, length)))),
  )
  return (vector, places) => {
    const counts = below(vector)
    for (let row = 0; row < places.length; row++) places[row]! += worth[counts[row]!]!
  }
}

/** Values in their order. */
interface Sorted {
  readonly length: number
  /** Of each value of a vector, the number of those that are below it. */
  readonly below: (vector: Vector) => Uint32Array
}

function sortedNumbers(sample: Vector): Sorted {
  const sorted = numbersOf(sample).sort()
  return {
    length: sorted.length,
    below: vector => {
      const values = numbersOf(vector)
      return Uint32Array.from(values, value => {
        let low = 0
        for (let high = sorted.length; low < high; ) {
          const middle = (low + high) >> 1
          if (sorted[middle]! < value) low = middle + 1
          else high = middle
        }
        return low
      })
    },
  }
}

/** Values of an ordered type that is not text as doubles in the same order, NULL below and NaN above all. What doubles cannot tell apart is alike. */
function numbersOf(vector: Vector): Float64Array {
  const { values, length } = vector
  const numbers = new Float64Array(length)
  const halves =
    values instanceof BigInt64Array ? new DataView(values.buffer, values.byteOffset, length * 8) : undefined
  for (let row = 0; row < length; row++) {
    if (isNullAt(vector, row)) numbers[row] = Number.NEGATIVE_INFINITY
    else if (halves !== undefined)
      numbers[row] = halves.getInt32(8 * row + 4, true) * HALF + halves.getUint32(8 * row, true)
    else {
      const value = Array.isArray(values) ? Number(values[row]) : (values as Float64Array)[row]!
      numbers[row] = Number.isNaN(value) ? Number.POSITIVE_INFINITY : value
    }
  }
  return numbers
}

function sortedTexts(sample: Vector): Sorted {
  const texts = textsOf(sample)
  const rows = Uint32Array.from({ length: sample.length }, (_, row) => row)
  const isNull = (row: number): number => Number(isNullAt(sample, row))
  rows.sort((a, b) => isNull(b) - isNull(a) || compareBytes(texts, a, texts, b))
  const nulls = rows.reduce((sum, row) => sum + isNull(row), 0)
  const sorted = textsOf(takeRows({ rows: sample.length, vectors: [sample] }, rows).vectors[0]!)
  return {
    length: sample.length,
    below: vector => {
      const values = textsOf(vector)
      return Uint32Array.from({ length: vector.length }, (_, row) => {
        if (isNullAt(vector, row)) return 0
        let low = nulls
        for (let high = sample.length; low < high; ) {
          const middle = (low + high) >> 1
          if (compareBytes(sorted, middle, values, row) < 0) low = middle + 1
          else high = middle
        }
        return low
      })
    },
  }
}

function textsOf(vector: Vector): Utf8Values {
  if (isUtf8(vector.values)) return vector.values
  const cells = Array.from({ length: vector.length }, (_, row) => cellAt(vector, row))
  return vectorOf({ kind: 'string' }, cells).values as Utf8Values
}

function compareBytes(a: Utf8Values, i: number, b: Utf8Values, j: number): number {
  const [from, to] = [a.starts[i]!, b.starts[j]!]
  const [left, right] = [a.ends[i]! - from, b.ends[j]! - to]
  const common = Math.min(left, right)
  for (let at = 0; at < common; at++) {
    const difference = a.bytes[from + at]! - b.bytes[to + at]!
    if (difference !== 0) return difference
  }
  return left - right
}
