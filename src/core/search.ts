/**
 * The least index in [0, length) for which `isReached` holds, or `length`; once it holds, it holds for all that follow.
 * Called about log2(length) times.
 */
export function firstIndex(length: number, isReached: (index: number) => boolean): number {
  let low = 0
  let high = length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isReached(middle)) high = middle
    else low = middle + 1
  }
  return low
}

/** The index of the first of ascending numbers that is not below `value`. */
export function lowerBound(numbers: ArrayLike<number>, value: number): number {
  return firstIndex(numbers.length, i => numbers[i]! >= value)
}

/** The index of the first of ascending numbers that is above `value`. */
export function upperBound(numbers: ArrayLike<number>, value: number): number {
  return firstIndex(numbers.length, i => numbers[i]! > value)
}

/** The number of elements that some lists have together. */
export function totalLength(lists: readonly { readonly length: number }[]): number {
  return lists.reduce((sum, { length }) => sum + length, 0)
}

/** All numbers of some lists, ascending. */
export function ascending(lists: readonly Uint32Array[]): Uint32Array {
  const numbers = new Uint32Array(totalLength(lists))
  let at = 0
  for (const list of lists) {
    numbers.set(list, at)
    at += list.length
  }
  return numbers.sort()
}
