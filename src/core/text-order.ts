/** From here on the order of UTF-16 units is not that of UTF-8 bytes: surrogates stand for what is above all others. */
const SURROGATES = 0xd800

/** The order of texts by their bytes in UTF-8, which is not that of JavaScript's strings. */
export function compareByBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return x < SURROGATES || y < SURROGATES ? x - y : Buffer.compare(Buffer.from(a), Buffer.from(b))
  }
  return a.length - b.length
}

/** Characters from `SURROGATES` on. Texts without them are ordered by units, which is done natively. */
const HIGH = /[\ud800-\uffff]/

/** Tells of texts if they stand behind `start` in that order. */
export function behind(start: string): (text: string) => boolean {
  return HIGH.test(start) ? text => compareByBytes(text, start) > 0 : text => text > start
}

/** Puts items into the order of their texts, in place. */
export function sortByBytes<T>(items: T[], textOf: (item: T) => string): T[] {
  return items.some(item => HIGH.test(textOf(item)))
    ? items.sort((a, b) => compareByBytes(textOf(a), textOf(b)))
    : items.sort((a, b) => compareUnits(textOf(a), textOf(b)))
}

function compareUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
