import type { Utf8Values } from './types.ts'

/*
 * The least and the greatest value of a column; undefined where there is none. `nulls[i] === 1`: value i does not count.
 */

/** Of numbers that are not NaN. */
export function numberBounds(
  values: Int32Array | Float32Array | Float64Array,
  nulls?: Uint8Array,
): { readonly min: number; readonly max: number } | undefined {
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY
  for (let i = 0; i < values.length; i++) {
    if (nulls !== undefined && nulls[i] === 1) continue
    const value = values[i]!
    if (value < min) min = value
    if (value > max) max = value
  }
  return min <= max ? { min, max } : undefined
}

/** By halves: each element of a BigInt64Array that is read is an object of its own. */
export function longBounds(
  values: BigInt64Array,
  nulls?: Uint8Array,
): { readonly min: bigint; readonly max: bigint } | undefined {
  const halves = new Int32Array(values.buffer, values.byteOffset, 2 * values.length)
  let least = -1
  let most = -1
  for (let i = 0; i < values.length; i++) {
    if (nulls !== undefined && nulls[i] === 1) continue
    if (least < 0 || isBelow(halves, i, least)) least = i
    if (most < 0 || isBelow(halves, most, i)) most = i
  }
  return least < 0 ? undefined : { min: values[least]!, max: values[most]! }
}

function isBelow(halves: Int32Array, a: number, b: number): boolean {
  const high = halves[2 * a + 1]! - halves[2 * b + 1]!
  return high < 0 || (high === 0 && halves[2 * a]! >>> 0 < halves[2 * b]! >>> 0)
}

/** At which of the values they are: byte arrays in unsigned lexicographic order, which for UTF-8 is that of code points. */
export function byteBounds(
  values: Utf8Values,
  nulls?: Uint8Array,
): { readonly min: number; readonly max: number } | undefined {
  const { bytes, starts, ends } = values
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let min = -1
  let max = -1
  for (let i = 0; i < starts.length; i++) {
    if (nulls !== undefined && nulls[i] === 1) continue
    const start = starts[i]!
    const end = ends[i]!
    if (min < 0) {
      min = i
      max = i
    } else if (compareRanges(view, start, end, starts[min]!, ends[min]!) < 0) min = i
    else if (compareRanges(view, start, end, starts[max]!, ends[max]!) > 0) max = i
  }
  return min < 0 ? undefined : { min, max }
}

/** Four bytes at a time as long as there are. */
function compareRanges(view: DataView, a: number, aEnd: number, b: number, bEnd: number): number {
  const length = Math.min(aEnd - a, bEnd - b)
  let i = 0
  for (; i + 4 <= length; i += 4) {
    const one = view.getUint32(a + i)
    const other = view.getUint32(b + i)
    if (one !== other) return one - other
  }
  for (; i < length; i++) {
    const difference = view.getUint8(a + i) - view.getUint8(b + i)
    if (difference !== 0) return difference
  }
  return aEnd - a - (bEnd - b)
}
